//! Upper bound of the bytes that a server reads beyond those of a request body.
//!
//! A token has at least one byte of the text that the tokenizer reads. Some servers normalise the text first,
//! which makes a few characters longer. Some print tools and schemas again with a chat template: indented,
//! escaped, their numbers in full. Pure, and linear in the body. It must never return less than is printed;
//! `docs/bounds.md` has the figures.

use super::growth;
use crate::json::{self, Value};
use crate::rules::families::{self, Family};
use crate::rules::server::Server;

/// Members that chat templates print again, at any position on a body's first level.
const PRINTED: &[&str] = &[
    "tools",
    "functions",
    "response_format",
    "json_schema",
    "text",
    "generationConfig",
    "generation_config",
];

/// Members that hold the conversation. The arguments and results of its tool calls are printed again too.
const HISTORY: &[&str] = &["messages", "input", "contents"];

/// Members of a message or an item that hold the arguments of a tool call, or its result.
const CALL_ARGUMENT_MEMBERS: &[&str] = &[
    "tool_calls",
    "function_call",
    "functionCall",
    "function_response",
    "functionResponse",
    "arguments",
    "input",
];

/// Values of `role` whose text a template prints as it is. Messages of all other roles are tool results.
const PLAIN_TEXT_ROLES: &[&str] = &["assistant", "developer", "model", "system", "user"];

/// Maximum nesting of `content`: a message, a tool's result, a document.
const DEEPEST_CONTENT: usize = 8;

/// Upper bound of the bytes of a printed number that is written with an exponent.
const LONGEST_NUMBER: u64 = 25;
/// Bytes added to a number with a decimal point, which may be printed with an exponent.
const EXPONENT: u64 = 6;
/// Bytes of a comma or a colon, and the blank behind it.
const BYTES_PER_SEPARATOR: u64 = 2;
/// Bytes of `<`, `>`, `&` or `'` when it is printed as an escape like `\u003c`.
const ESCAPED: u64 = 6;
/// Tokens with which a template frames one tool.
const TOKENS_PER_TOOL: u64 = 50;
/// Tokens with which a template frames one tool call and its result.
const TOKENS_PER_CALL: u64 = 32;
/// Tokens with which a template frames one property of a schema.
const TOKENS_PER_PROPERTY: u64 = 16;

/// Returns the tokens that a server reads beyond the bytes of a body. [`Family`] gives those of its hidden
/// prompts.
pub fn beyond(family: Family, server: Server, is_form: bool, body: &[u8]) -> u64 {
    if !families::rerenders_bodies(server) {
        return 0;
    }
    let mut tokens = family.prompt + of_text(body);
    if !is_form && families::renders_tools(server) {
        let printed = of_printed(body);
        let frame = if printed > 0 { family.tools } else { 0 };
        tokens += printed + frame;
    }
    tokens
}

/// Returns the bytes that Unicode normalisation adds to a body's text, `\u` escapes included.
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

/// Returns the bytes by which normalised characters exceed their `\u` escapes. An escape is longer than its
/// character, but not always than the normalised form.
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

/// Returns the bytes that chat templates add when they print tools, schemas and tool calls again.
pub(crate) fn of_printed(body: &[u8]) -> u64 {
    let mut sum = 0;
    json::each_member(body, |name, value| {
        if PRINTED.contains(&name) {
            sum += of_tools(value);
        } else if HISTORY.contains(&name) {
            json::each_element(value, |item| sum += of_item(item, 0));
        }
    });
    sum
}

fn of_tools(value: &[u8]) -> u64 {
    let printed = Printer::default().print(value, 1);
    printed.saturating_sub(value.len() as u64)
}

/// Returns the bytes that templates add to a message, to an item, or to a block of a message's `content`.
fn of_item(item: &[u8], depth: usize) -> u64 {
    let mut is_result = false;
    json::each_member(item, |name, value| match name {
        "role" => is_result |= !PLAIN_TEXT_ROLES.contains(&&*json::text(value)),
        "type" => {
            let kind = json::text(value);
            is_result |= kind.ends_with("_result") || kind.ends_with("_output");
        }
        _ => {}
    });
    let mut sum = 0;
    json::each_member(item, |name, value| match name {
        "content" | "output" if is_result => sum += TOKENS_PER_CALL + of_called(value),
        "content" | "output" | "parts" if depth < DEEPEST_CONTENT => {
            json::each_element(value, |block| sum += of_item(block, depth + 1));
        }
        "tools" => sum += of_tools(value),
        name if CALL_ARGUMENT_MEMBERS.contains(&name) => {
            let mut calls = 0;
            json::each_element(value, |_| calls += 1);
            sum += TOKENS_PER_CALL * u64::max(calls, 1) + of_called(value);
        }
        _ => {}
    });
    sum
}

/// Indentation level of a tool call in a prompt that is printed whole.
const CALL_DEPTH: u64 = 4;

/// Returns the bytes added to the arguments or the result of a tool call. A string that holds JSON may be
/// printed as that JSON.
fn of_called(value: &[u8]) -> u64 {
    let mut printer = Printer {
        looks_into_texts: true,
        ..Printer::default()
    };
    // A string counts without its quotes.
    let counted = (value.len() as u64).saturating_sub(2);
    printer.print(value, CALL_DEPTH).saturating_sub(counted)
}

/// Returns the printed size of a string that may hold a JSON value, which was not validated. 0: it holds
/// none.
fn of_held(text: &str, depth: u64) -> u64 {
    let bytes = text.trim().as_bytes();
    let ends = bytes.first().zip(bytes.last());
    let is_value = matches!(
        ends,
        Some((b'{', b'}') | (b'[', b']') | (b'-' | b'0'..=b'9', b'0'..=b'9'))
    );
    let length = bytes.len() as u64;
    match is_value {
        false => 0,
        true if json::is_flat(bytes, json::MAX_DEPTH) => Printer::default().print(bytes, depth),
        // Too deep to walk: each line may be indented by its depth, so the bound is quadratic.
        true => length.saturating_mul(length),
    }
}

/// Counts the bytes of values as any chat template may print them.
#[derive(Default)]
struct Printer {
    looks_into_texts: bool,
    printed: u64,
}

impl Printer {
    fn print(&mut self, bytes: &[u8], depth: u64) -> u64 {
        self.value(&Value::of(bytes), depth);
        self.printed
    }

    /// Adds one value to `printed`. The recursion is bounded by `json::MAX_DEPTH`, which a body's reader
    /// enforces.
    fn value(&mut self, value: &Value<'_>, depth: u64) {
        let is_object = value.members(|name, value| {
            self.printed +=
                text(name) + 2 + 2 * BYTES_PER_SEPARATOR + 1 + depth + TOKENS_PER_PROPERTY;
            // Some templates print a tool's `description` twice.
            if name == "description" && value.bytes().starts_with(b"\"") {
                self.printed += text(&json::text(value.bytes())) + 2;
            }
            self.value(value, depth + 1);
        });
        let is_list = !is_object
            && value.elements(|value| {
                let frame = if depth == 1 { TOKENS_PER_TOOL } else { 0 };
                self.printed += BYTES_PER_SEPARATOR + 1 + depth + frame;
                self.value(value, depth + 1);
            });
        self.printed += match is_object || is_list {
            true => 2 + depth,
            false => self.of_leaf(value.bytes(), depth),
        };
    }

    fn of_leaf(&self, written: &[u8], depth: u64) -> u64 {
        let length = written.len() as u64;
        match written.first() {
            Some(b'"') => {
                let held = json::text(written);
                let as_value = match self.looks_into_texts {
                    true => of_held(&held, depth),
                    false => 0,
                };
                (text(&held) + 2).max(as_value)
            }
            Some(b'-' | b'0'..=b'9') if written.iter().any(|byte| b"eE".contains(byte)) => {
                LONGEST_NUMBER.max(length)
            }
            Some(b'-' | b'0'..=b'9') if written.contains(&b'.') => length + EXPONENT,
            _ => length + 1,
        }
    }
}

/// Returns the bytes of a text that is printed inside a string.
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
    use serde_json::json;
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
    fn normalisation_growth_is_counted() {
        // U+FDFA ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM becomes four words.
        assert_eq!(of_text("\u{FDFA}".as_bytes()), 33 - 3);
        assert_eq!(of_text(br#""\ufdfa\u0041\ud83d""#), 33 - 6);
        // U+1D15E MUSICAL SYMBOL HALF NOTE has two characters of four bytes, U+1D160 three.
        assert_eq!(of_text("\u{1D15E}".as_bytes()), 8 - 4);
        assert_eq!(of_text("\u{1D160}".as_bytes()), 12 - 4);
        assert_eq!(of_text(b"\xff\\u"), 0);
    }

    #[test]
    fn tools_count_as_they_are_printed() {
        let flat = of_printed(br#"{"tools":[{"type":"function"}],"messages":[[[[1e15]]]]}"#);
        assert!(flat > TOKENS_PER_TOOL && flat < 150, "{flat}");
        let number = of_printed(br#"{"tools":[1e15]}"#);
        assert!(number >= TOKENS_PER_TOOL + 20, "{number}");
        let deep = format!(r#"{{"tools":{}{}}}"#, "[".repeat(100), "]".repeat(100));
        assert!(
            of_printed(deep.as_bytes()) > 100 * 100,
            "{}",
            of_printed(deep.as_bytes())
        );
        assert_eq!(of_printed(br#"{"messages":[{"role":"user"}]}"#), 0);
    }

    /// Returns the bytes added for one message or item with the arguments or the result of a tool call.
    fn said(what: &str) -> u64 {
        of_printed(format!(r#"{{"messages":[{what}]}}"#).as_bytes())
    }

    #[test]
    fn calls_of_tools_count_as_they_are_printed() {
        let numbers = |member: &str| {
            let arguments = format!("{{\"x\":[{}1]}}", "1e15,".repeat(100));
            said(&member.replace('@', &json!(arguments).to_string()))
        };
        for member in [
            r#"{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":@}}]}"#,
            r#"{"role":"assistant","function_call":{"name":"f","arguments":@}}"#,
            r#"{"type":"function_call","name":"f","arguments":@}"#,
            r#"{"type":"custom_tool_call","name":"f","input":@}"#,
            r#"{"type":"function_call_output","output":@}"#,
            r#"{"role":"tool","content":@}"#,
            r#"{"role":"user","content":[{"type":"tool_result","content":@}]}"#,
            r#"{"role":"user","content":[{"type":"tool_result","content":[{"text":@}]}]}"#,
        ] {
            assert!(numbers(member) > 100 * 20, "{member}: {}", numbers(member));
        }
        let input = r#"{"content":[{"type":"tool_use","input":{"x":[1e15,1e15,1e15]}}]}"#;
        assert!(said(input) > TOKENS_PER_CALL + 60, "{}", said(input));
        let items = r#"{"input":[{"type":"function_call","arguments":"[1e15,1e15,1e15]"}]}"#;
        assert!(of_printed(items.as_bytes()) > TOKENS_PER_CALL + 60);
    }

    #[test]
    fn words_of_people_are_not_printed_anew() {
        for role in PLAIN_TEXT_ROLES {
            let message = format!(r#"{{"role":"{role}","content":"<é'>[1e15]"}}"#);
            assert_eq!(said(&message), 0, "{role}");
        }
        let result = said(r#"{"role":"tool","content":"<é'>"}"#);
        assert!(result >= 4 * 6 - 5, "{result}");
    }

    #[test]
    fn deeply_nested_text_counts_its_indentation() {
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        let printed = said(&format!(r#"{{"role":"tool","content":"{deep}"}}"#));
        // Four blanks a level, and sixteen blanks are one token.
        assert!(printed > 1_000 * 1_000 / 4, "{printed}");
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
            // A template indents by four blanks a level, and sixteen blanks are one token.
            let indented = indented.lines().map(|line| line.trim_start().len() as u64 + 1).sum::<u64>();
            prop_assert!(value.len() as u64 + of_printed(written.as_bytes()) >= indented);
        }
    }
}
