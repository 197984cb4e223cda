//! Members that change the cost of a call, with the servers that read them.
//!
//! Members that only affect sampling are omitted.

mod bounds;
mod prompt;
mod routing;

use super::servers::Api;
use serde_json::{Value, json};

/// Effect of a member at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Bounds or forces the output.
    Limit,
    /// Requests several answers.
    Answers,
    /// Its text is part of the prompt.
    Text,
    /// Loads context that the body does not show.
    Unseen,
    /// Adds a known text of the server to the prompt.
    Preamble,
    /// Selects the route, the price, or what is stored.
    Elsewhere,
}

#[derive(Debug)]
pub struct Members {
    pub calls: &'static [Api],
    pub effect: Effect,
    pub servers: &'static [&'static str],
    pub names: &'static [&'static str],
}

const EVERY_RESPONSES: &[&str] = &[
    "vllm",
    "sglang",
    "ollama",
    "localai",
    "llamacpp",
    "lmstudio",
    "openrouter",
    "groq",
    "xai",
    "fireworks",
    "azure",
    "litellm",
];

const EVERY_CHAT: &[&str] = &[
    "vllm",
    "ollama",
    "llamacpp",
    "localai",
    "lmstudio",
    "sglang",
    "tgi",
    "textgen",
    "litellm",
    "openrouter",
    "groq",
    "mistral",
    "deepseek",
    "xai",
    "gemini",
    "fireworks",
    "perplexity",
    "moonshot",
    "dashscope",
    "azure",
];

const CHAT: &[Api] = &[Api::Chat];
const BOTH: &[Api] = &[Api::Chat, Api::Completions];
const COMPLETIONS: &[Api] = &[Api::Completions];
const RESPONSES: &[Api] = &[Api::Responses];

/// Key for hosted tools: the member `tools`, distinguished by a space.
pub const HOSTED_TOOL: &str = "tools ";

pub fn value(name: &str, effect: Effect) -> Value {
    match (name, effect) {
        (HOSTED_TOOL, _) => json!([{"type": "web_search"}]),
        ("tools", _) => {
            json!([{"type": "function", "function": {"name": "f", "description": "read these words"}}])
        }
        ("functions", _) => json!([{"name": "f", "description": "read these words"}]),
        ("response_format", _) => json!({"type": "json_object"}),
        ("thinking", _) => json!({"type": "enabled"}),
        ("reasoning", _) => json!({"effort": "high"}),
        ("reasoning_effort", _) => json!("high"),
        ("min_tokens", _) => json!(-1),
        ("prompt_mode", _) => json!("reasoning"),
        ("metadata", Effect::Unseen) => json!({"mcp_servers": "all"}),
        ("data_sources", _) => json!([{"type": "azure_search", "parameters": {}}]),
        ("chat_template_kwargs", _) => json!({"a": "read these words"}),
        (
            "use_beam_search"
            | "enable_thinking"
            | "ignore_eos"
            | "safe_prompt"
            | "ban_eos_token"
            | "auto_max_new_tokens"
            | "echo"
            | "store"
            | "background",
            _,
        ) => json!(true),
        (_, Effect::Limit) => json!(50_000),
        (_, Effect::Answers) => json!(5),
        (_, Effect::Text) => json!("read these words"),
        _ => json!({"on": true}),
    }
}

/// Every member of a body that changes the cost of a call, with its servers.
pub fn all() -> impl Iterator<Item = &'static Members> {
    [bounds::BOUNDS, prompt::PROMPT, routing::ROUTING]
        .into_iter()
        .flatten()
}

/// Members of a message, and the servers that read them.
pub static OF_A_MESSAGE: &[(&[&str], &[&str])] = &[
    (&["name", "tool_call_id"], EVERY_CHAT),
    (
        &["reasoning_content"],
        &[
            "vllm",
            "sglang",
            "localai",
            "llamacpp",
            "deepseek",
            "moonshot",
            "fireworks",
            "dashscope",
            "xai",
        ],
    ),
    (
        &["reasoning"],
        &["vllm", "ollama", "localai", "openrouter", "groq"],
    ),
    (
        &[
            "reasoning_details",
            "images",
            "audio",
            "refusal",
            "annotations",
        ],
        &["openrouter", "azure", "litellm"],
    ),
    (
        &[
            "thinking_blocks",
            "provider_specific_fields",
            "cache_control",
        ],
        &["litellm"],
    ),
    (&["tools"], &["sglang"]),
    (&["partial"], &["moonshot", "dashscope"]),
    (&["prefix"], &["mistral", "deepseek"]),
];

/// Parts of a message: their JSON, the tokens that servers read for them, and these servers.
pub static PARTS: &[(&str, u64, &[&str])] = &[
    (
        r#"{"type":"text","text":"read these words"}"#,
        3,
        &["vllm", "ollama", "openrouter", "mistral"],
    ),
    (
        r#"{"type":"thinking","thinking":"read these words"}"#,
        3,
        &["sglang", "mistral"],
    ),
    (
        r#"{"type":"image_url","image_url":{"url":"https://a.example/a.png"}}"#,
        IMAGE,
        &[
            "vllm",
            "sglang",
            "llamacpp",
            "localai",
            "openrouter",
            "azure",
        ],
    ),
    (
        r#"{"type":"image","image_url":{"url":"https://a.example/a.png"}}"#,
        IMAGE,
        &["localai"],
    ),
    (
        r#"{"type":"image_url","image_url":null,"uuid":"an-image-of-before"}"#,
        IMAGE,
        &["vllm"],
    ),
    (
        r#"{"type":"video_url","video_url":{"url":"https://a.example/a.mp4"}}"#,
        VIDEO,
        &[
            "vllm",
            "sglang",
            "localai",
            "openrouter",
            "moonshot",
            "dashscope",
        ],
    ),
    (
        r#"{"type":"video","video":["https://a.example/1.png","https://a.example/2.png","https://a.example/3.png"]}"#,
        VIDEO,
        &["dashscope"],
    ),
    (
        r#"{"type":"audio_url","audio_url":{"url":"https://a.example/a.mp3"}}"#,
        SOUND,
        &["vllm", "sglang", "localai"],
    ),
    (
        r#"{"type":"input_audio","input_audio":{"data":"https://a.example/a.mp3","format":"mp3"}}"#,
        SOUND,
        &["dashscope"],
    ),
    (
        r#"{"type":"document_url","document_url":"https://a.example/a.pdf"}"#,
        DOCUMENT,
        &["mistral"],
    ),
    (r#"{"type":"file","file_id":"f-1"}"#, DOCUMENT, &["mistral"]),
    (
        r#"{"type":"file","file":{"file_id":"f-1"}}"#,
        DOCUMENT,
        &["azure", "openrouter"],
    ),
    (
        r#"{"type":"file_url","file_url":{"url":"https://a.example/a.pdf"}}"#,
        DOCUMENT,
        &["perplexity"],
    ),
    (
        r#"{"type":"file","file":{"filename":"a.pdf","file_data":"https://a.example/a.pdf"}}"#,
        DOCUMENT,
        &["openrouter"],
    ),
    (
        r#"{"type":"image","source":{"type":"url","url":"https://a.example/a.png"}}"#,
        IMAGE,
        &["anthropic"],
    ),
    (
        r#"{"type":"document","source":{"type":"url","url":"https://a.example/a.pdf"}}"#,
        DOCUMENT,
        &["anthropic"],
    ),
];

/// Maximum of `o3`, the smallest of all vision models.
const IMAGE: u64 = 1_275;
const SOUND: u64 = 1_500;
const VIDEO: u64 = 3_000;
/// Tokens of fifty pages of text.
const DOCUMENT: u64 = 25_000;
