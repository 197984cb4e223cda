//! Writes answers and refusals to the client.
//!
//! A reply that is sent before the request's body was read drains what is small and closes after what is not:
//! leftover bytes must never be taken for the next request.

use crate::dialect::call::Api;
use crate::dialect::error::{self, Shape};
use crate::local::answer::{self, Answer};
use crate::proxy::downstream::connection::Gone;
use crate::proxy::downstream::cors::CorsGrant;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::{ErrorReply, GatewayError};
use crate::rules::amount::Tokens;
use crate::rules::window::Pace;
use http::header::{self, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

/// Longest time for which an unread body is drained behind a reply.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

pub type Written = Result<(), Gone>;

/// Facts of a request that every reply to it carries in its headers, whatever its outcome.
pub(crate) struct ReplyContext {
    request_id: String,
    api: Option<Api>,
    cors: Option<CorsGrant>,
    endpoint: Option<Arc<str>>,
    removed: Vec<String>,
    balance: Option<Tokens>,
    window: Option<Pace>,
    is_private: bool,
    cache: Option<&'static str>,
    /// Whether the client wants to be told the call's cost, with a header `x-resullm-cost` of its own.
    pub wants_cost: bool,
    cost: Option<String>,
    offer: Option<Box<Offer>>,
}

/// Ways to fill a balance that is spent.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    /// Moment of the group's next refill (`x-resullm-refills-at`).
    pub refills_at: Option<String>,
    /// Path of what the tenant sells (`x-resullm-plans`).
    pub plans: Option<String>,
}

impl Offer {
    /// Adds what there is to the sentence of a refusal.
    fn tell(&self, message: &mut String) {
        if let Some(at) = &self.refills_at {
            message.push_str("; it is refilled at ");
            message.push_str(at);
        }
        if let Some(path) = &self.plans {
            message.push_str("; plans are at ");
            message.push_str(path);
        }
    }
}

impl ReplyContext {
    pub fn new(request_id: String) -> ReplyContext {
        ReplyContext {
            request_id,
            api: None,
            cors: None,
            endpoint: None,
            removed: Vec::new(),
            balance: None,
            window: None,
            is_private: false,
            cache: None,
            wants_cost: false,
            cost: None,
            offer: None,
        }
    }

    /// Ways to fill the balance again, for a refusal because it is spent.
    pub(crate) fn set_offer(&mut self, offer: Offer) {
        self.offer = Some(Box::new(offer));
    }

    /// Whether the reply may be kept by nobody, and pages that it leads to are not told where from.
    pub(crate) fn set_private(&mut self, is_private: bool) {
        self.is_private = is_private;
    }

    /// Sets `x-resullm-cost`, if the client wants it.
    pub(crate) fn set_cost(&mut self, cost: impl FnOnce() -> String) {
        self.cost = self.wants_cost.then(cost);
    }

    /// Sets `x-resullm-cache`: `hit`, `miss` or `bypass`.
    pub(crate) fn set_cache(&mut self, cache: &'static str) {
        self.cache = Some(cache);
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The provider's API whose error shape refusals have. `None`: the gateway's own.
    pub(crate) fn set_api(&mut self, api: Option<Api>) {
        self.api = api;
    }

    /// The tenant's answer to the page's origin (CORS). `None`: no CORS headers.
    pub(crate) fn set_cors(&mut self, cors: Option<CorsGrant>) {
        self.cors = cors;
    }

    pub fn cors(&self) -> Option<&CorsGrant> {
        self.cors.as_ref()
    }

    /// Endpoint of the tenant's config that the call goes to (`x-resullm-endpoint`).
    pub(crate) fn set_endpoint(&mut self, endpoint: Arc<str>) {
        self.endpoint = Some(endpoint);
    }

    pub(crate) fn shared_endpoint(&self) -> Arc<str> {
        self.endpoint.clone().unwrap_or_else(|| Arc::from(""))
    }

    pub fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or_default()
    }

    /// Members and headers of the call that were taken out (`x-resullm-removed`).
    pub(crate) fn set_removed(&mut self, removed: Vec<String>) {
        self.removed = removed;
    }

    /// Balance that is left (`x-resullm-tokens-left`).
    pub(crate) fn set_balance(&mut self, left: Tokens) {
        self.balance = Some(left);
    }

    /// `None`: the key's account is not known yet.
    pub fn balance(&self) -> Option<Tokens> {
        self.balance
    }

    /// State of the group's rate limit window (`x-ratelimit-*-requests`).
    pub(crate) fn set_window(&mut self, window: Option<Pace>) {
        self.window = window;
    }

    /// Writes the headers that every reply has. Anthropic's SDK reads the ID from `request-id`, all others
    /// from `x-request-id`.
    pub(crate) fn write_headers(&self, session: &mut Session<'_>) {
        // `request_id::of` has validated the client's ID. A name that is no valid header value is left out.
        let mut write = |name: &'static str, value: &str| {
            let _ = session.header(name, value.as_bytes());
        };
        write("x-request-id", &self.request_id);
        if self.api == Some(Api::Anthropic) {
            write("request-id", &self.request_id);
        }
        if let Some(endpoint) = &self.endpoint {
            write("x-resullm-endpoint", endpoint);
        }
        if let Some(cost) = &self.cost {
            write("x-resullm-cost", cost);
        }
        if let Some(cache) = self.cache {
            write("x-resullm-cache", cache);
        }
        if self.is_private {
            write("cache-control", "no-store");
            write("referrer-policy", "no-referrer");
        }
        if !self.removed.is_empty() {
            write("x-resullm-removed", &self.removed.join(", "));
        }
        if let Some(left) = self.balance {
            session.header_number("x-resullm-tokens-left", left.count());
        }
        if let Some(pace) = self.window {
            session.header_number("x-ratelimit-limit-requests", pace.limit);
            session.header_number("x-ratelimit-remaining-requests", pace.remaining);
            let reset = format!("{}ms", pace.reset.0);
            let _ = session.header("x-ratelimit-reset-requests", reset.as_bytes());
        }
        if let Some(grant) = &self.cors {
            grant.write(session);
        }
    }
}

/// Sends an error in the shape of the API that was called ([`ReplyContext::set_api`]).
pub(crate) async fn refuse(
    session: &mut Session<'_>,
    context: &ReplyContext,
    error: GatewayError,
) -> Written {
    send(session, context, refusal(context, error)).await
}

/// An error as a provider's API is to show it.
fn shape<'a>(context: &'a ReplyContext, reply: &'a ErrorReply) -> Shape<'a> {
    Shape {
        status: reply.status,
        code: reply.code,
        message: &reply.message,
        request_id: &context.request_id,
    }
}

fn refusal(context: &ReplyContext, error: GatewayError) -> Answer {
    let mut reply = error.reply();
    let offer = context.offer.as_deref();
    let offer = offer.filter(|_| matches!(error, GatewayError::InsufficientTokens));
    if let Some(offer) = offer {
        offer.tell(&mut reply.message);
    }
    let allowed = match &error {
        GatewayError::MethodNotAllowed(methods) => HeaderValue::from_str(methods).ok(),
        _ => None,
    };
    let mut answer = match (error, context.api) {
        (GatewayError::Local(refusal), None) => refusal.into_answer(),
        // These two have one body whatever the API.
        (GatewayError::InvalidTenant, _) => answer::text(400, r#"{"error":"Invalid tenant ID"}"#),
        (_, _) if reply.status == 500 => answer::text(500, r#"{"error":"Internal Server Error"}"#),
        (_, Some(api)) => answer::text(reply.status, error::body(api, shape(context, &reply))),
        (_, None) => answer::error(reply.status, &reply.message),
    };
    let headers = answer.headers_mut();
    if let Some(seconds) = reply.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if reply.status == 401 && !headers.contains_key(header::WWW_AUTHENTICATE) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(methods) = allowed {
        headers.insert(header::ALLOW, methods);
    }
    if reply.status == 426 {
        headers.insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let offered = offer.map(|offer| [&offer.refills_at, &offer.plans]);
    let names = ["x-resullm-refills-at", "x-resullm-plans"];
    for (name, value) in names.into_iter().zip(offered.into_iter().flatten()) {
        if let Some(Ok(value)) = value.as_deref().map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    }
    if reply.is_final {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    answer
}

/// Sends a complete response with the headers of its [`ReplyContext`].
pub(crate) async fn send(
    session: &mut Session<'_>,
    context: &ReplyContext,
    answer: Answer,
) -> Written {
    let (head, body) = answer.into_parts();
    session.discard_body();
    let unread = !session.is_body_read();
    if unread {
        session.close_after();
    }
    session.begin_head(head.status);
    for (name, value) in &head.headers {
        // A header value is one line.
        let _ = session.header_of(name, value.as_bytes());
    }
    context.write_headers(session);
    session.whole(body).await?;
    if unread {
        // The client may still be sending: closing now could discard the reply on its side.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, session.drain()).await;
    }
    Ok(())
}

/// Aborts a stream: sends an `error` event, on which SDKs raise, in place of the API's last event, and closes
/// the connection.
pub(crate) async fn break_off(
    session: &mut Session<'_>,
    context: &ReplyContext,
    error: &GatewayError,
) -> Written {
    let reply = error.reply();
    session.close_after();
    let api = context.api.unwrap_or(Api::OpenAi);
    let event = error::event(api, shape(context, &reply));
    session.stream(event.into(), true).await
}
