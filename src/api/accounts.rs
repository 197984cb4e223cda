//! Keys and their accounts: requests and answers of `/auth/anonymous`, `/auth/me` and `/admin/keys`.

use crate::rules::amount::Tokens;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A key for someone who has not signed in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewKey {
    /// The key: `temp_` and a UUID.
    #[schemars(regex(pattern = r"^temp_[0-9a-f-]{36}$"))]
    pub api_key: String,
    /// Balance: the tokens granted minus those that its requests used.
    #[schemars(with = "Tokens")]
    pub tokens_left: u64,
    /// Group of the account, one of the tenant's `user_groups`.
    pub group: String,
    /// Moment when the key ends.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: String,
    /// Requests in any window. Absent: the group has no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub rate_limit: Option<u64>,
    /// Length of the window in seconds. Absent: the group has no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1))]
    pub rate_limit_window: Option<u64>,
}

/// An account, as its own key sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    /// Balance: the tokens granted minus those that its requests used.
    pub tokens_left: Tokens,
    /// Part of the balance that no request in flight holds.
    pub tokens_free: Tokens,
    /// Group of the account, one of the tenant's `user_groups`.
    pub group: String,
    /// Requests in any window. Absent: the group has no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub rate_limit: Option<u64>,
    /// Length of the window in seconds. Absent: the group has no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1))]
    pub rate_limit_window: Option<u64>,
    /// Requests that may still pass in this window. Absent: the group has no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub requests_remaining: Option<u64>,
    /// Seconds until the whole limit is free again. Absent: the group has no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub reset_seconds: Option<u64>,
    /// Moment from which the balance is refilled. Absent: the group has no refill.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub refills_at: Option<String>,
    /// Name of the account, where it is a person's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub user_id: Option<String>,
    /// Names the key, where it is one of a person's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub key_id: Option<String>,
    /// Most tokens that the key may spend of the balance. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Tokens")]
    pub tokens_max: Option<Tokens>,
    /// Tokens of `tokensMax` that the key has spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Tokens")]
    pub tokens_spent: Option<Tokens>,
    /// Moment when the key ends. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires_at: Option<String>,
}

/// Parameters of a new key. Every field may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mint {
    /// Group of the account, one of the tenant's `user_groups`. Absent: `anonymous`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The balance. Absent: what the group begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = Tokens::MAX.count()))]
    pub tokens: Option<u64>,
    /// Seconds until the key ends, ten years at most. Absent: it never ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = Mint::MAX_SECONDS))]
    pub expires_in_seconds: Option<u64>,
    /// The app's own ID of the user whose key it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.-]{1,128}$"))]
    pub user_id: Option<String>,
}

impl Mint {
    /// Upper bound of `expiresInSeconds`: ten years.
    pub const MAX_SECONDS: u64 = 10 * 365 * 24 * 60 * 60;
}

/// A new key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MintedKey {
    /// Names the key in routes, lists and usage records.
    pub id: String,
    /// The key.
    pub api_key: String,
    /// Names its account in usage records.
    pub account: String,
    /// Balance: the tokens granted minus those that its requests used.
    #[schemars(with = "Tokens")]
    pub tokens_left: u64,
    /// Group of the account, one of the tenant's `user_groups`.
    pub group: String,
    /// Moment when the key ends. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires_at: Option<String>,
}

/// An account, as an admin sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Names the key in routes, lists and usage records, without saying it.
    pub id: String,
    /// Names the account in usage records.
    pub account: String,
    /// The same as `account`.
    pub key_id: String,
    /// Balance: the tokens granted minus those that its requests used.
    pub tokens_left: Tokens,
    /// Part of the balance that no request in flight holds.
    pub tokens_free: Tokens,
    /// Used, but no longer there to be charged: what an estimate fell short of.
    pub overrun: Tokens,
    /// Group of the account, one of the tenant's `user_groups`.
    pub group: String,
    /// The app's own ID of the user whose key it is; `null` where the record names nobody.
    // As it stands in the record, which another program may have written.
    #[schemars(with = "Option<String>")]
    pub user_id: Option<Value>,
    /// Moment when the key was minted; `null` where the record does not say.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub created_at: Option<Value>,
    /// Moment when the key ends. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires_at: Option<String>,
    /// Whether the account is suspended.
    pub suspended: bool,
}

/// Tokens to be added to a balance, or taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// Number of tokens.
    #[schemars(with = "Tokens")]
    pub tokens: u64,
    /// Names this change. The same one again changes nothing, whether it adds or takes. Absent: a new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = Credit::MAX_ID_BYTES))]
    pub id: Option<String>,
    /// Comment for the account's ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = Credit::MAX_COMMENT_CHARS))]
    pub comment: Option<String>,
}

impl Credit {
    /// Upper bound of an `id`'s length.
    pub const MAX_ID_BYTES: usize = 128;
    /// Upper bound of a comment's length.
    pub const MAX_COMMENT_CHARS: usize = 200;
}

/// The balance after a credit or a debit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credited {
    /// Names the account in usage records.
    pub account: String,
    /// Balance: the tokens granted minus those that its requests used.
    pub tokens_left: Tokens,
    /// The change had been made before, and nothing was changed now.
    pub repeated: bool,
}
