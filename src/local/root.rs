//! Routes about the gateway itself: `/`, `/healthz`, `/readyz`, `/openapi.json`.

use super::answer::{Answer, Refusal, json, text};
use super::{Local, openapi};
use crate::api;
use std::sync::atomic::Ordering;

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
    if local.draining.load(Ordering::Relaxed) {
        return Err(Refusal::Draining);
    }
    local.store.ready().await?;
    let status = api::ReadyStatus::Ready;
    Ok(json(200, &api::Ready { status }))
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
