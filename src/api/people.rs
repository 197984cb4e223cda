//! People: requests and answers of `/auth/sessions` and `/auth/keys`.

use super::ledger::AccountLedger;
use super::payments::AccountPayments;
use super::usage::{UsageEvent, UsageSum};
use crate::rules::amount::Tokens;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A key for one of the app's users, as its backend asks for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Session {
    /// The app's own ID of the user, any text. The same one is the same account.
    #[schemars(length(min = 1, max = Session::MAX_USER_ID_CHARS))]
    pub user_id: String,
    /// Group of the account, one of the tenant's `user_groups`. An account of another group moves to it; its balance
    /// stays. Absent: `google_logged_in` for a new account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Most tokens that this key may spend of the account's. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Tokens")]
    pub tokens: Option<u64>,
    /// Life of this key, such as `15m`. Absent: 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h|d))+$"))]
    pub ttl: Option<String>,
    /// The only models that this key may ask for. Absent: all of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NewOwnKey::MAX_MODELS))]
    pub models: Option<Vec<String>>,
    /// An anonymous key whose balance moves over, if this creates the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carry_over: Option<String>,
}

impl Session {
    /// Longest ID of a user, in characters.
    pub const MAX_USER_ID_CHARS: usize = 255;
}

/// A key for one of the app's users.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionKey {
    /// The key: `user_` and a UUID.
    #[schemars(regex(pattern = r"^user_[0-9a-f-]{36}$"))]
    pub api_key: String,
    /// The app's own ID of the user.
    pub user_id: String,
    /// Name of the account.
    pub account: String,
    /// Balance of the account.
    pub tokens_left: Tokens,
    /// Group of the account, one of the tenant's `user_groups`.
    pub group: String,
    /// Moment when the key ends.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: String,
    /// Whether this created the account.
    pub created: bool,
    /// Tokens that moved here from the anonymous key that was named.
    pub carried_over: Tokens,
}

/// A key that a person makes for itself.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewOwnKey {
    /// Name that the person gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = NewOwnKey::MAX_NAME_CHARS))]
    pub name: Option<String>,
    /// Life of the key, such as `30d`. Absent: it does not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h|d))+$"))]
    pub ttl: Option<String>,
    /// The only models that it may ask for. Absent: all of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NewOwnKey::MAX_MODELS))]
    pub models: Option<Vec<String>>,
    /// The only addresses that it may be used from: IP addresses or blocks such as `10.0.0.0/8`. Absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NewOwnKey::MAX_ADDRESSES))]
    pub allowed_addresses: Option<Vec<String>>,
    /// Most tokens that it may spend of the account's. Absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Tokens")]
    pub tokens_max: Option<u64>,
}

impl NewOwnKey {
    pub const MAX_NAME_CHARS: usize = 100;
    pub const MAX_MODELS: usize = 100;
    pub const MAX_ADDRESSES: usize = 100;
}

/// A key that was made. It is shown only here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnKey {
    /// Names the key in lists.
    pub id: String,
    /// The key: `user_` and a UUID.
    #[schemars(regex(pattern = r"^user_[0-9a-f-]{36}$"))]
    pub api_key: String,
    /// Name that the person gave it; `null`: none.
    pub name: Option<String>,
    /// Moment when the key ends; `null`: never.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: Option<String>,
}

/// The keys of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnKeys {
    /// Newest first.
    pub keys: Vec<ListedKey>,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedKey {
    /// Names the key, in place of itself.
    pub id: String,
    /// Its first characters.
    pub start: String,
    /// Name that the person gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `signIn`, `session` or `made`.
    pub source: String,
    /// Moment of its creation.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// Day of its latest use; `null`: never used.
    #[schemars(extend("format" = "date"))]
    pub last_used: Option<String>,
    /// Moment when the key ends; `null`: never.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: Option<String>,
    /// The only models that it may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The only addresses that it may be used from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_addresses: Option<Vec<String>>,
    /// Most tokens that it may spend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Tokens")]
    pub tokens_max: Option<Tokens>,
    /// Tokens of `tokensMax` that it has spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Tokens")]
    pub tokens_spent: Option<Tokens>,
    /// Whether it is the key of this request.
    pub current: bool,
}

/// All that is kept of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Export<E = UsageEvent> {
    /// Name of the account.
    pub account: String,
    /// The app's own ID of the user, or the name of the account.
    #[schemars(with = "Option<String>")]
    pub user_id: Option<Value>,
    /// Moment of its creation.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub created_at: Option<Value>,
    /// Group of the account, one of the tenant's `user_groups`.
    pub group: Option<String>,
    /// Balance of the account.
    pub tokens_left: Tokens,
    /// Names of the other identities that lead to it. What they were derived from is not kept.
    pub identities: Vec<String>,
    /// Its keys, newest first.
    pub keys: Vec<ListedKey>,
    /// Its payments.
    pub payments: AccountPayments,
    /// Every change of its balance.
    pub ledger: AccountLedger,
    /// Its requests, newest first, as far as the usage log goes back.
    pub usage: Vec<E>,
}

/// Usage of a key's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnUsage {
    /// Sum of the time asked for.
    pub total: UsageSum,
    /// Sums by day, `YYYY-MM-DD` in UTC.
    pub by_day: BTreeMap<String, UsageSum>,
    /// Sums by model.
    pub by_model: BTreeMap<String, UsageSum>,
    /// Whether older requests of the time asked for are missing: the tenant's log no longer has them, or has too many.
    /// Absent where none are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}
