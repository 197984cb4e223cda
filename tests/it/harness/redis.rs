//! A real redis-server on loopback that a test can kill, restart and freeze.
//!
//! Without persistence unless configured: `restart` of a plain server comes back empty.

use std::fs::{self, File};
use std::io;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::dir::TempDir;
use super::net::free_port;
use super::process::{Process, redis_server};
use super::resp::{Reply, Resp};
use super::wait::{eventually, within};

const START: Duration = Duration::from_secs(15);

/// Credentials of replicas at their primary: a user of their own, which the primary can lock out.
pub const REPLICATION: [&str; 11] = [
    "--masteruser",
    "repl",
    "--masterauth",
    "secret",
    "--user",
    "repl",
    "on",
    ">secret",
    "+psync",
    "+replconf",
    "+ping",
];

pub struct Redis {
    // Drop order: the process ends before its directory is removed.
    process: Mutex<Process>,
    dir: TempDir,
    port: u16,
    args: Vec<String>,
    password: Option<String>,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::with(&[])
    }

    /// Starts a server with further arguments, such as `["--appendonly", "yes"]`, which override the
    /// defaults.
    #[track_caller]
    pub fn with(more: &[&str]) -> Redis {
        Redis::in_dir(TempDir::new(), free_port(), more)
    }

    /// Starts a server in a directory with the files that its arguments name.
    #[track_caller]
    pub fn in_dir(dir: TempDir, port: u16, more: &[&str]) -> Redis {
        let mut args: Vec<String> = Vec::new();
        // A sentinel's config file precedes the options.
        let (file, more) = match more {
            [first, rest @ ..] if !first.starts_with('-') => (Some(*first), rest),
            all => (None, all),
        };
        args.extend(file.map(str::to_owned));
        args.extend(["--port", &port.to_string()].map(str::to_owned));
        // The dash makes ::1 optional, for machines without IPv6.
        args.extend(["--bind", "127.0.0.1", "-::1"].map(str::to_owned));
        if file.is_none() {
            args.extend(["--save", "", "--appendonly", "no"].map(str::to_owned));
        }
        args.extend(["--dir", &dir.path().to_string_lossy()].map(str::to_owned));
        args.extend(more.iter().map(|&word| word.to_owned()));
        let password = more.windows(2).find(|pair| pair[0] == "--requirepass");
        let redis = Redis {
            process: Mutex::new(spawn(&dir, &args)),
            password: password.map(|pair| pair[1].to_owned()),
            dir,
            port,
            args,
        };
        redis.wait_ready();
        redis
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// Runs one command on a new connection. An error reply fails the test.
    #[track_caller]
    pub fn cli(&self, command: &[&str]) -> Reply {
        match self.try_cli(command) {
            Ok(Reply::Error(message)) => panic!("{command:?} on {}: {message}", self.port),
            Ok(reply) => reply,
            Err(error) => panic!("{command:?} on {}: {error}", self.port),
        }
    }

    /// Like `cli`, for a server that may be gone or refuse; times out after five seconds.
    pub fn try_cli(&self, command: &[&str]) -> io::Result<Reply> {
        self.connect()?.ask(command)
    }

    /// Opens a connection for SUBSCRIBE, MONITOR or MULTI.
    pub fn connect(&self) -> io::Result<Resp> {
        let mut connection = Resp::connect(self.port)?;
        if let Some(password) = &self.password {
            connection.ask(&["AUTH", password])?;
        }
        Ok(connection)
    }

    pub fn is_alive(&self) -> bool {
        self.process().is_alive()
    }

    /// Kills the server; afterwards its port refuses connections.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Restarts it on the same port, in the same directory, with the same arguments.
    #[track_caller]
    pub fn restart(&self) {
        let mut process = self.process();
        process.kill();
        *process = spawn(&self.dir, &self.args);
        drop(process);
        self.wait_ready();
    }

    /// Freezes it with SIGSTOP: the kernel still accepts connections, nothing responds.
    pub fn pause(&self) {
        self.process().signal("STOP");
    }

    pub fn resume(&self) {
        self.process().signal("CONT");
    }

    /// Number of calls of a command since the start (`get`, or `client|kill`).
    #[track_caller]
    pub fn calls(&self, command: &str) -> u64 {
        let stats = self.cli(&["INFO", "commandstats"]).text();
        let prefix = format!("cmdstat_{}:calls=", command.to_lowercase());
        let line = stats.lines().find_map(|line| line.strip_prefix(&prefix));
        let count = line.and_then(|rest| rest.split(',').next());
        count.map_or(0, |count| count.parse().expect("a count"))
    }

    /// Closes every other client connection.
    #[track_caller]
    pub fn kill_clients(&self) {
        for kind in ["pubsub", "normal"] {
            self.cli(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
        }
    }

    /// Disconnects a replica that was started with `REPLICATION`, after it has received every write so far.
    #[track_caller]
    pub fn cut_off(&self, replica: &Redis) {
        let offset = |server: &Redis, field| server.info(field)?.parse::<u64>().ok();
        let taken = offset(self, "master_repl_offset").expect("an offset of the primary");
        eventually(Duration::from_secs(30), "the replica has it", || {
            (offset(replica, "slave_repl_offset")? >= taken).then_some(())
        });
        self.cli(&["ACL", "SETUSER", "repl", "off"]);
        self.cli(&["CLIENT", "KILL", "TYPE", "replica"]);
    }

    /// One field of INFO, such as `role`; `None` also if the server does not respond.
    pub fn info(&self, field: &str) -> Option<String> {
        let Ok(Reply::Bulk(text)) = self.try_cli(&["INFO"]) else {
            return None;
        };
        field_of(&String::from_utf8_lossy(&text), field)
    }

    /// Log of the server, for failure messages.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.file("server.log")).unwrap_or_default()
    }

    #[track_caller]
    fn wait_ready(&self) {
        let ready = within(START, || {
            if !self.is_alive() {
                return Some(false);
            }
            match self.try_cli(&["PING"]) {
                Ok(reply) if reply.error().is_none() => Some(true),
                // Error reply: still loading, or a replica that waits for its primary.
                _ => None,
            }
        });
        if ready != Some(true) {
            panic!(
                "redis-server {:?} does not answer:\n{}",
                self.args,
                self.log()
            );
        }
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Value of `field` in lines of `field:value`.
pub fn field_of(text: &str, field: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| *name == field)
        .map(|(_, value)| value.trim().to_owned())
}

/// Waits until a field of INFO has a value.
#[track_caller]
pub fn wait_info(redis: &Redis, field: &str, value: &str) {
    let what = format!("{field} is {value} on port {}", redis.port());
    eventually(START, &what, || {
        redis.info(field).filter(|now| now == value)
    });
}

#[track_caller]
fn spawn(dir: &TempDir, args: &[String]) -> Process {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.file("server.log"))
        .expect("a log file for redis-server");
    let errors = log.try_clone().expect("a second handle of the log file");
    Process::spawn(
        redis_server()
            .args(args)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors),
    )
}
