//! Counts tokens with a real tokenizer, where bytes are too rough a measure.
//!
//! OpenAI's newest vocabulary stands for all: other models' counts differ by some percent, which is
//! what the caller's margin is for. The vocabulary is unpacked by the first use, so a gateway that
//! never needs it never pays for it.

/// How many tokens a text is.
pub fn count(text: &str) -> u64 {
    bpe_openai::o200k_base().count(text) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_as_many_tokens_as_its_vocabulary_says() {
        assert_eq!(count(""), 0);
        assert_eq!(count("Hello, world!"), 4);
        assert_eq!(count("The quick brown fox jumps over the lazy dog."), 10);
        assert_eq!(count(&" ".repeat(64)), 1);
    }

    #[test]
    fn no_text_has_more_tokens_than_bytes() {
        for text in [
            "日本語のテキスト",
            "🙂🙃",
            "\u{0}\u{1}",
            "aaaaaaaaaaaaaaaa",
            "{\"a\":[1,2,3]}",
        ] {
            assert!(count(text) <= text.len() as u64, "{text}");
        }
    }
}
