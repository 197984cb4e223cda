//! The operator's routes below `/admin/tenants`: list, create, read, replace, delete, admin tokens, seal.
//!
//! Every handler requires `admin.token`.

use super::answer::{self, Answer, Refusal, json};
use super::tokens::{self, StoredToken};
use super::{Local, Request, accounts, admin};
use crate::api::{self, MAX_TOKEN_BYTES, MIN_TOKEN_BYTES};
use crate::rules::config::Sealed;
use crate::rules::tenant::TenantId;
use crate::store::config_secrets::Resealed;
use serde_json::value::RawValue;

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
    let tenants = local.store.tenants().await?;
    let tenants = tenants.iter().map(shown).collect();
    Ok(json(200, &api::Tenants { tenants }))
}

/// Serves `POST /admin/tenants`; 409 if the tenant exists.
pub async fn create(local: &Local, request: &Request<'_>) -> Result<Answer, Refusal> {
    let by = admin::authorize_operator(local, request)?;
    let call: api::NewTenant<&RawValue> = answer::body(&request.body)?;
    let id = id(&call.id.0)?;
    let config = admin::unmasked(local, &id, call.config.get(), None)?;
    let warnings = admin::valid_config(local, &id, &config)?;
    let secrets = &local.tenants.secrets;
    if !secrets.seed(&*local.store, &id, &config).await? {
        return Err(Refusal::Conflict(format!("There is a tenant {id} already")));
    }
    by.log_tenant(request, &id, &[], format_args!("Tenant {id} was created"));
    let created = api::TenantCreated {
        id: shown(&id),
        warnings,
    };
    Ok(json(201, &created))
}

/// Serves `GET /admin/tenants/{id}`.
pub async fn read(local: &Local, request: &Request<'_>, tenant: &str) -> Result<Answer, Refusal> {
    let by = admin::authorize_operator(local, request)?;
    admin::show(local, request, &id(tenant)?, &by).await
}

/// Serves `PUT /admin/tenants/{id}`; 201 if the tenant is new.
pub async fn replace(
    local: &Local,
    request: &Request<'_>,
    tenant: &str,
) -> Result<Answer, Refusal> {
    let by = admin::authorize_operator(local, request)?;
    let put = admin::put(local, request, &id(tenant)?, by).await?;
    let status = if put.existed { 200 } else { 201 };
    Ok(put.answer(status))
}

/// Serves `DELETE /admin/tenants/{id}`.
pub async fn delete(local: &Local, request: &Request<'_>, tenant: &str) -> Result<Answer, Refusal> {
    let by = admin::authorize_operator(local, request)?;
    let id = id(tenant)?;
    if !local.store.delete_tenant(&id).await? {
        return Err(Refusal::NotFound);
    }
    by.log_tenant(request, &id, &[], format_args!("Tenant {id} was deleted"));
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
    match secrets.reseal(&*local.store, &id).await? {
        Resealed::NoTenant => Err(Refusal::NotFound),
        Resealed::Changing => Err(Refusal::PreconditionFailed),
        Resealed::Faulty(faults) => Err(Refusal::InvalidConfig(faults.0)),
        Resealed::Done(Sealed {
            fresh, again, kept, ..
        }) => {
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
    }
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
    local
        .store
        .set_admin_tokens(&id, &tokens::texts(&set))
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
