//! Error bodies in the shape of the API that was called, so that its SDKs raise their own typed exceptions.
//!
//! An SDK chooses the exception by the status, and reads `code`, `type` and `message` from the body.

use super::call::Api;
use serde_json::json;

/// Error as the caller of a provider's API may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape<'a> {
    pub status: u16,
    /// Error code in one word, sent as `code` in OpenAI's shape.
    pub code: &'a str,
    pub message: &'a str,
    pub request_id: &'a str,
}

/// Returns the JSON body of an error in the shape of `api`.
pub fn body(api: Api, error: Shape<'_>) -> String {
    let Shape { message, code, .. } = error;
    match api {
        Api::OpenAi => json!({"error": {
            "message": message, "type": openai_type(error.status), "param": null, "code": code,
        }}),
        Api::Anthropic => json!({
            "type": "error",
            "error": {"type": anthropic_type(error.status), "message": message},
            "request_id": error.request_id,
        }),
        Api::Gemini => json!({"error": {
            "code": error.status, "message": message, "status": gemini_status(error.status),
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": code.to_ascii_uppercase(), "domain": "resullm",
                "metadata": {"requestId": error.request_id},
            }],
        }}),
    }
    .to_string()
}

/// Returns the event that ends a stream which cannot go on. The SDKs of its API raise an exception on it.
pub fn event(api: Api, error: Shape<'_>) -> String {
    let body = body(api, error);
    match api {
        Api::OpenAi | Api::Anthropic => format!("event: error\ndata: {body}\n\n"),
        // Its SDKs raise on a line of JSON alone, and take an event for content.
        Api::Gemini => format!("{body}\n"),
    }
}

/// Returns the code of Google's RPCs for a status.
fn gemini_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        408 | 504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

fn openai_type(status: u16) -> &'static str {
    match status {
        402 => "insufficient_quota",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_members_its_sdk_reads() {
        let error = Shape {
            status: 402,
            code: "insufficient_tokens",
            message: "Spent",
            request_id: "r",
        };
        let openai: serde_json::Value = serde_json::from_str(&body(Api::OpenAi, error)).unwrap();
        assert_eq!(openai["error"]["type"], "insufficient_quota");
        assert_eq!(openai["error"]["code"], "insufficient_tokens");
        assert!(openai["error"].as_object().unwrap().contains_key("param"));
        let anthropic: serde_json::Value =
            serde_json::from_str(&body(Api::Anthropic, error)).unwrap();
        assert_eq!(anthropic["type"], "error");
        assert_eq!(anthropic["error"]["type"], "billing_error");
        assert!(
            event(Api::Anthropic, error).starts_with("event: error\ndata: {\"type\":\"error\"")
        );
    }
}
