//! Streams of `messages`, read into pieces and written from them.

use super::super::conversation::ContentPart;
use super::super::reply::{Opened, Parts, Piece, ReadEvents, Stop, TokenCounts, WriteEvents};
use super::super::written::{ObjectText, push_named};
use super::answer;
use serde_json::Value;

/// Reads events into pieces.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    has_ended: bool,
    parts: Parts,
    usage: TokenCounts,
    has_usage: bool,
    stop: Option<Stop>,
    /// Input of the call that is open, where its block began with it whole.
    whole_input: Option<String>,
    has_more: bool,
}

impl ReadEvents for MessageReader {
    fn read(&mut self, data: &[u8], out: &mut Vec<Piece>) {
        if self.has_ended {
            return;
        }
        let Ok(event) = serde_json::from_slice::<Value>(data) else {
            self.fail(502, "The provider sent an event that cannot be read", out);
            return;
        };
        match event
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "message_start" => self.start(event.get("message").unwrap_or(&Value::Null), out),
            "content_block_start" => {
                self.open(event.get("content_block").unwrap_or(&Value::Null), out);
            }
            "content_block_delta" => self.delta(event.get("delta").unwrap_or(&Value::Null), out),
            "content_block_stop" => self.close(out),
            "message_delta" => {
                self.count(event.get("usage"));
                let delta = event.get("delta").unwrap_or(&Value::Null);
                let text = |name: &str| delta.get(name).and_then(Value::as_str);
                if let Some(reason) = text("stop_reason") {
                    let sequence = text("stop_sequence").map(str::to_owned);
                    self.stop = Some(answer::stop(Some(reason), sequence));
                }
            }
            "message_stop" => self.end(out),
            "ping" => out.push(Piece::Ping),
            "error" => {
                let error = event.get("error").unwrap_or(&Value::Null);
                let text = |name: &str| error.get(name).and_then(Value::as_str);
                let status = match text("type") {
                    Some("overloaded_error") => 529,
                    Some("rate_limit_error") => 429,
                    _ => 502,
                };
                let message = text("message").unwrap_or("The provider reported an error");
                self.fail(status, message, out);
            }
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        if self.has_ended {
            return;
        }
        let Some(stop) = self.stop.take() else {
            self.fail(502, "The provider ended its stream early", out);
            return;
        };
        self.has_ended = true;
        self.parts.close(out);
        out.push(Piece::Stop(stop, self.has_usage.then_some(self.usage)));
    }
}

impl MessageReader {
    fn fail(&mut self, status: u16, message: &str, out: &mut Vec<Piece>) {
        self.has_ended = true;
        out.push(Piece::failed(status, message));
    }

    /// Takes counts, which are totals: later ones replace earlier ones.
    fn count(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage.filter(|usage| usage.is_object()) else {
            return;
        };
        let count = |name: &str| usage.get(name).and_then(Value::as_u64);
        let known = &mut self.usage;
        let mut uncached = known.uncached();
        for (to, name) in [
            (&mut uncached, "input_tokens"),
            (&mut known.cache_read, "cache_read_input_tokens"),
            (&mut known.cache_write, "cache_creation_input_tokens"),
            (&mut known.output, "output_tokens"),
        ] {
            if let Some(count) = count(name) {
                *to = count;
                self.has_usage = true;
            }
        }
        known.input = uncached
            .saturating_add(known.cache_read)
            .saturating_add(known.cache_write);
        if let Some(whole) = answer::usage(usage).filter(|whole| whole.reasoning > 0) {
            known.reasoning = whole.reasoning;
        }
    }

    fn start(&mut self, message: &Value, out: &mut Vec<Piece>) {
        let text = |name: &str| {
            message
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        self.count(message.get("usage"));
        out.push(Piece::Start {
            id: text("id").to_owned(),
            model: text("model").to_owned(),
            usage: self.has_usage.then_some(self.usage),
        });
    }

    fn open(&mut self, block: &Value, out: &mut Vec<Piece>) {
        let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        (self.whole_input, self.has_more) = (None, false);
        let (part, begun) = match text("type") {
            "text" => (Opened::Text, text("text")),
            "thinking" => (Opened::Thinking, text("thinking")),
            "redacted_thinking" => {
                self.parts.close(out);
                out.push(Piece::Whole(ContentPart::Sealed(text("data").to_owned())));
                return;
            }
            "tool_use" => {
                let input = block
                    .get("input")
                    .filter(|input| input.as_object().is_some_and(|input| !input.is_empty()));
                self.whole_input = input.map(Value::to_string);
                let (id, name) = (text("id").to_owned(), text("name").to_owned());
                (Opened::Call { id, name }, "")
            }
            _ => {
                let message = "The provider answered with a block that cannot be carried";
                self.fail(502, message, out);
                return;
            }
        };
        self.parts.begin(part, out);
        if !begun.is_empty() {
            out.push(Piece::More(begun.to_owned()));
        }
    }

    fn delta(&mut self, delta: &Value, out: &mut Vec<Piece>) {
        let text = |name: &str| delta.get(name).and_then(Value::as_str).unwrap_or_default();
        let piece = match text("type") {
            "text_delta" => Piece::More(text("text").to_owned()),
            "thinking_delta" => Piece::More(text("thinking").to_owned()),
            "input_json_delta" => {
                self.has_more |= !text("partial_json").is_empty();
                Piece::More(text("partial_json").to_owned())
            }
            "signature_delta" => Piece::Signature(text("signature").to_owned()),
            _ => return,
        };
        if self.parts.open().is_some() && piece != Piece::More(String::new()) {
            out.push(piece);
        }
    }

    fn close(&mut self, out: &mut Vec<Piece>) {
        if let Some(whole) = self.whole_input.take().filter(|_| !self.has_more) {
            out.push(Piece::More(whole));
        }
        self.parts.close(out);
    }
}

/// Writes pieces as events.
#[derive(Debug, Default)]
pub(crate) struct MessageWriter {
    /// Number of blocks that were begun.
    blocks: u64,
    open: Option<Opened>,
}

impl MessageWriter {
    fn event(name: &str, members: ObjectText, out: &mut Vec<u8>) {
        push_named(out, name, &members.end());
    }

    fn begin(&mut self, block: &str, out: &mut Vec<u8>) {
        let event = ObjectText::typed("content_block_start")
            .number("index", self.blocks)
            .raw("content_block", block);
        MessageWriter::event("content_block_start", event, out);
        self.blocks += 1;
    }

    fn delta(&self, delta: &str, out: &mut Vec<u8>) {
        let event = ObjectText::typed("content_block_delta")
            .number("index", self.blocks.saturating_sub(1))
            .raw("delta", delta);
        MessageWriter::event("content_block_delta", event, out);
    }

    fn stop_block(&self, out: &mut Vec<u8>) {
        let event =
            ObjectText::typed("content_block_stop").number("index", self.blocks.saturating_sub(1));
        MessageWriter::event("content_block_stop", event, out);
    }

    fn open(&mut self, part: Opened, out: &mut Vec<u8>) {
        let block = match &part {
            Opened::Text | Opened::Refusal => ObjectText::typed("text").text("text", ""),
            Opened::Thinking => ObjectText::typed("thinking")
                .text("thinking", "")
                .text("signature", ""),
            Opened::Call { id, name } => ObjectText::typed("tool_use")
                .text("id", id)
                .text("name", name)
                .raw("input", "{}"),
        };
        self.begin(&block.end(), out);
        self.open = Some(part);
    }

    fn more(&mut self, text: &str, out: &mut Vec<u8>) {
        let delta = match &self.open {
            Some(Opened::Text | Opened::Refusal) => {
                ObjectText::typed("text_delta").text("text", text)
            }
            Some(Opened::Thinking) => ObjectText::typed("thinking_delta").text("thinking", text),
            Some(Opened::Call { .. }) => {
                ObjectText::typed("input_json_delta").text("partial_json", text)
            }
            None => return,
        };
        self.delta(&delta.end(), out);
    }

    fn stop(&self, stop: &Stop, usage: Option<TokenCounts>, out: &mut Vec<u8>) {
        let (reason, sequence) = answer::reason(stop);
        let delta = ObjectText::new().text("stop_reason", reason);
        let delta = match sequence {
            Some(sequence) => delta.text("stop_sequence", sequence),
            None => delta.null("stop_sequence"),
        };
        let event = ObjectText::typed("message_delta")
            .raw("delta", &delta.end())
            .raw("usage", &answer::write_usage(&usage.unwrap_or_default()));
        MessageWriter::event("message_delta", event, out);
        MessageWriter::event("message_stop", ObjectText::typed("message_stop"), out);
    }
}

impl WriteEvents for MessageWriter {
    fn write(&mut self, piece: Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Start { id, model, usage } => {
                let message = ObjectText::new()
                    .text("id", &id)
                    .text("type", "message")
                    .text("role", "assistant")
                    .text("model", &model)
                    .list("content", &[])
                    .null("stop_reason")
                    .null("stop_sequence")
                    .raw("usage", &answer::write_usage(&usage.unwrap_or_default()));
                let event = ObjectText::typed("message_start").raw("message", &message.end());
                MessageWriter::event("message_start", event, out);
            }
            Piece::Open(part) => self.open(part, out),
            Piece::More(text) => self.more(&text, out),
            Piece::Signature(signature) => {
                let delta = ObjectText::typed("signature_delta").text("signature", &signature);
                self.delta(&delta.end(), out);
            }
            Piece::Close => {
                self.stop_block(out);
                self.open = None;
            }
            Piece::Whole(part) => {
                if let Some(block) = answer::block(&part) {
                    self.begin(&block, out);
                    self.stop_block(out);
                }
            }
            Piece::Stop(stop, usage) => self.stop(&stop, usage, out),
            Piece::Ping => push_named(out, "ping", r#"{"type":"ping"}"#),
            Piece::Failed(failure) => {
                let kind = match failure.status {
                    429 => "rate_limit_error",
                    529 => "overloaded_error",
                    _ => "api_error",
                };
                let error = ObjectText::typed(kind).text("message", &failure.message);
                let event = ObjectText::typed("error").raw("error", &error.end());
                MessageWriter::event("error", event, out);
            }
        }
    }
}
