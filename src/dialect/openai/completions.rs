//! `POST completions`, the API before `chat/completions`: one or many prompts in, choices of text out.

use super::choices::{self, StreamMeter};
use super::input;
use crate::dialect::call::{Api, Body, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::object::{Edit, Object};
use crate::dialect::replay::{Replay, completions::CompletionAnswers};
use crate::dialect::{Dialect, Meter};
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Names of the output limit: the API's own, then those that some servers prefer to it.
const LIMITS: &[&str] = &["max_tokens", "max_completion_tokens", "n_predict"];

/// Members that the gateway itself reads or writes.
const KNOWN: &[&str] = &[
    "model",
    "prompt",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n_predict",
    "n",
    "n_cmpl",
    "best_of",
    "prompt_cache_key",
];

/// Other members that a model reads: known, and counted as prompt.
const MODEL_READS: &[&str] = &["suffix", "stop"];

/// Other members that no model reads. Every remaining member, known such as `suffix` or not, counts as
/// prompt.
const SETTINGS: &[&str] = &[
    "echo",
    "logprobs",
    "logit_bias",
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "user",
];

/// [`Dialect`] of `POST completions`.
pub struct Completions;

impl Dialect for Completions {
    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn path(&self) -> &'static str {
        "completions"
    }

    fn read(&self, body: &Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        let (body, others, mut unknown_members) =
            Object::prompt(body.bytes, KNOWN, SETTINGS, MODEL_READS)?;
        let prompt = input::size(
            body.value("prompt").map_or("\"\"", RawValue::get),
            bounds.image,
        );
        let mut limit = None;
        for name in LIMITS {
            limit = limit.max(body.number(name, 1)?);
        }
        // All `best_of` choices are generated and billed; only `n` of them are returned.
        let each = body
            .number("n", 1)?
            .max(body.number("n_cmpl", 1)?)
            .max(body.number("best_of", 1)?)
            .unwrap_or(1);
        choices::record_unknown_stream_options(&body, &mut unknown_members)?;
        Ok(Call {
            unknown_members: unknown_members.names()?,
            model: body.string("model")?.map(Cow::into_owned),
            stream: body.flag("stream")?,
            cache_key: body.string("prompt_cache_key")?.map(Cow::into_owned),
            can_pass_unchanged: !body.flag("stream")?,
            wants_usage: choices::wants_usage(&body)?,
            limit,
            answers: each.saturating_mul(prompt.texts),
            prompt: Tokens::new(prompt.tokens).plus(others),
            ..Call::default()
        })
    }

    fn rewrite(&self, body: &Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        let body = Object::body(body.bytes, KNOWN, |_, _| {})?;
        let mut edit = Edit::of(&body, changes);
        if let Some(limit) = changes.limit {
            let tokens = limit.tokens.to_string();
            // `completions` never had the newer name `max_completion_tokens`, whatever name the endpoint uses
            // for a chat.
            edit.set(LIMITS[0], &tokens);
            for name in &LIMITS[1..] {
                if body.value(name).is_some() {
                    edit.set(name, &tokens);
                }
            }
        }
        if body.flag("stream")? {
            choices::ask_for_usage(&body, &mut edit)?;
        }
        Ok(edit.apply())
    }

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        choices::meter(answer)
    }

    fn stream(&self, call: &Call) -> Box<dyn Meter> {
        Box::new(StreamMeter::new(call))
    }

    fn replay(&self) -> Option<&'static dyn Replay> {
        Some(&CompletionAnswers)
    }
}

#[cfg(test)]
#[path = "completions_tests.rs"]
mod tests;
