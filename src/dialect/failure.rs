//! Reads a provider's error body: meters its usage and generated text, and redacts names of the operator's
//! account.
//!
//! Groq returns the whole text of a tool call that it could not parse, as `failed_generation`. Generated text
//! is metered like an answer. Everything else is a message for people and is forwarded as received while it
//! is short: generated text must never leave uncounted in it.

use super::call::{Call, Delivered, Reading};
use super::openai::{said, usage};
use super::{Dialect, splice::Splice};
use crate::json::{self, Value};
use regex::bytes::{Captures, Regex};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

/// Longest member of an error that is forwarded whole, in bytes. It is usually the message.
const LONGEST_MESSAGE_BYTES: usize = 1_000;
/// Longest error body that is forwarded, in bytes: a message and its neighbours. Twice the bytes of metered
/// text are added to it.
const LONGEST_BODY_BYTES: usize = 2_000;

/// Members of an error that hold generated text.
const GENERATED_MEMBERS: &[&str] = &[
    "failed_generation",
    "partial_response",
    "generated_text",
    "choices",
    "output",
    "content",
    "completion",
];

/// Phrases behind which some servers quote generated text in the message.
const QUOTE_MARKERS: &[&str] = &["parse input at pos", "raw='", "parse generated text"];

/// Members in which an error body may wrap its parts.
const WRAPPERS: &[&str] = &["error", "detail", "metadata", "body", "response"];

/// Result of [`read`]: a metered error body.
pub struct Failure {
    pub reading: Reading,
    /// Body to forward. `None`: the body as received.
    pub passed: Option<Vec<u8>>,
}

/// Meters an error body and replaces overlong members. `speaks_events`: the body is a stream of events.
pub fn read(dialect: &dyn Dialect, call: &Call, speaks_events: bool, body: &[u8]) -> Failure {
    let mut reading = Reading::default();
    let mut long = Vec::new();
    if speaks_events {
        let mut meter = dialect.stream(call);
        meter.feed(body);
        meter.finish();
        reading = meter.reading().clone();
    } else if json::is_flat(body, json::MAX_DEPTH) {
        object(body, body, &mut reading, &mut long);
    }
    reading.complete = true;
    reading.failed = true;
    let mut splice = Splice::default();
    for range in long {
        splice.put(range, "\"***\"");
    }
    let passed = (!splice.is_empty()).then(|| splice.apply(body));
    // Metered text is charged for, so the body may be longer by twice its bytes.
    let metered = usize::try_from(reading.delivered.bytes).unwrap_or(usize::MAX);
    let longest = metered.saturating_mul(2).saturating_add(LONGEST_BODY_BYTES);
    if passed.as_deref().unwrap_or(body).len() > longest {
        return Failure {
            reading,
            passed: Some(br#"{"error":{"message":"The provider answered with an error too long to pass on","type":"server_error","param":null,"code":"provider_failed"}}"#.to_vec()),
        };
    }
    Failure { reading, passed }
}

/// Meters the members of an error. Ranges of overlong members, relative to `whole`, are added to `long`.
fn object(object_text: &[u8], whole: &[u8], reading: &mut Reading, long: &mut Vec<Range<usize>>) {
    json::each_member(object_text, |name, value| match name {
        "usage" => reading.reports(usage::read(&Value::of(value))),
        name if GENERATED_MEMBERS.contains(&name) => said::text(value, &mut reading.delivered),
        name if WRAPPERS.contains(&name) && value.starts_with(b"{") => {
            object(value, whole, reading, long);
        }
        _ => {
            if let Some(text) = quoted(value) {
                reading.delivered.text(&text);
            }
            if value.len() > LONGEST_MESSAGE_BYTES {
                let start = value.as_ptr() as usize - whole.as_ptr() as usize;
                long.push(start..start + value.len());
            }
        }
    });
}

/// Returns the message of an error body, if it has one of at most `LONGEST_MESSAGE_BYTES`.
pub fn message(body: &[u8]) -> Option<String> {
    let mut found = None;
    json::each_member(body, |name, value| match name {
        "error" | "detail" if value.starts_with(b"{") => found = message(value),
        "message" | "error" | "detail" if value.starts_with(b"\"") => {
            found = Some(json::text(value).into_owned());
        }
        _ => {}
    });
    found.filter(|text| text.len() <= LONGEST_MESSAGE_BYTES)
}

/// Pattern of the operator's organisation, project and account names as providers write them in errors.
const NAMES: &str = concat!(
    r#"(?i-u)\b((?:org|proj|acct|user|team)[-_])[a-z0-9][a-z0-9_-]{5,}"#,
    r#"|\b((?:organi[sz]ation|org|project|workspace|account|team|deployment|subscription|resource)"#,
    r#"(?:[\s_-]+(?:id|name|number))?[\s:=]+(?:[`'(]|\\?")*)[a-z0-9_.@-]*[0-9_-][a-z0-9_.@-]*"#,
    // A JSON member with such a name, then a path segment, then an ARN of AWS.
    r#"|(\\?"(?:organi[sz]ation|org|project|workspace|account|team|deployment|subscription|resource)"#,
    r#"(?:_?(?:id|name|number))?\\?"\s*:\s*\\?")[^"\\]+"#,
    r#"|((?:projects|organizations|accounts|subscriptions|resourceGroups|workspaces|deployments)/)[^\s/"'\\]+"#,
    r#"|\b(arn:aws[a-z-]*:)[^\s"'\\]+"#,
);

/// Compiled `NAMES`. `None` only if the pattern were invalid, which a test would catch.
static NAMES_PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(NAMES).ok());

/// Returns the error with the names of the operator's account redacted. `None`: it contains none. `host` is
/// the provider's host, given only if it is a name of the operator's.
pub fn redact_account_names(body: &[u8], host: Option<&str>) -> Option<Vec<u8>> {
    let hostless = host.and_then(|host| without_host(body, host));
    let nameless = without_patterns(hostless.as_deref().unwrap_or(body));
    nameless.or(hostless)
}

fn without_host(body: &[u8], host: &str) -> Option<Vec<u8>> {
    let folded = body.to_ascii_lowercase();
    let mut rest = 0;
    let mut hostless = Vec::new();
    for at in memchr::memmem::find_iter(&folded, host.as_bytes()) {
        hostless.extend_from_slice(&body[rest..at]);
        hostless.extend_from_slice(b"***");
        rest = at + host.len();
    }
    if rest == 0 {
        return None;
    }
    hostless.extend_from_slice(&body[rest..]);
    Some(hostless)
}

fn without_patterns(body: &[u8]) -> Option<Vec<u8>> {
    let pattern = NAMES_PATTERN.as_ref()?;
    let nameless = |found: &Captures<'_>| {
        let whole = &found[0];
        // Words without digits, such as `user_message`, name no account.
        let is_word = found.get(1).is_some() && !whole.iter().any(u8::is_ascii_digit);
        let start = (1..found.len()).find_map(|group| found.get(group));
        let start = start.map_or(&b""[..], |start| start.as_bytes());
        if is_word {
            whole.to_vec()
        } else {
            [start, b"***"].concat()
        }
    };
    match pattern.replace_all(body, nameless) {
        Cow::Owned(nameless) if nameless != body => Some(nameless),
        _ => None,
    }
}

/// Records a failure that an answer reports itself, and meters text in it that was generated before.
pub fn reported(error: &[u8], reading: &mut Reading) {
    reading.failed = true;
    count_generated(error, &mut reading.delivered);
}

/// Meters the generated text in an error that is forwarded as received, by the members in `GENERATED_MEMBERS`.
pub(crate) fn count_generated(error: &[u8], delivered: &mut Delivered) {
    let is_object = json::each_member(error, |name, value| {
        if GENERATED_MEMBERS.contains(&name) {
            said::text(value, delivered);
        } else if WRAPPERS.contains(&name) && value.starts_with(b"{") {
            count_generated(value, delivered);
        } else {
            said_in(value, delivered);
        }
    });
    if !is_object {
        said_in(error, delivered);
    }
}

fn said_in(value: &[u8], delivered: &mut Delivered) {
    if let Some(text) = quoted(value) {
        delivered.text(&text);
    } else if value.len() > LONGEST_MESSAGE_BYTES {
        delivered.unreadable(value);
    }
}

/// Returns the generated text that a message quotes behind one of the `QUOTE_MARKERS`.
fn quoted(value: &[u8]) -> Option<String> {
    if !value.starts_with(b"\"") {
        return None;
    }
    let text = json::text(value);
    let mut quotes = QUOTE_MARKERS.iter();
    quotes.find_map(|before| text.split_once(before).map(|(_, after)| after.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::openai::chat::Chat;

    fn failure(body: &str) -> (Reading, Option<String>) {
        let failure = read(&Chat, &Call::default(), false, body.as_bytes());
        let passed = failure.passed.map(|body| String::from_utf8(body).unwrap());
        (failure.reading, passed)
    }

    #[test]
    fn an_ordinary_error_passes_and_is_nothing() {
        let (reading, passed) = failure(r#"{"error":{"message":"No","type":"x","code":null}}"#);
        assert!(reading.delivered.is_empty() && reading.claim.is_empty() && reading.failed);
        assert_eq!(passed, None);
        assert_eq!(failure("<html>502</html>").1, None);
    }

    #[test]
    fn generated_text_in_an_error_counts() {
        let (reading, passed) = failure(
            r#"{"error":{"message":"Failed","code":"tool_use_failed","failed_generation":"one two"}}"#,
        );
        assert_eq!((reading.delivered.bytes, passed), (7, None));
        let (reading, _) = failure(
            r#"{"error":{"message":"x"},"usage":{"prompt_tokens":5,"completion_tokens":7}}"#,
        );
        assert_eq!(reading.claim.usage().total().count(), 12);
        let event = r#"data: {"choices":[{"delta":{"content":"one"}}]}"#.to_owned() + "\n\n";
        let failure = read(&Chat, &Call::default(), true, event.as_bytes());
        assert_eq!(failure.reading.delivered.bytes, 3);
    }

    #[test]
    fn model_text_quoted_in_an_error_counts() {
        for message in [
            "Failed to parse input at pos 12: one two",
            "error parsing tool call: raw='one two', err=invalid",
            "Failed to parse generated text: one two",
        ] {
            let (reading, passed) = failure(&format!(r#"{{"error":{{"message":"{message}"}}}}"#));
            assert!(reading.delivered.bytes >= 7, "{message}");
            assert_eq!(passed, None);
            let (reading, _) = failure(&format!(r#"{{"error":"{message}"}}"#));
            assert!(reading.delivered.bytes >= 7, "{message}");
        }
        let long = format!("parse input at pos {}", "word ".repeat(500));
        let (reading, passed) = failure(&format!(r#"{{"error":{{"message":"{long}"}}}}"#));
        assert!(reading.delivered.bytes > 2_000 && passed.unwrap().contains("***"));
    }

    #[test]
    fn an_operators_account_has_no_name() {
        let nameless = |text: &str| {
            let host = Some("acme-eu.openai.azure.com");
            redact_account_names(text.as_bytes(), host).map(|text| String::from_utf8(text).unwrap())
        };
        for (text, expected) in [
            (
                "Rate limit reached for gpt-4o in organization org-Ab12Cd34 on tokens per min",
                "Rate limit reached for gpt-4o in organization *** on tokens per min",
            ),
            (
                r#"{"message":"in organization `org_01hvabc` service tier"}"#,
                r#"{"message":"in organization `***` service tier"}"#,
            ),
            (
                "project proj_abcdef12: no access; user-0123456789",
                "project ***: no access; user-***",
            ),
            (
                r#"Organization ID: "1f6c6a8e-9f5d-4a8e-8b1a-000000000000" is out"#,
                r#"Organization ID: "***" is out"#,
            ),
            (
                r#"{"error":{"organization":"acme","project_id": "p","message":"No","type":"account"}}"#,
                r#"{"error":{"organization":"***","project_id": "***","message":"No","type":"account"}}"#,
            ),
            (
                "at https://ACME-eu.openai.azure.com/openai/deployments/mine-4o/chat",
                "at https://***/openai/deployments/***/chat",
            ),
            (
                "arn:aws:bedrock:us-east-1:123456789012:model/x is out; project_number: 998877",
                "arn:aws:*** is out; project_number: ***",
            ),
            (
                "Quota of projects/acme-prod-1/locations/global",
                "Quota of projects/***/locations/global",
            ),
        ] {
            assert_eq!(nameless(text).as_deref(), Some(expected));
        }
        for text in [
            "Your organization must be verified to use the model",
            r#"{"error":{"message":"organization:\n2 requests","param":"user_message"}}"#,
            r#"{"error":{"message":"This request would exceed your organization's rate limit"}}"#,
            "model `gpt-5` does not exist",
        ] {
            assert_eq!(nameless(text), None, "{text}");
        }
    }

    #[test]
    fn a_message_is_found_where_providers_put_it() {
        for body in [
            r#"{"error":{"message":"No","code":1}}"#,
            r#"{"message":"No"}"#,
            r#"{"error":"No"}"#,
            r#"{"detail":"No"}"#,
        ] {
            assert_eq!(message(body.as_bytes()).as_deref(), Some("No"), "{body}");
        }
        assert_eq!(message(b"<html>"), None);
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(2_000));
        assert_eq!(message(long.as_bytes()), None);
    }

    #[test]
    fn a_message_too_long_for_one_is_struck_out() {
        let long = "x".repeat(2_000);
        let (reading, passed) =
            failure(&format!(r#"{{"error":{{"message":"{long}","code":"c"}}}}"#));
        assert_eq!(
            passed.as_deref(),
            Some(r#"{"error":{"message":"***","code":"c"}}"#)
        );
        assert!(reading.delivered.is_empty());
        let page = format!("<html>{}</html>", "x".repeat(9_000));
        assert!(failure(&page).1.unwrap().contains("provider_failed"));
    }
}
