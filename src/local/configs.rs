//! Tenant configs over HTTP (`/admin/config`): read and replaced.
//!
//! A config is returned verbatim as stored, or with masks in place of its secrets, with an `ETag`; `If-Match` makes a
//! replacement conditional. Every way to a new config goes through `replace_by`, which keeps secrets where they belong.

use super::admin::{self, Actor, Right};
use super::answer::{self, Answer, Refusal, json};
use super::audit::{ChangeNote, audited};
use super::audit_list::TENANT_CREATED;
use super::{Local, Request, accounts, credentials};
use crate::api;
use crate::rules::config::{self, Changes, KeptSecrets, MaskKey};
use crate::rules::tenant::TenantId;
use crate::store::config_history;
use crate::store::tenants::version;
use crate::tables::Faults;
use http::{HeaderValue, header};
use serde_json::value::RawValue;
use std::sync::Arc;

/// Attempts to replace a config without `If-Match` that others replace at the same moment.
const TRIES: usize = 5;

/// Serves `GET /admin/config`.
pub async fn read(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, tenant, Right::Look).await?;
    let wanted = wanted(request.query)?;
    let view = match (by.may(Right::Manage), wanted.redact) {
        (false, _) => View::Reader,
        (true, true) => View::Masked,
        (true, false) => View::Whole,
    };
    show(local, tenant, view).await
}

/// Serves `PUT /admin/config`.
pub async fn replace(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, tenant, Right::Manage).await?;
    let put = put(local, request, tenant, &by).await?;
    Ok(put.answer(200))
}

/// Parses the query; parameters that are not in [`api::ConfigQuery`] are refused with 400.
pub(super) fn wanted(query: &str) -> Result<api::ConfigQuery, Refusal> {
    let mut wanted = api::ConfigQuery::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        wanted.redact = match pair {
            "redact=true" => true,
            "redact=false" => false,
            _ => {
                let rule = "The query has only redact, which is true or false";
                return Err(Refusal::Bad(rule.to_owned()));
            }
        };
    }
    Ok(wanted)
}

/// Sets the `ETag` header.
pub fn tagged(mut answer: Answer, tag: &str) -> Answer {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

/// How a config is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Verbatim: sealed secrets stay sealed.
    Whole,
    /// With masks in place of secrets, so that it can be put back (`redact=true`).
    Masked,
    /// With masks, and without what [`config::for_readers`] hides.
    Reader,
}

/// Returns the stored config as `{"config": ...}`, with the `ETag` of what is stored.
pub(super) async fn show(local: &Local, tenant: &TenantId, view: View) -> Result<Answer, Refusal> {
    let stored = local.store.config(tenant).await?.ok_or(Refusal::NotFound)?;
    let tag = etag(&stored);
    let shown = match view {
        View::Whole => stored.to_string(),
        View::Masked => redacted(local, tenant, &stored).await?,
        View::Reader => config::for_readers(&redacted(local, tenant, &stored).await?),
    };
    let answer = match serde_json::from_str::<&RawValue>(&shown) {
        Ok(config) => json(200, &api::Config { config }),
        // Another program may have stored text that is not JSON; it is returned as a JSON string.
        Err(_) => json(200, &api::Config { config: &*shown }),
    };
    Ok(tagged(answer, &tag))
}

/// Returns a config with masks in place of its secrets, as `redact=true` shows it.
pub(super) async fn redacted(
    local: &Local,
    tenant: &TenantId,
    config: &str,
) -> Result<String, Refusal> {
    let secrets = &local.tenants.secrets;
    let key = secrets.mask_key(&*local.store, tenant).await?;
    Ok(secrets.masked(tenant, &key, config))
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
pub(crate) fn valid_config(
    local: &Local,
    tenant: &TenantId,
    config: &str,
) -> Result<(String, Vec<api::ConfigFault>), Refusal> {
    let refused = |faults: Faults| Refusal::InvalidConfig(faults.0);
    let secrets = &local.tenants.secrets;
    let checked = secrets.check_text(tenant, config);
    let (read, mut warnings) = checked.map_err(refused)?;
    let sealed = secrets.check_sealed(tenant, config);
    sealed.map_err(refused)?;
    let allows_private = local.settings.egress.allow_private_networks;
    warnings.extend(config::doubts(&read, allows_private));
    let warnings = warnings.into_iter().map(api::ConfigFault::of).collect();
    Ok((config.to_owned(), warnings))
}

/// Replaces the whole config if it matches `If-Match` (else 412).
pub(crate) async fn put(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    by: &Actor,
) -> Result<Replaced, Refusal> {
    let call: api::Config<&RawValue> = answer::body(&request.body)?;
    let given = Given {
        config: call.config.get(),
        change: ChangeNote::new("config.replaced"),
    };
    replace_by(local, request, tenant, by, given).await
}

/// A config that is to be stored: as it was sent or kept, with masks.
pub(super) struct Given<'a> {
    pub config: &'a str,
    pub change: ChangeNote,
}

/// Config and secrets of a tenant when [`replace_by`] begins.
struct Present {
    config: Option<Arc<str>>,
    secrets: KeptSecrets,
    key: MaskKey,
}

impl Present {
    /// Reads them. Only the operator replaces what is not there, also where it was deleted a moment ago.
    async fn of(local: &Local, tenant: &TenantId, by: &Actor) -> Result<Present, Refusal> {
        let (store, secrets) = (&*local.store, &local.tenants.secrets);
        let key = secrets.mask_key(store, tenant).await?;
        let config = store.config(tenant).await?;
        if config.is_none() && *by != Actor::Operator {
            return Err(Refusal::NotFound);
        }
        let history = config_history::read(store, tenant).await?;
        let former = history
            .configs
            .iter()
            .rev()
            .map(|former| former.config.as_str());
        let texts = config.as_deref().into_iter().chain(former);
        Ok(Present {
            secrets: secrets.kept(tenant, &key, texts),
            config,
            key,
        })
    }

    /// Checks a config and fills in the secrets that its masks stand for ([`KeptSecrets::unmask`]).
    fn take(
        &self,
        local: &Local,
        tenant: &TenantId,
        given: &str,
    ) -> Result<(String, Vec<api::ConfigFault>), Refusal> {
        let refused = |faults: Faults| Refusal::InvalidConfig(faults.0);
        if self.config.as_deref() == Some(given) {
            // Nothing moves, whatever another program has stored.
            return valid_config(local, tenant, given);
        }
        let whole = self.secrets.unmask(given).map_err(refused)?;
        let taken = valid_config(local, tenant, &whole)?;
        // Whoever makes a tenant anew has its former secrets sealed, and they stand nowhere yet.
        if self.config.is_some() {
            self.secrets.check_sealed(&whole).map_err(refused)?;
        }
        Ok(taken)
    }

    /// Returns the config that `If-Match` names; without that header the present one.
    fn expected(&self, request: &Request<'_>) -> Result<Option<&Arc<str>>, Refusal> {
        let Some(tags) = request.headers.get(header::IF_MATCH) else {
            return Ok(self.config.as_ref());
        };
        let stored = self.config.as_ref().filter(|stored| matches(tags, stored));
        stored.map(Some).ok_or(Refusal::PreconditionFailed)
    }
}

/// Replaces a config by a given one, and keeps the one before.
pub(super) async fn replace_by(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    by: &Actor,
    given: Given<'_>,
) -> Result<Replaced, Refusal> {
    let present = Present::of(local, tenant, by).await?;
    // What cannot be stored is not noted as a change.
    present.expected(request)?;
    present.take(local, tenant, given.config)?;
    let change = match present.config {
        None => ChangeNote::new(TENANT_CREATED),
        Some(_) => given.change.clone(),
    };
    let making = async {
        let mut present = present;
        for _ in 0..TRIES {
            let made = attempt(local, request, tenant, by, (&present, &given)).await?;
            if let Some((made, told)) = made {
                return Ok((made, change.clone().fields(told)));
            }
            present = Present::of(local, tenant, by).await?;
        }
        Err(Refusal::PreconditionFailed)
    };
    audited(local, request, by, tenant, change.clone(), making).await
}

/// Replaces a config that is still the present one, and logs it. `None`: it is another.
async fn attempt(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    by: &Actor,
    (present, given): (&Present, &Given<'_>),
) -> Result<Option<(Replaced, Changes)>, Refusal> {
    let (store, secrets) = (&*local.store, &local.tenants.secrets);
    // First, because who has read an older config may have sealed texts that are none of the present one's.
    let expected = present.expected(request)?;
    let (config, warnings) = present.take(local, tenant, given.config)?;
    let now = match expected {
        None => secrets.seed_sealed(store, tenant, &config).await?,
        Some(expected) => {
            let kept = (secrets, &present.key);
            let noted = (accounts::now(), by.name());
            config_history::keep(store, kept, tenant, expected, noted).await?;
            secrets
                .replace(store, tenant, Some(&**expected), &config)
                .await?
        }
    };
    let Some(now) = now else {
        return Ok(None);
    };
    let stored = present.config.as_deref();
    let from = stored.map_or_else(|| "none".to_owned(), version);
    let to = version(&now);
    by.log_tenant(
        request,
        tenant,
        &[("from", from.as_str().into()), ("to", to.as_str().into())],
        format_args!("The config of {tenant} was replaced: version {from} by {to}"),
    );
    let texts = [stored.unwrap_or_default(), &now];
    let told = secrets.changes(tenant, &present.key, texts);
    let replaced = Replaced {
        existed: stored.is_some(),
        tag: etag(&now),
        warnings,
    };
    Ok(Some((replaced, told)))
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
