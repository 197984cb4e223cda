//! Unescaping for redaction: JSON escapes, percent-encoding and character references, in any mix and nested,
//! are read back to plain text.
//!
//! Each plain byte keeps its position in the original text. Time is linear in the length of the text.

use memchr::memchr3_iter;

/// Deepest nesting of encodings that is read: no chain of programs adds more.
const MAX_NESTING: usize = 8;
/// Length in bytes of the longest spelling of one byte that is read.
pub(super) const MAX_ESCAPE_BYTES: usize = 24;

/// A text without its escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plain {
    pub bytes: Vec<u8>,
    /// Start and end of each byte's spelling in the original text.
    pub places: Vec<(usize, usize)>,
}

impl Plain {
    /// Returns the longest run of letters and digits that are written plainly, one behind the other. An
    /// encoder that leaves letters alone puts nothing between them.
    pub(super) fn longest_word<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let (mut longest, mut word) = (0..0, 0..0);
        for (start, end) in &self.places {
            let is_letter = *end == start + 1 && text[*start].is_ascii_alphanumeric();
            word = match is_letter {
                true if word.end == *start => word.start..*end,
                true => *start..*end,
                false => *end..*end,
            };
            if word.len() > longest.len() {
                longest = word.clone();
            }
        }
        &text[longest]
    }
}

/// Character and length of one escape. `value` is `None` for backslashes before a letter that needs none.
#[derive(Clone, Copy)]
struct Escape {
    value: Option<char>,
    length: usize,
    /// The escape gives the character by its number (`\u0041`, `%41`), not by a backslash before it.
    is_coded: bool,
}

/// Removes all layers of escapes, up to [`MAX_NESTING`].
pub(super) fn plain(text: &[u8]) -> Plain {
    let mut plain = Plain {
        bytes: text.to_vec(),
        places: (0..text.len()).map(|at| (at, at + 1)).collect(),
    };
    for _ in 0..MAX_NESTING {
        match unescaped(&plain) {
            Some(next) => plain = next,
            None => break,
        }
    }
    plain
}

/// Whether an unneeded escape occurs: of a letter, of a digit, or of a character that begins another escape.
/// Only such an escape can hide a whole word.
pub(super) fn hides_words(text: &[u8]) -> bool {
    let mut end = 0;
    memchr3_iter(b'\\', b'%', b'&', text).any(|at| {
        if at < end {
            return false;
        }
        let Some(escape) = escape(&text[at..]) else {
            return false;
        };
        end = at + escape.length;
        let value = escape.value.filter(|_| escape.is_coded);
        value.is_some_and(|sign| sign.is_ascii_alphanumeric() || r"\%&#;".contains(sign))
    })
}

/// Removes one layer of escapes. `None`: there is none.
fn unescaped(text: &Plain) -> Option<Plain> {
    let mut out = Plain::default();
    let mut at = 0;
    let mut found = false;
    while at < text.bytes.len() {
        let Some(escape) = escape(&text.bytes[at..]) else {
            out.bytes.push(text.bytes[at]);
            out.places.push(text.places[at]);
            at += 1;
            continue;
        };
        found = true;
        let place = (text.places[at].0, text.places[at + escape.length - 1].1);
        let mut space = [0; 4];
        let value = escape.value.map(|value| value.encode_utf8(&mut space));
        for byte in value.iter().flat_map(|value| value.bytes()) {
            out.bytes.push(byte);
            out.places.push(place);
        }
        at += escape.length;
    }
    found.then_some(out)
}

/// Parses the escape at the beginning of a text.
fn escape(text: &[u8]) -> Option<Escape> {
    let coded = |value: u32, length| {
        char::from_u32(value).map(|value| Escape {
            value: Some(value),
            length,
            is_coded: true,
        })
    };
    match text.first()? {
        b'\\' => Some(backslash(text)),
        // Percent-encoded bytes of multi-byte characters stay as they are: credentials are ASCII.
        b'%' => coded(number(text.get(1..3)?, 16).filter(|byte| *byte < 128)?, 3),
        b'&' => {
            let end = text.iter().take(10).position(|byte| *byte == b';')?;
            let value = match &text[1..end] {
                [b'#', b'x' | b'X', digits @ ..] => number(digits, 16)?,
                [b'#', digits @ ..] => number(digits, 10)?,
                b"amp" => u32::from(b'&'),
                b"lt" => u32::from(b'<'),
                b"gt" => u32::from(b'>'),
                b"quot" => u32::from(b'"'),
                b"apos" => u32::from(b'\''),
                _ => return None,
            };
            coded(value, end + 1)
        }
        _ => None,
    }
}

/// Parses a run of any number of backslashes as one escape: each layer of JSON doubles them, and a backslash
/// of the text itself looks the same.
fn backslash(text: &[u8]) -> Escape {
    let run = text.iter().take_while(|byte| **byte == b'\\').count();
    let digits = |from: usize, to: usize| number(text.get(run + from..run + to)?, 16);
    let coded = match text.get(run) {
        Some(b'u') => digits(1, 5).map(|value| (value, 5)),
        Some(b'x') => digits(1, 3).map(|value| (value, 3)),
        _ => None,
    };
    let coded = coded.and_then(|(value, length)| Some((char::from_u32(value)?, length)));
    let sign = text.get(run).filter(|sign| sign.is_ascii_punctuation());
    let (value, length) = match (coded, sign) {
        (Some((value, length)), _) => (Some(value), length),
        // The character's position includes the backslashes before it.
        (None, Some(sign)) => (Some(char::from(*sign)), 1),
        (None, None) => (None, 0),
    };
    Escape {
        value,
        length: run + length,
        is_coded: coded.is_some(),
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let digit = |byte: &u8| char::from(*byte).to_digit(radix);
    let fits = (1..=7).contains(&digits.len());
    let add = |sum: u32, byte: &u8| Some(sum * radix + digit(byte)?);
    fits.then(|| digits.iter().try_fold(0, add)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_in_any_mix() {
        for text in [
            r"a/+b",
            r"a\/+b",
            r"\u0061\u002f\u002Bb",
            r"a\\/\\u002bb",
            r"a%2F%2bb",
            r"%61%252f%2525252B%62",
            r"a&#47;&#x2B;b",
            r"a%5Cu002f\u00252Bb",
            r"\\\\\\\u0061\x2f&amp;#43;b",
        ] {
            assert_eq!(plain(text.as_bytes()).bytes, b"a/+b", "{text}");
        }
    }

    #[test]
    fn text_without_escapes_is_unchanged() {
        for text in ["100% of it", "a & b; &nbsp;", "%C3%A9", "\u{e9}"] {
            assert_eq!(plain(text.as_bytes()).bytes, text.as_bytes(), "{text}");
        }
        let backslashes = plain(br"a\n\u12\").bytes;
        assert_eq!(backslashes, b"anu12", "they count for nothing");
    }

    #[test]
    fn only_an_escape_of_a_letter_hides_words() {
        for text in [r"\u0061", "%41", "&#65;", r"\u005cu0061", "%2541"] {
            assert!(hides_words(text.as_bytes()), "{text}");
        }
        for text in [
            r#"\n\\n \"a\" \u002B"#,
            "100%",
            "a%20b",
            "&lt;b&gt;",
            r"\%41",
        ] {
            assert!(!hides_words(text.as_bytes()), "{text}");
        }
    }
}
