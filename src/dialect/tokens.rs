//! Counts tokens with a real tokenizer, where bytes are too rough a measure.
//!
//! OpenAI's newest vocabulary stands for all: other models' counts differ by some percent, which is
//! what the caller's margin is for. The vocabulary is unpacked by the first use, so a gateway that
//! never needs it never pays for it.

use flate2::read::DeflateDecoder;
use regex::Regex;
use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;

/// How the vocabulary cuts a text into words, whose bytes alone are merged. A run of spaces leaves
/// its last one to the word that follows; that is done below, because a pattern cannot look ahead.
const WORDS: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
);

/// Longer words, which no language has, are cut: merging takes the square of the length.
const LONGEST_WORD: usize = 512;

/// Every token by its bytes; a lower rank merges first.
static RANKS: LazyLock<HashMap<&'static [u8], u32>> = LazyLock::new(unpack);
/// `None` only if the pattern above were wrong, which a test would tell.
static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(WORDS).ok());

fn unpack() -> HashMap<&'static [u8], u32> {
    let packed = include_bytes!(concat!(env!("OUT_DIR"), "/o200k.deflate"));
    let mut bytes = Vec::new();
    // What was packed at build time unpacks.
    let _ = DeflateDecoder::new(packed.as_slice()).read_to_end(&mut bytes);
    let mut ranks = HashMap::new();
    bytes.shrink_to_fit();
    // Unpacked once and needed until the end.
    let mut rest: &'static [u8] = bytes.leak();
    while let Some((token, after)) = rest
        .split_first()
        .and_then(|(length, after)| after.split_at_checked(usize::from(*length)))
    {
        ranks.insert(token, ranks.len() as u32);
        rest = after;
    }
    ranks
}

/// Models that this vocabulary is the very one of.
pub fn is_known(model: &str) -> bool {
    ["gpt-4o", "gpt-4.1", "gpt-5", "o1", "o3", "o4"]
        .iter()
        .any(|start| model.starts_with(start))
}

/// How many tokens a text is.
pub fn count(text: &str) -> u64 {
    sum(text, merged)
}

/// At most how many tokens a text is in any other vocabulary. English words are cut much alike
/// everywhere; digits, signs and other scripts may be cut down to their bytes.
pub fn at_most(text: &str) -> u64 {
    sum(text, |word| {
        let letters = word.strip_prefix(b" ").unwrap_or(word);
        let is_word = letters.iter().all(u8::is_ascii_alphabetic);
        let bytes = word.len() as u64;
        if is_word {
            (merged(word) * 3).div_ceil(2).min(bytes)
        } else {
            bytes
        }
    })
}

fn sum(text: &str, each: impl Fn(&[u8]) -> u64) -> u64 {
    let Some(pattern) = PATTERN.as_ref() else {
        return text.len() as u64;
    };
    let (mut at, mut tokens) = (0, 0);
    while let Some(word) = pattern.find_at(text, at) {
        let mut end = word.end();
        let spaces = &text[word.range()];
        if end < text.len()
            && spaces.chars().all(char::is_whitespace)
            && !spaces.ends_with(['\r', '\n'])
            && let Some((last, _)) = spaces
                .char_indices()
                .next_back()
                .filter(|(last, _)| *last > 0)
        {
            end = word.start() + last;
        }
        for part in text.as_bytes()[word.start()..end].chunks(LONGEST_WORD) {
            tokens += each(part);
        }
        at = end;
    }
    tokens
}

/// How many tokens are left of a word's bytes when everything is merged that can be, lowest rank
/// first.
fn merged(word: &[u8]) -> u64 {
    if RANKS.contains_key(word) {
        return 1;
    }
    // Where each part starts, and the rank of the part with the one after it.
    let mut starts: Vec<usize> = (0..=word.len()).collect();
    let rank = |starts: &[usize], at: usize| -> u32 {
        let (start, end) = (starts.get(at), starts.get(at + 2));
        let pair = start
            .zip(end)
            .and_then(|(start, end)| RANKS.get(&word[*start..*end]));
        pair.copied().unwrap_or(u32::MAX)
    };
    let mut ranks: Vec<u32> = (0..word.len()).map(|at| rank(&starts, at)).collect();
    while let Some((at, lowest)) = ranks
        .iter()
        .copied()
        .enumerate()
        .min_by_key(|(_, rank)| *rank)
    {
        if lowest == u32::MAX {
            break;
        }
        starts.remove(at + 1);
        ranks.remove(at + 1);
        ranks[at] = rank(&starts, at);
        if let Some(before) = at.checked_sub(1) {
            ranks[before] = rank(&starts, before);
        }
    }
    ranks.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_has_as_many_tokens_as_its_vocabulary_says() {
        assert_eq!(RANKS.len(), 199_998);
        for (text, tokens) in [
            ("", 0),
            ("Hello, world!", 4),
            ("The quick brown fox jumps over the lazy dog.", 10),
            ("  two  spaces\n\n and lines ", 8),
        ] {
            assert_eq!(count(text), tokens, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_reference(text in "(\\PC{0,8}| {1,4}|\n{1,2}|[a-zA-Z]{1,14}|[0-9]{1,7}|'s|//){0,24}") {
            prop_assert_eq!(count(&text), bpe_openai::o200k_base().count(text.as_str()) as u64);
        }

        #[test]
        fn another_vocabulary_is_given_no_less(text in "\\PC{0,60}") {
            prop_assert!(at_most(&text) >= count(&text));
            prop_assert!(at_most(&text) <= text.len() as u64);
        }

        #[test]
        fn no_text_has_more_tokens_than_bytes(text in "\\PC{0,60}") {
            prop_assert!(count(&text) <= text.len() as u64);
        }
    }

    #[test]
    fn a_word_without_end_takes_no_time_without_end() {
        let long = "x9".repeat(500_000);
        assert!(count(&long) <= 1_000_000);
    }
}
