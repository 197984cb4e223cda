//! Members of an answer beside its generated text: known ones that no model generates, and unknown ones.
//!
//! An unknown member must never be taken for one without generated text.

use super::delivered::Delivered;

/// Longest string in a known member, in bytes with its quotes: an ID, a date, a reason.
const MAX_FRAME_STRING_BYTES: usize = 256;

/// Members that are long by nature and that only the provider can read.
const OPAQUE_MEMBERS: &[&str] = &[
    "signature",
    "encrypted_content",
    "obfuscation",
    "thoughtSignature",
];

/// Whether a member is in `known`, and its value is not a string long enough to hold an answer.
pub(crate) fn is_frame(known: &[&str], name: &str, value: &[u8]) -> bool {
    known.contains(&name)
        && (value.len() <= MAX_FRAME_STRING_BYTES
            || value[0] != b'"'
            || OPAQUE_MEMBERS.contains(&name))
}

/// Counts the value of an unknown member as possibly generated, in `Delivered::unsure`.
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
    fn unknown_values_count_where_they_may_be_text() {
        let mut delivered = Delivered::default();
        for value in ["\"\"", "1", "null", "[]", "true", "\"abc\"", "[1]"] {
            unsure(value.as_bytes(), &mut delivered);
        }
        assert_eq!(delivered.unsure, 5 + 3);
    }
}
