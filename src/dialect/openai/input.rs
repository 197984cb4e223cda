//! Sizes the `prompt` of `completions` and the `input` of `embeddings`: a text, a list of token IDs, or a
//! list of either. Must never count fewer tokens than the provider will.

use crate::dialect::prompt;
use crate::json;

/// Size of a `prompt` or an `input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Upper bound of the tokens that the provider will count.
    pub tokens: u64,
    /// Number of separate texts. `completions` answers each of them `n` times.
    pub texts: u64,
}

/// Sizes `raw`, which must be valid JSON, in one pass. A string counts its bytes and a number one token. An
/// object, which only some servers accept, counts `image` tokens besides its strings.
pub fn size(raw: &str, image: u64) -> Size {
    let bytes = raw.as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    let (mut tokens, mut items, mut numbers) = (0u64, 0usize, 0usize);
    while let Some(byte) = bytes.get(at) {
        let listed = usize::from(depth == 1);
        let start = at;
        at += 1;
        match byte {
            b'"' => {
                at = json::string_end(bytes, start).unwrap_or(bytes.len());
                tokens += (at - start).saturating_sub(2) as u64;
                items += listed;
            }
            b'[' | b'{' => {
                if *byte == b'{' {
                    tokens += image;
                }
                items += listed;
                depth += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => {
                while matches!(
                    bytes.get(at),
                    Some(b'0'..=b'9' | b'a'..=b'z' | b'+' | b'-' | b'.' | b'E')
                ) {
                    at += 1;
                }
                tokens += 1;
                numbers += listed;
            }
        }
    }
    // A list of token IDs alone is one text.
    let texts = if items == 0 { 1 } else { items + numbers };
    Size {
        // A server may frame each text, for example with a start token.
        tokens: tokens + prompt::message_frames(texts),
        texts: texts as u64,
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
