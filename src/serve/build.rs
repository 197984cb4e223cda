//! Builds the gateway from its dependencies. Starts no task and opens no socket.

use super::limits;
use super::stand_in::DemoStripe;
use crate::dial::dialer::Dialer;
use crate::dialect::call::Bounds;
use crate::fetch::Fetcher;
use crate::issuers::verify::Issuers;
use crate::local::Local;
use crate::local::billing::tenant_account::Billing;
use crate::outbox::sending::Outbox;
use crate::proxy::admission::admit::Admission;
use crate::proxy::admission::estimate::Estimator;
use crate::proxy::admission::token_counter::TokenCounter;
use crate::proxy::cache::stage::Cache;
use crate::proxy::call::Proxy;
use crate::proxy::downstream::hosts::Hosts;
use crate::proxy::limits::Limits;
use crate::proxy::limits::auth_failures::AuthFailures;
use crate::proxy::limits::body_memory::BodyMemory;
use crate::proxy::limits::connections::Connections;
use crate::proxy::limits::in_flight::InFlight;
use crate::proxy::limits::refused_work::RefusedWork;
use crate::proxy::settlement::deliver::{Delivery, charged};
use crate::proxy::settlement::record::Recorder;
use crate::proxy::settlement::settle::Settlement;
use crate::proxy::upstream::client::ProviderClient;
use crate::proxy::upstream::forward::Forward;
use crate::proxy::upstream::lifetime::Lifetimes;
use crate::rules::account::Settlement as Settled;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::carries::Carries;
use crate::store::config_secrets::ConfigSecrets;
use crate::store::directory::Newcomers;
use crate::store::journal::Journal;
use crate::store::leases::Leases;
use crate::store::name::AccountName;
use crate::store::replay::Replay;
use crate::store::revocations::Revocations;
use crate::store::tenants::Tenants;
use crate::telemetry::fields::About;
use crate::telemetry::metrics::{Metrics, Process};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::OnceCell;

/// Everything [`create_app`] needs from outside.
pub struct Deps {
    pub settings: Arc<Settings>,
    pub store: Arc<dyn Store>,
    pub journal: Journal,
}

/// The gateway, built and not started. [`super::life::serve`] runs it.
pub struct App {
    pub settings: Arc<Settings>,
    pub store: Arc<dyn Store>,
    pub proxy: Arc<Proxy>,
    /// Ledger's side of the process: leases, replay and journal run beside the requests.
    pub delivery: Arc<Delivery>,
}

pub fn create_app(deps: Deps) -> App {
    let Deps {
        settings,
        store,
        journal,
    } = deps;
    let metrics = Arc::new(Metrics::new(&Process {
        store: settings.store.kind(),
        store_time: store.durations(),
    }));
    let draining = Arc::new(AtomicBool::new(false));
    let in_flight = InFlight::new(draining.clone());
    let secrets = ConfigSecrets::new(&settings.secrets);
    let tenants = Arc::new(Tenants::new(
        store.clone(),
        secrets,
        metrics.families.clone(),
    ));
    let dialer = Arc::new(Dialer::new(&settings.egress));
    let counter = Arc::new(TokenCounter::start());
    let fetcher = Arc::new(Fetcher::new(dialer.clone()));
    let stripe = Arc::new(DemoStripe::default());
    let outbox = Outbox::new(
        fetcher.clone(),
        tenants.clone(),
        store.clone(),
        metrics.clone(),
    );
    let delivery = delivery(&settings, &store, journal, &metrics, &in_flight, &outbox);
    let leases = delivery.leases.clone();
    let carries = Carries::new(store.clone());
    let revocations = Revocations::new(store.clone(), leases.clone());
    let hold_ttl = settings.accounts.hold_ttl;
    let proxy = Arc::new(Proxy {
        local: Local {
            settings: settings.clone(),
            store: store.clone(),
            leases: leases.clone(),
            tenants: tenants.clone(),
            carries: carries.clone(),
            revocations: revocations.clone(),
            issuers: Arc::new(Issuers::new(fetcher.clone())),
            billing: Arc::new(Billing::new(
                fetcher,
                settings.billing.stripe_url.clone(),
                stripe.clone(),
            )),
            outbox: outbox.clone(),
            metrics: metrics.clone(),
            draining,
        },
        hosts: Hosts::of(&settings.server),
        admin_hosts: Hosts::of_admin(&settings.server),
        store: store.clone(),
        tenants: tenants.clone(),
        limits: limiters(&settings, &in_flight),
        estimator: Estimator {
            counter: counter.clone(),
            bounds: bounds(&settings),
        },
        admission: Admission {
            newcomers: Newcomers::new(store.clone()),
            store: store.clone(),
            carries,
            delivery: delivery.clone(),
            counter: counter.clone(),
            metrics: metrics.clone(),
            outbox,
            hold_ttl,
        },
        cache: Cache::new(store.clone(), metrics.clone(), settings.cache.clone()),
        lifetimes: Lifetimes {
            revocations,
            store: store.clone(),
            leases,
            in_flight,
            metrics: metrics.clone(),
            hold_ttl,
            drain_timeout: settings.upstream.drain,
        },
        forward: Forward {
            client: ProviderClient::new(&settings.upstream, dialer.clone()),
            demo: OnceCell::new(),
        },
        settlement: Settlement {
            delivery: delivery.clone(),
            counter,
            metrics: metrics.clone(),
        },
        recorder: Recorder::new(store.clone(), delivery.journal.clone(), metrics.clone()),
        metrics,
    });
    stripe.deliver_to(&proxy);
    App {
        settings,
        store,
        proxy,
        delivery,
    }
}

/// Builds what delivers settlements: leases, replay to a new primary, journal.
fn delivery(
    settings: &Settings,
    store: &Arc<dyn Store>,
    journal: Journal,
    metrics: &Arc<Metrics>,
    in_flight: &Arc<InFlight>,
    outbox: &Arc<Outbox>,
) -> Arc<Delivery> {
    let journal = Arc::new(journal);
    let (counted, outbox) = (metrics.clone(), outbox.clone());
    let replayed = Box::new(
        move |about: About<'_>, account: &AccountName, settled: Settled| {
            charged(&counted, about, settled);
            if let Some(tenant) = about.tenant {
                outbox.charged(tenant, account, settled.charged, settled.left);
            }
        },
    );
    let replay = Replay::new(store.clone(), replayed);
    let leases = Leases::new(
        store.clone(),
        journal.clone(),
        replay.clone(),
        settings.accounts.hold_ttl,
    );
    Delivery::new(
        store.clone(),
        metrics.clone(),
        in_flight.clone(),
        journal,
        leases,
        replay,
    )
}

fn limiters(settings: &Settings, in_flight: &Arc<InFlight>) -> Limits {
    let server = &settings.server;
    let most = limits::connections(server);
    let max_requests = server.max_requests.unwrap_or(most.total);
    let per_tenant = server.max_requests_per_tenant;
    Limits {
        in_flight: in_flight.clone(),
        connections: Connections::new(most.total, most.per_address, &server.trusted_proxies),
        body_memory: BodyMemory::new(server.max_buffered),
        auth_failures: AuthFailures::new(settings.accounts.failures_per_address),
        admin_failures: AuthFailures::new((settings.accounts.failures_per_address / 100).max(1)),
        refused_work: RefusedWork::default(),
        max_requests,
        // By default one tenant leaves a quarter to the others.
        max_requests_per_tenant: per_tenant.unwrap_or((max_requests - max_requests / 4).max(1)),
    }
}

/// Tokens of a page, at most: a full page of text and its picture.
const MAX_PAGE_TOKENS: u64 = 8_000;

fn bounds(settings: &Settings) -> Bounds {
    let bounds = &settings.bounds;
    Bounds {
        image: bounds.image,
        detail: None,
        page: MAX_PAGE_TOKENS.max(bounds.image),
        image_answer: bounds.image_answer,
        sound_second: bounds.sound_second,
    }
}
