//! Answers made of `choices`, those of `chat/completions` and of `completions`, as JSON and as chunks.
//!
//! Chunks are merged as the official SDKs do it. What a choice says is in the [`Said`] of its call.

use super::tree::{self, Members, Merge, add};
use super::{Verdict, events};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Generated part of a choice, put together from pieces.
pub(super) trait Said: Default {
    /// `object` of a whole answer.
    const WHOLE: &str;
    /// `object` of a chunk.
    const CHUNK: &str;
    /// Member of a choice in a whole answer.
    const MEMBER: &str;
    /// Member of a choice in a chunk.
    const PIECE: &str;

    fn judge(said: Option<&Value>) -> Verdict;

    /// Adds a piece. `None`: it is not understood.
    fn add(&mut self, piece: Value) -> Option<()>;

    fn whole(self) -> Value;

    /// Returns all of what a choice says as one piece. `None`: it is not understood.
    fn as_piece(said: Option<Value>) -> Option<Value>;

    /// Returns the piece of a chunk that says nothing.
    fn empty_piece() -> Value;
}

/// Members that every chunk of a stream repeats.
const FRAME: &[&str] = &[
    "id",
    "object",
    "created",
    "model",
    "provider",
    "service_tier",
    "system_fingerprint",
];

pub(super) fn judge<S: Said>(answer: &[u8]) -> Verdict {
    let choices = tree::object(answer).and_then(|mut answer| answer.shift_remove("choices"));
    let Some(Value::Array(choices)) = choices else {
        return Verdict::Unfit;
    };
    let verdicts = choices.iter().map(|choice| {
        if tree::is_error(choice.get("error")) {
            return Verdict::Unfit;
        }
        finish(choice).max(S::judge(choice.get(S::MEMBER)))
    });
    verdicts.max().unwrap_or(Verdict::Unfit)
}

fn finish(choice: &Value) -> Verdict {
    match tree::text(choice, "finish_reason") {
        Some("stop") => Verdict::Whole,
        Some("tool_calls" | "function_call") => Verdict::CallsTools,
        Some("length") => Verdict::Truncated,
        Some("content_filter") => Verdict::Refused,
        _ => Verdict::Unfit,
    }
}

pub(super) fn assemble<S: Said>(stream: &[u8]) -> Option<Vec<u8>> {
    let mut assembly = Assembly::<S>::default();
    let is_done = events::read(stream, |chunk| assembly.chunk(chunk))?;
    let mut choices = assembly.choices.values();
    if !is_done
        && !choices.all(|choice| {
            choice
                .rest
                .get("finish_reason")
                .is_some_and(Value::is_string)
        })
    {
        return None;
    }
    tree::write(assembly.whole()?)
}

/// Answer that is put together from chunks.
#[derive(Default)]
struct Assembly<S> {
    answer: Members,
    choices: BTreeMap<u64, Pieces<S>>,
}

/// Choice that is put together from chunks.
#[derive(Default)]
struct Pieces<S> {
    said: S,
    rest: Members,
}

impl<S: Said> Assembly<S> {
    fn chunk(&mut self, chunk: Members) -> Option<()> {
        for (name, value) in chunk {
            let merge = match name.as_str() {
                "choices" => {
                    self.choices(value)?;
                    continue;
                }
                "object" => {
                    let known = [S::CHUNK, S::WHOLE, ""];
                    if !value.is_null() && !value.as_str().is_some_and(|kind| known.contains(&kind))
                    {
                        return None;
                    }
                    self.answer.insert(name, S::WHOLE.into());
                    continue;
                }
                // A random padding, and an error that is none.
                "obfuscation" | "error" => continue,
                "usage" if !matches!(value, Value::Null | Value::Object(_)) => return None,
                "usage" | "service_tier" | "system_fingerprint" => Merge::Last,
                "id" | "model" => Merge::Same,
                "created" => Merge::First,
                _ => Merge::of_unknown(&value),
            };
            add(&mut self.answer, name, value, merge)?;
        }
        Some(())
    }

    fn choices(&mut self, choices: Value) -> Option<()> {
        let choices = match choices {
            Value::Null => return Some(()),
            Value::Array(choices) => choices,
            _ => return None,
        };
        for choice in choices {
            let Value::Object(choice) = choice else {
                return None;
            };
            let index = match choice.get("index") {
                None | Some(Value::Null) => 0,
                Some(index) => index.as_u64()?,
            };
            self.choices.entry(index).or_default().add(choice)?;
        }
        Some(())
    }

    /// Returns the whole answer. `None`: it has no choices, or some are missing.
    fn whole(mut self) -> Option<Members> {
        let all = u64::try_from(self.choices.len()).ok()?;
        let is_complete = self.choices.keys().copied().eq(0..all);
        if all == 0 || !is_complete {
            return None;
        }
        lift_usage(&mut self.answer);
        let choices = self.choices.into_iter().map(|(index, pieces)| {
            let mut choice = Members::new();
            choice.insert("index".to_owned(), index.into());
            choice.insert(S::MEMBER.to_owned(), pieces.said.whole());
            choice.extend(pieces.rest);
            let reason = choice.shift_remove("finish_reason").unwrap_or_default();
            choice.insert("finish_reason".to_owned(), reason);
            Value::Object(choice)
        });
        let choices = choices.collect();
        self.answer.insert("object".to_owned(), S::WHOLE.into());
        let usage = self.answer.shift_remove("usage");
        self.answer.insert("choices".to_owned(), choices);
        if let Some(usage) = usage.filter(Value::is_object) {
            self.answer.insert("usage".to_owned(), usage);
        }
        Some(self.answer)
    }
}

/// Moves the usage of a stream to its place in a whole answer, from where Groq reports it.
fn lift_usage(answer: &mut Members) {
    if answer.get("usage").is_some_and(Value::is_object) {
        return;
    }
    let groq = answer.get_mut("x_groq").and_then(Value::as_object_mut);
    if let Some(usage) = groq.and_then(|groq| groq.shift_remove("usage")) {
        answer.insert("usage".to_owned(), usage);
    }
}

impl<S: Said> Pieces<S> {
    fn add(&mut self, choice: Members) -> Option<()> {
        for (name, value) in choice {
            match name.as_str() {
                "index" => {}
                "error" if tree::is_error(Some(&value)) => return None,
                "logprobs" => self.logprobs(value)?,
                "finish_reason" => add(&mut self.rest, name, value, Merge::Same)?,
                "token_ids" => add(&mut self.rest, name, value, Merge::List)?,
                name if name == S::PIECE => self.said.add(value)?,
                name if name == S::MEMBER => return None,
                _ => {
                    let merge = Merge::of_unknown(&value);
                    add(&mut self.rest, name, value, merge)?;
                }
            }
        }
        Some(())
    }

    /// Adds the `logprobs` of a piece, whose lists go on.
    fn logprobs(&mut self, piece: Value) -> Option<()> {
        let whole = self.rest.entry("logprobs").or_insert(Value::Null);
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
            add(whole, name, value, Merge::List)?;
        }
        Some(())
    }
}

pub(super) fn stream<S: Said>(answer: &[u8], wants_usage: bool) -> Option<Vec<u8>> {
    let mut answer = tree::object(answer)?;
    let Some(Value::Array(choices)) = answer.shift_remove("choices") else {
        return None;
    };
    let usage = match answer.shift_remove("usage") {
        None | Some(Value::Null) => None,
        usage @ Some(Value::Object(_)) => usage.filter(|_| wants_usage),
        Some(_) => return None,
    };
    match answer.insert("object".to_owned(), S::CHUNK.into()) {
        None | Some(Value::Null) => {}
        Some(kind) if kind == S::WHOLE => {}
        Some(_) => return None,
    }
    if choices.is_empty() || frame_bytes(&answer) > events::MAX_REPEATED_BYTES {
        return None;
    }
    let mut chunks = Chunks {
        out: Vec::new(),
        frame: answer,
        says_usage: usage.is_some(),
    };
    for (index, choice) in choices.into_iter().enumerate() {
        for part in parts::<S>(index, choice)? {
            chunks.push(json!([part]), Value::Null);
        }
    }
    if let Some(usage) = usage {
        chunks.push(json!([]), usage);
    }
    events::push_done(&mut chunks.out);
    Some(chunks.out)
}

/// Returns the length of the members that every chunk repeats.
fn frame_bytes(answer: &Members) -> usize {
    let frame = FRAME.iter().filter_map(|name| answer.get(*name));
    frame.map(|value| value.to_string().len()).sum()
}

/// Chunks of a stream that is written.
struct Chunks {
    out: Vec<u8>,
    /// Members of the next chunk beside `choices` and `usage`. The first chunk has all of them, the others
    /// those of `FRAME`.
    frame: Members,
    /// Whether chunks have a `usage`, null in all but the last one.
    says_usage: bool,
}

impl Chunks {
    fn push(&mut self, choices: Value, usage: Value) {
        let mut chunk = self.frame.clone();
        self.frame.retain(|name, _| FRAME.contains(&name.as_str()));
        chunk.insert("choices".to_owned(), choices);
        if self.says_usage {
            chunk.insert("usage".to_owned(), usage);
        }
        events::push_data(&mut self.out, &Value::Object(chunk));
    }
}

/// Splits a choice into that of a chunk with all that it says, and that of a chunk with its
/// `finish_reason`. `None`: it is not understood.
fn parts<S: Said>(index: usize, choice: Value) -> Option<[Value; 2]> {
    let Value::Object(mut choice) = choice else {
        return None;
    };
    let place = choice.shift_remove("index").unwrap_or(index.into());
    let is_known = place == index && !tree::is_error(choice.get("error"));
    let reason = choice.shift_remove("finish_reason")?;
    if !is_known || !reason.is_string() {
        return None;
    }
    let mut said = json!({"index": index});
    said[S::PIECE] = S::as_piece(choice.shift_remove(S::MEMBER))?;
    let mut end = json!({"index": index});
    end[S::PIECE] = S::empty_piece();
    if let Some(logprobs) = choice.shift_remove("logprobs") {
        said["logprobs"] = logprobs;
        end["logprobs"] = Value::Null;
    }
    said["finish_reason"] = Value::Null;
    end["finish_reason"] = reason;
    end.as_object_mut()?.extend(choice);
    Some([said, end])
}
