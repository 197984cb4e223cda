//! `POST /auth/sessions`: a key for one of the app's users, asked for by the app's own backend.

use super::accounts::{about, checked_tokens};
use super::admin::Right;
use super::answer::{Answer, Refusal, body, json};
use super::people::{self, KeyBounds, Opened, Opening};
use super::{Local, Request, admin, keys};
use crate::api;
use crate::rules::amount::Millis;
use crate::rules::entry::SIGNED_IN;
use crate::rules::issued_key::KeySource;
use crate::rules::person::{PersonId, is_id};
use crate::store::name::{AccountName, KeyName};
use crate::store::tenants::Tenant;

/// Kind of identity of the app's own users.
const APP: &str = "app";
/// Life of a session's key, unless the backend names another.
const USUAL_LIFE: Millis = Millis::DAY;

/// Serves `POST /auth/sessions`.
pub(super) async fn open(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, &tenant.id, Right::OpenSessions).await?;
    let call = read(request, tenant)?;
    let temp = match call.carry_over.as_deref() {
        Some(key) => Some(KeyName::parse(key).ok_or_else(unknown_temp)?),
        None => None,
    };
    let usual = Some(SIGNED_IN).filter(|group| tenant.config.groups.contains_key(*group));
    let life = keys::life(call.ttl.as_deref())?.unwrap_or(USUAL_LIFE);
    let opening = Opening {
        account: account(tenant, &call.user_id),
        user_id: &call.user_id,
        group: call.group.as_deref().or(usual),
        source: KeySource::Session,
        bounds: KeyBounds {
            life: Some(life),
            models: keys::models(call.models)?,
            tokens_max: call
                .tokens
                .map(|most| checked_tokens("tokens", most))
                .transpose()?,
            ..KeyBounds::default()
        },
        token: None,
        temp: temp.as_ref(),
        apple: None,
    };
    let is_founding = opening.group.is_some();
    let opened = people::open(local, tenant, opening).await;
    let mut opened = opened.map_err(|refused| match refused {
        Refusal::UnknownKey if !is_founding => no_group(),
        refused => refused,
    })?;
    if let Some(group) = call.group.filter(|group| *group != opened.group) {
        local.store.regroup(&opened.account, &group).await?;
        opened.group = group;
    }
    by.log(
        request,
        about(tenant, &opened.account.id()),
        &[("created", opened.created.into())],
        format_args!("A session's key was minted"),
    );
    Ok(json(200, &answer(call.user_id, opened)))
}

fn answer(user_id: String, opened: Opened) -> api::SessionKey {
    api::SessionKey {
        api_key: opened.key.as_str().to_owned(),
        user_id,
        account: opened.account.part().to_owned(),
        tokens_left: opened.left,
        group: opened.group,
        expires_at: opened.expires_at.unwrap_or_default(),
        created: opened.created,
        carried_over: opened.carried,
    }
}

/// Returns the name of the account of one of the app's users.
pub(super) fn account(tenant: &Tenant, user_id: &str) -> AccountName {
    AccountName::person(&PersonId::derive(tenant.id.as_str(), APP, "", user_id))
}

/// Reads the call and checks who it is for.
fn read(request: &Request<'_>, tenant: &Tenant) -> Result<api::Session, Refusal> {
    let call: api::Session = body(&request.body)?;
    let characters = call.user_id.chars().count();
    let most = api::Session::MAX_USER_ID_CHARS;
    if !(1..=most).contains(&characters) {
        let why = format!("userId must have 1 to {most} characters");
        return Err(Refusal::Bad(why));
    }
    if is_id(&call.user_id) {
        // Else an admin who names a user could mean either of two people.
        let why = "A user ID of this form is the name of an account";
        return Err(Refusal::Bad(why.to_owned()));
    }
    if let Some(group) = &call.group {
        people::group_of(tenant, group)?;
    }
    Ok(call)
}

fn no_group() -> Refusal {
    Refusal::Forbidden(format!(
        "The user has no account yet, and the tenant has no group {SIGNED_IN}: name a group"
    ))
}

fn unknown_temp() -> Refusal {
    Refusal::Bad("carryOver is no key".to_owned())
}
