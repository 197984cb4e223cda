//! Counts the tokens of a prompt where the provider of its model has no call for it.
//!
//! The count is an estimate: another model's vocabulary, and frames that nobody publishes. Nothing is charged by it.

use crate::dialect::{Dialect, tokens};
use crate::json::{self, Value};

/// Calls that count tokens, each with the member of its answer.
const COUNTING: &[(&str, &str)] = &[
    ("messages/count_tokens", "input_tokens"),
    ("models/{model}:countTokens", "totalTokens"),
];

/// Members that a model does not read as they are written.
const NOT_READ: &[&str] = &[
    "cache_control",
    "id",
    "mediaType",
    "media_type",
    "mimeType",
    "mime_type",
    "model",
    "role",
    "signature",
    "thoughtSignature",
    "thought_signature",
    "tool_use_id",
    "type",
];

/// Member that holds an image or a document in base64.
const MEDIA: &str = "data";
/// Shortest value that is taken for one.
const SHORTEST_MEDIA_BYTES: usize = 64;
/// Tokens of one of those.
const MEDIA_TOKENS: u64 = 1_500;

/// Whether a call counts tokens and does nothing else.
pub fn is_count(client: &dyn Dialect) -> bool {
    member(client).is_some()
}

/// Returns the answer of a call that counts tokens. `None`: the call is another one.
pub fn count(client: &dyn Dialect, body: &[u8]) -> Option<String> {
    let mut prompt = PromptText::default();
    prompt.value(&Value::of(body));
    let tokens = tokens::count(&prompt.text) + prompt.media * MEDIA_TOKENS;
    let member = member(client)?;
    Some(format!("{{\"{member}\":{tokens}}}"))
}

fn member(client: &dyn Dialect) -> Option<&'static str> {
    let mut calls = COUNTING.iter();
    let (_, member) = calls.find(|(path, _)| *path == client.path())?;
    Some(member)
}

/// Whether a value is a long string of base64: a text has blanks.
fn is_base64(value: &[u8]) -> bool {
    let is_of_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"\"+/=-_".contains(byte);
    value.len() > SHORTEST_MEDIA_BYTES && value.starts_with(b"\"") && value.iter().all(is_of_base64)
}

/// Text and media of a body that a model reads.
#[derive(Default)]
struct PromptText {
    text: String,
    media: u64,
}

impl PromptText {
    fn value(&mut self, value: &Value<'_>) {
        let is_object = value.members(|name, value| {
            if name == MEDIA && is_base64(value.bytes()) {
                self.media += 1;
            } else if !(NOT_READ.contains(&name) && value.bytes().starts_with(b"\"")) {
                self.value(value);
            }
        });
        if is_object || value.elements(|value| self.value(value)) {
            return;
        }
        self.text.push_str(&json::text(value.bytes()));
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::anthropic::count_tokens::CountTokens;
    use crate::dialect::openai::chat::Chat;

    fn counted(body: &str) -> u64 {
        let answer = count(&CountTokens, body.as_bytes()).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["input_tokens"].as_u64().unwrap()
    }

    #[test]
    fn texts_count_and_what_no_model_reads_does_not() {
        let hello = r#"{"model":"m","messages":[{"role":"user","content":"Hello, world"}]}"#;
        assert!((3..8).contains(&counted(hello)), "{}", counted(hello));
        let long = hello.replace("Hello, world", &"hello ".repeat(1_000));
        assert!(
            (1_000..1_100).contains(&counted(&long)),
            "{}",
            counted(&long)
        );
        let image = r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"DATA"}}]}]}"#;
        let image = &image.replace("DATA", &"A".repeat(400));
        assert!(
            (1_500..1_600).contains(&counted(image)),
            "{}",
            counted(image)
        );
        assert!(is_count(&CountTokens) && !is_count(&Chat));
        assert_eq!(count(&Chat, b"{}"), None);
    }
}
