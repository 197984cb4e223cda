//! Sign-in with an ID token: `POST /auth/google`, `/auth/apple` and `/auth/oidc/{name}`.
//!
//! What is wrong with a token stands in the log alone; the client always gets the same 401.

use super::answer::{self, Answer, Refusal};
use super::people::{self, Person, TokenNote};
use super::{Local, Request, accounts, credentials, origin};
use crate::api;
use crate::issuers::client::{Client, Named};
use crate::issuers::verify::Unverified;
use crate::rules::amount::Millis;
use crate::rules::identity::claims::{SKEW_SECONDS, Subject};
use crate::rules::identity::refused::WrongToken;
use crate::rules::identity::token::fingerprint;
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use crate::telemetry::fields::About;
use crate::telemetry::throttle::Throttle;
use log::Level;

/// Serves `POST /auth/google`, `/auth/apple` and `/auth/oidc/{name}`.
pub(super) async fn with_token(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    named: Named<'_>,
) -> Result<Answer, Refusal> {
    origin::check(request, &local.settings.server, tenant.config.cors.as_ref())?;
    let client = client(local, tenant, named)?;
    check_group(tenant, client.group)?;
    let call: api::SignIn = answer::body(&request.body)?;
    let (token, nonce) = (call.id_token.as_str(), call.nonce.as_deref());
    let verified = local.issuers.verify(&client, token, nonce, accounts::now());
    let subject = match verified.await {
        Ok(subject) => subject,
        Err(Unverified::Unavailable) => return Err(Refusal::IssuerUnavailable),
        Err(Unverified::Wrong(why)) => {
            log_wrong_token(request, tenant, &client.kind, why);
            return Err(Refusal::SignInRefused);
        }
    };
    let person = Person {
        kind: &client.kind,
        issuer: client.issuer,
        subject: &subject.subject,
        group: client.group,
        token: note(&fingerprint(token), &subject),
        refresh_token: None,
    };
    people::sign_in(local, tenant, &person, sent_key(request), request.address).await
}

/// Returns the tenant's client of an issuer; 404 if it has none.
pub(super) fn client<'a>(
    local: &'a Local,
    tenant: &'a Tenant,
    named: Named<'_>,
) -> Result<Client<'a>, Refusal> {
    let config = &tenant.config;
    let has_group = |name: &str| config.groups.contains_key(name);
    let client = Client::of(named, &config.auth, &local.settings.identity, has_group);
    client.ok_or(Refusal::NotFound)
}

/// Refuses sign-ins whose group the tenant does not have: an account of it would have no balance and no limits.
pub(super) fn check_group(tenant: &Tenant, group: &str) -> Result<(), Refusal> {
    match tenant.config.groups.contains_key(group) {
        true => Ok(()),
        false => Err(Refusal::Forbidden(format!(
            "This tenant has no group {group}, which people who sign in this way belong to"
        ))),
    }
}

/// Returns the key that the request was sent with, if any.
pub(super) fn sent_key(request: &Request<'_>) -> Option<KeyName> {
    let key = credentials::key(|name| request.headers.get(name)?.to_str().ok());
    key.and_then(KeyName::parse)
}

/// Longest time for which an ID token is known again, whatever end it names: a year.
const LONGEST_NOTE: Millis = Millis(366 * Millis::DAY.0);

/// Returns what the token of this fingerprint is noted by when it creates an account: for longer than it is taken.
pub(super) fn note(fingerprint: &str, subject: &Subject) -> TokenNote {
    let latest = accounts::now().plus(LONGEST_NOTE).0 / 1000;
    let ends = subject.expires_seconds.min(latest);
    TokenNote {
        fingerprint: fingerprint.to_owned(),
        expires: Millis::from_secs(ends.saturating_add(2 * SKEW_SECONDS as u64)),
    }
}

/// Logs why a token was refused: of each reason one line a second.
pub(super) fn log_wrong_token(request: &Request<'_>, tenant: &Tenant, kind: &str, why: WrongToken) {
    static REASONS: [Throttle; WrongToken::COUNT] = [const { Throttle::new() }; WrongToken::COUNT];
    let about = About {
        tenant: Some(tenant.id.as_str()),
        request: Some(request.id),
        ..About::default()
    };
    let reason = why.word();
    about.log_throttled(
        &REASONS[why as usize],
        module_path!(),
        Level::Info,
        &[("issuer", kind.into()), ("reason", reason.into())],
        format_args!("A sign-in was refused: its ID token is {reason}"),
    );
}
