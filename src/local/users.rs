//! One person as an admin sees and changes them: `GET /admin/users/{user}`, `POST …/credit` and `…/debit`.
//!
//! A person is named by their account's name, by what usage records call it, or by the app's own ID.

use super::accounts::{self, Adjustment};
use super::admin::{self, Right};
use super::answer::{Answer, Refusal, json};
use super::billing::history;
use super::{Local, Request, keys, lists, sessions, usage};
use crate::api;
use crate::rules::account::Claim;
use crate::rules::date::rfc3339;
use crate::rules::issued_key::KeyId;
use crate::rules::person::is_id;
use crate::rules::tenant::decoded;
use crate::store::Found;
use crate::store::directory::List;
use crate::store::name::AccountName;
use crate::store::tenants::Tenant;
use serde_json::value::RawValue;

/// Requests that are shown of a person.
const MAX_REQUESTS: usize = 20;

/// Returns the account of a user as an admin names it.
pub(super) async fn named(
    local: &Local,
    tenant: &Tenant,
    user: &str,
) -> Result<AccountName, Refusal> {
    let user = decoded(user).ok_or(Refusal::NotFound)?;
    if is_id(&user) {
        return AccountName::user(&user).ok_or(Refusal::NotFound);
    }
    if let Some(id) = KeyId::parse(&user)
        && let Some(listed) = local
            .store
            .listed_by_id(&tenant.id, List::Users, id)
            .await?
    {
        return Ok(listed.name);
    }
    let of_app = sessions::account(tenant, &user);
    let plain = AccountName::user(&user).filter(|_| !user.is_empty());
    match plain {
        // In `accounts.layout: user` an account may have the app's own ID for its name.
        Some(plain) if !local.store.has(&of_app).await? && local.store.has(&plain).await? => {
            Ok(plain)
        }
        _ => Ok(of_app),
    }
}

/// Returns the account of a user as it stands.
pub(super) async fn find(local: &Local, tenant: &Tenant, user: &str) -> Result<Found, Refusal> {
    let account = named(local, tenant, user).await?;
    let found = local
        .store
        .find_account(&account, &tenant.id, &tenant.groups);
    found.await?.ok_or(Refusal::NotFound)
}

/// Serves `GET /admin/users/{user}`.
pub(super) async fn show(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    user: &str,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, &tenant.id, Right::Look).await?;
    let found = find(local, tenant, user).await?;
    let account = &found.account;
    let listed = local.store.keys(account).await?.unwrap_or_default();
    let payments = match account.is_person() {
        true => history::payments(local, tenant, account).await?,
        false => None,
    };
    let claims = local.store.claims(account).await?;
    let texts = usage::of_account(local, tenant, &found.label()).await?;
    let requests = texts.iter().take(MAX_REQUESTS);
    let requests: Vec<&RawValue> = requests
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect();
    let details = api::UserDetails {
        user: lists::user(&found),
        identities: local.store.identities(account).await?,
        keys: keys::all_shown(listed, None),
        holds: claims.into_iter().map(holding).collect(),
        payments,
        requests,
    };
    Ok(json(200, &details))
}

fn holding(claim: Claim) -> api::Holding {
    let kind = if claim.is_lease { "lease" } else { "request" };
    api::Holding {
        id: claim.id,
        kind: kind.to_owned(),
        most: claim.most,
        known: claim.known,
        expires_at: rfc3339(claim.expires),
    }
}

/// Serves `POST /admin/users/{user}/credit` and `…/debit`.
pub(super) async fn credit(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    user: &str,
    adjustment: Adjustment,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, &tenant.id, Right::Credit).await?;
    let found = find(local, tenant, user).await?;
    accounts::adjusted(local, request, tenant, (&by, &found), adjustment).await
}
