//! Changes of accounts below `/admin/keys/{key}` and `/admin/users/{user}`: move, suspend, roll.

use super::accounts::{self, about, checked_tokens, is_key_life};
use super::admin::{self, Actor, Right};
use super::answer::{self, Answer, Refusal, json};
use super::audit::{ChangeNote, audited};
use super::{Local, Request, keys, named};
use crate::api;
use crate::rules::account::{Credit, Credited};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::date::rfc3339;
use crate::rules::entry::{ANONYMOUS, Amend};
use crate::rules::issued_key::KeyId;
use crate::store::directory;
use crate::store::listed::{List, Listed};
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use crate::store::{Found, Led};
use serde_json::json;

/// A [`api::Move`], checked.
struct Checked {
    group: Option<String>,
    user: Option<Option<String>>,
    life: Option<Option<Millis>>,
    /// ID, tokens, and note for the ledger.
    credit: Option<(String, Tokens, String)>,
}

impl Checked {
    fn amend(&self) -> Amend<'_> {
        Amend {
            group: self.group.as_deref(),
            user: self.user.as_ref().map(Option::as_deref),
            life: self.life,
            credit: self.credit.as_ref().map(|(id, amount, note)| Credit {
                id,
                amount: *amount,
                is_debit: false,
                note,
            }),
            ..Amend::default()
        }
    }
}

/// Serves `PATCH /admin/keys/{key}`: group, user, expiry and tokens of the key's account, in one step.
pub(super) async fn move_key(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
) -> Result<Answer, Refusal> {
    let (by, key, found) = accounts::find(local, request, tenant, key, Right::Manage).await?;
    let change = checked(tenant, answer::body(&request.body)?, &by, &found)?;
    let note = || move_note(&change, &found);
    let making = async {
        let amended = amend(local, request, tenant, &found, &change.amend()).await?;
        let note = note().after("tokensLeft", amended.0.count());
        Ok((amended, note))
    };
    let made = audited(local, request, &by, &tenant.id, note(), making).await?;
    let (tokens_left, repeated) = made;
    local.leases.invalidate(&key);
    let from = found.standing.group.as_str();
    let to = change.group.as_deref().unwrap_or(from);
    let line = format_args!("An account moved from group {from} to {to}, and has {tokens_left}");
    let fields = [("from", from.into()), ("to", to.into())];
    by.log(request, about(tenant, &found.label()), &fields, line);
    let moved = api::Moved {
        success: true,
        id: key.id().to_string(),
        account: found.label(),
        tokens_left,
        repeated,
    };
    Ok(json(200, &moved))
}

fn checked(
    tenant: &Tenant,
    call: api::Move,
    by: &Actor,
    found: &Found,
) -> Result<Checked, Refusal> {
    if let Some(group) = &call.group {
        accounts::known_group(tenant, group)?;
    }
    let is_keys_own = matches!(List::of(&found.account), List::Keys);
    if (call.user_id.is_some() || call.expires_in_seconds.is_some()) && !is_keys_own {
        let why = "userId and expiresInSeconds are for accounts of a key's own; this key leads to a user's";
        return Err(Refusal::Bad(why.to_owned()));
    }
    if let Some(Some(user)) = &call.user_id {
        accounts::checked_user(user)?;
    }
    let life = call.expires_in_seconds;
    let life = life.map(|life| life.map(Millis::from_secs));
    if let Some(Some(life)) = life
        && !is_key_life(life)
    {
        let rule = "expiresInSeconds must be from 1 to ten years, or null";
        return Err(Refusal::Bad(rule.to_owned()));
    }
    let credit = match call.tokens {
        None if call.id.is_some() || call.comment.is_some() => {
            let why = "id and comment are of a change of the balance: give tokens, too";
            return Err(Refusal::Bad(why.to_owned()));
        }
        None => None,
        Some(tokens) => {
            let note = accounts::note(by, call.comment.as_deref())?;
            let tokens = checked_tokens("tokens", tokens)?;
            Some((accounts::checked_id(call.id)?, tokens, note))
        }
    };
    if call.group.is_none() && call.user_id.is_none() && life.is_none() && credit.is_none() {
        let why = "Nothing is to be changed: give group, userId, expiresInSeconds or tokens";
        return Err(Refusal::Bad(why.to_owned()));
    }
    Ok(Checked {
        group: call.group,
        user: call.user_id,
        life,
        credit,
    })
}

fn move_note(change: &Checked, found: &Found) -> ChangeNote {
    let mut note = ChangeNote::new("key.moved").of("account", found.label());
    note = note.before("tokensLeft", found.look.left.count());
    if let Some(group) = &change.group {
        let before = found.standing.group.as_str();
        note = note.before("group", before).after("group", group.as_str());
    }
    if let Some(user) = &change.user {
        let before: serde_json::Value = serde_json::from_str(&found.record).unwrap_or_default();
        note = note.before("userId", before["userId"].clone());
        note = note.after("userId", user.clone());
    }
    if let Some(life) = change.life {
        note = note.before("expiresAt", found.life.map(accounts::expiry));
        note = note.after("expiresAt", life.map(accounts::expiry));
    }
    if let Some((id, tokens, _)) = &change.credit {
        note = note.of("id", id.as_str()).after("credited", tokens.count());
    }
    note
}

/// Changes an account. Returns its balance, and whether its credit had been there.
async fn amend(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    found: &Found,
    amend: &Amend<'_>,
) -> Result<(Tokens, bool), Refusal> {
    let amended = local.store.amend(&found.account, amend).await;
    let id = amend.credit.as_ref().map(|credit| credit.id);
    let amended = accounts::confirmed(request, about(tenant, &found.label()), id, amended)?;
    match amended.ok_or(Refusal::NotFound)? {
        Credited::Added { left } => Ok((left, false)),
        Credited::Repeated { left } => Ok((left, true)),
        Credited::TooMuch { .. } => Err(accounts::too_much()),
    }
}

/// Serves `POST /admin/keys/{key}/suspend`.
pub(super) async fn suspend_key(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
) -> Result<Answer, Refusal> {
    let (by, key, found) = accounts::find(local, request, tenant, key, Right::Manage).await?;
    suspend(local, request, tenant, &by, (&found, Some(key.id()))).await
}

/// Serves `POST /admin/users/{user}/suspend`.
pub(super) async fn suspend_user(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    user: &str,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, &tenant.id, Right::Manage).await?;
    let found = named::find_user(local, tenant, user).await?;
    suspend(local, request, tenant, &by, (&found, None)).await
}

/// Suspends an account, or takes its calls again. `key`: one that leads to it.
async fn suspend(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    by: &Actor,
    (found, key): (&Found, Option<KeyId>),
) -> Result<Answer, Refusal> {
    let api::Suspend { suspended } = answer::body(&request.body)?;
    let action = match suspended {
        true => "account.suspended",
        false => "account.resumed",
    };
    let note = || ChangeNote::new(action).of("account", found.label());
    let making = async {
        let change = Amend {
            suspended: Some(suspended),
            ..Amend::default()
        };
        amend(local, request, tenant, found, &change).await?;
        if suspended {
            let of_person = local.store.keys(&found.account).await?.unwrap_or_default();
            let ids = of_person.iter().map(|listed| listed.id).chain(key);
            let ids: Vec<KeyId> = ids.collect();
            local.revocations.announce(&ids).await?;
        }
        Ok(((), note()))
    };
    audited(local, request, by, &tenant.id, note(), making).await?;
    let line = match suspended {
        true => "An account was suspended",
        false => "An account's calls are served again",
    };
    by.log(
        request,
        about(tenant, &found.label()),
        &[],
        format_args!("{line}"),
    );
    let told = api::Suspended {
        success: true,
        account: found.label(),
        suspended,
    };
    Ok(json(200, &told))
}

/// Serves `POST /admin/keys/{key}/roll`: a new key in place of this one, for the same account.
pub(super) async fn roll(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
) -> Result<Answer, Refusal> {
    let (by, key, found) = accounts::find(local, request, tenant, key, Right::Manage).await?;
    let note = || ChangeNote::new("key.rolled").of("account", found.label());
    let note = || note().before("key", key.id().to_string());
    let making = async {
        let rolled = match found.account.is_person() {
            true => {
                let new = keys::rolled(local, tenant, &found, key.id()).await?;
                (new.id, new.api_key, new.expires_at)
            }
            false => {
                let new = roll_own(local, tenant, &key, &found).await?;
                let expires = found.life.map(accounts::expiry);
                (new.id().to_string(), new.as_str().to_owned(), expires)
            }
        };
        let note = note().after("key", rolled.0.as_str());
        Ok((rolled, note))
    };
    let made = audited(local, request, &by, &tenant.id, note(), making).await?;
    let (id, api_key, expires_at) = made;
    let account = found.label();
    by.log(
        request,
        about(tenant, &account),
        &[],
        format_args!("A key was rolled"),
    );
    let rolled = api::RolledKey {
        id,
        api_key,
        account,
        expires_at,
    };
    Ok(json(201, &rolled))
}

/// Gives an account that is no person's another key. The new one leads to it before the old one ends: nobody knows it yet,
/// and an account without a key would be lost.
async fn roll_own(
    local: &Local,
    tenant: &Tenant,
    old: &KeyName,
    found: &Found,
) -> Result<KeyName, Refusal> {
    let store = &*local.store;
    if List::of(&found.account) == List::Users {
        let why = "A key of accounts.layout: user is not rolled: revoke it, and mint another one";
        return Err(Refusal::Conflict(why.to_owned()));
    }
    let prefix = match found.standing.group == ANONYMOUS {
        true => "temp_",
        false => "user_",
    };
    let new = KeyName::generate(prefix);
    let name = store.key_names().of(&new);
    let text = json!({
        "createdAt": rfc3339(accounts::now()),
        "tenantId": tenant.id.as_str(),
        "account": found.account.as_str(),
    })
    .to_string();
    let entry = Listed::key(name.clone(), &text);
    store.enter(&tenant.id, List::Keys, &[entry]).await?;
    if store.lead(&name, &text, None).await? != Led::Done {
        return Err(Refusal::Conflict(
            "The new key is taken; try again".to_owned(),
        ));
    }
    let change = Amend {
        opens_to: Some(new.id()),
        ..Amend::default()
    };
    let amended = store.amend(&found.account, &change).await?;
    amended.ok_or(Refusal::NotFound)?;
    for name in store.key_names().candidates(old) {
        if name != found.account {
            store.unlead(&name).await?;
        }
    }
    directory::strike_key(store, &tenant.id, old.id()).await;
    local.revocations.announce(&[old.id()]).await?;
    Ok(new)
}
