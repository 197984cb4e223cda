//! Responses of a scripted provider as lists of steps, with ready-made ones for the formats of OpenAI,
//! Anthropic and Gemini.
//!
//! A script is data; `provider.rs` plays it. Steps can come in any order and number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::wire::Headers;

const MODEL: &str = "gpt-4o";
const CLAUDE: &str = "claude-sonnet-4-5";
const GEMINI: &str = "gemini-2.5-flash";

#[derive(Clone, Debug)]
pub enum Step {
    /// Response head. Without `content-length` the body is chunked, one chunk per `Bytes`; with `connection:
    /// close` and no framing, it ends with the connection.
    Head {
        status: u16,
        headers: Headers,
    },
    /// One write, flushed at once.
    Bytes(Vec<u8>),
    /// Counts tokens as generated, shown or not, unless the client has disconnected.
    Generate(u64, Tally),
    Wait(Duration),
    /// Waits without noticing whether the client has disconnected, as a busy provider does.
    Sleep(Duration),
    /// Waits until the client has closed its side, and goes on: the next bytes were on their way.
    WaitUntilLeft,
    WaitUntilReleased(Gate),
    /// Closes the socket at this point.
    Cut,
    /// Sends nothing more until the client disconnects or the test ends.
    Stall,
}

/// Count of generated tokens. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    tokens: Arc<AtomicU64>,
}

impl Tally {
    pub fn add(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, Ordering::AcqRel);
    }

    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Acquire)
    }
}

/// Holds responses back until the test opens it. Clones share the gate.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    open: Arc<AtomicBool>,
}

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Script {
    pub steps: Vec<Step>,
}

impl Script {
    /// An empty script: the connection closes without an answer.
    pub fn new() -> Script {
        Script::default()
    }

    pub fn head(self, status: u16, headers: &[(&str, &str)]) -> Script {
        let headers = headers
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        self.then(Step::Head { status, headers })
    }

    pub fn bytes(self, bytes: impl Into<Vec<u8>>) -> Script {
        self.then(Step::Bytes(bytes.into()))
    }

    pub fn wait(self, time: Duration) -> Script {
        self.then(Step::Wait(time))
    }

    pub fn wait_for(self, gate: &Gate) -> Script {
        self.then(Step::WaitUntilReleased(gate.clone()))
    }

    pub fn cut(self) -> Script {
        self.then(Step::Cut)
    }

    pub fn stall(self) -> Script {
        self.then(Step::Stall)
    }

    pub fn then(mut self, step: Step) -> Script {
        self.steps.push(step);
        self
    }

    /// Inserts a step after `count` pieces of the body.
    pub fn after(mut self, count: usize, step: Step) -> Script {
        let mut bodies = 0;
        let at = self.steps.iter().position(|step| {
            bodies += usize::from(matches!(step, Step::Bytes(_)));
            bodies > count
        });
        self.steps.insert(at.unwrap_or(self.steps.len()), step);
        self
    }

    /// Inserts a step before the head.
    pub fn first(mut self, step: Step) -> Script {
        self.steps.insert(0, step);
        self
    }

    /// Adds a header to every head in the script.
    pub fn header(mut self, name: &str, value: &str) -> Script {
        for step in &mut self.steps {
            if let Step::Head { headers, .. } = step {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        self
    }

    /// Splits the body into writes (and chunks) of `size` bytes, so that events arrive torn apart.
    pub fn split_every(self, size: usize) -> Script {
        let mut steps = Vec::new();
        for step in self.steps {
            match step {
                Step::Bytes(bytes) => {
                    steps.extend(bytes.chunks(size).map(|piece| Step::Bytes(piece.to_vec())));
                }
                other => steps.push(other),
            }
        }
        Script { steps }
    }

    pub fn json(status: u16, value: &Value) -> Script {
        let body = value.to_string();
        let length = body.len().to_string();
        let headers = [
            ("content-type", "application/json"),
            ("content-length", &length),
        ];
        Script::new().head(status, &headers).bytes(body)
    }

    /// Server-sent events; each data value is a chunk.
    pub fn sse<S: AsRef<str>>(events: impl IntoIterator<Item = S>) -> Script {
        let events = events.into_iter();
        Script::stream(events.map(|data| format!("data: {}\n\n", data.as_ref())))
    }

    /// Server-sent events with names, as (event, data).
    pub fn sse_named(events: impl IntoIterator<Item = (&'static str, Value)>) -> Script {
        let events = events.into_iter();
        Script::stream(events.map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")))
    }

    fn stream(frames: impl Iterator<Item = String>) -> Script {
        let headers = [("content-type", "text/event-stream")];
        frames.fold(Script::new().head(200, &headers), |script, frame| {
            script.bytes(frame)
        })
    }

    /// An OpenAI chat completion.
    pub fn chat(text: &str, prompt_tokens: u64, completion_tokens: u64) -> Script {
        let answer = json!({
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": MODEL,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": chat_usage(prompt_tokens, completion_tokens),
        });
        Script::json(200, &answer)
    }

    /// The same as a stream: a chunk with the role, one per text, one with the finish reason, one with the
    /// usage, `[DONE]`.
    pub fn chat_stream(texts: &[&str], prompt_tokens: u64, completion_tokens: u64) -> Script {
        let frame = |choices: Value, usage: Value| {
            json!({
                "id": "chatcmpl-scripted",
                "object": "chat.completion.chunk",
                "created": 1_700_000_000,
                "model": MODEL,
                "choices": choices,
                "usage": usage,
            })
            .to_string()
        };
        let choice = |delta: Value, reason: Value| {
            let choices = json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
            frame(choices, Value::Null)
        };
        let mut events = vec![choice(
            json!({"role": "assistant", "content": ""}),
            Value::Null,
        )];
        for text in texts {
            events.push(choice(json!({"content": text}), Value::Null));
        }
        events.push(choice(json!({}), json!("stop")));
        events.push(frame(
            json!([]),
            chat_usage(prompt_tokens, completion_tokens),
        ));
        events.push("[DONE]".to_owned());
        Script::sse(events)
    }

    /// An Anthropic message.
    pub fn message(text: &str, input_tokens: u64, output_tokens: u64) -> Script {
        let answer = json!({
            "id": "msg_scripted",
            "type": "message",
            "role": "assistant",
            "model": CLAUDE,
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": null,
            "usage": {"input_tokens": input_tokens, "output_tokens": output_tokens},
        });
        Script::json(200, &answer)
    }

    /// An answer of Gemini's `generateContent`.
    pub fn content(text: &str, prompt_tokens: u64, output_tokens: u64) -> Script {
        let answer = content(text, Some("STOP"), prompt_tokens, output_tokens);
        Script::json(200, &answer)
    }

    /// The same as a stream; the last event has the reason of the end and all counts.
    pub fn content_stream(texts: &[&str], prompt_tokens: u64, output_tokens: u64) -> Script {
        let mut events: Vec<Value> = texts
            .iter()
            .map(|text| content(text, None, prompt_tokens, 0))
            .collect();
        events.push(content("", Some("STOP"), prompt_tokens, output_tokens));
        let events = events.iter().map(|data| format!("data: {data}\r\n\r\n"));
        Script::stream(events)
    }

    /// A message as a stream, from `message_start` to `message_stop`.
    pub fn message_stream(texts: &[&str], input_tokens: u64, output_tokens: u64) -> Script {
        let mut events = vec![
            (
                "message_start",
                json!({"type": "message_start", "message": {
                    "id": "msg_scripted",
                    "type": "message",
                    "role": "assistant",
                    "model": CLAUDE,
                    "content": [],
                    "stop_reason": null,
                    "stop_sequence": null,
                    "usage": {"input_tokens": input_tokens, "output_tokens": 1},
                }}),
            ),
            (
                "content_block_start",
                json!({"type": "content_block_start", "index": 0,
                    "content_block": {"type": "text", "text": ""}}),
            ),
        ];
        for text in texts {
            let delta = json!({"type": "text_delta", "text": text});
            events.push((
                "content_block_delta",
                json!({"type": "content_block_delta", "index": 0, "delta": delta}),
            ));
        }
        events.push((
            "content_block_stop",
            json!({"type": "content_block_stop", "index": 0}),
        ));
        events.push((
            "message_delta",
            json!({"type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                "usage": {"output_tokens": output_tokens}}),
        ));
        events.push(("message_stop", json!({"type": "message_stop"})));
        Script::sse_named(events)
    }
}

/// An answer, or an event of a stream, of Gemini's `generateContent`. Two tokens of the output are thoughts.
pub fn content(text: &str, reason: Option<&str>, prompt_tokens: u64, output_tokens: u64) -> Value {
    let thoughts = output_tokens.min(2);
    let mut answer = json!({
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
        "usageMetadata": {
            "promptTokenCount": prompt_tokens,
            "totalTokenCount": prompt_tokens + output_tokens,
        },
        "modelVersion": GEMINI,
        "responseId": "response-scripted",
    });
    if let Some(reason) = reason {
        answer["candidates"][0]["finishReason"] = json!(reason);
        answer["usageMetadata"]["candidatesTokenCount"] = json!(output_tokens - thoughts);
        answer["usageMetadata"]["thoughtsTokenCount"] = json!(thoughts);
    }
    answer
}

fn chat_usage(prompt_tokens: u64, completion_tokens: u64) -> Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    })
}
