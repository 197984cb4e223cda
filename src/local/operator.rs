//! The operator's own routes: tenants as a whole, and who may administer them.

use super::answer::{self, Answer, Refusal, json};
use super::{Local, Request, admin, credentials};
use crate::rules::config::Sealed;
use crate::rules::tenant::TenantId;
use crate::store::vault::Resealed;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

const SHORTEST_TOKEN: usize = 16;
/// Far below what a request's headers may be.
const LONGEST_TOKEN: usize = 1024;
const MOST_TOKENS: usize = 32;

fn id(text: &str) -> Result<TenantId, Refusal> {
    let rule = "A tenant ID has 1 to 63 letters, digits, _ or -, begins with a letter or digit, and \
                is not a route of the gateway";
    TenantId::parse(text).ok_or_else(|| Refusal::Bad(rule.to_owned()))
}

pub async fn list(local: &Local, request: &Request<'_>) -> Result<Answer, Refusal> {
    admin::authorize_operator(local, request)?;
    let tenants = local.store.tenants().await?;
    let ids: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
    Ok(json(200, &json!({"tenants": ids})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateCall<'a> {
    id: String,
    #[serde(borrow)]
    config: &'a RawValue,
}

pub async fn create(local: &Local, request: &Request<'_>) -> Result<Answer, Refusal> {
    admin::authorize_operator(local, request)?;
    let call: CreateCall<'_> = answer::body(&request.body)?;
    let id = id(&call.id)?;
    let config = admin::valid_config(local, &id, call.config)?;
    let vault = &local.tenants.vault;
    if !vault.seed(&*local.store, &id, config).await? {
        return Err(Refusal::Conflict(format!("There is a tenant {id} already")));
    }
    Ok(json(201, &json!({"id": id.as_str()})))
}

pub async fn read(local: &Local, request: &Request<'_>, tenant: &str) -> Result<Answer, Refusal> {
    admin::authorize_operator(local, request)?;
    admin::show(local, &id(tenant)?).await
}

pub async fn replace(
    local: &Local,
    request: &Request<'_>,
    tenant: &str,
) -> Result<Answer, Refusal> {
    admin::authorize_operator(local, request)?;
    let (existed, tag) = admin::put(local, request, &id(tenant)?).await?;
    let status = if existed { 200 } else { 201 };
    Ok(admin::tagged(json(status, &json!({"success": true})), &tag))
}

pub async fn delete(local: &Local, request: &Request<'_>, tenant: &str) -> Result<Answer, Refusal> {
    admin::authorize_operator(local, request)?;
    if !local.store.delete_tenant(&id(tenant)?).await? {
        return Err(Refusal::NotFound);
    }
    Ok(json(200, &json!({"success": true})))
}

/// Seals what is readable in a tenant's config, and what an old key has sealed, with the present one.
pub async fn seal(local: &Local, request: &Request<'_>, tenant: &str) -> Result<Answer, Refusal> {
    admin::authorize_operator(local, request)?;
    let id = id(tenant)?;
    let vault = &local.tenants.vault;
    if !vault.seals() {
        let why = "secrets.key is not set: there is nothing to seal with";
        return Err(Refusal::Conflict(why.to_owned()));
    }
    match vault.reseal(&*local.store, &id).await? {
        Resealed::NoTenant => Err(Refusal::NotFound),
        Resealed::Changing => Err(Refusal::Stale),
        Resealed::Faulty(faults) => Err(Refusal::Faulty(faults)),
        Resealed::Done(Sealed {
            fresh, again, kept, ..
        }) => {
            let told = json!({"id": id.as_str(), "sealed": fresh, "resealed": again, "kept": kept});
            Ok(json(200, &told))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensCall {
    tokens: Vec<String>,
}

/// In a header, as a word of its own, and so that every client writes the same bytes.
fn can_be_sent(token: &str) -> bool {
    (SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Sets a tenant's own admin tokens. Only their hashes are kept.
pub async fn appoint(
    local: &Local,
    request: &Request<'_>,
    tenant: &str,
) -> Result<Answer, Refusal> {
    admin::authorize_operator(local, request)?;
    let id = id(tenant)?;
    let call: TokensCall = answer::body(&request.body)?;
    if call.tokens.len() > MOST_TOKENS {
        return Err(Refusal::Bad(format!(
            "A tenant has at most {MOST_TOKENS} tokens"
        )));
    }
    if let Some(at) = call.tokens.iter().position(|token| !can_be_sent(token)) {
        return Err(Refusal::Bad(format!(
            "tokens.{at} must have {SHORTEST_TOKEN} to {LONGEST_TOKEN} visible ASCII characters, \
             without spaces"
        )));
    }
    if local.store.config(&id).await?.is_none() {
        return Err(Refusal::NotFound);
    }
    let hashes: Vec<String> = call
        .tokens
        .iter()
        .map(|token| credentials::hash(token))
        .collect();
    local.store.appoint_admins(&id, &hashes).await?;
    Ok(json(200, &json!({"success": true, "count": hashes.len()})))
}
