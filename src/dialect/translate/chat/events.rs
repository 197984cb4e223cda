//! Streams of `chat/completions`, read into pieces and written from them.

use super::super::conversation::{CallFacts, ContentPart, Input, Json};
use super::super::reply::{Opened, Parts, Piece, ReadEvents, Stop, TokenCounts, WriteEvents};
use super::super::written::{ObjectText, push_data};
use super::answer;
use serde_json::Value;
use std::collections::HashSet;

/// Call of a tool that is being streamed.
#[derive(Debug, Default)]
struct CalledTool {
    place: u64,
    id: String,
    name: String,
    /// JSON text of its input so far.
    input: String,
}

impl CalledTool {
    /// Whether a piece with this place, and with this ID if it has any, belongs to the call.
    fn is_at(&self, place: u64, id: Option<&String>) -> bool {
        self.place == place && id.is_none_or(|id| *id == self.id)
    }
}

/// Reads chunks into pieces.
#[derive(Debug, Default)]
pub(crate) struct ChunkReader {
    has_begun: bool,
    has_ended: bool,
    parts: Parts,
    /// Call that is open.
    call: CalledTool,
    /// Calls that began before the one that is open was whole. They follow when everything has come.
    waiting: Vec<CalledTool>,
    /// Places of the calls that have begun.
    begun: HashSet<u64>,
    count: usize,
    stop: Option<Stop>,
    usage: Option<TokenCounts>,
}

impl ReadEvents for ChunkReader {
    fn read(&mut self, data: &[u8], out: &mut Vec<Piece>) {
        if self.has_ended {
            return;
        }
        if data.trim_ascii() == b"[DONE]" {
            // Some servers give no reason.
            self.stop.get_or_insert(Stop::End);
            self.end(out);
            return;
        }
        let Ok(chunk) = serde_json::from_slice::<Value>(data) else {
            self.fail("The provider sent an event that cannot be read", out);
            return;
        };
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            let message = error.get("message").and_then(Value::as_str);
            self.fail(message.unwrap_or("The provider reported an error"), out);
            return;
        }
        if let Some(usage) = chunk.get("usage").and_then(answer::usage) {
            self.usage = Some(usage);
        }
        if !self.has_begun {
            self.has_begun = true;
            let text = |name: &str| chunk.get(name).and_then(Value::as_str).unwrap_or_default();
            out.push(Piece::Start {
                id: text("id").to_owned(),
                model: text("model").to_owned(),
                usage: None,
            });
        }
        let choices = chunk.get("choices").and_then(Value::as_array);
        if let Some(choice) = choices.and_then(|choices| choices.first()) {
            if let Some(usage) = choice.get("usage").and_then(answer::usage) {
                self.usage = Some(usage);
            }
            self.choice(choice, out);
        }
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        if self.has_ended {
            return;
        }
        let Some(stop) = self.stop.take() else {
            self.fail("The provider ended its stream early", out);
            return;
        };
        self.has_ended = true;
        self.tell_waiting(out);
        self.parts.close(out);
        let is_call = stop == Stop::End && self.count > 0;
        let stop = if is_call { Stop::Calls } else { stop };
        out.push(Piece::Stop(stop, self.usage));
    }
}

impl ChunkReader {
    fn fail(&mut self, message: &str, out: &mut Vec<Piece>) {
        self.has_ended = true;
        out.push(Piece::failed(502, message));
    }

    fn choice(&mut self, choice: &Value, out: &mut Vec<Piece>) {
        let delta = choice.get("delta").unwrap_or(&Value::Null);
        let text = |name: &str| {
            let text = delta.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        if choice.get("index").and_then(Value::as_u64).unwrap_or(0) != 0 {
            self.fail("The provider answered with several choices", out);
            return;
        }
        if let Some(thought) = text("reasoning_content").or_else(|| text("reasoning")) {
            self.parts.more(Opened::Thinking, thought, out);
        }
        if let Some(content) = delta.get("content") {
            self.parts
                .more(Opened::Thinking, answer::thinking_of(content), out);
            self.parts.more(Opened::Text, answer::text_of(content), out);
        }
        if let Some(refusal) = text("refusal") {
            self.parts.more(Opened::Refusal, refusal, out);
        }
        for call in delta
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            self.call(call, out);
            if self.has_ended {
                return;
            }
        }
        if delta.get("function_call").is_some_and(Value::is_object) {
            let message = "The provider answered with a function_call, which cannot be carried";
            self.fail(message, out);
            return;
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.stop = Some(answer::stop(Some(reason)));
        }
    }

    /// Tells the calls that wait.
    fn tell_waiting(&mut self, out: &mut Vec<Piece>) {
        for call in self.waiting.drain(..) {
            let CalledTool {
                id, name, input, ..
            } = call;
            self.parts.begin(Opened::Call { id, name }, out);
            if !input.is_empty() {
                out.push(Piece::More(input));
            }
        }
    }

    /// Reads a piece of a call. One with another place or another ID begins the next call: some servers count none.
    fn call(&mut self, call: &Value, out: &mut Vec<Piece>) {
        let place = call.get("index").and_then(Value::as_u64).unwrap_or(0);
        let text = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let id = text(call.get("id"));
        let function = call.get("function").unwrap_or(&Value::Null);
        let more = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(object) => object.to_string(),
        };
        let is_open = matches!(self.parts.open(), Some(Opened::Call { .. }));
        if is_open && self.call.is_at(place, id.as_ref()) {
            self.add(more, out);
            return;
        }
        let mut waiting = self.waiting.iter_mut();
        if let Some(call) = waiting.find(|call| call.is_at(place, id.as_ref())) {
            call.input.push_str(&more);
            return;
        }
        let Some(name) = text(function.get("name")) else {
            self.fail(
                "The provider sent a piece of a tool call that had ended",
                out,
            );
            return;
        };
        if id.is_none() && self.begun.contains(&place) {
            self.fail("The provider sent a tool call twice", out);
            return;
        }
        let id = id.unwrap_or_else(|| format!("call_{}", self.count));
        self.count += 1;
        self.begun.insert(place);
        let next = CalledTool {
            place,
            id,
            name,
            input: String::new(),
        };
        let is_whole = || Json::parse(&self.call.input).is_some();
        if is_open && (!self.waiting.is_empty() || !is_whole()) {
            let input = more;
            self.waiting.push(CalledTool { input, ..next });
            return;
        }
        let (id, name) = (next.id.clone(), next.name.clone());
        self.call = next;
        self.parts.begin(Opened::Call { id, name }, out);
        self.add(more, out);
    }

    /// Adds to the input of the call that is open.
    fn add(&mut self, more: String, out: &mut Vec<Piece>) {
        if !more.is_empty() {
            self.call.input.push_str(&more);
            out.push(Piece::More(more));
        }
    }
}

/// Writes pieces as chunks.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    asked: CallFacts,
    created: u64,
    id: String,
    model: String,
    open: Option<Opened>,
    /// Number of calls that were begun.
    calls: usize,
    /// Input of a call that takes free text, until it is whole.
    free: Option<String>,
}

impl ChunkWriter {
    pub(crate) fn new(asked: CallFacts, created: u64) -> ChunkWriter {
        ChunkWriter {
            asked,
            created,
            id: String::new(),
            model: String::new(),
            open: None,
            calls: 0,
            free: None,
        }
    }

    fn chunk(&self, choices: &[String]) -> ObjectText {
        ObjectText::new()
            .text("id", &self.id)
            .text("object", "chat.completion.chunk")
            .number("created", self.created)
            .text("model", &self.model)
            .list("choices", choices)
    }

    fn push(&self, delta: &str, reason: Option<&str>, out: &mut Vec<u8>) {
        let choice = ObjectText::new()
            .number("index", 0)
            .raw("delta", delta)
            .null("logprobs");
        let choice = match reason {
            Some(reason) => choice.text("finish_reason", reason),
            None => choice.null("finish_reason"),
        };
        let chunk = self.chunk(&[choice.end()]);
        let chunk = match self.asked.wants_usage {
            true => chunk.null("usage"),
            false => chunk,
        };
        push_data(out, &chunk.end());
    }

    fn push_text(&self, name: &str, text: &str, out: &mut Vec<u8>) {
        self.push(&ObjectText::new().text(name, text).end(), None, out);
    }

    fn push_call(&self, call: ObjectText, out: &mut Vec<u8>) {
        let delta = ObjectText::new().list("tool_calls", &[call.end()]);
        self.push(&delta.end(), None, out);
    }

    fn begin_call(&mut self, id: &str, name: &str, out: &mut Vec<u8>) {
        let call = ObjectText::new()
            .number("index", self.calls as u64)
            .text("id", id);
        self.calls += 1;
        if self.asked.is_freeform(name) {
            self.free = Some(String::new());
            let custom = ObjectText::new().text("name", name).text("input", "");
            self.push_call(
                call.text("type", "custom").raw("custom", &custom.end()),
                out,
            );
        } else {
            let function = ObjectText::new().text("name", name).text("arguments", "");
            self.push_call(
                call.text("type", "function")
                    .raw("function", &function.end()),
                out,
            );
        }
    }

    fn more(&mut self, text: &str, out: &mut Vec<u8>) {
        match &self.open {
            Some(Opened::Text) => self.push_text("content", text, out),
            Some(Opened::Thinking) => self.push_text("reasoning_content", text, out),
            Some(Opened::Refusal) => self.push_text("refusal", text, out),
            Some(Opened::Call { .. }) => match &mut self.free {
                Some(free) => free.push_str(text),
                None => {
                    let function = ObjectText::new().text("arguments", text).end();
                    let call = ObjectText::new().number("index", self.calls as u64 - 1);
                    self.push_call(call.raw("function", &function), out);
                }
            },
            None => {}
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.open = None;
        if let Some(free) = self.free.take()
            && let Some(Input::Text(text)) = Input::read(&free, true)
        {
            let custom = ObjectText::new().text("input", &text).end();
            let call = ObjectText::new().number("index", self.calls as u64 - 1);
            self.push_call(call.raw("custom", &custom), out);
        }
    }
}

impl WriteEvents for ChunkWriter {
    fn write(&mut self, piece: Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Start { id, model, .. } => {
                (self.id, self.model) = (id, model);
                let delta = ObjectText::new()
                    .text("role", "assistant")
                    .text("content", "")
                    .null("refusal");
                self.push(&delta.end(), None, out);
            }
            Piece::Open(part) => {
                if let Opened::Call { id, name } = &part {
                    self.begin_call(id, name, out);
                }
                self.open = Some(part);
            }
            Piece::More(text) => self.more(&text, out),
            Piece::Close => self.close(out),
            Piece::Whole(ContentPart::Thinking { text, .. }) => {
                self.push_text("reasoning_content", &text, out);
            }
            Piece::Whole(_) | Piece::Signature(_) => {}
            Piece::Stop(stop, usage) => {
                self.push("{}", Some(answer::finish_reason(&stop)), out);
                if let Some(usage) = usage.filter(|_| self.asked.wants_usage) {
                    let chunk = self.chunk(&[]);
                    push_data(out, &chunk.raw("usage", &answer::write_usage(&usage)).end());
                }
                push_data(out, "[DONE]");
            }
            Piece::Ping => out.extend_from_slice(b": keep-alive\n\n"),
            Piece::Failed(failure) => {
                let error = ObjectText::new()
                    .text("message", &failure.message)
                    .text("type", "server_error")
                    .null("param")
                    .text("code", "provider_failed");
                let data = ObjectText::new().raw("error", &error.end());
                out.extend_from_slice(b"event: error\n");
                push_data(out, &data.end());
            }
        }
    }
}
