//! `POST chat/completions`: reads a call, rewrites it for an endpoint, meters its answer.
//!
//! The body is validated as JSON in one pass and never built as a tree; what must change is spliced
//! into its text.

use super::choices::{self, StreamMeter, meter};
use crate::dialect::call::{self, Api, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::object::{self, Edit, Object};
use crate::dialect::{Dialect, Meter, prompt};
use crate::rules::amount::Tokens;
use std::borrow::Cow;

/// The members that the gateway itself reads or writes.
const KNOWN: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
];

/// Members that no model reads. Everything else is taken for a part of the prompt.
const NOT_PROMPT: &[&str] = &[
    "messages",
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "user",
    "metadata",
    "store",
    "service_tier",
    "parallel_tool_calls",
    "reasoning_effort",
    "verbosity",
    "modalities",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
];

pub struct Chat;

impl Dialect for Chat {
    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn path(&self) -> &'static str {
        "chat/completions"
    }

    fn read(&self, body: &call::Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        read(body.bytes, bounds)
    }

    fn rewrite(&self, body: &call::Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        rewrite(body.bytes, changes)
    }

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        meter(answer)
    }

    fn stream(&self, call: &Call) -> Box<dyn Meter> {
        Box::new(StreamMeter::new(call.wants_usage))
    }
}

fn read(bytes: &[u8], bounds: &Bounds) -> Result<Call, Unreadable> {
    let mut prompt = 0;
    // Whatever is not known to be no part of the prompt counts as one.
    let body = Object::body(bytes, KNOWN, |name, value| {
        if !NOT_PROMPT.contains(&name) {
            prompt += value.get().len() as u64;
        }
    })?;
    if let Some(messages) = body.value("messages") {
        let mut count = 0;
        object::list(messages, "messages", |_| {
            count += 1;
            Ok(())
        })?;
        prompt += prompt::text_bytes(messages.get(), bounds.image) + prompt::message_frames(count);
    }
    let limits = (
        body.number("max_completion_tokens")?,
        body.number("max_tokens")?,
    );
    Ok(Call {
        model: body.string("model")?.map(Cow::into_owned),
        stream: body.flag("stream")?,
        wants_usage: choices::wants_usage(&body)?,
        limit: limits.0.max(limits.1),
        answers: body.number("n")?.unwrap_or(1),
        prompt: Tokens::new(prompt),
        ..Call::default()
    })
}

/// The body that leaves for the provider. A stream is always asked to report its usage.
fn rewrite(bytes: &[u8], changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
    let body = Object::body(bytes, KNOWN, |_, _| {})?;
    let mut edit = Edit::new(&body);
    if let Some(model) = changes.model {
        edit.set("model", &serde_json::Value::from(model).to_string());
    }
    if let Some(limit) = changes.limit {
        let tokens = limit.tokens.to_string();
        let names = ["max_completion_tokens", "max_tokens"];
        let given = names.map(|name| body.value(name).map(|_| name));
        for name in given.iter().flatten() {
            edit.set(name, &tokens);
        }
        if given.iter().all(Option::is_none) || (limit.always && !given.contains(&Some(limit.name)))
        {
            edit.set(limit.name, &tokens);
        }
    }
    if body.flag("stream")? {
        choices::ask_for_usage(&body, &mut edit)?;
    }
    Ok(edit.apply())
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
