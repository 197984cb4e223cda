//! Admin routes for API keys below `/admin/keys`: mint, show, credit, move to another group, revoke.
//!
//! Each handler authorizes an admin of the tenant first. A key of another tenant is 404.

use super::admin::{self, Actor};
use super::answer::{self, Answer, Refusal, json};
use super::{Local, Request};
use crate::rules::account::Credited;
use crate::rules::amount::{Millis, Tokens};
use crate::rules::date::rfc3339;
use crate::settings::Layout;
use crate::store::name::{AccountName, KeyName};
use crate::store::tenants::Tenant;
use crate::store::{Found, Mint, StoreError};
use crate::telemetry::fields::About;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the Unix time of this machine.
pub fn now() -> Millis {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .into()
}

/// Upper bound of `expiresInSeconds`: ten years.
const MAX_KEY_LIFETIME: Millis = Millis(10 * 365 * Millis::DAY.0);

/// Parameters of a new key.
pub(crate) struct NewKey<'a> {
    pub prefix: &'a str,
    /// ID of the user it belongs to; `None`: no user.
    pub user: Option<&'a str>,
    pub group: &'a str,
    /// Initial balance.
    pub tokens: u64,
    /// Time until it expires; `None`: never.
    pub life: Option<Millis>,
}

pub(crate) struct Minted {
    pub key: KeyName,
    /// Hash of the account, for the log.
    pub account: String,
    pub expires: Option<Millis>,
}

/// Generates a key and stores its record in the `accounts.layout` of the settings.
pub(crate) async fn write(
    local: &Local,
    tenant: &Tenant,
    new: &NewKey<'_>,
) -> Result<Minted, Refusal> {
    let now = now();
    let unnamed = || Refusal::Bad("The user ID must be letters, digits, _, - or .".to_owned());
    let key = format!("{}{}", new.prefix, uuid::Uuid::new_v4());
    let key = KeyName::parse(&key).ok_or_else(unnamed)?;
    if new.user.is_some_and(|user| KeyName::parse(user).is_none()) {
        return Err(unnamed());
    }
    let tokens = Tokens::new(new.tokens);
    let (user, record) = match local.settings.accounts.layout {
        Layout::Key => (
            None,
            json!({
                "userId": new.user, "createdAt": rfc3339(now), "tokensLeft": tokens,
                "tenantId": tenant.id.as_str(), "group": new.group,
            }),
        ),
        Layout::User => {
            let user = new
                .user
                .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
            let record = json!({
                "createdAt": rfc3339(now), "tokensLeft": tokens,
                "tenantId": tenant.id.as_str(), "group": new.group,
            });
            (Some(user), record)
        }
    };
    let account = user.as_deref().and_then(AccountName::user);
    let mint = Mint {
        key: key.clone(),
        user,
        record: record.to_string(),
        life: new.life,
    };
    if !local.store.mint(&mint).await? {
        return Err(Refusal::Conflict(
            "There is an account of this user already".to_owned(),
        ));
    }
    Ok(Minted {
        account: account.unwrap_or_else(|| key.account()).id(),
        key,
        expires: new.life.map(|life| now.plus(life)),
    })
}

/// Body of `POST /admin/keys`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct MintCall {
    group: Option<String>,
    tokens: Option<u64>,
    expires_in_seconds: Option<u64>,
    user_id: Option<String>,
}

/// Serves `POST /admin/keys`.
pub async fn mint(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, &tenant.id).await?;
    let call: MintCall = answer::body(&request.body)?;
    let group = call.group.as_deref().unwrap_or("anonymous");
    let settings = known_group(tenant, group)?;
    let tokens = call.tokens.unwrap_or(settings.tokens);
    if tokens > Tokens::MAX.count() {
        return Err(Refusal::Bad(format!(
            "tokens must be at most {}",
            Tokens::MAX
        )));
    }
    let key = NewKey {
        prefix: if group == "anonymous" {
            "temp_"
        } else {
            "user_"
        },
        user: call.user_id.as_deref(),
        group,
        tokens,
        life: call.expires_in_seconds.map(Millis::from_secs),
    };
    if key
        .life
        .is_some_and(|life| life == Millis(0) || life > MAX_KEY_LIFETIME)
    {
        let rule = "expiresInSeconds must be from 1 to ten years";
        return Err(Refusal::Bad(rule.to_owned()));
    }
    let minted = write(local, tenant, &key).await?;
    by.log(
        request,
        about(tenant, &minted.account),
        &[("group", group.into()), ("tokens", tokens.into())],
        format_args!("A key was minted: group {group}, {tokens} tokens"),
    );
    let mut answer = json!({"apiKey": minted.key.as_str(), "tokensLeft": tokens, "group": group});
    if let Some(expires) = minted.expires {
        answer["expiresAt"] = rfc3339(expires).into();
    }
    Ok(json(201, &answer))
}

/// Returns the group's config, or a 400 that lists the groups.
fn known_group<'a>(
    tenant: &'a Tenant,
    name: &str,
) -> Result<&'a crate::rules::config::Group, Refusal> {
    tenant.config.groups.get(name).ok_or_else(|| {
        let names: Vec<&str> = tenant.config.groups.keys().map(String::as_str).collect();
        Refusal::Bad(format!(
            "There is no such group; there are: {}",
            names.join(", ")
        ))
    })
}

/// Fields of log lines about an account.
fn about<'a>(tenant: &'a Tenant, account: &'a str) -> About<'a> {
    About {
        tenant: Some(tenant.id.as_str()),
        account: Some(account),
        ..About::default()
    }
}

/// Authorizes an admin and returns the account of the key in the path. A key of another tenant is 404.
async fn find(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
) -> Result<(Actor, KeyName, Found), Refusal> {
    let by = admin::authorize(local, request, &tenant.id).await?;
    let key = KeyName::parse(key).ok_or(Refusal::NotFound)?;
    local.leases.give_back(&key).await?;
    let found = local
        .store
        .find(&key, &tenant.id, &tenant.groups)
        .await?
        .ok_or(Refusal::NotFound)?;
    Ok((by, key, found))
}

/// Serves `GET /admin/keys/{key}`.
pub async fn show(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
) -> Result<Answer, Refusal> {
    let (_, _, found) = find(local, request, tenant, key).await?;
    let record: Value = serde_json::from_str(&found.record).unwrap_or_default();
    let mut answer = json!({
        "keyId": found.account.id(),
        "tokensLeft": found.look.left,
        "tokensFree": found.look.free,
        "overrun": found.look.overrun,
        "group": found.group,
        "userId": record.get("userId"),
        "createdAt": record.get("createdAt"),
    });
    if let Some(life) = found.life {
        answer["expiresAt"] = rfc3339(now().plus(life)).into();
    }
    Ok(json(200, &answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoveCall {
    group: String,
}

/// Serves `PATCH /admin/keys/{key}`: moves the key's account to another group.
pub async fn regroup(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
) -> Result<Answer, Refusal> {
    let (by, key, found) = find(local, request, tenant, key).await?;
    let call: MoveCall = answer::body(&request.body)?;
    known_group(tenant, &call.group)?;
    if !local.store.regroup(&found.account, &call.group).await? {
        return Err(Refusal::NotFound);
    }
    local.leases.invalidate(&key);
    let (from, to) = (found.group.as_str(), call.group.as_str());
    by.log(
        request,
        about(tenant, &found.account.id()),
        &[("from", from.into()), ("to", to.into())],
        format_args!("An account moved from group {from} to {to}"),
    );
    Ok(json(200, &json!({"success": true})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreditCall {
    tokens: u64,
    /// Idempotency ID: a repeated credit with the same ID adds nothing.
    id: Option<String>,
}

/// Serves `POST /admin/keys/{key}/credit`. If the store's answer is unknown, the response is 503 with the
/// `id` to repeat.
pub async fn credit(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
) -> Result<Answer, Refusal> {
    let (by, _, found) = find(local, request, tenant, key).await?;
    let call: CreditCall = answer::body(&request.body)?;
    let id = call.id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    if id.is_empty() || id.len() > 128 {
        return Err(Refusal::Bad("id must have 1 to 128 characters".to_owned()));
    }
    if call.tokens > Tokens::MAX.count() {
        return Err(Refusal::Bad(format!(
            "tokens must be at most {}",
            Tokens::MAX
        )));
    }
    let tokens = Tokens::new(call.tokens);
    let credited = match local.store.credit(&found.account, &id, tokens).await {
        Err(error @ (StoreError::Unknown(_) | StoreError::Unreplicated(_))) => {
            log_unconfirmed(request, about(tenant, &found.account.id()), &error);
            return Err(Refusal::Unconfirmed { id });
        }
        credited => credited?,
    };
    let (left, repeated) = match credited.ok_or(Refusal::NotFound)? {
        Credited::Added { left } => (left, false),
        Credited::Repeated { left } => (left, true),
        Credited::TooMuch => {
            return Err(Refusal::Bad(format!(
                "A balance holds at most {} tokens",
                Tokens::MAX
            )));
        }
    };
    by.log(
        request,
        about(tenant, &found.account.id()),
        &[
            ("tokens", tokens.count().into()),
            ("repeated", repeated.into()),
        ],
        format_args!("An account was credited {tokens} tokens, and has {left}"),
    );
    Ok(json(
        200,
        &json!({"tokensLeft": left, "repeated": repeated}),
    ))
}

fn log_unconfirmed(request: &Request<'_>, about: About<'_>, error: &StoreError) {
    let about = About {
        request: Some(request.id),
        ..about
    };
    let account = about.account.unwrap_or("-");
    about.log(
        module_path!(),
        log::Level::Warn,
        &[],
        format_args!(
            "A credit of account {account} is not confirmed: {error}. Its client got 503 and repeats it with the same ID"
        ),
    );
}

/// Serves `DELETE /admin/keys/{key}`.
pub async fn revoke(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
) -> Result<Answer, Refusal> {
    let (by, key, found) = find(local, request, tenant, key).await?;
    if !local.store.revoke(&key).await? {
        return Err(Refusal::NotFound);
    }
    local.leases.invalidate(&key);
    let account = found.account.id();
    by.log(
        request,
        about(tenant, &account),
        &[],
        format_args!("A key was revoked"),
    );
    Ok(json(200, &json!({"success": true})))
}
