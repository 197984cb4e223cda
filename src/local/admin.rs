//! Tenant configs over HTTP (`/admin/config`), and authorization of admins and the operator.
//!
//! A config is returned verbatim as stored, with an `ETag`; `If-Match` makes a replacement conditional.

use super::answer::{self, Answer, Refusal, json};
use super::{Local, Request, credentials};
use crate::api::{self, TokenScope};
use crate::rules::config;
use crate::rules::tenant::TenantId;
use crate::store::tenants::version;
use crate::tables::Faults;
use crate::telemetry::fields::{About, Field};
use http::{HeaderValue, header};
use log::Level;
use serde_json::value::RawValue;

/// The author of a change: the operator or an admin of the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Operator,
    /// With one of the tenant's own admin tokens.
    TenantAdmin,
}

impl Actor {
    /// Logs a change that was made.
    pub fn log(
        self,
        request: &Request<'_>,
        about: About<'_>,
        more: &[Field<'_>],
        line: std::fmt::Arguments<'_>,
    ) {
        let by = match self {
            Actor::Operator => "operator",
            Actor::TenantAdmin => "tenant admin",
        };
        let address = request.address.to_string();
        let mut fields = vec![("by", by.into()), ("address", address.as_str().into())];
        fields.extend_from_slice(more);
        let about = About {
            request: Some(request.id),
            ..about
        };
        about.log(module_path!(), Level::Info, &fields, line);
    }

    /// Logs a change of a tenant.
    pub(crate) fn log_tenant(
        self,
        request: &Request<'_>,
        tenant: &TenantId,
        more: &[Field<'_>],
        line: std::fmt::Arguments<'_>,
    ) {
        let about = About {
            tenant: Some(tenant.as_str()),
            ..About::default()
        };
        self.log(request, about, more, line);
    }
}

/// Authorizes an admin of `tenant`: `admin.token` is valid for every tenant, a tenant's own token for that
/// tenant only.
pub(crate) async fn authorize(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Actor, Refusal> {
    authorize_scopes(local, request, tenant, &[TokenScope::Admin]).await
}

/// Authorizes an admin of `tenant`, or its backend with a token for sessions alone.
pub(crate) async fn authorize_sessions(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Actor, Refusal> {
    let scopes = [TokenScope::Admin, TokenScope::Sessions];
    authorize_scopes(local, request, tenant, &scopes).await
}

async fn authorize_scopes(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    scopes: &[TokenScope],
) -> Result<Actor, Refusal> {
    // Without a token of the operator the admin API is off, even for tenants' own tokens.
    if local.settings.admin.tokens().next().is_none() {
        return Err(Refusal::Unauthorized);
    }
    if let Ok(operator) = authorize_operator(local, request) {
        return Ok(operator);
    }
    let token = credentials::bearer(request.headers).ok_or(Refusal::Unauthorized)?;
    let hashes = local.store.admins(tenant).await?;
    let is_known = |scope: &TokenScope| credentials::is_hashed(token, *scope, &hashes);
    match scopes.iter().filter(|scope| is_known(scope)).count() {
        0 => Err(Refusal::Unauthorized),
        _ => Ok(Actor::TenantAdmin),
    }
}

/// Authorizes the operator: the bearer token must be one of [`Admin::tokens`](crate::settings::Admin::tokens).
pub(crate) fn authorize_operator(local: &Local, request: &Request<'_>) -> Result<Actor, Refusal> {
    let given = credentials::bearer(request.headers).ok_or(Refusal::Unauthorized)?;
    let tokens = local.settings.admin.tokens();
    // Compared with all of them: stopping at a match would reveal its position.
    let is_one = tokens.fold(false, |found, token| {
        found | credentials::is_token(given, token.expose())
    });
    is_one
        .then_some(Actor::Operator)
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
    let by = authorize(local, request, tenant).await?;
    let put = put(local, request, tenant, by).await?;
    Ok(put.answer(200))
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

/// A config that was replaced.
pub(crate) struct Replaced {
    /// Whether there was one before.
    pub existed: bool,
    tag: String,
    warnings: Vec<api::ConfigFault>,
}

impl Replaced {
    pub(crate) fn answer(self, status: u16) -> Answer {
        let stored = api::ConfigStored {
            success: true,
            warnings: self.warnings,
        };
        tagged(json(status, &stored), &self.tag)
    }
}

/// Validates the config in a body. Returns its text unchanged, with warnings.
pub(crate) fn valid_config<'a>(
    local: &Local,
    tenant: &TenantId,
    config: &'a RawValue,
) -> Result<(&'a str, Vec<api::ConfigFault>), Refusal> {
    let refused = |faults: Faults| Refusal::InvalidConfig(faults.0);
    let secrets = &local.tenants.secrets;
    let checked = secrets.check_text(tenant, config.get());
    let (read, mut warnings) = checked.map_err(refused)?;
    let sealed = secrets.check_sealed(tenant, config.get());
    sealed.map_err(refused)?;
    let allows_private = local.settings.egress.allow_private_networks;
    warnings.extend(config::doubts(&read, allows_private));
    let warnings = warnings.into_iter().map(api::ConfigFault::of).collect();
    Ok((config.get(), warnings))
}

/// Replaces the whole config if it matches `If-Match` (else 412).
pub(crate) async fn put(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    by: Actor,
) -> Result<Replaced, Refusal> {
    let call: api::Config<&RawValue> = answer::body(&request.body)?;
    let (config, warnings) = valid_config(local, tenant, call.config)?;
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
    let from = stored.as_deref().map_or_else(|| "none".to_owned(), version);
    let to = version(&now);
    by.log_tenant(
        request,
        tenant,
        &[("from", from.as_str().into()), ("to", to.as_str().into())],
        format_args!("The config of {tenant} was replaced: version {from} by {to}"),
    );
    Ok(Replaced {
        existed: stored.is_some(),
        tag: etag(&now),
        warnings,
    })
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
