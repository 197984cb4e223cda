//! Tenants and their configs: requests and answers of `/admin/config` and `/admin/tenants`.

use super::failure::ConfigFault;
use super::usage::UsageSum;
use crate::rules::config;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Minimum length of an admin token, in bytes.
pub const MIN_TOKEN_BYTES: usize = 16;
/// Maximum length of an admin token, far below the limit of a request head.
pub const MAX_TOKEN_BYTES: usize = 1024;
/// Maximum number of a tenant's own admin tokens.
pub const MAX_TOKENS: usize = 32;

/// Query of a config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigQuery {
    /// Whether secrets are shown as masks, `masked:v1:…`. A config that is put back with masks keeps what was there.
    pub redact: bool,
}

/// A tenant's config in its envelope.
// `C` is the config's text where it is read or written: it is passed on byte for byte.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Config")]
pub struct Config<C = AnyConfig> {
    pub config: C,
}

/// The configs of a tenant that were replaced, the latest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigHistory {
    /// At most 20.
    pub configs: Vec<FormerConfig>,
}

/// A config that was replaced, without itself; `GET /admin/config/history/{version}` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FormerConfig {
    /// Its number.
    pub version: u64,
    /// When it was replaced.
    #[schemars(extend("format" = "date-time"))]
    pub replaced_at: String,
    /// Author of the replacement: `operator`, or the name of the token.
    pub replaced_by: String,
}

/// A config that was replaced, with masks `masked:v1:…` in place of its secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ConfigVersion")]
pub struct ConfigVersion<C = AnyConfig> {
    /// Its number.
    pub version: u64,
    /// When it was replaced.
    #[schemars(extend("format" = "date-time"))]
    pub replaced_at: String,
    /// Author of the replacement: `operator`, or the name of the token.
    pub replaced_by: String,
    /// The config.
    pub config: C,
}

/// Stands for a tenant config in schemas. Its values are read by [`config::read_for`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyConfig;

impl JsonSchema for AnyConfig {
    fn schema_name() -> Cow<'static, str> {
        "TenantConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = config::schema();
        schema["properties"]["user_groups"]["additionalProperties"] =
            generator.subschema_for::<UserGroup>().to_value();
        let mut about = json_schema!({
            "description": "Who may spend what, and who answers. Unknown fields are kept and given back; \
                `resullm schema tenant` prints the schema of the known ones. A secret is a text, \
                `{\"env\":\"NAME\"}` for a variable that the operator has approved, or a text `sealed:v1:…` \
                as it was read: where `secrets.key` is set, secrets are sealed before they are stored, and \
                what is read is what is stored."
        });
        let members = schema.as_object_mut().into_iter().flatten();
        for (name, value) in members.filter(|(name, _)| !["$schema", "title"].contains(&&***name)) {
            about.insert(name.clone(), value.take());
        }
        about
    }
}

/// Stands for a group of a tenant's `user_groups` in schemas.
struct UserGroup;

impl JsonSchema for UserGroup {
    fn schema_name() -> Cow<'static, str> {
        "UserGroup".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = config::schema();
        let group = schema["properties"]["user_groups"]["additionalProperties"].take();
        let mut about = json_schema!({"description": "What an account of this group begins with."});
        for (name, value) in group.as_object().into_iter().flatten() {
            about.insert(name.clone(), value.clone());
        }
        about
    }
}

/// Letters, digits, `_` and `-`, beginning with a letter or a digit, and no route head such as `admin` or `v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TenantId(#[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"))] pub String);

/// All tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{"tenants": ["abc"]}]))]
pub struct Tenants {
    /// Their IDs.
    pub tenants: Vec<TenantId>,
    /// What each has, with `totals=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<TenantTotals>")]
    pub totals: Option<Vec<TenantTotals>>,
}

/// Query of `GET /admin/tenants`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantsQuery {
    /// Whether the answer has `totals`.
    #[serde(default)]
    pub totals: bool,
}

/// What a tenant has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantTotals {
    pub id: TenantId,
    /// Number of keys; some may have ended within the last hour.
    pub keys: u64,
    /// Number of people.
    pub users: u64,
    /// Sum of the last thirty days.
    pub usage: UsageSum,
    /// Whether older records of these days are missing in `usage`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// A tenant that does not exist yet.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewTenant")]
pub struct NewTenant<C = AnyConfig> {
    pub id: TenantId,
    pub config: C,
}

/// The tenant that was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantCreated {
    pub id: TenantId,
    /// Warnings: places of the config that will hardly do what was meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<ConfigFault>,
}

/// All of a tenant's own admin tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminTokens {
    /// Each as a text, which opens all of the tenant, or with its scope.
    #[schemars(length(max = MAX_TOKENS))]
    pub tokens: Vec<AdminToken>,
}

/// An admin token: visible ASCII without spaces, what a header can carry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum AdminToken {
    /// A token of scope `admin`.
    Admin(
        #[schemars(
            length(min = MIN_TOKEN_BYTES, max = MAX_TOKEN_BYTES),
            regex(pattern = r"^[!-~]+$")
        )]
        String,
    ),
    /// A token, what it opens, and its name.
    Scoped {
        /// The `token`.
        #[schemars(
            length(min = MIN_TOKEN_BYTES, max = MAX_TOKEN_BYTES),
            regex(pattern = r"^[!-~]+$")
        )]
        token: String,
        /// What it opens.
        scope: TokenScope,
        /// Name by which the audit log and lists call it. Absent: one that is derived from the token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String", regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
        name: Option<String>,
    },
}

/// What a tenant's own admin token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenScope {
    /// All of the tenant.
    Admin,
    /// Everything that `read` opens, and credits and debits.
    Support,
    /// Everything that can be looked at; the config without its secrets.
    Read,
    /// `auth/sessions` alone: for the app's backend.
    Sessions,
}

impl TokenScope {
    pub const ALL: [TokenScope; 4] = [
        TokenScope::Admin,
        TokenScope::Support,
        TokenScope::Read,
        TokenScope::Sessions,
    ];

    /// Returns the word that it is in JSON.
    pub fn word(self) -> &'static str {
        match self {
            TokenScope::Admin => "admin",
            TokenScope::Support => "support",
            TokenScope::Read => "read",
            TokenScope::Sessions => "sessions",
        }
    }
}

impl AdminToken {
    /// Returns the token, its scope and its name.
    pub fn parts(&self) -> (&str, TokenScope, Option<&str>) {
        match self {
            AdminToken::Admin(token) => (token, TokenScope::Admin, None),
            AdminToken::Scoped { token, scope, name } => (token, *scope, name.as_deref()),
        }
    }
}

/// A tenant's own admin tokens, without the tokens themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenList {
    /// In the order of their `name`.
    pub tokens: Vec<ListedToken>,
}

/// An admin token in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedToken {
    /// Name by which the audit log calls it.
    pub name: String,
    /// What it opens.
    pub scope: TokenScope,
    /// Moment when it was made; `null`: by a gateway that did not note it.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: Option<String>,
    /// Who made it: `operator`, or the `name` of a token; `null`: not noted.
    pub created_by: Option<String>,
}

/// An admin token to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Name by which the audit log and lists are to call it.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub name: String,
    /// What it opens.
    pub scope: TokenScope,
}

/// An admin token that was made. It is shown only here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeToken {
    /// Name by which the audit log and lists call it.
    pub name: String,
    /// What it opens.
    pub scope: TokenScope,
    /// The token: `adm_` and 64 hex digits.
    #[schemars(regex(pattern = r"^adm_[0-9a-f]{64}$"))]
    pub token: String,
}

/// Done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokensSet {
    #[schemars(extend("const" = true))]
    pub success: bool,
    /// Number of tokens that the tenant has now.
    pub count: usize,
}

/// Numbers of a tenant's secrets by what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantSealed {
    pub id: TenantId,
    /// Secrets that were readable before.
    pub sealed: u64,
    /// Secrets that an old key had sealed.
    pub resealed: u64,
    /// Secrets that the present key had sealed already.
    pub kept: u64,
}

/// The config is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigStored {
    #[schemars(extend("const" = true))]
    pub success: bool,
    /// Warnings: places of the config that will hardly do what was meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<ConfigFault>,
}
