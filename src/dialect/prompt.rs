//! Upper bound of a prompt's tokens.
//!
//! A byte-level tokenizer never makes more tokens than there are bytes. So the bytes of everything the model
//! reads, and a few tokens for each message's frame, bound the count of the provider. [`counted`] is a
//! tighter bound for plain text.

use super::tokens;
use crate::rules::amount::Tokens;

/// Tokens that a provider adds around one message for role, separators and name. Observed: 3 to 7.
const MESSAGE_FRAME: u64 = 8;

pub(crate) fn message_frames(messages: usize) -> u64 {
    MESSAGE_FRAME * messages as u64
}

/// Longest prompt that is counted, in bytes. A longer one is bounded by its bytes alone.
pub const LONGEST_COUNTED_BYTES: usize = 256 << 10;

/// Words that may stand for more tokens than their letters have, such as `tools`. A body with one of them is
/// not counted; a false match costs only the coarser bound by bytes.
const UNCOUNTABLE_WORDS: [&str; 22] = [
    // Any of these words, written with escapes.
    "\\u00",
    "functions",
    "response_format",
    "json_schema",
    "tool_calls",
    "tools",
    "image",
    "file",
    "document",
    "audio",
    "video",
    "web_",
    "container",
    "mcp",
    "input_token",
    "functionCall",
    "function_call",
    "functionResponse",
    "function_response",
    "inlineData",
    "inline_data",
    "Schema",
];

/// Tokens that a provider adds around a whole prompt.
const PROMPT_FRAME: u64 = 16;

/// Returns a tighter bound of a prompt than its bytes: the tokens of the whole body, with a margin for
/// vocabularies that split finer than o200k. The JSON syntax counts too and exceeds a provider's own frame.
/// `None`: too long, not UTF-8, or with one of the `UNCOUNTABLE_WORDS` words.
pub fn counted(body: &[u8], is_exact: bool) -> Option<Tokens> {
    let text = std::str::from_utf8(body)
        .ok()
        .filter(|text| text.len() <= LONGEST_COUNTED_BYTES)?;
    if UNCOUNTABLE_WORDS.iter().any(|word| text.contains(word)) {
        return None;
    }
    let tokens = if is_exact {
        let tokens = tokens::count(text);
        tokens + tokens / 10
    } else {
        tokens::at_most(text)
    };
    Some(Tokens::new(tokens + PROMPT_FRAME))
}
