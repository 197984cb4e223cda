//! `POST moderations`: says whether a text is fit to be read. The API itself is free.

use super::events::EventMeter;
use super::usage;
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::object::{self, Object};
use crate::dialect::{Dialect, Meter};
use crate::rules::amount::Tokens;
use std::borrow::Cow;

const KNOWN: &[&str] = &["model"];

pub struct Moderations;

impl Dialect for Moderations {
    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn path(&self) -> &'static str {
        "moderations"
    }

    fn read(&self, body: &Body<'_>, _: &Bounds) -> Result<Call, Unreadable> {
        let (body, prompt, strangers) = Object::prompt(body.bytes, KNOWN, &[], &["input"])?;
        Ok(Call {
            strangers: strangers.names()?,
            is_fit: true,
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

    /// Some servers count all the same; where it is free, nobody is charged for it.
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
