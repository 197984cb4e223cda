//! The operator's routes below `/admin/tenants`: list, create, read, replace, delete, admin tokens, seal.
//!
//! Every handler requires `admin.token`.

use super::answer::{self, Answer, Refusal, json};
use super::audit::{ChangeNote, audited};
use super::audit_list::{TENANT_CREATED, TENANT_DELETED};
use super::configs::View;
use super::tokens::{self, StoredToken};
use super::{Local, Request, accounts, admin, configs, token_routes, usage};
use crate::api::{self, MAX_TOKEN_BYTES, MIN_TOKEN_BYTES};
use crate::rules::config::Sealed;
use crate::rules::tenant::TenantId;
use crate::store::config_history;
use crate::store::config_secrets::Resealed;
use crate::store::listed::List;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Parses a tenant ID, or returns a 400.
fn id(text: &str) -> Result<TenantId, Refusal> {
    let rule = "A tenant ID has 1 to 63 letters, digits, _ or -, begins with a letter or digit, and \
                is not a route of the gateway";
    TenantId::parse(text).ok_or_else(|| Refusal::Bad(rule.to_owned()))
}

/// Returns a tenant's ID as answers have it.
fn shown(id: &TenantId) -> api::TenantId {
    api::TenantId(id.as_str().to_owned())
}

/// Serves `GET /admin/tenants`.
pub async fn list(local: &Local, request: &Request<'_>) -> Result<Answer, Refusal> {
    admin::authorize_operator(local, request)?;
    let has_totals = match request.query {
        "" | "totals=false" => false,
        "totals=true" => true,
        _ => {
            let why = "The only parameter here is totals: true or false";
            return Err(Refusal::Bad(why.to_owned()));
        }
    };
    let ids = local.store.tenants().await?;
    let mut totals = Vec::new();
    for id in ids.iter().filter(|_| has_totals) {
        let (usage, incomplete) = usage::total(local, id).await?;
        totals.push(api::TenantTotals {
            id: shown(id),
            keys: local.store.count_listed(id, List::Keys).await?,
            users: local.store.count_listed(id, List::Users).await?,
            usage,
            incomplete,
        });
    }
    let answer = api::Tenants {
        tenants: ids.iter().map(shown).collect(),
        totals: has_totals.then_some(totals),
    };
    Ok(json(200, &answer))
}

/// Serves `POST /admin/tenants`; 409 if the tenant exists.
pub async fn create(local: &Local, request: &Request<'_>) -> Result<Answer, Refusal> {
    let by = admin::authorize_operator(local, request)?;
    let call: api::NewTenant<&RawValue> = answer::body(&request.body)?;
    let id = id(&call.id.0)?;
    let (config, warnings) = configs::valid_config(local, &id, call.config.get())?;
    let (store, secrets) = (&*local.store, &local.tenants.secrets);
    let change = ChangeNote::new(TENANT_CREATED);
    let making = async {
        let Some(stored) = secrets.seed_sealed(store, &id, &config).await? else {
            return Err(Refusal::Conflict(format!("There is a tenant {id} already")));
        };
        let key = secrets.mask_key(store, &id).await?;
        let told = secrets.changes(&id, &key, ["", &stored]);
        by.log_tenant(request, &id, &[], format_args!("Tenant {id} was created"));
        Ok(((), ChangeNote::new(TENANT_CREATED).fields(told)))
    };
    audited(local, request, &by, &id, change, making).await?;
    let created = api::TenantCreated {
        id: shown(&id),
        warnings,
    };
    Ok(json(201, &created))
}

/// Serves `GET /admin/tenants/{id}`.
pub async fn read(local: &Local, request: &Request<'_>, tenant: &str) -> Result<Answer, Refusal> {
    admin::authorize_operator(local, request)?;
    let wanted = configs::wanted(request.query)?;
    let view = if wanted.redact {
        View::Masked
    } else {
        View::Whole
    };
    configs::show(local, &id(tenant)?, view).await
}

/// Serves `PUT /admin/tenants/{id}`; 201 if the tenant is new.
pub async fn replace(
    local: &Local,
    request: &Request<'_>,
    tenant: &str,
) -> Result<Answer, Refusal> {
    let by = admin::authorize_operator(local, request)?;
    let put = configs::put(local, request, &id(tenant)?, &by).await?;
    let status = if put.existed { 200 } else { 201 };
    Ok(put.answer(status))
}

/// Serves `DELETE /admin/tenants/{id}`.
pub async fn delete(local: &Local, request: &Request<'_>, tenant: &str) -> Result<Answer, Refusal> {
    let by = admin::authorize_operator(local, request)?;
    let id = id(tenant)?;
    let change = ChangeNote::new(TENANT_DELETED);
    let making = async {
        if !local.store.delete_tenant(&id).await? {
            return Err(Refusal::NotFound);
        }
        by.log_tenant(request, &id, &[], format_args!("Tenant {id} was deleted"));
        Ok(((), ChangeNote::new(TENANT_DELETED)))
    };
    audited(local, request, &by, &id, change, making).await?;
    Ok(json(200, &api::Success::DONE))
}

/// Serves `POST /admin/tenants/{id}/seal`: encrypts plaintext secrets of the config with `secrets.key`, and
/// re-encrypts those sealed with one of `secrets.old_keys`.
pub async fn seal(local: &Local, request: &Request<'_>, tenant: &str) -> Result<Answer, Refusal> {
    let by = admin::authorize_operator(local, request)?;
    let id = id(tenant)?;
    let secrets = &local.tenants.secrets;
    if !secrets.seals() {
        let why = "secrets.key is not set: there is nothing to seal with";
        return Err(Refusal::Conflict(why.to_owned()));
    }
    let change = ChangeNote::new("config.sealed");
    let making = async {
        match secrets.reseal(&*local.store, &id).await? {
            Resealed::NoTenant => Err(Refusal::NotFound),
            Resealed::Changing => Err(Refusal::PreconditionFailed),
            Resealed::Faulty(faults) => Err(Refusal::InvalidConfig(faults.0)),
            Resealed::Done(sealed) => {
                // Else what was replaced could not be restored once an old key is gone.
                config_history::reseal(&*local.store, secrets, &id).await?;
                let change = ChangeNote::new("config.sealed");
                let change = change.after("sealed", sealed.fresh);
                let change = change.after("resealed", sealed.again);
                Ok((sealed, change))
            }
        }
    };
    let sealed = audited(local, request, &by, &id, change, making).await?;
    let Sealed {
        fresh, again, kept, ..
    } = sealed;
    let more = [("sealed", fresh.into()), ("resealed", again.into())];
    let line = format_args!("Secrets of {id} were sealed: {fresh} new, {again} again");
    by.log_tenant(request, &id, &more, line);
    let told = api::TenantSealed {
        id: shown(&id),
        sealed: fresh,
        resealed: again,
        kept,
    };
    Ok(json(200, &told))
}

/// Whether a token can be sent in a header as one word, with the same bytes from every client (visible
/// ASCII).
fn is_valid_token(token: &str) -> bool {
    (MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Serves `PUT /admin/tenants/{id}/tokens`: replaces the tenant's admin tokens. Only their hashes are stored.
pub(crate) async fn set_tokens(
    local: &Local,
    request: &Request<'_>,
    tenant: &str,
) -> Result<Answer, Refusal> {
    let by = admin::authorize_operator(local, request)?;
    let id = id(tenant)?;
    let call: api::AdminTokens = answer::body(&request.body)?;
    if let Some(at) = call
        .tokens
        .iter()
        .position(|token| !is_valid_token(token.parts().0))
    {
        return Err(Refusal::Bad(format!(
            "tokens.{at} must have {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} visible ASCII characters, \
             without spaces"
        )));
    }
    if local.store.config(&id).await?.is_none() {
        return Err(Refusal::NotFound);
    }
    let now = accounts::now();
    let set: Vec<StoredToken> = call
        .tokens
        .iter()
        .map(|token| {
            let (token, scope, name) = token.parts();
            StoredToken::new(token, scope, name, (by.name(), now))
        })
        .collect();
    tokens::check(&set)?;
    let making = async {
        let replace = |list: &mut Vec<StoredToken>| Ok(std::mem::replace(list, set.clone()));
        let before = token_routes::edit(local, &id, replace).await?;
        let note = ChangeNote::new("tokens.set").before("tokens", names(&before));
        Ok(((), note.after("tokens", names(&set))))
    };
    audited(
        local,
        request,
        &by,
        &id,
        ChangeNote::new("tokens.set"),
        making,
    )
    .await?;
    let count = set.len();
    by.log_tenant(
        request,
        &id,
        &[("count", count.into())],
        format_args!("The admin tokens of {id} were replaced: there are {count} now"),
    );
    let told = api::TokensSet {
        success: true,
        count,
    };
    Ok(json(200, &told))
}

/// Returns the scopes of tokens by their names.
fn names(list: &[StoredToken]) -> Map<String, Value> {
    list.iter()
        .map(|token| (token.name.clone(), token.scope.word().into()))
        .collect()
}
