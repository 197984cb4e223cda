//! Provider routes as the OpenAPI document shows them: the members of a call that the gateway itself looks at,
//! the list of models, and errors in the shape of each API.
//!
//! `dialect/` and `proxy/models.rs` read and write these texts without building trees; the tests compare them
//! with the types here. [`CODES`] lists what `proxy/error.rs` can answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A call of Chat Completions; only what the gateway itself looks at is shown.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChatCall {
    /// A model, or `<endpoint>/<model>`. Absent: the default model of the endpoint that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub model: Option<String>,
    /// The conversation.
    #[schemars(length(min = 1))]
    pub messages: Vec<Map<String, Value>>,
    /// The most that the answer may use. It is lowered where less is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_completion_tokens: Option<u64>,
    /// The older name of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_tokens: Option<u64>,
    /// Number of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub n: Option<u64>,
    /// The answer as server-sent events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// Settings of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
}

/// Settings of a stream.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct StreamOptions {
    /// A last chunk with the usage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_usage: Option<bool>,
}

/// A call of a provider's API; only what the gateway looks at in every one is shown.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelCall {
    /// A model, or `<endpoint>/<model>`. Absent: the default model of the endpoint that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub model: Option<String>,
    /// Everything else, as the provider documents it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A call of Gemini's API, whose model stands in the path.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GeminiCall {
    /// The conversation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Map<String, Value>>,
    /// Everything else, as Google documents it, but no `model`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A model, in the shape of the API that asks: Anthropic's where `anthropic-version` is sent, Gemini's below `v1beta`
/// and where `x-goog-api-key` is sent, else OpenAI's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Model {
    #[schemars(title = "OpenAiModel")]
    OpenAi {
        /// The model's name, as `model` of a call takes it.
        id: String,
        #[schemars(extend("const" = "model"))]
        object: String,
        /// Always 0: the gateway does not know.
        created: u64,
        /// The endpoint that answers, by its name in the tenant's config.
        owned_by: String,
    },
    #[schemars(title = "AnthropicModel")]
    Anthropic {
        #[schemars(extend("const" = "model"))]
        r#type: String,
        /// The model's name, as `model` of a call takes it.
        id: String,
        /// The same name.
        display_name: String,
        /// Always 1970: the gateway does not know.
        #[schemars(extend("format" = "date-time"))]
        created_at: String,
    },
    #[schemars(title = "GeminiModel")]
    #[serde(rename_all = "camelCase")]
    Gemini {
        /// `models/` and the model's name.
        name: String,
        /// The model's name.
        display_name: String,
        /// The methods that it has.
        supported_generation_methods: Vec<String>,
    },
}

/// The models that a key may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ModelList {
    #[schemars(title = "OpenAiModelList")]
    OpenAi {
        #[schemars(extend("const" = "list"))]
        object: String,
        /// All models.
        data: Vec<Model>,
    },
    #[schemars(title = "AnthropicModelList")]
    Anthropic {
        /// All models.
        data: Vec<Model>,
        #[schemars(extend("const" = false))]
        has_more: bool,
        /// The first one's name, `null` where there is none.
        first_id: Option<String>,
        /// The last one's name, `null` where there is none.
        last_id: Option<String>,
    },
    #[schemars(title = "GeminiModelList")]
    Gemini {
        /// All models.
        models: Vec<Model>,
    },
}

/// An error in the shape that OpenAI's SDKs read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenAiError {
    /// The error.
    pub error: OpenAiFault,
}

/// The error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct OpenAiFault {
    /// In a sentence.
    pub message: String,
    /// The kind of error, in OpenAI's words.
    pub r#type: String,
    /// The field at fault, where there is one.
    pub param: Option<String>,
    /// The error in one word. The gateway's own among others: `invalid_api_key`, `insufficient_tokens`,
    /// `tokens_held`, `rate_limit_exceeded`.
    pub code: Option<String>,
}

/// An error in the shape that Anthropic's SDKs read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnthropicError {
    #[schemars(extend("const" = "error"))]
    pub r#type: String,
    /// The error.
    pub error: AnthropicFault,
    /// The answer's `x-request-id`.
    pub request_id: String,
}

/// The error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct AnthropicFault {
    /// The kind of error, in Anthropic's words.
    pub r#type: String,
    /// In a sentence.
    pub message: String,
}

/// An error in the shape that Google's SDKs read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GeminiError {
    /// The error.
    pub error: GeminiFault,
}

/// The error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct GeminiFault {
    /// The status.
    pub code: u16,
    /// In a sentence.
    pub message: String,
    /// The kind of error, in Google's words.
    pub status: String,
    /// The gateway's own: one object with `reason`, which is the code in capitals, and `metadata.requestId`.
    #[serde(default)]
    pub details: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// An error of the gateway's own on provider routes.
pub struct ErrorCode {
    pub status: u16,
    /// `code` in OpenAI's shape.
    pub code: &'static str,
    pub meaning: &'static str,
}

const fn code(status: u16, code: &'static str, meaning: &'static str) -> ErrorCode {
    ErrorCode {
        status,
        code,
        meaning,
    }
}

/// Errors of provider routes by status. A test compares them with `proxy/error.rs` and with docs/api.md.
pub const CODES: &[ErrorCode] = &[
    code(400, "invalid_body", "the body is not as the call asks for"),
    code(400, "bad_request", "the request's framing is wrong"),
    code(
        401,
        "invalid_api_key",
        "no key, or one that is unknown, expired or of another tenant",
    ),
    code(
        402,
        "insufficient_tokens",
        "the balance does not cover a minimal answer, and trying again does not help",
    ),
    code(
        402,
        "key_limit",
        "the key has spent what it may of its account's balance",
    ),
    code(403, "account_blocked", "an admin has suspended the account"),
    code(
        403,
        "model_not_allowed",
        "the model is on no list of the key's own",
    ),
    code(
        403,
        "address_not_allowed",
        "the key may not be used from the client's address",
    ),
    code(404, "not_found", "a call that is not served"),
    code(
        404,
        "model_not_found",
        "the model is outside the lists of the tenant's endpoints or of the key's group",
    ),
    code(405, "method_not_allowed", "calls are made with `POST`"),
    code(408, "head_timeout", "the headers came too slowly"),
    code(408, "body_timeout", "the body came too slowly"),
    code(
        413,
        "body_too_large",
        "the body is larger than the operator allows",
    ),
    code(
        417,
        "unknown_expectation",
        "`Expect` with something other than `100-continue`",
    ),
    code(
        421,
        "misdirected_request",
        "the `Host` is none of the gateway's",
    ),
    code(
        426,
        "websocket_not_served",
        "`responses` was asked for over a WebSocket",
    ),
    code(
        429,
        "tokens_held",
        "requests in flight hold what is left of the balance",
    ),
    code(
        429,
        "too_many_in_flight",
        "as many calls of the account are in flight as its group allows",
    ),
    code(
        429,
        "too_many_wrong_keys",
        "too many wrong keys came from this address",
    ),
    code(
        429,
        "too_many_refused",
        "too many calls with this key were refused",
    ),
    code(
        429,
        "provider_rate_limited",
        "the provider's limit for the operator is reached",
    ),
    code(
        429,
        "rate_limit_exceeded",
        "too many requests in the window of the key's group",
    ),
    code(431, "head_too_large", "the headers are too large"),
    code(
        501,
        "realtime_not_served",
        "realtime conversations are not served",
    ),
    code(
        501,
        "unknown_coding",
        "a transfer coding other than `chunked`",
    ),
    code(502, "provider_failed", "no endpoint gave a usable answer"),
    code(
        502,
        "provider_refused",
        "the provider refuses the operator's key, or has no credit left for it",
    ),
    code(503, "overloaded", "more is in flight than may be"),
    code(503, "store_full", "the store has no room"),
    code(
        503,
        "store_unavailable",
        "the store does not answer, and nothing is served unpaid",
    ),
    code(503, "broken_config", "the tenant's config cannot be used"),
    code(
        503,
        "ended",
        "the gateway is shutting down, or the request's hold could not be renewed",
    ),
    code(504, "provider_timeout", "no endpoint answered in time"),
];
