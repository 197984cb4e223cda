//! Routes about the gateway itself: `/`, `/healthz`, `/readyz`, `/openapi.json`.

use super::answer::{Answer, Refusal, json, text};
use super::{Local, openapi};
use crate::api;
use crate::rules::health::PassedOver;
use crate::rules::tenant::TenantId;
use std::sync::atomic::Ordering;

/// Endpoints that `/readyz?verbose` names, at most.
const MAX_PASSED_OVER: usize = 1_000;

/// Serves `GET /`, also below a tenant.
pub fn root(local: &Local) -> Answer {
    let message = format!("{} API is running", local.settings.service.name);
    json(200, &api::Root { message })
}

/// Serves `GET /healthz`: 200 as long as the process can answer at all.
pub fn health() -> Answer {
    let status = api::AliveStatus::Ok;
    json(200, &api::Alive { status })
}

/// Serves `GET /readyz`: 200 if the store answers and the gateway is not draining, else 503.
pub async fn ready(local: &Local) -> Result<Answer, Refusal> {
    ready_with(local, None).await
}

/// Serves `GET /readyz?verbose` of the operator's listener. It names tenants, so it is not for the public.
pub async fn ready_verbose(local: &Local) -> Result<Answer, Refusal> {
    let passed_over = local.tenants.passed_over(MAX_PASSED_OVER);
    let named = |(tenant, endpoint): (TenantId, PassedOver)| api::PassedOverEndpoint {
        tenant: tenant.as_str().to_owned(),
        endpoint: endpoint.endpoint,
        model: endpoint.model,
    };
    let mut passed_over: Vec<_> = passed_over.into_iter().map(named).collect();
    passed_over.sort();
    ready_with(local, Some(passed_over)).await
}

async fn ready_with(
    local: &Local,
    passed_over: Option<Vec<api::PassedOverEndpoint>>,
) -> Result<Answer, Refusal> {
    if local.draining.load(Ordering::Relaxed) {
        return Err(Refusal::Draining);
    }
    local.store.ready().await?;
    let ready = api::Ready {
        status: api::ReadyStatus::Ready,
        passed_over,
    };
    Ok(json(200, &ready))
}

/// Serves `GET /openapi.json`. With `server.public_url`, that URL replaces the document's relative server.
pub fn document(local: &Local) -> Answer {
    match &local.settings.server.public_url {
        None => text(200, openapi::text()),
        Some(url) => text(
            200,
            openapi::text_at(&format!("{}{}", url.origin, url.path)),
        ),
    }
}
