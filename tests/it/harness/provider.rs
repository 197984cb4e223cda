//! A scripted provider on real sockets that records its requests.
//!
//! One thread per connection, keep-alive, HTTP/1.1 only. It does not validate requests: the test does, in its
//! closure or afterwards.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::script::{Script, Step};
use super::wait::{eventually, within};
use super::wire::{Body, Head, Headers, LAST_CHUNK, Wire, chunk, header, lists};

const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than any test; a stalled response ends with the test.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A received request.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// Path with the query.
    pub path: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    /// Time at which it was complete.
    pub at: Instant,
    /// Requests with equal numbers shared a socket.
    pub connection: usize,
    /// Whether the client closed before the response was complete.
    pub client_left: bool,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("no JSON was sent ({error}): {}", self.text()),
        }
    }
}

pub struct Provider {
    shared: Arc<Shared>,
    addr: SocketAddr,
    listening: Option<JoinHandle<()>>,
}

struct Shared {
    answer: Box<dyn Fn(&Received) -> Script + Send + Sync>,
    received: Mutex<Vec<Received>>,
    /// Open sockets, which are closed at the end of the test.
    open: Mutex<HashMap<usize, TcpStream>>,
    served: AtomicUsize,
    sending: AtomicUsize,
    stopped: AtomicBool,
}

impl Provider {
    pub fn start(answer: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket on loopback");
        let addr = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            received: Mutex::default(),
            open: Mutex::default(),
            served: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let listening = thread::spawn(move || accept(&listener, &for_thread));
        Provider {
            shared,
            addr,
            listening: Some(listening),
        }
    }

    /// Full URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn requests(&self) -> Vec<Received> {
        self.shared.received().clone()
    }

    /// Waits for `count` requests and returns all so far.
    #[track_caller]
    pub fn wait_requests(&self, count: usize) -> Vec<Received> {
        eventually(
            PATIENCE,
            &format!("{count} requests at the provider"),
            || Some(self.requests()).filter(|all| all.len() >= count),
        )
    }

    /// Waits until the client of request `index` disconnects before its response is complete.
    #[track_caller]
    pub fn wait_left(&self, index: usize) -> Received {
        eventually(PATIENCE, "the client closes its connection", || {
            let request = self.requests().get(index).cloned()?;
            request.client_left.then_some(request)
        })
    }

    /// Number of responses that were sent completely; each is counted shortly after its last byte.
    pub fn served(&self) -> usize {
        let sending = || self.shared.sending.load(Ordering::Acquire);
        let _ = within(Duration::from_secs(1), || (sending() == 0).then_some(()));
        self.shared.served.load(Ordering::Acquire)
    }

    /// Number of open connections.
    pub fn connections(&self) -> usize {
        self.shared.open().len()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Unblocks `accept`.
        let _ = TcpStream::connect(self.addr);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        for stream in self.shared.open().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<usize, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, stream) in listener.incoming().enumerate() {
        if shared.is_stopped() {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(second) = stream.try_clone() else {
            continue;
        };
        shared.open().insert(number, second);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let closing = Closing { shared, number };
            // Connection errors, above all a client that closes, are no fault of the provider.
            let _ = converse(stream, number, &closing.shared);
        });
    }
}

/// Removes the socket also in a panic of the test's closure; otherwise the client would wait on it.
struct Closing {
    shared: Arc<Shared>,
    number: usize,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(stream) = self.shared.open().remove(&self.number) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn converse(stream: TcpStream, connection: usize, shared: &Shared) -> io::Result<()> {
    let mut wire = Wire::new(stream)?;
    while let Some(head) = wire.read_head()? {
        let request = receive(&mut wire, head, connection)?;
        let keep = !lists(&request.headers, "connection", "close");
        let index = {
            let mut received = shared.received();
            received.push(request.clone());
            received.len() - 1
        };
        let script = (shared.answer)(&request);
        shared.sending.fetch_add(1, Ordering::AcqRel);
        let played = play(&mut wire, &script, request.method == "HEAD", shared);
        let is_whole = matches!(played, Ok(Played::Whole { .. }));
        shared
            .served
            .fetch_add(usize::from(is_whole), Ordering::AcqRel);
        shared.sending.fetch_sub(1, Ordering::AcqRel);
        match played {
            Ok(Played::Whole { keep: also }) => {
                if !(keep && also) {
                    return Ok(());
                }
            }
            Ok(Played::Stopped) => return Ok(()),
            Ok(Played::Left) | Err(_) => {
                shared.received()[index].client_left = !shared.is_stopped();
                return Ok(());
            }
        }
    }
    Ok(())
}

fn receive(wire: &mut Wire, head: Head, connection: usize) -> io::Result<Received> {
    if lists(&head.headers, "expect", "100-continue") {
        wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut rest = Body::of_request(&head.headers)?;
    let mut body = Vec::new();
    while let Some(piece) = rest.next(wire)? {
        body.extend(piece);
    }
    let mut words = head.first.split(' ').map(str::to_owned);
    Ok(Received {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers: head.headers,
        body,
        at: Instant::now(),
        connection,
        client_left: false,
    })
}

enum Played {
    /// Sent completely; `keep`: another request may follow.
    Whole { keep: bool },
    /// The client disconnected first.
    Left,
    /// The script cut the connection, or the test ended.
    Stopped,
}

fn play(wire: &mut Wire, script: &Script, is_head: bool, shared: &Shared) -> io::Result<Played> {
    // Without a head there is no response: the connection closes.
    let mut keep = false;
    let mut chunked = false;
    for step in &script.steps {
        // What was generated is sent, also to a client that has closed its side.
        let is_sending = matches!(step, Step::Bytes(_));
        if !is_sending && wire.peer_has_gone() {
            return Ok(Played::Left);
        }
        let ended = match step {
            Step::Head { status, headers } => {
                let framed = header(headers, "content-length").is_some();
                keep = !lists(headers, "connection", "close");
                let said = lists(headers, "transfer-encoding", "chunked");
                chunked = said || (!framed && keep);
                wire.write(&head_bytes(*status, headers, chunked && !said))?;
                None
            }
            Step::Bytes(bytes) => {
                if is_head {
                    None
                } else if chunked {
                    wire.write(&chunk(bytes)).map(|()| None)?
                } else {
                    wire.write(bytes).map(|()| None)?
                }
            }
            Step::Generate(tokens, tally) => {
                tally.add(*tokens);
                None
            }
            Step::Sleep(time) => {
                thread::sleep(*time);
                None
            }
            Step::Wait(time) => hold(wire, shared, *time, || false, true),
            Step::WaitUntilLeft => {
                within(FOR_EVER, || {
                    (shared.is_stopped() || wire.peer_has_gone()).then_some(())
                });
                None
            }
            Step::WaitUntilReleased(gate) => hold(wire, shared, FOR_EVER, || gate.is_open(), true),
            Step::Stall => hold(wire, shared, FOR_EVER, || false, false),
            Step::Cut => Some(Played::Stopped),
        };
        if let Some(ended) = ended {
            return Ok(ended);
        }
    }
    if chunked && !is_head {
        wire.write(LAST_CHUNK)?;
    }
    Ok(Played::Whole { keep })
}

/// Waits for the time or the condition, whichever comes first, or until the client disconnects or the test
/// ends. `None`: the script continues.
fn hold(
    wire: &Wire,
    shared: &Shared,
    time: Duration,
    released: impl Fn() -> bool,
    goes_on: bool,
) -> Option<Played> {
    let ended = within(time, || {
        if shared.is_stopped() {
            Some(Some(Played::Stopped))
        } else if wire.peer_has_gone() {
            Some(Some(Played::Left))
        } else {
            released().then_some(None)
        }
    });
    match ended {
        Some(ended) => ended,
        None if goes_on => None,
        None => Some(Played::Stopped),
    }
}

fn head_bytes(status: u16, headers: &Headers, add_chunked: bool) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if add_chunked {
        head += "transfer-encoding: chunked\r\n";
    }
    head += "\r\n";
    head.into_bytes()
}
