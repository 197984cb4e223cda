//! What the store keeps between the steps of the code flow, each sealed with the secret that it is known by: a copy of
//! the store opens nothing.

use crate::local::Local;
use crate::local::answer::Refusal;
use crate::rules::amount::Millis;
use crate::rules::seal::{self, SealContext, SealKey};
use crate::rules::tenant::TenantId;
use crate::store::name::{TicketKind, TicketName};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A sign-in that has begun.
#[derive(Serialize, Deserialize)]
pub(super) struct Transaction {
    /// `google`, `apple` or `oidc:<name>`.
    pub kind: String,
    /// Where the app gets its code.
    pub redirect_uri: String,
    /// PKCE challenge of the app.
    pub challenge: String,
    /// `state` of the app.
    pub state: Option<String>,
    /// Hash of the browser's cookie.
    pub cookie: String,
    /// Where the issuer sends the browser back.
    pub callback: String,
    /// PKCE verifier towards the issuer.
    pub verifier: String,
    pub nonce: String,
}

/// A person who may get a key for a code.
#[derive(Serialize, Deserialize)]
pub(super) struct Redeemable {
    pub kind: String,
    pub issuer: String,
    pub subject: String,
    /// PKCE challenge of the app.
    pub challenge: String,
    /// What the ID token is known again by.
    pub fingerprint: String,
    /// End of the ID token, in seconds since 1970.
    pub expires_seconds: u64,
    pub refresh_token: Option<String>,
}

/// Returns a secret of 256 random bits, in base64url.
pub(super) fn random_secret() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "without randomness no secret can be made, and no TLS either"
    )]
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system's random numbers");
    bytes
}

/// Returns the key that a ticket is sealed with. It is of another hash than the ticket's name.
fn key(secret: &str) -> SealKey {
    let hash = digest(&SHA256, format!("resullm ticket\0{secret}").as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_ref());
    SealKey::new(&bytes)
}

fn place(tenant: &TenantId, kind: TicketKind) -> SealContext<'_> {
    SealContext {
        tenant,
        field: match kind {
            TicketKind::SignIn => "/sign-in",
            TicketKind::Code => "/code",
        },
    }
}

/// Keeps a value of a tenant under a secret.
pub(super) async fn keep<T: Serialize>(
    local: &Local,
    tenant: &TenantId,
    (kind, secret): (TicketKind, &str),
    value: &T,
    life: Millis,
) -> Result<(), Refusal> {
    let text = serde_json::to_string(value).unwrap_or_default();
    let sealed = key(secret).seal(random(), place(tenant, kind), &text);
    let ticket = TicketName::of(kind, secret);
    match local.store.issue(&ticket, &sealed, life).await? {
        true => Ok(()),
        // Of 256 random bits.
        false => Err(Refusal::SignInRefused),
    }
}

/// Takes a value out. `None`: there is none of this tenant, or no longer.
pub(super) async fn take<T: DeserializeOwned>(
    local: &Local,
    tenant: &TenantId,
    kind: TicketKind,
    secret: &str,
) -> Result<Option<T>, Refusal> {
    let Some(sealed) = local.store.redeem(&TicketName::of(kind, secret)).await? else {
        return Ok(None);
    };
    let text = seal::open([&key(secret)], place(tenant, kind), &sealed).ok();
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}
