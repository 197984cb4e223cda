//! One thread a core, each with a runtime of its own: a connection lives and dies on one of them.
//!
//! Nothing a request does wakes another thread: its provider's connection, its timers and what it
//! spawns stay where it is. Connections are given out one by one, to whoever has the fewest.

use crate::proxy::lag;
use crate::proxy::places::Seat;
use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::{GetSocketDigest, SocketDigest};
use pingora::server::ShutdownWatch;
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

type Accepted = (StdStream, SocketAddr, (Place, Seat));

pub struct Workers {
    all: Vec<Worker>,
}

struct Worker {
    give: UnboundedSender<Accepted>,
    load: Arc<AtomicUsize>,
}

/// A connection's place with a worker.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn of(load: &Arc<AtomicUsize>) -> Place {
        load.fetch_add(1, Ordering::Relaxed);
        Place(load.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Each serves `app` until these workers are dropped, does `before_sleep` whenever it has nothing
    /// to do, and takes itself for overloaded where it is later than `late`.
    pub fn start<A>(
        count: usize,
        app: &Arc<A>,
        stop: &ShutdownWatch,
        late: Duration,
        before_sleep: impl Fn() + Clone + Send + Sync + 'static,
    ) -> io::Result<Workers>
    where
        A: ServerApp + Send + Sync + 'static,
    {
        let mut all = Vec::new();
        for number in 0..count.max(1) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .on_thread_park(before_sleep.clone())
                .build()?;
            let (give, take) = mpsc::unbounded_channel();
            let (app, stop) = (app.clone(), stop.clone());
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || runtime.block_on(work(take, app, stop, late)))?;
            let load = Arc::default();
            all.push(Worker { give, load });
        }
        Ok(Workers { all })
    }

    /// Gives a connection to the worker that has the fewest.
    pub fn serve(&self, socket: TcpStream, peer: SocketAddr, seat: Seat) -> io::Result<()> {
        // It leaves this thread's runtime for another's.
        let socket = socket.into_std()?;
        let least = self
            .all
            .iter()
            .min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let worker = least.ok_or(io::ErrorKind::NotConnected)?;
        let place = Place::of(&worker.load);
        worker
            .give
            .send((socket, peer, (place, seat)))
            .map_err(|_| io::Error::from(io::ErrorKind::NotConnected))
    }
}

async fn work<A>(
    mut take: UnboundedReceiver<Accepted>,
    app: Arc<A>,
    stop: ShutdownWatch,
    late: Duration,
) where
    A: ServerApp + Send + Sync + 'static,
{
    tokio::spawn(lag::watch(late));
    while let Some((socket, peer, place)) = take.recv().await {
        let Ok(socket) = TcpStream::from_std(socket) else {
            continue;
        };
        let (app, stop) = (app.clone(), stop.clone());
        tokio::spawn(async move {
            serve(socket, peer, &app, &stop).await;
            drop(place);
        });
    }
}

/// Serves one connection to its end.
pub async fn serve<A>(socket: TcpStream, peer: SocketAddr, app: &Arc<A>, stop: &ShutdownWatch)
where
    A: ServerApp + Send + Sync + 'static,
{
    // A socket that is gone already fails where it is read.
    let _ = socket.set_nodelay(true);
    let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
    let _ = digest.peer_addr.set(Some(peer.into()));
    let mut stream = Stream::from(socket);
    stream.set_socket_digest(digest);
    app.process_new(Box::new(stream), stop).await;
}
