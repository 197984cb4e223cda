//! How many tokens a prompt can be at most, from its bytes alone.
//!
//! Byte-level tokenizers never make more tokens than there are bytes. So the bytes of everything
//! the model reads, and a little for the frame of each message, bound what the provider will count.

use crate::json;

/// What a provider adds around one message: role, separators, name. Observed 3 to 7.
const MESSAGE_FRAME: u64 = 8;

enum Weight {
    Bytes,
    Nothing,
    Image,
}

/// The bytes of every string value in a JSON text, member names and the values of `role` and `type`
/// left out: those belong to the frame. An image counts `image`: neither its address nor its bytes,
/// written into the address, say what a provider makes of it.
pub fn text_bytes(text: &str, image: u64) -> u64 {
    let bytes = text.as_bytes();
    let (mut at, mut sum, mut weight) = (0, 0, Weight::Bytes);
    while let Some(quote) = memchr::memchr(b'"', &bytes[at..]) {
        let start = at + quote;
        let Some(end) = json::string_end(bytes, start) else {
            break;
        };
        at = json::skip_space(bytes, end);
        if bytes.get(at) == Some(&b':') {
            weight = match &text[start..end] {
                "\"role\"" | "\"type\"" => Weight::Nothing,
                "\"url\"" => Weight::Image,
                _ => Weight::Bytes,
            };
            continue;
        }
        sum += match std::mem::replace(&mut weight, Weight::Bytes) {
            Weight::Bytes => (end - start - 2) as u64,
            Weight::Nothing => 0,
            Weight::Image => image,
        };
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
        assert_eq!(text_bytes(text, 7), 5 + 4);
        assert_eq!(text_bytes("[]", 7), 0);
        assert_eq!(text_bytes("\"open", 7), 0);
    }
}
