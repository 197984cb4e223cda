//! Everything that keeps a request from its answer, and what its caller gets to hear of it.
//!
//! One enum, one match. What the caller reads and what the log keeps are two texts: a caller never
//! learns of the operator's troubles more than that there are some.

use crate::local::answer::Refusal;
use crate::rules::amount::Millis;
use crate::store::StoreError;
use log::Level;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayError {
    InvalidTenant,
    /// There is a config, and it cannot be used.
    BrokenTenant,
    Local(Refusal),
    /// A call that was asked for over a WebSocket.
    NoSocket,
    NoRealtime,
    NoSuchCall,
    HeadTooLarge,
    UnknownCoding,
    UnknownExpectation,
    OtherMethods(String),
    /// The host that was asked for is not this gateway.
    Misdirected,
    BadRequest(String),
    NoKey,
    UnknownKey,
    Unreadable(String),
    BodyTooLarge {
        most: u64,
    },
    BodyTimeout,
    HeadTimeout,
    NoEndpoint {
        model: Option<String>,
    },
    /// The tenant's lists, or its group's, do not have the model.
    NotServed {
        model: Option<String>,
    },
    /// Too many wrong keys came from its address.
    Unwelcome {
        wait: Millis,
    },
    /// This key's refused calls take too much processor time.
    TooManyRefused {
        wait: Millis,
    },
    /// More than this gateway can do, or keep, at one time.
    Overloaded,
    Spent,
    Held,
    /// As many calls of this account are in flight as its group may have.
    TooManyInFlight,
    TooFast {
        wait: Millis,
    },
    Store(StoreError),
    /// The provider cannot be reached, or broke off before it answered.
    Upstream(String),
    UpstreamTimeout(String),
    /// The provider does not take the operator's key or has no credit left for it.
    UpstreamRefused(String),
    /// Draining came to its end, or the request's hold did.
    Ended(&'static str),
    /// An answer broke off that cannot say so: its connection is closed without a clean end.
    Torn,
    /// Nobody is there to hear anything.
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

/// What the caller gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    pub retry_after: Option<u64>,
    /// Nothing will change by asking again: SDKs must not.
    pub is_final: bool,
}

impl GatewayError {
    pub fn said(&self) -> Said {
        let said = |status, code, message: &str| Said {
            status,
            code,
            message: message.to_owned(),
            retry_after: None,
            is_final: false,
        };
        let again = |said: Said, seconds| Said {
            retry_after: Some(seconds),
            ..said
        };
        match self {
            GatewayError::InvalidTenant => said(400, "invalid_tenant", "Invalid tenant ID"),
            GatewayError::BrokenTenant => {
                said(503, "broken_config", "The tenant's config cannot be used")
            }
            GatewayError::Local(_) => said(500, "internal_error", "Internal Server Error"),
            GatewayError::HeadTooLarge => said(431, "head_too_large", "The headers are too large"),
            GatewayError::UnknownCoding => said(
                501,
                "unknown_coding",
                "A body may be chunked and nothing else",
            ),
            GatewayError::UnknownExpectation => said(
                417,
                "unknown_expectation",
                "Only 100-continue can be expected",
            ),
            GatewayError::NoSuchCall => said(404, "not_found", "This gateway serves no such call"),
            GatewayError::NoSocket => said(
                426,
                "websocket_not_served",
                "Responses are not served over a WebSocket here; send the call with POST",
            ),
            GatewayError::NoRealtime => said(
                501,
                "realtime_not_served",
                "Realtime conversations are not served here",
            ),
            GatewayError::OtherMethods(_) => said(405, "method_not_allowed", "Method not allowed"),
            GatewayError::Misdirected => said(
                421,
                "misdirected_request",
                "This gateway does not answer to the host that was asked for; server.hosts lists its names",
            ),
            GatewayError::BadRequest(text) => said(400, "bad_request", text),
            GatewayError::NoKey => said(
                401,
                "invalid_api_key",
                "No API key was sent. Send it as: Authorization: Bearer <key>",
            ),
            GatewayError::UnknownKey => said(401, "invalid_api_key", "Unknown API key"),
            GatewayError::Unreadable(text) => said(400, "invalid_body", text),
            GatewayError::BodyTooLarge { most } => said(
                413,
                "body_too_large",
                &format!("The body is longer than {most} bytes"),
            ),
            GatewayError::BodyTimeout => {
                said(408, "body_timeout", "The body did not arrive in time")
            }
            GatewayError::HeadTimeout => {
                said(408, "head_timeout", "The headers did not arrive in time")
            }
            GatewayError::NoEndpoint { model } => {
                let model = model.as_deref().unwrap_or("this call");
                said(
                    404,
                    "model_not_found",
                    &format!("No provider is configured for {model}"),
                )
            }
            GatewayError::NotServed { model } => {
                let text = match model {
                    Some(model) => format!("The model {model} is not served with this key"),
                    None => "A call must name its model here".to_owned(),
                };
                said(404, "model_not_found", &text)
            }
            GatewayError::Unwelcome { wait } => again(
                said(
                    429,
                    "too_many_wrong_keys",
                    "Too many wrong keys came from this address; try again later",
                ),
                wait.seconds_up().max(1),
            ),
            GatewayError::TooManyRefused { wait } => again(
                said(
                    429,
                    "too_many_refused",
                    "Too many calls with this key were refused; try again later",
                ),
                wait.seconds_up().max(1),
            ),
            GatewayError::Overloaded => again(
                said(
                    503,
                    "overloaded",
                    "The gateway has more to do than it can; try again",
                ),
                1,
            ),
            GatewayError::Spent => Said {
                is_final: true,
                ..said(
                    402,
                    "insufficient_tokens",
                    "The token balance of this key does not cover an answer",
                )
            },
            GatewayError::Held => again(
                said(
                    429,
                    "tokens_held",
                    "Requests in flight hold the rest of this key's balance",
                ),
                1,
            ),
            GatewayError::TooManyInFlight => again(
                said(
                    429,
                    "too_many_in_flight",
                    "As many requests of this account are in flight as may be at a time",
                ),
                1,
            ),
            GatewayError::TooFast { wait } => again(
                said(
                    429,
                    "rate_limit_exceeded",
                    "Too many requests with this key",
                ),
                wait.seconds_up().max(1),
            ),
            GatewayError::Store(StoreError::Damaged { .. }) | GatewayError::Panic(_) => {
                said(500, "internal_error", "Internal Server Error")
            }
            GatewayError::Store(StoreError::Full) => again(
                said(503, "store_full", "The store has no room; try again later"),
                2,
            ),
            GatewayError::Store(_) => again(
                said(
                    503,
                    "store_unavailable",
                    "The store is unavailable; try again",
                ),
                1,
            ),
            GatewayError::Upstream(_) => said(
                502,
                "provider_failed",
                "The provider did not answer as it should",
            ),
            GatewayError::UpstreamTimeout(_) => said(
                504,
                "provider_timeout",
                "The provider did not answer in time",
            ),
            GatewayError::UpstreamRefused(_) => Said {
                is_final: true,
                ..said(502, "provider_refused", "The provider refused this gateway")
            },
            GatewayError::Ended(why) => again(said(503, "ended", why), 1),
            GatewayError::Torn => said(502, "provider_failed", "The provider broke off"),
            GatewayError::ClientGone => said(499, "client_gone", "The client has left"),
        }
    }

    /// What the log keeps, and how loudly. `None`: nothing beyond the record of the request.
    pub fn logged(&self) -> Option<(Level, String)> {
        match self {
            GatewayError::Store(error @ StoreError::Damaged { .. }) => {
                Some((Level::Error, format!("A record is damaged: {error}")))
            }
            // The store has said so itself, once when it began; it will once more when it is over.
            GatewayError::Store(StoreError::Lost(_) | StoreError::Full) => None,
            GatewayError::Store(error) => Some((Level::Warn, error.to_string())),
            GatewayError::Panic(text) => Some((Level::Error, format!("Panic: {text}"))),
            GatewayError::Upstream(why) | GatewayError::UpstreamTimeout(why) => {
                Some((Level::Warn, format!("Provider failed: {why}")))
            }
            GatewayError::UpstreamRefused(why) => {
                Some((Level::Error, format!("Provider refused the gateway: {why}")))
            }
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
        let (spent, held) = (GatewayError::Spent.said(), GatewayError::Held.said());
        assert_eq!(
            (spent.status, spent.is_final, spent.retry_after),
            (402, true, None)
        );
        assert_eq!(
            (held.status, held.is_final, held.retry_after),
            (429, false, Some(1))
        );
        let fast = GatewayError::TooFast { wait: Millis(1) }.said();
        assert_eq!((fast.status, fast.retry_after), (429, Some(1)));
    }

    #[test]
    fn a_lost_store_is_never_said_to_be_an_empty_balance() {
        let lost = GatewayError::Store(StoreError::Unavailable("secret detail".into())).said();
        assert_eq!((lost.status, lost.retry_after), (503, Some(1)));
        assert!(!lost.message.contains("secret"));
        let full = GatewayError::Store(StoreError::Full).said();
        assert_eq!((full.status, full.retry_after), (503, Some(2)));
    }
}
