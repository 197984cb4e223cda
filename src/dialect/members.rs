//! Allowlist of body members per server. Any other member is refused, except at servers that refuse unknown
//! members themselves.
//!
//! A member whose effect on size, price or routing is not known must never reach a server that might obey it.
//! Listed members change how a model samples, how its output is parsed or how it is shown, and nothing else.
//! Members of OpenAI's own API are in each call's own lists; an operator adds others in the endpoint's
//! `members`.

use super::call::{Call, Unreadable};
use crate::rules::server::{Server, Server::*, Servers};

/// Members for sampling, stopping and format, such as `top_k`: harmless at every server that reads them.
const ALLOWED_EVERYWHERE: &[&str] = &[
    "top_k",
    "min_p",
    "top_a",
    "typical_p",
    "tfs_z",
    "repetition_penalty",
    "repeat_penalty",
    "repeat_last_n",
    "length_penalty",
    "min_tokens",
    "mirostat",
    "mirostat_mode",
    "mirostat_tau",
    "mirostat_eta",
    "dynatemp_range",
    "dynatemp_exponent",
    "xtc_probability",
    "xtc_threshold",
    "stop_token_ids",
    "ignore_eos",
    "include_stop_str_in_output",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "bad_words",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "reasoning_format",
    "include_reasoning",
    "client_metadata",
    "stream_options.continuous_usage_stats",
    "messages.annotations",
    "messages.reasoning",
    "messages.reasoning_details",
    "messages.thinking",
    "messages.thinking_blocks",
    "messages.provider_specific_fields",
    "messages.cache_control",
    "messages.partial",
    "messages.prefix",
    "messages.id",
    "messages.type",
    "messages.status",
    "messages.finish_reason",
    "image_url.cache_control",
    "content.cache_control",
    "content.input_audio",
    "content.thinking",
    "content.signature",
    "content.id",
    "content.index",
    "content.reasoning",
    "input.namespace",
    "input.phase",
    "input.annotations",
];

/// Servers that read `content.video_url`.
const SEES_VIDEOS: Servers = Servers::of(&[
    Vllm, Sglang, LocalAi, OpenRouter, Moonshot, DashScope, Fireworks, Zhipu, Together,
]);

const LOCAL_SERVERS: Servers = Servers::of(&[Vllm, Sglang, LlamaCpp]);

/// Members that are harmless at some servers only.
const ALLOWED_AT: &[(&str, Servers)] = &[
    ("add_generation_prompt", LOCAL_SERVERS),
    ("add_special_tokens", LOCAL_SERVERS),
    ("cache_prompt", Servers::of(&[LlamaCpp])),
    ("cache_salt", Servers::of(&[Vllm])),
    ("chat_template_kwargs", LOCAL_SERVERS),
    ("chat_template_kwargs.enable_thinking", LOCAL_SERVERS),
    ("chat_template_kwargs.preserve_thinking", LOCAL_SERVERS),
    ("chat_template_kwargs.reasoning_effort", LOCAL_SERVERS),
    ("chat_template_kwargs.thinking", LOCAL_SERVERS),
    ("chat_template_kwargs.thinking_budget", LOCAL_SERVERS),
    ("content.audio_url", Servers::of(&[Vllm, Sglang, LocalAi])),
    ("content.document_name", Servers::of(&[Mistral])),
    ("content.document_url", Servers::of(&[Mistral])),
    ("content.reference_ids", Servers::of(&[Mistral])),
    ("content.video_url", SEES_VIDEOS),
    ("continue_final_message", LOCAL_SERVERS),
    ("disable_tool_validation", Servers::of(&[Groq])),
    ("do_sample", Servers::of(&[Zhipu])),
    ("drop_params", Servers::of(&[LiteLlm])),
    ("ebnf", Servers::of(&[Sglang])),
    ("grammar", Servers::of(&[LlamaCpp, LocalAi])),
    ("json_schema", Servers::of(&[LlamaCpp, Sglang])),
    ("prompt_mode", Servers::of(&[Mistral])),
    ("random_seed", Servers::of(&[Mistral])),
    ("reasoning", Servers::of(&[OpenRouter, Ollama])),
    ("reasoning.enabled", Servers::of(&[OpenRouter])),
    ("reasoning.exclude", Servers::of(&[OpenRouter])),
    ("reasoning.max_tokens", Servers::of(&[OpenRouter])),
    ("response_format.grammar", Servers::of(&[Fireworks])),
    ("response_format.value", Servers::of(&[Tgi])),
    ("regex", Servers::of(&[Sglang])),
    ("return_token_ids", LOCAL_SERVERS),
    ("return_tokens_as_token_ids", LOCAL_SERVERS),
    ("safe_prompt", Servers::of(&[Mistral])),
    ("separate_reasoning", Servers::of(&[Sglang])),
    ("stream_reasoning", Servers::of(&[Sglang])),
    ("structured_outputs", Servers::of(&[Vllm, OpenRouter])),
    ("think", Servers::of(&[Ollama])),
    ("thinking.clear_thinking", Servers::of(&[Zhipu])),
    ("thinking", Servers::of(&[DeepSeek, Zhipu, Moonshot])),
    ("timings_per_token", Servers::of(&[LlamaCpp])),
    ("usage", Servers::of(&[OpenRouter])),
];

/// Refuses the first of `Call::unknown_members` that the server might obey in a way not known here. `own` are the
/// endpoint's `members`, which the operator knows.
pub fn check(call: &Call, server: Server, own: &[String]) -> Result<(), Unreadable> {
    if server.refuses_unknown_members() {
        return Ok(());
    }
    let is_known = |name: &String| {
        let somewhere = ALLOWED_AT
            .iter()
            .any(|(known, servers)| known == name && servers.has(server));
        somewhere || ALLOWED_EVERYWHERE.contains(&name.as_str()) || own.contains(name)
    };
    match call.unknown_members.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(Unreadable(format!(
            "{name} is not forwarded: what it does at a server of kind {} is not known here \
             (the operator can add it to the endpoint's members)",
            server.name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::call::{Body, Bounds};

    fn refused(name: &str, server: Server, own: &[String]) -> bool {
        let call = Call {
            unknown_members: vec!["top_k".to_owned(), name.to_owned()],
            ..Call::default()
        };
        check(&call, server, own).is_err()
    }

    #[test]
    fn unknown_member_passes_only_to_servers_that_refuse_it() {
        assert!(refused("auto_max_new_tokens", Generic, &[]));
        assert!(refused("plugins", OpenRouter, &[]));
        assert!(refused("chat_template_kwargs", Generic, &[]));
        assert!(!refused("chat_template_kwargs", Vllm, &[]));
        assert!(!refused("whatever", OpenAi, &[]) && !refused("whatever", Demo, &[]));
        assert!(!refused("mine", Generic, &["mine".to_owned()]));
    }

    #[test]
    fn a_refusal_names_the_member_and_the_server() {
        let call = Call {
            unknown_members: vec!["options".to_owned()],
            ..Call::default()
        };
        let Unreadable(why) = check(&call, Ollama, &[]).unwrap_err();
        assert!(why.starts_with("options is not forwarded") && why.contains("ollama"));
    }

    /// Members such as `fallbacks` let a server answer with a model other than the requested one.
    #[test]
    fn no_server_is_let_choose_another_model() {
        let routing = [
            ("models", r#"["a/b"]"#),
            ("route", r#""fallback""#),
            ("provider", r#"{"order":["x"]}"#),
            ("preset", r#""x""#),
            ("plugins", r#"[{"id":"auto-router"}]"#),
            ("fallbacks", r#"[{"model":"a/b"}]"#),
            ("context_window_fallback_dict", r#"{"m":"a/b"}"#),
            ("content_policy_fallbacks", r#"[{"m":["a/b"]}]"#),
        ];
        let calls = [
            "chat/completions",
            "responses",
            "completions",
            "embeddings",
            "messages",
        ];
        for ((member, value), path) in routing
            .iter()
            .flat_map(|each| calls.map(|call| (each, call)))
        {
            let words: Vec<&str> = path.split('/').collect();
            let body = format!(
                r#"{{"model":"m","max_tokens":9,"prompt":"a","input":"a","messages":[],"{member}":{value}}}"#
            );
            let dialect = crate::dialect::table::find(&words).unwrap();
            let call = dialect.read(&Body::json(body.as_bytes()), &Bounds::default());
            for server in Server::named_all().map(|(_, server)| server) {
                let is_refused = match &call {
                    Ok(call) => check(call, server, &[]).is_err(),
                    Err(_) => true,
                };
                let obeys = !server.refuses_unknown_members();
                assert!(is_refused || !obeys, "{path} {member} {server:?}");
            }
        }
    }
}
