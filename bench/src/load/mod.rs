//! A closed-loop generator: every connection sends its next request when it has checked the answer
//! to the last one. Requests under way at the end are finished, so that books can be compared.

mod connection;
mod message;
mod report;

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::{Outcome, fault};
pub use connection::{Connection, Expected};
pub use message::{Dice, Message, Wanted};
pub use report::{Report, Tally};

/// What an answer may take beyond the end of the run.
const GRACE: Duration = Duration::from_secs(30);
/// So that a server that refuses everything is not asked a million times.
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
    /// The status that every answer must have
    #[arg(long, default_value_t = 200)]
    pub expect: u16,
    /// Prints the figures as one JSON object
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Outcome<Report> {
    let message = Arc::new(Message::build(&args.wanted)?);
    let expected = Expected {
        status: args.expect,
        stream: args.wanted.stream,
    };
    let connections = args.connections.clamp(1, MOST_CONNECTIONS);
    let span = Duration::from_secs_f64(args.seconds.clamp(0.01, 3600.0));
    let threads = args.threads.clamp(1, connections);
    let start = Arc::new(Barrier::new(threads));
    let running: Vec<_> = (0..threads)
        .map(|number| {
            let (message, start) = (Arc::clone(&message), Arc::clone(&start));
            let share = (connections + threads - 1 - number) / threads;
            let seed = (number * MOST_CONNECTIONS) as u64;
            thread::spawn(move || drive(&message, expected, share, span, seed, &start))
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

/// All connections of one thread.
fn drive(
    message: &Arc<Message>,
    expected: Expected,
    connections: usize,
    span: Duration,
    seed: u64,
    start: &Barrier,
) -> Outcome<(Tally, Duration)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut opened = Vec::new();
        let mut refused = Ok(());
        for _ in 0..connections {
            match Connection::open(message.address).await {
                Ok(connection) => opened.push(connection),
                Err(error) => refused = Err(fault(format!("cannot connect: {error}"))),
            }
        }
        // Before any early return: the other threads wait here too.
        start.wait();
        refused?;
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for (number, connection) in opened.into_iter().enumerate() {
            let dice = Dice::new(seed + number as u64);
            tasks.spawn(repeat(
                connection,
                Arc::clone(message),
                expected,
                begun + span,
                dice,
            ));
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

async fn repeat(
    mut connection: Connection,
    message: Arc<Message>,
    expected: Expected,
    deadline: Instant,
    mut dice: Dice,
) -> Tally {
    let mut tally = Tally::default();
    let mut space = Vec::new();
    let mut begun = Instant::now();
    while begun < deadline {
        let request = message.bytes(&mut dice, &mut space);
        let result = connection.exchange(request, expected).await;
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
    tally.reconnects = connection.reconnects;
    tally
}
