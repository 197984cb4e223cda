//! The tables of sign-in: [`GoogleClient`], [`AppleClient`] and [`OidcClient`] of `auth`, and how they are checked.

use crate::rules::identity::metadata::IssuerUrl;
use crate::rules::identity::redirect::RedirectUri;
use crate::tables::{
    Goes, MAX_NUMBER, Node, Reading, Secret, ValueType, by_name, choice, list, number_or, object,
    opened, opened_line, parsed, primitive, table, url, whole, words,
};
use crate::url::{MAX_URL_BYTES, Url};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most entries of `oidc`.
const MAX_ISSUERS: usize = 20;
// Hosts that receive the secrets of sign-in.
const GOOGLE: &str = "oauth2.googleapis.com";
const APPLE: &str = "appleid.apple.com";

/// Group of people who sign in with Google, and with Apple where a tenant has no other for them.
const LOGGED_IN: &str = "google_logged_in";
const LOGGED_IN_WITH_APPLE: &str = "apple_logged_in";

table! {
    /// A client of Google's sign-in.
    pub struct GoogleClient unknown Kept {
        /// The client's ID: the audience of its ID tokens.
        client_id: String = words();
        /// Further audiences: the IDs of the same app's clients for iOS and Android.
        audiences: Vec<String> = list(words(), 0).default("[]");
        /// The client's secret; only the code flow needs it.
        client_secret: Option<Secret> = opened_line(Goes::To(GOOGLE)).optional();
        /// Where a sign-in in the browser may end, to the letter: https, an app's own scheme, or a page on the user's own machine.
        /// `http://127.0.0.1:*` and `http://[::1]:*` stand for any port.
        /// None: there is no code flow.
        redirect_uris: Vec<RedirectUri> = redirect_uris().shown("[\"https://app.example/done\", \"com.example.app:/done\"]");
    }
}

table! {
    /// A client of Apple's sign-in.
    /// For the code flow it has `team_id`, `key_id` and `private_key`, or a `client_secret` that was made from them.
    pub struct AppleClient unknown Kept {
        /// The client's ID (Services ID): the audience of its ID tokens.
        client_id: String = words();
        /// Further audiences: the bundle IDs of the same team's apps.
        audiences: Vec<String> = list(words(), 0).default("[]");
        /// The client's secret, a JWT that Apple lets live for six months at most.
        client_secret: Option<Secret> = opened_line(Goes::To(APPLE)).optional();
        /// ID of the developer team.
        team_id: Option<String> = words().optional();
        /// ID of the private key.
        key_id: Option<String> = words().optional();
        /// The private key as Apple gives it (PEM, the content of the `.p8` file).
        /// A client secret that lives for minutes is made with it for each use.
        private_key: Option<Secret> = opened(Goes::To(APPLE)).check(is_pem).optional();
        /// Where a sign-in in the browser may end; see `google_oauth`.
        redirect_uris: Vec<RedirectUri> = redirect_uris();
    }
    check has_whole_key;
}

table! {
    /// An issuer of ID tokens that speaks OpenID Connect.
    pub struct OidcClient unknown Kept {
        /// The issuer, to the letter as `iss` of its tokens has it.
        issuer: IssuerUrl = issuer().shown("https://clerk.app.example");
        /// The client's ID at the issuer.
        client_id: String = words();
        /// The audience of its ID tokens.
        /// `null`: the audience is not looked at, which needs `authorized_parties`.
        /// Absent: `client_id`.
        audience: Audience = audience();
        /// Further audiences.
        audiences: Vec<String> = list(words(), 0).default("[]");
        /// The values that `azp` of a token may have: at Clerk the origins of the app's pages.
        /// None: any.
        authorized_parties: Vec<String> = list(words(), 0).default("[]");
        /// Where the issuer's keys are.
        /// Absent: where its discovery document says.
        jwks_url: Option<Url> = url().optional();
        /// The client's secret; only the code flow needs it, and not at every issuer.
        client_secret: Option<Secret> = opened_line(Goes::Beside("issuer")).optional();
        /// Where a sign-in in the browser may end; see `google_oauth`.
        redirect_uris: Vec<RedirectUri> = redirect_uris();
        /// Claims that a token must have with these values, by their names, with dots between those of nested ones.
        /// An absent claim equals `false`.
        require: Vec<(String, Value)> = require().or_from(|_| Vec::new()).shown("{is_anonymous: false}");
        /// The group of the people who sign in, one of `user_groups`.
        group: String = words();
    }
    check has_audience;
}

/// `audience` of an OIDC client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// `client_id`.
    Client,
    Is(String),
    /// `null`: not looked at.
    Unchecked,
}

/// Tokens of an anonymous key that move to the account of the person who signs in: `auth.carry_over`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarryOver {
    All,
    None,
    Most(u64),
}

pub(super) fn carry_over() -> ValueType<CarryOver> {
    let words = choice([("all", CarryOver::All), ("none", CarryOver::None)]);
    number_or(whole(0, MAX_NUMBER).map(CarryOver::Most), words)
}

/// Clients of OpenID Connect by the names that their routes have.
pub(super) fn oidc() -> ValueType<BTreeMap<String, OidcClient>> {
    let clients = by_name(object::<OidcClient>()).map(|clients| clients.into_iter().collect());
    let names = json!({"maxProperties": MAX_ISSUERS, "propertyNames": {
        "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$", "not": {"enum": ["google", "apple"]},
    }});
    clients.with_schema(names)
}

/// Checks the names in `oidc`, at the node of `auth`.
pub(super) fn check_names(auth: &Node<'_>, reading: &mut Reading<'_>) {
    let Some(oidc) = auth.field("oidc") else {
        return;
    };
    if oidc.entries().count() > MAX_ISSUERS {
        reading.fault(&oidc, format!("has more than {MAX_ISSUERS} issuers"));
    }
    for client in oidc.entries() {
        let name = client.name();
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let is_good = (1..=32).contains(&name.len())
            && name.bytes().all(plain)
            && !name.starts_with(['_', '-']);
        if matches!(name, "google" | "apple") {
            reading.fault(
                &client,
                "is a sign-in of its own: use google_oauth or apple_oauth",
            );
        } else if !is_good {
            let rule = "a name is 1 to 32 lower-case letters, digits, _ and -, and begins with a letter or digit";
            reading.fault(&client, rule);
        }
    }
}

fn redirect_uris() -> ValueType<Vec<RedirectUri>> {
    let schema = json!({"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9+.-]*:[!-~]*$", "maxLength": MAX_URL_BYTES});
    let uri = parsed(schema, |text| {
        RedirectUri::parse(text).map_err(str::to_owned)
    });
    list(uri, 0).default("[]")
}

fn issuer() -> ValueType<IssuerUrl> {
    let schema = json!({
        "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$", "maxLength": MAX_URL_BYTES,
    });
    parsed(schema, |text| IssuerUrl::parse(text).map_err(str::to_owned))
}

fn audience() -> ValueType<Audience> {
    // A reader of fields takes `null` for an absent one.
    let absent = |client: &Node<'_>| match client.value().get("audience") {
        Some(Value::Null) => Audience::Unchecked,
        _ => Audience::Client,
    };
    let audience = words().map(Audience::Is).or_from(absent);
    audience.with_schema(json!({"type": ["string", "null"]}))
}

fn require() -> ValueType<Vec<(String, Value)>> {
    crate::tables::map(primitive(), None).map(|claims| claims.into_iter().collect())
}

fn has_audience(client: &Node<'_>, reading: &mut Reading<'_>) {
    let is_null = client.value().get("audience").is_some_and(Value::is_null);
    let names = |list: Node<'_>| list.elements().next().is_some();
    if is_null && !client.field("authorized_parties").is_some_and(names) {
        let message =
            "may be null only with authorized_parties: a token could be meant for anyone else";
        reading.fault_at(client.child_path("audience"), message);
    }
}

fn has_whole_key(client: &Node<'_>, reading: &mut Reading<'_>) {
    let parts = ["team_id", "key_id", "private_key"];
    let there = parts.map(|name| client.field(name).is_some());
    let Some(present) = there.iter().position(|there| *there) else {
        return;
    };
    for (name, _) in parts.iter().zip(there).filter(|(_, there)| !there) {
        let message = format!("is required beside {}", parts[present]);
        reading.fault_at(client.child_path(name), message);
    }
    if client.field("client_secret").is_some() {
        let message = format!("cannot stand beside {}", parts[present]);
        reading.fault_at(client.child_path("client_secret"), message);
    }
}

/// Returns the group of people who sign in with Google.
pub fn google_group() -> &'static str {
    LOGGED_IN
}

/// Returns the group of people who sign in with Apple. `exists`: whether the tenant has a group.
pub fn apple_group(exists: impl Fn(&str) -> bool) -> &'static str {
    match exists(LOGGED_IN_WITH_APPLE) {
        true => LOGGED_IN_WITH_APPLE,
        false => LOGGED_IN,
    }
}

/// Checks that a private key is PEM. Whether it is of the right kind shows when it signs.
fn is_pem(key: &Secret) -> Result<(), &'static str> {
    let read = PrivatePkcs8KeyDer::from_pem_slice(key.expose().as_bytes());
    read.map(drop).map_err(|_| {
        "expected the content of the .p8 file, from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----"
    })
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
