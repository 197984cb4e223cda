//! Answers of `messages`, whose `content` is a list of blocks, kept and given again.
//!
//! The usage of a stream comes in two events. Its counts are totals, so later ones replace earlier ones.

use super::events;
use super::tree::{self, Members, Merge, add};
use super::{Replay, Verdict};
use serde_json::{Value, json};

/// [`Replay`] of `POST messages`.
pub(crate) struct MessageAnswers;

/// Types of the blocks that call a tool. Their `input` is streamed as text.
const TOOLS: &[&str] = &["tool_use", "server_tool_use", "mcp_tool_use"];

/// Types of the blocks that come whole: results of tools that the provider ran.
const RESULTS: &[&str] = &[
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "mcp_tool_result",
];

/// Members of a message that its last events report.
const LATE: &[&str] = &["stop_reason", "stop_sequence", "stop_details", "container"];

/// Members of `usage` that say nothing before the end.
const LATE_USAGE: &[&str] = &["output_tokens_details", "server_tool_use", "iterations"];

impl Replay for MessageAnswers {
    fn judge(&self, answer: &[u8]) -> Verdict {
        let Some(answer) = tree::object(answer) else {
            return Verdict::Unfit;
        };
        let Some(Value::Array(blocks)) = answer.get("content") else {
            return Verdict::Unfit;
        };
        let is_message = answer.get("type").is_none_or(|kind| kind == "message");
        let stop = match answer.get("stop_reason").and_then(Value::as_str) {
            Some("end_turn" | "stop_sequence") if is_message => Verdict::Whole,
            Some("tool_use") if is_message => Verdict::CallsTools,
            Some("max_tokens" | "model_context_window_exceeded" | "pause_turn") if is_message => {
                Verdict::Truncated
            }
            Some("refusal") if is_message => Verdict::Refused,
            _ => Verdict::Unfit,
        };
        blocks.iter().map(block).fold(stop, Verdict::max)
    }

    fn assemble(&self, stream: &[u8]) -> Option<Vec<u8>> {
        let mut assembly = Assembly::default();
        events::read(stream, |event| assembly.event(event))?;
        tree::write(assembly.whole()?)
    }

    fn stream(&self, answer: &[u8], _: bool) -> Option<Vec<u8>> {
        let answer = tree::object(answer)?;
        let blocks = answer.get("content")?.as_array()?;
        answer.get("stop_reason")?.as_str()?;
        let mut out = Vec::new();
        send(
            &mut out,
            "message_start",
            json!({"message": start(&answer)?}),
        );
        for (index, block) in blocks.iter().enumerate() {
            let (start, deltas) = pieces(block.as_object()?)?;
            send(
                &mut out,
                "content_block_start",
                json!({"index": index, "content_block": start}),
            );
            for delta in deltas {
                send(
                    &mut out,
                    "content_block_delta",
                    json!({"index": index, "delta": delta}),
                );
            }
            send(&mut out, "content_block_stop", json!({"index": index}));
        }
        send(&mut out, "message_delta", end(answer));
        send(&mut out, "message_stop", json!({}));
        Some(out)
    }
}

fn block(block: &Value) -> Verdict {
    match tree::text(block, "type") {
        Some("text") if tree::text(block, "text").is_some() => Verdict::Whole,
        Some("thinking") if tree::text(block, "thinking").is_some() => Verdict::Whole,
        Some("redacted_thinking") => Verdict::Whole,
        Some(kind) if TOOLS.contains(&kind) || RESULTS.contains(&kind) => Verdict::CallsTools,
        _ => Verdict::Unfit,
    }
}

fn send(out: &mut Vec<u8>, name: &str, members: Value) {
    events::push_named(out, name, &events::typed(name, members));
}

/// Returns the `message` of `message_start`: `answer` before anything of it was generated. `None`: its usage
/// is not understood.
fn start(answer: &Members) -> Option<Members> {
    let mut message = answer.clone();
    message.insert("content".to_owned(), json!([]));
    for name in LATE {
        if let Some(value) = message.get_mut(*name) {
            *value = Value::Null;
        }
    }
    message.shift_remove("context_management");
    match message.get_mut("usage") {
        None | Some(Value::Null) => {}
        Some(Value::Object(usage)) => {
            usage.retain(|name, _| !LATE_USAGE.contains(&name.as_str()));
            if let Some(output) = usage.get_mut("output_tokens") {
                *output = 0.into();
            }
        }
        Some(_) => return None,
    }
    Some(message)
}

/// Returns the members of `message_delta`, which end an answer.
fn end(answer: Members) -> Value {
    let (mut event, mut delta) = (Members::new(), Members::new());
    for (name, value) in answer {
        match name.as_str() {
            "usage" | "context_management" => {
                event.insert(name, value);
            }
            late if LATE.contains(&late) => {
                delta.insert(name, value);
            }
            _ => {}
        }
    }
    event.insert("delta".to_owned(), delta.into());
    event.into()
}

/// Splits a block into its beginning and its deltas. `None`: it is not understood.
fn pieces(block: &Members) -> Option<(Members, Vec<Value>)> {
    let kind = block.get("type")?.as_str()?;
    let mut start = block.clone();
    let mut deltas = Vec::new();
    let mut cut = |name: &str, delta: &str| {
        let text = start.get_mut(name)?;
        let text = std::mem::replace(text, "".into());
        if !text.as_str()?.is_empty() {
            deltas.push(json!({"type": delta, name: text}));
        }
        Some(())
    };
    match kind {
        "text" => {
            cut("text", "text_delta")?;
            if let Some(Value::Array(citations)) = start.get_mut("citations") {
                let citations = citations.drain(..);
                deltas.extend(
                    citations
                        .map(|citation| json!({"type": "citations_delta", "citation": citation})),
                );
            }
        }
        "thinking" => {
            cut("thinking", "thinking_delta")?;
            if block.get("signature").is_some_and(Value::is_string) {
                cut("signature", "signature_delta")?;
            }
        }
        kind if TOOLS.contains(&kind) => {
            let input = start.get_mut("input")?;
            let input = std::mem::replace(input, json!({}));
            if !input.as_object()?.is_empty() {
                let text = input.to_string();
                deltas.push(json!({"type": "input_json_delta", "partial_json": text}));
            }
        }
        "redacted_thinking" => {}
        kind if RESULTS.contains(&kind) => {}
        _ => return None,
    }
    Some((start, deltas))
}

/// Message that is put together from events.
#[derive(Default)]
struct Assembly {
    /// `message` of `message_start`. `None`: it has not begun.
    message: Option<Members>,
    blocks: Vec<Value>,
    /// Block that has begun and not stopped, with the text of its `input`.
    open: Option<(Members, String)>,
    has_output_count: bool,
    is_stopped: bool,
}

impl Assembly {
    fn event(&mut self, mut event: Members) -> Option<()> {
        let kind = event.shift_remove("type")?;
        let kind = kind.as_str()?;
        if kind == "ping" {
            return Some(());
        }
        if self.is_stopped || (kind == "message_start") == self.message.is_some() {
            return None;
        }
        match kind {
            "message_start" => self.start(event),
            "content_block_start" if self.open.is_none() => {
                self.is_at(&event, self.blocks.len())?;
                let Some(Value::Object(block)) = event.shift_remove("content_block") else {
                    return None;
                };
                // What cannot be split into pieces is not understood either.
                pieces(&block)?;
                self.open = Some((block, String::new()));
                Some(())
            }
            "content_block_delta" => {
                self.is_at(&event, self.blocks.len())?;
                let Some(Value::Object(delta)) = event.shift_remove("delta") else {
                    return None;
                };
                let (block, input) = self.open.as_mut()?;
                add_delta(block, input, delta)
            }
            "content_block_stop" => {
                self.is_at(&event, self.blocks.len())?;
                let (block, input) = self.open.take()?;
                self.blocks.push(stop(block, &input)?);
                Some(())
            }
            "message_delta" => self.delta(event),
            "message_stop" if self.open.is_none() => {
                self.is_stopped = true;
                Some(())
            }
            _ => None,
        }
    }

    /// Checks that an event is about the block number `place`.
    fn is_at(&self, event: &Members, place: usize) -> Option<()> {
        (*event.get("index")? == place).then_some(())
    }

    fn start(&mut self, mut event: Members) -> Option<()> {
        let Some(Value::Object(mut message)) = event.shift_remove("message") else {
            return None;
        };
        let is_empty = |list: &Vec<Value>| list.is_empty();
        message
            .get("content")?
            .as_array()
            .filter(|list| is_empty(list))?;
        match message.get_mut("usage") {
            None | Some(Value::Null) => self.has_output_count = true,
            Some(Value::Object(usage)) => {
                // That of the beginning.
                if let Some(output) = usage.get_mut("output_tokens") {
                    *output = Value::Null;
                }
            }
            Some(_) => return None,
        }
        self.message = Some(message);
        Some(())
    }

    fn delta(&mut self, event: Members) -> Option<()> {
        let message = self.message.as_mut()?;
        for (name, value) in event {
            match (name.as_str(), value) {
                ("delta", Value::Object(delta)) => {
                    for (name, value) in delta {
                        let is_late = LATE.contains(&name.as_str());
                        let is_known = is_late && (name != "stop_reason" || value.is_string());
                        if !is_known && !value.is_null() {
                            return None;
                        }
                        if is_late {
                            message.insert(name, value);
                        }
                    }
                }
                ("usage", Value::Object(usage)) => {
                    self.has_output_count |=
                        usage.get("output_tokens").is_some_and(Value::is_number);
                    let whole = message.entry("usage").or_insert(Value::Null);
                    if whole.is_null() {
                        *whole = json!({});
                    }
                    let whole = whole.as_object_mut()?;
                    for (name, value) in usage {
                        add(whole, name, value, Merge::Last)?;
                    }
                }
                ("usage", Value::Null) | ("error", _) => {}
                ("context_management", value) => {
                    message.insert(name, value);
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// Returns the whole message. `None`: it has not stopped, or its output was not counted.
    fn whole(self) -> Option<Members> {
        let mut message = self.message?;
        let has_reason = message.get("stop_reason").is_some_and(Value::is_string);
        if !self.is_stopped || !self.has_output_count || !has_reason {
            return None;
        }
        message.insert("content".to_owned(), self.blocks.into());
        Some(message)
    }
}

fn add_delta(block: &mut Members, input: &mut String, mut delta: Members) -> Option<()> {
    let kind = delta.shift_remove("type")?;
    let of = block.get("type")?.as_str()?;
    let (name, merge) = match (kind.as_str()?, of) {
        ("text_delta", "text") => ("text", Merge::Text),
        ("thinking_delta", "thinking") => ("thinking", Merge::Text),
        ("signature_delta", "thinking") => ("signature", Merge::Same),
        ("citations_delta", "text") => ("citation", Merge::List),
        ("input_json_delta", of) if TOOLS.contains(&of) => ("partial_json", Merge::Text),
        _ => return None,
    };
    let piece = delta.shift_remove(name)?;
    if !delta.is_empty() {
        return None;
    }
    match name {
        "partial_json" => input.push_str(piece.as_str()?),
        "citation" => add(block, "citations".to_owned(), json!([piece]), merge)?,
        name => {
            piece.as_str()?;
            add(block, name.to_owned(), piece, merge)?;
        }
    }
    Some(())
}

/// Returns a block that has stopped, with its `input` read from its text.
fn stop(mut block: Members, input: &str) -> Option<Value> {
    if !input.is_empty() {
        let whole = block.get_mut("input")?;
        let read = tree::read(input.as_bytes()).filter(Value::is_object)?;
        if *whole != json!({}) {
            return None;
        }
        *whole = read;
    }
    Some(Value::Object(block))
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
