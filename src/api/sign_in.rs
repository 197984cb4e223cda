//! Sign-in: requests and answers of `/auth/google`, `/auth/apple`, `/auth/oidc/{name}` and `/auth/token`.

use crate::rules::amount::Tokens;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An ID token that an issuer gave to the app.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignIn {
    /// The token, a JWT.
    pub id_token: String,
    /// The nonce that the app asked for the token with. The token must have it, or its SHA-256 in lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// The code that a sign-in in the browser ended with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RedeemCode {
    /// `code` of the address that the browser was sent to. It is gone with the first try, right or wrong.
    pub code: String,
    /// The text whose SHA-256 was the `code_challenge`.
    pub code_verifier: String,
}

/// A person's account and a new key of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    /// The key: `user_` and a UUID.
    #[schemars(regex(pattern = r"^user_[0-9a-f-]{36}$"))]
    pub api_key: String,
    /// Name of the account, the same at every sign-in of the person.
    pub user_id: String,
    /// Balance of the account.
    pub tokens_left: Tokens,
    /// Group of the account, one of the tenant's `user_groups`.
    pub group: String,
    /// Whether this sign-in created the account.
    pub created: bool,
    /// Tokens that moved here from the anonymous key that was sent.
    pub carried_over: Tokens,
}

/// Parameters with which a browser begins a sign-in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartQuery {
    /// Where the sign-in ends: one of the `redirect_uris` of the tenant's config, to the letter.
    pub redirect_uri: String,
    /// SHA-256 of the code verifier, in base64url without padding.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-]{43}$"))]
    pub code_challenge: String,
    /// How the challenge was made: `S256`.
    #[schemars(regex(pattern = r"^S256$"))]
    pub code_challenge_method: String,
    /// A text that the app gets back with the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = StartQuery::MAX_STATE_BYTES))]
    pub state: Option<String>,
}

impl StartQuery {
    /// Longest `state` of an app.
    pub const MAX_STATE_BYTES: usize = 1024;
}

/// Parameters with which an issuer sends the browser back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallbackQuery {
    /// The issuer's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The text that this gateway gave the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why there is no code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The issuer, where it names itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
}
