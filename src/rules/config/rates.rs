//! Lookup in tables of models and their [`Rate`]s, whatever the spelling of a model's name.
//!
//! Where a name may mean two models, the dearer rate counts. Pure.

use super::endpoint::Endpoint;
use crate::rules::model_name::{self, Tag};
use crate::rules::price::Rate;
use crate::rules::server::Server;
use std::collections::BTreeMap;

/// Rates by model.
pub(super) type Rates = BTreeMap<String, Rate>;

/// Key of [`Rates`] for every model without a rate of its own.
const EVERY_OTHER: &str = "*";

/// Returns the rate of a model at an endpoint. `absent`: the rate of every other model where the table has none.
pub(super) fn find(
    rates: &Rates,
    endpoint: &Endpoint,
    model: Option<&str>,
    absent: Option<Rate>,
) -> Option<Rate> {
    let server = endpoint.server;
    let others = rates.get(EVERY_OTHER).copied().or(absent);
    let rate = match model.map(|model| (model, named(rates, server, model))) {
        Some((model, Some(named))) if is_certain(rates, server, model) => Some(named),
        // The name may also mean a model without a rate of its own, so the dearer rate counts.
        Some((_, Some(named))) => Some(others.map_or(named, |others| named.dearest(others))),
        _ => others,
    };
    let deployed = endpoint.deployed();
    let deployed = deployed.filter_map(|model| named(rates, server, model));
    rate.into_iter().chain(deployed).reduce(Rate::dearest)
}

/// Returns the rate of a model that the table names, by itself or by the model it is a version of. `*` names none.
pub(super) fn named(rates: &Rates, server: Server, model: &str) -> Option<Rate> {
    let bases = model_name::bases(model, server);
    let bases = bases.filter_map(|base| closest(rates, server, base));
    let named = closest(rates, server, model).into_iter().chain(bases);
    named.reduce(Rate::dearest)
}

fn closest(rates: &Rates, server: Server, model: &str) -> Option<Rate> {
    let mut names = model_name::rated_as(model, server);
    names.find_map(|model| {
        let named = rates.iter().filter(|(name, _)| {
            name.as_str() != EVERY_OTHER && model_name::is_same(name, model, server)
        });
        // The table may name one model in two spellings.
        named.map(|(_, rate)| *rate).reduce(Rate::dearest)
    })
}

/// Whether a model with a named rate is surely the named one, and not another that differs by a tag.
pub(super) fn is_certain(rates: &Rates, server: Server, model: &str) -> bool {
    model_name::tag(server) != Tag::Unknown || closest(rates, server, model).is_some()
}
