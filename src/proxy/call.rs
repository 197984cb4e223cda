//! The call, read downwards: each step is a function of the folder that is named after it, and takes the value of
//! the step before.
//!
//! [`serve`] is one request from its head to its usage record. Whatever ends it (an error, a client that
//! leaves, a panic), it is settled, answered and recorded there.

use crate::dialect::Dialect;
use crate::dialect::gemini::generate::STREAM;
use crate::http1::head;
use crate::local::Local;
use crate::local::answer::Refusal;
use crate::local::dispatch::Scope;
use crate::local::route::{Matched, Resolved, allows_cors, is_admin_route};
use crate::proxy::access;
use crate::proxy::admission::admit::{Admission, check_models};
use crate::proxy::admission::authenticate::{authenticate, require_known};
use crate::proxy::admission::estimate::{AskedCall, Estimator};
use crate::proxy::attempts::in_turn::Attempts;
use crate::proxy::cache::stage::Cache;
use crate::proxy::counting;
use crate::proxy::downstream::cors::CorsGrant;
use crate::proxy::downstream::hosts::{Hosts, RequestedHost};
use crate::proxy::downstream::intake::intake;
use crate::proxy::downstream::route::{self, ProviderPath};
use crate::proxy::downstream::session::Session;
use crate::proxy::downstream::{client_address, preflight, reply, tally};
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Exchange;
use crate::proxy::limits::refused_work::Work;
use crate::proxy::limits::{Limits, gate};
use crate::proxy::local_answer::LocalAnswers;
use crate::proxy::models;
use crate::proxy::outcome::Route;
use crate::proxy::request_id;
use crate::proxy::settlement::record::Recorder;
use crate::proxy::settlement::settle::Settlement;
use crate::proxy::side::Side;
use crate::proxy::upstream::forward::Forward;
use crate::proxy::upstream::lifetime::Lifetimes;
use crate::rules::charge::Charge;
use crate::rules::tenant::{self, Addressed};
use crate::store::Store;
use crate::store::name::KeyName;
use crate::store::tenants::{Lookup, Tenant, Tenants};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::panics;
use futures_util::FutureExt;
use http::Method;
use http::header::AUTHORIZATION;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

/// Longest body in bytes that is read before its key is looked up; for a longer one, [`require_known`] comes
/// first.
const MAX_UNKNOWN_BODY_BYTES: u64 = 64 << 10;

/// The parts that serve requests, one of each per process, built by `serve`.
pub struct Proxy {
    pub local: Local,
    pub hosts: Hosts,
    /// Names of `server.admin_listen`.
    pub admin_hosts: Hosts,
    pub store: Arc<dyn Store>,
    pub tenants: Arc<Tenants>,
    pub limits: Limits,
    pub estimator: Estimator,
    pub admission: Admission,
    pub cache: Cache,
    pub lifetimes: Lifetimes,
    pub forward: Forward,
    pub settlement: Settlement,
    pub recorder: Recorder,
    pub metrics: Arc<Metrics>,
}

/// Serves one request of any side but [`Side::Ops`]: `answer`, then settlement, error reply and usage record.
pub async fn serve(proxy: &Proxy, session: &mut Session<'_>) {
    let _guard = proxy.limits.in_flight.enter();
    let request_id = request_id::of(session.request());
    let mut exchange = Exchange::new(request_id, &proxy.limits.body_memory);
    let answered = AssertUnwindSafe(answer(proxy, session, &mut exchange)).catch_unwind();
    let outcome = answered.await.unwrap_or_else(|panic| {
        proxy.metrics.panics.add(1);
        Err(GatewayError::Panic(
            panics::safe_message(&*panic).to_owned(),
        ))
    });
    if let Some(mut call) = exchange.admitted()
        && let Some(left) = proxy.settlement.settle(&mut call).await
    {
        call.reply.set_balance(left);
        call.reply.set_cost(|| call.bill.cost_line());
    }
    if let Err(error) = outcome {
        end_with_error(proxy, session, &mut exchange, error).await;
    }
    record(proxy, session, &exchange);
}

/// Resolves the path to a local route or a tenant, and answers.
async fn answer(
    proxy: &Proxy,
    session: &mut Session<'_>,
    exchange: &mut Exchange<'_>,
) -> Result<(), GatewayError> {
    let (method, path) = target(session.request()).inspect_err(|_| session.close_after())?;
    let found = crate::local::route::global(&method, &path);
    let addressed = tenant::address(&path);
    let provider = addressed.as_ref().and_then(|to| route::provider(to.route));
    if !matches!(&found, Resolved::Here(matched) if matched.route.is_probe()) {
        check_host(proxy, session).inspect_err(|_| {
            exchange
                .reply
                .set_api(provider.as_ref().map(|provider| provider.api));
        })?;
    }
    if session.side.lacks(&path, addressed.as_ref()) {
        return Err(Refusal::NotFound.into());
    }
    match found {
        Resolved::Here(matched) => {
            if path.starts_with("/admin") {
                check_address(proxy, session)?;
            }
            let locals = local_answers(proxy);
            return locals
                .answer(session, exchange, &method, &matched, Scope::Global)
                .await;
        }
        Resolved::MethodNotAllowed(methods) => {
            return Err(Refusal::MethodNotAllowed(methods).into());
        }
        Resolved::Nothing => {}
    }
    let addressed = addressed.ok_or(GatewayError::InvalidTenant)?;
    exchange.tenant = Some(addressed.tenant.clone());
    exchange
        .reply
        .set_api(provider.as_ref().map(|provider| provider.api));
    answer_for_tenant(proxy, session, exchange, &method, addressed, provider).await
}

/// Looks the tenant up, and answers with one of its local routes or by a call of its provider.
async fn answer_for_tenant(
    proxy: &Proxy,
    session: &mut Session<'_>,
    exchange: &mut Exchange<'_>,
    method: &Method,
    addressed: Addressed<'_>,
    provider: Option<ProviderPath<'_>>,
) -> Result<(), GatewayError> {
    let is_preflight = preflight::is_preflight(method, &session.request().fields);
    let allows_cors = provider.is_some() || allows_cors(addressed.route);
    let cors = |tenant: &Tenant, session: &Session<'_>| {
        let cors = tenant.config.cors.as_ref().filter(|_| allows_cors)?;
        Some(CorsGrant::of(cors, &session.request().fields))
    };
    let found = match check_limits(proxy, session, is_preflight) {
        Ok(()) => {
            let found = proxy.tenants.find(&addressed.tenant).await;
            found.map_err(GatewayError::from)
        }
        Err(refused) => Err(refused),
    };
    if found.is_err() {
        // With CORS headers from the cached config, so that pages can read these refusals too.
        let cached = proxy.tenants.kept(&addressed.tenant);
        let cors = cached.and_then(|tenant| cors(&tenant, session));
        exchange.reply.set_cors(cors);
    }
    let found = found?;
    exchange.outcome.has_tenant = !matches!(found, Lookup::Unknown);
    let tenant = match found {
        Lookup::Known(tenant) => tenant,
        Lookup::Unknown => return Err(GatewayError::InvalidTenant),
        Lookup::Unusable if provider.is_some() => return Err(GatewayError::BrokenTenant),
        Lookup::Unusable => {
            let matched = local_route(session.side, method, addressed.route)?;
            let at = Scope::Unusable(addressed.tenant);
            let locals = local_answers(proxy);
            return locals.answer(session, exchange, method, &matched, at).await;
        }
    };
    exchange.reply.set_cors(cors(&tenant, session));
    if is_preflight && exchange.reply.cors().is_some() {
        return preflight::answer(session, &mut exchange.reply).await;
    }
    match provider {
        Some(provider) => answer_by_api(proxy, session, exchange, method, &tenant, provider).await,
        None => {
            let matched = local_route(session.side, method, addressed.route)?;
            let (locals, at) = (local_answers(proxy), Scope::Tenant(tenant));
            locals.answer(session, exchange, method, &matched, at).await
        }
    }
}

/// Answers a path of a provider's API: `GET models`, or a call.
async fn answer_by_api(
    proxy: &Proxy,
    session: &mut Session<'_>,
    exchange: &mut Exchange<'_>,
    method: &Method,
    tenant: &Arc<Tenant>,
    path: ProviderPath<'_>,
) -> Result<(), GatewayError> {
    let ProviderPath {
        api,
        dialect,
        words,
        model,
    } = path;
    if let ["models", wanted @ ..] = words.as_slice()
        && *method == Method::GET
        && dialect.is_none()
    {
        exchange.outcome.route = Route::Call("models");
        let store = &*proxy.store;
        let address = address_of(proxy, session);
        let asked = models::Asked {
            api,
            wanted,
            address,
        };
        return models::answer(store, session, &mut exchange.reply, tenant, asked).await;
    }
    if words.first() == Some(&"realtime") {
        return Err(GatewayError::RealtimeNotServed);
    }
    let dialect = dialect.ok_or(GatewayError::UnknownCall)?;
    if *method == Method::GET && words.as_slice() == ["responses"] && session.is_upgrade() {
        return Err(GatewayError::WebSocketNotServed);
    }
    if *method != Method::POST {
        return Err(GatewayError::MethodNotAllowed("POST".to_owned()));
    }
    proxy.metrics.requests_provider.add(1);
    exchange.outcome.route = Route::Call(dialect.path());
    let _guard = gate::enter_tenant(&proxy.limits, &proxy.metrics, tenant)?;
    let key = authenticate(session.request(), tenant)?;
    let asked = AskedCall { dialect, model };
    call_limited(proxy, session, exchange, tenant, &asked, &key).await
}

/// Whether the query asks for a stream of events, which the API's other streams are not.
fn asks_for_events(request: &head::Request) -> bool {
    let mut pairs = request.query().unwrap_or_default().split('&');
    pairs.any(|pair| pair == "alt=sse")
}

/// Calls the provider, unless `RefusedWork` blocks the key; adds the work of a refused call.
async fn call_limited(
    proxy: &Proxy,
    session: &mut Session<'_>,
    exchange: &mut Exchange<'_>,
    tenant: &Arc<Tenant>,
    asked: &AskedCall<'_>,
    key: &KeyName,
) -> Result<(), GatewayError> {
    let refused_work = &proxy.limits.refused_work;
    refused_work.check(key, exchange.timing.started)?;
    let mut work = Work::default();
    let outcome = call(proxy, session, exchange, tenant, asked, key, &mut work).await;
    let is_refused = matches!(&outcome, Err(error) if error.is_callers_fault());
    if is_refused && exchange.reply.balance().is_none() {
        // Without a valid key no error may reveal the tenant's models.
        require_known(&*proxy.store, tenant, key).await?;
    }
    let is_free = |charge: &Charge| charge.cost.is_zero();
    let charge = exchange.bill.as_ref().and_then(|bill| bill.decided());
    if is_refused || charge.is_some_and(is_free) {
        refused_work.add(key, work, Instant::now());
    }
    outcome
}

/// Runs one call: intake, estimate, admit, then the cache, or attempts at its endpoints.
async fn call(
    proxy: &Proxy,
    session: &mut Session<'_>,
    exchange: &mut Exchange<'_>,
    tenant: &Arc<Tenant>,
    asked: &AskedCall<'_>,
    key: &KeyName,
    work: &mut Work,
) -> Result<(), GatewayError> {
    exchange.reply.wants_cost = session.request().fields.has("x-resullm-cost");
    if asked.dialect.path() == STREAM.path() && !asks_for_events(session.request()) {
        let why = "streamGenerateContent is served with alt=sse in the query alone";
        return Err(GatewayError::InvalidBody(why.to_owned()));
    }
    let length = session.body_length();
    if length.is_none_or(|length| length > MAX_UNKNOWN_BODY_BYTES) {
        require_known(&*proxy.store, tenant, key).await?;
    }
    let Limits { in_flight, .. } = &proxy.limits;
    let max_body = proxy.local.settings.server.max_body;
    let body = intake(session, exchange, in_flight, &proxy.metrics, max_body).await?;
    work.read_bytes = body.len() as u64;

    let estimator = &proxy.estimator;
    let mut estimates = estimator
        .estimate(session.request(), tenant, asked, body)
        .await?;
    let first = estimates[0].endpoint;
    exchange.reply.set_endpoint(Arc::from(first.name.as_str()));

    let admission = &proxy.admission;
    let bill = admission
        .admit(key, &mut estimates, &mut exchange.reply, work)
        .await?;
    let mut call = exchange.admit(&tenant.id, bill);
    let labels = call.bill.labels();
    let (group, issued) = (&labels.group, labels.issued.as_deref());
    check_models(&mut estimates, group, issued, || address_of(proxy, session))?;

    if estimates[0].is_counted_here {
        let (counter, settlement) = (&proxy.estimator.counter, &proxy.settlement);
        return counting::answer(counter, settlement, session, &mut call, &estimates[0]).await;
    }
    let parts = Attempts {
        lifetimes: &proxy.lifetimes,
        forward: &proxy.forward,
        settlement: &proxy.settlement,
        metrics: &proxy.metrics,
    };
    let cache = &proxy.cache;
    cache
        .answer(&parts, session, &mut call, key, estimates)
        .await
}

/// Logs an error and sends it, if the client is connected and no response has begun.
async fn end_with_error(
    proxy: &Proxy,
    session: &mut Session<'_>,
    exchange: &mut Exchange<'_>,
    error: GatewayError,
) {
    exchange.note(&error);
    if error == GatewayError::ClientGone {
        proxy.metrics.clients_gone.add(1);
        tally::record_cancelled();
        session.mark_truncated();
    } else if session.answered().is_none() {
        // Ignored: a failed write means that the client has disconnected.
        let _ = reply::refuse(session, &exchange.reply, error).await;
    } else {
        session.mark_truncated();
    }
}

/// Counts the request, its failed key if it had one, and writes the usage record of an admitted call.
fn record(proxy: &Proxy, session: &Session<'_>, exchange: &Exchange<'_>) {
    let status = session.status();
    proxy.metrics.count_response(status);
    if let Some(refused) = exchange.outcome.refused {
        let tenant = exchange.tenant.as_ref();
        proxy
            .tenants
            .count_error(tenant, refused.code, refused.status);
    }
    if status == 401 {
        let address = address_of(proxy, session);
        let now = Instant::now();
        proxy.limits.auth_failures.record(address, now);
        // Who sends none guesses nothing.
        let headers = session.request().headers();
        if takes_admin_token(session) && headers.contains_key(AUTHORIZATION) {
            proxy.limits.admin_failures.record(address, now);
        }
    }
    let lasted = exchange.timing.elapsed();
    let bill = exchange.bill.as_ref();
    if bill.is_some_and(|bill| bill.decided().is_some()) {
        let own = lasted.saturating_sub(exchange.timing.waited);
        proxy.metrics.own_time.record(own);
        proxy.recorder.record(exchange, status, lasted);
    }
    access::log(session, exchange, status, lasted);
}

/// Returns method and path of a request, or the error for an unsupported method or target.
fn target(request: &head::Request) -> Result<(Method, String), GatewayError> {
    if request.method == Method::TRACE || request.method == Method::CONNECT {
        let methods = "GET, HEAD, POST, PUT, PATCH, DELETE";
        return Err(GatewayError::MethodNotAllowed(methods.to_owned()));
    }
    let path = std::str::from_utf8(request.path()).map_err(|_| GatewayError::InvalidTenant)?;
    Ok((request.method.clone(), path.to_owned()))
}

/// Finds a tenant's route, where the listener's [`Side`] has it.
fn local_route<'a>(
    side: Side,
    method: &Method,
    route: &'a str,
) -> Result<Matched<'a>, GatewayError> {
    if !side.has_admin_routes() && is_admin_route(route) {
        return Err(Refusal::NotFound.into());
    }
    match crate::local::route::of_tenant(method, route) {
        Resolved::Here(matched) => Ok(matched),
        Resolved::MethodNotAllowed(methods) => Err(Refusal::MethodNotAllowed(methods).into()),
        Resolved::Nothing => Err(Refusal::NotFound.into()),
    }
}

fn local_answers(proxy: &Proxy) -> LocalAnswers<'_> {
    LocalAnswers {
        local: &proxy.local,
        limits: &proxy.limits,
        metrics: &proxy.metrics,
    }
}

/// Returns 421 for a host that is not in the listener's [`Hosts`].
fn check_host(proxy: &Proxy, session: &Session<'_>) -> Result<(), GatewayError> {
    let trusted = &proxy.local.settings.server.trusted_proxies;
    let asked = || RequestedHost::of(session.request(), session.peer, trusted);
    let hosts = match session.side {
        Side::Admin => &proxy.admin_hosts,
        Side::Everyone | Side::Public | Side::Ops => &proxy.hosts,
    };
    match hosts.answer(session.request(), asked) {
        true => Ok(()),
        false => Err(GatewayError::Misdirected),
    }
}

/// Applies the limits that come before a tenant is looked up. A preflight carries no key, so none can be held
/// against it.
fn check_limits(
    proxy: &Proxy,
    session: &Session<'_>,
    is_preflight: bool,
) -> Result<(), GatewayError> {
    gate::check_load(&proxy.limits, &proxy.metrics)?;
    if is_preflight {
        return Ok(());
    }
    check_address(proxy, session)
}

fn check_address(proxy: &Proxy, session: &Session<'_>) -> Result<(), GatewayError> {
    if takes_admin_token(session) {
        gate::check_admin(&proxy.limits, || address_of(proxy, session))?;
    }
    gate::check_address(&proxy.limits, || address_of(proxy, session))
}

/// Whether the request's route is for admins, or for backends of apps with a token of theirs.
fn takes_admin_token(session: &Session<'_>) -> bool {
    let path = session.request().path();
    let has_admins = session.side.has_admin_routes();
    let is_admin = |path: &[u8]| {
        path.starts_with(b"/auth/sessions") || (has_admins && path.starts_with(b"/admin"))
    };
    let below = path.iter().skip(1).position(|byte| *byte == b'/');
    is_admin(path) || below.is_some_and(|at| is_admin(&path[at + 1..]))
}

fn address_of(proxy: &Proxy, session: &Session<'_>) -> IpAddr {
    client_address::of_session(session, &proxy.local.settings.server.trusted_proxies)
}
