//! One server and the one connection to it, kept alive by a task of its own.
//!
//! A command never waits for a connection: without one it fails at once, so that a lost server
//! costs its callers nothing but the answer. The keeper finds out that a connection is dead, by its
//! errors or by silence, and makes another.

use super::dial::Dial;
use crate::store::StoreError;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

const HEARTBEAT: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

pub struct Node {
    dial: Dial,
    connection: watch::Sender<Option<MultiplexedConnection>>,
    broken: Notify,
    trouble: Mutex<String>,
}

/// Why a command was not answered with a value.
#[derive(Debug)]
pub enum Failure {
    Store(StoreError),
    NoScript,
    Moved { place: String },
    Ask { place: String },
}

impl Node {
    /// `connection`: the one that is there already, if there is.
    pub fn start(dial: Dial, connection: Option<MultiplexedConnection>) -> Arc<Node> {
        let node = Arc::new(Node {
            dial,
            connection: watch::Sender::new(connection),
            broken: Notify::new(),
            trouble: Mutex::new("not connected yet".to_owned()),
        });
        tokio::spawn(keep(Arc::downgrade(&node)));
        node
    }

    pub async fn run(&self, command: &Cmd) -> Result<Value, Failure> {
        let Some(mut connection) = self.connection.borrow().clone() else {
            let trouble = self
                .trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            return Err(Failure::Store(StoreError::Unavailable(trouble)));
        };
        command
            .query_async(&mut connection)
            .await
            .map_err(|error| self.judge(&error))
    }

    /// The same after `ASKING`, for a slot that is on its way here.
    pub async fn run_asked(&self, command: &Cmd) -> Result<Value, Failure> {
        let Some(mut connection) = self.connection.borrow().clone() else {
            return Err(Failure::Store(StoreError::Unavailable(
                "not connected yet".to_owned(),
            )));
        };
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(command.clone());
        let answers: Result<Vec<Value>, RedisError> = both.query_async(&mut connection).await;
        match answers.map(|mut answers| answers.pop()) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Failure::Store(StoreError::Unknown(
                "an empty answer".to_owned(),
            ))),
            Err(error) => Err(self.judge(&error)),
        }
    }

    pub async fn connected(&self, patience: Duration) -> bool {
        let mut connection = self.connection.subscribe();
        let there = connection.wait_for(Option::is_some);
        tokio::time::timeout(patience, there)
            .await
            .is_ok_and(|there| there.is_ok())
    }

    fn judge(&self, error: &RedisError) -> Failure {
        let text = describe(error);
        let place = || {
            error
                .redirect_node()
                .map(|(place, _)| place.to_owned())
                .unwrap_or_default()
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript) => Failure::NoScript,
            ErrorKind::Server(ServerErrorKind::Moved) => Failure::Moved { place: place() },
            ErrorKind::Server(ServerErrorKind::Ask) => Failure::Ask { place: place() },
            // This was the primary once, or is not one yet: the address must be asked for again.
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => {
                self.broken.notify_one();
                Failure::Store(StoreError::Unavailable(text))
            }
            ErrorKind::Io => {
                if !error.is_timeout() {
                    self.broken.notify_one();
                }
                Failure::Store(StoreError::Unknown(text))
            }
            _ => Failure::Store(StoreError::Unavailable(text)),
        }
    }
}

pub fn describe(error: &RedisError) -> String {
    error.to_string().replace(['\r', '\n'], " ")
}

async fn keep(node: Weak<Node>) {
    let mut pause = FIRST_PAUSE;
    let mut lost = false;
    loop {
        let Some(this) = node.upgrade() else { return };
        let there = this.connection.borrow().clone();
        let dialled = match there {
            Some(connection) => Ok(connection),
            None => this.dial.connect().await,
        };
        match dialled {
            Ok(connection) => {
                pause = FIRST_PAUSE;
                if std::mem::take(&mut lost) {
                    log::info!("Redis connection restored");
                }
                this.connection.send_replace(Some(connection.clone()));
                drop(this);
                let why = watch_over(&node, connection).await;
                let Some(this) = node.upgrade() else { return };
                log::warn!("Redis connection lost: {why}");
                lost = true;
                *this.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
                this.connection.send_replace(None);
            }
            Err(error) => {
                let why = describe(&error);
                *this.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
                drop(this);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Returns when the connection is dead, or nobody needs it any more.
async fn watch_over(node: &Weak<Node>, mut connection: MultiplexedConnection) -> String {
    loop {
        let Some(this) = node.upgrade() else {
            return "no longer needed".to_owned();
        };
        let broken = tokio::time::timeout(HEARTBEAT, this.broken.notified())
            .await
            .is_ok();
        drop(this);
        let ping = redis::cmd("PING");
        let answered =
            tokio::time::timeout(SILENCE, ping.query_async::<String>(&mut connection)).await;
        match answered {
            Err(_) => return "it does not answer".to_owned(),
            Ok(Err(error)) => return describe(&error),
            Ok(Ok(_)) if broken => return "it is no longer the primary".to_owned(),
            Ok(Ok(_)) => {}
        }
    }
}
