//! Attempts as the health of their endpoints sees them: begin, end, and the order of endpoints for one account.
//!
//! Only tenants with something to choose from are watched: an endpoint without an alternative is asked in any case.

use crate::proxy::admission::estimate::Estimate;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;
use crate::proxy::outcome::ProviderFault;
use crate::rules::circuit::{Change, Heard, Pass};
use crate::rules::health::{Begun, NeededRest, Place, Told};
use crate::store::tenants::Tenant;
use crate::telemetry::fields::About;
use http::StatusCode;
use log::Level;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An attempt that has begun. Dropping it without [`Watch::end`] ends it as one that tells nothing.
pub(crate) struct Watch {
    watched: Option<Watched>,
}

struct Watched {
    tenant: Arc<Tenant>,
    endpoint: String,
    model: String,
    /// Number of the provider's key.
    key: u64,
    begun: Begun,
}

impl Watched {
    fn place(&self) -> Place<'_> {
        Place {
            endpoint: &self.endpoint,
            model: &self.model,
        }
    }
}

impl Watch {
    /// Number of the call's account, for the circuit breaker.
    pub(crate) fn number_of(call: &Admitted<'_, '_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        call.bill.labels().account.hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn place<'a>(estimate: &'a Estimate<'_>) -> Place<'a> {
        Place {
            endpoint: &estimate.endpoint.name,
            model: estimate.model.as_deref().unwrap_or_default(),
        }
    }

    /// Moves the endpoints that are passed over for this account behind the others.
    pub(crate) fn put_passed_over_last(estimates: &mut [Estimate<'_>], call: &Admitted<'_, '_>) {
        if estimates.len() < 2 {
            return;
        }
        let (account, now) = (Watch::number_of(call), Instant::now());
        let tenant = estimates[0].tenant.clone();
        let health = tenant.health.lock();
        estimates.sort_by_key(|estimate| {
            let keys = tenant.key_ids(estimate.endpoint);
            health.pass(Watch::place(estimate), account, keys, now) == Pass::Blocked
        });
    }

    /// Begins an attempt with the endpoint's key of that index.
    pub(crate) fn begin(
        estimate: &Estimate<'_>,
        key: Option<usize>,
        call: &Admitted<'_, '_>,
    ) -> Watch {
        let (tenant, endpoint) = (estimate.tenant, estimate.endpoint);
        let keys = tenant.key_ids(endpoint);
        let text = tenant.config.providers.text.as_ref();
        if keys.len() < 2 && text.is_none_or(|text| text.endpoints.len() < 2) {
            return Watch { watched: None };
        }
        let begun = Begun {
            account: Watch::number_of(call),
            at: Instant::now(),
        };
        let place = Watch::place(estimate);
        tenant.health.lock().begin(place, begun);
        Watch {
            watched: Some(Watched {
                tenant: tenant.clone(),
                endpoint: place.endpoint.to_owned(),
                model: place.model.to_owned(),
                key: keys
                    .get(key.unwrap_or_default())
                    .copied()
                    .unwrap_or_default(),
                begun,
            }),
        }
    }

    /// Ends an attempt with what its outcome tells of the endpoint.
    pub(crate) fn end(mut self, call: &Admitted<'_, '_>, error: Option<&GatewayError>) {
        let Some(watched) = self.watched.take() else {
            return;
        };
        let now = Instant::now();
        let heard = heard(call, error);
        let lasted = now.duration_since(watched.begun.at);
        let told = Told {
            heard,
            latency: match heard {
                Heard::Failed => Some(lasted),
                _ => call.outcome.first_byte,
            },
        };
        let mut health = watched.tenant.health.lock();
        let change = health.end(watched.place(), watched.begun, told, now);
        if let Some(rest) = rest(call, error) {
            let needed = NeededRest {
                key: watched.key,
                account: watched.begun.account,
                asked: rest.asked,
                is_keys: rest.is_keys,
            };
            health.rest(watched.place(), needed, now);
        }
        drop(health);
        if let Some(change) = change {
            tell(&watched, call, change);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(watched) = &self.watched {
            let told = Told {
                heard: Heard::Unsure,
                latency: None,
            };
            let mut health = watched.tenant.health.lock();
            health.end(watched.place(), watched.begun, told, Instant::now());
        }
    }
}

/// Health of an endpoint as an attempt tells it. Refusals of the tenant's key, and of the request, tell nothing bad of it.
fn heard(call: &Admitted<'_, '_>, error: Option<&GatewayError>) -> Heard {
    let outcome = call.outcome_with(error);
    match (outcome.fault, error, outcome.provider_status) {
        (Some(ProviderFault::Excess), ..) | (_, Some(GatewayError::ProviderRefused(_)), _) => {
            Heard::Unsure
        }
        (Some(_), ..) => Heard::Failed,
        (None, _, Some(StatusCode::TOO_MANY_REQUESTS)) => Heard::Failed,
        (None, _, Some(status)) if status.is_server_error() => Heard::Failed,
        (None, _, Some(StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT)) => Heard::Unsure,
        (None, _, Some(_)) => Heard::Answered,
        (None, _, None) => Heard::Unsure,
    }
}

/// Rest of a key. `asked`: the provider's `retry-after`.
struct Rest {
    asked: Option<Duration>,
    /// Whether nothing but the key is at fault.
    is_keys: bool,
}

/// Returns the rest that an attempt's key needs: it was refused, or the provider's rate is limited.
fn rest(call: &Admitted<'_, '_>, error: Option<&GatewayError>) -> Option<Rest> {
    let asked = call.outcome.retry_after;
    let is_refused = matches!(error, Some(GatewayError::ProviderRefused(_)));
    match call.outcome.provider_status? {
        StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED => Some(Rest {
            asked: None,
            is_keys: true,
        }),
        // A 403 may be about what the account has sent.
        _ if is_refused => Some(Rest {
            asked: None,
            is_keys: false,
        }),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let asked = Some(asked?);
            Some(Rest {
                asked,
                is_keys: false,
            })
        }
        _ => None,
    }
}

/// Logs that an endpoint is passed over, or used again, and counts it.
fn tell(watched: &Watched, call: &Admitted<'_, '_>, change: Change) {
    let (endpoint, tenant) = (&watched.endpoint, call.tenant.as_str());
    let about = About {
        tenant: Some(tenant),
        endpoint: Some(endpoint),
        model: Some(&watched.model),
        ..About::default()
    };
    match change {
        Change::Opened { failures, accounts } => {
            let line = format_args!(
                "Endpoint {endpoint} is passed over: {failures} calls of {accounts} accounts failed in a row. One \
                 call at a time probes it"
            );
            about.log(module_path!(), Level::Warn, &[], line);
        }
        Change::Closed => {
            let line = format_args!("Endpoint {endpoint} is used again: its probe was answered");
            about.log(module_path!(), Level::Info, &[], line);
        }
    }
}
