//! The part of a request to the demo provider that both wire formats share: parsing, validation, prompt
//! tokens.
//!
//! Pure: JSON in, [`Call`] out. Its prompt tokens must never exceed the bytes of the text plus 8 per message:
//! that is the upper bound by which a gateway holds tokens before the call.

use serde_json::Value;

const TOKENS_PER_MESSAGE: u64 = 3;

/// A parsed request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub model: String,
    pub prompt_tokens: u64,
    /// Text of the last message with `role: user`; the answer quotes it.
    pub last_words: String,
    /// `None`: no limit was sent.
    pub limit_tokens: Option<u64>,
    /// OpenAI's `n`; 1 for Anthropic.
    pub choices: u64,
    pub stream: bool,
    /// OpenAI's `stream_options.include_usage`.
    pub include_usage: bool,
}

/// Validation error, worded for the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Path of the invalid field, such as `messages.0.content`; empty for the whole body.
    pub field: String,
    pub message: String,
}

impl Refusal {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Refusal {
        Refusal {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// Returns the tokens of a text: bytes / 4, rounded up, at least 1. Crude, but used for prompts and answers
/// alike.
pub(super) fn count(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4).max(1)
}

/// Parses the members that both formats share. `system` is Anthropic's system text, which is not in
/// `messages`.
pub(super) fn read(body: &Value, system: &str) -> Result<Call, Refusal> {
    if !body.is_object() {
        return Err(Refusal::new("", "The request body must be a JSON object."));
    }
    let model = match field(body, "model") {
        None => "demo",
        Some(Value::String(model)) => model,
        Some(_) => return Err(Refusal::new("model", "must be a string")),
    };
    let messages = match field(body, "messages") {
        None => return Err(Refusal::new("messages", "is required")),
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(_) => {
            return Err(Refusal::new(
                "messages",
                "must be a list of at least one message",
            ));
        }
    };
    let mut bytes = system.len();
    let mut last_words = None;
    for (index, message) in messages.iter().enumerate() {
        if !message.is_object() {
            return Err(Refusal::new(
                format!("messages.{index}"),
                "must be an object",
            ));
        }
        let text = text_of(field(message, "content"))
            .ok_or_else(|| Refusal::new(format!("messages.{index}.content"), CONTENT))?;
        bytes += text.len();
        if message.get("role").and_then(Value::as_str) == Some("user") {
            last_words = Some(text);
        }
    }
    Ok(Call {
        model: model.to_owned(),
        prompt_tokens: count(bytes) + TOKENS_PER_MESSAGE * messages.len() as u64,
        last_words: last_words.unwrap_or_default(),
        limit_tokens: None,
        choices: 1,
        stream: yes(body, "stream")?,
        include_usage: false,
    })
}

pub(super) const CONTENT: &str = "must be a string or a list of parts";

/// Returns the text of a `content` member: the string itself, or its `text` parts joined. Other parts
/// (images, tool results) are skipped unchecked. `None`: neither a string nor a list.
pub(super) fn text_of(content: Option<&Value>) -> Option<String> {
    match content {
        None => Some(String::new()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(parts)) => Some(
            parts
                .iter()
                .filter(|part| part.get("type").and_then(Value::as_str) == Some("text"))
                .filter_map(|part| part.get("text").and_then(Value::as_str))
                .collect::<Vec<&str>>()
                .join("\n"),
        ),
        Some(_) => None,
    }
}

/// Returns a member of `body`; an explicit `null` counts as absent.
pub(super) fn field<'v>(body: &'v Value, name: &str) -> Option<&'v Value> {
    body.get(name).filter(|value| !value.is_null())
}

/// Returns a boolean member; absent is `false`.
pub(super) fn yes(body: &Value, name: &str) -> Result<bool, Refusal> {
    match field(body, name) {
        None => Ok(false),
        Some(Value::Bool(yes)) => Ok(*yes),
        Some(_) => Err(Refusal::new(name, "must be true or false")),
    }
}

/// Returns an integer member from 1 to `most`.
pub(super) fn positive(body: &Value, name: &str, most: u64) -> Result<Option<u64>, Refusal> {
    let Some(value) = field(body, name) else {
        return Ok(None);
    };
    match value.as_u64() {
        Some(number) if (1..=most).contains(&number) => Ok(Some(number)),
        _ if most == u64::MAX => Err(Refusal::new(name, "must be a whole number of at least 1")),
        _ => Err(Refusal::new(
            name,
            format!("must be a whole number from 1 to {most}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prompts_are_counted_by_their_text_and_their_messages() {
        let body = json!({ "messages": [
            { "role": "user", "content": "eight by" },
            { "role": "assistant", "content": null, "tool_calls": [] },
            { "role": "user", "content": [
                { "type": "text", "text": "ab" }, { "type": "image_url" }, { "type": "text", "text": "c" }
            ] }
        ] });
        let call = read(&body, "sys").unwrap();
        assert_eq!(call.last_words, "ab\nc");
        assert_eq!(call.prompt_tokens, (3 + 8 + 4_u64).div_ceil(4) + 9);
        assert_eq!((call.model.as_str(), call.stream), ("demo", false));
    }

    #[test]
    fn a_prompt_never_counts_more_than_its_bytes_and_8_a_message() {
        for bytes in 0..50_usize {
            for messages in 1..5 {
                let mut list = vec![json!({ "role": "user", "content": "" }); messages];
                list[0]["content"] = json!("x".repeat(bytes));
                let call = read(&json!({ "messages": list }), "").unwrap();
                assert!(call.prompt_tokens <= bytes as u64 + 8 * messages as u64);
            }
        }
    }

    #[test]
    fn a_request_that_cannot_be_answered_names_the_field() {
        let user = json!([{ "role": "user", "content": "hi" }]);
        for (body, field) in [
            (json!([]), ""),
            (json!({}), "messages"),
            (json!({ "messages": [] }), "messages"),
            (json!({ "messages": "hi" }), "messages"),
            (json!({ "messages": ["hi"] }), "messages.0"),
            (
                json!({ "messages": [{ "content": 3 }] }),
                "messages.0.content",
            ),
            (json!({ "messages": user, "model": 3 }), "model"),
            (json!({ "messages": user, "stream": "yes" }), "stream"),
        ] {
            assert_eq!(read(&body, "").unwrap_err().field, field, "{body}");
        }
        assert!(positive(&json!({ "n": 0 }), "n", 128).is_err());
        assert!(positive(&json!({ "n": 129 }), "n", 128).is_err());
        assert!(positive(&json!({ "n": 1.5 }), "n", u64::MAX).is_err());
        assert_eq!(positive(&json!({ "n": null }), "n", 128), Ok(None));
    }
}
