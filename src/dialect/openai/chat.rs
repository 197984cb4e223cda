//! `POST chat/completions`: reads a call, rewrites it for an endpoint, meters its answer.
//!
//! The body is validated as JSON in one pass and never built as a tree; what must change is spliced
//! into its text.

use crate::dialect::call::{
    self, Api, Bounds, Call, Changes, Generated, Reading, Unreadable, Usage,
};
use crate::dialect::splice::Splice;
use crate::dialect::{Dialect, Meter, prompt, sse};
use crate::json::{self, Member};
use crate::rules::amount::Tokens;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

/// The members that matter. A member that is written twice is refused by serde: a body must not
/// mean one thing here and another at the provider.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    stream: Option<bool>,
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    max_completion_tokens: Option<&'a RawValue>,
    n: Option<u64>,
}

/// The members that the gateway itself reads or writes.
const KNOWN: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
];

/// Members that no model reads. Everything else is taken for a part of the prompt.
const NOT_PROMPT: &[&str] = &[
    "messages",
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "user",
    "metadata",
    "store",
    "service_tier",
    "parallel_tool_calls",
    "reasoning_effort",
    "verbosity",
    "modalities",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
];

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

fn parse(body: &[u8]) -> Result<(&str, Body<'_>), Unreadable> {
    let text =
        std::str::from_utf8(body).map_err(|_| Unreadable("The body is not UTF-8".to_owned()))?;
    let unreadable =
        |error: serde_json::Error| Unreadable(format!("The body cannot be read: {error}"));
    // An array would be read as the members in their order.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Unreadable("The body is not a JSON object".to_owned()));
    }
    let body = serde_json::from_str(text).map_err(unreadable)?;
    let (members, _) = json::members(text).unwrap_or_default();
    // A name in disguise would be one member here and another at a provider that reads names
    // loosely: then the limit that is paid for would not be the one that holds.
    for Member { name, .. } in &members {
        if name.contains('\\') {
            return Err(Unreadable(
                "The body's member names must be written without escapes".to_owned(),
            ));
        }
        let known = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(name));
        if let Some(known) = known.filter(|known| *known != name) {
            return Err(Unreadable(format!("{name} must be written {known}")));
        }
    }
    Ok((text, body))
}

fn number(value: Option<&RawValue>, name: &str) -> Result<Option<u64>, Unreadable> {
    let wrong = || Unreadable(format!("{name} must be a whole number from 1"));
    match value.map(RawValue::get) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| *n > 0)
            .map(Some)
            .ok_or_else(wrong),
    }
}

pub struct Chat;

impl Dialect for Chat {
    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn path(&self) -> &'static str {
        "chat/completions"
    }

    fn read(&self, body: &call::Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        read(body.bytes, bounds)
    }

    fn rewrite(&self, body: &call::Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        rewrite(body.bytes, changes)
    }

    fn meter(&self, answer: &[u8]) -> Reading {
        meter(answer)
    }

    fn stream(&self, call: &Call) -> Box<dyn Meter> {
        Box::new(StreamMeter::new(call.wants_usage))
    }
}

fn read(bytes: &[u8], bounds: &Bounds) -> Result<Call, Unreadable> {
    let (text, body) = parse(bytes)?;
    let model = match body.model {
        None => None,
        Some(raw) => Some(
            serde_json::from_str(raw.get())
                .map_err(|_| Unreadable("model must be a string".to_owned()))?,
        ),
    };
    let options: Option<StreamOptions> = body
        .stream_options
        .map(|raw| serde_json::from_str(raw.get()))
        .transpose()
        .map_err(|error| Unreadable(format!("stream_options cannot be read: {error}")))?;
    let messages = body.messages.map_or("[]", RawValue::get);
    let count = serde_json::from_str::<Vec<&RawValue>>(messages)
        .map_err(|_| Unreadable("messages must be a list".to_owned()))?
        .len();
    let (members, _) = json::members(text).unwrap_or_default();
    // Whatever is not known to be no part of the prompt counts as one.
    let others = members
        .iter()
        .filter(|member| !NOT_PROMPT.contains(&member.name));
    let others: usize = others.map(|member| member.value.len()).sum();
    let prompt =
        prompt::text_bytes(messages, bounds.image) + prompt::message_frames(count) + others as u64;
    let limits = (
        number(body.max_completion_tokens, "max_completion_tokens")?,
        number(body.max_tokens, "max_tokens")?,
    );
    Ok(Call {
        model,
        stream: body.stream.unwrap_or(false),
        wants_usage: options
            .and_then(|options| options.include_usage)
            .unwrap_or(false),
        limit: limits.0.max(limits.1),
        answers: body.n.unwrap_or(1).max(1),
        prompt: Tokens::new(prompt),
        ..Call::default()
    })
}

/// The body that leaves for the provider. A stream is always asked to report its usage.
fn rewrite(bytes: &[u8], changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
    let (text, body) = parse(bytes)?;
    let (members, _) = json::members(text).unwrap_or_default();
    let mut edit = Edit {
        splice: Splice::default(),
        added: Vec::new(),
        members: &members,
    };
    if let Some(model) = changes.model {
        edit.set("model", &serde_json::Value::from(model).to_string());
    }
    if let Some(limit) = changes.limit {
        let tokens = limit.tokens.to_string();
        let given = [
            body.max_completion_tokens.map(|_| "max_completion_tokens"),
            body.max_tokens.map(|_| "max_tokens"),
        ];
        for name in given.iter().flatten() {
            edit.set(name, &tokens);
        }
        if given.iter().all(Option::is_none) || (limit.always && !given.contains(&Some(limit.name)))
        {
            edit.set(limit.name, &tokens);
        }
    }
    if body.stream == Some(true) {
        match body.stream_options {
            None => edit.set("stream_options", "{\"include_usage\":true}"),
            Some(raw) => include_usage(&mut edit.splice, raw.get(), place(text, raw).start),
        }
    }
    Ok(edit.apply(text))
}

/// Members to be set: where they stand, or else before all others.
struct Edit<'a> {
    splice: Splice,
    added: Vec<String>,
    members: &'a [Member<'a>],
}

impl Edit<'_> {
    fn set(&mut self, name: &str, value: &str) {
        match json::member(self.members, name) {
            Some(member) => self.splice.put(member.value.clone(), value),
            None => self.added.push(format!("\"{name}\":{value}")),
        }
    }

    fn apply(mut self, text: &str) -> Vec<u8> {
        if !self.added.is_empty() {
            let start = text.find('{').map_or(0, |brace| brace + 1);
            let comma = if self.members.is_empty() { "" } else { "," };
            self.splice
                .put(start..start, format!("{}{comma}", self.added.join(",")));
        }
        self.splice.apply(text.as_bytes())
    }
}

fn include_usage(splice: &mut Splice, options: &str, at: usize) {
    let Some((members, end)) = json::members(options) else {
        return;
    };
    match json::member(&members, "include_usage") {
        Some(member) => splice.put(at + member.value.start..at + member.value.end, "true"),
        None => {
            let comma = if members.is_empty() { "" } else { "," };
            splice.put(at + end..at + end, format!("{comma}\"include_usage\":true"));
        }
    }
}

/// Where a borrowed value stands in the text it was borrowed from.
fn place(text: &str, raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr() as usize - text.as_ptr() as usize;
    start..start + raw.get().len()
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
struct Choice<'a> {
    #[serde(borrow)]
    message: Option<Said<'a>>,
    #[serde(borrow)]
    delta: Option<Said<'a>>,
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

fn collect(choices: &[Choice<'_>], text: &mut Generated) {
    let mut push = |part: &Option<Cow<'_, str>>| text.push(part.as_deref().unwrap_or_default());
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

#[derive(Deserialize)]
struct Counted {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

/// `prompt_tokens` includes what came from the cache, `completion_tokens` the reasoning.
fn usage(text: &str) -> Option<Usage> {
    let counted: Counted = serde_json::from_str(text).ok()?;
    if counted.prompt_tokens.is_none() && counted.completion_tokens.is_none() {
        return None;
    }
    let cached = counted
        .prompt_tokens_details
        .and_then(|details| details.cached_tokens);
    let input = Tokens::new(counted.prompt_tokens.unwrap_or(0));
    let cache_read = Tokens::new(cached.unwrap_or(0)).min(input);
    Some(Usage {
        uncached_input: input.minus(cache_read),
        cache_read,
        // What was written into a cache is a part of the uncached input here.
        cache_write: Tokens::ZERO,
        output: Tokens::new(counted.completion_tokens.unwrap_or(0)),
    })
}

fn meter(answer: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(answer) else {
        reading.text.push(&String::from_utf8_lossy(answer));
        return reading;
    };
    reading.usage = answer.usage.and_then(|raw| usage(raw.get()));
    reading.complete = true;
    collect(&answer.choices.unwrap_or_default(), &mut reading.text);
    reading
}

/// Meters a stream as it passes, and takes out what the client did not ask for.
#[derive(Debug, Default)]
struct StreamMeter {
    splitter: sse::Splitter,
    wants_usage: bool,
    reading: Reading,
}

impl StreamMeter {
    fn new(wants_usage: bool) -> StreamMeter {
        StreamMeter {
            wants_usage,
            ..StreamMeter::default()
        }
    }
}

impl Meter for StreamMeter {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let (reading, wants_usage) = (&mut self.reading, self.wants_usage);
        self.splitter
            .feed(bytes, |event| pass(event, wants_usage, reading, &mut out));
        out
    }

    fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let (reading, wants_usage) = (&mut self.reading, self.wants_usage);
        self.splitter
            .finish(|event| pass(event, wants_usage, reading, &mut out));
        out
    }

    fn reading(&self) -> &Reading {
        &self.reading
    }
}

fn pass(event: &[u8], wants_usage: bool, reading: &mut Reading, out: &mut Vec<u8>) {
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
    let counted = chunk.usage.and_then(|raw| usage(raw.get()));
    reading.usage = counted.or(reading.usage);
    reading.complete |= chunk.error.is_some();
    let choices = chunk.choices.unwrap_or_default();
    collect(&choices, &mut reading.text);
    if wants_usage {
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

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
