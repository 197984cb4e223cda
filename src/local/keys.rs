//! A person's own keys below `/auth/keys`: listed, made, rolled, revoked, with a key that may manage its account.

use super::accounts::{checked_tokens, is_key_life};
use super::answer::{self, Answer, Refusal, json};
use super::people::{self, KeyBounds, Opening};
use super::{Local, Request, caller};
use crate::api;
use crate::rules::amount::{Millis, Tokens};
use crate::rules::date::rfc3339;
use crate::rules::issued_key::{IssuedKey, KeyId, KeySource};
use crate::rules::{model_name, neighbours};
use crate::store::people as store_people;
use crate::store::tenants::Tenant;
use crate::store::{Found, ListedKey};
use crate::tables::duration;

/// Reads the life of a key, such as `15m`.
pub(super) fn life(text: Option<&str>) -> Result<Option<Millis>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let life = duration(text).map(Millis::from);
    let life = life.filter(|life| is_key_life(*life));
    let wrong =
        || Refusal::Bad("ttl must be a time such as 15m or 30d, ten years at most".to_owned());
    life.map(Some).ok_or_else(wrong)
}

/// Checks a list of models as a key has it.
pub(super) fn models(models: Option<Vec<String>>) -> Result<Option<Vec<String>>, Refusal> {
    let most = api::NewOwnKey::MAX_MODELS;
    let Some(models) = models else {
        return Ok(None);
    };
    if models.is_empty() || models.len() > most {
        return Err(Refusal::Bad(format!("models must name 1 to {most} models")));
    }
    for (at, model) in models.iter().enumerate() {
        model_name::check(model).map_err(|why| Refusal::Bad(format!("models.{at} {why}")))?;
    }
    Ok(Some(models))
}

fn addresses(addresses: Option<Vec<String>>) -> Result<Option<Vec<String>>, Refusal> {
    let most = api::NewOwnKey::MAX_ADDRESSES;
    let Some(addresses) = addresses else {
        return Ok(None);
    };
    if addresses.is_empty() || addresses.len() > most {
        return Err(Refusal::Bad(format!(
            "allowedAddresses must name 1 to {most} addresses"
        )));
    }
    if let Some(at) = addresses
        .iter()
        .position(|text| neighbours::parse(text).is_none())
    {
        return Err(Refusal::Bad(format!(
            "allowedAddresses.{at} must be an IP address or a block such as 10.0.0.0/8"
        )));
    }
    Ok(Some(addresses))
}

/// Serves `GET /auth/keys`.
pub(super) async fn list(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let (key, found) = caller::manager(local, request, tenant).await?;
    let keys = local.store.keys(&found.account).await?;
    let keys = all_shown(keys.ok_or(Refusal::UnknownKey)?, Some(key.id()));
    Ok(json(200, &api::OwnKeys { keys }))
}

/// Returns keys as lists show them, newest first. `current`: the key of this request.
pub(super) fn all_shown(mut keys: Vec<ListedKey>, current: Option<KeyId>) -> Vec<api::ListedKey> {
    keys.sort_by_key(|listed| std::cmp::Reverse((listed.key.created, listed.id)));
    let shown = |listed| shown(listed, current);
    keys.into_iter().map(shown).collect()
}

fn shown(listed: ListedKey, current: Option<KeyId>) -> api::ListedKey {
    let ListedKey { id, key, spent } = listed;
    let source = match key.source {
        KeySource::SignIn => "signIn",
        KeySource::Session => "session",
        KeySource::Made => "made",
    };
    let day = |day: u64| rfc3339(Millis(day * Millis::DAY.0))[..10].to_owned();
    api::ListedKey {
        id: id.to_string(),
        start: key.start,
        name: key.name,
        source: source.to_owned(),
        created_at: rfc3339(key.created),
        last_used: key.used.map(day),
        expires_at: key.expires.map(rfc3339),
        models: key.models,
        allowed_addresses: key.addresses,
        tokens_max: key.tokens_max,
        tokens_spent: key.tokens_max.map(|_| spent),
        current: Some(id) == current,
    }
}

/// Serves `POST /auth/keys`.
pub(super) async fn make(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let (_, found) = caller::manager(local, request, tenant).await?;
    let call: api::NewOwnKey = answer::body(&request.body)?;
    let most = api::NewOwnKey::MAX_NAME_CHARS;
    let name = call.name.as_deref().unwrap_or_default();
    if name.chars().count() > most || name.chars().any(char::is_control) {
        return Err(Refusal::Bad(format!(
            "name must have at most {most} characters, without control characters"
        )));
    }
    let bounds = KeyBounds {
        name: call.name,
        life: life(call.ttl.as_deref())?,
        models: models(call.models)?,
        addresses: addresses(call.allowed_addresses)?,
        tokens_max: call
            .tokens_max
            .map(|most| checked_tokens("tokensMax", most))
            .transpose()?,
    };
    let key = issue(local, tenant, &found, KeySource::Made, bounds).await?;
    Ok(json(201, &key))
}

async fn issue(
    local: &Local,
    tenant: &Tenant,
    found: &Found,
    source: KeySource,
    bounds: KeyBounds,
) -> Result<api::OwnKey, Refusal> {
    let name = bounds.name.clone();
    let opening = Opening {
        account: found.account.clone(),
        user_id: found.account.part(),
        group: None,
        source,
        bounds,
        token: None,
        temp: None,
        apple: None,
    };
    let opened = people::open(local, tenant, opening).await?;
    Ok(api::OwnKey {
        id: opened.key.id().to_string(),
        api_key: opened.key.as_str().to_owned(),
        name,
        expires_at: opened.expires_at,
    })
}

/// Serves `POST /auth/keys/{id}/roll`: a new key in place of an old one, with the same bounds and what is left of them.
pub(super) async fn roll(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    id: &str,
) -> Result<Answer, Refusal> {
    let (_, found) = caller::manager(local, request, tenant).await?;
    let id = KeyId::parse(id).ok_or(Refusal::NotFound)?;
    let key = rolled(local, tenant, &found, id).await?;
    Ok(json(201, &key))
}

/// Ends a key of a person's account, and makes another one of the same bounds.
pub(super) async fn rolled(
    local: &Local,
    tenant: &Tenant,
    found: &Found,
    id: KeyId,
) -> Result<api::OwnKey, Refusal> {
    // The old key ends first: what both would spend together could be more than its bound.
    let (key, spent) = end(local, tenant, found, id).await?;
    let now = super::accounts::now();
    let bounds = KeyBounds {
        name: key.name,
        life: key.expires.map(|expires| expires.minus(now).max(Millis(1))),
        models: key.models,
        addresses: key.addresses,
        tokens_max: key.tokens_max.map(|most| most.minus(spent)),
    };
    issue(local, tenant, found, key.source, bounds).await
}

async fn end(
    local: &Local,
    tenant: &Tenant,
    found: &Found,
    id: KeyId,
) -> Result<(IssuedKey, Tokens), Refusal> {
    let ended = store_people::end_key(&*local.store, &tenant.id, &found.account, id).await?;
    let ended = ended.ok_or(Refusal::NotFound)?;
    local.revocations.announce(&[id]).await?;
    Ok(ended)
}

/// Serves `DELETE /auth/keys/{id}`.
pub(super) async fn revoke(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    id: &str,
) -> Result<Answer, Refusal> {
    let (_, found) = caller::manager(local, request, tenant).await?;
    let id = KeyId::parse(id).ok_or(Refusal::NotFound)?;
    end(local, tenant, &found, id).await?;
    Ok(json(200, &api::Success::DONE))
}
