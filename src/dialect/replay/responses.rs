//! Answers of `responses`, whose `output` is a list of items, kept and given again.
//!
//! The last event of a stream has the whole response, so nothing is put together from pieces.

use super::events;
use super::tree::{self, Members};
use super::{Replay, Verdict};
use serde_json::{Value, json};

/// [`Replay`] of `POST responses`.
pub(crate) struct ResponseAnswers;

/// Types of the items that call a tool, the provider's own included, beside those that end in one of
/// `TOOL_ENDINGS`.
const TOOLS: &[&str] = &[
    "mcp_list_tools",
    "mcp_approval_request",
    "tool_search_output",
];

const TOOL_ENDINGS: &[&str] = &["_call", "_call_output"];

impl Replay for ResponseAnswers {
    fn judge(&self, answer: &[u8]) -> Verdict {
        let Some(answer) = tree::object(answer) else {
            return Verdict::Unfit;
        };
        let Some(Value::Array(items)) = answer.get("output") else {
            return Verdict::Unfit;
        };
        items.iter().map(item).fold(status(&answer), Verdict::max)
    }

    fn assemble(&self, stream: &[u8]) -> Option<Vec<u8>> {
        let (mut items, mut response) = (0, None);
        events::read(stream, |mut event| {
            if response.is_some() {
                return None;
            }
            match event.get("type")?.as_str()? {
                "response.completed" | "response.incomplete" => {
                    let Some(Value::Object(whole)) = event.shift_remove("response") else {
                        return None;
                    };
                    response = Some(whole);
                }
                "response.failed" | "response.cancelled" | "error" => return None,
                "response.output_item.done" => items += 1,
                _ => {}
            }
            Some(())
        })?;
        let response = response?;
        // Some servers leave the items out of the last event.
        let is_whole = response.get("output")?.as_array()?.len() >= items;
        (is_whole && !tree::is_error(response.get("error")))
            .then(|| tree::write(response))
            .flatten()
    }

    fn stream(&self, answer: &[u8], _: bool) -> Option<Vec<u8>> {
        let response = tree::object(answer)?;
        let end = match response.get("status")?.as_str()? {
            "completed" => "response.completed",
            "incomplete" => "response.incomplete",
            _ => return None,
        };
        let items = response.get("output")?.as_array()?;
        let begun = json!({"response": begun(&response)});
        let mut written = Written::default();
        written.push("response.created", begun.clone());
        written.push("response.in_progress", begun);
        for (index, item) in items.iter().enumerate() {
            written.item(index, item)?;
        }
        written.push(end, json!({"response": response}));
        Some(written.out)
    }
}

fn status(response: &Members) -> Verdict {
    let details = response.get("incomplete_details");
    let details = details.filter(|details| !details.is_null());
    let reason = details.and_then(|details| tree::text(details, "reason"));
    if reason == Some("content_filter") {
        return Verdict::Refused;
    }
    match (response.get("status").and_then(Value::as_str), reason) {
        (Some("completed"), _) if details.is_none() => Verdict::Whole,
        (Some("incomplete"), Some("max_output_tokens")) => Verdict::Truncated,
        (Some("cancelled"), _) => Verdict::Refused,
        _ => Verdict::Unfit,
    }
}

fn item(item: &Value) -> Verdict {
    let status = match item.get("status") {
        None | Some(Value::Null) => Verdict::Whole,
        Some(status) if status == "completed" => Verdict::Whole,
        Some(status) if status == "incomplete" => Verdict::Truncated,
        Some(_) => Verdict::Unfit,
    };
    let said = match tree::text(item, "type") {
        Some("message") => match item.get("content") {
            Some(Value::Array(parts)) => parts.iter().map(part).fold(Verdict::Whole, Verdict::max),
            _ => Verdict::Unfit,
        },
        Some("reasoning") => {
            let lists = [("summary", "summary_text"), ("content", "reasoning_text")];
            let is_known = lists.iter().all(|(name, kind)| match item.get(name) {
                None | Some(Value::Null) => true,
                Some(Value::Array(parts)) => parts.iter().all(|part| {
                    tree::text(part, "type") == Some(kind) && tree::text(part, "text").is_some()
                }),
                Some(_) => false,
            });
            match is_known {
                true => Verdict::Whole,
                false => Verdict::Unfit,
            }
        }
        Some(kind) if TOOL_ENDINGS.iter().any(|end| kind.ends_with(end)) => Verdict::CallsTools,
        Some(kind) if TOOLS.contains(&kind) => Verdict::CallsTools,
        _ => Verdict::Unfit,
    };
    status.max(said)
}

fn part(part: &Value) -> Verdict {
    match tree::text(part, "type") {
        Some("output_text") if tree::text(part, "text").is_some() => Verdict::Whole,
        Some("refusal") => Verdict::Refused,
        _ => Verdict::Unfit,
    }
}

/// Returns a response before anything of it was generated.
fn begun(response: &Members) -> Members {
    let mut begun = Members::new();
    for (name, value) in response {
        let value = match name.as_str() {
            "status" => "in_progress".into(),
            "output" => json!([]),
            "usage" | "incomplete_details" | "completed_at" => Value::Null,
            _ => value.clone(),
        };
        begun.insert(name.clone(), value);
    }
    begun.entry("usage").or_insert(Value::Null);
    begun
}

/// Events of a stream as far as they are written.
#[derive(Default)]
struct Written {
    out: Vec<u8>,
    sequence_number: u64,
}

/// Events of one part of an item: their names, and the member that they bring piece by piece.
struct PartEvents {
    added: &'static str,
    delta: &'static str,
    text_done: &'static str,
    done: &'static str,
    /// Member of an event that counts the parts.
    index: &'static str,
    text: &'static str,
}

impl PartEvents {
    /// `None`: parts of this type are not known in the list `of` of an item.
    fn of(list: &str, kind: &str) -> Option<PartEvents> {
        let (delta, text_done, text) = match (list, kind) {
            ("content", "output_text") => (
                "response.output_text.delta",
                "response.output_text.done",
                "text",
            ),
            ("content", "refusal") => {
                ("response.refusal.delta", "response.refusal.done", "refusal")
            }
            ("content", "reasoning_text") => (
                "response.reasoning_text.delta",
                "response.reasoning_text.done",
                "text",
            ),
            ("summary", "summary_text") => (
                "response.reasoning_summary_text.delta",
                "response.reasoning_summary_text.done",
                "text",
            ),
            _ => return None,
        };
        let (added, done, index) = match list {
            "summary" => (
                "response.reasoning_summary_part.added",
                "response.reasoning_summary_part.done",
                "summary_index",
            ),
            _ => (
                "response.content_part.added",
                "response.content_part.done",
                "content_index",
            ),
        };
        Some(PartEvents {
            added,
            delta,
            text_done,
            done,
            index,
            text,
        })
    }
}

impl Written {
    fn push(&mut self, name: &str, members: Value) {
        let mut event = events::typed(name, members);
        event["sequence_number"] = self.sequence_number.into();
        self.sequence_number += 1;
        events::push_named(&mut self.out, name, &event);
    }

    /// Writes the events of an item. `None`: it is not understood.
    fn item(&mut self, index: usize, item: &Value) -> Option<()> {
        let (lists, text): (&[&str], _) = match tree::text(item, "type")? {
            "message" => (&["content"], None),
            "reasoning" => (&["summary", "content"], None),
            "function_call" => (&[], Some(("response.function_call_arguments", "arguments"))),
            "custom_tool_call" => (&[], Some(("response.custom_tool_call_input", "input"))),
            _ => return None,
        };
        let mut begun = item.as_object()?.clone();
        if let Some(status) = begun.get_mut("status").filter(|status| status.is_string()) {
            *status = "in_progress".into();
        }
        for list in lists {
            if let Some(parts) = begun.get_mut(*list).filter(|parts| !parts.is_null()) {
                *parts = json!([]);
            }
        }
        if let Some((_, text)) = text {
            *begun.get_mut(text)? = "".into();
        }
        let id = tree::text(item, "id").unwrap_or_default();
        if id.len() > events::MAX_REPEATED_BYTES {
            return None;
        }
        let place = json!({"item_id": id, "output_index": index});
        self.push(
            "response.output_item.added",
            json!({"output_index": index, "item": begun}),
        );
        for list in lists {
            self.parts(&place, list, item.get(list))?;
        }
        if let Some((name, member)) = text {
            let text = tree::text(item, member)?;
            self.text(&place, &format!("{name}.delta"), "delta", text);
            self.text(&place, &format!("{name}.done"), member, text);
        }
        self.push(
            "response.output_item.done",
            json!({"output_index": index, "item": item}),
        );
        Some(())
    }

    fn text(&mut self, place: &Value, name: &str, member: &str, text: &str) {
        let mut event = place.clone();
        event[member] = text.into();
        self.push(name, event);
    }

    fn parts(&mut self, place: &Value, list: &str, parts: Option<&Value>) -> Option<()> {
        let parts = match parts {
            Some(Value::Array(parts)) => parts,
            None | Some(Value::Null) => return Some(()),
            Some(_) => return None,
        };
        for (index, part) in parts.iter().enumerate() {
            let events = PartEvents::of(list, tree::text(part, "type")?)?;
            let mut place = place.clone();
            place[events.index] = index.into();
            self.part(&place, &events, part)?;
        }
        Some(())
    }

    fn part(&mut self, place: &Value, events: &PartEvents, part: &Value) -> Option<()> {
        let text = tree::text(part, events.text)?;
        let mut begun = part.clone();
        begun[events.text] = "".into();
        for list in ["annotations", "logprobs"] {
            if let Some(list) = begun.get_mut(list).filter(|list| list.is_array()) {
                *list = json!([]);
            }
        }
        let with = |members: Value| {
            let mut event = place.clone();
            if let (Some(event), Value::Object(members)) = (event.as_object_mut(), members) {
                event.extend(members);
            }
            event
        };
        self.push(events.added, with(json!({"part": begun})));
        let mut delta = with(json!({"delta": text}));
        let mut done = with(json!({events.text: text}));
        if events.delta == "response.output_text.delta" {
            let logprobs = part.get("logprobs").filter(|list| list.is_array());
            let logprobs = logprobs.cloned().unwrap_or(json!([]));
            delta["logprobs"] = logprobs.clone();
            done["logprobs"] = logprobs;
        }
        if !text.is_empty() {
            self.push(events.delta, delta);
        }
        let annotations = part.get("annotations").and_then(Value::as_array);
        for (index, annotation) in annotations.into_iter().flatten().enumerate() {
            let event = json!({"annotation_index": index, "annotation": annotation});
            self.push("response.output_text.annotation.added", with(event));
        }
        self.push(events.text_done, done);
        self.push(events.done, with(json!({"part": part})));
        Some(())
    }
}

#[cfg(test)]
#[path = "responses_tests.rs"]
mod tests;
