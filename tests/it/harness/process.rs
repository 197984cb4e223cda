//! A child process that is killed with its guard, and the lookup of server programs.
//!
//! All methods take `&self`, so that one thread can kill a server that others use.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::wait::within;

pub struct Process {
    child: Mutex<Child>,
    pid: u32,
}

impl Process {
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Process {
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {command:?}: {error}"),
        };
        Process::of(child)
    }

    /// Guards a running child.
    pub fn of(child: Child) -> Process {
        let pid = child.id();
        Process {
            child: Mutex::new(child),
            pid,
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn is_alive(&self) -> bool {
        self.exit_status().is_none()
    }

    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child().try_wait().expect("the state of a child")
    }

    /// Sends a signal by its name without `SIG`: `TERM`, `INT`, `QUIT`, `STOP`, `CONT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        // The process ID of an unreaped child cannot be reused.
        assert!(self.is_alive(), "SIG{name} for a process that has ended");
        // `kill` is a shell builtin everywhere; the program may be missing.
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name])
            .arg(self.pid.to_string())
            .status()
            .expect("a shell to send a signal with");
        assert!(sent.success(), "SIG{name} could not be sent");
    }

    /// Kills and reaps the process: its sockets are closed on return.
    pub fn kill(&self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Standard input and output of a child that was started with pipes.
    pub fn take_pipes(&self) -> (ChildStdin, ChildStdout) {
        let mut child = self.child();
        let stdin = child.stdin.take().expect("a pipe for the input");
        let stdout = child.stdout.take().expect("a pipe for the output");
        (stdin, stdout)
    }

    /// Standard output and error of a child that was started with pipes.
    pub fn take_output(&self) -> (ChildStdout, ChildStderr) {
        let mut child = self.child();
        let stdout = child.stdout.take().expect("a pipe for the output");
        let stderr = child.stderr.take().expect("a pipe for the errors");
        (stdout, stderr)
    }

    pub fn wait(&self, timeout: Duration) -> Option<ExitStatus> {
        within(timeout, || self.exit_status())
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command for `redis-server`, from `PATH` or from `.tools`.
pub fn redis_server() -> Command {
    if on_path("redis-server") {
        return Command::new("redis-server");
    }
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/redis");
    let program = unpacked.join("usr/bin/redis-server");
    if !program.is_file() {
        missing("redis-server");
    }
    let mut command = Command::new(program);
    command.env(
        "LD_LIBRARY_PATH",
        std::env::join_paths(library_dirs(&unpacked)).expect("paths without colons"),
    );
    command
}

/// Path of a program such as `strace`, `curl` or `promtool`, from `PATH` or from `.tools`.
pub fn program(name: &str) -> PathBuf {
    if on_path(name) {
        return PathBuf::from(name);
    }
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(".tools/{name}/{name}"));
    if !unpacked.is_file() {
        missing(name);
    }
    unpacked
}

pub fn openssl() -> Command {
    if !on_path("openssl") {
        missing("openssl");
    }
    Command::new("openssl")
}

pub fn missing(program: &str) -> ! {
    panic!(
        "`{program}` is neither on PATH nor in .tools; run the tests with `make test`, which installs what they need"
    );
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Debian keeps libraries in one folder per architecture, below lib or usr/lib.
pub fn library_dirs(unpacked: &Path) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for parent in ["lib", "usr/lib"].map(|name| unpacked.join(name)) {
        let below = std::fs::read_dir(&parent).into_iter().flatten().flatten();
        dirs.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
        dirs.push(parent);
    }
    dirs
}
