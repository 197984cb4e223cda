//! Admin routes for API keys below `/admin/keys`: mint, show, credit, move to another group, revoke.
//!
//! Each handler authorizes an admin of the tenant first. A key of another tenant is 404.

use super::admin::{self, Actor, Right};
use super::answer::{self, Answer, Refusal, json};
use super::audit::{ChangeNote, audited};
use super::{Local, Request};
use crate::api;
use crate::rules::account::{Credit, Credited};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::date::rfc3339;
use crate::rules::issued_key::KeyId;
use crate::rules::person::is_id;
use crate::rules::record::is_suspended;
use crate::settings::Layout;
use crate::store::directory;
use crate::store::listed::{List, Listed};
use crate::store::name::{AccountName, KeyName};
use crate::store::people;
use crate::store::tenants::Tenant;
use crate::store::{Found, Mint, Outcome, StoreError};
use crate::telemetry::fields::About;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the Unix time of this machine.
pub fn now() -> Millis {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .into()
}

/// Whether a key may have this life: something, and ten years at most.
pub(super) fn is_key_life(life: Millis) -> bool {
    life > Millis(0) && life <= Millis(api::Mint::MAX_SECONDS * 1000)
}

/// Returns the moment when a key of this remaining life ends, as answers have it.
pub(super) fn expiry(life: Millis) -> String {
    rfc3339(now().plus(life))
}

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
    /// Moment of its creation.
    pub at: Millis,
}

/// Checks the app's own ID of a user as a key's record may have it.
pub(super) fn checked_user(user: &str) -> Result<(), Refusal> {
    if is_id(user) {
        let why = "A user ID of this form is the name of a person's account; see auth/sessions";
        return Err(Refusal::Bad(why.to_owned()));
    }
    match KeyName::parse(user) {
        Some(_) => Ok(()),
        None => Err(Refusal::Bad(
            "The user ID must be letters, digits, _, - or .".to_owned(),
        )),
    }
}

/// Generates a key and stores its record in the `accounts.layout` of the settings.
pub(crate) async fn write(
    local: &Local,
    tenant: &Tenant,
    new: &NewKey<'_>,
) -> Result<Minted, Refusal> {
    let now = now();
    if let Some(user) = new.user {
        checked_user(user)?;
    }
    let key = KeyName::generate(new.prefix);
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
    enter(local, tenant, &key, account.as_ref(), &record.to_string()).await?;
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
        account: account.map_or_else(|| key.id().to_string(), |account| account.id()),
        key,
        at: now,
    })
}

/// Enters a new key, and its account where that has a name of its own.
async fn enter(
    local: &Local,
    tenant: &Tenant,
    key: &KeyName,
    account: Option<&AccountName>,
    record: &str,
) -> Result<(), Refusal> {
    let entry = Listed::key(local.store.key_names().of(key), record);
    local.store.enter(&tenant.id, List::Keys, &[entry]).await?;
    if let Some(account) = account {
        let entry = Listed::user(account.clone(), record);
        local.store.enter(&tenant.id, List::Users, &[entry]).await?;
    }
    Ok(())
}

/// Serves `POST /admin/keys`.
pub async fn mint(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, &tenant.id, Right::Manage).await?;
    let call: api::Mint = answer::body(&request.body)?;
    let group = call.group.as_deref().unwrap_or("anonymous");
    let settings = known_group(tenant, group)?;
    let tokens = call.tokens.unwrap_or(settings.tokens);
    checked_tokens("tokens", tokens)?;
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
    if key.life.is_some_and(|life| !is_key_life(life)) {
        let rule = "expiresInSeconds must be from 1 to ten years";
        return Err(Refusal::Bad(rule.to_owned()));
    }
    let note = || ChangeNote::new("key.minted").after("group", group);
    let note = || note().after("tokens", tokens);
    let making = async {
        let minted = write(local, tenant, &key).await?;
        let note = note().of("account", minted.account.as_str());
        Ok((minted, note))
    };
    let minted = audited(local, request, &by, &tenant.id, note(), making).await?;
    by.log(
        request,
        about(tenant, &minted.account),
        &[("group", group.into()), ("tokens", tokens.into())],
        format_args!("A key was minted: group {group}, {tokens} tokens"),
    );
    let answer = api::MintedKey {
        id: minted.key.id().to_string(),
        account: minted.account,
        api_key: minted.key.as_str().to_owned(),
        tokens_left: tokens,
        group: group.to_owned(),
        expires_at: key.life.map(|life| rfc3339(minted.at.plus(life))),
    };
    Ok(json(201, &answer))
}

/// Returns the group's config, or a 400 that lists the groups.
pub(super) fn known_group<'a>(
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

/// Checks a number of tokens; `name` is the member of the body that has it.
pub(super) fn checked_tokens(name: &str, tokens: u64) -> Result<Tokens, Refusal> {
    match tokens > Tokens::MAX.count() {
        true => Err(Refusal::Bad(format!(
            "{name} must be at most {}",
            Tokens::MAX
        ))),
        false => Ok(Tokens::new(tokens)),
    }
}

/// Fields of log lines about an account.
pub(super) fn about<'a>(tenant: &'a Tenant, account: &'a str) -> About<'a> {
    About {
        tenant: Some(tenant.id.as_str()),
        account: Some(account),
        ..About::default()
    }
}

/// Authorizes an admin and returns the account of the key in the path, which is the key itself or its ID. A key of another
/// tenant is 404.
pub(super) async fn find(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
    right: Right,
) -> Result<(Actor, KeyName, Found), Refusal> {
    let by = admin::authorize(local, request, &tenant.id, right).await?;
    let by_id = match KeyId::parse(key) {
        Some(id) => directory::key_by_id(&*local.store, &tenant.id, id).await?,
        None => None,
    };
    let key = by_id.or_else(|| KeyName::parse(key));
    let key = key.ok_or(Refusal::NotFound)?;
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
    let (_, key, found) = find(local, request, tenant, key, Right::Look).await?;
    let suspended = is_suspended(&found.record);
    let mut record: Value = serde_json::from_str(&found.record).unwrap_or_default();
    let mut member = |name: &str| record.get_mut(name).map(Value::take);
    let answer = api::Account {
        id: key.id().to_string(),
        account: found.label(),
        key_id: found.label(),
        tokens_left: found.look.left,
        tokens_free: found.look.free,
        overrun: found.look.overrun,
        user_id: member("userId"),
        created_at: member("createdAt"),
        expires_at: found.life.map(expiry),
        group: found.standing.group,
        suspended,
    };
    Ok(json(200, &answer))
}

/// Direction of a change of a balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adjustment {
    Credit,
    Debit,
}

/// Serves `POST /admin/keys/{key}/credit` and `…/debit`. If the store's answer is unknown, the response is 503 with the
/// `id` to repeat.
pub(super) async fn credit(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
    adjustment: Adjustment,
) -> Result<Answer, Refusal> {
    let (by, _, found) = find(local, request, tenant, key, Right::Credit).await?;
    adjusted(local, request, tenant, (&by, &found), adjustment).await
}

/// Checks the ID of a change of a balance, or draws one.
pub(super) fn checked_id(id: Option<String>) -> Result<String, Refusal> {
    let id = id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let most = api::Credit::MAX_ID_BYTES;
    match (1..=most).contains(&id.len()) {
        true => Ok(id),
        false => Err(Refusal::Bad(format!("id must have 1 to {most} characters"))),
    }
}

/// Answers a credit or a debit of an account.
pub(super) async fn adjusted(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    (by, found): (&Actor, &Found),
    adjustment: Adjustment,
) -> Result<Answer, Refusal> {
    let call: api::Credit = answer::body(&request.body)?;
    let posted = note(by, call.comment.as_deref())?;
    let id = checked_id(call.id)?;
    let tokens = checked_tokens("tokens", call.tokens)?;
    let is_debit = adjustment == Adjustment::Debit;
    let credit = Credit {
        id: &id,
        amount: tokens,
        is_debit,
        note: &posted,
    };
    let (action, done) = match adjustment {
        Adjustment::Credit => ("key.credited", "credited"),
        Adjustment::Debit => ("key.debited", "debited"),
    };
    let note = || ChangeNote::new(action).of("account", found.label());
    let note = || note().of("id", id.as_str()).after(done, tokens.count());
    let note = || note().before("tokensLeft", found.look.left.count());
    let making = async {
        let (left, repeated) = adjust(local, request, tenant, found, &credit).await?;
        let note = note().after("tokensLeft", left.count());
        Ok(((left, repeated), note.after("repeated", repeated)))
    };
    let made = audited(local, request, by, &tenant.id, note(), making).await?;
    let (tokens_left, repeated) = made;
    by.log(
        request,
        about(tenant, &found.label()),
        &[
            ("tokens", tokens.count().into()),
            ("repeated", repeated.into()),
        ],
        format_args!("An account was {done} {tokens} tokens, and has {tokens_left}"),
    );
    let answer = api::Credited {
        account: found.label(),
        tokens_left,
        repeated,
    };
    Ok(json(200, &answer))
}

/// Changes a balance. Returns what is left, and whether the change had been made before.
async fn adjust(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    found: &Found,
    credit: &Credit<'_>,
) -> Result<(Tokens, bool), Refusal> {
    let credited = local.store.credit(&found.account, credit).await;
    let label = found.label();
    let credited = confirmed(request, about(tenant, &label), Some(credit.id), credited)?;
    match credited.ok_or(Refusal::NotFound)? {
        Credited::Added { left } => Ok((left, false)),
        Credited::Repeated { left } => Ok((left, true)),
        Credited::TooMuch { room } if credit.is_debit => Err(Refusal::Conflict(format!(
            "Of the balance {room} tokens are free, and {} cannot be taken",
            credit.amount
        ))),
        Credited::TooMuch { .. } => Err(too_much()),
    }
}

pub(super) fn too_much() -> Refusal {
    let most = Tokens::MAX;
    Refusal::Bad(format!("A balance holds at most {most} tokens"))
}

/// Returns what the store has answered. Where that is not known, the answer names the ID to repeat the change with.
pub(super) fn confirmed<T>(
    request: &Request<'_>,
    about: About<'_>,
    id: Option<&str>,
    outcome: Outcome<T>,
) -> Result<T, Refusal> {
    match (outcome, id) {
        (Err(error @ (StoreError::Unknown(_) | StoreError::Unreplicated(_))), Some(id)) => {
            log_unconfirmed(request, about, &error);
            let id = id.to_owned();
            Err(Refusal::Unconfirmed { id })
        }
        (outcome, _) => Ok(outcome?),
    }
}

/// Returns the note of a change in the account's ledger: who made it, and their comment.
pub(super) fn note(by: &Actor, comment: Option<&str>) -> Result<String, Refusal> {
    let most = api::Credit::MAX_COMMENT_CHARS;
    if comment.is_some_and(|comment| comment.chars().count() > most) {
        let why = format!("comment must have at most {most} characters");
        return Err(Refusal::Bad(why));
    }
    let note = api::PostingDetail {
        by: Some(by.name().to_owned()),
        comment: comment.map(str::to_owned),
        ..api::PostingDetail::default()
    };
    // Cannot fail: texts alone.
    Ok(serde_json::to_string(&note).unwrap_or_default())
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
            "A change of account {account} is not confirmed: {error}. Its client got 503 and repeats it with the same ID"
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
    let (by, key, found) = find(local, request, tenant, key, Right::Manage).await?;
    let account = found.label();
    let note = || ChangeNote::new("key.revoked").of("account", account.as_str());
    let note = || note().of("key", key.id().to_string());
    let note = || note().before("tokensLeft", found.look.left.count());
    let making = async {
        let is_revoked = match found.account.is_person() {
            true => people::end_key(&*local.store, &tenant.id, &found.account, key.id())
                .await?
                .is_some(),
            false => revoke_own(local, tenant, &key, &found).await?,
        };
        if !is_revoked {
            return Err(Refusal::NotFound);
        }
        local.revocations.announce(&[key.id()]).await?;
        Ok(((), note()))
    };
    audited(local, request, &by, &tenant.id, note(), making).await?;
    by.log(
        request,
        about(tenant, &account),
        &[],
        format_args!("A key was revoked"),
    );
    Ok(json(200, &api::Success::DONE))
}

/// Deletes a key that is no person's, and its account where that is a key's own, also after the key was rolled.
async fn revoke_own(
    local: &Local,
    tenant: &Tenant,
    key: &KeyName,
    found: &Found,
) -> Result<bool, Refusal> {
    let is_revoked = local.store.revoke(key).await?;
    directory::strike_key(&*local.store, &tenant.id, key.id()).await;
    if let Some(first) = KeyName::stored(&found.account) {
        local.store.revoke(&first).await?;
    }
    Ok(is_revoked)
}
