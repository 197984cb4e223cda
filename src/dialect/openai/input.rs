//! What `prompt` and `input` may be: a text, token numbers, or lists of either.

use crate::dialect::prompt;
use crate::json;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// At least as many tokens as the provider will count.
    pub tokens: u64,
    /// How many texts the provider sees in it.
    pub texts: u64,
}

/// One pass over JSON that is known to be whole. A number is a token. An object, which only some
/// servers take, counts as an image too.
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
    // A list of numbers alone is one text.
    let texts = if items == 0 { 1 } else { items + numbers };
    Size {
        // A server may frame each text, with a token that starts it for one.
        tokens: tokens + prompt::message_frames(texts),
        texts: texts as u64,
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
