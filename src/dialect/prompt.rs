//! How many tokens a prompt can be at most, from its bytes alone.
//!
//! Byte-level tokenizers never make more tokens than there are bytes. So the bytes of everything
//! the model reads, and a little for the frame of each message, bound what the provider will count.

use super::tokens;
use crate::rules::amount::Tokens;

/// What a provider adds around one message: role, separators, name. Observed 3 to 7.
const MESSAGE_FRAME: u64 = 8;

pub fn message_frames(messages: usize) -> u64 {
    MESSAGE_FRAME * messages as u64
}

/// Longer prompts are not counted: their bytes must do.
pub const LONGEST_COUNTED_BYTES: usize = 256 << 10;

/// What stands for more than its letters. Where one of these words is, letters are not counted: it
/// may be only a word, but that costs no more than a rough bound.
const HIDDEN: [&str; 15] = [
    // Any of them, written with escapes.
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
];

/// Tokens for what a provider frames a whole prompt with.
const PROMPT_FRAME: u64 = 16;

/// A closer bound of a prompt than its bytes: the tokens of the body, with a margin for vocabularies
/// that cut finer than the one at hand. The frame of JSON around it is more than a provider's own.
pub fn counted(body: &[u8], is_exact: bool) -> Option<Tokens> {
    let text = std::str::from_utf8(body)
        .ok()
        .filter(|text| text.len() <= LONGEST_COUNTED_BYTES)?;
    if HIDDEN.iter().any(|word| text.contains(word)) {
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
