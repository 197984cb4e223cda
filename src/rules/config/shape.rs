//! What a valid tenant config comes down to, and the bounds of its numbers.
//!
//! Only plain values: whoever holds one need not check anything again. It must never print a key,
//! a secret or the query of a URL; `Key` and `Url` see to that.

use super::cors::Cors;
use super::key::Key;
use super::url::Url;
use crate::rules::hosted::HostedTools;
use crate::rules::price::Rate;
use crate::rules::server::Server;
use std::collections::BTreeMap;

/// The largest whole number that JSON readers in every language keep exact.
pub(super) const MOST: u64 = (1 << 53) - 1;
pub(super) const LONGEST_WINDOW_SECONDS: u64 = 31 * 86_400;
/// Ten years: far beyond any use, and far below what overflows a store's expiry in milliseconds.
pub(super) const LONGEST_TTL_SECONDS: u64 = 10 * 365 * 86_400;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantConfig {
    pub groups: BTreeMap<String, Group>,
    pub text: Option<TextProviders>,
    pub realtime: Option<RealtimeProviders>,
    pub caching: Caching,
    pub auth: Auth,
    pub cors: Option<Cors>,
}

/// What an account of this group begins with, and how fast it may go (no limit: as it likes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub tokens: u64,
    pub limit: Option<RateLimit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub requests: u64,
    pub window_millis: u64,
}

/// `default` and `fallbacks` name endpoints of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextProviders {
    pub default: String,
    pub endpoints: Vec<Endpoint>,
    pub fallbacks: Vec<String>,
    /// By model; `*` stands for every other.
    pub rates: BTreeMap<String, Rate>,
}

impl TextProviders {
    pub fn rate(&self, model: Option<&str>) -> Rate {
        let named = model.and_then(|model| {
            let versions = self
                .rates
                .iter()
                .filter(|(name, _)| is_version(model, name));
            versions.max_by_key(|(name, _)| name.len())
        });
        named
            .map(|(_, rate)| rate)
            .or_else(|| self.rates.get("*"))
            .copied()
            .unwrap_or_default()
    }
}

/// Whether a model is the named one, or a dated or tuned version of it.
fn is_version(model: &str, name: &str) -> bool {
    model
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':', '@']))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub name: String,
    pub kind: Kind,
    /// What it is, which decides what a member of a body means there.
    pub server: Server,
    /// Members of bodies that the operator knows to be harmless there.
    pub members: Vec<String>,
    /// Tools that it runs itself.
    pub hosted_tools: HostedTools,
    /// Of its main call. Only an endpoint of kind demo may be without.
    pub url: Option<Url>,
    pub api_key: Option<Key>,
    pub default_model: Option<String>,
    pub models: Vec<String>,
    /// The most its models can answer with; unknown where it is not written.
    pub max_output_tokens: Option<u64>,
}

/// The wire format an endpoint speaks, or the gateway's own stand-in, which speaks them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    OpenAi,
    Anthropic,
    Demo,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealtimeProviders {
    pub default: String,
    pub endpoints: Vec<RealtimeEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealtimeEndpoint {
    pub name: String,
    pub model: Option<String>,
    pub voice: Option<String>,
    pub api_key: Option<Key>,
    pub sample_rate_hertz: Option<u64>,
    pub encoding: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caching {
    pub enabled: bool,
    pub text_ttl_seconds: u64,
    pub transcription_ttl_seconds: u64,
    pub fee_percentage: u64,
}

impl Caching {
    /// What a field that is not written means. The lengths and the fee are the sample config's.
    pub const UNWRITTEN: Caching = Caching {
        enabled: false,
        text_ttl_seconds: 86_400,
        transcription_ttl_seconds: 3_600,
        fee_percentage: 20,
    };
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    pub stripe_api_key: Option<Key>,
    pub google: Option<Oauth>,
    pub apple: Option<Oauth>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oauth {
    pub client_id: String,
    pub client_secret: Option<Key>,
}
