//! Query and answer of `/admin/usage`.

use crate::rules::money::Amount;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Upper bound of `days`.
pub const MAX_DAYS: u64 = 366;
/// Upper bound of `limit`.
pub const MAX_EVENTS: usize = 10_000;

/// `days` of a query that has neither `days` nor `since`.
pub const USUAL_DAYS: u64 = 30;

/// Query of the usage log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsageQuery {
    /// Days to look back from `until`, or from now. Not together with `since`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1, max = MAX_DAYS), extend("default" = USUAL_DAYS))]
    pub days: Option<u64>,
    /// Only requests that were over at this moment or later, such as `2026-01-31T12:00:00Z`; a mere date is the
    /// beginning of that day in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub since: Option<String>,
    /// Only requests that were over before this moment, written as `since`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub until: Option<String>,
    /// Only requests for this model; `-`: those that named none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    pub model: Option<String>,
    /// Only this key's requests: its ID, 12 hex digits; `-`: those of records without a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^([0-9a-f]{12}|-)$"))]
    pub key: Option<String>,
    /// Only this account's requests: its `keyId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    pub account: Option<String>,
    /// Only requests of accounts that were in this group then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    pub group: Option<String>,
    /// Only requests that this endpoint answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1))]
    pub endpoint: Option<String>,
    /// What `rows` are by: some of `day`, `model`, `group`, `endpoint`, `key` and `account`, separated by commas. A table
    /// (`csv`) is by all of them unless it is told otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = BY_PATTERN))]
    pub by: Option<String>,
    /// Number of the latest requests to show. A table shows none.
    #[schemars(range(max = MAX_EVENTS))]
    pub limit: usize,
    /// Form of the answer.
    pub format: UsageFormat,
}

const BY_PATTERN: &str =
    "^(day|model|group|endpoint|key|account)(,(day|model|group|endpoint|key|account)){0,5}$";

impl Default for UsageQuery {
    fn default() -> UsageQuery {
        UsageQuery {
            days: None,
            since: None,
            until: None,
            model: None,
            key: None,
            account: None,
            group: None,
            endpoint: None,
            by: None,
            limit: 100,
            format: UsageFormat::Json,
        }
    }
}

/// Form of an answer about usage: `json`, or `csv` for spreadsheets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum UsageFormat {
    #[default]
    Json,
    Csv,
}

/// Sums by day, model, account, key, group and endpoint, and the latest requests, newest first.
// `E` is a record's text where the answer is written: records are passed on as they were logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Usage")]
pub struct UsageReport<E = UsageEvent> {
    /// All of them.
    pub total: UsageSum,
    /// By day, as `2026-11-29` (UTC).
    pub by_day: BTreeMap<String, UsageSum>,
    /// By model, `-` for calls that named none.
    pub by_model: BTreeMap<String, UsageSum>,
    /// By account, named by its `keyId`.
    pub by_account: BTreeMap<String, UsageSum>,
    /// By key, named by its ID; `-` for records without one.
    pub by_key: BTreeMap<String, UsageSum>,
    /// By group that the account was in then.
    pub by_group: BTreeMap<String, UsageSum>,
    /// By endpoint that answered.
    pub by_endpoint: BTreeMap<String, UsageSum>,
    /// One sum for each combination of what the query's `by` names. Absent without `by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<UsageRow>")]
    pub rows: Option<Vec<UsageRow>>,
    /// Whether older requests of the time asked for are missing: the log no longer has them, or has too many. Absent
    /// where none are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// The latest requests, newest first.
    pub events: Vec<E>,
}

/// Sum of the requests that have all of these in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// The day in UTC, where `by` has `day`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub day: Option<String>,
    /// The model, `-` for calls that named none, where `by` has `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub model: Option<String>,
    /// The account's group, where `by` has `group`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub group: Option<String>,
    /// The endpoint, where `by` has `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub endpoint: Option<String>,
    /// The key's ID, `-` for records without one, where `by` has `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub key: Option<String>,
    /// The account, named by its `keyId`, where `by` has `account`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub account: Option<String>,
    /// Number of requests.
    pub requests: u64,
    /// Tokens of their prompts.
    pub tokens_in: u64,
    /// Tokens of their answers.
    pub tokens_out: u64,
    /// Tokens of their prompts that the provider had cached.
    pub tokens_cached: u64,
    /// Charge, in tokens of the balance.
    pub cost: u64,
    /// Cost in money, by currency, where the tenant has prices.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, f64>")]
    pub amounts: BTreeMap<String, Amount>,
}

/// Query of an account's own usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OwnUsageQuery {
    /// Days to look back.
    #[schemars(range(min = 1, max = MAX_DAYS))]
    pub days: u64,
}

impl Default for OwnUsageQuery {
    fn default() -> OwnUsageQuery {
        OwnUsageQuery { days: USUAL_DAYS }
    }
}

/// Sums of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageSum {
    /// Number of requests.
    pub requests: u64,
    /// Tokens of their prompts.
    pub tokens_in: u64,
    /// Tokens of their answers.
    pub tokens_out: u64,
    /// Tokens of their prompts that the provider had cached.
    pub tokens_cached: u64,
    /// Charge, in tokens of the balance.
    pub cost: u64,
    /// Cost in money, by currency, where the tenant has prices.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, f64>")]
    pub amounts: BTreeMap<String, Amount>,
}

/// One settled request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageEvent {
    /// Moment when it was over.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// The tenant's ID.
    pub tenant: String,
    /// The account that paid, by its `keyId`.
    pub account: String,
    /// The key that made the call, by its ID: 12 hex digits. Absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub key: Option<String>,
    /// The account's group.
    pub group: String,
    /// The endpoint that answered, by its name in the tenant's config.
    pub endpoint: String,
    /// The model, `null` where the call named none.
    pub model: Option<String>,
    /// The call, as its path below `v1`.
    pub call: String,
    /// The answer's `x-request-id`.
    pub request_id: String,
    /// Tokens of the prompt.
    pub tokens_in: u64,
    /// Tokens of the answer.
    pub tokens_out: u64,
    /// Tokens of the prompt that the provider had cached.
    pub tokens_cached: u64,
    /// Basis of the charge: `reported`, `counted`, `held`, `cached` (the fee of an answer in the cache), `known` (what was
    /// known before a crash) or `nothing`.
    pub basis: String,
    /// Tokens of the prompt by the gateway's own count, where that was charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub counted_in: Option<u64>,
    /// Tokens of the answer by the gateway's own count, where that was charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub counted_out: Option<u64>,
    /// Rate of the model: tokens of the balance for a token of each kind, as in the tenant's `rates`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rate_schema")]
    pub rate: Option<Value>,
    /// Whether the provider reported the usage that was charged.
    pub reported: bool,
    /// Charge, in tokens of the balance.
    pub cost: u64,
    /// ID of the settlement, which no other request has.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Status of the answer, 0 where none was written.
    pub status: u16,
    /// Milliseconds from the request to the end of its answer.
    pub latency_ms: u64,
    /// Cost in money, where the tenant has a price for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub amount: Option<Amount>,
    /// Currency of `amount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub currency: Option<String>,
    /// `hit` where the answer came from the cache; it has no tokens of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub cache: Option<String>,
    /// All attempts in order, where there was more than one; the last one is the one that `endpoint` and `model` name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<UsageAttempt>,
    /// Whether the record was written at the next start, after a crash. Then its status and latency are 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
}

/// Schema of a `rate`: a number, or an object with one for each kind of token.
pub(super) fn rate_schema(_: &mut SchemaGenerator) -> Schema {
    let kind = |about: &str| json!({"type": "number", "minimum": 0, "description": about});
    json_schema!({
        "anyOf": [
            {"type": "number", "minimum": 0},
            {
                "type": "object",
                "properties": {
                    "input": kind("Tokens of the prompt."),
                    "output": kind("Tokens of the answer."),
                    "cacheRead": kind("Tokens that the provider read from its prompt cache. Absent: as `input`."),
                    "cacheWrite": kind("Tokens that the provider wrote to its prompt cache. Absent: as `input`."),
                },
                "required": ["input", "output"],
                "additionalProperties": false,
            },
        ],
    })
}

/// One attempt at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageAttempt {
    /// The endpoint, by its name in the tenant's config.
    pub endpoint: String,
    /// The model that it was asked for.
    pub model: Option<String>,
    /// How the attempt ended, as in the metric `resullm_provider_answers_total`.
    pub outcome: String,
    /// Part of the charge, in tokens of the balance.
    pub cost: u64,
}
