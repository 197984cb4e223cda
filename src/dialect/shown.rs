//! Decides whether an answer shows all the output that is generated for it.
//!
//! A client that disconnects from such an answer pays for what it has seen, and the provider is cut off at
//! its next pause. Any other answer is read to its end for the usage. An unknown model or server counts as
//! hiding output.

use super::call::Call;
use crate::rules::server::Server;

/// OpenAI's models without hidden thinking, by the beginning of their names.
const OPENAI: &[&str] = &["gpt-4o", "gpt-4.1", "gpt-4-", "gpt-3.5-"];
/// Parts of names that exclude a model of `OPENAI`: it searches, or takes or makes sound or images.
const OPENAI_HIDES: &[&str] = &["search", "audio", "realtime", "transcribe", "tts", "image"];

/// Anthropic's models that show all output unless they are asked to think, by the beginning of their names.
const ANTHROPIC: &[&str] = &[
    "claude-3-",
    "claude-haiku-4",
    "claude-sonnet-4",
    "claude-opus-4",
];

/// Whether an answer, as far as it was received, shows all output generated so far.
pub fn shows_all(server: Server, model: Option<&str>, call: &Call) -> bool {
    let named = |starts: &[&str]| {
        model.is_some_and(|model| starts.iter().any(|start| model.starts_with(start)))
    };
    // With `n` answers, one may be generated before it has begun to show.
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

/// Whether the server reports the usage of only one of `n` answers.
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
