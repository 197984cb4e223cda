//! A TCP proxy that simulates a bad network: slow, silent, losing responses, or cut within one.
//!
//! Bytes pass unchanged and in order, or not at all: only faults of real connections are simulated. Each
//! fault can be switched while connections are open. Listens on 127.0.0.1 only.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(2);

pub struct Chaos {
    shared: Arc<Shared>,
    addr: SocketAddr,
    listening: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    server: Mutex<Option<SocketAddr>>,
    delay_ms: AtomicU64,
    silent: AtomicBool,
    deaf: AtomicBool,
    one_in: AtomicU64,
    answers: AtomicU64,
    cuts: AtomicU64,
    open: Mutex<HashMap<u64, [TcpStream; 2]>>,
    stopped: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

impl Chaos {
    pub fn before(port: u16) -> Chaos {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket on loopback");
        let addr = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared::default());
        *shared.server() = Some((Ipv4Addr::LOCALHOST, port).into());
        let for_thread = shared.clone();
        let listening = thread::spawn(move || accept(&listener, &for_thread));
        Chaos {
            shared,
            addr,
            listening: Some(listening),
        }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Adds latency to each direction.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("a short time");
        self.shared.delay_ms.store(millis, Ordering::SeqCst);
    }

    /// Holds back all bytes in both directions while `silent`; afterwards they pass.
    pub fn silence(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }

    /// Drops responses while `deaf`; commands pass. A connection that lost a response gets no more of them.
    pub fn deafen(&self, deaf: bool) {
        self.shared.deaf.store(deaf, Ordering::SeqCst);
    }

    /// Cuts the connection within every `pieces`th piece of responses, or in place of it, in turn. 0: never.
    pub fn cut_one_in(&self, pieces: u64) {
        self.shared.one_in.store(pieces, Ordering::SeqCst);
    }

    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Unblocks `accept`.
        let _ = TcpStream::connect(self.addr);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        let numbers: Vec<u64> = self.shared.open().keys().copied().collect();
        numbers
            .into_iter()
            .for_each(|number| self.shared.cut(number));
    }
}

impl Shared {
    fn server(&self) -> MutexGuard<'_, Option<SocketAddr>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, [TcpStream; 2]>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, number: u64) {
        for socket in self.open().remove(&number).into_iter().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, client) in listener.incoming().enumerate() {
        if shared.is_stopped() {
            return;
        }
        let number = number as u64;
        let (Ok(client), Some(server)) = (client, *shared.server()) else {
            continue;
        };
        // A dead server looks like a connection that closes.
        let Ok(server) = TcpStream::connect(server) else {
            continue;
        };
        let twice = |socket: &TcpStream| socket.try_clone().expect("another handle of a socket");
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let pair = [twice(&client), twice(&server)];
        shared.open().insert(number, pair);
        pass(&client, &server, Way::ToServer, number, shared);
        pass(&server, &client, Way::ToClient, number, shared);
    }
}

/// Separate threads read and write, so that a delay adds latency without reducing throughput.
fn pass(from: &TcpStream, to: &TcpStream, way: Way, number: u64, shared: &Arc<Shared>) {
    let twice = |socket: &TcpStream| socket.try_clone().expect("another handle of a socket");
    let (mut from, to) = (twice(from), twice(to));
    let (sender, pieces) = channel();
    let for_reader = shared.clone();
    thread::spawn(move || {
        let mut room = vec![0; 65_536];
        while let Ok(length) = from.read(&mut room) {
            let piece = (Instant::now(), room[..length].to_vec());
            // An empty piece marks the end.
            if sender.send(piece).is_err() || length == 0 {
                return;
            }
        }
        for_reader.cut(number);
    });
    let shared = shared.clone();
    thread::spawn(move || {
        write(to, &pieces, way, &shared);
        shared.cut(number);
    });
}

fn write(
    mut to: TcpStream,
    pieces: &Receiver<(Instant, Vec<u8>)>,
    way: Way,
    shared: &Shared,
) -> Option<()> {
    let mut lost_one = false;
    while let Ok((came, mut piece)) = pieces.recv() {
        let delay = Duration::from_millis(shared.delay_ms.load(Ordering::SeqCst));
        while came.elapsed() < delay || shared.silent.load(Ordering::SeqCst) {
            if shared.is_stopped() {
                return None;
            }
            thread::sleep(LOOK);
        }
        if piece.is_empty() {
            return None;
        }
        if way == Way::ToClient {
            lost_one |= shared.deaf.load(Ordering::SeqCst);
            if lost_one {
                continue;
            }
            let one_in = shared.one_in.load(Ordering::SeqCst);
            let answer = shared.answers.fetch_add(1, Ordering::SeqCst);
            if one_in > 0 && answer % one_in == one_in - 1 {
                let cut = shared.cuts.fetch_add(1, Ordering::SeqCst);
                piece.truncate(if cut.is_multiple_of(2) {
                    0
                } else {
                    piece.len() / 2
                });
                let _ = to.write_all(&piece);
                return None;
            }
        }
        to.write_all(&piece).ok()?;
    }
    None
}
