//! `POST moderations`: classifies whether a text is harmful. The API itself is free: its calls only count
//! against the window, except at a server that bills free calls.

use super::events::EventMeter;
use super::usage;
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::object::{self, Object};
use crate::dialect::{Dialect, Meter};
use crate::rules::amount::Tokens;
use std::borrow::Cow;

/// Members that the gateway itself reads or writes.
const KNOWN: &[&str] = &["model"];

/// [`Dialect`] of `POST moderations`.
pub(crate) struct Moderations;

impl Dialect for Moderations {
    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn path(&self) -> &'static str {
        "moderations"
    }

    fn read(&self, body: &Body<'_>, _: &Bounds) -> Result<Call, Unreadable> {
        let (body, prompt, unknown_members) = Object::prompt(body.bytes, KNOWN, &[], &["input"])?;
        Ok(Call {
            unknown_members: unknown_members.names()?,
            can_pass_unchanged: true,
            model: body.string("model")?.map(Cow::into_owned),
            answers: 1,
            prompt,
            answer: Some(Tokens::ZERO),
            free: true,
            ..Call::default()
        })
    }

    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        object::rewrite_model(body.bytes, KNOWN, changes)
    }

    /// Reads the usage that some servers report. It is not charged where the call is `free`.
    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        usage::of_answer(answer)
    }

    fn stream(&self, _: &Call) -> Box<dyn Meter> {
        Box::new(EventMeter::default())
    }
}

#[cfg(test)]
#[path = "moderations_tests.rs"]
mod tests;
