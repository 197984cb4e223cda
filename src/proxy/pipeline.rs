//! The way of a request, read downwards. Every `?` is one [`GatewayError`].

use crate::demo::Demo;
use crate::http1::head;
use crate::local::answer::Refusal;
use crate::local::dispatch::At;
use crate::local::route::{Found, Matched, is_for_pages};
use crate::local::{Local, Request};
use crate::proxy::admission::token_counter::Counter;
use crate::proxy::downstream::client_address as client;
use crate::proxy::downstream::cors::Grant;
use crate::proxy::downstream::hosts::{Asked, Hosts};
use crate::proxy::downstream::preflight;
use crate::proxy::downstream::reply;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Exchange;
use crate::proxy::limits::auth_failures::Strangers;
use crate::proxy::limits::body_memory::Room;
use crate::proxy::limits::connections::Places;
use crate::proxy::limits::in_flight::{Share, Traffic};
use crate::proxy::limits::load_shed as lag;
use crate::proxy::limits::refused_work::Refusals;
use crate::proxy::route::{self, Provider};
use crate::proxy::settlement::record::Recorder;
use crate::proxy::settlement::settle::Settler;
use crate::proxy::upstream::client::Upstream;
use crate::rules::tenant::{self, Addressed};
use crate::store::Store;
use crate::store::tenants::{Lookup, Tenant, Tenants};
use crate::telemetry::metrics::Metrics;
use http::Method;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::OnceCell;

/// The longest body that a local route reads.
const LOCAL_BODY: u64 = 1 << 20;

/// Everything that the way of a request needs.
pub struct Pipeline {
    pub local: Local,
    pub hosts: Hosts,
    pub store: Arc<dyn Store>,
    pub tenants: Arc<Tenants>,
    pub upstream: Upstream,
    pub settler: Arc<Settler>,
    pub traffic: Arc<Traffic>,
    pub places: Arc<Places>,
    pub room: Arc<Room>,
    pub strangers: Strangers,
    pub refusals: Refusals,
    pub counter: Counter,
    /// The most requests in flight.
    pub most_requests: usize,
    /// The most calls of one tenant among them.
    pub most_of_tenant: usize,
    pub metrics: Arc<Metrics>,
    pub recorder: Recorder,
    /// Started by the first call that needs it.
    pub demo: OnceCell<Demo>,
}

impl Pipeline {
    pub async fn run(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
    ) -> Result<(), GatewayError> {
        let (method, path) = target(session.request()).inspect_err(|_| session.close_after())?;
        let found = crate::local::route::global(&method, &path);
        let is_probe = matches!(&found, Found::Here(matched) if matched.route.is_probe());
        let addressed = tenant::address(&path);
        let provider = addressed.as_ref().and_then(|to| route::provider(to.route));
        if !is_probe && !self.hosts.answer(session.request(), || self.asked(session)) {
            exchange.api = provider.map(|provider| provider.api);
            return Err(GatewayError::Misdirected);
        }
        match found {
            Found::Here(matched) => {
                if path.starts_with("/admin") {
                    self.is_welcome(session)?;
                }
                return self
                    .answer(session, exchange, &matched, At::Nowhere, &method)
                    .await;
            }
            Found::OtherMethods(methods) => return Err(Refusal::OtherMethods(methods).into()),
            Found::Nothing => {}
        }
        let addressed = addressed.ok_or(GatewayError::InvalidTenant)?;
        exchange.tenant = Some(addressed.tenant.clone());
        exchange.api = provider.as_ref().map(|provider| provider.api);
        self.of_tenant(session, exchange, &method, addressed, provider)
            .await
    }

    async fn of_tenant(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        method: &Method,
        addressed: Addressed<'_>,
        provider: Option<Provider<'_>>,
    ) -> Result<(), GatewayError> {
        let is_for_pages = provider.is_some() || is_for_pages(addressed.route);
        let cors = |tenant: &Arc<Tenant>, session: &Session<'_>| {
            let cors = tenant.config.cors.as_ref().filter(|_| is_for_pages)?;
            Some(Grant::of(cors, &session.request().fields))
        };
        let is_preflight = preflight::is_preflight(method, &session.request().fields);
        let found = match self.may_come(session, is_preflight) {
            Ok(()) => {
                let found = self.tenants.find(&addressed.tenant).await;
                found.map_err(GatewayError::from)
            }
            Err(refused) => Err(refused),
        };
        if found.is_err() {
            // Pages read these refusals too.
            let kept = self.tenants.kept(&addressed.tenant);
            exchange.cors = kept.and_then(|tenant| cors(&tenant, session));
        }
        let tenant = match found? {
            Lookup::Known(tenant) => tenant,
            Lookup::Unknown => return Err(GatewayError::InvalidTenant),
            Lookup::Unusable if provider.is_some() => return Err(GatewayError::BrokenTenant),
            Lookup::Unusable => {
                let matched = local_route(method, addressed.route)?;
                let at = At::Broken(addressed.tenant);
                return self.answer(session, exchange, &matched, at, method).await;
            }
        };
        exchange.cors = cors(&tenant, session);
        if is_preflight && exchange.cors.is_some() {
            return preflight::answer(session, exchange).await;
        }
        match provider {
            Some(provider) => {
                self.call(session, exchange, method, &tenant, provider)
                    .await
            }
            None => {
                let matched = local_route(method, addressed.route)?;
                let at = At::Tenant(tenant);
                self.answer(session, exchange, &matched, at, method).await
            }
        }
    }

    /// A call of a provider's API.
    async fn call(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        method: &Method,
        tenant: &Arc<Tenant>,
        Provider { dialect, words, .. }: Provider<'_>,
    ) -> Result<(), GatewayError> {
        if let ["models", wanted @ ..] = words.as_slice()
            && *method == Method::GET
        {
            return self.models(session, exchange, tenant, wanted).await;
        }
        if words.first() == Some(&"realtime") {
            return Err(GatewayError::NoRealtime);
        }
        let dialect = dialect.ok_or(GatewayError::NoSuchCall)?;
        if *method == Method::GET && words.as_slice() == ["responses"] && session.is_upgrade() {
            return Err(GatewayError::NoSocket);
        }
        if *method != Method::POST {
            return Err(GatewayError::OtherMethods("POST".to_owned()));
        }
        self.metrics.requests_provider.add(1);
        let share = Share::of(&tenant.under_way, self.most_of_tenant);
        let _share = share.ok_or_else(|| {
            self.metrics.shed_tenants.add(1);
            GatewayError::Overloaded
        })?;
        self.forward(session, exchange, tenant, dialect).await
    }

    /// The host that a request asks for.
    fn asked(&self, session: &Session<'_>) -> Asked {
        let trusted = &self.local.settings.server.trusted_proxies;
        Asked::of(session.request(), session.peer, trusted)
    }

    /// A preflight comes without a key, and may not be held against anyone.
    fn may_come(&self, session: &Session<'_>, is_preflight: bool) -> Result<(), GatewayError> {
        self.can_take_more()?;
        if is_preflight {
            return Ok(());
        }
        self.is_welcome(session)
    }

    /// Whoever comes when there is too much to do is told so before anything else is done for them.
    fn can_take_more(&self) -> Result<(), GatewayError> {
        // This one is in flight already.
        if self.traffic.in_flight() > self.most_requests {
            self.metrics.shed_requests.add(1);
        } else if lag::is_too_late() {
            self.metrics.shed_late.add(1);
        } else {
            return Ok(());
        }
        Err(GatewayError::Overloaded)
    }

    /// Who has come with too many wrong keys is not listened to.
    fn is_welcome(&self, session: &Session<'_>) -> Result<(), GatewayError> {
        if !self.strangers.may_be_here() {
            return Ok(());
        }
        match self.strangers.wait(self.address(session), Instant::now()) {
            Some(wait) => Err(GatewayError::Unwelcome { wait: wait.into() }),
            None => Ok(()),
        }
    }

    /// Whose request it is, as far as addresses go.
    pub(in crate::proxy) fn address(&self, session: &Session<'_>) -> IpAddr {
        let trusted = &self.local.settings.server.trusted_proxies;
        client::address(session.peer, || session.request().headers(), trusted)
    }

    /// What the gateway says itself.
    async fn answer(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        matched: &Matched<'_>,
        at: At,
        method: &Method,
    ) -> Result<(), GatewayError> {
        self.metrics.requests_local.add(1);
        let body = self.intake(session, exchange, LOCAL_BODY).await?;
        let (address, asked) = (self.address(session), self.asked(session).host());
        let request = session.request();
        let headers = request.headers();
        let request = Request {
            method,
            query: request.query().unwrap_or_default(),
            headers: &headers,
            body,
            address,
            asked,
        };
        let answer = self.local.answer(matched, at, request).await?;
        reply::send(session, exchange, answer)
            .await
            .map_err(|_| GatewayError::ClientGone)
    }
}

/// Method and path, where they are for anyone here.
fn target(request: &head::Request) -> Result<(Method, String), GatewayError> {
    if request.method == Method::TRACE || request.method == Method::CONNECT {
        return Err(GatewayError::OtherMethods(
            "GET, HEAD, POST, PUT, PATCH, DELETE".to_owned(),
        ));
    }
    let path = std::str::from_utf8(request.path()).map_err(|_| GatewayError::InvalidTenant)?;
    Ok((request.method.clone(), path.to_owned()))
}

fn local_route<'a>(method: &Method, route: &'a str) -> Result<Matched<'a>, GatewayError> {
    match crate::local::route::of_tenant(method, route) {
        Found::Here(matched) => Ok(matched),
        Found::OtherMethods(methods) => Err(Refusal::OtherMethods(methods).into()),
        Found::Nothing => Err(Refusal::NotFound.into()),
    }
}
