//! [`GatewayError`]: every error of a request, the reply to its client and the line in the log.
//!
//! One match gives status, code and retry ([`GatewayError::reply`]), one the log line
//! ([`GatewayError::log`]). A reply never contains details of the operator's providers, store or network.

use crate::local::answer::Refusal;
use crate::rules::amount::Millis;
use crate::store::StoreError;
use log::Level;

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
    TokensHeld,
    /// `max_concurrent` of the account's group.
    TooManyInFlight,
    RateLimited {
        wait: Millis,
    },
    Store(StoreError),
    /// 502 `provider_failed`: the provider is unreachable, broke off, or sent an answer that cannot be
    /// relayed.
    ProviderFailed(String),
    ProviderTimeout(String),
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
pub struct ErrorReply {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    pub retry_after: Option<u64>,
    /// Retrying cannot help: sent as `x-should-retry: false`, which SDKs obey.
    pub is_final: bool,
}

impl GatewayError {
    pub fn reply(&self) -> ErrorReply {
        let reply = |status, code, message: &str| ErrorReply {
            status,
            code,
            message: message.to_owned(),
            retry_after: None,
            is_final: false,
        };
        let again = |said: ErrorReply, seconds| ErrorReply {
            retry_after: Some(seconds),
            ..said
        };
        match self {
            GatewayError::InvalidTenant => reply(400, "invalid_tenant", "Invalid tenant ID"),
            GatewayError::BrokenTenant => {
                reply(503, "broken_config", "The tenant's config cannot be used")
            }
            GatewayError::Local(_) => reply(500, "internal_error", "Internal Server Error"),
            GatewayError::HeadTooLarge => reply(431, "head_too_large", "The headers are too large"),
            GatewayError::UnknownCoding => reply(
                501,
                "unknown_coding",
                "A body may be chunked and nothing else",
            ),
            GatewayError::UnknownExpectation => reply(
                417,
                "unknown_expectation",
                "Only 100-continue can be expected",
            ),
            GatewayError::UnknownCall => {
                reply(404, "not_found", "This gateway serves no such call")
            }
            GatewayError::WebSocketNotServed => reply(
                426,
                "websocket_not_served",
                "Responses are not served over a WebSocket here; send the call with POST",
            ),
            GatewayError::RealtimeNotServed => reply(
                501,
                "realtime_not_served",
                "Realtime conversations are not served here",
            ),
            GatewayError::MethodNotAllowed(_) => {
                reply(405, "method_not_allowed", "Method not allowed")
            }
            GatewayError::Misdirected => reply(
                421,
                "misdirected_request",
                "This gateway does not answer to the host that was asked for; server.hosts lists its names",
            ),
            GatewayError::BadRequest(text) => reply(400, "bad_request", text),
            GatewayError::MissingKey => reply(
                401,
                "invalid_api_key",
                "No API key was sent. Send it as: Authorization: Bearer <key>",
            ),
            GatewayError::UnknownKey => reply(401, "invalid_api_key", "Unknown API key"),
            GatewayError::InvalidBody(text) => reply(400, "invalid_body", text),
            GatewayError::BodyTooLarge { max_bytes } => reply(
                413,
                "body_too_large",
                &format!("The body is longer than {max_bytes} bytes"),
            ),
            GatewayError::BodyTimeout => {
                reply(408, "body_timeout", "The body did not arrive in time")
            }
            GatewayError::HeadTimeout => {
                reply(408, "head_timeout", "The headers did not arrive in time")
            }
            GatewayError::NoEndpoint { model } => {
                let model = model.as_deref().unwrap_or("this call");
                reply(
                    404,
                    "model_not_found",
                    &format!("No provider is configured for {model}"),
                )
            }
            GatewayError::ModelNotServed { model } => {
                let text = match model {
                    Some(model) => format!("The model {model} is not served with this key"),
                    None => "A call must name its model here".to_owned(),
                };
                reply(404, "model_not_found", &text)
            }
            GatewayError::TooManyWrongKeys { wait } => again(
                reply(
                    429,
                    "too_many_wrong_keys",
                    "Too many wrong keys came from this address; try again later",
                ),
                wait.seconds_up().max(1),
            ),
            GatewayError::TooManyRefused { wait } => again(
                reply(
                    429,
                    "too_many_refused",
                    "Too many calls with this key were refused; try again later",
                ),
                wait.seconds_up().max(1),
            ),
            GatewayError::Overloaded => again(
                reply(
                    503,
                    "overloaded",
                    "The gateway has more to do than it can; try again",
                ),
                1,
            ),
            GatewayError::InsufficientTokens => ErrorReply {
                is_final: true,
                ..reply(
                    402,
                    "insufficient_tokens",
                    "The token balance of this key does not cover an answer",
                )
            },
            GatewayError::TokensHeld => again(
                reply(
                    429,
                    "tokens_held",
                    "Requests in flight hold the rest of this key's balance",
                ),
                1,
            ),
            GatewayError::TooManyInFlight => again(
                reply(
                    429,
                    "too_many_in_flight",
                    "As many requests of this account are in flight as may be at a time",
                ),
                1,
            ),
            GatewayError::RateLimited { wait } => again(
                reply(
                    429,
                    "rate_limit_exceeded",
                    "Too many requests with this key",
                ),
                wait.seconds_up().max(1),
            ),
            GatewayError::Store(StoreError::Damaged { .. }) | GatewayError::Panic(_) => {
                reply(500, "internal_error", "Internal Server Error")
            }
            GatewayError::Store(StoreError::Full) => again(
                reply(503, "store_full", "The store has no room; try again later"),
                2,
            ),
            GatewayError::Store(_) => again(
                reply(
                    503,
                    "store_unavailable",
                    "The store is unavailable; try again",
                ),
                1,
            ),
            GatewayError::ProviderFailed(_) => reply(
                502,
                "provider_failed",
                "The provider did not answer as it should",
            ),
            GatewayError::ProviderTimeout(_) => reply(
                504,
                "provider_timeout",
                "The provider did not answer in time",
            ),
            GatewayError::ProviderRefused(_) => ErrorReply {
                is_final: true,
                ..reply(502, "provider_refused", "The provider refused this gateway")
            },
            GatewayError::Ended(why) => again(reply(503, "ended", why), 1),
            GatewayError::BrokenOff => reply(502, "provider_failed", "The provider broke off"),
            GatewayError::ClientGone => reply(499, "client_gone", "The client has left"),
        }
    }

    /// Whether a call was refused for what its caller sent or has left: such refusals are metered by
    /// [`crate::proxy::limits::refused_work`].
    pub fn is_callers_fault(&self) -> bool {
        matches!(
            self,
            GatewayError::InvalidBody(_)
                | GatewayError::NoEndpoint { .. }
                | GatewayError::ModelNotServed { .. }
                | GatewayError::InsufficientTokens
                | GatewayError::TokensHeld
                | GatewayError::TooManyInFlight
                | GatewayError::RateLimited { .. }
        )
    }

    /// Logs the error with its tenant and `x-request-id`, if the operator should see it.
    pub fn log(&self, tenant: &str, request_id: &str) {
        if let Some((level, text)) = self.logged() {
            log::log!(level, "{text} (tenant {tenant}, request {request_id})");
        }
    }

    /// Level and text of the log line. `None`: the usage record, or the store's own line, tells enough.
    fn logged(&self) -> Option<(Level, String)> {
        match self {
            GatewayError::Store(error @ StoreError::Damaged { .. }) => Some((
                Level::Error,
                format!("A record is damaged: {error}. The request got 500; restore the record"),
            )),
            // The store logs the start and the end of an outage itself, once each.
            GatewayError::Store(StoreError::Lost(_) | StoreError::Full) => None,
            GatewayError::Store(error) => Some((Level::Warn, error.to_string())),
            GatewayError::Panic(text) => Some((Level::Error, format!("Panic: {text}"))),
            GatewayError::ProviderFailed(why) | GatewayError::ProviderTimeout(why) => {
                Some((Level::Warn, format!("Provider failed: {why}")))
            }
            GatewayError::ProviderRefused(why) => Some((
                Level::Error,
                format!("Provider refused the gateway: {why}; check its api_key and its credit"),
            )),
            GatewayError::Ended(why) => Some((Level::Warn, format!("Request ended: {why}"))),
            _ => None,
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
