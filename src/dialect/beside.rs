//! Members beside an answer's text: those known to be no text of a model, and those that nobody knows.

use super::delivered::Delivered;

/// The longest word that a frame has: an ID, a date, a reason.
const LONGEST_WORD: usize = 256;

/// Members that are long by nature, and that nobody but the provider can read.
const SEALED: &[&str] = &["signature", "encrypted_content", "obfuscation"];

/// Whether a member is one of these, and nothing that could be an answer stands in it.
pub fn is_frame(known: &[&str], name: &str, value: &[u8]) -> bool {
    known.contains(&name)
        && (value.len() <= LONGEST_WORD || value[0] != b'"' || SEALED.contains(&name))
}

/// Something that may be generated.
pub fn unsure(value: &[u8], delivered: &mut Delivered) {
    if matches!(value.first(), Some(b'"' | b'[' | b'{')) && value.len() > 2 {
        delivered.unsure(value.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_words_and_no_text() {
        let known = &["id", "logprobs", "signature"];
        let long = format!("\"{}\"", "x".repeat(300));
        assert!(is_frame(known, "id", b"\"chatcmpl-1\"") && !is_frame(known, "ids", b"1"));
        assert!(!is_frame(known, "id", long.as_bytes()));
        assert!(is_frame(known, "signature", long.as_bytes()));
        assert!(is_frame(known, "logprobs", format!("[{long}]").as_bytes()));
    }

    #[test]
    fn what_nobody_knows_counts_where_it_may_be_text() {
        let mut delivered = Delivered::default();
        for value in ["\"\"", "1", "null", "[]", "true", "\"abc\"", "[1]"] {
            unsure(value.as_bytes(), &mut delivered);
        }
        assert_eq!(delivered.unsure, 5 + 3);
    }
}
