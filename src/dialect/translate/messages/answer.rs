//! Whole answers of `messages`, read and written.

use super::super::conversation::{CallFacts, ContentPart, Input, Json, ToolCall};
use super::super::reply::{Stop, TokenCounts, WholeReply};
use super::super::written::ObjectText;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct WholeMessage {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    content: Vec<Block>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    stop_sequence: Option<String>,
    #[serde(default)]
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    input: Option<Box<RawValue>>,
}

/// Reads a whole answer. `None`: it is not understood.
pub(crate) fn read(answer: &[u8], asked: &CallFacts) -> Option<WholeReply> {
    let answer: WholeMessage = serde_json::from_slice(answer).ok()?;
    let parts: Option<Vec<ContentPart>> = answer
        .content
        .into_iter()
        .map(|block| part(block, asked))
        .collect();
    Some(WholeReply {
        id: answer.id.unwrap_or_default(),
        model: answer.model.unwrap_or_default(),
        parts: parts?,
        stop: stop(answer.stop_reason.as_deref(), answer.stop_sequence),
        usage: answer.usage.as_ref().and_then(usage),
    })
}

fn part(block: Block, asked: &CallFacts) -> Option<ContentPart> {
    Some(match block.kind.as_str() {
        "text" => ContentPart::Text(block.text?),
        "thinking" => ContentPart::Thinking {
            text: block.thinking?,
            signature: block.signature,
        },
        "redacted_thinking" => ContentPart::Sealed(block.data?),
        "tool_use" => {
            let (name, input) = (block.name?, block.input?);
            let input = Input::read(input.get(), asked.is_freeform(&name))?;
            ContentPart::Call(ToolCall {
                id: block.id?,
                name,
                input,
            })
        }
        _ => return None,
    })
}

pub(super) fn stop(reason: Option<&str>, sequence: Option<String>) -> Stop {
    match reason {
        Some("max_tokens") => Stop::Limit,
        Some("model_context_window_exceeded") => Stop::Context,
        Some("stop_sequence") => Stop::Sequence(sequence),
        Some("tool_use") => Stop::Calls,
        Some("refusal") => Stop::Refused,
        Some("pause_turn") => Stop::Paused,
        _ => Stop::End,
    }
}

/// Reads `usage`. `None`: it counts no tokens.
pub(super) fn usage(usage: &Value) -> Option<TokenCounts> {
    let count = |name: &str| usage.get(name).and_then(Value::as_u64);
    let cache_read = count("cache_read_input_tokens").unwrap_or(0);
    let cache_write = count("cache_creation_input_tokens").unwrap_or(0);
    let uncached = count("input_tokens");
    let output = count("output_tokens");
    if uncached.is_none() && output.is_none() {
        return None;
    }
    let details = usage.get("output_tokens_details");
    let reasoning = details.and_then(|details| details.get("thinking_tokens"));
    Some(TokenCounts {
        input: uncached
            .unwrap_or(0)
            .saturating_add(cache_read)
            .saturating_add(cache_write),
        cache_read,
        cache_write,
        output: output.unwrap_or(0),
        reasoning: reasoning.and_then(Value::as_u64).unwrap_or(0),
    })
}

/// Writes a whole answer.
pub(crate) fn write(reply: &WholeReply) -> String {
    let content: Vec<String> = reply.parts.iter().filter_map(block).collect();
    let (reason, sequence) = reason(&reply.stop);
    let answer = ObjectText::new()
        .text("id", &reply.id)
        .text("type", "message")
        .text("role", "assistant")
        .text("model", &reply.model)
        .list("content", &content)
        .text("stop_reason", reason);
    let answer = match sequence {
        Some(sequence) => answer.text("stop_sequence", sequence),
        None => answer.null("stop_sequence"),
    };
    answer
        .raw("usage", &write_usage(&reply.usage.unwrap_or_default()))
        .end()
}

/// Writes a part as a block. `None`: no answer of Messages has such a part.
pub(super) fn block(part: &ContentPart) -> Option<String> {
    Some(match part {
        ContentPart::Text(text) | ContentPart::Refusal(text) => {
            ObjectText::typed("text").text("text", text).end()
        }
        ContentPart::Thinking { text, signature } => ObjectText::typed("thinking")
            .text("thinking", text)
            .text("signature", signature.as_deref().unwrap_or_default())
            .end(),
        ContentPart::Sealed(data) => ObjectText::typed("redacted_thinking")
            .text("data", data)
            .end(),
        ContentPart::Call(call) => ObjectText::typed("tool_use")
            .text("id", &call.id)
            .text("name", &call.name)
            .raw("input", Json::get(&call.input.object()))
            .end(),
        _ => return None,
    })
}

pub(super) fn reason(stop: &Stop) -> (&'static str, Option<&str>) {
    match stop {
        Stop::End => ("end_turn", None),
        Stop::Limit => ("max_tokens", None),
        Stop::Context => ("model_context_window_exceeded", None),
        Stop::Sequence(sequence) => ("stop_sequence", sequence.as_deref()),
        Stop::Calls => ("tool_use", None),
        Stop::Refused => ("refusal", None),
        Stop::Paused => ("pause_turn", None),
    }
}

pub(super) fn write_usage(usage: &TokenCounts) -> String {
    ObjectText::new()
        .number("input_tokens", usage.uncached())
        .number("cache_creation_input_tokens", usage.cache_write)
        .number("cache_read_input_tokens", usage.cache_read)
        .number("output_tokens", usage.output)
        .end()
}
