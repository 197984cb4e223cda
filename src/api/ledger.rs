//! Ledgers of accounts: query and answer of `/admin/keys/{key}/ledger` and `/admin/users/{user}/ledger`.

use super::usage::rate_schema;
use crate::rules::amount::Tokens;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Query of a `…/ledger`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerQuery {
    /// Number of `postings`.
    #[schemars(range(min = 1, max = LedgerQuery::MAX_POSTINGS))]
    pub limit: usize,
    /// Where to go on: `cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub cursor: Option<String>,
}

impl LedgerQuery {
    /// Upper bound of `limit`.
    pub const MAX_POSTINGS: usize = 1_000;
}

impl Default for LedgerQuery {
    fn default() -> LedgerQuery {
        LedgerQuery {
            limit: 50,
            cursor: None,
        }
    }
}

/// Every change of an account's balance. The amounts of all postings and of all that was folded add up to the balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountLedger {
    /// The balance, which is the sum of `postings` and `folded`.
    pub tokens_left: Tokens,
    /// Changes, newest first: `limit` of them.
    pub postings: Vec<Posting>,
    /// Older changes, which are no longer kept one by one (`retention.postings`), by day and reason.
    pub folded: Vec<FoldedPostings>,
    /// Where the next page goes on. Absent: this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub cursor: Option<String>,
}

/// One change of `tokensLeft`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Posting {
    /// Number within the account; later ones are higher. A `cursor` is one.
    pub number: u64,
    /// Moment of the change, by the store's clock.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// Change of `tokensLeft`, negative where tokens were taken.
    pub amount: i64,
    /// Balance after it.
    pub tokens_left: Tokens,
    /// Reason of the `amount`.
    pub reason: PostingReason,
    /// ID of what caused it: of a settlement (as in usage records), a credit, a lease or a payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub id: Option<String>,
    /// Tokens that were used and not covered by the balance, and so are not in `amount`.
    #[serde(default, skip_serializing_if = "Tokens::is_zero")]
    pub overrun: Tokens,
    /// More about the cause, as far as the `reason` has more.
    #[serde(default, skip_serializing_if = "PostingDetail::is_empty")]
    pub detail: PostingDetail,
}

/// Reason of a [`Posting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PostingReason {
    /// The balance that the ledger began with: of a new account, or of one from before accounts had ledgers.
    Opened,
    /// Another program wrote a balance into the account's record.
    Outside,
    /// A call was charged.
    Settled,
    /// A call or a lease was not settled in time, and charged as `accounts.orphans` says.
    Expired,
    /// The group's `refill`.
    Refilled,
    /// The balance moved from one account to another (`auth.carry_over`).
    Carried,
    /// An admin added tokens (`…/credit`).
    Credited,
    /// An admin took tokens (`…/debit`).
    Debited,
    /// A payment; the `id` is Stripe's.
    Granted,
    /// A refund or a dispute, by the same `id`.
    TakenBack,
    /// A refund that failed, or a dispute that was won, by the same `id`.
    GivenBack,
}

/// More about the cause of a change: of a call what was charged and why, of a credit who made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PostingDetail {
    /// The answer's `x-request-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub request_id: Option<String>,
    /// The endpoint that answered, by its name in the tenant's `providers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub endpoint: Option<String>,
    /// The `model` that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub model: Option<String>,
    /// The call, as its path below `v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub call: Option<String>,
    /// Tokens of the prompt, as the provider's `usage` reported them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub tokens_in: Option<u64>,
    /// Tokens of the answer, as the provider's `usage` reported them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub tokens_out: Option<u64>,
    /// Tokens of the prompt that the provider had cached, as its `usage` reported them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub tokens_cached: Option<u64>,
    /// Basis of the charge, as in usage records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub basis: Option<String>,
    /// Tokens of the prompt by the gateway's own count, where that was charged (`basis` is `counted`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub counted_in: Option<u64>,
    /// Tokens of the answer by the gateway's own count, where that was charged (`basis` is `counted`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub counted_out: Option<u64>,
    /// Rate of the model, as in the tenant's `rates`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rate_schema")]
    pub rate: Option<Value>,
    /// Number of requests that share this change: of a busy key, what is more than a hundred in a tenth of a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub requests: Option<u64>,
    /// Who made it: `operator`, or the name of an admin token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub by: Option<String>,
    /// Their `comment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub comment: Option<String>,
}

impl PostingDetail {
    pub(crate) fn is_empty(&self) -> bool {
        *self == PostingDetail::default()
    }
}

/// Changes of one day with one `reason`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FoldedPostings {
    /// The day, as `2026-11-29` (UTC); `null`: before `retention.postings`.
    pub day: Option<String>,
    /// Reason of the changes, as in `postings`.
    pub reason: PostingReason,
    /// Number of `postings` that it was.
    pub count: u64,
    /// Sum of their `amount`.
    pub amount: i64,
}
