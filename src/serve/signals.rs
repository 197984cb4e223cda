//! Signals of the process: stop (`SIGTERM`, `SIGINT`) and hand over (`SIGQUIT`).

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Action that a signal requests.
pub(crate) enum Action {
    /// `SIGTERM` or `SIGINT`.
    Stop,
    /// `SIGQUIT`: start a new process and give it the listening sockets.
    HandOver,
}

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for the next [`Action::Stop`]; ignores hand-over requests until then.
    pub async fn stop(&mut self) {
        while !matches!(self.next().await, Action::Stop) {}
    }

    pub async fn next(&mut self) -> Action {
        tokio::select! {
            _ = self.terminate.recv() => Action::Stop,
            _ = self.interrupt.recv() => Action::Stop,
            _ = self.quit.recv() => Action::HandOver,
        }
    }
}
