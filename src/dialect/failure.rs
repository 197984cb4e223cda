//! What a provider's error body may carry: a usage, and what was generated before it failed.
//!
//! Groq gives the whole text of a call that it could not parse. Goods are metered like an answer. What
//! is left is a message for people: it passes as it came while it is as short as one, so that no text
//! of a model leaves uncounted in it.

use super::call::{Call, Delivered, Reading};
use super::openai::{said, usage};
use super::{Dialect, splice::Splice};
use crate::json::{self, Value};
use regex::bytes::{Captures, Regex};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

/// The longest message of an error that passes whole.
const LONGEST_MESSAGE_BYTES: usize = 1_000;
/// The longest error body that passes: a message, and what stands beside it.
const LONGEST_BODY_BYTES: usize = 2_000;

/// Members that hold generated text.
const GOODS: &[&str] = &[
    "failed_generation",
    "partial_response",
    "generated_text",
    "choices",
    "output",
    "content",
    "completion",
];

/// What some servers say before they quote what a model has generated.
const QUOTES: &[&str] = &["parse input at pos", "raw='", "parse generated text"];

/// Objects that an error body may wrap its parts in.
const WRAPPERS: &[&str] = &["error", "detail", "metadata", "body", "response"];

pub struct Failure {
    pub reading: Reading,
    /// What is passed on, where that is not the body as it came.
    pub passed: Option<Vec<u8>>,
}

pub fn read(dialect: &dyn Dialect, call: &Call, speaks_events: bool, body: &[u8]) -> Failure {
    let mut reading = Reading::default();
    let mut long = Vec::new();
    if speaks_events {
        let mut meter = dialect.stream(call);
        meter.feed(body);
        meter.finish();
        reading = meter.reading().clone();
    } else if json::is_flat(body, json::DEEPEST) {
        object(body, body, &mut reading, &mut long);
    }
    reading.complete = true;
    reading.failed = true;
    let mut splice = Splice::default();
    for range in long {
        splice.put(range, "\"***\"");
    }
    let passed = (!splice.is_empty()).then(|| splice.apply(body));
    // What was metered may be long, and all of it is paid for.
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

/// Takes in an error's members. Of `long` ones it notes where they stand in the whole.
fn object(object_text: &[u8], whole: &[u8], reading: &mut Reading, long: &mut Vec<Range<usize>>) {
    json::each_member(object_text, |name, value| match name {
        "usage" => reading.reports(usage::read(&Value::of(value))),
        name if GOODS.contains(&name) => said::text(value, &mut reading.delivered),
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

/// The message of an error body, where it has one of a usual length.
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

/// Names of the operator's organisation, project and account, as providers' errors write them.
const NAMES: &str = concat!(
    r#"(?i-u)\b((?:org|proj|acct|user|team)[-_])[a-z0-9][a-z0-9_-]{5,}"#,
    r#"|\b((?:organi[sz]ation|org|project|workspace|account|team|deployment|subscription|resource)"#,
    r#"(?:[\s_-]+(?:id|name|number))?[\s:=]+(?:[`'(]|\\?")*)[a-z0-9_.@-]*[0-9_-][a-z0-9_.@-]*"#,
    // A member of their names, and what stands for one in a path or in Amazon's names.
    r#"|(\\?"(?:organi[sz]ation|org|project|workspace|account|team|deployment|subscription|resource)"#,
    r#"(?:_?(?:id|name|number))?\\?"\s*:\s*\\?")[^"\\]+"#,
    r#"|((?:projects|organizations|accounts|subscriptions|resourceGroups|workspaces|deployments)/)[^\s/"'\\]+"#,
    r#"|\b(arn:aws[a-z-]*:)[^\s"'\\]+"#,
);

/// `None` only if the pattern were wrong, which a test would tell.
static NAMES_PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(NAMES).ok());

/// The same error without the names of the operator's account; `None`: there are none in it. `host`: the
/// provider's, where it is a name of the operator's.
pub fn without_names(body: &[u8], host: Option<&str>) -> Option<Vec<u8>> {
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
        // `user_message` names nobody.
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

/// What an answer says of its own failure, which may hold what was generated before.
pub fn reported(error: &[u8], reading: &mut Reading) {
    reading.failed = true;
    goods(error, &mut reading.delivered);
}

/// Counts what was generated in an error that is passed on as it came.
pub fn goods(error: &[u8], delivered: &mut Delivered) {
    let is_object = json::each_member(error, |name, value| {
        if GOODS.contains(&name) {
            said::text(value, delivered);
        } else if WRAPPERS.contains(&name) && value.starts_with(b"{") {
            goods(value, delivered);
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

/// What a message quotes of a model.
fn quoted(value: &[u8]) -> Option<String> {
    if !value.starts_with(b"\"") {
        return None;
    }
    let text = json::text(value);
    let mut quotes = QUOTES.iter();
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
    fn what_was_generated_counts() {
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
    fn what_a_message_quotes_of_a_model_counts() {
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
            without_names(text.as_bytes(), host).map(|text| String::from_utf8(text).unwrap())
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
