//! Streams of `streamGenerateContent`, read into pieces and written from them.

use super::super::conversation::{ContentPart, Json, gemini_proof};
use super::super::reply::{Opened, Parts, Piece, ReadEvents, Stop, TokenCounts, WriteEvents};
use super::super::written::push_data;
use super::answer::{self, Generated, GeneratedPart};
use crate::dialect::call::Api;
use crate::dialect::error::{self, Shape};
use serde_json::Value;

/// Reason that says nothing.
const UNSPECIFIED: &str = "FINISH_REASON_UNSPECIFIED";

/// Reads events into pieces.
#[derive(Debug, Default)]
pub(crate) struct CandidateReader {
    has_begun: bool,
    has_ended: bool,
    id: String,
    parts: Parts,
    calls: usize,
    stop: Option<Stop>,
    usage: Option<TokenCounts>,
}

impl ReadEvents for CandidateReader {
    fn read(&mut self, data: &[u8], out: &mut Vec<Piece>) {
        if self.has_ended {
            return;
        }
        let Ok(event) = serde_json::from_slice::<Generated>(data) else {
            self.fail(502, "The provider sent an event that cannot be read", out);
            return;
        };
        if let Some(error) = event.error.as_ref().filter(|error| !error.is_null()) {
            let (status, message) = reported(error);
            self.fail(status, message, out);
            return;
        }
        if let Some(usage) = event.usage_metadata.as_ref().and_then(answer::usage) {
            self.usage = Some(usage);
        }
        if event.is_blocked() {
            self.stop = Some(Stop::Refused);
        }
        if !self.has_begun {
            self.has_begun = true;
            self.id = event.response_id.unwrap_or_default();
            out.push(Piece::Start {
                id: self.id.clone(),
                model: event.model_version.unwrap_or_default(),
                usage: self.usage,
            });
        }
        if event.candidates.len() > 1 {
            self.fail(502, "The provider answered with several candidates", out);
            return;
        }
        for candidate in event.candidates {
            for part in candidate
                .content
                .into_iter()
                .flat_map(|content| content.parts)
            {
                self.part(part, out);
            }
            if self.has_ended {
                return;
            }
            let reason = candidate.finish_reason;
            if let Some(reason) = reason.filter(|reason| reason != UNSPECIFIED) {
                match answer::stop(Some(&reason)) {
                    Some(stop) => self.stop = Some(stop),
                    None => {
                        let message = "The provider's model gave an answer that is of no use";
                        self.fail(502, message, out);
                    }
                }
            }
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
        let is_call = stop == Stop::End && self.calls > 0;
        let stop = if is_call { Stop::Calls } else { stop };
        out.push(Piece::Stop(stop, self.usage));
    }
}

/// Returns status and message of an error that the provider reports.
fn reported(error: &Value) -> (u16, &str) {
    let message = error.get("message").and_then(Value::as_str);
    let status = match error.get("code").and_then(Value::as_u64) {
        Some(429) => 429,
        Some(503) => 529,
        _ => 502,
    };
    (status, message.unwrap_or("The provider reported an error"))
}

impl CandidateReader {
    fn fail(&mut self, status: u16, message: &str, out: &mut Vec<Piece>) {
        self.has_ended = true;
        out.push(Piece::failed(status, message));
    }

    fn part(&mut self, part: GeneratedPart, out: &mut Vec<Piece>) {
        if let Some(call) = &part.function_call {
            if let Some(signature) = &part.thought_signature {
                if self.parts.open() != Some(&Opened::Thinking) {
                    self.parts.begin(Opened::Thinking, out);
                }
                out.push(Piece::Signature(gemini_proof(signature)));
            }
            let opened = Opened::Call {
                id: call.id(&self.id, self.calls),
                name: call.name.clone(),
            };
            self.calls += 1;
            self.parts.begin(opened, out);
            out.push(Piece::More(call.input().to_owned()));
            self.parts.close(out);
            return;
        }
        if part.is_empty() {
            return;
        }
        let opened = match part.thought {
            Some(true) => Opened::Thinking,
            _ => Opened::Text,
        };
        match part.text {
            Some(text) => self.parts.more(opened, text, out),
            None => {
                let message = "The provider answered with a part that cannot be carried";
                self.fail(502, message, out);
            }
        }
    }
}

/// Writes pieces as events.
#[derive(Debug, Default)]
pub(crate) struct CandidateWriter {
    id: String,
    model: String,
    open: Option<Opened>,
    /// JSON text of the input of the call that is open: an event has it whole.
    input: String,
    has_failed: bool,
}

impl CandidateWriter {
    fn push(&self, part: String, out: &mut Vec<u8>) {
        let candidate = answer::candidate(&[part], None);
        let event = answer::generated(&candidate, None, &self.model, &self.id);
        push_data(out, &event);
    }

    fn push_part(&self, part: &ContentPart, out: &mut Vec<u8>) {
        if let Some(part) = answer::part(part) {
            self.push(part, out);
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(Opened::Call { id, name }) = self.open.take() else {
            return;
        };
        let input = std::mem::take(&mut self.input);
        let input = if input.trim_ascii().is_empty() {
            "{}"
        } else {
            &input
        };
        match Json::parse(input).filter(Json::is_object) {
            Some(args) => self.push(answer::function_call(&id, &name, &args), out),
            None => self.fail(
                502,
                "The provider's model called a tool with what is no JSON",
                out,
            ),
        }
    }

    fn fail(&mut self, status: u16, message: &str, out: &mut Vec<u8>) {
        self.has_failed = true;
        let error = Shape {
            status,
            code: "provider_failed",
            message,
            request_id: "",
        };
        out.extend_from_slice(error::event(Api::Gemini, error).as_bytes());
    }
}

impl WriteEvents for CandidateWriter {
    fn write(&mut self, piece: Piece, out: &mut Vec<u8>) {
        if self.has_failed {
            return;
        }
        match piece {
            Piece::Start { id, model, .. } => (self.id, self.model) = (id, model),
            Piece::Open(part) => self.open = Some(part),
            Piece::More(text) => match &self.open {
                Some(Opened::Thinking) => self.push(answer::thought(&text), out),
                Some(Opened::Call { .. }) => self.input.push_str(&text),
                Some(Opened::Text | Opened::Refusal) => {
                    self.push_part(&ContentPart::Text(text), out);
                }
                None => {}
            },
            Piece::Signature(_) => {}
            Piece::Close => self.close(out),
            Piece::Whole(part) => self.push_part(&part, out),
            Piece::Stop(stop, usage) => {
                // SDKs read the parts of every event.
                let empty = "{\"text\":\"\"}".to_owned();
                let candidate = answer::candidate(&[empty], Some(&stop));
                let event = answer::generated(&candidate, usage.as_ref(), &self.model, &self.id);
                push_data(out, &event);
            }
            // A comment would be taken for content.
            Piece::Ping => out.extend_from_slice(b"\n\n"),
            Piece::Failed(failure) => self.fail(failure.status, &failure.message, out),
        }
    }
}
