//! One row for each server and its variants.

use super::{Api, Counts, Failure, Server, Thought, Usage};
use crate::money::served::loose::Names;

const CHAT: Server = Server {
    name: "",
    kind: "generic",
    model: "m",
    api: Api::Chat,
    names: Names::Exact,
    limits: &["max_completion_tokens", "max_tokens"],
    is_generous: false,
    wants_one_limit: false,
    voids: "",
    thinks_beyond: false,
    many: &["n"],
    many_plain_only: false,
    thought: Thought::Shown("reasoning_content"),
    usage: Usage::IfAsked,
    counts: Counts::All,
    failure: Failure::Event,
    has_parts: false,
    comment: "",
    filters: false,
    has_done: true,
    template: 3,
    asked_with: "",
    pace: 1,
    discards: 0,
    takes: &[],
    quotes: None,
};

const CONTENT: Server = Server {
    kind: "gemini",
    model: "gemini-2.5-flash",
    api: Api::Content,
    takes: GOOGLE,
    many: &["candidateCount", "candidate_count"],
    limits: &["maxOutputTokens", "max_output_tokens"],
    usage: Usage::AtTheEnd,
    has_done: false,
    ..CHAT
};

/// Members that Google accepts.
const GOOGLE: &[&str] = &[
    "contents",
    "systemInstruction",
    "system_instruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "generation_config",
    "safetySettings",
    "serviceTier",
    "service_tier",
];

/// Milliseconds per token of servers without hidden output: a disconnect stops them, so they must not be
/// faster than real ones.
const REAL_PACE: u64 = 5;

/// Members that OpenAI accepts, over all calls.
const OPENAI: &[&str] = &[
    "model",
    "messages",
    "prompt",
    "input",
    "instructions",
    "stream",
    "stream_options",
    "n",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tool_calls",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "suffix",
    "echo",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "user",
    "metadata",
    "store",
    "background",
    "previous_response_id",
    "conversation",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "response_format",
    "reasoning",
    "reasoning_effort",
    "service_tier",
    "modalities",
    "audio",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "verbosity",
    "text",
    "include",
    "truncation",
    "web_search_options",
    "safety_identifier",
    // Azure only: documents that it searches and reads.
    "data_sources",
];

const ANTHROPIC: &[&str] = &[
    "model",
    "messages",
    "system",
    "max_tokens",
    "stream",
    "thinking",
    "context_management",
    "tools",
    "tool_choice",
    "metadata",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "service_tier",
];

const GENERATION: &str = "failed_generation";

const MESSAGE: &str = "message";

pub static SERVERS: &[Server] = &[
    // An unknown server, which obeys the most generous limit.
    Server {
        name: "anything",
        limits: &[
            "max_tokens",
            "max_completion_tokens",
            "n_predict",
            "max_output_tokens",
            "num_predict",
            "max_new_tokens",
        ],
        is_generous: true,
        many: &["n_cmpl", "n", "best_of"],
        thought: Thought::Hidden,
        ..CHAT
    },
    Server {
        name: "first-of-two",
        names: Names::FirstOfTwo,
        ..CHAT
    },
    Server {
        name: "openai",
        kind: "openai",
        takes: OPENAI,
        model: "gpt-4o",
        thought: Thought::Never,
        pace: REAL_PACE,
        ..CHAT
    },
    Server {
        name: "openai-thinks",
        kind: "openai",
        takes: OPENAI,
        model: "gpt-5",
        thought: Thought::Hidden,
        ..CHAT
    },
    Server {
        name: "azure",
        kind: "azure",
        takes: OPENAI,
        model: "gpt-4o",
        thought: Thought::Never,
        filters: true,
        ..CHAT
    },
    Server {
        name: "azure-thinks",
        kind: "azure",
        takes: OPENAI,
        model: "o3",
        thought: Thought::Hidden,
        filters: true,
        ..CHAT
    },
    Server {
        name: "llamacpp",
        kind: "llamacpp",
        limits: &["n_predict", "max_completion_tokens", "max_tokens"],
        many: &["n_cmpl", "n"],
        counts: Counts::First,
        quotes: Some((500, MESSAGE, "Failed to parse input at pos 0: {}")),
        ..CHAT
    },
    Server {
        name: "ollama",
        kind: "ollama",
        names: Names::Folded,
        limits: &["max_tokens"],
        many: &[],
        thought: Thought::Shown("reasoning"),
        failure: Failure::EmptyChunk,
        quotes: Some((
            500,
            MESSAGE,
            "error parsing tool call: raw='{}', err=invalid character",
        )),
        ..CHAT
    },
    // Its template is longer than any prompt here.
    Server {
        name: "ollama-gpt-oss",
        kind: "ollama",
        names: Names::Folded,
        limits: &["max_tokens"],
        many: &[],
        thought: Thought::Shown("reasoning"),
        failure: Failure::EmptyChunk,
        template: 70,
        ..CHAT
    },
    Server {
        name: "vllm",
        kind: "vllm",
        failure: Failure::EventAndDone,
        ..CHAT
    },
    Server {
        name: "vllm-running",
        kind: "vllm",
        usage: Usage::Running,
        failure: Failure::EventAndDone,
        thought: Thought::Hidden,
        ..CHAT
    },
    Server {
        name: "sglang",
        kind: "sglang",
        ..CHAT
    },
    Server {
        name: "localai",
        kind: "localai",
        names: Names::Folded,
        many_plain_only: true,
        usage: Usage::Noughts,
        counts: Counts::Last,
        failure: Failure::EventAndDone,
        thought: Thought::Shown("reasoning"),
        ..CHAT
    },
    Server {
        name: "lmstudio",
        kind: "lmstudio",
        limits: &["max_tokens"],
        many: &[],
        counts: Counts::OneLess,
        ..CHAT
    },
    Server {
        name: "tgi",
        kind: "tgi",
        limits: &["max_tokens", "max_completion_tokens"],
        wants_one_limit: true,
        many: &[],
        thought: Thought::Never,
        quotes: Some((422, MESSAGE, "Failed to parse generated text: {}")),
        ..CHAT
    },
    Server {
        name: "textgen",
        kind: "textgen",
        limits: &["max_tokens", "max_completion_tokens"],
        voids: "auto_max_new_tokens",
        many: &[],
        ..CHAT
    },
    Server {
        name: "litellm",
        kind: "litellm",
        ..CHAT
    },
    Server {
        name: "openrouter",
        kind: "openrouter",
        many: &[],
        thought: Thought::Shown("reasoning"),
        usage: Usage::Always,
        comment: ": OPENROUTER PROCESSING",
        ..CHAT
    },
    Server {
        name: "openrouter-hides",
        kind: "openrouter",
        many: &[],
        thought: Thought::Hidden,
        usage: Usage::Always,
        comment: ": OPENROUTER PROCESSING",
        asked_with: r#","reasoning":{"exclude":true}"#,
        ..CHAT
    },
    Server {
        name: "groq",
        kind: "groq",
        many: &[],
        thought: Thought::Shown("reasoning"),
        usage: Usage::Groq,
        quotes: Some((400, GENERATION, "{}")),
        ..CHAT
    },
    Server {
        name: "groq-hides",
        kind: "groq",
        many: &[],
        thought: Thought::Hidden,
        usage: Usage::Groq,
        asked_with: r#","reasoning_format":"hidden""#,
        ..CHAT
    },
    Server {
        name: "mistral",
        kind: "mistral",
        limits: &["max_tokens"],
        thought: Thought::InParts,
        usage: Usage::AtTheEnd,
        has_parts: true,
        ..CHAT
    },
    Server {
        name: "deepseek",
        kind: "deepseek",
        limits: &["max_tokens"],
        many: &[],
        comment: ": keep-alive",
        ..CHAT
    },
    Server {
        name: "moonshot",
        kind: "moonshot",
        usage: Usage::InChoice,
        ..CHAT
    },
    Server {
        name: "xai",
        kind: "xai",
        thought: Thought::Hidden,
        thinks_beyond: true,
        counts: Counts::ThoughtsInTotal,
        ..CHAT
    },
    Server {
        name: "gemini",
        kind: "gemini",
        thought: Thought::Hidden,
        usage: Usage::Running,
        counts: Counts::ThoughtsInTotal,
        ..CHAT
    },
    Server {
        name: "dashscope",
        kind: "dashscope",
        limits: &["max_tokens"],
        thinks_beyond: true,
        ..CHAT
    },
    Server {
        name: "perplexity",
        kind: "perplexity",
        limits: &["max_tokens"],
        many: &[],
        thought: Thought::Never,
        usage: Usage::Running,
        has_done: false,
        ..CHAT
    },
    Server {
        name: "fireworks",
        kind: "fireworks",
        wants_one_limit: true,
        usage: Usage::AtTheEnd,
        ..CHAT
    },
    // Regenerates empty or unparsable answers up to five times.
    Server {
        name: "localai-again",
        kind: "localai",
        names: Names::Folded,
        many: &[],
        discards: 4,
        ..CHAT
    },
    // With tools it asks the model first for a tool, then for an answer without one.
    Server {
        name: "tgi-tools",
        kind: "tgi",
        limits: &["max_tokens", "max_completion_tokens"],
        wants_one_limit: true,
        many: &[],
        thought: Thought::Never,
        discards: 1,
        ..CHAT
    },
    Server {
        name: "ollama-text",
        kind: "ollama",
        api: Api::Completions,
        names: Names::Folded,
        limits: &["max_tokens"],
        many: &[],
        thought: Thought::Never,
        usage: Usage::Noughts,
        failure: Failure::EmptyChunk,
        ..CHAT
    },
    Server {
        name: "vllm-text",
        kind: "vllm",
        api: Api::Completions,
        limits: &["max_tokens"],
        thought: Thought::Never,
        failure: Failure::EventAndDone,
        ..CHAT
    },
    Server {
        name: "llamacpp-text",
        kind: "llamacpp",
        api: Api::Completions,
        limits: &["n_predict", "max_completion_tokens", "max_tokens"],
        many: &["n_cmpl", "n"],
        thought: Thought::Never,
        usage: Usage::AtTheEnd,
        counts: Counts::First,
        ..CHAT
    },
    // Generates and counts `best_of` answers and shows `n`.
    Server {
        name: "azure-text",
        kind: "azure",
        takes: OPENAI,
        api: Api::Completions,
        limits: &["max_tokens"],
        many: &["best_of", "n"],
        thought: Thought::Never,
        ..CHAT
    },
    Server {
        name: "openai-responses",
        kind: "openai",
        takes: OPENAI,
        model: "gpt-5",
        api: Api::Responses,
        limits: &["max_output_tokens"],
        many: &[],
        thought: Thought::Hidden,
        ..CHAT
    },
    Server {
        name: "openai-responses-shows",
        kind: "openai",
        takes: OPENAI,
        model: "gpt-4o",
        api: Api::Responses,
        limits: &["max_output_tokens"],
        many: &[],
        thought: Thought::Never,
        pace: REAL_PACE,
        ..CHAT
    },
    Server {
        name: "vllm-responses",
        kind: "vllm",
        api: Api::Responses,
        limits: &["max_output_tokens"],
        many: &[],
        thought: Thought::Shown(""),
        ..CHAT
    },
    // Converts the call into a chat with all its members.
    Server {
        name: "llamacpp-responses",
        kind: "llamacpp",
        api: Api::Responses,
        limits: &["n_predict", "max_completion_tokens", "max_output_tokens"],
        many: &["n_cmpl", "n"],
        thought: Thought::Shown(""),
        ..CHAT
    },
    Server {
        name: "claude",
        kind: "anthropic",
        takes: ANTHROPIC,
        model: "claude-sonnet-4-5",
        api: Api::Messages,
        limits: &["max_tokens"],
        many: &[],
        thought: Thought::Never,
        pace: REAL_PACE,
        ..CHAT
    },
    Server {
        name: "claude-thinks",
        kind: "anthropic",
        takes: ANTHROPIC,
        model: "claude-sonnet-4-5",
        api: Api::Messages,
        limits: &["max_tokens"],
        many: &[],
        thought: Thought::Shown(""),
        asked_with: r#","thinking":{"type":"enabled","budget_tokens":1024}"#,
        ..CHAT
    },
    Server {
        name: "google",
        thought: Thought::Hidden,
        usage: Usage::Running,
        ..CONTENT
    },
    Server {
        name: "google-shows",
        ..CONTENT
    },
    Server {
        name: "like-google",
        kind: "generic",
        thought: Thought::Hidden,
        counts: Counts::ThoughtsInTotal,
        ..CONTENT
    },
    Server {
        name: "claude-omits",
        kind: "anthropic",
        takes: ANTHROPIC,
        model: "claude-sonnet-4-5",
        api: Api::Messages,
        limits: &["max_tokens"],
        many: &[],
        thought: Thought::Hidden,
        asked_with: r#","thinking":{"type":"enabled","budget_tokens":1024,"display":"omitted"}"#,
        ..CHAT
    },
    // Reads the prompt a second time for a summary that the limit does not bound.
    Server {
        name: "claude-compacts",
        kind: "anthropic",
        takes: ANTHROPIC,
        model: "claude-sonnet-4-5",
        api: Api::Messages,
        limits: &["max_tokens"],
        many: &[],
        thought: Thought::Hidden,
        thinks_beyond: true,
        counts: Counts::Iterations,
        asked_with: r#","context_management":{"edits":[{"type":"compact_20260112"}]}"#,
        ..CHAT
    },
];
