//! The HTTP API that a gateway calls, for one account.
//!
//! A call is executed under the account's lock, with its idempotency key. A repeated key gets the first answer again,
//! and refused calls are not kept, as at Stripe.

mod call;
mod checkout;
mod lists;
mod objects;
mod subscriptions;

use super::account::StripeAccount;
use super::calls::{KeptAnswer, ReceivedCall};
use super::data::{AccountData, Cause};
use super::error::StripeError;
use super::form::Form;
use super::shape::ApiShape;
use call::ApiCall;
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

const MAX_IDEMPOTENCY_KEY_CHARS: usize = 255;

/// Call as the server has read it.
pub(super) struct ApiRequest<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub idempotency_key: Option<String>,
    pub version: Option<String>,
    pub body: &'a [u8],
}

/// The answer, and how long the server waits with it.
pub(super) struct ApiReply {
    pub status: u16,
    pub body: String,
    /// `request-id`
    pub request: String,
    pub is_replayed: bool,
    pub pause: Duration,
}

/// Executes a call, records it and words its answer.
pub(super) fn answer(account: &StripeAccount, request: ApiRequest<'_>) -> ApiReply {
    let id = format!("req_{}", Uuid::new_v4().simple());
    let failure = account.log().next_failure();
    let (executed, is_replayed) = match failure {
        Some(status) => (Err(failed(status)), false),
        None => execute(account, &request, &id),
    };
    let (status, body) = match executed {
        Ok(body) => (200, body),
        Err(error) => (error.status, error.body().to_string()),
    };
    let call = ReceivedCall {
        method: request.method.to_owned(),
        path: request.path.to_owned(),
        form: recorded_form(account, parameters(&request)),
        idempotency_key: request.idempotency_key,
        version: request.version,
        status,
    };
    let kept = call.bytes();
    let mut log = account.log();
    let gone = log.record(call);
    let pause = log.pause();
    drop(log);
    account.count_bytes(kept, gone);
    ApiReply {
        status,
        body,
        request: id,
        is_replayed,
        pause,
    }
}

/// Decoded parameters; none of them where the stand-in holds as much as it may.
fn recorded_form(account: &StripeAccount, sent: &[u8]) -> Vec<(String, String)> {
    if account.data().room().is_err() {
        return Vec::new();
    }
    let fields = form_urlencoded::parse(sent);
    let fields = fields.map(|(name, value)| (name.into_owned(), value.into_owned()));
    fields.collect()
}

fn failed(status: u16) -> StripeError {
    StripeError {
        kind: "api_error",
        ..StripeError::invalid("An error that the stand-in was told to make.").with_status(status)
    }
}

fn parameters<'a>(request: &ApiRequest<'a>) -> &'a [u8] {
    match request.method {
        "POST" => request.body,
        _ => request.query.as_bytes(),
    }
}

/// Returns the answer, and whether it is a kept one.
fn execute(
    account: &StripeAccount,
    request: &ApiRequest<'_>,
    id: &str,
) -> (Result<String, StripeError>, bool) {
    let mut data = account.data();
    let key = match idempotency_key(request) {
        Ok(key) => key,
        Err(error) => return (Err(error), false),
    };
    let endpoint = format!("{} {}", request.method, request.path);
    if let Some(key) = key
        && let Some(kept) = data.answers.find(key, data.now())
    {
        if kept.endpoint != endpoint || kept.sent != request.body {
            return (Err(mismatch(key)), false);
        }
        return (Ok(kept.answer.clone()), true);
    }
    data.cause = Cause {
        request: Some(id.to_owned()),
        idempotency_key: key.map(str::to_owned),
    };
    let version = request.version.as_deref();
    let call = ApiCall {
        method: request.method,
        segments: request.path.trim_start_matches("/v1/").split('/').collect(),
        form: Form::parse(parameters(request)),
        shape: version.map_or(data.shape, ApiShape::of_version),
        origin: account.origin(),
    };
    let executed = route(&mut data, &call).map(|answer| answer.to_string());
    if let (Some(key), Ok(answer)) = (key, &executed) {
        keep(&mut data, key, endpoint, request.body, answer);
    }
    (executed, false)
}

/// Key of a `POST`; other methods are idempotent by themselves.
fn idempotency_key<'a>(request: &'a ApiRequest<'_>) -> Result<Option<&'a str>, StripeError> {
    let key = request.idempotency_key.as_deref();
    let key = key.filter(|_| request.method == "POST");
    let is_long = key.is_some_and(|key| key.chars().count() > MAX_IDEMPOTENCY_KEY_CHARS);
    if is_long {
        let message = "Idempotency keys can have up to 255 characters.";
        return Err(StripeError::invalid(message));
    }
    Ok(key)
}

fn mismatch(key: &str) -> StripeError {
    let message = format!(
        "Keys for idempotent requests can only be used with the same parameters they were first used with. Try using \
         a key other than '{key}' if you meant to execute a different request."
    );
    StripeError {
        kind: "idempotency_error",
        ..StripeError::invalid(message)
    }
}

fn keep(data: &mut AccountData, key: &str, endpoint: String, sent: &[u8], answer: &str) {
    let kept = KeptAnswer {
        endpoint,
        sent: sent.to_vec(),
        answer: answer.to_owned(),
        at: data.now(),
    };
    data.keep(kept.bytes());
    let gone = data.answers.keep(key, kept);
    data.forget(gone);
}

fn route(data: &mut AccountData, call: &ApiCall<'_>) -> Result<Value, StripeError> {
    match (call.method, call.segments.as_slice()) {
        ("POST", ["checkout", "sessions"]) => checkout::create_session(data, call),
        ("POST", ["checkout", "sessions", id, "expire"]) => checkout::expire(data, call, id),
        ("POST", ["billing_portal", "sessions"]) => checkout::create_portal(data, call),
        ("POST", ["subscriptions", id]) => subscriptions::update(data, call, id),
        ("DELETE", ["subscriptions", id]) => subscriptions::cancel(data, call, id),
        ("GET", ["subscriptions"]) => lists::subscriptions(data, call),
        ("GET", ["invoices"]) => lists::invoices(data, call),
        ("GET", ["invoices", id, "lines"]) => lists::lines(data, call, id),
        ("GET", ["invoice_payments"]) if call.shape == ApiShape::Basil => {
            lists::invoice_payments(data, call)
        }
        ("GET", ["refunds"]) => lists::refunds(data, call),
        ("GET", ["prices", id]) => {
            data.note_price(id);
            objects::find(data, call, &["prices"], id)
        }
        ("GET", [collection @ .., id]) => objects::find(data, call, collection, id),
        _ => Err(call.unrecognized()),
    }
}
