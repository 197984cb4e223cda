//! Splits a text into words as the vocabulary o200k does. Byte pairs merge only within a word.
//!
//! This is the published regular expression written by hand. Its automaton has so many states that texts in
//! many scripts rebuild them all the time, at microseconds a byte. Linear for any text. A property test
//! compares it with the original pattern.

use regex_syntax::hir::{Class, HirKind};
use std::sync::LazyLock;

/// Letters in upper case or title case (`Lu`, `Lt`).
const UPPER: u8 = 1;
const LOWER: u8 = 2;
/// Letters without case (`Lm`, `Lo`), and marks (`M`).
const CASELESS: u8 = 4;
const NUMBER: u8 = 8;
const SPACE: u8 = 16;
const LETTER: u8 = 32;

const CLASSES: [(u8, &str); 6] = [
    (UPPER, r"[\p{Lu}\p{Lt}]"),
    (LOWER, r"\p{Ll}"),
    (CASELESS, r"[\p{Lm}\p{Lo}\p{M}]"),
    (NUMBER, r"\p{N}"),
    (SPACE, r"\s"),
    (LETTER, r"\p{L}"),
];

/// Bits of `CLASSES` for every character.
static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut table = vec![0; char::MAX as usize + 1];
    for (bit, class) in CLASSES {
        // The classes always parse: a test would catch it.
        let Ok(parsed) = regex_syntax::parse(class) else {
            continue;
        };
        if let HirKind::Class(Class::Unicode(ranges)) = parsed.kind() {
            for range in ranges.iter() {
                let signs = range.start() as usize..=range.end() as usize;
                table[signs].iter_mut().for_each(|classes| *classes |= bit);
            }
        }
    }
    table
});

/// Returns the words of a text in order. Joined together they are the text.
pub fn of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (word, after) = rest.split_at(first(rest));
        rest = after;
        Some(word)
    })
}

/// Returns the offset of the first word's end.
fn first(text: &str) -> usize {
    letters(text)
        .or_else(|| digits(text))
        .or_else(|| signs(text))
        .unwrap_or_else(|| spaces(text))
}

fn is_in(sign: char, classes: u8) -> bool {
    TABLE[sign as usize] & classes != 0
}

/// Returns the end of the run from `start` of characters that are in any of `classes`.
fn run(text: &str, start: usize, classes: u8) -> usize {
    let end = text[start..].find(|sign| !is_in(sign, classes));
    end.map_or(text.len(), |length| start + length)
}

/// Matches lower case letters behind upper case ones, or upper case letters alone. One character before them
/// is included if it is neither `LETTER` nor `NUMBER` nor a line end.
fn letters(text: &str) -> Option<usize> {
    let sign = text.chars().next()?;
    let is_sign = !is_in(sign, LETTER | NUMBER) && !matches!(sign, '\r' | '\n');
    let starts = [is_sign.then(|| sign.len_utf8()), Some(0)];
    let starts = || starts.into_iter().flatten();
    let end = starts()
        .find_map(|start| with_small(text, start))
        .or_else(|| starts().find_map(|start| large(text, start)))?;
    Some(end + contraction(&text[end..]))
}

/// Matches upper case letters, if any, and at least one letter that is lower case or `CASELESS`.
fn with_small(text: &str, start: usize) -> Option<usize> {
    let middle = run(text, start, UPPER | CASELESS);
    let end = run(text, middle, LOWER | CASELESS);
    if end > middle {
        return Some(end);
    }
    // The last letter without case is taken for a lower case one.
    let last = text[start..middle].rfind(|sign| is_in(sign, CASELESS))?;
    let length = text[start + last..].chars().next()?.len_utf8();
    Some(start + last + length)
}

fn large(text: &str, start: usize) -> Option<usize> {
    let end = run(text, start, UPPER | CASELESS);
    (end > start).then(|| run(text, end, LOWER | CASELESS))
}

/// Returns the bytes of an English contraction with its apostrophe, such as `'ll`.
fn contraction(text: &str) -> usize {
    const ENDINGS: [&str; 7] = ["s", "t", "re", "ve", "m", "ll", "d"];
    let Some(rest) = text.strip_prefix('\'') else {
        return 0;
    };
    // U+017F LATIN SMALL LETTER LONG S folds to `s`.
    if rest.starts_with('ſ') {
        return 1 + 'ſ'.len_utf8();
    }
    let head = |length| rest.as_bytes().get(..length);
    let ending = ENDINGS.iter().find(|ending| {
        head(ending.len()).is_some_and(|head| head.eq_ignore_ascii_case(ending.as_bytes()))
    });
    ending.map_or(0, |ending| 1 + ending.len())
}

/// Matches up to three characters of class `NUMBER`.
fn digits(text: &str) -> Option<usize> {
    let digits = text.chars().take(3).take_while(|sign| is_in(*sign, NUMBER));
    Some(digits.map(char::len_utf8).sum()).filter(|length| *length > 0)
}

/// Matches signs behind at most one blank, and the line ends and slashes behind them.
fn signs(text: &str) -> Option<usize> {
    let start = usize::from(text.starts_with(' '));
    let is_other = |sign: char| is_in(sign, SPACE | LETTER | NUMBER);
    let end = text[start..].find(is_other);
    let end = end.map_or(text.len(), |length| start + length);
    let behind = |end: usize| {
        let more = text[end..].find(|sign| !matches!(sign, '\r' | '\n' | '/'));
        more.map_or(text.len(), |length| end + length)
    };
    (end > start).then(|| behind(end))
}

/// Matches white space up to its last line end. If it has none, the last blank is left to the next word.
fn spaces(text: &str) -> usize {
    let end = run(text, 0, SPACE);
    let run = &text[..end];
    if let Some(last) = run.rfind(['\r', '\n']) {
        return last + 1;
    }
    let last = run.char_indices().next_back().map_or(0, |(last, _)| last);
    if end < text.len() && last > 0 {
        last
    } else {
        // At least one character, so that every character is in some word.
        end.max(text.chars().next().map_or(0, char::len_utf8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_cut_where_the_pattern_cuts_them() {
        for (text, words) in [
            ("Hello, world!", &["Hello", ",", " world", "!"][..]),
            ("don't DON'T it\'ſ", &["don't", " DON'T", " it'ſ"]),
            ("camelCaseHTML", &["camel", "Case", "HTML"]),
            ("a   b \n\n  c", &["a", "  ", " b", " \n\n", " ", " c"]),
            ("12345 //\n/x", &["123", "45", " //\n/", "x"]),
            ("字字A字B", &["字字A字", "B"]),
            ("\u{301}ABC", &["\u{301}", "ABC"]),
            ("  ", &["  "]),
            ("", &[]),
        ] {
            assert_eq!(of(text).collect::<Vec<_>>(), words, "{text:?}");
        }
    }

    #[test]
    fn every_class_has_characters() {
        for (bit, class) in CLASSES {
            assert!(TABLE.iter().any(|classes| classes & bit != 0), "{class}");
        }
    }

    proptest! {
        #[test]
        fn together_they_are_the_text(text in "(?s).{0,60}") {
            prop_assert_eq!(of(&text).collect::<String>(), text);
        }
    }
}
