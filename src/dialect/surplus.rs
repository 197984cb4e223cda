//! Bytes that a server reads beyond those that a body has.
//!
//! A byte is a token at most, of what the tokenizer reads. Some normalise the text first, which makes a few
//! characters longer, and some servers print tools and schemas anew: indented, escaped, their numbers in full.
//! Pure, and linear in the body; it must never say less than what is printed.

use super::growth;
use crate::json::{self, Value};

/// Members that templates print anew, wherever they stand in a body's first level.
const PRINTED: &[&str] = &[
    "tools",
    "functions",
    "response_format",
    "json_schema",
    "text",
];

/// The most digits that a number is printed with.
const LONGEST_NUMBER: u64 = 25;
/// A comma or a colon, and the blank behind it.
const MARK: u64 = 2;
/// `<`, `>`, `&`, `'` as `\u003c`.
const ESCAPED: u64 = 6;
/// Templates frame each tool.
const TOOL: u64 = 50;
/// Templates frame each property of a schema.
const PROPERTY: u64 = 16;

/// What normalisers add to the text of a body, escapes included.
pub fn of_text(body: &[u8]) -> u64 {
    let has_escapes = memchr::memmem::find(body, b"\\u").is_some();
    if body.is_ascii() && !has_escapes {
        return 0;
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return 0;
    };
    let written: u64 = text
        .chars()
        .filter(|sign| !sign.is_ascii())
        .map(growth::of)
        .sum();
    written + if has_escapes { of_escapes(body) } else { 0 }
}

/// Escapes are longer than what they stand for, but not always than what that becomes.
fn of_escapes(body: &[u8]) -> u64 {
    const ESCAPE: u64 = 6;
    let mut sum = 0;
    for at in memchr::memmem::find_iter(body, b"\\u") {
        let digits = body
            .get(at + 2..at + 6)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let sign = digits
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        if let Some(sign) = sign {
            sum += normal_bytes(sign).saturating_sub(ESCAPE);
        }
    }
    sum
}

fn normal_bytes(sign: char) -> u64 {
    sign.len_utf8() as u64 + growth::of(sign)
}

/// What templates add to tools and schemas when they print them anew.
pub fn of_printed(body: &[u8]) -> u64 {
    let mut sum = 0;
    json::each_member(body, |name, value| {
        if PRINTED.contains(&name) {
            let mut printed = 0;
            print(&Value::of(value), 1, &mut printed);
            sum += printed.saturating_sub(value.len() as u64);
        }
    });
    sum
}

/// Bytes of a value as any template prints it. Bodies are not deeper than their reader allows.
fn print(value: &Value<'_>, depth: u64, printed: &mut u64) {
    let is_object = value.members(|name, value| {
        *printed += text(name) + 2 + 2 * MARK + 1 + depth + PROPERTY;
        // Some templates say twice what a tool is for.
        if name == "description" && value.bytes().starts_with(b"\"") {
            *printed += text(&json::text(value.bytes())) + 2;
        }
        print(value, depth + 1, printed);
    });
    let is_list = !is_object
        && value.elements(|value| {
            let frame = if depth == 1 { TOOL } else { 0 };
            *printed += MARK + 1 + depth + frame;
            print(value, depth + 1, printed);
        });
    if is_object || is_list {
        *printed += 2 + depth;
        return;
    }
    let written = value.bytes();
    *printed += match written.first() {
        Some(b'"') => text(&json::text(written)) + 2,
        Some(b'-' | b'0'..=b'9') if written.iter().any(|byte| b"eE.".contains(byte)) => {
            LONGEST_NUMBER.max(written.len() as u64)
        }
        _ => written.len() as u64 + 1,
    };
}

/// Bytes of a text that is printed in a string.
fn text(text: &str) -> u64 {
    let of = |sign: char| match sign {
        '<' | '>' | '&' | '\'' => ESCAPED,
        '\n' => 4,
        '"' | '\\' => 2,
        sign if sign.is_ascii_control() => ESCAPED,
        sign if sign.is_ascii() => 1,
        sign => (ESCAPED * sign.len_utf16() as u64).max(normal_bytes(sign)),
    };
    text.chars().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    #[test]
    fn usual_text_grows_by_nothing() {
        for text in [
            "Hello, world",
            "Grüße, señor",
            "Привет",
            "你好",
            "안녕하세요",
            "\"\\n\\\"",
            "😀 – “x”",
        ] {
            assert_eq!(of_text(text.as_bytes()), 0, "{text}");
        }
    }

    #[test]
    fn what_a_normaliser_makes_longer_counts_so() {
        // ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM is four words.
        assert_eq!(of_text("\u{FDFA}".as_bytes()), 33 - 3);
        assert_eq!(of_text(br#""\ufdfa\u0041\ud83d""#), 33 - 6);
        // MUSICAL SYMBOL HALF NOTE is three characters of four bytes.
        assert_eq!(of_text("\u{1D15E}".as_bytes()), 8 - 4);
        assert_eq!(of_text("\u{1D160}".as_bytes()), 12 - 4);
        assert_eq!(of_text(b"\xff\\u"), 0);
    }

    #[test]
    fn tools_count_as_they_are_printed() {
        let flat = of_printed(br#"{"tools":[{"type":"function"}],"messages":[[[[1e15]]]]}"#);
        assert!(flat > TOOL && flat < 150, "{flat}");
        let number = of_printed(br#"{"tools":[1e15]}"#);
        assert!(number >= TOOL + 20, "{number}");
        let deep = format!(r#"{{"tools":{}{}}}"#, "[".repeat(100), "]".repeat(100));
        assert!(
            of_printed(deep.as_bytes()) > 100 * 100,
            "{}",
            of_printed(deep.as_bytes())
        );
        assert_eq!(of_printed(br#"{"messages":[{"role":"user"}]}"#), 0);
    }

    proptest! {
        #[test]
        fn no_composed_form_is_longer(text in "[\\PC\u{300}-\u{36f}]{0,40}") {
            let bound = text.len() as u64 + of_text(text.as_bytes());
            for form in [text.nfkc().collect::<String>(), text.nfc().collect::<String>()] {
                prop_assert!(form.len() as u64 <= bound);
            }
        }

        #[test]
        fn printing_never_says_less_than_a_printer_does(names in proptest::collection::vec("[a-z<']{1,9}", 1..6), text in "\\PC{0,20}") {
            let mut tool = serde_json::json!({"text": text});
            for name in names {
                tool = serde_json::json!({name: [tool]});
            }
            let body = serde_json::json!({"tools": [tool]});
            let written = body.to_string();
            let value = body["tools"].to_string();
            let indented = serde_json::to_string_pretty(&body["tools"]).unwrap();
            // A template indents by four blanks a level, of which sixteen are a token.
            let indented = indented.lines().map(|line| line.trim_start().len() as u64 + 1).sum::<u64>();
            prop_assert!(value.len() as u64 + of_printed(written.as_bytes()) >= indented);
        }
    }
}
