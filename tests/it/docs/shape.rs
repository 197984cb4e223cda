//! Compares shown output with real output by shape: what differs from run to run counts as equal.
//!
//! Equal are UUIDs, times, durations, process IDs, and hexadecimal or random texts. Everything else must be the
//! same, numbers of tokens above all. `…` stands for anything within its line, or for any lines where it is alone.

use regex::{Captures, Regex};
use std::sync::LazyLock;

/// What differs from run to run, in the order in which it is looked for.
const VARYING: [(&str, &str); 8] = [
    (
        "uuid",
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
    ),
    (
        "time",
        r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?",
    ),
    (
        "time",
        r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
    ),
    ("duration", r"\b(\d+(\.\d+)?(ns|µs|us|ms|s|m|h|d))+\b"),
    ("date", r"\b\d{4}-\d\d-\d\d\b"),
    ("pid", r"\bpid \d+"),
    ("hex", r"\b[0-9a-f]{8,}\b"),
    ("random", RANDOM),
];
/// Random if it has digits, capitals and small letters, else a long name.
const RANDOM: &str = r"\b[A-Za-z0-9+/_-]{24,}={0,2}";
/// Members and headers that count seconds.
const SECONDS: &str = r#"(\b\w*[sS]econds"?: ?|\bretry-after: )\d+(\.\d+)?"#;

static PATTERNS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    let compiled = VARYING
        .iter()
        .map(|(name, text)| (*name, Regex::new(text).unwrap()));
    compiled.collect()
});
static COUNTED: LazyLock<Regex> = LazyLock::new(|| Regex::new(SECONDS).unwrap());

/// Whether the shown output is what was printed, in all that does not vary.
pub fn same(shown: &str, printed: &str, language: &str) -> bool {
    let is_json = language == "json";
    let [shown, printed] = [shown, printed].map(|text| match is_json {
        true => shaped(&squeezed(text)),
        false => shaped(text),
    });
    let within = if is_json { ".*?" } else { "[^\n]*?" };
    pattern(&shown, within).is_match(&(printed + "\n"))
}

/// Number of lines at the start of the shown output that agree with what was printed.
pub fn agreeing(shown: &str, printed: &str, language: &str) -> usize {
    let lines: Vec<&str> = shown.lines().collect();
    let begins = |count: &usize| same(&(lines[..*count].join("\n") + "\n…"), printed, language);
    (0..lines.len()).rev().find(begins).unwrap_or(0)
}

/// The text with a name for each thing that varies, without blanks at the ends of lines.
fn shaped(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut text = lines.join("\n").trim_matches('\n').to_owned();
    text = COUNTED.replace_all(&text, "$1<seconds>").into_owned();
    for (name, pattern) in PATTERNS.iter() {
        let named = |found: &Captures| match *name == "random" && !is_mixed(&found[0]) {
            true => found[0].to_owned(),
            false => format!("<{name}>"),
        };
        text = pattern.replace_all(&text, named).into_owned();
    }
    text
}

fn is_mixed(text: &str) -> bool {
    let has = |kind: fn(&char) -> bool| text.chars().any(|c| kind(&c));
    has(char::is_ascii_digit) && has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase)
}

/// JSON without the blanks outside of its strings.
fn squeezed(text: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |c: &char| {
        if inside {
            inside = escaped || *c != '"';
            escaped = !escaped && *c == '\\';
            return true;
        }
        inside = *c == '"';
        !c.is_whitespace()
    };
    text.chars().filter(keep).collect()
}

/// A pattern for the whole output, in which `…` stands for `within`, or alone in a line for any lines.
fn pattern(shown: &str, within: &str) -> Regex {
    let lines = shown.split('\n').map(|line| {
        if line.trim() == "…" {
            return "(?:[^\n]*\n)*?".to_owned();
        }
        let parts: Vec<String> = line.split('…').map(regex::escape).collect();
        parts.join(within) + "\n"
    });
    let lines: String = lines.collect();
    Regex::new(&format!("^(?s:{lines})$")).unwrap()
}

#[test]
fn what_varies_is_equal_and_nothing_else_is() {
    let shown = r#"{"apiKey":"temp_16d306b2-f925-47de-ae7f-f8a166368832","tokensLeft":100,"expiresAt":"2026-11-21T23:23:13.600Z","resetSeconds":62}"#;
    let printed = r#"{"apiKey":"temp_00000000-f925-47de-ae7f-f8a166368832","tokensLeft":100,"expiresAt":"2027-01-02T03:04:05.006Z","resetSeconds":0}"#;

    assert!(same(shown, printed, "json"));
    assert!(same(shown, printed, ""));
    assert!(!same(shown, &printed.replace(":100", ":70"), "json"));
    assert!(!same(
        shown,
        &printed.replace("tokensLeft", "tokens"),
        "json"
    ));
    assert!(!same(shown, &format!("{printed}{printed}"), "json"));
    assert!(same(
        "etag: \"17f562c3c73a26ca\"",
        "etag: \"00f562c3c73a26ca\"",
        ""
    ));
    assert!(same(
        "x: 64369ms\ndate: Sun, 29 Nov 2026 21:30:30 GMT",
        "x: 2ms\ndate: Mon, 30 Nov 2026 01:30:30 GMT",
        ""
    ));
    assert!(same(
        "sealed:v1:aB3dE5fG7hI9jK1lM3nO5pQ7",
        "sealed:v1:XXXdE5fG7hI9jK1lM3nO5pQ7",
        ""
    ));
    assert!(!same(
        "resullm_settlements_waiting_total 0",
        "resullm_settlements_late_total 0",
        ""
    ));
}

#[test]
fn dots_stand_for_a_part_of_a_line_or_for_lines() {
    assert!(same("a … c\n…\nz\n", "a b c\nd\ne\nz", ""));
    assert!(same("…\nz", "z", ""));
    assert!(same("a\n…", "a\nb\nc\n", ""));
    assert!(!same("a … c", "a\nc", ""));
    assert!(!same("a\n…\nz", "a\nb", ""));
}

#[test]
fn first_line_that_differs_is_found() {
    assert_eq!(agreeing("a\n…\nc\nd\n", "a\nb\nc\nx\n", ""), 3);
    assert_eq!(agreeing("a\nb\n", "x\n", ""), 0);
    assert_eq!(
        agreeing("{\"a\": 1}\n{\"b\": 2}\n", "{\"a\":1}\n{\"b\":3}\n", "json"),
        1
    );
}

#[test]
fn json_may_be_laid_out_for_people() {
    assert!(same(
        "{\n  \"a b\": [1, 2],\n  …\n}",
        r#"{"a b":[1,2],"c":{}}"#,
        "json"
    ));
    assert!(!same("{ \"a b\": 1 }", r#"{"ab":1}"#, "json"));
}
