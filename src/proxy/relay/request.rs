//! Inputs of relaying: the shared parts ([`Relay`]), and the call that an answer belongs to ([`RelayedCall`]).

use crate::dialect::Dialect;
use crate::dialect::call::{Api, Call};
use crate::dialect::translate::Translation;
use crate::proxy::cache::tap::Tap;
use crate::proxy::settlement::settle::Settlement;
use crate::rules::config::Endpoint;
use crate::rules::redact::Credentials;
use crate::rules::server::Server;
use crate::telemetry::metrics::Metrics;
use std::time::Instant;

/// Shared parts that relaying needs.
pub(crate) struct Relay<'a> {
    pub settlement: &'a Settlement,
    pub metrics: &'a Metrics,
}

/// Attempt that may follow the present one, if this fails before anything of an answer was passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextAttempt {
    deadline: Option<Instant>,
    /// Whether it goes to the same endpoint with another key, so that it helps only where the key is at fault.
    is_for_key: bool,
}

impl NextAttempt {
    pub const NONE: NextAttempt = NextAttempt {
        deadline: None,
        is_for_key: false,
    };

    /// An attempt that may begin until `deadline`.
    pub(crate) fn until(deadline: Instant, is_for_key: bool) -> NextAttempt {
        NextAttempt {
            deadline: Some(deadline),
            is_for_key,
        }
    }

    pub(crate) fn exists(self) -> bool {
        self.deadline.is_some()
    }

    /// Whether it may begin now. `is_keys_fault`: the present attempt failed because of its key.
    pub(crate) fn may_begin(self, is_keys_fault: bool) -> bool {
        let is_in_time = |deadline| Instant::now() < deadline;
        self.deadline.is_some_and(is_in_time) && (is_keys_fault || !self.is_for_key)
    }
}

/// Call that an answer belongs to, and the secrets to redact from it.
pub(crate) struct RelayedCall<'a> {
    /// Dialect in which the endpoint was asked.
    pub dialect: &'static dyn Dialect,
    /// API of the client.
    pub api: Api,
    /// Translation of the answer. `None`: the client's API is the endpoint's.
    pub translation: Option<&'a Translation>,
    pub call: &'a Call,
    /// Keys of the endpoint, redacted from the answer.
    pub credentials: &'a Credentials,
    /// Host of the provider to redact from errors, see [`private_host`].
    pub host: Option<&'a str>,
    pub next: NextAttempt,
    /// Takes a copy of the answer for the cache.
    pub tap: Option<&'a Tap>,
}

/// Returns the host of an endpoint if its name reveals the operator's account or private network. `None`: a
/// vendor's public host.
pub(crate) fn private_host(endpoint: &Endpoint) -> Option<&str> {
    let host = endpoint.url.as_ref().map(|url| url.host.as_str())?;
    (!Server::is_shared_host(host)).then_some(host)
}
