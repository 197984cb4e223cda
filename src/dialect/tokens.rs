//! Counts tokens with a real tokenizer, where bytes are too coarse a bound.
//!
//! OpenAI's newest vocabulary, o200k, stands in for all others: their counts differ by a few percent, which
//! the caller's margin covers. The vocabulary is unpacked on first use, so a gateway that never counts never
//! pays for it.

use super::words;
use flate2::read::DeflateDecoder;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::io::Read;
use std::sync::LazyLock;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Maximum length of a word in bytes. Longer words, which no language has, are split so that counting stays
/// linear.
const LONGEST_WORD: usize = 512;

/// Longest word that `merged_by_scan` merges faster than `merged_by_heap`, in bytes.
const SHORT_WORD: usize = 24;

/// Rank of bytes that are not a token.
const NO_RANK: u32 = u32::MAX;

/// Rank of every token, by its bytes. The pair with the lowest rank merges first.
static RANKS: LazyLock<Ranks> = LazyLock::new(unpack);

type Ranks = HashMap<&'static [u8], u32, BuildHasherDefault<Xxh3>>;

/// Hasher of [`Ranks`]. It need not resist collisions: nothing that a caller writes is ever inserted.
#[derive(Default)]
struct Xxh3(u64);

impl Hasher for Xxh3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, number: usize) {
        self.0 ^= number as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn unpack() -> Ranks {
    let packed = include_bytes!(concat!(env!("OUT_DIR"), "/o200k.deflate"));
    let mut bytes = Vec::new();
    // Cannot fail: the data was packed at build time.
    let _ = DeflateDecoder::new(packed.as_slice()).read_to_end(&mut bytes);
    let mut ranks = Ranks::default();
    bytes.shrink_to_fit();
    // Unpacked once and needed until the process ends, so it may leak.
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

/// Whether o200k is the model's own vocabulary, by the beginning of its name.
pub fn is_known(model: &str) -> bool {
    ["gpt-4o", "gpt-4.1", "gpt-5", "o1", "o3", "o4"]
        .iter()
        .any(|start| model.starts_with(start))
}

/// Returns the number of tokens that o200k makes of a text.
pub fn count(text: &str) -> u64 {
    sum(text, merged)
}

/// Common words that no published vocabulary splits into more than [`MAX_TOKENS_PER_COMMON_WORD`] tokens, in lower case
/// or capitalised. It holds whatever stands beside them: a blank, none, a line end, another word.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("words.txt").lines().collect());
const MAX_TOKENS_PER_COMMON_WORD: u64 = 2;

/// Returns an upper bound of a text's tokens in any other vocabulary. A common word counts `MAX_TOKENS_PER_COMMON_WORD`,
/// everything else one per byte, words of other languages included.
pub fn at_most(text: &str) -> u64 {
    sum(text, |word| {
        let bytes = word.len() as u64;
        if is_common(word) {
            MAX_TOKENS_PER_COMMON_WORD.min(bytes)
        } else {
            bytes
        }
    })
}

fn is_common(word: &[u8]) -> bool {
    let letters = word.strip_prefix(b" ").unwrap_or(word);
    let Ok(letters) = std::str::from_utf8(letters) else {
        return false;
    };
    if letters.starts_with(|first: char| first.is_ascii_uppercase()) {
        let (first, rest) = letters.split_at(1);
        return rest.bytes().all(|letter| letter.is_ascii_lowercase())
            && COMMON.contains(&*(first.to_ascii_lowercase() + rest));
    }
    COMMON.contains(letters)
}

fn sum(text: &str, each: impl Fn(&[u8]) -> u64) -> u64 {
    let parts = words::of(text).flat_map(|word| word.as_bytes().chunks(LONGEST_WORD));
    parts.map(each).sum()
}

fn rank(bytes: &[u8]) -> u32 {
    RANKS.get(bytes).copied().unwrap_or(NO_RANK)
}

/// Returns the number of tokens left of a word's bytes after byte-pair merging, lowest rank first.
fn merged(word: &[u8]) -> u64 {
    if RANKS.contains_key(word) {
        1
    } else if word.len() <= SHORT_WORD {
        merged_by_scan(word)
    } else {
        merged_by_heap(word)
    }
}

fn merged_by_scan(word: &[u8]) -> u64 {
    // The start of each part, and the rank of the part joined with the next one.
    let mut starts: Vec<usize> = (0..=word.len()).collect();
    let pair = |starts: &[usize], at: usize| -> u32 {
        let (start, end) = (starts.get(at), starts.get(at + 2));
        let pair = start.zip(end);
        pair.map_or(NO_RANK, |(start, end)| rank(&word[*start..*end]))
    };
    let mut ranks: Vec<u32> = (0..word.len()).map(|at| pair(&starts, at)).collect();
    while let Some((at, lowest)) = ranks
        .iter()
        .copied()
        .enumerate()
        .min_by_key(|(_, rank)| *rank)
    {
        if lowest == NO_RANK {
            break;
        }
        starts.remove(at + 1);
        ranks.remove(at + 1);
        ranks[at] = pair(&starts, at);
        if let Some(before) = at.checked_sub(1) {
            ranks[before] = pair(&starts, before);
        }
    }
    ranks.len() as u64
}

/// Merges with a doubly linked list of parts and a [`BinaryHeap`] of pairs. A popped pair is skipped if its
/// parts have changed since it was pushed.
fn merged_by_heap(word: &[u8]) -> u64 {
    // Indexed by the start of each part: its end, and the start of the part before it.
    let mut ends: Vec<usize> = (1..=word.len()).collect();
    let mut before: Vec<usize> = (0..word.len()).map(|at| at.saturating_sub(1)).collect();
    let pairs = (0..word.len() - 1).map(|at| (rank(&word[at..at + 2]), at, at + 2));
    let mut pairs: BinaryHeap<_> = pairs
        .filter(|(rank, ..)| *rank != NO_RANK)
        .map(Reverse)
        .collect();
    let mut left = word.len() as u64;
    while let Some(Reverse((_, start, end))) = pairs.pop() {
        let middle = ends[start];
        // An end of 0 marks a part that was merged into the one before it.
        if middle == 0 || middle >= end || ends[middle] != end {
            continue;
        }
        ends[start] = end;
        ends[middle] = 0;
        left -= 1;
        if end < word.len() {
            before[end] = start;
            let after = ends[end];
            push(&mut pairs, word, start, after);
        }
        if start > 0 {
            push(&mut pairs, word, before[start], end);
        }
    }
    left
}

fn push(
    pairs: &mut BinaryHeap<Reverse<(u32, usize, usize)>>,
    word: &[u8],
    start: usize,
    end: usize,
) {
    let rank = rank(&word[start..end]);
    if rank != NO_RANK {
        pairs.push(Reverse((rank, start, end)));
    }
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
        fn counts_of_any_script_are_those_of_the_reference(text in "([\\x00-\\u{10FFFF}]{0,6}|[A-Zẞǅaſéé字あ\u{301}ᵃ]{1,6}|'[sSſtTrelLvVmd]{1,2}|[ \t\n\r\u{a0}\u{3000}]{1,4}|[/.!٣½]{1,3}){0,16}") {
            prop_assert_eq!(count(&text), bpe_openai::o200k_base().count(text.as_str()) as u64);
        }

        #[test]
        fn another_vocabulary_is_given_no_less(text in "\\PC{0,60}") {
            prop_assert!(at_most(&text) >= count(&text));
            prop_assert!(at_most(&text) <= text.len() as u64);
        }

        #[test]
        fn a_heap_merges_what_a_scan_does(word in "([a-e]{1,9}|[a-zA-Z0-9]{1,20}|é|字|😀| ){1,24}") {
            let word = word.as_bytes();
            prop_assert_eq!(merged_by_heap(word), merged_by_scan(word));
        }

        #[test]
        fn no_text_has_more_tokens_than_bytes(text in "\\PC{0,60}") {
            prop_assert!(count(&text) <= text.len() as u64);
        }
    }

    #[test]
    fn only_words_that_were_measured_are_less_than_their_bytes() {
        for (text, tokens) in [
            (" the", 2),
            ("The house", 4),
            (" verantwoordelijkheid", 21),
            ("HOUSE", 5),
            ("12345", 5),
            ("字", 3),
        ] {
            assert_eq!(at_most(text), tokens, "{text}");
        }
        assert!(
            COMMON
                .iter()
                .all(|word| word.bytes().all(|letter| letter.is_ascii_lowercase()))
        );
    }

    #[test]
    fn a_word_without_end_takes_no_time_without_end() {
        let long = "x9".repeat(500_000);
        assert!(count(&long) <= 1_000_000);
    }
}
