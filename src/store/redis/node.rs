//! One Redis server and the one connection to it, kept alive by a task of its own (`keep`).
//!
//! A command never waits for a connection: without one it fails at once, so that a lost server costs its
//! callers only the error. The task detects a dead connection by its errors or by silence, and reconnects. A
//! server that answers too late or rejects writes is dropped in the same way (circuit breaker), and its next
//! connection must pass probes before it is used.

use super::breaker::{Beat, Breaker, BreakerFault, LATENCY_BUDGET};
use super::dial::{Dial, Purpose};
use crate::store::StoreError;
use crate::telemetry::counter::Histogram;
use parking_lot::{Mutex, MutexGuard};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Interval between heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Timeout of a heartbeat.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(1);
/// Every fourth heartbeat is a write, so that a server that rejects writes is noticed without any calls.
const WRITE_EVERY: u64 = 4;
/// Backoff after the first failed reconnect; it doubles up to [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_millis(500);
/// Pause between two probes of a server.
const PROBE_PAUSE: Duration = Duration::from_millis(50);
/// Maximum number of commands in flight: as many as a server that runs 10,000 scripts a second answers within
/// [`LATENCY_BUDGET`].
const MAX_IN_FLIGHT: usize = 4_096;
/// Name that probes write. In a Cluster each server gets a name in one of its own slots.
pub(crate) const PROBE: &str = "count:probe";
const PROBE_LIFE_MS: u32 = 1_000;
/// Timeout of `WAIT` in milliseconds.
const WAIT_TIMEOUT_MS: u32 = 1_000;
/// Error codes that concern the server's state and not the command.
const REFUSALS: [&str; 7] = [
    "READONLY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "MASTERDOWN",
    "LOADING",
    "BUSY",
];

pub struct Node {
    dial: Dial,
    purpose: Purpose,
    live: watch::Sender<Option<Live>>,
    trouble: Mutex<String>,
    probe: Mutex<String>,
    timely: AtomicU64,
    late: AtomicU64,
    /// Incremented before we first talk to a new primary, or to a server whose `run_id` or `master_replid`
    /// changed.
    generation: Arc<AtomicU64>,
    durations: Histogram,
}

/// A connection, and the `doubt` by which a failed command asks for a probe. Every command in flight holds a
/// clone, so the count of `doubt` is the number in flight.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    doubt: Arc<Notify>,
}

impl Live {
    fn new(connection: MultiplexedConnection) -> Live {
        Live {
            connection,
            doubt: Arc::default(),
        }
    }
}

/// Reason why a command got no value.
#[derive(Debug)]
pub(crate) enum CommandFailure {
    Store(StoreError),
    NoScript,
    Moved { place: String },
    Ask { place: String },
}

impl CommandFailure {
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            CommandFailure::Store(error) => error,
            other => StoreError::Unavailable(format!("{other:?}")),
        }
    }
}

fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock()
}

impl Node {
    /// Starts the task that keeps the connection. `connection`: the one that is open already, if any.
    pub fn start(
        dial: Dial,
        purpose: Purpose,
        connection: Option<MultiplexedConnection>,
        generation: &Arc<AtomicU64>,
        durations: &Histogram,
    ) -> Arc<Node> {
        let node = Arc::new(Node {
            dial,
            purpose,
            live: watch::Sender::new(connection.map(Live::new)),
            trouble: Mutex::new("not connected yet".to_owned()),
            probe: Mutex::new(PROBE.to_owned()),
            timely: AtomicU64::new(0),
            late: AtomicU64::new(0),
            generation: generation.clone(),
            durations: durations.clone(),
        });
        tokio::spawn(keep(Arc::downgrade(&node)));
        node
    }

    /// Returns the connection. Fails at once without one, or with [`MAX_IN_FLIGHT`] commands in flight.
    fn live(&self) -> Result<Live, CommandFailure> {
        let live = self.live.borrow().clone();
        let Some(live) = live else {
            let trouble = lock(&self.trouble).clone();
            return Err(CommandFailure::Store(StoreError::Lost(trouble)));
        };
        if Arc::strong_count(&live.doubt) > MAX_IN_FLIGHT {
            let why = format!("{MAX_IN_FLIGHT} commands wait already");
            return Err(CommandFailure::Store(StoreError::Unavailable(why)));
        }
        Ok(live)
    }

    pub async fn run(&self, command: &Cmd) -> Result<Value, CommandFailure> {
        let mut live = self.live()?;
        let sent = Instant::now();
        let answer = command.query_async(&mut live.connection).await;
        self.took(sent.elapsed());
        answer.map_err(|error| judge(&error, &live))
    }

    /// Runs a command after `ASKING`, for a slot that is being migrated to this server.
    pub(crate) async fn run_asked(&self, command: &Cmd) -> Result<Value, CommandFailure> {
        let mut live = self.live()?;
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(command.clone());
        let sent = Instant::now();
        let answers: Result<Vec<Value>, RedisError> = both.query_async(&mut live.connection).await;
        self.took(sent.elapsed());
        match answers.map(|mut answers| answers.pop()) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(CommandFailure::Store(StoreError::Unknown(
                "an empty answer".to_owned(),
            ))),
            Err(error) => Err(judge(&error, &live)),
        }
    }

    /// Runs a command on a connection of its own and then `WAIT`, which blocks the commands behind it. Fewer
    /// than `replicas` acknowledgements give [`StoreError::Unreplicated`].
    pub(crate) async fn run_replicated(
        &self,
        command: &Cmd,
        replicas: u64,
    ) -> Result<Value, CommandFailure> {
        // Fail at once if the server is known to be lost.
        self.live()?;
        let connected = self.dial.connect().await;
        let unavailable = |error| CommandFailure::Store(StoreError::Unavailable(describe(&error)));
        let mut live = Live::new(connected.map_err(unavailable)?);
        let answer = command.query_async(&mut live.connection).await;
        let answer = answer.map_err(|error| judge(&error, &live))?;
        let mut wait = redis::cmd("WAIT");
        wait.arg(replicas).arg(WAIT_TIMEOUT_MS);
        let unkept = |why| CommandFailure::Store(StoreError::Unreplicated(why));
        let reached: u64 = wait
            .query_async(&mut live.connection)
            .await
            .map_err(|error| unkept(describe(&error)))?;
        if reached < replicas {
            return Err(unkept(format!(
                "{reached} of {replicas} replicas have it (accounts.credit_replicas)"
            )));
        }
        Ok(answer)
    }

    /// Waits up to `timeout` for a connection. False: timeout.
    pub async fn connected(&self, timeout: Duration) -> bool {
        let mut live = self.live.subscribe();
        let there = live.wait_for(Option::is_some);
        tokio::time::timeout(timeout, there)
            .await
            .is_ok_and(|there| there.is_ok())
    }

    /// Whether there is a connection that commands may use.
    pub fn is_up(&self) -> bool {
        self.live.borrow().is_some()
    }

    pub(crate) fn probe_at(&self, name: String) {
        *lock(&self.probe) = name;
    }

    /// Returns a `SET` that tests whether the server takes writes. Its value is never read.
    fn probe(&self) -> Cmd {
        let mut command = redis::cmd("SET");
        command.arg(lock(&self.probe).as_str());
        command.arg(&["1", "PX"]).arg(PROBE_LIFE_MS);
        command
    }

    /// Records a round trip, and counts the answer as timely or late against [`LATENCY_BUDGET`].
    fn took(&self, span: Duration) {
        self.durations.record(span);
        let count = if span <= LATENCY_BUDGET {
            &self.timely
        } else {
            &self.late
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn take_beat(&self) -> Beat {
        Beat {
            timely: self.timely.swap(0, Ordering::Relaxed),
            late: self.late.swap(0, Ordering::Relaxed),
        }
    }

    fn set_trouble(&self, why: String) {
        *lock(&self.trouble) = why;
    }
}

fn judge(error: &RedisError, live: &Live) -> CommandFailure {
    let text = describe(error);
    let place = || {
        error
            .redirect_node()
            .map(|(place, _)| place.to_owned())
            .unwrap_or_default()
    };
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoScript) => CommandFailure::NoScript,
        ErrorKind::Server(ServerErrorKind::Moved) => CommandFailure::Moved { place: place() },
        ErrorKind::Server(ServerErrorKind::Ask) => CommandFailure::Ask { place: place() },
        // The server replied with an error: the command was not applied.
        _ if !is_gone(error) => {
            if is_refusal(error) {
                live.doubt.notify_one();
            }
            CommandFailure::Store(StoreError::Unavailable(text))
        }
        _ => {
            if !error.is_timeout() {
                live.doubt.notify_one();
            }
            CommandFailure::Store(StoreError::Unknown(text))
        }
    }
}

/// Whether the server rejects commands whatever they are (one of [`REFUSALS`]).
fn is_refusal(error: &RedisError) -> bool {
    if error.code().is_some_and(|code| REFUSALS.contains(&code)) {
        return true;
    }
    // Redis 6 wraps the refusal of a script's command into its own error: "... @user_script: 1: -OOM ...".
    let text = error.to_string();
    REFUSALS
        .iter()
        .any(|code| text.contains(&format!(" -{code} ")))
}

/// Formats an error in one line. Parts in which a server may repeat a command's arguments are cut: they may
/// hold a key.
pub fn describe(error: &RedisError) -> String {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
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

/// Keeps a node connected, counts its `generation` and drops connections that fail, until the node is
/// dropped.
async fn keep(node: Weak<Node>) {
    let mut breaker = Breaker::default();
    let mut lost: Option<Instant> = None;
    let mut known: Option<String> = None;
    loop {
        let there = match node.upgrade() {
            Some(this) => this.live.borrow().clone(),
            None => return,
        };
        let mut live = match there {
            Some(live) => live,
            None => match regain(&node, &mut breaker).await {
                Some(live) => live,
                None => return,
            },
        };
        let past = past(&mut live).await;
        let Some(this) = node.upgrade() else { return };
        if past.is_none() || past != known {
            this.generation.fetch_add(1, Ordering::AcqRel);
        }
        known = past;
        if let Some(lost) = lost.take() {
            let seconds = lost.elapsed().as_secs_f64();
            let server = this.dial.to_string();
            let what = match this.purpose {
                Purpose::Ledger => "",
                Purpose::Answers => " for cached answers",
            };
            log::info!(server = server.as_str(); "Redis can be used again{what}, after {seconds:.1} s");
        }
        this.take_beat();
        this.live.send_replace(Some(live.clone()));
        drop(this);
        let (fault, why) = watch_over(&node, &mut breaker, live).await;
        let Some(this) = node.upgrade() else { return };
        let server = this.dial.to_string();
        match this.purpose {
            Purpose::Ledger => log::warn!(
                server = server.as_str();
                "Redis cannot be used: {why}. Calls get 503 until it is back, save those that a lease covers"
            ),
            Purpose::Answers => log::warn!(
                server = server.as_str();
                "Redis cannot be used for cached answers: {why}. Providers are asked again until it is back"
            ),
        }
        lost = Some(Instant::now());
        this.set_trouble(why);
        this.live.send_replace(None);
        breaker.open(fault, Instant::now());
    }
}

/// Reconnects with backoff until a connection passes its probes. `None`: the node was dropped.
async fn regain(node: &Weak<Node>, breaker: &mut Breaker) -> Option<Live> {
    let mut pause = FIRST_BACKOFF;
    loop {
        let this = node.upgrade()?;
        let why = match this.dial.connect().await {
            Ok(connection) => {
                let mut live = Live::new(connection);
                let probe = this.probe();
                loop {
                    match prove(&mut live, &probe).await {
                        Ok(()) if breaker.probe_passed(Instant::now()) => return Some(live),
                        Ok(()) => tokio::time::sleep(PROBE_PAUSE).await,
                        Err(why) => {
                            breaker.probe_failed();
                            break why;
                        }
                    }
                }
            }
            Err(error) => describe(&error),
        };
        this.set_trouble(why);
        drop(this);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_BACKOFF);
    }
}

/// Returns the server's `run_id` and `master_replid`: two servers in which both are equal have the same
/// history of writes. `None`: `INFO` failed or lacks them.
async fn past(live: &mut Live) -> Option<String> {
    let info = redis::cmd("INFO");
    let asked = info.query_async::<String>(&mut live.connection);
    let text = tokio::time::timeout(HEARTBEAT_TIMEOUT, asked)
        .await
        .ok()?
        .ok()?;
    let field = |name| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        Some(fields.find(|(field, _)| *field == name)?.1.trim())
    };
    Some(format!("{} {}", field("run_id")?, field("master_replid")?))
}

/// Runs one probe: the server must answer within [`LATENCY_BUDGET`] and take the write.
async fn prove(live: &mut Live, probe: &Cmd) -> Result<(), String> {
    let answer = probe.query_async::<Value>(&mut live.connection);
    match tokio::time::timeout(LATENCY_BUDGET, answer).await {
        Err(_) => Err(too_slow()),
        Ok(Err(error)) if is_unfit(&error) => Err(describe(&error)),
        Ok(_) => Ok(()),
    }
}

fn too_slow() -> String {
    format!(
        "it takes longer than {} ms to answer",
        LATENCY_BUDGET.as_millis()
    )
}

/// Whether an error makes the server unfit. A redirect to another slot's server, or a missing permission,
/// does not.
fn is_unfit(error: &RedisError) -> bool {
    is_gone(error) || is_refusal(error)
}

/// Whether an error means that no complete reply came.
fn is_gone(error: &RedisError) -> bool {
    !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// Sends heartbeats and probes. Returns the fault when the connection must be dropped, or when the node is
/// gone.
async fn watch_over(
    node: &Weak<Node>,
    breaker: &mut Breaker,
    mut live: Live,
) -> (BreakerFault, String) {
    let mut beats = 0_u64;
    let mut next_beat = tokio::time::Instant::now() + HEARTBEAT;
    loop {
        let probe_request = tokio::time::timeout_at(next_beat, live.doubt.notified())
            .await
            .is_ok();
        let write = probe_request || beats.is_multiple_of(WRITE_EVERY);
        let question = match node.upgrade() {
            Some(this) if write => this.probe(),
            Some(_) => redis::cmd("PING"),
            None => return (BreakerFault::Gone, "no longer needed".to_owned()),
        };
        let asked = Instant::now();
        let answer = question.query_async::<Value>(&mut live.connection);
        match tokio::time::timeout(HEARTBEAT_TIMEOUT, answer).await {
            Err(_) => return (BreakerFault::Gone, "it does not answer".to_owned()),
            Ok(Err(error)) if is_gone(&error) => {
                return (BreakerFault::Gone, describe(&error));
            }
            Ok(Err(error)) if is_unfit(&error) || !write => {
                return (BreakerFault::Unfit, describe(&error));
            }
            Ok(_) => {}
        }
        let Some(this) = node.upgrade() else { continue };
        this.took(asked.elapsed());
        if !probe_request {
            beats += 1;
            // Keep the interval however long the answer took, unless that was longer than the interval.
            next_beat += HEARTBEAT.max(asked.elapsed());
            if breaker.beat(this.take_beat(), Instant::now()) {
                return (BreakerFault::Unfit, too_slow());
            }
        }
    }
}
