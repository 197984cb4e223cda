//! The types of a valid tenant config ([`TenantConfig`]), and the limits of its numbers.
//!
//! Plain values only: code that holds one need not validate again. A key, a secret or the query of a URL must
//! never be printed; the `Debug` of [`Key`] and [`Url`] prevents it.

use super::cors::Cors;
use super::key::Key;
use super::url::Url;
use crate::rules::entry::ANONYMOUS;
use crate::rules::hosted::HostedTools;
use crate::rules::model_name::{self, Tag};
use crate::rules::price::Rate;
use crate::rules::server::Server;
use std::collections::BTreeMap;

/// Highest number in a config: the largest that JSON readers in every language keep exact.
pub(super) const MAX_NUMBER: u64 = (1 << 53) - 1;
/// Highest `max_concurrent`: the Redis scripts iterate over all holds of an account.
pub(super) const MAX_CONCURRENT: u64 = 10_000;
pub(super) const LONGEST_WINDOW_SECONDS: u64 = 31 * 86_400;
/// Longest `text_ttl` and `transcription_ttl`: ten years, far beyond any use, and far below the overflow of a
/// store's expiry in milliseconds.
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

impl TenantConfig {
    /// Returns a group of accounts. An unknown group has the limits of `anonymous`.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name).or_else(|| self.groups.get(ANONYMOUS))
    }
}

/// A group of accounts (`user_groups`): initial balance `tokens` and limits. `None`: no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub tokens: u64,
    pub limit: Option<RateLimit>,
    /// Most calls of one account in flight.
    pub max_concurrent: Option<u64>,
    /// The only models that its accounts may ask for, as clients write them. `None`: all.
    pub models: Option<Vec<String>>,
}

/// `rate_limit` requests in any `rate_limit_window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub requests: u64,
    pub window_millis: u64,
}

/// The config `providers.text`; `default` and `fallbacks` are names of `endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextProviders {
    pub default: String,
    pub endpoints: Vec<Endpoint>,
    pub fallbacks: Vec<String>,
    /// Rates by model; `*` stands for every other model.
    pub rates: BTreeMap<String, Rate>,
    /// Serves only models that an endpoint or a rate names.
    pub only_listed: bool,
}

/// Key of [`TextProviders::rates`] for every model without a rate of its own.
const EVERY_OTHER: &str = "*";

impl TextProviders {
    /// Returns the rate of a model at an endpoint, independent of the spelling of its name.
    pub fn rate(&self, endpoint: &Endpoint, model: Option<&str>) -> Rate {
        if self.rates.is_empty() {
            return Rate::default();
        }
        let server = endpoint.server;
        let others = self.rates.get(EVERY_OTHER).copied().unwrap_or_default();
        let rate = match model.map(|model| (model, self.named_rate(server, model))) {
            Some((model, Some(named))) if self.is_certain(server, model) => named,
            // The name may also mean a model without a named rate, so the more expensive rate counts.
            Some((_, Some(named))) => named.dearest(others),
            _ => others,
        };
        let deployed = endpoint.deployed();
        let deployed = deployed.filter_map(|model| self.named_rate(server, model));
        deployed.fold(rate, Rate::dearest)
    }

    /// Returns the rate of a model that is named in `rates`, by itself or by the model it is a version of.
    /// `*` names none.
    pub fn named_rate(&self, server: Server, model: &str) -> Option<Rate> {
        let bases = model_name::bases(model, server);
        let bases = bases.filter_map(|base| self.closest_rate(server, base));
        let named = self.closest_rate(server, model).into_iter().chain(bases);
        named.reduce(Rate::dearest)
    }

    fn closest_rate(&self, server: Server, model: &str) -> Option<Rate> {
        let mut names = model_name::rated_as(model, server);
        names.find_map(|model| {
            let named = self.rates.iter().filter(|(name, _)| {
                name.as_str() != EVERY_OTHER && model_name::is_same(name, model, server)
            });
            // The rates may name one model in two spellings.
            named.map(|(_, rate)| *rate).reduce(Rate::dearest)
        })
    }

    /// Whether a model with a named rate is surely the named one, and not another that differs by a tag.
    fn is_certain(&self, server: Server, model: &str) -> bool {
        model_name::tag(server) != Tag::Unknown || self.closest_rate(server, model).is_some()
    }

    /// Whether an endpoint may be asked for a model.
    pub fn serves(&self, endpoint: &Endpoint, model: Option<&str>) -> bool {
        let is_fenced = !endpoint.models.is_empty() || self.only_listed;
        if !is_fenced {
            return true;
        }
        let server = endpoint.server;
        let has_rate = |model: &str| {
            self.named_rate(server, model).is_some() && self.is_certain(server, model)
        };
        model.is_some_and(|model| {
            endpoint.names(model) || (endpoint.models.is_empty() && has_rate(model))
        })
    }
}

/// An endpoint of `providers.text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub name: String,
    pub kind: Kind,
    /// Software or vendor, which decides the meaning of body members there.
    pub server: Server,
    /// Body members that the operator knows to be harmless there.
    pub members: Vec<String>,
    /// Handling of tools that the provider runs itself.
    pub hosted_tools: HostedTools,
    /// URL of the main call. Only an endpoint of kind `demo` may have none.
    pub url: Option<Url>,
    pub api_key: Option<Key>,
    pub default_model: Option<String>,
    pub models: Vec<String>,
    /// Most output tokens that its models can generate. `None`: unknown.
    pub max_output_tokens: Option<u64>,
}

impl Endpoint {
    /// Whether `default_model` or `models` has a model, or one that it is a dated version of.
    pub fn names(&self, model: &str) -> bool {
        self.named()
            .any(|name| model_name::is_version(model, name, self.server))
    }

    /// Returns `default_model` and `models`.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        self.default_model.iter().chain(&self.models)
    }

    /// Returns `<name>` of an Azure URL with `/deployments/<name>`, and `default_model`: they answer whatever
    /// model a body asks for.
    pub fn deployed(&self) -> impl Iterator<Item = &str> {
        let url = self.url.as_ref().filter(|_| self.server == Server::Azure);
        let (_, rest) = url
            .and_then(|url| url.path().split_once("/deployments/"))
            .unzip();
        let deployment = rest.and_then(|rest| rest.split('/').next());
        let default = self.default_model.as_deref();
        deployment
            .into_iter()
            .chain(default.filter(move |_| deployment.is_some()))
    }
}

/// Wire format of an endpoint. `Demo`, the gateway's own demo, supports all of them.
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
    /// Values of absent fields. The TTLs and the fee are those of the sample config.
    pub(crate) const UNWRITTEN: Caching = Caching {
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
