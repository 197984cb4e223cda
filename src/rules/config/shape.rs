//! What a valid tenant config comes down to, and the bounds of its numbers.
//!
//! Only plain values: whoever holds one need not check anything again. It must never print a key,
//! a secret or the query of a URL; `Key` and `Url` see to that.

use super::cors::Cors;
use super::key::Key;
use super::url::Url;
use crate::rules::entry::ANONYMOUS;
use crate::rules::hosted::HostedTools;
use crate::rules::model_name::{self, Tag};
use crate::rules::price::Rate;
use crate::rules::server::Server;
use std::collections::BTreeMap;

/// The largest whole number that JSON readers in every language keep exact.
pub(super) const MOST: u64 = (1 << 53) - 1;
/// The scripts look at each hold of an account.
pub(super) const MOST_CONCURRENT: u64 = 10_000;
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

impl TenantConfig {
    /// The group that an account is held to. One that the tenant does not have may do what `anonymous` may.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name).or_else(|| self.groups.get(ANONYMOUS))
    }
}

/// What an account of this group begins with, and how fast it may go (no limit: as it likes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub tokens: u64,
    pub limit: Option<RateLimit>,
    /// How many calls of one account may be in flight.
    pub max_concurrent: Option<u64>,
    /// The only models its accounts may ask for, as clients write them; absent: all.
    pub models: Option<Vec<String>>,
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
    /// Only models that an endpoint or a rate names are served.
    pub only_listed: bool,
}

const EVERY_OTHER: &str = "*";

impl TextProviders {
    /// The rate of a model at an endpoint, whatever spelling of its name was asked for.
    pub fn rate(&self, endpoint: &Endpoint, model: Option<&str>) -> Rate {
        if self.rates.is_empty() {
            return Rate::default();
        }
        let server = endpoint.server;
        let others = self.rates.get(EVERY_OTHER).copied().unwrap_or_default();
        let rate = match model.map(|model| (model, self.named_rate(server, model))) {
            Some((model, Some(named))) if self.is_certain(server, model) => named,
            // It is perhaps another model, which nobody has named.
            Some((_, Some(named))) => named.dearest(others),
            _ => others,
        };
        let deployed = endpoint.deployed();
        let deployed = deployed.filter_map(|model| self.named_rate(server, model));
        deployed.fold(rate, Rate::dearest)
    }

    /// The rate of a model where it is named, itself or as a version. `*` names none.
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
            // Two spellings of one model may be named.
            named.map(|(_, rate)| *rate).reduce(Rate::dearest)
        })
    }

    /// A model that has a named rate is what was named, and not another with a tag more.
    fn is_certain(&self, server: Server, model: &str) -> bool {
        model_name::tag(server) != Tag::Unknown || self.closest_rate(server, model).is_some()
    }

    /// An endpoint may be asked for a model.
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

impl Endpoint {
    /// Its config names a model, or one that it is a dated version of.
    pub fn names(&self, model: &str) -> bool {
        self.named()
            .any(|name| model_name::is_version(model, name, self.server))
    }

    /// The models that its config names.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        self.default_model.iter().chain(&self.models)
    }

    /// The models that answer at a URL that says so, whatever a body asks for.
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
