//! `POST responses`: reads a call, rewrites it for an endpoint, meters its answer.
//!
//! A call must show all that the provider will read for it. What refers to the operator's own
//! account - stored responses, conversations, templates - or has the provider run tools of its own,
//! whose cost no body bounds, is refused. Tools and input items are served by name: a new kind may
//! be either.

use super::content::{self, stray, weight, weights};
use super::items::{self, StreamMeter};
use crate::dialect::call::{self, Api, Bounds, Call, Changes, Reading, Unreadable};
use crate::dialect::object::{self, Edit, Object};
use crate::dialect::{Dialect, Meter, prompt};
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The members that the gateway itself reads or writes.
const KNOWN: &[&str] = &[
    "model",
    "input",
    "instructions",
    "tools",
    "max_output_tokens",
    "stream",
    "background",
    "store",
    "previous_response_id",
    "conversation",
    "prompt",
    "context_management",
];

/// Members that would have the provider read, or generate, what the body does not show.
const UNSEEN: &[(&str, &str)] = &[
    ("previous_response_id", "send the whole input instead"),
    ("conversation", "send the whole input instead"),
    ("prompt", "send the instructions themselves"),
    ("context_management", "shorten the input instead"),
];

/// Other members that no model reads. Everything else is taken for a part of the prompt.
const NOT_PROMPT: &[&str] = &[
    "stream_options",
    "temperature",
    "top_p",
    "top_logprobs",
    "metadata",
    "user",
    "service_tier",
    "parallel_tool_calls",
    "reasoning",
    "truncation",
    "include",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "max_tool_calls",
    "verbosity",
];

/// Members that a model reads.
const READ: &[&str] = &["tool_choice", "text", "response_format"];

/// Input items that a model reads as their texts.
const TEXT_ITEMS: &[&str] = &[
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "reasoning",
];

/// The members of such an item, besides its type, its role and what it holds in parts.
const TEXTS: &[&str] = &[
    "id",
    "status",
    "summary",
    "encrypted_content",
    "call_id",
    "name",
    "arguments",
    "input",
    "tools",
    "environment",
];

/// Input items that are known, but not how a model reads them: all of their bytes count.
const OTHER_ITEMS: &[&str] = &[
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
];

/// What a provider may write itself to describe one of its own tools to a model. Not published; a
/// page of text.
const BUILT_IN_TOOL: u64 = 1_000;

pub struct Responses;

impl Dialect for Responses {
    fn api(&self) -> Api {
        Api::OpenAi
    }

    fn path(&self) -> &'static str {
        "responses"
    }

    fn read(&self, body: &call::Body<'_>, bounds: &Bounds) -> Result<Call, Unreadable> {
        read(body.bytes, bounds)
    }

    fn rewrite(&self, body: &call::Body<'_>, changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
        rewrite(body.bytes, changes)
    }

    fn meter(&self, _: &Call, answer: &[u8]) -> Reading {
        items::meter(answer)
    }

    fn stream(&self, _: &Call) -> Box<dyn Meter> {
        Box::new(StreamMeter::default())
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable(why.into()))
}

/// As much of a caller's own word as a sentence has room for.
fn short(word: &str) -> &str {
    word.char_indices()
        .nth(40)
        .map_or(word, |(end, _)| &word[..end])
}

fn read(bytes: &[u8], bounds: &Bounds) -> Result<Call, Unreadable> {
    let (body, mut prompt, strangers) = Object::prompt(bytes, KNOWN, NOT_PROMPT, READ)?;
    if body.flag("background")? {
        return refused("background is not served here: wait for the answer or stream it");
    }
    for (name, instead) in UNSEEN {
        if body.value(name).is_some() {
            return refused(format!("{name} is not served here: {instead}"));
        }
    }
    if let Some(list) = body.value("tools") {
        prompt = prompt.plus(weight(list)).plus(tools(list, true)?);
    }
    if let Some(instructions) = body.value("instructions") {
        prompt = prompt.plus(weight(instructions)).plus(frame());
    }
    if let Some(value) = body.value("input") {
        prompt = prompt.plus(input(value, bounds)?);
    }
    Ok(Call {
        strangers,
        model: body.string("model")?.map(Cow::into_owned),
        stream: body.flag("stream")?,
        // A stream always says what it used: nothing is asked for in the client's place.
        wants_usage: true,
        limit: body.number("max_output_tokens", 1)?,
        answers: 1,
        prompt,
        ..Call::default()
    })
}

fn frame() -> Tokens {
    Tokens::new(prompt::message_frames(1))
}

fn input(value: &RawValue, bounds: &Bounds) -> Result<Tokens, Unreadable> {
    if value.get().starts_with('"') {
        return Ok(weight(value).plus(frame()));
    }
    let mut sum = Tokens::ZERO;
    object::list(value, "input", |value| {
        sum = sum.plus(item(value, bounds)?).plus(frame());
        Ok(())
    })?;
    Ok(sum)
}

fn item(value: &RawValue, bounds: &Bounds) -> Result<Tokens, Unreadable> {
    let known = [&["type", "role", "content", "output"], TEXTS].concat();
    let mut sum = Tokens::ZERO;
    let item = Object::read(value.get(), "An item of input", &known, |name, value| {
        sum = sum.plus(stray(name, value));
    })?;
    let kind = match item.string("type")? {
        Some(kind) => kind,
        None if item.value("role").is_some() => "message".into(),
        // An ID alone stands for something stored.
        None => return refused("An item of input must have a type or a role"),
    };
    let mut built_in = Tokens::ZERO;
    if let Some(list) = item.value("tools") {
        built_in = tools(list, true)?;
    }
    check_environment(&item)?;
    if OTHER_ITEMS.contains(&&*kind) {
        return Ok(weight(value).plus(built_in));
    }
    if !TEXT_ITEMS.contains(&&*kind) {
        return refused(format!(
            "Input items of type {} are not served here: they do not show all that is read for them",
            short(&kind)
        ));
    }
    let is_empty = |names: &[&str]| weights(&item, names).is_zero();
    if kind == "reasoning" && !is_empty(&["id"]) && is_empty(&["encrypted_content", "content"]) {
        return refused(
            "An input item of type reasoning must have its content: include reasoning.encrypted_content",
        );
    }
    sum = sum.plus(content::role(&item)).plus(built_in);
    sum = sum.plus(weights(&item, TEXTS));
    for value in ["content", "output"]
        .iter()
        .filter_map(|name| item.value(name))
    {
        if value.get().starts_with('[') {
            object::list(value, "content", |value| {
                sum = sum.plus(content::part(value, bounds)?);
                Ok(())
            })?;
        } else {
            sum = sum.plus(weight(value));
        }
    }
    Ok(sum)
}

/// Refuses tools that the provider runs itself, and gives what it may add to describe the others.
fn tools(list: &RawValue, may_nest: bool) -> Result<Tokens, Unreadable> {
    let known = &["type", "tools", "environment", "execution"];
    let mut built_in = Tokens::ZERO;
    object::list(list, "tools", |value| {
        let tool = Object::read(value.get(), "A tool", known, |_, _| {})?;
        let kind = tool.string("type")?.unwrap_or_default();
        let described = match &*kind {
            "function" | "custom" => Tokens::ZERO,
            "namespace" if may_nest => match tool.value("tools") {
                Some(list) => tools(list, false)?,
                None => Tokens::ZERO,
            },
            "local_shell" | "apply_patch" | "shell" => {
                check_environment(&tool)?;
                Tokens::new(BUILT_IN_TOOL)
            }
            "tool_search" if tool.string("execution")?.as_deref() == Some("client") => {
                Tokens::new(BUILT_IN_TOOL)
            }
            _ => {
                return refused(format!(
                    "Tools of type {} are not served here: only tools that run at the client are",
                    short(&kind)
                ));
            }
        };
        built_in = built_in.plus(described);
        Ok(())
    })?;
    Ok(built_in)
}

/// A shell may run at the client, not in a container of the operator's.
fn check_environment(object: &Object<'_>) -> Result<(), Unreadable> {
    let Some(environment) = object.value("environment") else {
        return Ok(());
    };
    let environment = Object::read(environment.get(), "environment", &["type"], |_, _| {})?;
    if environment.string("type")?.as_deref() == Some("local") {
        return Ok(());
    }
    refused("A shell is served here only with a local environment")
}

/// The body that leaves for the provider. It never says that the response may be stored: that would
/// be in the operator's account, where others could read it. So a body in which nothing else must
/// change still differs in `store`.
fn rewrite(bytes: &[u8], changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
    let body = Object::body(bytes, KNOWN, |_, _| {})?;
    let mut edit = Edit::of(&body, changes);
    if let Some(limit) = changes.limit {
        // Every endpoint knows it by this name.
        edit.set("max_output_tokens", &limit.tokens.to_string());
    }
    edit.set("store", "false");
    Ok(edit.apply())
}

#[cfg(test)]
#[path = "responses_tests.rs"]
mod tests;
