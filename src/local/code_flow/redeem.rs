//! `POST /auth/token`: gives a key for the code that a sign-in ended with.
//!
//! The code is gone with the first try, right or wrong. It is worth something only at its tenant, and to who knows the
//! text that the sign-in was begun with.

use super::tickets::{self, Redeemable};
use crate::api;
use crate::issuers::client::Named;
use crate::local::answer::{self, Answer, Refusal};
use crate::local::people::{self, Person};
use crate::local::{Local, Request, origin, sign_in};
use crate::rules::identity::claims::Subject;
use crate::rules::identity::pkce;
use crate::store::name::TicketKind;
use crate::store::tenants::Tenant;
use crate::tables::Secret;

/// Serves `POST /auth/token`.
pub(in crate::local) async fn redeem(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    origin::check(request, &local.settings.server, tenant.config.cors.as_ref())?;
    let call: api::RedeemCode = answer::body(&request.body)?;
    let taken = tickets::take(local, &tenant.id, TicketKind::Code, &call.code).await?;
    let redeemable: Redeemable = taken.ok_or(Refusal::SignInRefused)?;
    if !pkce::is_verifier(&call.code_verifier, &redeemable.challenge) {
        return Err(Refusal::SignInRefused);
    }
    let named = match redeemable.kind.as_str() {
        "google" => Named::Google,
        "apple" => Named::Apple,
        kind => Named::Oidc(kind.strip_prefix("oidc:").unwrap_or(kind)),
    };
    let client = sign_in::client(local, tenant, named)?;
    // The config may name another issuer by now.
    if client.issuer != redeemable.issuer {
        return Err(Refusal::SignInRefused);
    }
    sign_in::check_group(tenant, client.group)?;
    let subject = Subject {
        subject: redeemable.subject,
        expires_seconds: redeemable.expires_seconds,
    };
    let person = Person {
        kind: &redeemable.kind,
        issuer: &redeemable.issuer,
        subject: &subject.subject,
        group: client.group,
        token: sign_in::note(&redeemable.fingerprint, &subject),
        refresh_token: redeemable.refresh_token.map(Secret::new),
    };
    people::sign_in(
        local,
        tenant,
        &person,
        sign_in::sent_key(request),
        request.address,
    )
    .await
}
