//! Answers and refusals of the local routes: always JSON, a refusal always `{"error": sentence}`.

use crate::rules::amount::Millis;
use crate::rules::config::Fault;
use crate::store::StoreError;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

pub type Answer = Response<Bytes>;

pub fn json(status: u16, value: &Value) -> Answer {
    text(status, value.to_string())
}

/// A body that is JSON already.
pub fn text(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

/// Why a local route does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotFound,
    OtherMethods(String),
    Unauthorized,
    UnknownKey,
    /// The request itself is wrong; the sentence says what and where.
    Bad(String),
    /// A config with faults, each with its path.
    Faulty(Vec<Fault>),
    Forbidden(String),
    Conflict(String),
    /// What the caller read has changed meanwhile.
    Stale,
    TooFast {
        wait: Millis,
    },
    /// The tenant's config cannot be used.
    Broken,
    Draining,
    Store(StoreError),
    /// A credit of this ID may be there or not, or may yet be lost.
    Unconfirmed {
        id: String,
    },
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Store(error)
    }
}

impl Refusal {
    pub fn into_answer(self) -> Answer {
        let sentence = |status, text: &str| json(status, &json!({"error": text}));
        match self {
            Refusal::NotFound => sentence(404, "Not found"),
            Refusal::OtherMethods(methods) => {
                with(sentence(405, "Method not allowed"), header::ALLOW, &methods)
            }
            Refusal::Unauthorized => with(
                sentence(401, "Unauthorized"),
                header::WWW_AUTHENTICATE,
                "Bearer",
            ),
            Refusal::UnknownKey => with(
                sentence(401, "Unknown API key"),
                header::WWW_AUTHENTICATE,
                "Bearer",
            ),
            Refusal::Bad(text) => sentence(400, &text),
            Refusal::Faulty(faults) => json(
                400,
                &json!({"error": "Invalid tenant config", "details": faults}),
            ),
            Refusal::Forbidden(text) => sentence(403, &text),
            Refusal::Conflict(text) => sentence(409, &text),
            Refusal::Stale => sentence(412, "The config has changed; read it again"),
            Refusal::TooFast { wait } => with(
                sentence(
                    429,
                    "Too many keys were minted from this address; try again later",
                ),
                header::RETRY_AFTER,
                &wait.seconds_up().max(1).to_string(),
            ),
            Refusal::Broken => sentence(503, "The tenant's config cannot be used"),
            Refusal::Draining => with(sentence(503, "Shutting down"), header::RETRY_AFTER, "1"),
            Refusal::Unconfirmed { id } => with(
                sentence(
                    503,
                    &format!("The credit is not confirmed; repeat it with the id {id}"),
                ),
                header::RETRY_AFTER,
                "1",
            ),
            Refusal::Store(StoreError::Damaged { .. }) => sentence(500, "Internal Server Error"),
            Refusal::Store(_) => with(
                sentence(503, "The store is unavailable; try again"),
                header::RETRY_AFTER,
                "1",
            ),
        }
    }
}

fn with(mut answer: Answer, name: header::HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// A body read as JSON of a known shape, or a sentence that says where it is not.
pub fn body<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Refusal> {
    let text = if bytes.is_empty() { b"{}" } else { bytes };
    // A list would be read as the members of an object in their order, which nobody has documented.
    if text.trim_ascii_start().first() == Some(&b'[') {
        let why = "The body must be a JSON object, not a list";
        return Err(Refusal::Bad(why.to_owned()));
    }
    serde_json::from_slice(text)
        .map_err(|error| Refusal::Bad(format!("The body cannot be read: {}", told(&error))))
}

/// What is wrong, without the text that is: a token in the wrong place is a secret all the same.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let repeats = [
        "invalid type: string",
        "invalid value: string",
        "unknown field",
        "unknown variant",
    ];
    let Some(start) = repeats.iter().find(|start| text.starts_with(**start)) else {
        return text;
    };
    let rest = text.rfind(", expected ").map_or("", |at| &text[at..]);
    format!("{start}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Call {
        tokens: Vec<String>,
        life: Option<u64>,
    }

    #[test]
    fn what_is_wrong_with_a_body_is_told_without_repeating_it() {
        for (text, part) in [
            (
                r#"{"tokens":"s3cret, expected much"}"#,
                "invalid type: string, expected a sequence at line 1",
            ),
            (
                r#"{"tokens":[],"life":"s3cret"}"#,
                "invalid type: string, expected u64",
            ),
            (
                r#"{"s3cret":1}"#,
                "unknown field, expected `tokens` or `life`",
            ),
            (
                r#"{"tokens":["s3cret" 1]}"#,
                "expected `,` or `]` at line 1",
            ),
            ("{}", "missing field `tokens`"),
        ] {
            let Refusal::Bad(told) = body::<Call>(text.as_bytes()).unwrap_err() else {
                panic!("{text}");
            };
            assert!(told.contains(part) && !told.contains("s3cret"), "{told}");
        }
    }
}
