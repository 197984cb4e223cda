//! Generates the demo provider's answer text: deterministic, quoting the last user message.
//!
//! Pure. An answer never exceeds the call's token limit. Its token count is [`count`] of the text sent, the
//! same count as for the prompt.

use super::call::{Call, count};

const QUOTED_WORDS: usize = 8;
const QUOTED_CHARS_PER_WORD: usize = 24;
/// The same ratio as in [`count`].
const BYTES_PER_TOKEN: u64 = 4;

/// A generated answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub text: String,
    pub tokens: u64,
    /// Truncated by the token limit (`finish_reason: length`, `stop_reason: max_tokens`).
    pub cut: bool,
}

/// Generates the answer to a call, truncated to [`Call::limit_tokens`].
pub(super) fn answer(call: &Call) -> Answer {
    let quote = quote(&call.last_words);
    let mut text = if quote.is_empty() {
        "Hello from the demo provider! You said nothing that I can read, \
         so here are a few friendly words to count."
            .to_owned()
    } else {
        format!(
            "Hello from the demo provider! You said \"{quote}\" and I, having no model, \
             can only wave back kindly."
        )
    };
    let whole = text.len();
    if let Some(limit) = call.limit_tokens {
        let most = usize::try_from(limit.saturating_mul(BYTES_PER_TOKEN)).unwrap_or(usize::MAX);
        // UTF-8 characters have at most 4 bytes, so even a limit of 1 token leaves some text.
        text.truncate(text.floor_char_boundary(most));
    }
    Answer {
        tokens: count(text.len()),
        cut: text.len() < whole,
        text,
    }
}

/// Splits a text into stream chunks: one word each, with the space after it.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

/// Shortens a text to its first [`QUOTED_WORDS`] words of at most [`QUOTED_CHARS_PER_WORD`] characters.
fn quote(text: &str) -> String {
    let mut words = text.split_whitespace();
    let short = |word: &str| word.chars().take(QUOTED_CHARS_PER_WORD).collect::<String>();
    let mut quote = words
        .by_ref()
        .take(QUOTED_WORDS)
        .map(short)
        .collect::<Vec<String>>()
        .join(" ");
    if words.next().is_some() {
        quote.push('…');
    }
    quote
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::call::read;
    use serde_json::json;

    fn call(words: &str, limit_tokens: Option<u64>) -> Call {
        let body = json!({ "messages": [{ "role": "user", "content": words }] });
        let call = read(&body, "").unwrap();
        Call {
            limit_tokens,
            ..call
        }
    }

    #[test]
    fn an_answer_quotes_a_little_and_says_who_speaks() {
        let said = answer(&call("one two three four five six seven eight nine", None));
        assert!(said.text.contains("demo provider"));
        assert!(
            said.text
                .contains("\"one two three four five six seven eight…\"")
        );
        assert_eq!(said.tokens, (said.text.len() as u64).div_ceil(4));
        assert!(!said.cut);
        let long = answer(&call(&"x".repeat(100_000), None));
        assert!(long.text.len() < 200);
        assert!(answer(&call(" \n", None)).text.contains("nothing"));
    }

    #[test]
    fn no_answer_is_longer_than_its_limit() {
        let whole = answer(&call("größer als 漢字 😀😀", None));
        for limit in 1..whole.tokens + 3 {
            let said = answer(&call("größer als 漢字 😀😀", Some(limit)));
            assert!((1..=limit).contains(&said.tokens));
            assert_eq!(said.cut, limit < whole.tokens);
            assert!(whole.text.starts_with(&said.text) && !said.text.is_empty());
        }
    }

    #[test]
    fn the_pieces_are_the_text() {
        let said = answer(&call("hello there", None));
        assert_eq!(pieces(&said.text).collect::<String>(), said.text);
        assert!((15..30).contains(&pieces(&said.text).count()));
    }
}
