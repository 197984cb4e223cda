//! The config of a tenant: from the stored JSON to a [`TenantConfig`].
//!
//! All faults are reported at once, each with its path. Unknown fields are ignored here; the stored text
//! keeps them and is returned unchanged.
//! The result of `read_for` is valid, and no other code validates it again.
//! A key, a secret or the query of a URL must never be printed.

mod cors;
mod key;
mod node;
mod read;
mod schema;
mod secret;
mod shape;
mod url;

pub use cors::Cors;
pub use key::Key;
pub use node::Fault;
pub use read::read_for;
pub use schema::schema;
pub use secret::{Approved, Found, Keyring, Owner, Sealed, seal_text, secrets_in};
pub use shape::{
    Auth, Caching, Endpoint, Group, Kind, Oauth, RateLimit, RealtimeEndpoint, RealtimeProviders,
    TenantConfig, TextProviders,
};
pub use url::{Origin, Url};

/// Reads a config with an empty [`Keyring`]: no sealed secrets, no variables.
#[cfg(test)]
pub fn read(value: &serde_json::Value) -> Result<TenantConfig, Vec<Fault>> {
    let (tenant, keyring) = (
        super::tenant::TenantId::default_tenant(),
        Keyring::default(),
    );
    let owner = Owner {
        tenant: &tenant,
        keyring: &keyring,
    };
    read_for(owner, value)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
