//! The mock provider: faster than any gateway under test, so that it is never the bottleneck.
//!
//! `GET /count` returns the requests and tokens served, so that a gateway's charges can be verified.

mod answer;
mod call;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::wire::{Body, Framing, Inbox, Request};
use answer::{Answers, TOKENS_PLAIN, TOKENS_STREAM};
use call::{Call, Pause};

/// Limit of a request body in bytes; a larger one gets 413.
const LARGEST_BODY: usize = 8 * 1024 * 1024;
/// Duration of an idle stream without a limit of its own.
const LONGEST_IDLE: Duration = Duration::from_secs(3600);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    port: u16,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Response of `GET /count`. Only requests served to their end are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub requests: u64,
    pub streams: u64,
    pub tokens: u64,
}

impl Count {
    /// Returns what was counted after `before`.
    pub fn since(self, before: Count) -> Count {
        Count {
            requests: self.requests - before.requests,
            streams: self.streams - before.streams,
            tokens: self.tokens - before.tokens,
        }
    }
}

/// Counters behind [`Count`].
#[derive(Default)]
struct Served {
    requests: AtomicU64,
    streams: AtomicU64,
    tokens: AtomicU64,
}

impl Served {
    fn add(&self, streams: u64, tokens: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.streams.fetch_add(streams, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    fn count(&self) -> Count {
        Count {
            requests: self.requests.load(Ordering::Relaxed),
            streams: self.streams.load(Ordering::Relaxed),
            tokens: self.tokens.load(Ordering::Relaxed),
        }
    }
}

/// Serves until the process is killed. Connections are assigned to threads round-robin: with `SO_REUSEPORT`
/// the kernel would load the threads unevenly.
pub fn serve(args: &Args) -> io::Result<Infallible> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)))?;
    rustix::net::listen(&listener, 16 * 1024)?;
    let served = Arc::new(Served::default());
    let answers = Arc::new(Answers::build());
    let mut threads = Vec::new();
    for _ in 0..args.threads.max(1) {
        let (sender, receiver) = unbounded_channel();
        let (served, answers) = (Arc::clone(&served), Arc::clone(&answers));
        std::thread::spawn(move || run(receiver, &served, &answers));
        threads.push(sender);
    }
    for thread in threads.iter().cycle() {
        match listener.accept() {
            Ok((stream, _)) => {
                let _ = thread.send(stream);
            }
            // Most likely out of file descriptors: back off; open connections go on.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    Err(io::Error::other("no thread to serve"))
}

fn run(
    mut incoming: UnboundedReceiver<std::net::TcpStream>,
    served: &Arc<Served>,
    answers: &Arc<Answers>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        while let Some(stream) = incoming.recv().await {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let stream = TcpStream::from_std(stream)?;
            let (served, answers) = (Arc::clone(served), Arc::clone(answers));
            tokio::spawn(async move {
                // Ignore errors: a client may disconnect at any time.
                let _ = converse(stream, &served, &answers).await;
            });
        }
        Ok(())
    })
}

async fn converse(mut stream: TcpStream, served: &Served, answers: &Answers) -> io::Result<()> {
    let mut inbox = Inbox::default();
    let mut content = Vec::new();
    while let Some(request) = inbox.request(&mut stream).await? {
        if request.expects_continue {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        content.clear();
        if !read_body(&mut stream, &mut inbox, &request, &mut content).await? {
            return stream
                .write_all(&answer::refusal("413 Payload Too Large"))
                .await;
        }
        if request.get && request.path == "/count" {
            stream.write_all(&answer::json(&served.count())).await?;
        } else if request.get {
            stream.write_all(&answer::refusal("404 Not Found")).await?;
        } else {
            match Call::read(&content) {
                Call::Plain => {
                    // Count before answering: the client may ask for `/count` as soon as it has the response.
                    served.add(0, TOKENS_PLAIN);
                    stream.write_all(&answers.plain).await?;
                }
                Call::Stream(pause) => stream_events(&mut stream, answers, pause, served).await?,
            }
        }
        if request.close {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads a request body into `content`. Returns `false` if it exceeds [`LARGEST_BODY`].
async fn read_body(
    stream: &mut TcpStream,
    inbox: &mut Inbox,
    request: &Request,
    content: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut body = Body::new(request.framing);
    if let Framing::Length(length) = request.framing {
        if length > LARGEST_BODY as u64 {
            return Ok(false);
        }
        content.reserve(length as usize);
    }
    while !body.is_done() {
        inbox
            .piece(stream, &mut body, |bytes| content.extend_from_slice(bytes))
            .await?;
        if content.len() > LARGEST_BODY {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn stream_events(
    stream: &mut TcpStream,
    answers: &Answers,
    pause: Pause,
    served: &Served,
) -> io::Result<()> {
    let Some((last, events)) = answers.events.split_last() else {
        return Ok(());
    };
    for event in events {
        stream.write_all(event).await?;
        match pause {
            // Yield to the runtime, so that each event is a packet of its own.
            Pause::None => tokio::task::yield_now().await,
            Pause::Each(span) => tokio::time::sleep(span).await,
            Pause::Idle(span) => return wait_for_end(stream, span.unwrap_or(LONGEST_IDLE)).await,
        }
    }
    served.add(1, TOKENS_STREAM);
    stream.write_all(last).await
}

/// Waits for the client to disconnect, at most `span`. Always returns an error, which closes the connection.
async fn wait_for_end(stream: &mut TcpStream, span: Duration) -> io::Result<()> {
    let _ = tokio::time::timeout(span, stream.readable()).await;
    Err(io::ErrorKind::ConnectionAborted.into())
}
