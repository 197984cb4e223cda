//! A browser and an app in the code flow, step by step.

use super::{APP, post};
use crate::harness::issuer::{Issuer, challenge, encode, field};
use crate::harness::{Client, Gateway, Response};
use serde_json::json;

/// PKCE verifier of the app.
pub const VERIFIER: &str = "a-verifier-of-the-app-that-is-long-enough-for-pkce";

/// Address with its query split off.
pub fn split(address: &str) -> (&str, &str) {
    address.split_once('?').unwrap_or((address, ""))
}

/// Query of a good start, with another value for one field if wanted.
pub fn start_query(changed: &[(&str, &str)]) -> String {
    let challenge = challenge(VERIFIER);
    let mut fields = vec![
        ("redirect_uri", APP),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("state", "the app's"),
    ];
    for (name, value) in changed {
        fields.retain(|(known, _)| known != name);
        fields.push((*name, *value));
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        query.append_pair(name, value);
    }
    query.finish()
}

/// A browser that has been sent to the issuer.
pub struct Begun {
    pub cookie: String,
    /// `set-cookie` as it came.
    pub set_cookie: String,
    /// Path with query of the issuer's authorize endpoint.
    pub authorize: String,
}

impl Begun {
    #[track_caller]
    pub fn of(started: &Response, issuer: &Issuer) -> Begun {
        assert_eq!(started.status, 302, "{}", started.text());
        assert_eq!(started.header("cache-control"), Some("no-store"));
        let set_cookie = started.header("set-cookie").unwrap().to_owned();
        let location = started.header("location").unwrap();
        Begun {
            cookie: set_cookie.split(';').next().unwrap().to_owned(),
            set_cookie,
            authorize: location.strip_prefix(&issuer.name()).unwrap().to_owned(),
        }
    }

    /// Signs in at the issuer; returns its answer.
    pub fn at_issuer(&self, issuer: &Issuer) -> Response {
        let addr = issuer.name().replace("http://", "").parse().unwrap();
        Client::new(addr).get(&self.authorize)
    }
}

#[track_caller]
pub fn start(gateway: &Gateway, issuer: &Issuer, kind: &str, changed: &[(&str, &str)]) -> Begun {
    let path = format!("/abc/auth/{kind}/start?{}", start_query(changed));
    Begun::of(&gateway.client().get(&path), issuer)
}

/// Follows the issuer's redirect to the callback, as path and query at the gateway.
#[track_caller]
pub fn callback_path(answer: &Response, gateway: &Gateway) -> String {
    let location = answer.header("location").expect("a redirect");
    let start = format!("http://127.0.0.1:{}", gateway.port());
    location
        .strip_prefix(&start)
        .expect("the gateway's callback")
        .to_owned()
}

pub fn come_back(gateway: &Gateway, path: &str, cookie: Option<&str>) -> Response {
    let mut request = gateway.client().request("GET", path);
    if let Some(cookie) = cookie {
        request = request.header("cookie", &format!("other=1; {cookie}"));
    }
    request.send()
}

/// Code in the address of the app.
#[track_caller]
pub fn app_code(answer: &Response) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let (uri, query) = split(answer.header("location").unwrap());
    assert!(!query.contains("user_"), "a key in an address: {query}");
    field(query, "code").unwrap_or_else(|| panic!("{uri} without a code: {query}"))
}

/// The whole flow up to the code.
#[track_caller]
pub fn code(gateway: &Gateway, issuer: &Issuer, kind: &str) -> String {
    let begun = start(gateway, issuer, kind, &[]);
    let back = callback_path(&begun.at_issuer(issuer), gateway);
    app_code(&come_back(gateway, &back, Some(&begun.cookie)))
}

pub fn redeem(gateway: &Gateway, tenant: &str, code: &str, verifier: &str) -> Response {
    let body = json!({"code": code, "codeVerifier": verifier});
    post(gateway, &format!("/{tenant}/auth/token"), &body)
}

/// A verifier that is not the app's.
pub fn other_verifier() -> String {
    encode(&[7; 32])
}
