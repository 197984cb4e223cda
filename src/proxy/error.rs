//! [`GatewayError`]: every error of a request, the reply to its client and the line in the log.
//!
//! One match gives status, code and retry ([`GatewayError::reply`]), one the log line
//! ([`GatewayError::log`]). A reply never contains details of the operator's providers, store or network.

use crate::local::answer::Refusal;
use crate::proxy::outcome::{ProviderFault, Refused};
use crate::rules::amount::Millis;
use crate::store::StoreError;
use crate::telemetry::fields::About;
use crate::telemetry::throttle::Throttle;
use http::StatusCode;
use log::Level;
use std::fmt::{self, Display, Formatter};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayError {
    InvalidTenant,
    /// 503 `broken_config`: the tenant's config is stored but invalid.
    BrokenTenant,
    Local(Refusal),
    /// `GET responses` with an upgrade: not served over a WebSocket.
    WebSocketNotServed,
    RealtimeNotServed,
    UnknownCall,
    HeadTooLarge,
    UnknownCoding,
    UnknownExpectation,
    MethodNotAllowed(String),
    /// The `Host` is none of `server.hosts`.
    Misdirected,
    BadRequest(String),
    MissingKey,
    /// The only key stands in the query, where the tenant takes none.
    KeyInQuery,
    UnknownKey,
    InvalidBody(String),
    BodyTooLarge {
        max_bytes: u64,
    },
    BodyTimeout,
    HeadTimeout,
    NoEndpoint {
        model: Option<String>,
    },
    /// 404 `model_not_found`: the model is on no list of the tenant's endpoints, or not on its group's.
    ModelNotServed {
        model: Option<String>,
    },
    /// 429: too many failed keys came from the client's address (`limits::auth_failures`).
    TooManyWrongKeys {
        wait: Millis,
    },
    /// 429: this key's refused calls take too much processor time (`limits::refused_work`).
    TooManyRefused {
        wait: Millis,
    },
    /// 503: a limit of this process is reached, see `limits`: requests, body memory, load shedding.
    Overloaded,
    InsufficientTokens,
    /// 402: what the key may spend of its account's balance is spent.
    KeyLimit,
    /// 403: the model is on no list of the key's own.
    ModelNotAllowed,
    AccountBlocked,
    /// 403: the key may not be used from the client's address.
    AddressNotAllowed,
    TokensHeld,
    /// `max_concurrent` of the account's group.
    TooManyInFlight,
    RateLimited {
        wait: Millis,
    },
    Store(StoreError),
    /// 502 `provider_failed`: the provider is unreachable, broke off, or sent an answer that cannot be
    /// relayed.
    ProviderFailed(ProviderFault, String),
    ProviderTimeout(String),
    /// An error that a provider answered, in place of which another attempt was to be made.
    ProviderError(StatusCode),
    /// 502 `provider_refused`: the provider rejects the operator's key, or has no credit left for it.
    ProviderRefused(String),
    /// 503 `ended`: `server.drain_timeout` passed, or the request's hold ended.
    Ended(&'static str),
    /// A stream without events (sound) broke off: its connection is closed without a clean end.
    BrokenOff,
    /// The client has disconnected (499 `client_gone`).
    ClientGone,
    Panic(String),
}

impl From<Refusal> for GatewayError {
    fn from(refusal: Refusal) -> GatewayError {
        match refusal {
            Refusal::Store(error) => GatewayError::Store(error),
            refusal => GatewayError::Local(refusal),
        }
    }
}

impl From<StoreError> for GatewayError {
    fn from(error: StoreError) -> GatewayError {
        GatewayError::Store(error)
    }
}

/// Error reply, independent of the API: `reply::refuse` gives it the API's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorReply {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    pub retry_after: Option<u64>,
    /// Retrying cannot help: sent as `x-should-retry: false`, which SDKs obey.
    pub is_final: bool,
}

impl GatewayError {
    pub(crate) fn reply(&self) -> ErrorReply {
        let (status, code) = self.status_and_code();
        ErrorReply {
            status,
            code,
            message: self.message(),
            retry_after: self.retry_after(),
            is_final: matches!(
                self,
                GatewayError::InsufficientTokens
                    | GatewayError::KeyLimit
                    | GatewayError::ProviderRefused(_)
            ),
        }
    }

    /// Status and code for the metrics and the log; local routes have no code in their answers. `None`: nothing is
    /// answered, or not because of this error.
    pub(crate) fn refused(&self) -> Option<Refused> {
        let (status, code) = match self {
            GatewayError::ClientGone | GatewayError::BrokenOff => return None,
            GatewayError::Local(refusal) => refusal.status_and_code(),
            other => other.status_and_code(),
        };
        Some(Refused { status, code })
    }

    /// The failure of the provider that this error is about, if any.
    pub(crate) fn provider_fault(&self) -> Option<ProviderFault> {
        match self {
            GatewayError::ProviderFailed(fault, _) => Some(*fault),
            GatewayError::ProviderTimeout(_) => Some(ProviderFault::TimedOut),
            _ => None,
        }
    }

    fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            GatewayError::InvalidTenant => (400, "invalid_tenant"),
            GatewayError::BrokenTenant => (503, "broken_config"),
            GatewayError::Local(_) => (500, "internal_error"),
            GatewayError::HeadTooLarge => (431, "head_too_large"),
            GatewayError::UnknownCoding => (501, "unknown_coding"),
            GatewayError::UnknownExpectation => (417, "unknown_expectation"),
            GatewayError::UnknownCall => (404, "not_found"),
            GatewayError::WebSocketNotServed => (426, "websocket_not_served"),
            GatewayError::RealtimeNotServed => (501, "realtime_not_served"),
            GatewayError::MethodNotAllowed(_) => (405, "method_not_allowed"),
            GatewayError::Misdirected => (421, "misdirected_request"),
            GatewayError::BadRequest(_) => (400, "bad_request"),
            GatewayError::MissingKey | GatewayError::UnknownKey => (401, "invalid_api_key"),
            GatewayError::KeyInQuery => (401, "invalid_api_key"),
            GatewayError::InvalidBody(_) => (400, "invalid_body"),
            GatewayError::BodyTooLarge { .. } => (413, "body_too_large"),
            GatewayError::BodyTimeout => (408, "body_timeout"),
            GatewayError::HeadTimeout => (408, "head_timeout"),
            GatewayError::NoEndpoint { .. } => (404, "model_not_found"),
            GatewayError::ModelNotServed { .. } => (404, "model_not_found"),
            GatewayError::TooManyWrongKeys { .. } => (429, "too_many_wrong_keys"),
            GatewayError::TooManyRefused { .. } => (429, "too_many_refused"),
            GatewayError::Overloaded => (503, "overloaded"),
            GatewayError::InsufficientTokens => (402, "insufficient_tokens"),
            GatewayError::KeyLimit => (402, "key_limit"),
            GatewayError::AccountBlocked => (403, "account_blocked"),
            GatewayError::ModelNotAllowed => (403, "model_not_allowed"),
            GatewayError::AddressNotAllowed => (403, "address_not_allowed"),
            GatewayError::TokensHeld => (429, "tokens_held"),
            GatewayError::TooManyInFlight => (429, "too_many_in_flight"),
            GatewayError::RateLimited { .. } => (429, "rate_limit_exceeded"),
            GatewayError::Store(StoreError::Damaged { .. }) => (500, "internal_error"),
            GatewayError::Store(StoreError::Full) => (503, "store_full"),
            GatewayError::Store(_) => (503, "store_unavailable"),
            GatewayError::ProviderError(StatusCode::TOO_MANY_REQUESTS) => {
                (429, "provider_rate_limited")
            }
            GatewayError::ProviderFailed(..) | GatewayError::ProviderError(_) => {
                (502, "provider_failed")
            }
            GatewayError::ProviderTimeout(_) => (504, "provider_timeout"),
            GatewayError::ProviderRefused(_) => (502, "provider_refused"),
            GatewayError::Ended(_) => (503, "ended"),
            GatewayError::BrokenOff => (502, "provider_failed"),
            GatewayError::ClientGone => (499, "client_gone"),
            GatewayError::Panic(_) => (500, "internal_error"),
        }
    }

    /// Text for the client. It never tells details of the operator's troubles.
    fn message(&self) -> String {
        match self {
            GatewayError::BadRequest(text) | GatewayError::InvalidBody(text) => text.clone(),
            GatewayError::Ended(why) => (*why).to_owned(),
            GatewayError::BodyTooLarge { max_bytes } => {
                format!("The body is longer than {max_bytes} bytes")
            }
            GatewayError::NoEndpoint { model } => {
                let model = model.as_deref().unwrap_or("this call");
                format!("No provider is configured for {model}")
            }
            GatewayError::ModelNotServed { model: Some(model) } => {
                format!("The model {model} is not served with this key")
            }
            other => other.fixed_message().to_owned(),
        }
    }

    fn fixed_message(&self) -> &'static str {
        match self {
            Self::InvalidTenant => "Invalid tenant ID",
            Self::BrokenTenant => "The tenant's config cannot be used",
            Self::HeadTooLarge => "The headers are too large",
            Self::UnknownCoding => "A body may be chunked and nothing else",
            Self::UnknownExpectation => "Only 100-continue can be expected",
            Self::UnknownCall => "This gateway serves no such call",
            Self::WebSocketNotServed => {
                "Responses are not served over a WebSocket here; send the call with POST"
            }
            Self::RealtimeNotServed => "Realtime conversations are not served here",
            Self::MethodNotAllowed(_) => "Method not allowed",
            Self::Misdirected => {
                "This gateway does not answer to the host that was asked for; server.hosts lists its names"
            }
            Self::MissingKey => "No API key was sent. Send it as: Authorization: Bearer <key>",
            Self::KeyInQuery => {
                "An API key in the query is not taken here (auth.key_in_query of the tenant). Send it as: x-goog-api-key: <key>"
            }
            Self::UnknownKey => "Unknown API key",
            Self::BodyTimeout => "The body did not arrive in time",
            Self::HeadTimeout => "The headers did not arrive in time",
            Self::ModelNotServed { .. } => "A call must name its model here",
            Self::TooManyWrongKeys { .. } => {
                "Too many wrong keys came from this address; try again later"
            }
            Self::TooManyRefused { .. } => {
                "Too many calls with this key were refused; try again later"
            }
            Self::Overloaded => "The gateway has more to do than it can; try again",
            Self::InsufficientTokens => "The token balance of this key does not cover an answer",
            Self::KeyLimit => "This key has spent what it may of its account's balance",
            Self::AccountBlocked => "This account is suspended",
            Self::ModelNotAllowed => "This key may not ask for that model",
            Self::AddressNotAllowed => "This key may not be used from this address",
            Self::TokensHeld => "Requests in flight hold the rest of this key's balance",
            Self::TooManyInFlight => "As many requests of this account are in flight as may be",
            Self::RateLimited { .. } => "Too many requests with this key",
            Self::Store(StoreError::Full) => "The store has no room; try again later",
            Self::Store(StoreError::Damaged { .. }) | Self::Panic(_) | Self::Local(_) => {
                "Internal Server Error"
            }
            Self::Store(_) => "The store is unavailable; try again",
            Self::ProviderFailed(..) | Self::ProviderError(_) => {
                "The provider did not answer as it should"
            }
            Self::ProviderTimeout(_) => "The provider did not answer in time",
            Self::ProviderRefused(_) => "The provider refused this gateway",
            Self::BrokenOff => "The provider broke off",
            Self::ClientGone => "The client has left",
            // Their messages are made in `message`.
            Self::BadRequest(_)
            | Self::InvalidBody(_)
            | Self::Ended(_)
            | Self::BodyTooLarge { .. }
            | Self::NoEndpoint { .. } => "",
        }
    }

    /// Seconds after which a retry makes sense.
    fn retry_after(&self) -> Option<u64> {
        match self {
            GatewayError::TooManyWrongKeys { wait }
            | GatewayError::TooManyRefused { wait }
            | GatewayError::RateLimited { wait } => Some(wait.seconds_up().max(1)),
            GatewayError::Store(StoreError::Damaged { .. }) => None,
            GatewayError::Store(StoreError::Full) => Some(2),
            GatewayError::Overloaded
            | GatewayError::TokensHeld
            | GatewayError::TooManyInFlight
            | GatewayError::Store(_)
            | GatewayError::Ended(_) => Some(1),
            _ => None,
        }
    }

    /// Whether another provider may do better: this one is at fault, or refuses the tenant's key.
    pub(crate) fn is_providers(&self) -> bool {
        matches!(
            self,
            GatewayError::ProviderFailed(..)
                | GatewayError::ProviderError(_)
                | GatewayError::ProviderTimeout(_)
                | GatewayError::ProviderRefused(_)
        )
    }

    /// Whether a call was refused for what its caller sent or has left: such refusals are metered by
    /// [`crate::proxy::limits::refused_work`].
    pub(crate) fn is_callers_fault(&self) -> bool {
        matches!(
            self,
            GatewayError::InvalidBody(_)
                | GatewayError::NoEndpoint { .. }
                | GatewayError::ModelNotServed { .. }
                | GatewayError::InsufficientTokens
                | GatewayError::KeyLimit
                | GatewayError::ModelNotAllowed
                | GatewayError::AccountBlocked
                | GatewayError::AddressNotAllowed
                | GatewayError::TokensHeld
                | GatewayError::TooManyInFlight
                | GatewayError::RateLimited { .. }
        )
    }

    /// Logs the error, if the operator should see it: of each kind one line a second.
    pub fn log(&self, about: About<'_>) {
        let Some(level) = self.level() else {
            return;
        };
        let outcome = self
            .provider_fault()
            .map(|fault| ("outcome", fault.word().into()));
        about.log_throttled(
            self.kind(),
            module_path!(),
            level,
            outcome.as_slice(),
            format_args!("{}", LogSentence(self)),
        );
    }

    /// Returns the sentence of the error's log line.
    pub(crate) fn in_line(&self) -> impl Display {
        LogSentence(self)
    }

    /// Level of the log line. `None`: the usage record, or the store's own line, tells enough.
    fn level(&self) -> Option<Level> {
        match self {
            // The store logs the start and the end of an outage itself, once each.
            GatewayError::Store(StoreError::Lost(_) | StoreError::Full) => None,
            GatewayError::Store(StoreError::Damaged { .. })
            | GatewayError::Panic(_)
            | GatewayError::ProviderRefused(_) => Some(Level::Error),
            GatewayError::Store(_)
            | GatewayError::ProviderFailed(..)
            | GatewayError::ProviderError(_)
            | GatewayError::ProviderTimeout(_)
            | GatewayError::Ended(_) => Some(Level::Warn),
            _ => None,
        }
    }

    /// Kind of the log line: of each, one is written in a second.
    fn kind(&self) -> &'static Throttle {
        static FAULTS: [Throttle; ProviderFault::COUNT] =
            [const { Throttle::new() }; ProviderFault::COUNT];
        static REFUSED: Throttle = Throttle::new();
        static DAMAGED: Throttle = Throttle::new();
        static STORE: Throttle = Throttle::new();
        static OTHERS: Throttle = Throttle::new();
        match self {
            GatewayError::ProviderRefused(_) => &REFUSED,
            GatewayError::Store(StoreError::Damaged { .. }) => &DAMAGED,
            GatewayError::Store(_) => &STORE,
            other => match other.provider_fault() {
                Some(fault) => &FAULTS[fault as usize],
                None => &OTHERS,
            },
        }
    }
}

/// Sentence of an error's log line, for errors that have a `level`.
struct LogSentence<'a>(&'a GatewayError);

impl Display for LogSentence<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            GatewayError::Store(error @ StoreError::Damaged { .. }) => write!(
                f,
                "A record is damaged: {error}. The request got 500; restore the record"
            ),
            GatewayError::Store(error) => write!(f, "{error}"),
            GatewayError::Panic(text) => write!(f, "Panic: {text}"),
            GatewayError::ProviderFailed(_, why) | GatewayError::ProviderTimeout(why) => {
                write!(f, "Provider failed: {why}")
            }
            GatewayError::ProviderError(status) => write!(f, "Provider answered {status}"),
            GatewayError::ProviderRefused(why) => write!(
                f,
                "Provider refused the gateway: {why}; check its api_key and its credit"
            ),
            GatewayError::Ended(why) => write!(f, "Request ended: {why}"),
            other => f.write_str(other.fixed_message()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spent_is_final_and_held_is_not() {
        let (spent, held) = (
            GatewayError::InsufficientTokens.reply(),
            GatewayError::TokensHeld.reply(),
        );
        assert_eq!(
            (spent.status, spent.is_final, spent.retry_after),
            (402, true, None)
        );
        assert_eq!(
            (held.status, held.is_final, held.retry_after),
            (429, false, Some(1))
        );
        let fast = GatewayError::RateLimited { wait: Millis(1) }.reply();
        assert_eq!((fast.status, fast.retry_after), (429, Some(1)));
    }

    #[test]
    fn a_lost_store_is_never_said_to_be_an_empty_balance() {
        let lost = GatewayError::Store(StoreError::Unavailable("secret detail".into())).reply();
        assert_eq!((lost.status, lost.retry_after), (503, Some(1)));
        assert!(!lost.message.contains("secret"));
        let full = GatewayError::Store(StoreError::Full).reply();
        assert_eq!((full.status, full.retry_after), (503, Some(2)));
    }
}
