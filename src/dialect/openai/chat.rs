//! `POST chat/completions`: reads a call, rewrites it for an endpoint, meters its response.
//!
//! The body is validated as JSON in one pass and never parsed into a tree; changes are spliced into its text.

use super::choices::{self, StreamMeter, meter};
use super::content;
use super::tiers;
use super::tools::{self, Of, Tools};
use crate::dialect::call::{self, Api, Bounds, Call, Changes, Extras, Reading, Unreadable};
use crate::dialect::object::{self, Edit, Object};
use crate::dialect::replay::{Replay, chat::ChatAnswers};
use crate::dialect::unknown_members::UnknownMembers;
use crate::dialect::{Dialect, Meter, prompt};
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Members that [`Object`] keeps, to be checked, counted or written here. They count only what `read` adds for them.
const KNOWN: &[&str] = &[
    "model",
    "prompt_cache_key",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n_predict",
    "n",
    "n_cmpl",
    "store",
    "audio",
    "prediction",
    "metadata",
    "chat_template_kwargs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "service_tier",
    "multi_agent",
    "web_search_options",
    "search_parameters",
    "search_options",
    "enable_search",
    "enable_code_interpreter",
    "plugins",
    "data_sources",
    "dataSources",
];

/// Members that make the provider search, or run something, itself.
const HOSTED: &[&str] = &[
    "web_search_options",
    "search_parameters",
    "search_options",
    "enable_search",
    "enable_code_interpreter",
    "plugins",
    "data_sources",
    "dataSources",
];

/// Names of the output limit. Each of them overrides the others at some server, so all that are present are
/// set.
const LIMITS: &[&str] = &["max_completion_tokens", "max_tokens", "n_predict"];

/// Members that a model reads: known, and counted as prompt.
const MODEL_READS: &[&str] = &["functions", "function_call", "response_format", "stop"];

/// Members of a message.
const MESSAGE: &[&str] = &[
    "role",
    "content",
    "audio",
    "name",
    "refusal",
    "reasoning_content",
    "tool_calls",
    "tool_call_id",
    "function_call",
];

/// Members of a message that are texts: all of `MESSAGE` but its first three, `role`, `content` and `audio`.
const TEXT_MEMBERS: &[&str] = MESSAGE.split_at(3).1;

/// Members that are forwarded and that no model reads. Every member that no list names counts as prompt.
const SETTINGS: &[&str] = &[
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
    "reasoning_effort",
    "verbosity",
    "modalities",
    "safety_identifier",
    "prompt_cache_retention",
];

/// [`Dialect`] of `POST chat/completions`.
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
        Box::new(StreamMeter::new(call))
    }

    fn replay(&self) -> Option<&'static dyn Replay> {
        Some(&ChatAnswers)
    }
}

fn read(bytes: &[u8], bounds: &Bounds) -> Result<Call, Unreadable> {
    let (body, mut prompt, mut unknown_members) =
        Object::prompt(bytes, KNOWN, SETTINGS, MODEL_READS)?;
    let mut extras = Extras::default();
    for name in HOSTED {
        match body.value(name).map(RawValue::get) {
            None | Some("false") => {}
            Some(_) if *name == "web_search_options" => {
                // The model searches once, and the response does not show it.
                extras.hosted("web_search".to_owned(), Some(1))?;
                extras.has_unshown_call = true;
            }
            Some(_) => extras.hosted((*name).to_owned(), None)?,
        }
    }
    let mut offered = Tools::default();
    if let Some(list) = body.value("tools") {
        offered = tools::read(list, Of::Chat, &mut extras)?;
        prompt = prompt.plus(content::weight(list));
    }
    let choice = body.value("tool_choice");
    prompt = prompt.plus(tools::choice(choice, &offered, &mut extras)?);
    tiers::read(&body, &mut extras)?;
    prompt = prompt.plus(template(&body, &mut unknown_members)?);
    prompt = prompt.plus(content::metadata(&body, &mut unknown_members));
    choices::record_unknown_stream_options(&body, &mut unknown_members)?;
    if let Some(prediction) = body.value("prediction") {
        unknown_members.record_inside("prediction", prediction);
        prompt = prompt.plus(content::weight(prediction));
    }
    if let Some(messages) = body.value("messages") {
        object::list(messages, "messages", |value| {
            prompt = prompt.plus(message(value, bounds, &mut unknown_members)?);
            Ok(())
        })?;
    }
    let mut limit = None;
    for name in LIMITS {
        limit = limit.max(body.number(name, 1)?);
    }
    // Hidden output: `audio` is generated beside its transcript, and rejected tokens of a `prediction` are
    // billed as output.
    let mut hides = body.value("prediction").is_some();
    if let Some(audio) = body.value("audio") {
        unknown_members.record_inside("audio", audio);
        hides = true;
    }
    let answers = body.number("n", 1)?.max(body.number("n_cmpl", 1)?);
    let stream = body.flag("stream")?;
    Ok(Call {
        unknown_members: unknown_members.names()?,
        extras,
        model: body.string("model")?.map(Cow::into_owned),
        stream,
        cache_key: body.string("prompt_cache_key")?.map(Cow::into_owned),
        can_pass_unchanged: !stream && !body.flag("store")?,
        wants_usage: choices::wants_usage(&body)?,
        limit,
        answers: answers.unwrap_or(1),
        hides,
        prompt,
        ..Call::default()
    })
}

/// Counts `chat_template_kwargs`, and records it and its members as unknown: a value may be a template
/// itself.
fn template(body: &Object<'_>, unknown_members: &mut UnknownMembers) -> Result<Tokens, Unreadable> {
    let Some(value) = body.value("chat_template_kwargs") else {
        return Ok(Tokens::ZERO);
    };
    unknown_members.record("", "chat_template_kwargs");
    Object::read(value.get(), "chat_template_kwargs", &[], |name, value| {
        unknown_members.record_unless_null("chat_template_kwargs", name, value);
    })?;
    Ok(content::weight(value))
}

fn message(
    value: &RawValue,
    bounds: &Bounds,
    unknown_members: &mut UnknownMembers,
) -> Result<Tokens, Unreadable> {
    let mut sum = Tokens::new(prompt::message_frames(1));
    if !value.get().starts_with('{') {
        object::no_list(value, "messages")?;
        return Ok(sum.plus(content::weight(value)));
    }
    let message = Object::read(value.get(), "A message", MESSAGE, |name, value| {
        sum = sum.plus(content::stray(name, value));
        unknown_members.record_unless_null("messages", name, value);
    })?;
    sum = sum.plus(content::role(&message));
    sum = sum.plus(content::weights(&message, TEXT_MEMBERS));
    if let Some(audio) = message.value("audio") {
        // `audio` refers to an earlier spoken answer that the provider has kept.
        sum = sum.plus(content::weight(audio).max(content::named(bounds)));
    }
    if let Some(value) = message.value("content") {
        sum = sum.plus(content::whole(value, bounds, unknown_members)?);
    }
    Ok(sum)
}

/// Rewrites a body for the provider. Every stream is asked to report its usage (`choices::ask_for_usage`).
fn rewrite(bytes: &[u8], changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
    let body = Object::body(bytes, KNOWN, |_, _| {})?;
    let mut edit = Edit::of(&body, changes);
    if let Some(limit) = changes.limit {
        let tokens = limit.tokens.to_string();
        let given: Vec<&str> = LIMITS
            .iter()
            .copied()
            .filter(|name| body.value(name).is_some())
            .collect();
        for name in &given {
            edit.set(name, &tokens);
        }
        if given.is_empty() || (limit.always && !given.contains(&limit.name)) {
            edit.set(limit.name, &tokens);
        }
    }
    // A stored completion would be in the operator's account, where other callers could read it.
    if body.flag("store")? {
        edit.set("store", "false");
    }
    if !changes.removed.is_empty() {
        take_out(&mut edit, &body, changes)?;
    }
    if body.flag("stream")? {
        choices::ask_for_usage(&body, &mut edit)?;
    }
    Ok(edit.apply())
}

/// Removes everything in `changes.removed`: hosted tools, and members that raise the price.
fn take_out<'a>(
    edit: &mut Edit<'a>,
    body: &Object<'a>,
    changes: &Changes<'_>,
) -> Result<(), Unreadable> {
    tools::take_out_of_body(edit, body, Of::Chat, changes)?;
    tiers::take_out(edit, changes);
    for name in HOSTED {
        let called = match *name {
            "web_search_options" => "web_search",
            name => name,
        };
        if changes.removes(called) {
            edit.remove(name);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
