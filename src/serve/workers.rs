//! One thread a core, each with a runtime of its own: a connection lives and dies on one of them.
//!
//! Nothing a request does wakes another thread: its provider's connection, its timers and what it
//! spawns stay where it is. Connections are given out one by one, to whoever has the fewest.

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

/// A connection on its way to the thread that serves it.
struct Given {
    socket: StdStream,
    peer: SocketAddr,
    listener: Arc<ListenerSpec>,
    seat: Option<Seat>,
    place: Place,
}

pub struct Workers {
    all: Vec<Worker>,
}

struct Worker {
    give: UnboundedSender<Given>,
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
    /// Each serves connections until these workers are dropped, does `before_sleep` whenever it has nothing
    /// to do, and takes itself for overloaded where it is later than `late`.
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

    /// Gives a connection to the worker that has the fewest.
    pub fn serve(&self, accepted: Accepted) -> io::Result<()> {
        let Accepted {
            socket,
            peer,
            listener,
            seat,
        } = accepted;
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
