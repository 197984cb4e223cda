//! Child processes of a run: their output goes to a log file; dropping the guard [`Running`] terminates them.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::tree;
use crate::{Outcome, fault};

/// Time between `SIGTERM` and `SIGKILL`.
const END: Duration = Duration::from_secs(5);
/// Poll interval.
const LOOK: Duration = Duration::from_millis(20);
/// Range of listening ports: below Linux's ephemeral ports, of which the run uses thousands.
const FIRST_PORT: u16 = 21_000;
const LAST_PORT: u16 = 32_000;

static NEXT_PORT: AtomicU16 = AtomicU16::new(FIRST_PORT);

pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Outcome<Running> {
        let output = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| fault(format!("cannot start {name}: {error}")))?;
        Ok(Running {
            child,
            name: name.to_owned(),
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit code if the process has ended; -1 if a signal killed it.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(status.code().unwrap_or(-1))
    }

    /// Waits until the port accepts connections. `Ok(Some(code))`: the process exited instead.
    pub fn wait_port(&mut self, port: u16, limit: Duration) -> Outcome<Option<i32>> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(code) = self.ended() {
                return Ok(Some(code));
            }
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
        let name = &self.name;
        Err(fault(format!("{name} did not listen within {limit:?}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // List the descendants now: once their parent has ended, they can no longer be found.
        let family = tree(self.pid());
        signal(self.pid(), Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < END {
            if self.ended().is_some() {
                return;
            }
            thread::sleep(LOOK);
        }
        for pid in family {
            signal(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Ignore errors: the process may have just ended.
        let _ = kill_process(pid, signal);
    }
}

/// Returns a port that is free now, never the same one twice.
pub fn free_port() -> io::Result<u16> {
    loop {
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        if port >= LAST_PORT {
            return Err(io::Error::other("no free port"));
        }
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
}
