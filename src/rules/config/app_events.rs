//! The table of events for the app: where they go, what they are signed with, and which are wanted.

use crate::rules::app_event::AppEventType;
use crate::tables::{Goes, Secret, ValueType, choice, list, opened_line, table, url};
use crate::url::Url;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// Most signing secrets: one, and the next one while they change.
const MAX_SECRETS: usize = 4;
/// Bytes of a signing secret, as Standard Webhooks has them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const SECRET_START: &str = "whsec_";

table! {
    /// Address of the app that is told what happens to its people.
    pub struct AppEvents unknown KeptUnlessSlip {
        /// Address that events are posted to.
        url: Url = url().shown("https://app.example/resullm-events");
        /// Secrets that they are signed with (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64.
        /// With more than one, each event has a signature of each.
        secrets: Vec<Secret> = secrets();
        /// The only types that are sent.
        /// Absent: all.
        types: Option<Vec<AppEventType>> = list(choice(AppEventType::ALL), 0).optional().shown("[payment.received, balance.low]");
    }
}

impl AppEvents {
    pub fn wants(&self, kind: AppEventType) -> bool {
        self.types
            .as_ref()
            .is_none_or(|types| types.contains(&kind))
    }

    /// Returns the bytes of the secrets.
    pub fn keys(&self) -> impl Iterator<Item = Vec<u8>> {
        self.secrets
            .iter()
            .filter_map(|secret| key(secret.expose()))
    }
}

fn key(secret: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(secret.strip_prefix(SECRET_START)?).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then_some(bytes)
}

fn secrets() -> ValueType<Vec<Secret>> {
    let secret = opened_line(Goes::Beside("url")).check(|secret| match key(secret.expose()) {
        Some(_) => Ok(()),
        None => Err("expected whsec_ and 24 to 64 bytes in base64"),
    });
    let secrets = list(secret, 0).check(|secrets| match secrets.len() {
        1..=MAX_SECRETS => Ok(()),
        _ => Err("must name 1 to 4 secrets"),
    });
    secrets.with_schema(json!({"minItems": 1, "maxItems": MAX_SECRETS}))
}
