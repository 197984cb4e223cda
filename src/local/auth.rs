//! Routes for end users: anonymous sign-in (`/auth/anonymous`) and the state of their key (`/auth/me`).

use super::accounts::{self, NewKey, expiry};
use super::answer::{Answer, Refusal, json};
use super::{Local, Request, caller, origin};
use crate::api;
use crate::rules::amount::Millis;
use crate::rules::date::rfc3339;
use crate::rules::entry::ANONYMOUS;
use crate::rules::neighbours::{neighbourhood, network};
use crate::rules::window::Window;
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use crate::store::{Counted, Found, StoreError};
use std::net::IpAddr;

/// Serves `POST /auth/anonymous`: mints a key of the group `anonymous` that expires after
/// `accounts.anonymous_ttl`.
pub async fn anonymous(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    origin::check(request, &local.settings.server, tenant.config.cors.as_ref())?;
    let accounts = &local.settings.accounts;
    let Some(group) = tenant.config.groups.get(ANONYMOUS) else {
        return Err(Refusal::Forbidden(
            "This tenant has no anonymous sign-in".to_owned(),
        ));
    };
    if let Counted::Limited { wait } = count_mint(local, request.address, tenant).await? {
        return Err(Refusal::RateLimited { wait });
    }
    let life = accounts.anonymous_ttl.into();
    let key = NewKey {
        prefix: "temp_",
        user: None,
        group: ANONYMOUS,
        tokens: group.tokens,
        life: Some(life),
    };
    let minted = accounts::write(local, tenant, &key).await?;
    let limit = group.limit();
    let answer = api::NewKey {
        api_key: minted.key.as_str().to_owned(),
        tokens_left: group.tokens,
        group: ANONYMOUS.to_owned(),
        expires_at: rfc3339(minted.at.plus(life)),
        rate_limit: limit.map(|limit| limit.requests),
        rate_limit_window: limit.map(|limit| limit.window_millis / 1000),
    };
    Ok(json(200, &answer))
}

/// Counts a mint against the limits of the address, of its network and of the tenant. All three are counted
/// or none, so a refused client does not use up the limits of others.
async fn count_mint(
    local: &Local,
    address: IpAddr,
    tenant: &Tenant,
) -> Result<Counted, StoreError> {
    let accounts = &local.settings.accounts;
    let window = |requests| Window {
        requests,
        span: accounts.mint_window.into(),
    };
    // Colons separate the parts of a name in the store, so IPv6 addresses must not contain any.
    let named = |kind: &str, address: IpAddr| format!("{kind}-{address}").replace(':', "-");
    let near = named("address", neighbourhood(address));
    let far = named("network", network(address));
    let bounds = [
        (near.as_str(), window(accounts.mints_per_address)),
        (far.as_str(), window(accounts.most_mints_per_network())),
        ("all", window(accounts.most_mints_per_tenant())),
    ];
    let what = format!("mint:{}", tenant.id);
    local.store.count(&what, &bounds).await
}

/// Serves `GET /auth/me`: balance, group, rate limit and expiry of the caller's key.
pub async fn me(local: &Local, request: &Request<'_>, tenant: &Tenant) -> Result<Answer, Refusal> {
    let key = caller::sent(request)?;
    let found = present(local, tenant, &key, request.address).await?;
    let pace = found.look.pace;
    let limits = tenant.groups.limits(&found.standing.group);
    let span = limits.window.map_or(Millis(0), |window| window.span);
    let refill = limits
        .refill
        .map(|refill| refill.every.next(accounts::now()));
    let issued = found.standing.issued.as_ref();
    let tokens_max = issued.and_then(|key| key.tokens_max);
    let answer = api::Me {
        tokens_left: found.look.left,
        tokens_free: found.look.free,
        rate_limit: pace.map(|pace| pace.limit),
        rate_limit_window: pace.map(|_| span.seconds_up()),
        requests_remaining: pace.map(|pace| pace.remaining),
        reset_seconds: pace.map(|pace| pace.reset.seconds_up()),
        refills_at: refill.map(rfc3339),
        user_id: issued.and_then(|_| caller::user_id(&found)),
        key_id: issued.map(|_| key.id().to_string()),
        tokens_max,
        tokens_spent: tokens_max.map(|_| found.spent),
        expires_at: found.life.map(expiry),
        group: found.standing.group,
    };
    Ok(json(200, &answer))
}

/// Returns the account of the caller's key with all that leases have spent of it and that an earlier key brings.
async fn present(
    local: &Local,
    tenant: &Tenant,
    key: &KeyName,
    address: IpAddr,
) -> Result<Found, Refusal> {
    match local.leases.give_back(key).await {
        // A full disk only blocks the report of the lease; the account can still be read.
        Err(StoreError::Full) => {}
        told => told?,
    }
    let found = caller::find(local, tenant, key, address).await?;
    let Some(carry) = &found.carry else {
        return Ok(found);
    };
    local
        .carries
        .step(&tenant.id, &found.account, carry)
        .await?;
    caller::find(local, tenant, key, address).await
}
