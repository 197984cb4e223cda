//! `POST embeddings`: texts in, vectors out. The vectors are skipped, never parsed.

use super::events::EventMeter;
use super::{input, usage};
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::object::{self, Object};
use crate::dialect::replay::{Replay, embeddings::EmbeddingAnswers};
use crate::dialect::{Dialect, Meter};
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Members that the gateway itself reads or writes.
const KNOWN: &[&str] = &["model", "input", "prompt_cache_key"];

/// Other members that no model reads. Every remaining member counts as prompt.
const SETTINGS: &[&str] = &["encoding_format", "dimensions", "user"];

/// Members that a model reads, or that tell a server how to embed: known, and counted as prompt.
const MODEL_READS: &[&str] = &["input_type", "prompt_name", "normalize", "truncate"];

/// [`Dialect`] of `POST embeddings`.
pub(crate) struct Embeddings;

impl Dialect for Embeddings {
    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn path(&self) -> &'static str {
        "embeddings"
    }

    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        let (body, others, unknown_members) =
            Object::prompt(body.bytes, KNOWN, SETTINGS, MODEL_READS)?;
        let input = input::size(
            body.value("input").map_or("\"\"", RawValue::get),
            bounds.image,
        );
        Ok(Call {
            unknown_members: unknown_members.names()?,
            can_pass_unchanged: true,
            model: body.string("model")?.map(Cow::into_owned),
            cache_key: body.string("prompt_cache_key")?.map(Cow::into_owned),
            answers: 1,
            prompt: Tokens::new(input.tokens).plus(others),
            answer: Some(Tokens::ZERO),
            ..Call::default()
        })
    }

    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        object::rewrite_model(body.bytes, KNOWN, changes)
    }

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        usage::of_answer(answer)
    }

    fn stream(&self, _: &Call) -> Box<dyn Meter> {
        Box::new(EventMeter::default())
    }

    fn replay(&self) -> Option<&'static dyn Replay> {
        Some(&EmbeddingAnswers)
    }
}

#[cfg(test)]
#[path = "embeddings_tests.rs"]
mod tests;
