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
    live: watch::Sender<Option<Live>>,
    trouble: Mutex<String>,
}

/// A connection, and the way to say that it is of no more use.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    broken: Arc<Notify>,
}

impl Live {
    fn new(connection: MultiplexedConnection) -> Live {
        Live {
            connection,
            broken: Arc::default(),
        }
    }
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
            live: watch::Sender::new(connection.map(Live::new)),
            trouble: Mutex::new("not connected yet".to_owned()),
        });
        tokio::spawn(keep(Arc::downgrade(&node)));
        node
    }

    fn live(&self) -> Result<Live, Failure> {
        let live = self.live.borrow().clone();
        live.ok_or_else(|| {
            let trouble = self
                .trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            Failure::Store(StoreError::Unavailable(trouble))
        })
    }

    pub async fn run(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut live = self.live()?;
        let answer = command.query_async(&mut live.connection).await;
        answer.map_err(|error| judge(&error, &live))
    }

    /// The same after `ASKING`, for a slot that is on its way here.
    pub async fn run_asked(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut live = self.live()?;
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(command.clone());
        let answers: Result<Vec<Value>, RedisError> = both.query_async(&mut live.connection).await;
        match answers.map(|mut answers| answers.pop()) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Failure::Store(StoreError::Unknown(
                "an empty answer".to_owned(),
            ))),
            Err(error) => Err(judge(&error, &live)),
        }
    }

    pub async fn connected(&self, patience: Duration) -> bool {
        let mut live = self.live.subscribe();
        let there = live.wait_for(Option::is_some);
        tokio::time::timeout(patience, there)
            .await
            .is_ok_and(|there| there.is_ok())
    }
}

fn judge(error: &RedisError, live: &Live) -> Failure {
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
            live.broken.notify_one();
            Failure::Store(StoreError::Unavailable(text))
        }
        ErrorKind::Io => {
            if !error.is_timeout() {
                live.broken.notify_one();
            }
            Failure::Store(StoreError::Unknown(text))
        }
        _ => Failure::Store(StoreError::Unavailable(text)),
    }
}

/// In one line, and without what a server repeats of a command: that may hold a key.
pub fn describe(error: &RedisError) -> String {
    let text = error.to_string();
    let text = text
        .split(['\r', '\n', '\'', '"', '`'])
        .next()
        .unwrap_or_default();
    text.split(", with args")
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

async fn keep(node: Weak<Node>) {
    let mut pause = FIRST_PAUSE;
    let mut lost = false;
    loop {
        let Some(this) = node.upgrade() else { return };
        let there = this.live.borrow().clone();
        let dialled = match there {
            Some(live) => Ok(live),
            None => this.dial.connect().await.map(Live::new),
        };
        let set_trouble = |this: &Node, why: String| {
            *this.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
        };
        match dialled {
            Ok(live) => {
                pause = FIRST_PAUSE;
                if std::mem::take(&mut lost) {
                    log::info!("Redis connection restored");
                }
                this.live.send_replace(Some(live.clone()));
                drop(this);
                let why = watch_over(&node, live).await;
                let Some(this) = node.upgrade() else { return };
                log::warn!("Redis connection lost: {why}");
                lost = true;
                set_trouble(&this, why);
                this.live.send_replace(None);
            }
            Err(error) => {
                set_trouble(&this, describe(&error));
                drop(this);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Returns when the connection is dead, or nobody needs it any more.
async fn watch_over(node: &Weak<Node>, mut live: Live) -> String {
    while node.strong_count() > 0 {
        let broken = tokio::time::timeout(HEARTBEAT, live.broken.notified())
            .await
            .is_ok();
        let ping = redis::cmd("PING");
        let answer = ping.query_async::<String>(&mut live.connection);
        match tokio::time::timeout(SILENCE, answer).await {
            Err(_) => return "it does not answer".to_owned(),
            Ok(Err(error)) => return describe(&error),
            Ok(Ok(_)) if broken => return "it takes no commands".to_owned(),
            Ok(Ok(_)) => {}
        }
    }
    "no longer needed".to_owned()
}
