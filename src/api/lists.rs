//! Lists of keys and people, one of them, and what an admin changes: requests and answers of `/admin/keys` and
//! `/admin/users`.

use super::payments::AccountPayments;
use super::people::ListedKey;
use super::usage::UsageEvent;
use crate::rules::amount::Tokens;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most entries on a page.
pub const MAX_ENTRIES: usize = 200;

/// Which keys or people are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListQuery {
    /// Most entries on the page; absent: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "usize", range(min = 1, max = MAX_ENTRIES))]
    pub limit: Option<usize>,
    /// `cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub cursor: Option<String>,
    /// Only those of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub group: Option<String>,
    /// Only those of this user, by the app's own ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub user_id: Option<String>,
    /// Only those that are suspended, or only those that are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub suspended: Option<bool>,
}

/// A page of keys, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminKeys {
    /// The keys. A page may have fewer than were asked for, also where more match.
    pub keys: Vec<AdminKey>,
    /// Number of all keys of the tenant, whatever the filters; some may have ended within the last hour.
    pub total: u64,
    /// The `cursor` of the next page; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub cursor: Option<String>,
}

/// A key, as an admin sees it in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminKey {
    /// Names the key in routes, lists and usage records, without saying it.
    pub id: String,
    /// Names its account in usage records; that of a key's own account is its `id`.
    pub account: String,
    /// Group of the account.
    pub group: String,
    /// The app's own ID of the user; `null` where the record names nobody.
    #[schemars(with = "Option<String>")]
    pub user_id: Option<Value>,
    /// Balance of the account.
    pub tokens_left: Tokens,
    /// Part of the balance that no request in flight holds.
    pub tokens_free: Tokens,
    /// Moment when the key was made; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Option<String>,
    /// Moment when the key ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires_at: Option<String>,
    /// Whether the account is suspended.
    pub suspended: bool,
}

/// A page of people, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminUsers {
    /// The people. A page may have fewer than were asked for, also where more match.
    pub users: Vec<AdminUser>,
    /// Number of all people of the tenant, whatever the filters.
    pub total: u64,
    /// The `cursor` of the next page; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub cursor: Option<String>,
}

/// A person, as an admin sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminUser {
    /// Names the account in usage records.
    pub id: String,
    /// Name of the account.
    pub account: String,
    /// The app's own ID of the user; `null`: none.
    #[schemars(with = "Option<String>")]
    pub user_id: Option<Value>,
    /// Group of the account.
    pub group: String,
    /// Balance of the account.
    pub tokens_left: Tokens,
    /// Part of the balance that no request in flight holds.
    pub tokens_free: Tokens,
    /// Used, but no longer there to be charged: what an estimate fell short of.
    pub overrun: Tokens,
    /// Moment when the account was made; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Option<String>,
    /// Whether the account is suspended.
    pub suspended: bool,
}

/// A person with all that helps to understand them.
// `E` is a record's text where the answer is written: records are passed on as they were logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UserDetails")]
pub struct UserDetails<E = UsageEvent> {
    #[serde(flatten)]
    pub user: AdminUser,
    /// Other identities that lead to the account.
    pub identities: Vec<String>,
    /// The keys, newest first.
    pub keys: Vec<ListedKey>,
    /// Parts of the balance that requests in flight and leases of instances hold.
    pub holds: Vec<Holding>,
    /// Payments, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AccountPayments")]
    pub payments: Option<AccountPayments>,
    /// The latest requests of the last thirty days, at most 20.
    pub requests: Vec<E>,
}

/// Part of a balance that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// ID of the request's hold, or name of the instance that has the lease.
    pub id: String,
    /// `request`, or `lease`: an instance's part, which it spends without asking.
    pub kind: String,
    /// Most that it can cost.
    pub most: Tokens,
    /// Cost that is known so far.
    pub known: Tokens,
    /// Moment when it ends by itself.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: String,
}

/// Whether an account's calls are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspend {
    /// `true`: calls get 403 `account_blocked`, and those in flight end; `false`: they are served again.
    pub suspended: bool,
}

/// Done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suspended {
    #[schemars(extend("const" = true))]
    pub success: bool,
    /// Names the account in usage records.
    pub account: String,
    /// Whether it is suspended now.
    pub suspended: bool,
}

/// Changes of a key's account, all in one step. At least one must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Move {
    /// Group of the account, one of the tenant's `user_groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub group: Option<String>,
    /// The app's own ID of the user whose key it is; `null`: nobody's. Only of an account that is a key's own.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schemars(with = "Option<String>", regex(pattern = r"^[A-Za-z0-9_.-]{1,128}$"))]
    pub user_id: Option<Option<String>>,
    /// Seconds from now until the key ends, ten years at most; `null`: it never ends. Only of an account that is a key's
    /// own.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schemars(with = "Option<u64>", range(min = 1, max = super::accounts::Mint::MAX_SECONDS))]
    pub expires_in_seconds: Option<Option<u64>>,
    /// Tokens to be added to the balance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Tokens")]
    pub tokens: Option<u64>,
    /// Names the change of the balance. The same one again adds nothing. Absent: a new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = super::accounts::Credit::MAX_ID_BYTES))]
    pub id: Option<String>,
    /// Comment for the account's ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = super::accounts::Credit::MAX_COMMENT_CHARS))]
    pub comment: Option<String>,
}

/// Tells `null` from a field that is absent.
fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// The account after its change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    #[schemars(extend("const" = true))]
    pub success: bool,
    /// Names the key.
    pub id: String,
    /// Names its account in usage records.
    pub account: String,
    /// Balance: the tokens granted minus those that its requests used.
    pub tokens_left: Tokens,
    /// The tokens had been added before, and none were added now.
    pub repeated: bool,
}

/// A key in place of another one. It is shown only here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolledKey {
    /// Names the new key.
    pub id: String,
    /// The new key.
    pub api_key: String,
    /// Names its account in usage records; for a key's own account that stays the `id` of its first key.
    pub account: String,
    /// Moment when the key ends; `null`: never.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: Option<String>,
}
