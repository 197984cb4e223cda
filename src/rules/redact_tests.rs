//! Tests of redaction: credentials in every spelling, and texts that only look like one.

use super::*;
use crate::rules::config;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;
use serde_json::{Value, json};

fn endpoint(endpoint: Value) -> Endpoint {
    let text = json!({"default": "a", "endpoints": {"a": endpoint}});
    let config = config::read(&json!({"providers": {"text": text}})).unwrap();
    config.providers.text.unwrap().endpoints.remove(0)
}

fn with_key(key: &str) -> Endpoint {
    endpoint(json!({"url": "https://a.example/", "api_key": key}))
}

/// Returns a text after redaction.
fn struck(endpoint: &Endpoint, text: &str) -> String {
    let struck = Credentials::of(endpoint).redact(text.as_bytes());
    String::from_utf8(struck.unwrap_or_else(|| text.as_bytes().to_vec())).unwrap()
}

const KEY: &str = "sk-prov/0123+abcdefgh=";

#[test]
fn keys_and_queries_are_redacted_everywhere() {
    let endpoint = endpoint(json!({
        "url": "https://a.example/v1/chat/completions?version=1&key=query-0123456789",
        "api_key": "sk-0123456789abcdef",
    }));
    let credentials = Credentials::of(&endpoint);

    let struck = credentials.redact(
        b"Bearer sk-0123456789abcdef for ?version=1&key=query-0123456789; sk-0123456789abcdef",
    );

    let struck = String::from_utf8(struck.unwrap()).unwrap();
    assert_eq!(struck, "Bearer *** for ?version=1&key=***; ***");
    assert_eq!(credentials.redact(b"version=1, sk-0123"), None);
}

#[test]
fn text_without_secrets_is_unchanged() {
    let none = endpoint(json!({"url": "http://a.example/", "api_key": "not-needed"}));
    assert_eq!(Credentials::of(&none).redact(b"not-needed"), None);
    let none = endpoint(json!({"kind": "demo"}));
    assert!(!Credentials::of(&none).are_in(b""));
}

#[test]
fn a_key_is_struck_out_in_the_spelling_of_any_encoder() {
    let endpoint = with_key(KEY);
    for spelled in [
        r"sk-prov\/0123+abcdefgh=",
        r"sk-prov/0123\u002Babcdefgh\u003d",
        r"sk-prov\\/0123\\u002Babcdefgh=",
        r"sk-prov%2F0123%2babcdefgh%3D",
        r"sk-prov%252F0123%252Babcdefgh%253D",
        r"sk-prov&#x2F;0123&#43;abcdefgh&#x3D;",
        r"\u0073\u006b\u002d\u0070\u0072\u006f\u0076\u002f\u0030\u0031\u0032\u0033\u002b\u0061\u0062\u0063\u0064\u0065\u0066\u0067\u0068\u003d",
        "%73%6b%2d%70%72%6f%76%2f%30%31%32%33%2b%61%62%63%64%65%66%67%68%3d",
    ] {
        let text = format!(r#"{{"error":"no such key: {spelled}","n":1}}"#);
        assert_eq!(
            struck(&endpoint, &text),
            r#"{"error":"no such key: ***","n":1}"#,
            "{spelled}"
        );
    }
}

#[test]
fn a_query_is_struck_out_as_it_was_written_and_as_it_was_meant() {
    let endpoint = endpoint(json!({
        "url": "https://a.example/v1?key=query%2F0123456789%3d",
        "api_key": "sk-0123456789abcdef",
    }));
    for spelled in [
        "query%2F0123456789%3d",
        "query%2f0123456789=",
        "query/0123456789=",
        r"query\/0123456789\u003d",
    ] {
        assert_eq!(
            struck(&endpoint, &format!("?key={spelled}&a")),
            "?key=***&a"
        );
    }
}

#[test]
fn the_base64_of_a_key_is_struck_out_at_every_alignment() {
    let endpoint = with_key(KEY);
    for before in ["", "u:", "user:", "user", "a:b:c"] {
        for behind in ["", ":", "\n\n", "xyz"] {
            let whole = format!("{before}{KEY}{behind}");
            for encoded in [STANDARD.encode(&whole), URL_SAFE.encode(&whole)] {
                let text = format!("Basic {encoded}, {}", encoded.replace('/', r"\/"));
                let out = struck(&endpoint, &text);
                assert!(out.contains("***"), "{before} {behind}: {out}");
                // The remaining text has the base64 of no three bytes of the key.
                for word in KEY.as_bytes().windows(3).map(|word| STANDARD.encode(word)) {
                    assert!(!out.contains(&word), "{before} {behind}: {out}");
                }
            }
        }
    }
}

#[test]
fn a_key_across_two_windows_is_struck_out() {
    let endpoint = with_key(KEY);
    let spelled = KEY.replace('+', r"\u002B");
    for shift in 0..spelled.len() + 2 {
        let text = format!(
            "{}{spelled}\"",
            "x\""
                .repeat(UNESCAPE_WINDOW_BYTES / 2 - 10)
                .split_off(shift)
        );
        let out = struck(&endpoint, &text);
        assert!(out.ends_with("\"***\""), "{}", &out[out.len() - 40..]);
    }
}

#[test]
fn an_escape_before_a_key_hides_nothing_of_it() {
    let endpoint = with_key("41abcdef0123456789/+");
    for (text, expected) in [
        (r#""%41abcdef0123456789\/+""#, r#""%***""#),
        (r#""\u0041abcdef0123456789\/+""#, r#""\u00***""#),
        (r#""\\41abcdef0123456789\/+""#, r#""\\***""#),
        (r#""\n41abcdef0123456789\/+""#, r#""\n***""#),
    ] {
        assert_eq!(struck(&endpoint, text), expected, "{text}");
    }
}

fn spelled(byte: u8, way: usize) -> String {
    let sign = char::from(byte);
    match way {
        0 => format!("\\u{byte:04x}"),
        1 => format!("\\u{byte:04X}"),
        2 => format!("\\\\u{byte:04x}"),
        3 => format!("%{byte:02x}"),
        4 => format!("%{byte:02X}"),
        5 => format!("%25{byte:02X}"),
        6 => format!("&#{byte};"),
        7 => format!("&#x{byte:X};"),
        8 if byte.is_ascii_punctuation() => format!("\\{sign}"),
        9 if byte.is_ascii_punctuation() => format!("\\\\\\{sign}"),
        _ => sign.to_string(),
    }
}

fn any_spelling(key: &str, ways: &[usize]) -> String {
    let ways = ways.iter().cycle();
    let spelled = key.bytes().zip(ways).map(|(byte, way)| spelled(byte, *way));
    spelled.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_spelling_of_any_key_is_struck_out(
        // No backslash in the key: an escape behind it could be part of the key or of its spelling.
        key in "[!-\\[\\]-~]{16,50}",
        ways in proptest::collection::vec(0..20_usize, 1..60),
        before in "[ -~]{0,12}",
        behind in "[ -~]{0,12}",
    ) {
        // No encoded backslash in the key either, such as `%5c`.
        let lower = key.to_ascii_lowercase();
        prop_assume!(!lower.contains("5c") && !lower.contains("#92") && !lower.contains("#092"));
        let endpoint = with_key(&key);
        let spelled = any_spelling(&key, &ways);
        let quoted = format!("\"{spelled}\"");
        prop_assert_eq!(struck(&endpoint, &quoted), "\"***\"", "{}", quoted);
        let text = format!("{before}{spelled}{behind}");
        let out = struck(&endpoint, &text);
        prop_assert!(out.contains("***") && !out.contains(&spelled), "{}: {}", text, out);
    }

    #[test]
    fn a_text_without_the_key_stays_byte_for_byte(
        text in proptest::collection::vec(any::<u8>(), 0..200),
        escapes in "([a-z0-9]|\\\\|%[0-9]{0,2}|\\\\u00[0-9]{2}|&#[0-9]{2};|sk-prov|0123|abcdefgh){0,60}",
    ) {
        let endpoint = with_key(KEY);
        let credentials = Credentials::of(&endpoint);
        prop_assert_eq!(credentials.redact(&text), None);
        prop_assert_eq!(credentials.redact(escapes.as_bytes()), None);
    }
}
