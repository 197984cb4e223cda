//! Errors as Stripe's API words them: `{"error":{"type":…,"code":…,"message":…,"param":…}}`.
//!
//! Pure. The same type is what the methods of an account return to a test.

use serde_json::{Value, json};
use std::fmt;

/// Error of an API call, or of something that a customer or the merchant attempted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripeError {
    /// HTTP status of the API's answer.
    pub status: u16,
    /// Stripe's `type`, such as `invalid_request_error`.
    pub kind: &'static str,
    pub code: Option<&'static str>,
    pub message: String,
    /// Parameter at fault, such as `line_items[0][price]`.
    pub param: Option<String>,
}

impl StripeError {
    pub(super) fn invalid(message: impl Into<String>) -> StripeError {
        StripeError {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            message: message.into(),
            param: None,
        }
    }

    pub(super) fn with_status(self, status: u16) -> StripeError {
        StripeError { status, ..self }
    }

    pub(super) fn with_code(self, code: &'static str) -> StripeError {
        StripeError {
            code: Some(code),
            ..self
        }
    }

    pub(super) fn at(self, param: impl Into<String>) -> StripeError {
        StripeError {
            param: Some(param.into()),
            ..self
        }
    }

    /// `noun` is Stripe's name in the message: `No such subscription: 'sub_1'`.
    pub(super) fn missing(noun: &str, id: &str) -> StripeError {
        StripeError::invalid(format!("No such {noun}: '{id}'")).with_code("resource_missing")
    }

    /// 429 of a stand-in that holds as much as it may.
    pub(super) fn full() -> StripeError {
        StripeError::invalid("This stand-in holds as much as it may; start it anew.")
            .with_status(429)
            .with_code("rate_limit")
    }

    pub(super) fn declined() -> StripeError {
        StripeError {
            kind: "card_error",
            ..StripeError::invalid("Your card was declined.")
                .with_status(402)
                .with_code("card_declined")
        }
    }

    /// Body of the API's answer.
    pub(super) fn body(&self) -> Value {
        let mut error = json!({ "type": self.kind, "message": self.message });
        if let Some(code) = self.code {
            error["code"] = json!(code);
        }
        if let Some(param) = &self.param {
            error["param"] = json!(param);
        }
        json!({ "error": error })
    }
}

impl fmt::Display for StripeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StripeError {}
