//! Answers of `chat/completions`, whose choices say a `message`, kept and given again.
//!
//! Spoken answers are not understood: their sound would have to be put together too.

use super::choices::{self, Said};
use super::tree::{self, Members, Merge, add};
use super::{Replay, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// [`Replay`] of `POST chat/completions`.
pub(crate) struct ChatAnswers;

impl Replay for ChatAnswers {
    fn judge(&self, answer: &[u8]) -> Verdict {
        choices::judge::<Spoken>(answer)
    }

    fn assemble(&self, stream: &[u8]) -> Option<Vec<u8>> {
        choices::assemble::<Spoken>(stream)
    }

    fn stream(&self, answer: &[u8], wants_usage: bool) -> Option<Vec<u8>> {
        choices::stream::<Spoken>(answer, wants_usage)
    }
}

/// Members of a message that are texts.
const TEXTS: &[&str] = &[
    "content",
    "refusal",
    "reasoning",
    "reasoning_content",
    "thinking",
];

/// Members that show tools which the provider itself ran.
const HOSTED: &[&str] = &["executed_tools", "tool_results"];

/// `message` of one choice.
#[derive(Default)]
struct Spoken {
    members: Members,
    tool_calls: Indexed,
    /// OpenRouter's `reasoning_details`.
    reasoning: Indexed,
}

/// Elements of a list whose pieces name their `index`.
type Indexed = BTreeMap<u64, Members>;

impl Said for Spoken {
    const WHOLE: &str = "chat.completion";
    const CHUNK: &str = "chat.completion.chunk";
    const MEMBER: &str = "message";
    const PIECE: &str = "delta";

    fn judge(said: Option<&Value>) -> Verdict {
        let Some(Value::Object(message)) = said else {
            return Verdict::Unfit;
        };
        let verdicts = message.iter().map(|(name, value)| member(name, value));
        verdicts.max().unwrap_or(Verdict::Unfit)
    }

    fn add(&mut self, piece: Value) -> Option<()> {
        let piece = match piece {
            Value::Null => return Some(()),
            Value::Object(piece) => piece,
            _ => return None,
        };
        for (name, value) in piece {
            let members = &mut self.members;
            match name.as_str() {
                name if TEXTS.contains(&name) => add(members, name.to_owned(), value, Merge::Text)?,
                "annotations" => add(members, name, value, Merge::List)?,
                "audio" if !value.is_null() => return None,
                "tool_calls" => {
                    let elements = list_in(members, name, value)?;
                    add_indexed(&mut self.tool_calls, elements, tool_call)?;
                }
                "reasoning_details" => {
                    let elements = list_in(members, name, value)?;
                    add_indexed(&mut self.reasoning, elements, reasoning_detail)?;
                }
                "function_call" => add_nested(members, name, value)?,
                "role" => add(members, name, value, Merge::Same)?,
                _ => {
                    let merge = Merge::of_unknown(&value);
                    add(members, name, value, merge)?;
                }
            }
        }
        Some(())
    }

    fn whole(mut self) -> Value {
        let mut message = Members::new();
        let role = self.members.shift_remove("role").filter(Value::is_string);
        message.insert("role".to_owned(), role.unwrap_or("assistant".into()));
        let content = self.members.shift_remove("content").unwrap_or_default();
        message.insert("content".to_owned(), content);
        message.extend(self.members);
        if !self.tool_calls.is_empty() {
            let calls = self.tool_calls.into_values().map(|mut call| {
                call.shift_remove("index");
                Value::Object(call)
            });
            message.insert("tool_calls".to_owned(), calls.collect());
        }
        if !self.reasoning.is_empty() {
            let details = self.reasoning.into_values().map(Value::Object);
            message.insert("reasoning_details".to_owned(), details.collect());
        }
        Value::Object(message)
    }

    fn as_piece(said: Option<Value>) -> Option<Value> {
        let Some(Value::Object(mut message)) = said else {
            return None;
        };
        let has_sound = message.get("audio").is_some_and(|audio| !audio.is_null());
        let mut texts = TEXTS.iter().map(|name| message.get(*name));
        if has_sound || !texts.all(tree::is_text_or_null) {
            return None;
        }
        let role = message.entry("role").or_insert("assistant".into());
        if !role.is_string() {
            return None;
        }
        match message.get_mut("tool_calls") {
            None | Some(Value::Null) => {}
            Some(Value::Array(calls)) => {
                for (index, call) in calls.iter_mut().enumerate() {
                    let mut piece = json!({"index": index});
                    call.as_object_mut()?.shift_remove("index");
                    piece.as_object_mut()?.append(call.as_object_mut()?);
                    *call = piece;
                }
            }
            Some(_) => return None,
        }
        Some(Value::Object(message))
    }

    fn empty_piece() -> Value {
        json!({})
    }
}

fn member(name: &str, value: &Value) -> Verdict {
    if value.is_null() {
        return Verdict::Whole;
    }
    match (name, value) {
        ("role", Value::String(role)) if role == "assistant" => Verdict::Whole,
        ("role" | "audio", _) => Verdict::Unfit,
        ("refusal", Value::String(_)) => Verdict::Refused,
        (name, value) if TEXTS.contains(&name) => match value {
            Value::String(_) => Verdict::Whole,
            _ => Verdict::Unfit,
        },
        ("tool_calls", Value::Array(calls)) if calls.is_empty() => Verdict::Whole,
        ("tool_calls", Value::Array(_)) | ("function_call", Value::Object(_)) => {
            Verdict::CallsTools
        }
        ("tool_calls" | "function_call", _) => Verdict::Unfit,
        (name, _) if HOSTED.contains(&name) => Verdict::CallsTools,
        _ => Verdict::Whole,
    }
}

/// Marks that the list `name` is there, and returns the elements of its piece.
fn list_in(members: &mut Members, name: String, piece: Value) -> Option<Vec<Value>> {
    match piece {
        Value::Null => {
            members.entry(name).or_insert(Value::Null);
            Some(Vec::new())
        }
        Value::Array(elements) => {
            members.insert(name, json!([]));
            Some(elements)
        }
        _ => None,
    }
}

/// Adds pieces to the elements that they name, each member by `add_member`.
fn add_indexed(
    into: &mut Indexed,
    pieces: Vec<Value>,
    add_member: fn(&mut Members, String, Value) -> Option<()>,
) -> Option<()> {
    for piece in pieces {
        let Value::Object(piece) = piece else {
            return None;
        };
        let index = piece.get("index").and_then(Value::as_u64)?;
        let element = into.entry(index).or_default();
        for (name, value) in piece {
            add_member(element, name, value)?;
        }
    }
    Some(())
}

fn tool_call(call: &mut Members, name: String, piece: Value) -> Option<()> {
    match name.as_str() {
        "function" | "custom" => add_nested(call, name, piece),
        _ => {
            let merge = Merge::of_unknown(&piece);
            add(call, name, piece, merge)
        }
    }
}

/// Adds a piece of a called function. Its arguments come in pieces, its name whole.
fn add_nested(into: &mut Members, name: String, piece: Value) -> Option<()> {
    let whole = into.entry(name).or_insert(Value::Null);
    let piece = match piece {
        Value::Null => return Some(()),
        Value::Object(piece) => piece,
        _ => return None,
    };
    if whole.is_null() {
        *whole = json!({});
    }
    let whole = whole.as_object_mut()?;
    for (name, value) in piece {
        let merge = match name.as_str() {
            "arguments" | "input" => Merge::Text,
            _ => Merge::of_unknown(&value),
        };
        add(whole, name, value, merge)?;
    }
    Some(())
}

fn reasoning_detail(detail: &mut Members, name: String, piece: Value) -> Option<()> {
    let merge = match name.as_str() {
        "text" | "summary" | "data" => Merge::Text,
        _ => Merge::of_unknown(&piece),
    };
    add(detail, name, piece, merge)
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
