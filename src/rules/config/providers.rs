//! The tables of `providers`: endpoints, their names in `default` and `fallbacks`, and the rates of models.

use super::endpoint::{Endpoint, RealtimeEndpoint};
use crate::rules::model_name::{self, Tag};
use crate::rules::price::{self, Rate};
use crate::rules::server::Server;
use crate::tables::{
    Node, Reading, boolean, by_name, defaulted, list, map, object, span, table, text, whole,
};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

table! {
    /// The endpoints that answer, and what their models cost.
    pub struct TextProviders unknown KeptUnlessSlip {
        /// Name of the endpoint that serves what no other is chosen for.
        default: String = text("a string");
        /// The endpoints, by a name of your own.
        endpoints: Vec<Endpoint> = by_name(object::<Endpoint>()).map(Endpoint::named_all);
        /// Names of endpoints to ask, in this order, when those that serve a call's model fail before an answer has begun.
        /// One is asked for the same model if its `models` has it, or if it has no list and speaks the same wire format; else for its `default_model`.
        /// Models that the group or the key of a call may not use are not asked for.
        fallbacks: Vec<String> = list(text("a string"), 0).default("[]");
        /// Bounds of what one call may try.
        failover: Failover = defaulted();
        /// What a token of each model costs, in tokens of the balance: one number, or one for each kind of token.
        /// Spelling makes no difference, and a dated version costs what its model costs.
        /// `*` stands for every other model.
        /// A model without a rate costs 1.
        rates: BTreeMap<String, Rate> = map(price::rate(), None).default("{}").shown("{gpt-4o: 2, o1: {input: 15, output: 60}, \"*\": 1}");
        /// Serves only models that an endpoint's `models` or `default_model` names, or a rate other than `*`.
        only_listed: bool = boolean().default("false");
    }
    check names_endpoints;
}

table! {
    /// Bounds of what one call may try.
    pub struct Failover unknown KeptUnlessSlip {
        /// Attempts at providers that one call makes at most.
        attempts: u64 = whole(1, MAX_ATTEMPTS).default("3");
        /// Time after the beginning of a call in which another attempt may begin.
        timeout: Duration = span(Duration::from_millis(1)).default("10m");
    }
}

table! {
    /// The endpoints for live conversations.
    pub struct RealtimeProviders unknown Kept {
        /// Name of the endpoint that serves what no other is chosen for.
        default: String = text("a string");
        /// The endpoints, by a name of your own.
        endpoints: Vec<RealtimeEndpoint> = by_name(object::<RealtimeEndpoint>()).map(RealtimeEndpoint::named_all);
    }
    check names_endpoints;
}

/// Upper bound of [`Failover::attempts`].
const MAX_ATTEMPTS: u64 = 10;

/// Returns the first names for a message.
fn shown(names: &[&str]) -> String {
    const MOST: usize = 10;
    let first = names[..names.len().min(MOST)].join(", ");
    let more = if names.len() > MOST { ", …" } else { "" };
    format!("{}{more}", first.escape_debug())
}

/// Checks that `default` and `fallbacks` name endpoints. One with faults of its own counts.
fn names_endpoints(node: &Node<'_>, reading: &mut Reading<'_>) {
    let endpoints = node.field("endpoints");
    let names: Vec<&str> = match &endpoints {
        Some(endpoints) => endpoints.entries().map(|each| each.name()).collect(),
        None => Vec::new(),
    };
    let known: HashSet<&str> = names.iter().copied().collect();
    let (default, fallbacks) = (node.field("default"), node.field("fallbacks"));
    let fallbacks = fallbacks.iter().flat_map(Node::elements);
    for each in default.iter().copied().chain(fallbacks) {
        let name = each.value().as_str();
        if name.is_some_and(|name| !known.contains(name)) {
            let list = match names.is_empty() {
                true => "none".to_owned(),
                false => shown(&names),
            };
            reading.fault(&each, format!("names no endpoint; there are: {list}"));
        }
    }
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
