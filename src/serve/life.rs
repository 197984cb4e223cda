//! Life of the process: accept, serve, hand over, drain, stop.

use super::build::App;
use super::handover::{self, Channel};
use super::listen::BACKLOG;
use super::recover;
use super::signals::{Action, Signals};
use super::sockets::{Sockets, follow};
use super::workers::Workers;
use crate::proxy::call::Proxy;
use crate::proxy::downstream::front::{Accepted, ConnectionServer, ListenerSpec};
use crate::proxy::downstream::rejection::reject;
use crate::settings;
use crate::store::Store;
use crate::store::directory;
use crate::telemetry::series::Families;
use futures_util::FutureExt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Time for cut-off requests to send their last bytes and settle after `server.drain_timeout`; also the
/// deadline of each flush in `flush_books`.
const CUT_OFF_TIMEOUT: Duration = Duration::from_secs(5);
/// Grace period of a stop and of a hand-over before connections drain: one accepted just before may still send its
/// first request.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);
/// Interval of the `sweep` task.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Interval of the `log_refusals` task.
const LOG_REFUSALS_EVERY: Duration = Duration::from_secs(1);
/// Times until what is too old is removed for the first time, and again.
const FIRST_PURGE: Duration = Duration::from_secs(60);
const PURGE_INTERVAL: Duration = Duration::from_secs(86_400);
/// Interval at which the lists of keys and people are swept.
const LISTS_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Backoff after a failed `accept`, usually for lack of file descriptors: lets some connections end first.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Deadline for the new process between [`handover::GO`] and [`handover::READY`]: opening its store and
/// accepting.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(20);

/// Deadline for reading the settings of the new process.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A gateway that runs.
struct Life {
    app: App,
    front: Arc<ConnectionServer>,
    /// `true` tells every connection to close after its current request.
    stop: watch::Sender<bool>,
}

/// Tasks that accept connections, one for each socket.
type Accepting = Vec<Acceptor>;

/// A socket, the task that accepts its connections, and the function that takes them.
struct Acceptor {
    task: JoinHandle<()>,
    listener: Arc<TcpListener>,
    dispatch: Arc<dyn Fn(TcpStream, SocketAddr) + Send + Sync>,
}

/// Serves until a signal stops it, then drains. `line`: channel to the process that this one takes over from.
pub async fn serve(app: App, sockets: Sockets, line: Option<Channel>) -> io::Result<()> {
    let mut signals = Signals::new()?;
    app.proxy.recorder.start();
    sockets.announce()?;
    let life = Life {
        front: Arc::new(ConnectionServer::new(app.proxy.clone())),
        stop: watch::Sender::new(false),
        app,
    };
    let duplicates = sockets.duplicates()?;
    let workers = Arc::new(life.start_workers()?);
    let mut accepting = life.start_accepting(sockets, &workers);
    let delivery = &life.app.delivery;
    let background = [
        tokio::spawn(sweep(life.app.proxy.clone())),
        tokio::spawn(delivery.leases.clone().run()),
        tokio::spawn(life.app.proxy.local.revocations.clone().run()),
        tokio::spawn(delivery.replay.clone().run()),
        tokio::spawn(purge(life.app.store.clone())),
        tokio::spawn(keep_lists(life.app.store.clone())),
        tokio::spawn(log_refusals(life.app.proxy.metrics.families.clone())),
    ];
    if let Some(mut line) = line {
        line.send(handover::READY).await?;
    }
    handover::notify_ready(life.app.settings.notify.as_deref());
    let is_handed_over = life
        .wait_for_end(&duplicates, &mut accepting, &mut signals)
        .await?;
    log::info!("Server shutting down");
    life.stop(is_handed_over, accepting, duplicates, &mut signals)
        .await;
    background.iter().for_each(JoinHandle::abort);
    life.app.proxy.metrics.families.log_refusals();
    life.flush_books().await;
    life.app.store.close().await;
    life.app.delivery.journal.finish();
    drop(workers);
    Ok(())
}

/// Removes what is older than `retention` allows, a minute after the start and then daily.
async fn purge(store: Arc<dyn Store>) {
    tokio::time::sleep(FIRST_PURGE).await;
    loop {
        match store.purge().await {
            Ok(0) => {}
            Ok(records) => {
                log::info!(records = records; "Removed {records} records that were older than retention allows");
            }
            Err(error) => {
                log::warn!("Could not remove what is older than retention allows: {error}");
            }
        }
        tokio::time::sleep(PURGE_INTERVAL).await;
    }
}

/// Enters all that is stored in the lists of keys and people, where that was never done, and strikes hourly what has
/// ended.
async fn keep_lists(store: Arc<dyn Store>) {
    loop {
        if let Err(error) = directory::keep(&*store).await {
            log::warn!("Could not bring the lists of keys and people up to date: {error}");
        }
        tokio::time::sleep(LISTS_INTERVAL).await;
    }
}

impl Life {
    fn start_workers(&self) -> io::Result<Workers> {
        let server = &self.app.settings.server;
        let count = match server.threads {
            Some(count) => count,
            None => std::thread::available_parallelism()?.get(),
        };
        let journal = self.app.delivery.journal.clone();
        let before_sleep = move || journal.flush_here();
        let stop = self.stop.subscribe();
        Workers::start(count, &self.front, &stop, server.shed_after, before_sleep)
    }

    fn start_accepting(&self, sockets: Sockets, workers: &Arc<Workers>) -> Accepting {
        let Sockets { all, followed } = sockets;
        follow(followed);
        let all = all.into_iter();
        let acceptors = all.map(|(listener, spec)| {
            let listener = Arc::new(listener);
            let dispatch = Arc::new(self.dispatcher(workers, spec));
            Acceptor {
                task: tokio::spawn(accept(listener.clone(), dispatch.clone())),
                listener,
                dispatch,
            }
        });
        acceptors.collect()
    }

    /// Waits until a signal ends this process. True: a new process has taken over.
    async fn wait_for_end(
        &self,
        duplicates: &[OwnedFd],
        accepting: &mut Accepting,
        signals: &mut Signals,
    ) -> io::Result<bool> {
        loop {
            match signals.next().await {
                Action::Stop => return Ok(false),
                Action::HandOver => match self.hand_over(duplicates, accepting, signals).await {
                    Ok(()) => return Ok(true),
                    // The embedded store is closed and nothing accepts any more: this process cannot go on.
                    Err(error) if accepting.is_empty() => return Err(error),
                    Err(error) => log::error!(
                        "Hand-over failed: {error}. This process goes on serving; mend the cause and send SIGQUIT again"
                    ),
                },
            }
        }
    }

    /// Stops accepting, and drains what is in flight.
    async fn stop(
        &self,
        is_handed_over: bool,
        mut accepting: Accepting,
        duplicates: Vec<OwnedFd>,
        signals: &mut Signals,
    ) {
        let server = &self.app.settings.server;
        let in_flight = &self.app.proxy.limits.in_flight;
        let mut timeout = server.drain_timeout;
        if !is_handed_over {
            // `/readyz` answers 503 for `server.drain_delay`, so that load balancers stop sending here. A second
            // `SIGTERM` or `SIGINT` skips this delay and the drain.
            in_flight.drain();
            let delay = tokio::time::sleep(server.drain_delay);
            tokio::select! {
                () = delay => {}
                () = signals.stop() => timeout = Duration::ZERO,
            }
        }
        let stopped = stop_accepting(&mut accepting).await;
        if !is_handed_over {
            take_backlog(&stopped);
        }
        drop((stopped, duplicates));
        // Connections that were just accepted may still send their first request.
        if is_handed_over || self.app.proxy.limits.connections.count() > 0 {
            in_flight.drain();
            let grace = tokio::time::sleep(FIRST_REQUEST_GRACE.min(timeout));
            tokio::select! {
                () = grace => {}
                () = signals.stop() => timeout = Duration::ZERO,
            }
        }
        self.drain(timeout, signals).await;
    }

    /// Returns the function that dispatches an accepted connection to a worker. Operator connections
    /// (`server.ops_listen`) take no connection permit and no worker, so metrics answer even when all workers
    /// are busy.
    fn dispatcher(
        &self,
        workers: &Arc<Workers>,
        spec: Arc<ListenerSpec>,
    ) -> impl Fn(TcpStream, SocketAddr) + use<> {
        let (workers, proxy) = (workers.clone(), self.app.proxy.clone());
        let (front, stop) = (self.front.clone(), self.stop.subscribe());
        move |socket, peer| {
            let is_limited = spec.side.is_limited();
            let permit = match is_limited.then(|| proxy.limits.connections.acquire(peer.ip())) {
                Some(Err(full)) => {
                    let is_tls = spec.tls.is_some();
                    return reject(socket, peer.ip(), full, is_tls, &proxy.metrics);
                }
                Some(Ok(permit)) => Some(permit),
                None => None,
            };
            let accepted = Accepted {
                socket,
                peer,
                listener: spec.clone(),
                permit,
            };
            if !is_limited {
                let (front, stop) = (front.clone(), stop.clone());
                tokio::spawn(async move { front.serve(accepted, &stop).await });
            } else if let Err(error) = workers.serve(accepted) {
                log::warn!("An accepted connection was closed: no worker thread took it ({error})");
            }
        }
    }

    /// Reports all lease spending to the store and writes the pending usage records, each within
    /// [`CUT_OFF_TIMEOUT`].
    async fn flush_books(&self) {
        let leases = &self.app.delivery.leases;
        if tokio::time::timeout(CUT_OFF_TIMEOUT, leases.finish())
            .await
            .is_err()
        {
            log::error!(
                "Shutdown timed out before all lease spending was reported to the store; the next start reports it from the journal: keep its directory"
            );
        }
        if tokio::time::timeout(CUT_OFF_TIMEOUT, self.app.proxy.recorder.finish())
            .await
            .is_err()
        {
            log::error!(
                "Shutdown timed out before all usage records were written; the next start writes the rest from the journal: keep its directory"
            );
        }
    }

    /// Waits up to `timeout` for requests and settlements in flight, then cuts them off; a second stop
    /// signal cuts at once.
    async fn drain(&self, timeout: Duration, signals: &mut Signals) {
        let in_flight = &self.app.proxy.limits.in_flight;
        in_flight.drain();
        // Wakes idle keep-alive connections, which then close.
        self.stop.send_replace(true);
        let is_idle = tokio::select! {
            is_idle = in_flight.is_idle_within(timeout) => is_idle,
            () = signals.stop() => false,
        };
        if !is_idle {
            log::warn!(
                "The drain timed out (server.drain_timeout) or was cut short: ending {} requests and settlements that are still in flight",
                in_flight.count()
            );
            in_flight.cut();
            if !in_flight.is_idle_within(CUT_OFF_TIMEOUT).await {
                log::error!(
                    "{} requests or settlements did not end after they were cut off; exiting. The next start settles them from the journal",
                    in_flight.count()
                );
            }
        }
    }

    /// Refuses a hand-over to settings whose keys open no stored config. The new process would find it out when an
    /// embedded store is closed already.
    async fn check_new_keys(&self) -> Result<(), String> {
        let file = self.app.settings.source.as_deref();
        let file = file.map(Path::to_owned);
        // Off this task, which listens to signals: a file may be on a disk that does not answer.
        let loading =
            tokio::task::spawn_blocking(move || settings::load_from_process(file.as_deref()));
        match tokio::time::timeout(LOAD_TIMEOUT, loading).await {
            Ok(Ok(Ok(settings))) => recover::check_seals(&settings, &*self.app.store).await,
            // Faults of the settings are reported by the new process, which loads them likewise.
            Ok(_) => Ok(()),
            Err(_) => Err("the settings could not be read in time".to_owned()),
        }
    }

    /// Starts a new process and gives it the listening sockets. If this fails and `accepting` is empty
    /// afterwards, this process cannot go on serving.
    async fn hand_over(
        &self,
        listeners: &[OwnedFd],
        accepting: &mut Accepting,
        signals: &mut Signals,
    ) -> io::Result<()> {
        log::info!("Handing over to a new process: it gets the listening sockets");
        self.check_new_keys().await.map_err(io::Error::other)?;
        let (mut new_process, mut line) =
            handover::start_successor(listeners, self.app.settings.log.format).await?;
        if matches!(self.app.settings.store, settings::Store::Embedded(_)) {
            // An embedded store allows one process per directory: this one drains and closes it first.
            // Meanwhile new connections wait in the listen backlog.
            drop(stop_accepting(accepting).await);
            self.app.proxy.limits.in_flight.drain();
            tokio::time::sleep(FIRST_REQUEST_GRACE).await;
            self.drain(self.app.settings.server.drain_timeout, signals)
                .await;
            self.flush_books().await;
            self.app.store.close().await;
        }
        let taken = async {
            line.send(handover::GO).await?;
            line.expect_letter(handover::READY, TAKE_OVER_TIMEOUT).await
        };
        if let Err(error) = taken.await {
            return Err(handover::end_child(&mut new_process, error));
        }
        Ok(())
    }
}

/// Ends the accepting tasks; returns the sockets.
async fn stop_accepting(accepting: &mut Accepting) -> Vec<Acceptor> {
    let mut stopped = std::mem::take(accepting);
    for acceptor in &mut stopped {
        acceptor.task.abort();
        let _ = (&mut acceptor.task).await;
    }
    stopped
}

/// Takes the connections that the kernel has accepted already: closing the sockets would reset them.
fn take_backlog(acceptors: &[Acceptor]) {
    for acceptor in acceptors {
        for _ in 0..BACKLOG {
            // Without tokio's budget, which would say "pending" after a hundred connections.
            let accepted = tokio::task::unconstrained(acceptor.listener.accept());
            let Some(Ok((socket, peer))) = accepted.now_or_never() else {
                break;
            };
            (acceptor.dispatch)(socket, peer);
        }
    }
}

/// Periodically closes expired idle connections to providers, evicts expired entries of the auth-failure and
/// refusal tables, and follows tenants that nobody asks for.
async fn sweep(proxy: Arc<Proxy>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        proxy.forward.client.sweep();
        let now = Instant::now();
        proxy.limits.auth_failures.sweep(now);
        proxy.limits.admin_failures.sweep(now);
        proxy.limits.refused_work.sweep(now);
        proxy.tenants.sweep().await;
    }
}

/// Logs refused requests by tenant and code, once a second.
async fn log_refusals(families: Families) {
    loop {
        tokio::time::sleep(LOG_REFUSALS_EVERY).await;
        families.log_refusals();
    }
}

/// Accepts connections until the task is aborted. Logs the first of several failures in a row only.
async fn accept(
    listener: Arc<TcpListener>,
    dispatch: Arc<dyn Fn(TcpStream, SocketAddr) + Send + Sync>,
) {
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                is_failing = false;
                dispatch(socket, peer);
            }
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    log::warn!(
                        "Cannot accept connections: {error}. It is retried every 50 ms; for 'too many open files' raise that limit or lower server.max_connections"
                    );
                }
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}
