//! The gateway itself: is it there, is it ready, what can it do.

use super::Local;
use super::answer::{Answer, Refusal, json, text};
use serde_json::json;
use std::sync::atomic::Ordering;

pub const OPENAPI: &str = include_str!("openapi.json");

pub fn root(local: &Local) -> Answer {
    let message = format!("{} API is running", local.settings.service.name);
    json(200, &json!({ "message": message }))
}

pub fn health() -> Answer {
    json(200, &json!({"status": "ok"}))
}

/// Ready: the store answers, and nobody has asked the gateway to stop.
pub async fn ready(local: &Local) -> Result<Answer, Refusal> {
    if local.draining.load(Ordering::Relaxed) {
        return Err(Refusal::Draining);
    }
    local.store.ready().await?;
    Ok(json(200, &json!({"status": "ready"})))
}

/// Where the gateway does not know its own address, the document's readers do.
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

/// Of the document's only server.
const SERVER: &str = "\"url\": \"/\"";
