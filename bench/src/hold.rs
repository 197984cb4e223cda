//! Opens many streams that send one event and then stay idle, and measures the memory that each costs the
//! gateway.
//!
//! The mock provider stays idle on `pace:idle` in the prompt.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::load::{Dialer, Dice, Message, Shared, Socket, Wanted, next, send};
use crate::process;
use crate::wire::{Body, Events, Inbox};
use crate::{Outcome, fault};
use h2::RecvStream;

/// Streams being opened at a time; more would only queue.
const OPENING: usize = 64;
/// Deadline for opening all streams.
const OPEN_ALL: Duration = Duration::from_secs(40);
/// Pause between the last opened stream and [`Report::kb_open`].
const SETTLE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub wanted: Wanted,
    #[arg(long)]
    pub streams: usize,
    /// Time to hold the streams once all are open
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Process whose memory is measured, including its children
    #[arg(long)]
    pub pid: u32,
    #[arg(long)]
    pub json: bool,
}

/// Memory in KiB (`VmRSS`), and surviving streams.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub streams: usize,
    /// Streams still open at the end.
    pub survived: usize,
    pub kb_before: u64,
    pub kb_open: u64,
    pub kb_held: u64,
    pub kb_per_stream: f64,
}

pub fn run(args: &Args) -> Outcome<Report> {
    process::raise_descriptors();
    let mut wanted = args.wanted.clone();
    wanted.stream = true;
    // In the prompt, because some gateways accept only configured models.
    wanted.prompt = "pace:idle".to_owned();
    let (message, dialer) = Message::build(&wanted)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(hold(args, Arc::new(message), &Arc::new(dialer)))
}

async fn hold(args: &Args, message: Arc<Message>, dialer: &Arc<Dialer>) -> Outcome<Report> {
    let kb_before = process::resident_kb(args.pid);
    let gate = Arc::new(Semaphore::new(OPENING));
    let ended = Arc::new(AtomicUsize::new(0));
    let mut opening = JoinSet::new();
    let mut shared: Option<Shared> = None;
    for number in 0..args.streams {
        let (gate, message, dialer) = (gate.clone(), message.clone(), dialer.clone());
        let beside = match dialer.protocol.is_http2() {
            false => None,
            true => {
                if number % args.wanted.streams_per_connection.max(1) == 0 {
                    shared = Some(Shared::open(&dialer).await?);
                }
                shared.as_ref().map(Shared::another)
            }
        };
        opening.spawn(async move {
            let _turn = gate.acquire().await;
            let mut dice = Dice::new(number as u64);
            match beside {
                None => open_alone(&dialer, &message, &mut dice).await,
                Some(shared) => open_beside(shared, &message, &mut dice).await,
            }
        });
    }
    drop(shared);
    let mut waiting = JoinSet::new();
    let open_all = async {
        while let Some(opened) = opening.join_next().await {
            let mut stream = opened??;
            let ended = Arc::clone(&ended);
            waiting.spawn(async move {
                // The provider stays silent, so any byte or EOF means that the stream ended early.
                stream.silence().await;
                ended.fetch_add(1, Ordering::Relaxed);
                stream
            });
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(OPEN_ALL, open_all)
        .await
        .map_err(|_| fault("the streams did not open in time"))??;
    tokio::time::sleep(SETTLE).await;
    let kb_open = process::resident_kb(args.pid);
    tokio::time::sleep(Duration::from_secs_f64(args.seconds.clamp(0.0, 3600.0))).await;
    let kb_held = process::resident_kb(args.pid);
    let grown = kb_open.max(kb_held).saturating_sub(kb_before);
    Ok(Report {
        streams: args.streams,
        survived: args.streams - ended.load(Ordering::Relaxed),
        kb_before,
        kb_open,
        kb_held,
        kb_per_stream: grown as f64 / args.streams.max(1) as f64,
    })
}

/// An open stream after its first event.
enum Open {
    /// HTTP/1.1: one connection per stream.
    Alone(Box<dyn Socket>),
    /// HTTP/2: the connection stays open as long as a [`Shared`] handle of it exists.
    Beside(Box<(Shared, RecvStream)>),
}

impl Open {
    /// Waits until more data or the end arrives.
    async fn silence(&mut self) {
        match self {
            Open::Alone(stream) => {
                let _ = stream.read(&mut [0]).await;
            }
            Open::Beside(both) => {
                let _ = next(&mut both.1).await;
            }
        }
    }
}

async fn open_alone(dialer: &Dialer, message: &Message, dice: &mut Dice) -> io::Result<Open> {
    let mut stream = dialer.open().await?;
    let mut space = Vec::new();
    send(&mut stream, message.bytes(dice, &mut space)).await?;
    let mut inbox = Inbox::default();
    let Some(response) = inbox.response(&mut stream).await? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    if response.status != 200 {
        return Err(io::Error::other(format!("status {}", response.status)));
    }
    let mut body = Body::new(response.framing);
    let mut events = Events::default();
    while events.count() == 0 {
        inbox
            .piece(&mut stream, &mut body, |bytes| events.feed(bytes))
            .await?;
        if body.is_done() {
            return Err(io::Error::other("a stream without events"));
        }
    }
    Ok(Open::Alone(stream))
}

async fn open_beside(mut shared: Shared, message: &Message, dice: &mut Dice) -> io::Result<Open> {
    let sent = shared.send(message.request(dice)).await;
    let (status, mut body) = sent.map_err(io::Error::other)?;
    if status != 200 {
        return Err(io::Error::other(format!("status {status}")));
    }
    let mut events = Events::default();
    while events.count() == 0 {
        let piece = next(&mut body).await.map_err(io::Error::other)?;
        let piece = piece.ok_or_else(|| io::Error::other("a stream without events"))?;
        events.feed(&piece);
    }
    Ok(Open::Beside(Box::new((shared, body))))
}

impl Report {
    pub fn print(&self) {
        println!(
            "{} streams, {} still open: {:.1} KB each ({} KB before, {} KB open, {} KB held)",
            self.streams,
            self.survived,
            self.kb_per_stream,
            self.kb_before,
            self.kb_open,
            self.kb_held
        );
    }
}
