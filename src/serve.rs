//! Where the parts meet: the whole service from its dependencies, and its life on its sockets.
//!
//! `create_app` builds and starts nothing; `App::serve` runs it until it is told to stop. Pingora
//! serves the connections; accepting them, draining and handing over are done here, because its own
//! server cannot say which port it got and waits for minutes where nothing is left to wait for.

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
use crate::proxy::upstream::client::Upstream;
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

/// After the drain's end, what is left has this long to say goodbye and settle.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Connections that were accepted just before a hand-over may still send their first request.
const FRESH_CONNECTIONS: Duration = Duration::from_secs(1);
/// Out of file descriptors: let some connections end first.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub struct Deps {
    pub settings: Arc<Settings>,
    pub store: Arc<dyn Store>,
    pub journal: Journal,
}

/// The whole service, not started.
pub struct App {
    settings: Arc<Settings>,
    store: Arc<dyn Store>,
    front: Arc<Front>,
    traffic: Arc<Traffic>,
    pipeline: Arc<Pipeline>,
    stop: watch::Sender<bool>,
}

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

/// What a signal asks for.
enum Asked {
    Stop,
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

/// The sockets of the public and the operator's own, each with what its connections have in common.
pub struct Sockets {
    all: Vec<(TcpListener, Arc<ListenerSpec>)>,
    followed: Vec<Arc<Certificates>>,
}

impl Sockets {
    /// `inherited`: from the process before this one.
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

    /// Where they listen, in the order of the settings.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let addresses = self.all.iter();
        addresses.filter_map(|(listener, _)| listener.local_addr().ok())
    }

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

/// Follows the files of certificates, on a thread of its own: a file system that does not answer must stop nothing else.
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
    /// Serves until a signal ends it, then drains. `line`: to the process this one takes over from.
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
                        // The store is closed and nobody accepts: only an end is left.
                        Err(error) if accepting.is_empty() => return Err(error),
                        Err(error) => log::error!("Hand-over failed, serving on: {error}"),
                    }
                }
            }
        };
        log::info!("Server shutting down");
        let mut patience = self.settings.server.drain_timeout;
        if !succeeded {
            // Load balancers see it in `/readyz` and go elsewhere, unless somebody is in a hurry.
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

    /// What is done with an accepted connection. The operator's own need no place, and no worker: they answer when
    /// all of these are busy.
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

    /// What was spent is told, and what happened is written down.
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

    /// Finishes what is in flight, within the time that it is given or until asked again.
    async fn drain(&self, patience: Duration, signals: &mut Signals) {
        self.traffic.drain();
        // Wakes the connections that wait for a next request: they close.
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

    /// Lets a new process take the sockets over. After an error, `accepting` is empty where this
    /// process cannot go on.
    async fn hand_over(
        &self,
        listeners: &[OwnedFd],
        accepting: &mut Vec<JoinHandle<()>>,
        signals: &mut Signals,
    ) -> io::Result<()> {
        log::info!("Handing over to a new process");
        let (mut successor, mut line) = handover::start_successor(listeners).await?;
        if matches!(self.settings.store, settings::Store::Embedded(_)) {
            // One process a directory: this one lets go first, and connections wait in the backlog.
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

/// How long a successor may take from its store to its first connection.
const SUCCESSION: Duration = Duration::from_secs(20);

async fn stop_accepting(accepting: &mut Vec<JoinHandle<()>>) {
    for task in accepting.drain(..) {
        task.abort();
        let _ = task.await;
    }
}

/// Closes connections to providers that have waited too long, and forgets strangers and refused calls.
async fn sweep(pipeline: Arc<Pipeline>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        pipeline.upstream.sweep();
        let now = Instant::now();
        pipeline.strangers.sweep(now);
        pipeline.refusals.sweep(now);
    }
}

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

/// The journal of this process, once what the dead left open is settled.
pub async fn open_journal(settings: &Settings, store: &dyn Store) -> Result<Journal, String> {
    let dir = std::path::Path::new(&settings.accounts.journal);
    Ok(match Journal::open(dir) {
        Ok((journal, legacy)) => {
            settle_legacy(legacy, store, settings.accounts.orphans).await;
            journal
        }
        // It is not for the gateway to say that what it cannot read costs nothing.
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

async fn settle_legacy(legacy: Legacy, store: &dyn Store, orphans: settings::Orphans) {
    // What is known may be less than was served: where not even a crash may give anything away, a
    // hold that was not decided runs out and is spent.
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
                // The files stay for the next start; by then the holds may have expired, which is no
                // harm: what was not charged then is charged.
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
    // The lines go when nothing, not even a loss of power, can make them needed again.
    if let Err(error) = store.flush().await {
        log::error!("What an earlier process left open may be lost with the power: {error}");
        return;
    }
    legacy.delete();
}

/// So far beyond a dead process's last number that none of its commands can be later.
const LATER: u64 = 1 << 40;

/// Tells the store what a dead process had spent of a lease. Where crashes may cost a little, its requests
/// under way are charged what is known of them and the rest goes back; else the rest runs out.
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

/// What is left of a dead process's lease lives on for so long.
const LEGACY_LIFE: Millis = Millis(1_000);

/// Writes the tenants of the settings where there are none.
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
