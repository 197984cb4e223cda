//! Answers that are made of choices: those of `chat/completions` and of `completions`.
//!
//! A stream is always asked to report its usage; what its client did not ask for is taken out again
//! and everything else is passed on byte for byte.

use super::usage;
use crate::dialect::call::{Generated, Reading, Unreadable};
use crate::dialect::object::{Edit, Object};
use crate::dialect::sse;
use crate::dialect::stream::{EventStream, Events};
use crate::json;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

/// Whether the client asked for a stream's usage itself.
pub fn wants_usage(body: &Object<'_>) -> Result<bool, Unreadable> {
    match body.value("stream_options") {
        Some(options) => stream_options(options)?.flag("include_usage"),
        None => Ok(false),
    }
}

/// Asks for a stream's usage, and leaves the other options as they came.
pub fn ask_for_usage(body: &Object<'_>, edit: &mut Edit<'_>) -> Result<(), Unreadable> {
    let asked = match body.value("stream_options") {
        None => "{\"include_usage\":true}".to_owned(),
        Some(value) => {
            let options = stream_options(value)?;
            let mut edit = Edit::new(&options);
            edit.set("include_usage", "true");
            String::from_utf8_lossy(&edit.apply()).into_owned()
        }
    };
    edit.set("stream_options", &asked);
    Ok(())
}

fn stream_options(value: &RawValue) -> Result<Object<'_>, Unreadable> {
    Object::read(value.get(), "stream_options", &["include_usage"], |_, _| {})
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub struct Choice<'a> {
    #[serde(borrow)]
    message: Option<Said<'a>>,
    #[serde(borrow)]
    delta: Option<Said<'a>>,
    /// What `completions` generates.
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

/// Everything in a message that a model generates.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<Cow<'a, str>>,
}

pub fn collect(choices: &[Choice<'_>], text: &mut Generated) {
    let mut push = |part: &Option<Cow<'_, str>>| text.push(part.as_deref().unwrap_or_default());
    choices.iter().for_each(|choice| push(&choice.text));
    for said in choices
        .iter()
        .flat_map(|choice| [&choice.message, &choice.delta])
        .flatten()
    {
        push(&said.content);
        push(&said.refusal);
        push(&said.reasoning_content);
        push(&said.reasoning);
        let tools = said
            .tool_calls
            .iter()
            .flatten()
            .filter_map(|call| call.function.as_ref());
        for function in tools.chain(&said.function_call) {
            push(&function.name);
            push(&function.arguments);
        }
    }
}

pub fn meter(answer: &[u8]) -> Reading {
    let mut reading = Reading::default();
    // What says itself what it cost is not read any further.
    let usage = json::value(answer, "usage").and_then(|value| std::str::from_utf8(value).ok());
    reading.usage = usage.and_then(usage::read);
    if reading.usage.is_some() {
        reading.complete = true;
        return reading;
    }
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(answer) else {
        reading.text.push(&String::from_utf8_lossy(answer));
        return reading;
    };
    reading.complete = true;
    collect(&answer.choices.unwrap_or_default(), &mut reading.text);
    reading
}

/// Meters a stream as it passes, and takes out what the client did not ask for.
pub type StreamMeter = EventStream<Chunks>;

#[derive(Debug, Default)]
pub struct Chunks {
    wants_usage: bool,
    reading: Reading,
}

impl StreamMeter {
    pub fn new(wants_usage: bool) -> StreamMeter {
        EventStream::of(Chunks {
            wants_usage,
            ..Chunks::default()
        })
    }
}

impl Events for Chunks {
    fn pass(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let reading = &mut self.reading;
        let data = sse::data(event).unwrap_or_default();
        if data.trim_ascii() == b"[DONE]" {
            reading.complete = true;
        }
        let text = std::str::from_utf8(&data).unwrap_or_default();
        let Ok(chunk) = serde_json::from_str::<Answer<'_>>(text) else {
            out.extend_from_slice(event);
            return;
        };
        // Some servers report in every chunk what they have counted so far: the last word counts.
        let counted = chunk.usage.and_then(|raw| usage::read(raw.get()));
        reading.usage = counted.or(reading.usage);
        reading.complete |= chunk.error.is_some();
        let choices = chunk.choices.unwrap_or_default();
        collect(&choices, &mut reading.text);
        if self.wants_usage {
            out.extend_from_slice(event);
        } else if choices.is_empty() && counted.is_some() {
            // Asked for by the gateway, not by the client, whose code may index the empty choices.
        } else if let Some(range) = null_usage(event) {
            out.extend_from_slice(&event[..range.start]);
            out.extend_from_slice(&event[range.end..]);
        } else {
            out.extend_from_slice(event);
        }
    }

    fn reading(&self) -> &Reading {
        &self.reading
    }
}

/// Where `"usage":null` and its comma stand in an event that is one line of data.
fn null_usage(event: &[u8]) -> Option<Range<usize>> {
    let text = std::str::from_utf8(event).ok()?;
    let start = text.find('{')?;
    let (members, _) = json::members(&text[start..])?;
    let at = members.iter().position(|member| member.name == "usage")?;
    let member = &members[at];
    if &text[start..][member.value.clone()] != "null" {
        return None;
    }
    let range = match at.checked_sub(1) {
        Some(before) => members[before].whole.end..member.whole.end,
        None => {
            member.whole.start
                ..members
                    .get(1)
                    .map_or(member.whole.end, |next| next.whole.start)
        }
    };
    Some(start + range.start..start + range.end)
}
