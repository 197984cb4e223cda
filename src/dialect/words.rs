//! How OpenAI's newest vocabulary cuts a text into words, whose bytes alone are merged.
//!
//! What its published pattern says, by hand: an automaton of that pattern has so many states that texts in many
//! scripts build them anew all the time, at microseconds a byte. Linear, whatever the text; a property test holds it
//! to the original.

use regex_syntax::hir::{Class, HirKind};
use std::sync::LazyLock;

/// Upper case and title case.
const UPPER: u8 = 1;
const LOWER: u8 = 2;
/// Letters of no case, and marks.
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

/// The classes of every character.
static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut table = vec![0; char::MAX as usize + 1];
    for (bit, class) in CLASSES {
        // They parse: a test would tell.
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

/// The words of a text, in order; together they are the text.
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

/// Where the first word ends.
fn first(text: &str) -> usize {
    letters(text)
        .or_else(|| digits(text))
        .or_else(|| signs(text))
        .unwrap_or_else(|| spaces(text))
}

fn is_in(sign: char, classes: u8) -> bool {
    TABLE[sign as usize] & classes != 0
}

/// Where a run from `start` ends of characters that are in any of these classes.
fn run(text: &str, start: usize, classes: u8) -> usize {
    let end = text[start..].find(|sign| !is_in(sign, classes));
    end.map_or(text.len(), |length| start + length)
}

/// Letters: small ones behind large ones, or large ones alone, behind at most one sign that is neither letter nor
/// number nor a line's end.
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

/// Large ones, if any, and at least one that is small or has no case.
fn with_small(text: &str, start: usize) -> Option<usize> {
    let middle = run(text, start, UPPER | CASELESS);
    let end = run(text, middle, LOWER | CASELESS);
    if end > middle {
        return Some(end);
    }
    // The last one without a case is taken for a small one.
    let last = text[start..middle].rfind(|sign| is_in(sign, CASELESS))?;
    let length = text[start + last..].chars().next()?.len_utf8();
    Some(start + last + length)
}

fn large(text: &str, start: usize) -> Option<usize> {
    let end = run(text, start, UPPER | CASELESS);
    (end > start).then(|| run(text, end, LOWER | CASELESS))
}

/// Bytes of an English ending behind an apostrophe.
fn contraction(text: &str) -> usize {
    const ENDINGS: [&str; 7] = ["s", "t", "re", "ve", "m", "ll", "d"];
    let Some(rest) = text.strip_prefix('\'') else {
        return 0;
    };
    // The long s is an s in other letters.
    if rest.starts_with('ſ') {
        return 1 + 'ſ'.len_utf8();
    }
    let head = |length| rest.as_bytes().get(..length);
    let ending = ENDINGS.iter().find(|ending| {
        head(ending.len()).is_some_and(|head| head.eq_ignore_ascii_case(ending.as_bytes()))
    });
    ending.map_or(0, |ending| 1 + ending.len())
}

/// Up to three.
fn digits(text: &str) -> Option<usize> {
    let digits = text.chars().take(3).take_while(|sign| is_in(*sign, NUMBER));
    Some(digits.map(char::len_utf8).sum()).filter(|length| *length > 0)
}

/// Signs, behind at most one blank, with the ends of lines and the strokes behind them.
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

/// Blanks to the last end of a line among them; of those without one, the last is left to the word behind.
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
        // Every character is in some word.
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
