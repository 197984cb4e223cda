//! Streams of `responses`, which are written only.

use super::super::conversation::{CallFacts, ContentPart, Input};
use super::super::reply::{Failure, Opened, Piece, WriteEvents};
use super::super::written::{ObjectText, push_named};
use super::output::{Item, ResponseText};

/// Writes pieces as events.
#[derive(Debug)]
pub(crate) struct ResponseWriter {
    asked: CallFacts,
    response: ResponseText,
    sequence: u64,
    /// Item that is open, with its ID and its text so far.
    open: Option<(Item, String, String)>,
}

impl ResponseWriter {
    pub(crate) fn new(asked: CallFacts, created: u64) -> ResponseWriter {
        ResponseWriter {
            asked,
            response: ResponseText {
                id: String::new(),
                model: String::new(),
                created,
                items: Vec::new(),
            },
            sequence: 0,
            open: None,
        }
    }

    fn event(&mut self, kind: &str, members: ObjectText, out: &mut Vec<u8>) {
        let event = members.number("sequence_number", self.sequence);
        self.sequence += 1;
        push_named(out, kind, &event.end());
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        for kind in ["response.created", "response.in_progress"] {
            let end = ObjectText::new()
                .null("error")
                .null("incomplete_details")
                .null("usage");
            let response = self.response.write("in_progress", end);
            self.event(
                kind,
                ObjectText::typed(kind).raw("response", &response),
                out,
            );
        }
    }

    fn index(&self) -> u64 {
        self.response.items.len() as u64
    }

    fn open(&mut self, item: Item, out: &mut Vec<u8>) {
        let id = format!("{}_{}_{}", item.prefix(), self.index(), self.response.id);
        let written = item.write(&id, None, &self.asked);
        let kind = "response.output_item.added";
        let event = ObjectText::typed(kind)
            .number("output_index", self.index())
            .raw("item", &written);
        self.event(kind, event, out);
        if let Some(part) = item.part("") {
            let kind = match item {
                Item::Reasoning { .. } => "response.reasoning_summary_part.added",
                _ => "response.content_part.added",
            };
            let event = self.of_item(kind, &item, &id).raw("part", &part);
            self.event(kind, event, out);
        }
        self.open = Some((item, id, String::new()));
    }

    /// Begins an event about an item.
    fn of_item(&self, kind: &str, item: &Item, id: &str) -> ObjectText {
        let event = ObjectText::typed(kind)
            .text("item_id", id)
            .number("output_index", self.index());
        match item {
            Item::Message { .. } => event.number("content_index", 0),
            Item::Reasoning { .. } => event.number("summary_index", 0),
            Item::Call { .. } => event,
        }
    }

    fn more(&mut self, more: &str, out: &mut Vec<u8>) {
        let Some((item, id, mut text)) = self.open.take() else {
            return;
        };
        text.push_str(more);
        let kind = match &item {
            Item::Message { is_refusal: false } => "response.output_text.delta",
            Item::Message { is_refusal: true } => "response.refusal.delta",
            Item::Reasoning { .. } => "response.reasoning_summary_text.delta",
            Item::Call {
                is_freeform: false, ..
            } => "response.function_call_arguments.delta",
            // Its text is known when its object is whole.
            Item::Call { .. } => "",
        };
        if !kind.is_empty() {
            let event = self.of_item(kind, &item, &id).text("delta", more);
            let event = match kind {
                "response.output_text.delta" => event.list("logprobs", &[]),
                _ => event,
            };
            self.event(kind, event, out);
        }
        self.open = Some((item, id, text));
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some((item, id, mut text)) = self.open.take() else {
            return;
        };
        let (done, member) = match &item {
            Item::Message { is_refusal: false } => ("response.output_text.done", "text"),
            Item::Message { is_refusal: true } => ("response.refusal.done", "refusal"),
            Item::Reasoning { .. } => ("response.reasoning_summary_text.done", "text"),
            Item::Call {
                is_freeform: false, ..
            } => ("response.function_call_arguments.done", "arguments"),
            Item::Call { .. } => {
                if let Some(Input::Text(free)) = Input::read(&text, true) {
                    text = free;
                }
                let kind = "response.custom_tool_call_input.delta";
                let event = self.of_item(kind, &item, &id).text("delta", &text);
                self.event(kind, event, out);
                ("response.custom_tool_call_input.done", "input")
            }
        };
        if matches!(
            item,
            Item::Call {
                is_freeform: false,
                ..
            }
        ) && text.is_empty()
        {
            text.push_str("{}");
        }
        let event = self.of_item(done, &item, &id).text(member, &text);
        let event = match done {
            "response.output_text.done" => event.list("logprobs", &[]),
            _ => event,
        };
        self.event(done, event, out);
        if let Some(part) = item.part(&text) {
            let kind = match item {
                Item::Reasoning { .. } => "response.reasoning_summary_part.done",
                _ => "response.content_part.done",
            };
            let event = self.of_item(kind, &item, &id).raw("part", &part);
            self.event(kind, event, out);
        }
        let written = item.write(&id, Some(&text), &self.asked);
        let kind = "response.output_item.done";
        let event = ObjectText::typed(kind)
            .number("output_index", self.index())
            .raw("item", &written);
        self.event(kind, event, out);
        self.response.items.push(written);
    }

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        let code = match failure.status {
            429 => "rate_limit_exceeded",
            _ => "server_error",
        };
        let error = ObjectText::new()
            .text("code", code)
            .text("message", &failure.message)
            .end();
        let end = ObjectText::new().raw("error", &error).null("usage");
        let response = self.response.write("failed", end);
        let kind = "response.failed";
        self.event(
            kind,
            ObjectText::typed(kind).raw("response", &response),
            out,
        );
    }
}

impl WriteEvents for ResponseWriter {
    fn write(&mut self, piece: Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Start { id, model, .. } => {
                (self.response.id, self.response.model) = (id, model);
                self.start(out);
            }
            Piece::Open(part) => {
                let item = match &part {
                    Opened::Text => Item::Message { is_refusal: false },
                    Opened::Refusal => Item::Message { is_refusal: true },
                    Opened::Thinking => Item::Reasoning { proof: None },
                    Opened::Call { id, name } => Item::call(id, name, &self.asked),
                };
                self.open(item, out);
            }
            Piece::More(text) => self.more(&text, out),
            Piece::Close => self.close(out),
            Piece::Whole(ContentPart::Thinking { text, .. }) => {
                self.open(Item::Reasoning { proof: None }, out);
                self.more(&text, out);
                self.close(out);
            }
            Piece::Signature(signature) => {
                if let Some((Item::Reasoning { proof }, ..)) = &mut self.open {
                    *proof = Some(signature);
                }
            }
            Piece::Whole(_) => {}
            Piece::Stop(stop, usage) => {
                let (status, response) = self.response.write_end(&stop, usage.as_ref());
                let kind = match status {
                    "completed" => "response.completed",
                    _ => "response.incomplete",
                };
                self.event(
                    kind,
                    ObjectText::typed(kind).raw("response", &response),
                    out,
                );
            }
            Piece::Ping => out.extend_from_slice(b": keep-alive\n\n"),
            Piece::Failed(failure) => self.fail(&failure, out),
        }
    }
}
