//! A tenant's config: from the JSON that is stored to what the gateway works with.
//!
//! Every fault is reported at once, each with its place. Unknown fields are none of our business:
//! the stored text is kept elsewhere and given back as it was. What comes out of `read` is valid,
//! and nobody validates it again. It must never print a key, a secret or the query of a URL.

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

/// A config that says all of its secrets itself.
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
