//! Candidates of a call: the endpoints that may serve it, in the order in which they are asked.
//!
//! Those that are passed over come last: where there is no live one, they are asked all the same.

use crate::dialect::{Dialect, translate};
use crate::proxy::error::GatewayError;
use crate::proxy::request_id;
use crate::rules::balance;
use crate::rules::choice::{self, Choice, Unserved};
use crate::rules::circuit::Pass;
use crate::rules::config::{Endpoint, TextProviders};
use crate::rules::health::Place;
use crate::store::tenants::Tenant;
use std::time::Instant;

/// Number of no account, for what concerns all of them.
const NOBODY: u64 = 0;

/// Returns the candidates of a call, at least one and at most `providers.text.failover.attempts`.
pub(crate) fn candidates<'p: 'm, 'm>(
    tenant: &'p Tenant,
    asked: Option<&'m str>,
    dialect: &dyn Dialect,
) -> Result<Vec<Choice<'p, 'm>>, GatewayError> {
    let model = || asked.map(str::to_owned);
    let unserved = |unserved| match unserved {
        Unserved::NoEndpoint => GatewayError::NoEndpoint { model: model() },
        Unserved::NotListed => GatewayError::ModelNotServed { model: model() },
    };
    let Some(providers) = &tenant.config.providers.text else {
        return Err(unserved(Unserved::NoEndpoint));
    };
    let way = |endpoint: &Endpoint| translate::way(dialect, endpoint);
    let equals = choice::equals(providers, asked, way).map_err(unserved)?;
    if equals.len() == 1 && providers.fallbacks.is_empty() {
        return Ok(equals);
    }
    let fallbacks = choice::fallbacks(providers, &equals, asked, way);
    Ok(in_order(tenant, providers, equals, fallbacks, asked))
}

fn in_order<'p: 'm, 'm>(
    tenant: &'p Tenant,
    providers: &'p TextProviders,
    equals: Vec<Choice<'p, 'm>>,
    fallbacks: Vec<Choice<'p, 'm>>,
    asked: Option<&'m str>,
) -> Vec<Choice<'p, 'm>> {
    let now = Instant::now();
    let health = tenant.health.lock();
    let is_live = |choice: &Choice<'p, 'm>| {
        let place = place(choice, asked);
        let pass = health.pass(place, NOBODY, tenant.key_ids(choice.endpoint), now);
        pass != Pass::Blocked
    };
    let (mut live, mut dead): (Vec<_>, Vec<_>) = equals.into_iter().partition(is_live);
    if live.len() > 1 {
        let (high, low) = request_id::new_id().as_u64_pair();
        let weights: Vec<u64> = live.iter().map(|choice| choice.endpoint.weight).collect();
        let load = |index: usize| health.load(place(&live[index], asked), now);
        let first = balance::first(&weights, [high, low], load);
        live.rotate_left(first);
    }
    let (more_live, more_dead): (Vec<_>, Vec<_>) = fallbacks.into_iter().partition(is_live);
    live.extend(more_live);
    dead.extend(more_dead);
    live.extend(dead);
    live.truncate(usize::try_from(providers.failover.attempts).unwrap_or(usize::MAX));
    live
}

fn place<'a>(choice: &Choice<'a, 'a>, asked: Option<&'a str>) -> Place<'a> {
    Place {
        endpoint: &choice.endpoint.name,
        model: choice.served(asked).unwrap_or_default(),
    }
}
