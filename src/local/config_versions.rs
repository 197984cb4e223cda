//! Configs that were replaced, below `/admin/config/history`: listed, shown with masks, and put back.

use super::admin::{self, Right};
use super::answer::{Answer, Refusal, json};
use super::audit::ChangeNote;
use super::configs::{self, Given};
use super::{Local, Request};
use crate::api;
use crate::rules::amount::Millis;
use crate::rules::config;
use crate::rules::config::history::Former;
use crate::rules::date::rfc3339;
use crate::rules::tenant::TenantId;
use crate::store::config_history;
use serde_json::value::RawValue;

/// Serves `GET /admin/config/history`.
pub(super) async fn list(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, tenant, Right::Look).await?;
    let history = config_history::read(&*local.store, tenant).await?;
    let shown = |former: &Former| api::FormerConfig {
        version: former.version,
        replaced_at: rfc3339(Millis(former.at)),
        replaced_by: former.by.clone(),
    };
    let configs = history.configs.iter().rev().map(shown).collect();
    Ok(json(200, &api::ConfigHistory { configs }))
}

/// Returns the config of the version in the path.
async fn find(local: &Local, tenant: &TenantId, version: &str) -> Result<Former, Refusal> {
    let history = config_history::read(&*local.store, tenant).await?;
    let version = version.parse().map_err(|_| Refusal::NotFound)?;
    history.version(version).cloned().ok_or(Refusal::NotFound)
}

/// Serves `GET /admin/config/history/{version}`: with masks in place of secrets, whoever asks.
pub(super) async fn show(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    version: &str,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, tenant, Right::Look).await?;
    let former = find(local, tenant, version).await?;
    let masked = configs::redacted(local, tenant, &former.config).await?;
    let shown = config::for_readers(&masked);
    let config: &RawValue = serde_json::from_str(&shown).map_err(|_| Refusal::NotFound)?;
    let shown = api::ConfigVersion {
        version: former.version,
        replaced_at: rfc3339(Millis(former.at)),
        replaced_by: former.by,
        config,
    };
    Ok(json(200, &shown))
}

/// Serves `POST /admin/config/history/{version}/restore`. What is restored is checked like any other config, and is kept
/// under a number of its own when it is replaced.
pub(super) async fn restore(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    version: &str,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, tenant, Right::Manage).await?;
    let former = find(local, tenant, version).await?;
    let given = Given {
        config: &former.config,
        change: ChangeNote::new("config.restored").of("version", former.version),
    };
    let replaced = configs::replace_by(local, request, tenant, &by, given).await?;
    Ok(replaced.answer(200))
}
