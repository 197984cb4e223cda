//! `POST messages`: reads a call, rewrites it for an endpoint, meters its answer.
//!
//! The body is validated in one pass and never built as a tree. Where its blocks stand decides what
//! the provider's cache knows, so nothing leaves in another order or spelling.

use super::{answer, prompt};
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::edit::{self, Edit};
use crate::dialect::{Dialect, Meter};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    max_tokens: Option<&'a RawValue>,
    stream: Option<bool>,
}

/// The members that the gateway itself reads or writes.
pub(super) const KNOWN: &[&str] = &[
    "model",
    "max_tokens",
    "stream",
    "messages",
    "system",
    "tools",
];

pub struct Messages;

impl Dialect for Messages {
    fn api(&self) -> Api {
        Api::Anthropic
    }

    fn path(&self) -> &'static str {
        "messages"
    }

    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        let (text, asked, members) = edit::read::<Asked<'_>>(body.bytes, KNOWN)?;
        // None at all is allowed: it fills the provider's cache.
        let limit = edit::number(asked.max_tokens, "max_tokens", 0)?
            .ok_or_else(|| Unreadable("max_tokens is required".to_owned()))?;
        Ok(Call {
            model: edit::model(asked.model)?,
            stream: asked.stream.unwrap_or(false),
            limit: Some(limit),
            answers: 1,
            prompt: prompt::bound(text, &members, bounds)?,
            ..Call::default()
        })
    }

    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        let (text, _, members) = edit::read::<Asked<'_>>(body.bytes, KNOWN)?;
        let mut edit = Edit::new(&members);
        if let Some(model) = changes.model {
            edit.set_model(model);
        }
        if let Some(limit) = changes.limit {
            edit.set("max_tokens", &limit.tokens.to_string());
        }
        Ok(edit.apply(text))
    }

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        answer::meter(answer)
    }

    fn stream(&self, _: &Call) -> Box<dyn Meter> {
        Box::new(answer::StreamMeter::default())
    }
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
