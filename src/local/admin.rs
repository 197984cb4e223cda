//! Tenant configs over HTTP (`/admin/config`), and authorization of admins and the operator.
//!
//! A config is returned verbatim as stored, with an `ETag`; `If-Match` makes a replacement conditional.

use super::answer::{self, Answer, Refusal, json};
use super::{Local, Request, credentials};
use crate::api;
use crate::rules::tenant::TenantId;
use http::{HeaderValue, header};
use serde_json::value::RawValue;

/// Authorizes an admin of `tenant`: `admin.token` is valid for every tenant, a tenant's own token for that
/// tenant only.
pub(crate) async fn authorize(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<(), Refusal> {
    // Without `admin.token` the admin API is off, even for tenants' own tokens.
    if local.settings.admin.token.is_none() {
        return Err(Refusal::Unauthorized);
    }
    if authorize_operator(local, request).is_ok() {
        return Ok(());
    }
    let token = credentials::bearer(request.headers).ok_or(Refusal::Unauthorized)?;
    let hashes = local.store.admins(tenant).await?;
    credentials::is_hashed(token, &hashes)
        .then_some(())
        .ok_or(Refusal::Unauthorized)
}

/// Authorizes the operator: the bearer token must equal `admin.token`.
pub(crate) fn authorize_operator(local: &Local, request: &Request<'_>) -> Result<(), Refusal> {
    let expected = local
        .settings
        .admin
        .token
        .as_ref()
        .ok_or(Refusal::Unauthorized)?;
    let given = credentials::bearer(request.headers).ok_or(Refusal::Unauthorized)?;
    credentials::is_token(given, expected.expose())
        .then_some(())
        .ok_or(Refusal::Unauthorized)
}

/// Serves `GET /admin/config`.
pub async fn read(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Answer, Refusal> {
    authorize(local, request, tenant).await?;
    show(local, tenant).await
}

/// Serves `PUT /admin/config`.
pub async fn replace(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Answer, Refusal> {
    authorize(local, request, tenant).await?;
    let (_, tag) = put(local, request, tenant).await?;
    Ok(tagged(json(200, &api::Success::DONE), &tag))
}

/// Sets the `ETag` header.
pub fn tagged(mut answer: Answer, tag: &str) -> Answer {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

/// Returns the stored config as `{"config": ...}`, verbatim: sealed secrets stay sealed.
pub async fn show(local: &Local, tenant: &TenantId) -> Result<Answer, Refusal> {
    let stored = local.store.config(tenant).await?.ok_or(Refusal::NotFound)?;
    let tag = etag(&stored);
    let answer = match serde_json::from_str::<&RawValue>(&stored) {
        Ok(config) => json(200, &api::Config { config }),
        // Another program may have stored text that is not JSON; it is returned as a JSON string.
        Err(_) => json(200, &api::Config { config: &*stored }),
    };
    Ok(tagged(answer, &tag))
}

/// Returns the `ETag` of a stored config: 128 bits of its SHA-256, quoted.
fn etag(stored: &str) -> String {
    format!("\"{}\"", &credentials::hash(stored)[..32])
}

/// Validates the config in a body and returns its text unchanged.
pub(crate) fn valid_config<'a>(
    local: &Local,
    tenant: &TenantId,
    config: &'a RawValue,
) -> Result<&'a str, Refusal> {
    let read = local.tenants.secrets.read(tenant, config.get());
    read.map_err(Refusal::InvalidConfig)?;
    Ok(config.get())
}

/// Replaces the whole config if it matches `If-Match` (else 412). Returns whether there was one before, and
/// the new `ETag`.
pub async fn put(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<(bool, String), Refusal> {
    let call: api::Config<&RawValue> = answer::body(&request.body)?;
    let config = valid_config(local, tenant, call.config)?;
    let stored = local.store.config(tenant).await?;
    let expected = match request.headers.get(header::IF_MATCH) {
        None => None,
        Some(tags) => {
            let stored = stored.as_deref().ok_or(Refusal::PreconditionFailed)?;
            if !matches(tags, stored) {
                return Err(Refusal::PreconditionFailed);
            }
            Some(stored)
        }
    };
    let secrets = &local.tenants.secrets;
    let put = secrets.replace(&*local.store, tenant, expected, config);
    let now = put.await?.ok_or(Refusal::PreconditionFailed)?;
    Ok((stored.is_some(), etag(&now)))
}

/// Whether an `If-Match` header lists the tag of `stored`, or is `*`.
fn matches(tags: &HeaderValue, stored: &str) -> bool {
    let tag = etag(stored);
    let listed = |tags: &str| {
        tags.split(',')
            .any(|listed| matches!(listed.trim(), "*") || listed.trim() == tag)
    };
    tags.to_str().is_ok_and(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_has_one_tag_and_only_that_matches() {
        let tag = etag("{\"a\":1}");
        assert_eq!(tag.len(), 34);
        assert_ne!(tag, etag("{\"a\": 1}"));
        let matches = |tags: &str| matches(&HeaderValue::from_str(tags).unwrap(), "{\"a\":1}");
        assert!(matches(&tag));
        assert!(matches(&format!("\"x\", {tag}")));
        assert!(matches("*"));
        assert!(!matches("\"x\""));
        assert!(!matches(""));
    }
}
