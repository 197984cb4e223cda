//! Whole answers of `chat/completions`, read and written.

use super::super::conversation::{CallFacts, ContentPart, Input, ToolCall};
use super::super::reply::{Stop, TokenCounts, WholeReply};
use super::super::written::ObjectText;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    tool_calls: Option<Vec<CalledTool>>,
    /// Call in the old form, which nobody asks for here.
    #[serde(default)]
    function_call: Option<Value>,
}

#[derive(Deserialize)]
struct CalledTool {
    #[serde(default)]
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Option<Value>,
}

/// Reads a whole answer. `None`: it is not understood.
pub(crate) fn read(answer: &[u8], asked: &CallFacts) -> Option<WholeReply> {
    let answer: Completion = serde_json::from_slice(answer).ok()?;
    let [choice] = <[Choice; 1]>::try_from(answer.choices).ok()?;
    let message = choice.message;
    if message.function_call.is_some_and(|call| call.is_object()) {
        return None;
    }
    let mut parts = Vec::new();
    let reasoning = message
        .reasoning_content
        .or_else(|| message.reasoning.as_ref()?.as_str().map(str::to_owned))
        .or_else(|| message.content.as_ref().map(thinking_of));
    if let Some(text) = reasoning.filter(|text| !text.is_empty()) {
        parts.push(ContentPart::Thinking {
            text,
            signature: None,
        });
    }
    if let Some(text) = message
        .content
        .as_ref()
        .map(text_of)
        .filter(|text| !text.is_empty())
    {
        parts.push(ContentPart::Text(text));
    }
    if let Some(text) = message.refusal.filter(|text| !text.is_empty()) {
        parts.push(ContentPart::Refusal(text));
    }
    for (nth, call) in message.tool_calls.into_iter().flatten().enumerate() {
        let Function { name, arguments } = call.function;
        let text = match arguments {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(object) => object.to_string(),
        };
        let input = Input::read(&text, asked.is_freeform(&name))?;
        parts.push(ContentPart::Call(ToolCall {
            id: call.id.unwrap_or_else(|| format!("call_{nth}")),
            name,
            input,
        }));
    }
    let mut reply = WholeReply {
        id: answer.id.unwrap_or_default(),
        model: answer.model.unwrap_or_default(),
        stop: stop(choice.finish_reason.as_deref()),
        parts,
        usage: answer.usage.as_ref().and_then(usage),
    };
    if reply.calls_tools() && reply.stop == Stop::End {
        // Some servers call tools and say that they stopped.
        reply.stop = Stop::Calls;
    }
    Some(reply)
}

/// Returns the thinking of a content: what the parts of type `thinking` in a list say.
pub(super) fn thinking_of(content: &Value) -> String {
    let parts = content.as_array().into_iter().flatten();
    let thinking = parts.filter_map(|part| part.get("thinking"));
    thinking.map(text_of).collect()
}

/// Returns the text of a content: a string, or a list of text parts.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text")?.as_str())
            .collect(),
        _ => String::new(),
    }
}

pub(super) fn stop(reason: Option<&str>) -> Stop {
    match reason {
        Some("length") => Stop::Limit,
        Some("tool_calls" | "function_call") => Stop::Calls,
        Some("content_filter") => Stop::Refused,
        _ => Stop::End,
    }
}

/// Reads `usage`. `None`: it counts no tokens.
pub(super) fn usage(usage: &Value) -> Option<TokenCounts> {
    let count = |value: Option<&Value>| value.and_then(Value::as_u64);
    let detail = |list: &str, name: &str| count(usage.get(list).and_then(|list| list.get(name)));
    Some(TokenCounts {
        input: count(usage.get("prompt_tokens"))?,
        output: count(usage.get("completion_tokens"))?,
        cache_read: detail("prompt_tokens_details", "cached_tokens").unwrap_or(0),
        cache_write: detail("prompt_tokens_details", "cache_write_tokens").unwrap_or(0),
        reasoning: detail("completion_tokens_details", "reasoning_tokens").unwrap_or(0),
    })
}

/// Writes a whole answer. `created`: seconds since 1970.
pub(crate) fn write(reply: &WholeReply, asked: &CallFacts, created: u64) -> String {
    let (mut text, mut thinking, mut refusal) = (None, None, None);
    let mut calls = Vec::new();
    let add = |to: &mut Option<String>, more: &str| to.get_or_insert_default().push_str(more);
    for part in &reply.parts {
        match part {
            ContentPart::Text(more) => add(&mut text, more),
            ContentPart::Thinking { text, .. } => add(&mut thinking, text),
            ContentPart::Refusal(more) => add(&mut refusal, more),
            ContentPart::Call(call) => calls.push(tool_call(call, asked.is_freeform(&call.name))),
            _ => {}
        }
    }
    let message = ObjectText::new().text("role", "assistant");
    let message = match &text {
        Some(text) => message.text("content", text),
        None => message.null("content"),
    };
    let message = match &refusal {
        Some(refusal) => message.text("refusal", refusal),
        None => message.null("refusal"),
    };
    let message = message
        .some_text("reasoning_content", thinking.as_deref())
        .some_list("tool_calls", &calls)
        .end();
    let choice = ObjectText::new()
        .number("index", 0)
        .raw("message", &message)
        .null("logprobs")
        .text("finish_reason", finish_reason(&reply.stop))
        .end();
    let answer = ObjectText::new()
        .text("id", &reply.id)
        .text("object", "chat.completion")
        .number("created", created)
        .text("model", &reply.model)
        .list("choices", &[choice]);
    match &reply.usage {
        Some(usage) => answer.raw("usage", &write_usage(usage)),
        None => answer,
    }
    .end()
}

fn tool_call(call: &ToolCall, is_freeform: bool) -> String {
    let written = ObjectText::new().text("id", &call.id);
    match (&call.input, is_freeform) {
        (Input::Text(text), true) => {
            let custom = ObjectText::new()
                .text("name", &call.name)
                .text("input", text);
            written.text("type", "custom").raw("custom", &custom.end())
        }
        (input, _) => {
            let function = ObjectText::new()
                .text("name", &call.name)
                .text("arguments", input.object().get());
            written
                .text("type", "function")
                .raw("function", &function.end())
        }
    }
    .end()
}

pub(super) fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::Paused => "stop",
        Stop::Limit | Stop::Context => "length",
        Stop::Calls => "tool_calls",
        Stop::Refused => "content_filter",
    }
}

pub(super) fn write_usage(usage: &TokenCounts) -> String {
    let prompt = ObjectText::new()
        .number("cached_tokens", usage.cache_read)
        .number("cache_write_tokens", usage.cache_write)
        .end();
    let completion = ObjectText::new()
        .number("reasoning_tokens", usage.reasoning)
        .end();
    ObjectText::new()
        .number("prompt_tokens", usage.input)
        .number("completion_tokens", usage.output)
        .number("total_tokens", usage.input.saturating_add(usage.output))
        .raw("prompt_tokens_details", &prompt)
        .raw("completion_tokens_details", &completion)
        .end()
}
