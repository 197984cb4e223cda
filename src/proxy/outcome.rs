//! Outcome of a request, for its metrics, its log lines and its access line: the first error that the gateway
//! answered, and how the call ended at its provider.
//!
//! Every word here comes from a fixed list, because each is the value of a label.

use crate::local::route::{LocalRoute, pattern};
use http::StatusCode;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Failure of a provider, or on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderFault {
    /// Its address must not be reached (`egress`), or would be without TLS.
    Blocked,
    /// Its host name has no address.
    LookupFailed,
    ConnectFailed,
    TlsFailed,
    /// The answer did not begin in time, or fell silent.
    TimedOut,
    /// The connection broke before the end of its answer.
    Broken,
    /// Its answer cannot be read, or was not asked for.
    Invalid,
    /// It sent more than it was asked for.
    Excess,
}

impl ProviderFault {
    /// Number of variants.
    pub const COUNT: usize = ProviderFault::Excess as usize + 1;

    pub fn word(self) -> &'static str {
        match self {
            ProviderFault::Blocked => "blocked",
            ProviderFault::LookupFailed => "lookup_failed",
            ProviderFault::ConnectFailed => "connect_failed",
            ProviderFault::TlsFailed => "tls_failed",
            ProviderFault::TimedOut => "timed_out",
            ProviderFault::Broken => "broken",
            ProviderFault::Invalid => "invalid",
            ProviderFault::Excess => "excess",
        }
    }
}

/// Error that the gateway answered itself, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub code: &'static str,
}

/// Route of a request, as its pattern: a path may hold a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    #[default]
    None,
    Local(LocalRoute),
    /// A call of a provider's API, as `chat/completions`.
    Call(&'static str),
}

impl Display for Route {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Route::None => f.write_str("-"),
            Route::Local(route) => {
                let (is_tenants, pattern) = pattern(*route);
                f.write_str(if is_tenants { "/{tenant}" } else { "" })?;
                f.write_str(pattern)
            }
            Route::Call(path) => write!(f, "/{{tenant}}/v1/{path}"),
        }
    }
}

/// Outcome of one request so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestOutcome {
    /// Whether the path names a tenant that exists. Any other name is not logged: it may be a key.
    pub has_tenant: bool,
    pub route: Route,
    /// The first error; later ones follow from it.
    pub refused: Option<Refused>,
    /// The first failure of the provider.
    pub fault: Option<ProviderFault>,
    /// Status of the provider's answer.
    pub provider_status: Option<StatusCode>,
    /// Time to the head of the provider's answer.
    pub first_byte: Option<Duration>,
    /// Time after which the provider wants to be asked again (`retry-after`).
    pub retry_after: Option<Duration>,
    /// Value of `x-resullm-cache`. `None`: its tenant has none.
    pub cache: Option<&'static str>,
    /// Whether some of an answer, or an error, was passed on to the client: no other attempt is made after that.
    pub is_committed: bool,
}

impl RequestOutcome {
    /// Notes an error. The first one counts: later ones follow from it.
    pub fn note(&mut self, refused: Option<Refused>, fault: Option<ProviderFault>) {
        self.refused = self.refused.or(refused);
        self.fault = self.fault.or(fault);
    }

    /// Forgets the provider of the attempt before.
    pub(crate) fn begin_attempt(&mut self) {
        self.fault = None;
        self.provider_status = None;
        self.first_byte = None;
        self.retry_after = None;
    }

    /// Value of `outcome` in `resullm_provider_answers_total`.
    pub(crate) fn provider_word(&self) -> &'static str {
        match (self.fault, self.provider_status) {
            (Some(fault), _) => fault.word(),
            (None, Some(status)) => status_word(status),
            // The client left, the hold ended, or the gateway shut down before the answer.
            (None, None) => "abandoned",
        }
    }
}

/// Class of a status. Those that tell of the operator's account stand alone.
fn status_word(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "2xx",
        300..=399 => "3xx",
        401 => "401",
        402 => "402",
        403 => "403",
        429 => "429",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_of_a_provider_outweighs_the_status_that_it_sent_before() {
        let mut outcome = RequestOutcome::default();
        assert_eq!(outcome.provider_word(), "abandoned");
        outcome.provider_status = Some(StatusCode::OK);
        assert_eq!(outcome.provider_word(), "2xx");
        outcome.fault = Some(ProviderFault::Broken);
        assert_eq!(outcome.provider_word(), "broken");
    }

    #[test]
    fn routes_are_patterns() {
        assert_eq!(
            Route::Call("chat/completions").to_string(),
            "/{tenant}/v1/chat/completions"
        );
        assert_eq!(
            Route::Local(LocalRoute::KeyCredit).to_string(),
            "/{tenant}/admin/keys/{key}/credit"
        );
        assert_eq!(
            Route::Local(LocalRoute::TenantRead).to_string(),
            "/admin/tenants/{tenant}"
        );
        assert_eq!(Route::None.to_string(), "-");
    }

    #[test]
    fn statuses_of_the_operators_account_stand_alone() {
        for (status, word) in [
            (204, "2xx"),
            (307, "3xx"),
            (404, "4xx"),
            (429, "429"),
            (529, "5xx"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(status_word(status), word);
        }
    }
}
