//! [`AppEvent`]: one thing that happened to a person, as the app is told it.

use crate::rules::amount::{Millis, Tokens};
use crate::rules::app_event::AppEventType;
use crate::rules::date::rfc3339;
use crate::rules::digest;
use serde::Serialize;

/// Event with what it is about.
#[derive(Clone, Debug)]
pub struct AppEvent {
    pub kind: AppEventType,
    /// Text that tells it from others of its type: told again, it has the same ID.
    pub mark: String,
    pub data: EventData,
}

/// Content of an event. Members that do not apply are left out.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventData {
    /// Account of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The app's own ID of the user, where it has given one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Name of a key in lists, where the account is no person's or the key is what it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_left: Option<Tokens>,
    /// Tokens of a payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// `topUp`, `invoice` or `trial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    /// ID of the paid object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Part of the group's tokens that has been used: 50, 80 or 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    tenant: &'a str,
    data: &'a EventData,
}

impl AppEvent {
    /// Returns the ID by which an app knows it again.
    pub(super) fn id(&self, tenant: &str) -> String {
        let name = digest::short_name(&[tenant, self.kind.word(), &self.mark]);
        format!("msg_{name}")
    }

    pub(super) fn body(&self, tenant: &str, at: Millis) -> String {
        let body = Body {
            kind: self.kind.word(),
            timestamp: rfc3339(at),
            tenant,
            data: &self.data,
        };
        // It has no map whose keys are no texts.
        serde_json::to_string(&body).unwrap_or_default()
    }
}
