//! The operator's listener (`server.ops_listen`): metrics, health, readiness. Never for the public.

use crate::http1::head::Request;
use crate::local::answer::{Answer, Refusal};
use crate::local::root;
use crate::proxy::call::Proxy;
use crate::proxy::downstream::reply::{self, ReplyContext};
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::request_id;
use crate::telemetry::metrics::{CONTENT_TYPE, Gauges};
use futures_util::FutureExt;
use http::{HeaderValue, Method, Response, header};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

/// Rows of `resullm_endpoints_passed_over`, at most.
const MAX_PASSED_OVER_ROWS: usize = 1_000;

/// Serves one request of the operator's. It is not counted in the metrics.
pub async fn serve(proxy: &Proxy, session: &mut Session<'_>) {
    let context = ReplyContext::new(request_id::new_id().to_string());
    let answered = AssertUnwindSafe(answer(proxy, session)).catch_unwind();
    let answer = answered.await.unwrap_or_else(|_| {
        proxy.metrics.panics.add(1);
        let place = "while answering the operator's listener".to_owned();
        Err(GatewayError::Panic(place))
    });
    // Ignored: a failed write means that the client has disconnected.
    let _ = match answer {
        Ok(answer) => reply::send(session, &context, answer).await,
        Err(error) => reply::refuse(session, &context, error).await,
    };
}

async fn answer(proxy: &Proxy, session: &Session<'_>) -> Result<Answer, GatewayError> {
    let request = session.request();
    let answer = match request.path() {
        _ if !matches!(request.method, Method::GET | Method::HEAD) => {
            return Err(GatewayError::MethodNotAllowed("GET, HEAD".to_owned()));
        }
        b"/metrics" => metrics(proxy),
        b"/healthz" => root::health(),
        b"/readyz" if is_verbose(request) => root::ready_verbose(&proxy.local).await?,
        b"/readyz" => root::ready(&proxy.local).await?,
        _ => return Err(Refusal::NotFound.into()),
    };
    Ok(answer)
}

/// Whether the query has `verbose`, with or without a value.
fn is_verbose(request: &Request) -> bool {
    let mut words = request.query().unwrap_or_default().split('&');
    words.any(|word| word.split('=').next() == Some("verbose"))
}

fn metrics(proxy: &Proxy) -> Answer {
    let (limits, delivery) = (&proxy.limits, &proxy.settlement.delivery);
    let unusable = proxy.tenants.unusable();
    let levels = Gauges {
        requests: limits.in_flight.count(),
        connections: limits.connections.count(),
        buffered: limits.body_memory.reserved_bytes(),
        store_up: proxy.store.is_up(),
        settlements: delivery.waiting_count(),
        journal: delivery.journal.open_count(),
        leases: delivery.leases.count(),
        records: proxy.recorder.unwritten_count(),
        configs_refused: unusable.refused,
        configs_previous: unusable.served_by_previous,
        passed_over: passed_over(proxy),
    };
    let mut answer = Response::new(proxy.metrics.render(levels).into());
    let kind = HeaderValue::from_static(CONTENT_TYPE);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// Number of models that are passed over, by tenant and endpoint.
fn passed_over(proxy: &Proxy) -> BTreeMap<(String, String), u64> {
    let mut counts = BTreeMap::new();
    for (tenant, passed_over) in proxy.tenants.passed_over(MAX_PASSED_OVER_ROWS) {
        let labels = (tenant.as_str().to_owned(), passed_over.endpoint);
        *counts.entry(labels).or_default() += 1;
    }
    counts
}
