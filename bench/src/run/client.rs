//! HTTP client of the runner: reads the provider's count, mints keys, reads balances.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::wire::{Body, Inbox};
use crate::{Outcome, fault};

/// Deadline for one call of [`ask_all`].
const LONGEST: Duration = Duration::from_secs(300);

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// Parses the body; any other `status` is an error.
    pub fn json(&self, status: u16) -> Outcome<Value> {
        if self.status != status {
            let text = String::from_utf8_lossy(&self.body);
            return Err(fault(format!("status {}: {text}", self.status)));
        }
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// Returns the bytes of an HTTP/1.1 request; an empty `bearer` sends no `authorization`.
pub fn request(method: &str, path: &str, bearer: &str, body: &str) -> Vec<u8> {
    let key = match bearer {
        "" => String::new(),
        key => format!("authorization: Bearer {key}\r\n"),
    };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{key}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

pub fn ask(port: u16, request: Vec<u8>) -> Outcome<Answer> {
    let mut answers = ask_all(port, vec![request], 1)?;
    answers.pop().ok_or_else(|| fault("no answer"))
}

/// Sends many requests over a few connections; returns the responses in the order of the requests.
pub fn ask_all(port: u16, requests: Vec<Vec<u8>>, connections: usize) -> Outcome<Vec<Answer>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let count = requests.len();
    let queue: VecDeque<_> = requests.into_iter().enumerate().collect();
    let queue = Arc::new(Mutex::new(queue));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let all = async {
        let mut tasks = JoinSet::new();
        for _ in 0..connections.min(count) {
            tasks.spawn(work(address, Arc::clone(&queue)));
        }
        let mut answers = Vec::with_capacity(count);
        while let Some(some) = tasks.join_next().await {
            answers.extend(some??);
        }
        answers.sort_unstable_by_key(|(number, _)| *number);
        Outcome::Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    };
    runtime.block_on(async {
        let result = tokio::time::timeout(LONGEST, all).await;
        result.map_err(|_| fault("the answers did not come in time"))?
    })
}

type Queue = Arc<Mutex<VecDeque<(usize, Vec<u8>)>>>;

async fn work(address: SocketAddr, queue: Queue) -> io::Result<Vec<(usize, Answer)>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut inbox = Inbox::default();
    let mut answers = Vec::new();
    loop {
        let next = {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.pop_front()
        };
        let Some((number, request)) = next else {
            return Ok(answers);
        };
        stream.write_all(&request).await?;
        let Some(response) = inbox.response(&mut stream).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let mut body = Body::new(response.framing);
        let mut content = Vec::new();
        while !body.is_done() {
            inbox
                .piece(&mut stream, &mut body, |bytes| {
                    content.extend_from_slice(bytes);
                })
                .await?;
        }
        let status = response.status;
        answers.push((
            number,
            Answer {
                status,
                body: content,
            },
        ));
        if response.close {
            stream = TcpStream::connect(address).await?;
            inbox = Inbox::default();
        }
    }
}
