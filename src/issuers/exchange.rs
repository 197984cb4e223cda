//! The exchange of a code for tokens at an issuer's token endpoint (RFC 6749, section 4.1.3, with PKCE).

use super::client::{Client, Endpoints, Proof};
use super::signature;
use super::verify::Issuers;
use crate::rules::amount::Millis;
use crate::rules::identity::form;
use crate::rules::identity::metadata::SecretPlace;
use crate::tables::Secret;
use crate::url::Url;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Deserializer, Serialize};

/// Life of a client secret that is made for one exchange with Apple.
const APPLE_SECRET_SECONDS: u64 = 300;

/// Code that an issuer gave, and what the flow was begun with.
pub struct Exchange<'a> {
    pub code: &'a str,
    pub redirect_uri: &'a str,
    pub verifier: &'a str,
}

/// Tokens that an issuer gives for a code.
#[derive(Deserialize)]
pub struct Tokens {
    pub id_token: String,
    #[serde(default, deserialize_with = "secret_text")]
    pub refresh_token: Option<Secret>,
}

fn secret_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(Secret::new))
}

/// Claims of a client secret for Apple.
#[derive(Serialize)]
struct AppleClaims<'a> {
    iss: &'a str,
    iat: u64,
    exp: u64,
    aud: &'a str,
    sub: &'a str,
}

/// Exchanges a code. The error is for the operator's log.
pub async fn exchange(
    issuers: &Issuers,
    client: &Client<'_>,
    exchange: &Exchange<'_>,
    now: Millis,
) -> Result<Tokens, String> {
    let discovered;
    let (url, place) = match client.endpoints {
        Endpoints::At { token, .. } => (token, SecretPlace::Form),
        Endpoints::Discovered(issuer) => {
            let found = issuers.discovered(issuer).await;
            discovered = found.map_err(|_| "the issuer cannot be asked for its addresses")?;
            let token = discovered.token.as_ref();
            (
                token.ok_or("the issuer has no token endpoint")?,
                discovered.secret_place,
            )
        }
    };
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", exchange.code),
        ("redirect_uri", exchange.redirect_uri),
        ("client_id", client.client_id),
        ("code_verifier", exchange.verifier),
    ];
    let secret = secret(client, now)?;
    let mut authorization = None;
    match (&secret, place) {
        (None, _) => {}
        (Some(secret), SecretPlace::Form) => fields.push(("client_secret", secret.expose())),
        (Some(secret), SecretPlace::Header) => {
            let [id, secret] = [client.client_id, secret.expose()].map(form::encoded);
            authorization = Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{id}:{secret}"))
            ));
        }
    }
    let form = form::query(&fields);
    let fetched = issuers
        .fetcher
        .post_form(url, &form, authorization.as_deref())
        .await;
    let fetched = fetched.map_err(|failure| failure.0)?;
    if fetched.status != StatusCode::OK {
        return Err(format!("{} answered {}", url.host, fetched.status.as_u16()));
    }
    // The parser's error would quote the answer.
    let tokens = serde_json::from_slice(&fetched.body);
    tokens.map_err(|_| format!("{} gave no ID token", url.host))
}
/// Revokes a refresh token of Apple's, so that the app no longer stands in the person's list of sign-ins. The error is
/// for the operator's log.
pub async fn revoke(
    issuers: &Issuers,
    client: &Client<'_>,
    url: &Url,
    token: &Secret,
    now: Millis,
) -> Result<(), String> {
    let secret =
        secret(client, now)?.ok_or("auth.apple_oauth has no private_key or client_secret")?;
    let form = form::query(&[
        ("client_id", client.client_id),
        ("client_secret", secret.expose()),
        ("token", token.expose()),
        ("token_type_hint", "refresh_token"),
    ]);
    let fetched = issuers.fetcher.post_form(url, &form, None).await;
    let fetched = fetched.map_err(|failure| failure.0)?;
    match fetched.status {
        StatusCode::OK => Ok(()),
        status => Err(format!("{} answered {}", url.host, status.as_u16())),
    }
}

/// Returns the client's secret; for Apple one that is made for this use.
fn secret(client: &Client<'_>, now: Millis) -> Result<Option<Secret>, String> {
    match &client.proof {
        Proof::None => Ok(None),
        Proof::Secret(secret) => Ok(Some((*secret).clone())),
        Proof::Apple {
            team_id,
            key_id,
            private_key,
        } => {
            let seconds = now.0 / 1000;
            let claims = AppleClaims {
                iss: team_id,
                iat: seconds,
                exp: seconds + APPLE_SECRET_SECONDS,
                aud: client.issuer,
                sub: client.client_id,
            };
            let key = PrivatePkcs8KeyDer::from_pem_slice(private_key.expose().as_bytes()).ok();
            let signed =
                key.and_then(|key| signature::signed(key_id, &claims, key.secret_pkcs8_der()));
            let wrong = "auth.apple_oauth.private_key is no key for ES256 (P-256 in PKCS #8)";
            signed
                .map(|secret| Some(Secret::new(secret)))
                .ok_or_else(|| wrong.to_owned())
        }
    }
}
