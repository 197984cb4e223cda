//! Worker threads, one per core by default (`server.threads`), each with its own single-threaded Tokio
//! runtime.
//!
//! A connection stays on one worker: its provider's connection, timers and spawned tasks run there too, so a
//! request never wakes another thread. A new connection goes to the worker with the fewest.

use crate::proxy::downstream::front::{Accepted, Front, ListenerSpec};
use crate::proxy::limits::connections::Seat;
use crate::proxy::limits::load_shed;
use pingora::server::ShutdownWatch;
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// An accepted connection sent to a worker.
struct Given {
    socket: StdStream,
    peer: SocketAddr,
    listener: Arc<ListenerSpec>,
    /// Connection permit; `None` on operator sockets.
    seat: Option<Seat>,
    place: Place,
}

/// The pool of worker threads. They stop when this is dropped.
pub struct Workers {
    all: Vec<Worker>,
}

struct Worker {
    /// Queue of connections for this worker.
    give: UnboundedSender<Given>,
    /// Open connections of this worker.
    load: Arc<AtomicUsize>,
}

/// Counts one connection in [`Worker::load`] until dropped.
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
    /// Starts `count` threads, which serve until the [`Workers`] are dropped. Each calls `before_sleep` when
    /// it goes idle and sheds load when its event loop lags by more than `late` (`server.shed_after`).
    pub fn start(
        count: usize,
        front: &Arc<Front>,
        stop: &ShutdownWatch,
        late: Duration,
        before_sleep: impl Fn() + Clone + Send + Sync + 'static,
    ) -> io::Result<Workers> {
        let mut all = Vec::new();
        for number in 0..count.max(1) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .on_thread_park(before_sleep.clone())
                .build()?;
            let (give, take) = mpsc::unbounded_channel();
            let (front, stop) = (front.clone(), stop.clone());
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || runtime.block_on(work(take, front, stop, late)))?;
            let load = Arc::default();
            all.push(Worker { give, load });
        }
        Ok(Workers { all })
    }

    /// Sends a connection to the worker with the fewest open connections.
    pub fn serve(&self, accepted: Accepted) -> io::Result<()> {
        let Accepted {
            socket,
            peer,
            listener,
            seat,
        } = accepted;
        // Deregisters the socket from this thread's runtime; the worker registers it with its own.
        let socket = socket.into_std()?;
        let least = self
            .all
            .iter()
            .min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let worker = least.ok_or(io::ErrorKind::NotConnected)?;
        let place = Place::of(&worker.load);
        worker
            .give
            .send(Given {
                socket,
                peer,
                listener,
                seat,
                place,
            })
            .map_err(|_| io::Error::from(io::ErrorKind::NotConnected))
    }
}

/// Event loop of one worker thread.
async fn work(
    mut take: UnboundedReceiver<Given>,
    front: Arc<Front>,
    stop: ShutdownWatch,
    late: Duration,
) {
    tokio::spawn(load_shed::watch(late));
    while let Some(given) = take.recv().await {
        let Ok(socket) = TcpStream::from_std(given.socket) else {
            continue;
        };
        let accepted = Accepted {
            socket,
            peer: given.peer,
            listener: given.listener,
            seat: given.seat,
        };
        let (front, stop, place) = (front.clone(), stop.clone(), given.place);
        tokio::spawn(async move {
            front.serve(accepted, &stop).await;
            drop(place);
        });
    }
}
