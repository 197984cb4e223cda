//! Routes that manage a tenant's own admin tokens: `GET` and `POST /admin/tokens`, `DELETE /admin/tokens/{name}`.
//!
//! The stored list is replaced only if it is still the one that was read, so of changes at the same time none is lost.

use super::admin::{self, Right};
use super::answer::{self, Answer, Refusal, json};
use super::audit::{ChangeNote, audited};
use super::tokens::{self, StoredToken};
use super::{Local, Request, accounts};
use crate::api;
use crate::rules::tenant::TenantId;
use crate::store::Put;
use crate::store::name::TenantText;

/// Most tries to change the list while others change it.
const MAX_TRIES: usize = 5;
/// Beginning of tokens that the gateway makes, as `temp_` is of keys.
const PREFIX: &str = "adm_";

/// Changes the list of a tenant's tokens until nobody else was quicker.
pub(super) async fn edit<T>(
    local: &Local,
    tenant: &TenantId,
    edit: impl Fn(&mut Vec<StoredToken>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    for _ in 0..MAX_TRIES {
        let (mut list, before) = tokens::stored(local, tenant).await?;
        let outcome = edit(&mut list)?;
        let (which, after) = (TenantText::AdminTokens, tokens::text(&list));
        let store = &local.store;
        let put = store.replace_tenant_text(tenant, which, before.as_deref(), &after);
        if put.await? == Put::Done {
            return Ok(outcome);
        }
    }
    let why = "The tokens are being changed by others; try again";
    Err(Refusal::Conflict(why.to_owned()))
}

/// Serves `GET /admin/tokens`.
pub(super) async fn list(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, tenant, Right::Manage).await?;
    let (mut list, _) = tokens::stored(local, tenant).await?;
    list.sort_by(|one, other| one.name.cmp(&other.name));
    let tokens = list.iter().map(StoredToken::shown).collect();
    Ok(json(200, &api::TokenList { tokens }))
}

/// Serves `POST /admin/tokens`. The token is drawn here and shown once.
pub(super) async fn make(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, tenant, Right::Manage).await?;
    let call: api::NewToken = answer::body(&request.body)?;
    let random = || uuid::Uuid::new_v4().simple().to_string();
    let token = format!("{PREFIX}{}{}", random(), random());
    let new = StoredToken::new(
        &token,
        call.scope,
        Some(&call.name),
        (by.name(), accounts::now()),
    );
    let note = || ChangeNote::new("token.made").of("token", call.name.as_str());
    let note = || note().after("scope", call.scope.word());
    let making = async {
        let add = |list: &mut Vec<StoredToken>| {
            list.push(new.clone());
            tokens::check(list)
        };
        edit(local, tenant, add).await?;
        Ok(((), note()))
    };
    audited(local, request, &by, tenant, note(), making).await?;
    let fields = [
        ("name", call.name.as_str().into()),
        ("scope", call.scope.word().into()),
    ];
    let line = format_args!("An admin token was made for {tenant}");
    by.log_tenant(request, tenant, &fields, line);
    let made = api::MadeToken {
        name: call.name,
        scope: call.scope,
        token,
    };
    Ok(json(201, &made))
}

/// Serves `DELETE /admin/tokens/{name}`.
pub(super) async fn remove(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    name: &str,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, tenant, Right::Manage).await?;
    // A name of another form is of no token, and might be a secret.
    if !tokens::is_name(name) {
        return Err(Refusal::NotFound);
    }
    let note = || ChangeNote::new("token.deleted").of("token", name);
    let making = async {
        let remove = |list: &mut Vec<StoredToken>| {
            let at = list.iter().position(|token| token.name == name);
            Ok(list.remove(at.ok_or(Refusal::NotFound)?))
        };
        let removed = edit(local, tenant, remove).await?;
        Ok(((), note().before("scope", removed.scope.word())))
    };
    audited(local, request, &by, tenant, note(), making).await?;
    let line = format_args!("An admin token of {tenant} was deleted");
    by.log_tenant(request, tenant, &[("name", name.into())], line);
    Ok(json(200, &api::Success::DONE))
}
