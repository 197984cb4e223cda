//! Worker threads, one per core by default (`server.threads`), each with its own single-threaded Tokio
//! runtime.
//!
//! A connection stays on one worker: its provider's connection, timers and spawned tasks run there too, so a
//! request never wakes another thread. A new connection goes to the worker with the fewest.

use crate::proxy::downstream::front::{Accepted, ConnectionServer, ListenerSpec};
use crate::proxy::limits::connections::ConnectionPermit;
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
struct Assigned {
    socket: StdStream,
    peer: SocketAddr,
    listener: Arc<ListenerSpec>,
    /// Connection permit; `None` on operator sockets.
    permit: Option<ConnectionPermit>,
    guard: LoadGuard,
}

/// The pool of worker threads. They stop when this is dropped.
pub(crate) struct Workers {
    all: Vec<Worker>,
}

struct Worker {
    /// Queue of connections for this worker.
    queue: UnboundedSender<Assigned>,
    /// Open connections of this worker.
    load: Arc<AtomicUsize>,
}

/// Counts one connection in [`Worker::load`] until dropped.
struct LoadGuard(Arc<AtomicUsize>);

impl LoadGuard {
    fn of(load: &Arc<AtomicUsize>) -> LoadGuard {
        load.fetch_add(1, Ordering::Relaxed);
        LoadGuard(load.clone())
    }
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts `count` threads, which serve until the [`Workers`] are dropped. Each calls `before_sleep` when
    /// it goes idle and sheds load when its event loop lags by more than `shed_after` (`server.shed_after`).
    pub fn start(
        count: usize,
        front: &Arc<ConnectionServer>,
        stop: &ShutdownWatch,
        shed_after: Duration,
        before_sleep: impl Fn() + Clone + Send + Sync + 'static,
    ) -> io::Result<Workers> {
        let mut all = Vec::new();
        for number in 0..count.max(1) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .on_thread_park(before_sleep.clone())
                .build()?;
            let (queue, incoming) = mpsc::unbounded_channel();
            let (front, stop) = (front.clone(), stop.clone());
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || runtime.block_on(work(incoming, front, stop, shed_after)))?;
            let load = Arc::default();
            all.push(Worker { queue, load });
        }
        Ok(Workers { all })
    }

    /// Sends a connection to the worker with the fewest open connections.
    pub fn serve(&self, accepted: Accepted) -> io::Result<()> {
        let Accepted {
            socket,
            peer,
            listener,
            permit,
        } = accepted;
        // Deregisters the socket from this thread's runtime; the worker registers it with its own.
        let socket = socket.into_std()?;
        let least = self
            .all
            .iter()
            .min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let worker = least.ok_or(io::ErrorKind::NotConnected)?;
        let guard = LoadGuard::of(&worker.load);
        worker
            .queue
            .send(Assigned {
                socket,
                peer,
                listener,
                permit,
                guard,
            })
            .map_err(|_| io::Error::from(io::ErrorKind::NotConnected))
    }
}

/// Event loop of one worker thread.
async fn work(
    mut incoming: UnboundedReceiver<Assigned>,
    front: Arc<ConnectionServer>,
    stop: ShutdownWatch,
    shed_after: Duration,
) {
    tokio::spawn(load_shed::measure(shed_after));
    while let Some(assigned) = incoming.recv().await {
        let Ok(socket) = TcpStream::from_std(assigned.socket) else {
            continue;
        };
        let accepted = Accepted {
            socket,
            peer: assigned.peer,
            listener: assigned.listener,
            permit: assigned.permit,
        };
        let (front, stop, guard) = (front.clone(), stop.clone(), assigned.guard);
        tokio::spawn(async move {
            front.serve(accepted, &stop).await;
            drop(guard);
        });
    }
}
