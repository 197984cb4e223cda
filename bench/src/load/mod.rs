//! Closed-loop load generator: each caller sends its next request after validating the last response.
//!
//! Requests in flight at the end are completed, so that the gateway's charges can be compared with the
//! provider's count.

mod answer;
mod caller;
mod connection;
mod message;
mod multiplexed;
mod protocol;
mod report;

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::{Outcome, fault};
use answer::Expected;
use caller::Caller;
pub use connection::send;
pub use message::{Dice, Message, Wanted};
pub use multiplexed::{Shared, next};
pub use protocol::{Dialer, Protocol, Socket};
pub use report::{Report, Tally};

/// Deadline, after the end of the run, for requests in flight.
const GRACE: Duration = Duration::from_secs(30);
/// Pause after an error, so that a server that refuses everything is not flooded.
const AFTER_ERROR: Duration = Duration::from_millis(5);
const MOST_CONNECTIONS: usize = 20_000;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub wanted: Wanted,
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Status that every response must have
    #[arg(long, default_value_t = 200)]
    pub expect: u16,
    /// A second accepted status
    #[arg(long)]
    pub or: Option<u16>,
    /// Minimum number of events of a stream
    #[arg(long, default_value_t = answer::LEAST_EVENTS)]
    pub events: u64,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs the generator on `--threads` threads and merges their results.
pub fn run(args: &Args) -> Outcome<Report> {
    let (message, dialer) = Message::build(&args.wanted)?;
    let (message, dialer) = (Arc::new(message), Arc::new(dialer));
    let expected = Expected {
        status: args.expect,
        or: args.or,
        stream: args.wanted.stream,
        events: args.events,
    };
    let connections = args.connections.clamp(1, MOST_CONNECTIONS);
    let span = Duration::from_secs_f64(args.seconds.clamp(0.01, 3600.0));
    let threads = args.threads.clamp(1, connections);
    let start = Arc::new(Barrier::new(threads));
    let running: Vec<_> = (0..threads)
        .map(|number| {
            let run = Run {
                message: message.clone(),
                dialer: dialer.clone(),
                expected,
                connections: (connections + threads - 1 - number) / threads,
                streams: args.wanted.streams_per_connection,
                span,
                seed: (number * MOST_CONNECTIONS) as u64,
            };
            let start = start.clone();
            thread::spawn(move || drive(&run, &start))
        })
        .collect();
    let mut sum = Tally::default();
    let mut took = Duration::ZERO;
    for thread in running {
        let (tally, time) = thread
            .join()
            .map_err(|_| fault("a thread of the generator fell"))??;
        sum.merge(&tally);
        took = took.max(time);
    }
    Ok(sum.report(took))
}

/// Parameters of one generator thread.
struct Run {
    message: Arc<Message>,
    dialer: Arc<Dialer>,
    expected: Expected,
    connections: usize,
    streams: usize,
    span: Duration,
    seed: u64,
}

/// Runs one thread: opens its connections, waits for the others at `start`, then sends until `span` is over.
fn drive(run: &Run, start: &Barrier) -> Outcome<(Tally, Duration)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let opened = Caller::open(&run.dialer, run.connections, run.streams).await;
        // Must come before any early return: the other threads wait at the barrier too.
        start.wait();
        let opened = opened.map_err(|error| fault(format!("cannot connect: {error}")))?;
        let span = run.span;
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for (number, caller) in opened.into_iter().enumerate() {
            let dice = Dice::new(run.seed + number as u64);
            let message = run.message.clone();
            tasks.spawn(repeat(caller, message, run.expected, begun + span, dice));
        }
        let mut sum = Tally::default();
        let mut last = begun;
        let limit = tokio::time::Instant::from_std(begun + span + GRACE);
        loop {
            match tokio::time::timeout_at(limit, tasks.join_next()).await {
                Ok(Some(Ok(tally))) => {
                    last = last.max(tally.last.unwrap_or(begun));
                    sum.merge(&tally);
                }
                Ok(Some(Err(error))) => sum.error(error.to_string()),
                Ok(None) => break,
                Err(_) => {
                    sum.error(format!("{} answers never ended", tasks.len()));
                    break;
                }
            }
        }
        Ok((sum, last - begun))
    })
}

/// Sends requests one after the other until `deadline`.
async fn repeat(
    mut caller: Caller,
    message: Arc<Message>,
    expected: Expected,
    deadline: Instant,
    mut dice: Dice,
) -> Tally {
    let mut tally = Tally::default();
    let mut begun = Instant::now();
    while begun < deadline {
        let result = caller.exchange(&message, &mut dice, expected).await;
        let ended = Instant::now();
        match result {
            Ok(first_event) => tally.answer(begun, first_event, ended),
            Err(text) => {
                tally.error(text);
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
        begun = Instant::now();
    }
    tally.reconnects = caller.reconnects();
    tally
}
