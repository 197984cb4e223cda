//! Which answers show all that is generated for them.
//!
//! A client that leaves such an answer pays for what it has seen, and its provider is cut off in its first pause.
//! Of any other the provider is read on for its usage: unknown is hidden.

use super::call::Call;
use crate::rules::server::Server;

/// OpenAI's models that think nothing in secret, by the beginning of their names.
const OPENAI: &[&str] = &["gpt-4o", "gpt-4.1", "gpt-4-", "gpt-3.5-"];
/// What a name must not have: it searches, hears or speaks.
const OPENAI_HIDES: &[&str] = &["search", "audio", "realtime", "transcribe", "tts", "image"];

/// Anthropic's, where they are not asked to think.
const ANTHROPIC: &[&str] = &[
    "claude-3-",
    "claude-haiku-4",
    "claude-sonnet-4",
    "claude-opus-4",
];

/// An answer that has come so far shows all that was generated so far.
pub fn shows_all(server: Server, model: Option<&str>, call: &Call) -> bool {
    let named = |starts: &[&str]| {
        model.is_some_and(|model| starts.iter().any(|start| model.starts_with(start)))
    };
    // Of several answers one may not have begun to show.
    if !call.stream || call.answers > 1 || call.hides {
        return false;
    }
    match server {
        Server::Demo => true,
        Server::OpenAi => {
            let hides = |model: &str| OPENAI_HIDES.iter().any(|word| model.contains(word));
            named(OPENAI) && !model.is_some_and(hides)
        }
        Server::Anthropic => named(ANTHROPIC),
        _ => false,
    }
}

/// Of several answers the server reports the usage of one.
pub fn reports_one(server: Server) -> bool {
    matches!(server, Server::LlamaCpp | Server::LocalAi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_hidden() {
        let call = Call {
            stream: true,
            answers: 1,
            ..Call::default()
        };
        for (server, model, shown) in [
            (Server::OpenAi, "gpt-4o-mini", true),
            (Server::OpenAi, "gpt-4o-audio-preview", false),
            (Server::OpenAi, "gpt-5", false),
            (Server::OpenAi, "o3", false),
            (Server::Azure, "gpt-4o", false),
            (Server::Generic, "gpt-4o", false),
            (Server::Anthropic, "claude-sonnet-4-5", true),
            (Server::Anthropic, "claude-next", false),
            (Server::Vllm, "llama", false),
        ] {
            assert_eq!(shows_all(server, Some(model), &call), shown, "{model}");
        }
        for changed in [
            Call {
                stream: false,
                ..call.clone()
            },
            Call {
                answers: 2,
                ..call.clone()
            },
            Call {
                hides: true,
                ..call.clone()
            },
        ] {
            assert!(!shows_all(Server::OpenAi, Some("gpt-4o"), &changed));
        }
        assert!(!shows_all(Server::OpenAi, None, &call));
    }
}
