//! Composition root: wires the parts together, and runs the process's life cycle (accept, drain, hand over,
//! stop).
//!
//! [`create_app`] builds without starting anything; [`App::serve`] runs until a signal stops it. Pingora
//! serves the connections. Accepting, draining and handing over are done here because Pingora's own server
//! cannot report the port it was given for port 0, and sleeps for minutes on a graceful stop even when
//! nothing is in flight.

pub mod handover;
pub mod limits;
pub mod listen;
pub mod tls;
pub mod workers;

use crate::local::Local;
use crate::proxy::admission::token_counter::Counter;
use crate::proxy::downstream::front::{Accepted, Front, ListenerSpec};
use crate::proxy::downstream::hosts::Hosts;
use crate::proxy::downstream::rejection::turn_away;
use crate::proxy::gateway::Side;
use crate::proxy::limits::auth_failures::Strangers;
use crate::proxy::limits::body_memory::Room;
use crate::proxy::limits::connections::Places;
use crate::proxy::limits::in_flight::Traffic;
use crate::proxy::limits::refused_work::Refusals;
use crate::proxy::pipeline::Pipeline;
use crate::proxy::settlement::record::Recorder;
use crate::proxy::settlement::settle::{Settler, charged};
use crate::proxy::upstream::client::client::Upstream;
use crate::rules::account::Report;
use crate::rules::amount::{Millis, Tokens};
use crate::settings::{self, Settings};
use crate::store::journal::{Journal, Legacy, NoJournal, OpenLease, Unfinished};
use crate::store::leases::Leases;
use crate::store::recall::Recall;
use crate::store::tenants::Tenants;
use crate::store::vault::Vault;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use handover::Line;
use pingora::listeners::tls::Acceptor;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tls::Certificates;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;
use workers::Workers;

/// Time for cut-off requests to send their last bytes and settle after `server.drain_timeout`; also the
/// deadline of each flush in `finish_books`.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Grace period in a hand-over before connections drain: one accepted just before may still send its first
/// request.
const FRESH_CONNECTIONS: Duration = Duration::from_secs(1);
/// Interval of the `sweep` task.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Backoff after a failed `accept`, usually for lack of file descriptors: lets some connections end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Everything [`create_app`] needs from outside.
pub struct Deps {
    pub settings: Arc<Settings>,
    pub store: Arc<dyn Store>,
    pub journal: Journal,
}

/// The gateway, built by [`create_app`] and not started.
pub struct App {
    settings: Arc<Settings>,
    store: Arc<dyn Store>,
    front: Arc<Front>,
    traffic: Arc<Traffic>,
    pipeline: Arc<Pipeline>,
    /// `true` tells every connection to close after its current request.
    stop: watch::Sender<bool>,
}

/// Builds the gateway. Starts no task and opens no socket.
pub fn create_app(deps: Deps) -> App {
    let Deps {
        settings,
        store,
        journal,
    } = deps;
    let metrics = Arc::new(Metrics::default());
    let draining = Arc::new(AtomicBool::new(false));
    let traffic = Traffic::new(draining.clone());
    let most = limits::connections(&settings.server);
    let places = Places::new(most.in_all, most.each, &settings.server.trusted_proxies);
    let most_requests = settings.server.max_requests.unwrap_or(most.in_all);
    let room = Room::new(settings.server.max_buffered);
    let vault = Vault::new(&settings.secrets);
    let tenants = Arc::new(Tenants::new(store.clone(), vault));
    let journal = Arc::new(journal);
    let recall = {
        let metrics = metrics.clone();
        Recall::new(
            store.clone(),
            Box::new(move |account, settled| charged(&metrics, account, settled)),
        )
    };
    let leases = Leases::new(
        store.clone(),
        journal.clone(),
        recall.clone(),
        settings.accounts.hold_ttl,
    );
    let pipeline = Arc::new(Pipeline {
        local: Local {
            settings: settings.clone(),
            store: store.clone(),
            leases: leases.clone(),
            tenants: tenants.clone(),
            draining,
        },
        hosts: Hosts::of(&settings.server),
        store: store.clone(),
        tenants,
        upstream: Upstream::new(&settings),
        settler: Settler::new(
            store.clone(),
            metrics.clone(),
            traffic.clone(),
            journal,
            leases,
            recall,
        ),
        traffic: traffic.clone(),
        places,
        room,
        strangers: Strangers::new(settings.accounts.failures_per_address),
        refusals: Refusals::default(),
        counter: Counter::start(),
        most_requests,
        most_of_tenant: settings
            .server
            .max_requests_per_tenant
            .unwrap_or((most_requests - most_requests / 4).max(1)),
        recorder: Recorder::new(store.clone(), metrics.clone()),
        metrics,
        demo: OnceCell::new(),
    });
    let front = Arc::new(Front::new(pipeline.clone()));
    App {
        settings,
        store,
        front,
        traffic,
        pipeline,
        stop: watch::Sender::new(false),
    }
}

/// Action that a signal requests.
enum Asked {
    /// `SIGTERM` or `SIGINT`.
    Stop,
    /// `SIGQUIT`: start a new process and give it the listening sockets.
    HandOver,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for the next [`Asked::Stop`]; ignores hand-over requests until then.
    async fn stop(&mut self) {
        while !matches!(self.next().await, Asked::Stop) {}
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.quit.recv() => Asked::HandOver,
        }
    }
}

/// Listening sockets of `server.listen` and `server.ops_listen`, each with the [`ListenerSpec`] of its
/// connections.
pub struct Sockets {
    all: Vec<(TcpListener, Arc<ListenerSpec>)>,
    /// Certificates to reload when their files change.
    followed: Vec<Arc<Certificates>>,
}

impl Sockets {
    /// Opens the sockets that the settings name, reusing those in `inherited` (handed over by the previous
    /// process).
    pub fn open(settings: &Settings, mut inherited: Vec<TcpListener>) -> Result<Sockets, String> {
        let mut sockets = Sockets {
            all: Vec::new(),
            followed: Vec::new(),
        };
        for listener in &settings.server.listen {
            let tls = match &listener.tls {
                None => None,
                Some(tls) => {
                    let (config, certificates) = tls::load(tls)?;
                    sockets.followed.push(certificates);
                    Some(Acceptor::from_server_config(config))
                }
            };
            let spec = Arc::new(ListenerSpec {
                tls,
                proxy_protocol: listener.proxy_protocol,
                side: Side::Public,
            });
            for listener in listen::listen(&listener.address, &mut inherited)? {
                sockets.all.push((listener, spec.clone()));
            }
        }
        let spec = Arc::new(ListenerSpec {
            tls: None,
            proxy_protocol: false,
            side: Side::Ops,
        });
        if let Some(address) = &settings.server.ops_listen {
            for listener in listen::listen(address, &mut inherited)? {
                sockets.all.push((listener, spec.clone()));
            }
        }
        Ok(sockets)
    }

    /// Local addresses, in the order of the settings.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let addresses = self.all.iter();
        addresses.filter_map(|(listener, _)| listener.local_addr().ok())
    }

    /// Logs each address; with port 0 this is how the operator learns the real port.
    fn announce(&self) -> io::Result<()> {
        for (listener, spec) in &self.all {
            let address = listener.local_addr()?;
            match (spec.side, &spec.tls) {
                (Side::Public, None) => log::info!("Listening on http://{address}"),
                (Side::Public, Some(_)) => log::info!("Listening on https://{address}"),
                (Side::Ops, _) => log::info!("Metrics on http://{address}/metrics"),
            }
        }
        Ok(())
    }
}

/// Reloads changed certificate files every [`tls::LOOKED_AT_EVERY`], on a dedicated thread: a hanging file
/// system must not block anything else.
fn follow(followed: Vec<Arc<Certificates>>) {
    if followed.is_empty() {
        return;
    }
    let look = move || {
        loop {
            std::thread::sleep(tls::LOOKED_AT_EVERY);
            for certificates in &followed {
                certificates.follow();
            }
        }
    };
    let thread = std::thread::Builder::new().name("certificates".to_owned());
    if let Err(error) = thread.spawn(look) {
        log::error!("Certificates are not followed when their files change: {error}");
    }
}

impl App {
    /// Serves until a signal stops it, then drains. `line`: channel to the process that this one takes over
    /// from.
    pub async fn serve(self, sockets: Sockets, line: Option<Line>) -> io::Result<()> {
        let mut signals = Signals::new()?;
        self.pipeline.recorder.start();
        sockets.announce()?;
        let mut spare = Vec::new();
        for (listener, _) in &sockets.all {
            spare.push(listener.as_fd().try_clone_to_owned()?);
        }
        let mut accepting: Vec<JoinHandle<()>> = Vec::new();
        let count = match self.settings.server.threads {
            Some(count) => count,
            None => std::thread::available_parallelism()?.get(),
        };
        let journal = self.pipeline.settler.journal.clone();
        let workers = Arc::new(Workers::start(
            count,
            &self.front,
            &self.stop.subscribe(),
            self.settings.server.shed_after,
            move || journal.flush_here(),
        )?);
        for (listener, spec) in sockets.all {
            let give = self.giver(&workers, spec);
            accepting.push(tokio::spawn(accept(listener, give)));
        }
        follow(sockets.followed);
        let sweeping = tokio::spawn(sweep(self.pipeline.clone()));
        let reporting = tokio::spawn(self.pipeline.settler.leases.clone().run());
        let recalling = tokio::spawn(self.pipeline.settler.recall.clone().run());
        if let Some(mut line) = line {
            line.say(handover::READY).await?;
        }
        handover::notify_ready(self.settings.notify.as_deref());
        let succeeded = loop {
            match signals.next().await {
                Asked::Stop => break false,
                Asked::HandOver => {
                    match self.hand_over(&spare, &mut accepting, &mut signals).await {
                        Ok(()) => break true,
                        // The embedded store is closed and nothing accepts any more: this process cannot go
                        // on.
                        Err(error) if accepting.is_empty() => return Err(error),
                        Err(error) => log::error!("Hand-over failed, serving on: {error}"),
                    }
                }
            }
        };
        log::info!("Server shutting down");
        let mut patience = self.settings.server.drain_timeout;
        if !succeeded {
            // `/readyz` answers 503 for `server.drain_delay`, so that load balancers stop sending here. A
            // second `SIGTERM` or `SIGINT` skips this delay and the drain.
            self.traffic.drain();
            let delay = tokio::time::sleep(self.settings.server.drain_delay);
            tokio::select! {
                () = delay => {}
                () = signals.stop() => patience = Duration::ZERO,
            }
        }
        stop_accepting(&mut accepting).await;
        drop(spare);
        if succeeded {
            self.traffic.drain();
            tokio::time::sleep(FRESH_CONNECTIONS).await;
        }
        self.drain(patience, &mut signals).await;
        sweeping.abort();
        reporting.abort();
        recalling.abort();
        self.finish_books().await;
        self.store.close().await;
        self.pipeline.settler.journal.finish();
        drop(workers);
        Ok(())
    }

    /// Returns the function that dispatches an accepted connection to a worker. Operator connections
    /// (`server.ops_listen`) take no connection permit and no worker, so metrics answer even when all workers
    /// are busy.
    fn giver(
        &self,
        workers: &Arc<Workers>,
        spec: Arc<ListenerSpec>,
    ) -> impl Fn(TcpStream, SocketAddr) + use<> {
        let (workers, pipeline) = (workers.clone(), self.pipeline.clone());
        let (front, stop) = (self.front.clone(), self.stop.subscribe());
        move |socket, peer| {
            let is_public = spec.side == Side::Public;
            let seat = match is_public.then(|| pipeline.places.seat(peer.ip())) {
                Some(Err(full)) => {
                    return turn_away(socket, full, spec.tls.is_some(), &pipeline.metrics);
                }
                Some(Ok(seat)) => Some(seat),
                None => None,
            };
            let accepted = Accepted {
                socket,
                peer,
                listener: spec.clone(),
                seat,
            };
            if !is_public {
                let (front, stop) = (front.clone(), stop.clone());
                tokio::spawn(async move { front.serve(accepted, &stop).await });
            } else if let Err(error) = workers.serve(accepted) {
                log::warn!("A connection cannot be served: {error}");
            }
        }
    }

    /// Reports all lease spending to the store and writes the pending usage records, each within
    /// [`LAST_WORDS`].
    async fn finish_books(&self) {
        let leases = &self.pipeline.settler.leases;
        if tokio::time::timeout(LAST_WORDS, leases.finish())
            .await
            .is_err()
        {
            log::error!("What was spent was not told in time: the next start will tell it");
        }
        if tokio::time::timeout(LAST_WORDS, self.pipeline.recorder.finish())
            .await
            .is_err()
        {
            log::error!("Not every usage record was written");
        }
    }

    /// Waits up to `patience` for requests and settlements in flight, then cuts them off; a second stop
    /// signal cuts at once.
    async fn drain(&self, patience: Duration, signals: &mut Signals) {
        self.traffic.drain();
        // Wakes idle keep-alive connections, which then close.
        self.stop.send_replace(true);
        let quiet = tokio::select! {
            quiet = self.traffic.quiet(patience) => quiet,
            () = signals.stop() => false,
        };
        if !quiet {
            log::warn!(
                "Ending {} requests and settlements that are still in flight",
                self.traffic.in_flight()
            );
            self.traffic.cut();
            if !self.traffic.quiet(LAST_WORDS).await {
                log::error!(
                    "{} requests or settlements did not end",
                    self.traffic.in_flight()
                );
            }
        }
    }

    /// Starts a new process and gives it the listening sockets. If this fails and `accepting` is empty
    /// afterwards, this process cannot go on serving.
    async fn hand_over(
        &self,
        listeners: &[OwnedFd],
        accepting: &mut Vec<JoinHandle<()>>,
        signals: &mut Signals,
    ) -> io::Result<()> {
        log::info!("Handing over to a new process");
        let (mut successor, mut line) = handover::start_successor(listeners).await?;
        if matches!(self.settings.store, settings::Store::Embedded(_)) {
            // An embedded store allows one process per directory: this one drains and closes it first.
            // Meanwhile new connections wait in the listen backlog.
            stop_accepting(accepting).await;
            self.traffic.drain();
            tokio::time::sleep(FRESH_CONNECTIONS).await;
            self.drain(self.settings.server.drain_timeout, signals)
                .await;
            self.finish_books().await;
            self.store.close().await;
        }
        let taken = async {
            line.say(handover::GO).await?;
            line.hear(handover::READY, SUCCESSION).await
        };
        if let Err(error) = taken.await {
            let _ = successor.kill();
            let _ = successor.wait();
            return Err(error);
        }
        Ok(())
    }
}

/// Deadline for the new process between [`handover::GO`] and [`handover::READY`]: opening its store and
/// accepting.
const SUCCESSION: Duration = Duration::from_secs(20);

async fn stop_accepting(accepting: &mut Vec<JoinHandle<()>>) {
    for task in accepting.drain(..) {
        task.abort();
        let _ = task.await;
    }
}

/// Periodically closes expired idle connections to providers, and evicts expired entries of the auth-failure
/// and refusal tables.
async fn sweep(pipeline: Arc<Pipeline>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        pipeline.upstream.sweep();
        let now = Instant::now();
        pipeline.strangers.sweep(now);
        pipeline.refusals.sweep(now);
    }
}

/// Accepts connections until the task is aborted. Logs the first of several failures in a row only.
async fn accept(listener: TcpListener, give: impl Fn(TcpStream, SocketAddr)) {
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                is_failing = false;
                give(socket, peer);
            }
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    log::warn!("Cannot accept connections: {error}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Opens the journal in `accounts.journal` and first settles what crashed processes left open there.
pub async fn open_journal(settings: &Settings, store: &dyn Store) -> Result<Journal, String> {
    let dir = std::path::Path::new(&settings.accounts.journal);
    Ok(match Journal::open(dir) {
        Ok((journal, legacy)) => {
            settle_legacy(legacy, store, settings.accounts.orphans).await;
            journal
        }
        // Unreadable holds may have cost something, so the gateway must not ignore them: it refuses to start.
        Err(NoJournal::Damaged(why)) => {
            return Err(format!(
                "{why}: it has what an earlier process had under way; moved away, that runs out as holds do"
            ));
        }
        Err(NoJournal::Unwritable(error)) => {
            log::warn!(
                "No journal in {}: {error}; a crash leaves holds to expire",
                dir.display()
            );
            Journal::none()
        }
    })
}

/// Settles the requests and leases that dead processes left in their journal pages, then deletes the pages.
async fn settle_legacy(legacy: Legacy, store: &dyn Store, orphans: settings::Orphans) {
    // The known cost may be less than what was served. With `accounts.orphans: spend`, an undecided hold is
    // not settled here: it expires and is charged in full.
    let certain = |open: &&Unfinished| open.decided || orphans == settings::Orphans::Known;
    let unfinished: Vec<&Unfinished> = legacy.unfinished.iter().filter(certain).collect();
    let mut tokens = 0;
    for open in &unfinished {
        match store.settle(&open.account, &open.id, open.used, true).await {
            Ok(settled) => tokens += settled.map_or(0, |settled| settled.charged.count()),
            Err(error @ StoreError::Damaged { .. }) => {
                log::error!("What an earlier process left open cannot be settled: {error}");
            }
            Err(error) => {
                // The pages stay for the next start. The holds may have expired by then; that is harmless,
                // because settling also charges an expired hold that was not charged.
                log::error!("What an earlier process left open cannot be settled: {error}");
                return;
            }
        }
    }
    for lease in &legacy.leases {
        match settle_lease(lease, store, orphans).await {
            Ok(charged) => tokens += charged,
            Err(error @ StoreError::Damaged { .. }) => {
                log::error!("What an earlier process spent of a lease cannot be told: {error}");
            }
            Err(error) => {
                log::error!("What an earlier process spent of a lease cannot be told: {error}");
                return;
            }
        }
    }
    if !unfinished.is_empty() || tokens > 0 {
        let requests = unfinished.len();
        log::info!("Settled {requests} requests of an earlier process, {tokens} tokens");
    }
    // The pages are deleted only after the store has flushed, so that a power loss cannot lose the
    // settlements.
    if let Err(error) = store.flush().await {
        log::error!("What an earlier process left open may be lost with the power: {error}");
        return;
    }
    legacy.delete();
}

/// Added to a dead process's last report number, so that none of its delayed commands can have a higher one.
const LATER: u64 = 1 << 40;

/// Reports to the store what a dead process had spent of a lease; returns the tokens charged. With
/// `accounts.orphans: known`, requests in flight are charged their known cost and the rest returns to the
/// balance; with `spend`, the rest expires and is charged.
async fn settle_lease(
    lease: &OpenLease,
    store: &dyn Store,
    orphans: settings::Orphans,
) -> Result<u64, StoreError> {
    let is_known = orphans == settings::Orphans::Known;
    let under_way = if is_known { lease.known } else { Tokens::ZERO };
    let back = if is_known { Tokens::MAX } else { Tokens::ZERO };
    let report = |number, spent, back, ends| Report {
        instance: &lease.name,
        number,
        spent,
        back,
        ttl: LEGACY_LIFE,
        retry: true,
        ends,
        before: None,
        begun: None,
    };
    let mut reports = Vec::new();
    if let Some(spent) = lease.in_doubt {
        reports.push(report(lease.number, spent, Tokens::ZERO, false));
    }
    let later = lease.number + LATER;
    reports.push(report(later, lease.spent.plus(under_way), back, false));
    if is_known {
        reports.push(report(later + 1, Tokens::ZERO, back, true));
    }
    let mut tokens = 0;
    for report in &reports {
        let reported = store.report(&lease.account, report).await?;
        tokens += reported.map_or(0, |reported| reported.settlement.charged.count());
    }
    Ok(tokens)
}

/// Time to live of the remainder of a dead process's lease.
const LEGACY_LIFE: Millis = Millis(1_000);

/// Writes each config under `tenants` in the settings to the store if that tenant does not exist there.
pub async fn seed(settings: &Settings, store: &dyn Store) -> Result<(), String> {
    let vault = Vault::new(&settings.secrets);
    for (id, config) in &settings.tenants {
        let failed = |error: &dyn std::fmt::Display| format!("Cannot seed tenant {id}: {error}");
        let id =
            crate::rules::tenant::TenantId::parse(id).ok_or_else(|| failed(&"not a tenant ID"))?;
        let text = serde_json::to_string(config).map_err(|error| failed(&error))?;
        let seeded = vault.seed(store, &id, &text).await;
        seeded.map_err(|error| failed(&error))?;
    }
    Ok(())
}
