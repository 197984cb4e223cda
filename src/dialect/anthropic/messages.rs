//! `POST messages`: parses a call, rewrites it for an endpoint, meters its answer.
//!
//! The body is validated in one pass and never built as a tree. The provider's prompt cache depends on the
//! position of each block, so order and spelling must never change.

use super::{answer, prompt, tools};
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::object::{Edit, Object};
use crate::dialect::replay::{Replay, messages::MessageAnswers};
use crate::dialect::{Dialect, Meter};
use std::borrow::Cow;

pub struct Messages;

impl Dialect for Messages {
    fn api(&self) -> Api {
        Api::Anthropic
    }

    fn path(&self) -> &'static str {
        "messages"
    }

    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        let (body, facts) = prompt::read(body.bytes, bounds)?;
        // `max_tokens` of 0 is allowed: it fills the provider's cache.
        let limit = body
            .number("max_tokens", 0)?
            .ok_or_else(|| Unreadable("max_tokens is required".to_owned()))?;
        Ok(Call {
            model: body.string("model")?.map(Cow::into_owned),
            stream: body.flag("stream")?,
            limit: Some(limit),
            answers: 1,
            can_pass_unchanged: true,
            prompt: facts.prompt,
            unknown_members: facts.unknown_members,
            extras: facts.extras,
            hides: facts.hides,
            ..Call::default()
        })
    }

    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        let body = Object::body(body.bytes, prompt::KNOWN, |_, _| {})?;
        let mut edit = Edit::of(&body, changes);
        if let Some(limit) = changes.limit {
            edit.set("max_tokens", &limit.tokens.to_string());
        }
        tools::edit(&mut edit, &body, changes)?;
        Ok(edit.apply())
    }

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        answer::meter(answer)
    }

    fn stream(&self, _: &Call) -> Box<dyn Meter> {
        Box::new(answer::StreamMeter::default())
    }

    fn replay(&self) -> Option<&'static dyn Replay> {
        Some(&MessageAnswers)
    }
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
