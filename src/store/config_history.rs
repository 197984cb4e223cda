//! The configs of a tenant that were replaced: read, added to and sealed again.
//!
//! A config is noted before it is replaced, so that none is lost; one that was noted and then not replaced is noted once.
//! The history is one text, changed by compare-and-set. It stands in another slot of a Cluster than the config.

use super::config_secrets::ConfigSecrets;
use super::name::TenantText;
use super::{Configs, Outcome, Put, StoreError};
use crate::rules::amount::Millis;
use crate::rules::config::MaskKey;
use crate::rules::config::history::History;
use crate::rules::tenant::TenantId;
use serde_json::value::RawValue;

/// Attempts to change a history that others change at the same moment.
const TRIES: usize = 20;

/// Reads the [`History`] of a tenant.
pub async fn read(store: &dyn Configs, tenant: &TenantId) -> Outcome<History> {
    let text = store.tenant_text(tenant, TenantText::History).await?;
    Ok(History::parse(text.as_deref()))
}

/// Notes a config that is about to be replaced. One that is no JSON, stored by another program, is not kept.
pub async fn keep(
    store: &dyn Configs,
    (secrets, key): (&ConfigSecrets, &MaskKey),
    tenant: &TenantId,
    config: &str,
    (at, by): (Millis, &str),
) -> Outcome<()> {
    if serde_json::from_str::<&RawValue>(config).is_err() {
        return Ok(());
    }
    let text = secrets.for_history(tenant, key, config)?;
    let push = |history: &mut History| {
        history.push(text.clone(), at, by);
        Ok(())
    };
    change(store, tenant, push).await
}

/// Seals the secrets of all replaced configs with the present `secrets.key`.
pub async fn reseal(
    store: &dyn Configs,
    secrets: &ConfigSecrets,
    tenant: &TenantId,
) -> Outcome<()> {
    let seal = |history: &mut History| {
        for former in &mut history.configs {
            former.config = secrets.resealed(tenant, &former.config)?;
        }
        Ok(())
    };
    change(store, tenant, seal).await
}

async fn change(
    store: &dyn Configs,
    tenant: &TenantId,
    step: impl Fn(&mut History) -> Outcome<()> + Send + Sync,
) -> Outcome<()> {
    let which = TenantText::History;
    for _ in 0..TRIES {
        let stored = store.tenant_text(tenant, which).await?;
        let mut history = History::parse(stored.as_deref());
        let before = history.clone();
        step(&mut history)?;
        if history == before {
            return Ok(());
        }
        let text = history.text();
        let put = store.replace_tenant_text(tenant, which, stored.as_deref(), &text);
        if put.await? == Put::Done {
            return Ok(());
        }
    }
    let why = "the history of a config is being changed by others";
    Err(StoreError::Unavailable(why.to_owned()))
}
