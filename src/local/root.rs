//! Routes about the gateway itself: `/`, `/healthz`, `/readyz`, `/openapi.json`.

use super::Local;
use super::answer::{Answer, Refusal, json, text};
use serde_json::json;
use std::sync::atomic::Ordering;

/// OpenAPI document of the local routes, with the server `/`.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Serves `GET /`, also below a tenant.
pub fn root(local: &Local) -> Answer {
    let message = format!("{} API is running", local.settings.service.name);
    json(200, &json!({ "message": message }))
}

/// Serves `GET /healthz`: 200 as long as the process can answer at all.
pub fn health() -> Answer {
    json(200, &json!({"status": "ok"}))
}

/// Serves `GET /readyz`: 200 if the store answers and the gateway is not draining, else 503.
pub async fn ready(local: &Local) -> Result<Answer, Refusal> {
    if local.draining.load(Ordering::Relaxed) {
        return Err(Refusal::Draining);
    }
    local.store.ready().await?;
    Ok(json(200, &json!({"status": "ready"})))
}

/// Serves `GET /openapi.json`. With `server.public_url`, that URL replaces the document's relative server.
pub fn openapi(local: &Local) -> Answer {
    match &local.settings.server.public_url {
        None => text(200, OPENAPI),
        Some(url) => {
            let server = json!(format!("{}{}", url.origin, url.path));
            text(
                200,
                OPENAPI.replacen(SERVER, &format!("\"url\": {server}"), 1),
            )
        }
    }
}

/// The only server entry in [`OPENAPI`], as text.
const SERVER: &str = "\"url\": \"/\"";
