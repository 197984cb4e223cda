//! Tenant configs over HTTP (`/admin/config`), and authorization of admins and the operator.
//!
//! A config is returned verbatim as stored, with an `ETag`; `If-Match` makes a replacement conditional.

use super::answer::{self, Answer, Refusal, json};
use super::{Local, Request, credentials, tokens};
use crate::api::{self, TokenScope};
use crate::rules::config;
use crate::rules::tenant::TenantId;
use crate::store::tenants::version;
use crate::tables::Faults;
use crate::telemetry::fields::{About, Field};
use http::{HeaderValue, header};
use log::Level;
use serde_json::value::RawValue;

/// The author of a change: the operator, or whoever has one of the tenant's own tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Operator,
    /// With the token of this `name`.
    Token {
        name: String,
        scope: TokenScope,
    },
}

/// Something that an admin route lets its caller do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Look at everything but secrets.
    Look,
    /// Change a balance.
    Credit,
    /// Change everything of the tenant, and see its config as it is stored.
    Manage,
    /// Open sessions for the app's users.
    OpenSessions,
}

impl Right {
    /// Returns the scopes of tokens that have it.
    fn scopes(self) -> &'static [TokenScope] {
        match self {
            Right::Look => &[TokenScope::Admin, TokenScope::Support, TokenScope::Read],
            Right::Credit => &[TokenScope::Admin, TokenScope::Support],
            Right::Manage => &[TokenScope::Admin],
            Right::OpenSessions => &[TokenScope::Admin, TokenScope::Sessions],
        }
    }
}

impl Actor {
    /// Returns the name by which logs and ledgers tell of it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Actor::Operator => "operator",
            Actor::Token { name, .. } => name,
        }
    }

    /// Whether it has a right at the tenant that it was authorized for.
    pub(crate) fn may(&self, right: Right) -> bool {
        match self {
            Actor::Operator => true,
            Actor::Token { scope, .. } => right.scopes().contains(scope),
        }
    }

    /// Logs a change that was made.
    pub fn log(
        &self,
        request: &Request<'_>,
        about: About<'_>,
        more: &[Field<'_>],
        line: std::fmt::Arguments<'_>,
    ) {
        let by = self.name();
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
        &self,
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

/// Authorizes an admin of `tenant`: `admin.token` is valid for every tenant, a tenant's own token for that tenant and
/// its scope only.
pub(crate) async fn authorize(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    right: Right,
) -> Result<Actor, Refusal> {
    // Without a token of the operator the admin API is off, even for tenants' own tokens.
    if local.settings.admin.tokens().next().is_none() {
        return Err(Refusal::Unauthorized);
    }
    if let Ok(operator) = authorize_operator(local, request) {
        return Ok(operator);
    }
    let given = credentials::bearer(request.headers).ok_or(Refusal::Unauthorized)?;
    let stored = tokens::parse(&local.store.admins(tenant).await?);
    let token = tokens::find(given, &stored).ok_or(Refusal::Unauthorized)?;
    let actor = Actor::Token {
        name: token.name.clone(),
        scope: token.scope,
    };
    match actor.may(right) {
        true => Ok(actor),
        false => Err(out_of_scope(token.scope, right)),
    }
}

/// Returns the refusal of a token that is known and not of the scope that is needed.
fn out_of_scope(scope: TokenScope, right: Right) -> Refusal {
    let scopes: Vec<String> = right
        .scopes()
        .iter()
        .map(|scope| format!("`{}`", scope.word()))
        .collect();
    Refusal::Forbidden(format!(
        "This needs an admin token of scope {}; this one's scope is `{}`",
        scopes.join(" or "),
        scope.word()
    ))
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

/// Serves `GET /admin/config`. Who may not manage the tenant sees masks in place of its secrets.
pub async fn read(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Answer, Refusal> {
    let by = authorize(local, request, tenant, Right::Look).await?;
    show(local, request, tenant, &by).await
}

/// Serves `PUT /admin/config`.
pub async fn replace(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Answer, Refusal> {
    let by = authorize(local, request, tenant, Right::Manage).await?;
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

/// Returns the stored config as `{"config": ...}`: verbatim, sealed secrets as they are, or with masks.
pub(crate) async fn show(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    by: &Actor,
) -> Result<Answer, Refusal> {
    let redacts = redacts(request.query)? || !by.may(Right::Manage);
    let stored = local.store.config(tenant).await?.ok_or(Refusal::NotFound)?;
    let tag = etag(&stored);
    let is_json = serde_json::from_str::<&RawValue>(&stored).is_ok();
    let key = local.settings.secrets.mask_key(&local.settings.admin);
    let shown = match (is_json, redacts) {
        (true, true) => local.tenants.secrets.masked(tenant, &stored, &key),
        // Another program may have stored text that is not JSON, with who knows what in it.
        (false, true) => String::new(),
        (_, false) => stored.to_string(),
    };
    let answer = match serde_json::from_str::<&RawValue>(&shown) {
        Ok(config) => json(200, &api::Config { config }),
        // What is not JSON is returned as a JSON string.
        Err(_) => json(200, &api::Config { config: &*shown }),
    };
    Ok(tagged(answer, &tag))
}

/// Whether the query asks for masks. Other parameters are refused.
fn redacts(query: &str) -> Result<bool, Refusal> {
    match query {
        "" | "redact=false" => Ok(false),
        "redact=true" => Ok(true),
        _ => {
            let why = "The only parameter here is redact: true or false";
            Err(Refusal::Bad(why.to_owned()))
        }
    }
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

/// Validates a new config. Returns it with warnings.
pub(crate) fn valid_config(
    local: &Local,
    tenant: &TenantId,
    config: &str,
) -> Result<Vec<api::ConfigFault>, Refusal> {
    let refused = |faults: Faults| Refusal::InvalidConfig(faults.0);
    let secrets = &local.tenants.secrets;
    let (read, mut warnings) = secrets.check_text(tenant, config).map_err(refused)?;
    secrets.check_sealed(tenant, config).map_err(refused)?;
    let allows_private = local.settings.egress.allow_private_networks;
    warnings.extend(config::doubts(&read, allows_private));
    Ok(warnings.into_iter().map(api::ConfigFault::of).collect())
}

/// Returns a new config with the secrets that its masks stand for. A mask or a sealed text stands for a secret of the
/// stored config, and is sent nowhere else.
pub(crate) fn unmasked(
    local: &Local,
    tenant: &TenantId,
    config: &str,
    stored: Option<&str>,
) -> Result<String, Refusal> {
    let key = local.settings.secrets.mask_key(&local.settings.admin);
    let stored: Vec<&str> = stored.into_iter().collect();
    let secrets = &local.tenants.secrets;
    let unmasked = secrets.unmasked(tenant, config, &stored, &key);
    unmasked.map_err(|faults| Refusal::InvalidConfig(faults.0))
}

/// Replaces the whole config if it matches `If-Match` (else 412).
pub(crate) async fn put(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    by: Actor,
) -> Result<Replaced, Refusal> {
    let call: api::Config<&RawValue> = answer::body(&request.body)?;
    let stored = local.store.config(tenant).await?;
    let expected = match request.headers.get(header::IF_MATCH) {
        // What stands for a stored secret must not bring back one that was replaced meanwhile.
        None if config::refers_to_stored(call.config.get()) => stored.as_deref(),
        None => None,
        Some(tags) => {
            let stored = stored.as_deref().ok_or(Refusal::PreconditionFailed)?;
            if !matches(tags, stored) {
                return Err(Refusal::PreconditionFailed);
            }
            Some(stored)
        }
    };
    let config = unmasked(local, tenant, call.config.get(), stored.as_deref())?;
    let warnings = valid_config(local, tenant, &config)?;
    let secrets = &local.tenants.secrets;
    let put = secrets.replace(&*local.store, tenant, expected, &config);
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
