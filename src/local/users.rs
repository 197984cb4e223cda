//! One person as an admin sees and changes them: `GET /admin/users/{user}`, `POST …/credit` and `…/debit`.

use super::accounts::{self, Adjustment};
use super::admin::{self, Right};
use super::answer::{Answer, Refusal, json};
use super::billing::history;
use super::{Local, Request, keys, lists, named, usage};
use crate::api;
use crate::rules::account::Claim;
use crate::rules::date::rfc3339;
use crate::store::tenants::Tenant;
use serde_json::value::RawValue;

/// Requests that are shown of a person.
const MAX_REQUESTS: usize = 20;

/// Serves `GET /admin/users/{user}`.
pub(super) async fn show(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    user: &str,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, &tenant.id, Right::Look).await?;
    let found = named::find_user(local, tenant, user).await?;
    let account = &found.account;
    let listed = local.store.keys(account).await?.unwrap_or_default();
    let payments = match account.is_person() {
        true => history::payments(local, tenant, account).await?,
        false => None,
    };
    let claims = local.store.claims(account).await?;
    let label = found.label();
    let texts = usage::latest_of_account(local, tenant, &label, MAX_REQUESTS).await?;
    let requests: Vec<&RawValue> = texts
        .iter()
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
    let found = named::find_user(local, tenant, user).await?;
    accounts::adjusted(local, request, tenant, (&by, &found), adjustment).await
}
