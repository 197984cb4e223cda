//! How many tokens a prompt can be at most, from its bytes alone.
//!
//! Byte-level tokenizers never make more tokens than there are bytes. So the bytes of everything
//! the model reads, and a little for the frame of each message, bound what the provider will count.

use crate::json;

/// What a provider adds around one message: role, separators, name. Observed 3 to 7.
const MESSAGE_FRAME: u64 = 8;

/// The bytes of every string value in a JSON text, member names and the values of `role` and `type`
/// left out: those belong to the frame.
pub fn text_bytes(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let (mut at, mut sum, mut framed) = (0, 0, false);
    while let Some(quote) = memchr::memchr(b'"', &bytes[at..]) {
        let start = at + quote;
        let Some(end) = json::string_end(bytes, start) else {
            break;
        };
        at = json::skip_space(bytes, end);
        if bytes.get(at) == Some(&b':') {
            framed = matches!(&text[start..end], "\"role\"" | "\"type\"");
        } else if !std::mem::take(&mut framed) {
            sum += (end - start - 2) as u64;
        }
    }
    sum
}

pub fn message_frames(messages: usize) -> u64 {
    MESSAGE_FRAME * messages as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_counts_and_the_frame_does_not() {
        let text = r#"[{"role":"user","content":"Hello"},{"role":"user","content":[{"type":"text","text":"a\"b"}]}]"#;
        assert_eq!(text_bytes(text), 5 + 4);
        assert_eq!(text_bytes("[]"), 0);
        assert_eq!(text_bytes("\"open"), 0);
    }
}
