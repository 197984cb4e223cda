//! The log of changes: answers of `/admin/audit`.

use super::tenants::TokenScope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Most changes in one answer.
pub const MAX_CHANGES: usize = 200;

/// A change over an `/admin` route, or by a command that does the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Its ID.
    pub id: String,
    /// When it began.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// Whether it was made.
    pub outcome: AuditOutcome,
    /// Kind of the change, such as `key.credited`.
    pub action: String,
    /// The author: `operator`, or the name of the token.
    pub by: String,
    /// Scope of the token; absent for `operator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<TokenScope>,
    /// The address that the request came from; `cli` for a command that was given on the store itself.
    pub address: String,
    /// `x-request-id` of the answer.
    pub request_id: String,
    /// The tenant.
    pub tenant: String,
    /// The account (as in usage records), token or version that was changed; empty where that is the whole tenant.
    pub target: Map<String, Value>,
    /// How it was before. Of a config the fields that differ, by their paths, with `masked:v1:…` in place of secrets.
    pub before: Map<String, Value>,
    /// How it was afterwards, as `before`.
    pub after: Map<String, Value>,
    /// Number of fields that differ and stand neither in `before` nor in `after`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Whether a change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// The change was made.
    Done,
    /// The change began, and was made or not: the gateway or the store failed in between, or it is under way.
    Unknown,
    /// The change was refused and changed nothing. Such changes are not listed.
    Refused,
}

/// Which changes are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditQuery {
    /// Most changes in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_CHANGES))]
    pub limit: Option<usize>,
    /// Only changes since this moment, such as `2026-01-31T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub since: Option<String>,
    /// Only changes before this moment, as `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub until: Option<String>,
    /// Only changes of this kind, such as `key.credited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// `cursor` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Changes, the latest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecords {
    /// The changes.
    pub changes: Vec<AuditRecord>,
    /// The `cursor` of the query whose answer goes on here; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
