//! The tables of `providers`: endpoints, their names in `default` and `fallbacks`, and the rates of models.

use super::endpoint::{Endpoint, RealtimeEndpoint};
use super::rates::{self, Rates};
use crate::rules::price::{self, Rate};
use crate::rules::server::Server;
use crate::tables::{
    Node, Reading, boolean, by_name, defaulted, list, map, object, span, table, text, whole,
};
use std::collections::HashSet;
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
        rates: Rates = map(price::rate(), None).default("{}").shown("{gpt-4o: 2, o1: {input: 15, output: 60}, \"*\": 1}");
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

impl TextProviders {
    /// Returns the rate of a model at an endpoint, independent of the spelling of its name.
    pub fn rate(&self, endpoint: &Endpoint, model: Option<&str>) -> Rate {
        if self.rates.is_empty() {
            return Rate::default();
        }
        let rate = rates::find(&self.rates, endpoint, model, Some(Rate::default()));
        rate.unwrap_or_default()
    }

    /// Returns the rate that is named in `rates`. `*` names none.
    pub fn named_rate(&self, server: Server, model: &str) -> Option<Rate> {
        rates::named(&self.rates, server, model)
    }

    /// Whether an endpoint may be asked for a model.
    pub fn serves(&self, endpoint: &Endpoint, model: Option<&str>) -> bool {
        let is_fenced = !endpoint.models.is_empty() || self.only_listed;
        if !is_fenced {
            return true;
        }
        let server = endpoint.server;
        let has_rate = |model: &str| {
            self.named_rate(server, model).is_some()
                && rates::is_certain(&self.rates, server, model)
        };
        model.is_some_and(|model| {
            endpoint.names(model) || (endpoint.models.is_empty() && has_rate(model))
        })
    }
}
