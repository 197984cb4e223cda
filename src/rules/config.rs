//! The config of a tenant: from the stored JSON to a [`TenantConfig`].
//!
//! All faults are reported at once, each with its path. Unknown fields are ignored here; the stored text
//! keeps them and is returned unchanged.
//! The result of [`read_for`] is valid, and no other code validates it again.
//! A key, a secret or the query of a URL must never be printed.

mod app_events;
mod changes;
mod cors;
mod doubts;
mod endpoint;
pub mod history;
mod identity;
mod masks;
mod payments;
mod prices;
mod providers;
mod rates;
mod secret;
mod tenant;

pub use app_events::AppEvents;
pub use changes::{Changes, changes};
pub use cors::Cors;
pub use doubts::doubts;
pub use endpoint::{Endpoint, Kind, RealtimeEndpoint, Timeouts};
pub use identity::{
    AppleClient, Audience, CarryOver, GoogleClient, OidcClient, apple_group, google_group,
};
pub use masks::{KeptSecrets, MaskKey, for_readers, masked};
pub use payments::{BillingKind, GroupPrice, Mode, SoldTokens, Stripe};
pub use prices::Prices;
pub use providers::{Failover, RealtimeProviders, TextProviders};
pub use secret::{
    Approval, Found, Keyring, Owner, Sealed, approval, seal_text, secrets_in, try_sealed,
};
pub use tenant::{Auth, CacheScope, Caching, Group, Providers, RateLimit, TenantConfig};

use crate::tables::{Fault, Faults, Node, Reading, Source, Table, page, schema};
use serde_json::Value;

/// Reads a tenant's config, with warnings about what can be read and will hardly do what was meant. The error lists
/// all faults.
pub fn read_for(owner: Owner<'_>, value: &Value) -> Result<(TenantConfig, Vec<Fault>), Faults> {
    let mut reading = Reading::of_json(&owner);
    let config = TenantConfig::read(&Node::root(value), &mut reading);
    let Reading {
        faults, warnings, ..
    } = reading;
    Ok((faults.none_or(config)?, warnings))
}

/// Returns the JSON Schema of a config. Unknown fields are allowed: they are stored and returned unchanged. Only the
/// reader checks that `default` and `fallbacks` name an endpoint, and everything about a URL beyond its beginning.
pub fn schema() -> Value {
    schema::document::<TenantConfig>(Source::Json, "ResuLLM tenant config")
}

/// Returns the reference of all fields, as Markdown.
pub fn reference() -> String {
    page::reference(&TenantConfig::rows(), Source::Json)
}

/// Reads a config with an empty [`Keyring`]: no sealed secrets, no variables.
#[cfg(test)]
pub fn read(value: &Value) -> Result<TenantConfig, Vec<Fault>> {
    let (tenant, keyring) = (
        super::tenant::TenantId::default_tenant(),
        Keyring::default(),
    );
    let owner = Owner {
        tenant: &tenant,
        keyring: &keyring,
    };
    let read = read_for(owner, value);
    read.map(|(config, _)| config).map_err(|faults| faults.0)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
