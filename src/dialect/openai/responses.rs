//! `POST responses`: reads a call, rewrites it for an endpoint, meters its response.
//!
//! A body must show everything that the provider will read for it. References into the operator's own account
//! (stored responses, conversations, prompt templates) are refused. Input items are accepted by `type`,
//! because an unknown one could be such a reference.

use super::content::{self, stray, weight, weights};
use super::items::{self, StreamMeter};
use super::tiers;
use super::tools::{self, Of, Tools, short};
use crate::dialect::call::{self, Api, Bounds, Call, Changes, Extras, Reading, Unreadable};
use crate::dialect::extras::thin;
use crate::dialect::object::{self, Edit, Object};
use crate::dialect::replay::{Replay, responses::ResponseAnswers};
use crate::dialect::unknown_members::UnknownMembers;
use crate::dialect::{Dialect, Meter, prompt};
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Members that the gateway itself reads or writes.
const KNOWN: &[&str] = &[
    "model",
    "prompt_cache_key",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_tool_calls",
    "include",
    "metadata",
    "service_tier",
    "multi_agent",
    "max_output_tokens",
    "stream",
    "background",
    "store",
    "previous_response_id",
    "conversation",
    "prompt",
    "context_management",
];

/// Members that make the provider read or generate something that the body does not show, with advice for the
/// caller.
const REFUSED_MEMBERS: &[(&str, &str)] = &[
    ("previous_response_id", "send the whole input instead"),
    ("conversation", "send the whole input instead"),
    ("prompt", "send the instructions themselves"),
    ("context_management", "shorten the input instead"),
];

/// Other members that no model reads. Every remaining member counts as prompt.
const SETTINGS: &[&str] = &[
    "stream_options",
    "temperature",
    "top_p",
    "top_logprobs",
    "user",
    "reasoning",
    "truncation",
    "safety_identifier",
    "prompt_cache_options",
    "prompt_cache_retention",
    "verbosity",
];

/// Members that a model reads: known, and counted as prompt.
const MODEL_READS: &[&str] = &["text", "response_format"];

/// Types of the input items whose texts a model reads.
const TEXT_ITEMS: &[&str] = &[
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "reasoning",
];

/// Members of an input item.
const ITEM: &[&str] = &[
    "type",
    "role",
    "content",
    "output",
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

/// Members of an item that count in full: all but its `type`, its `role`, and the parts in `content` and
/// `output`.
const TEXT_MEMBERS: &[&str] = ITEM.split_at(4).1;

/// Types of the input items that are known, though not how a model reads them: all of their bytes count.
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

/// [`Dialect`] of `POST responses`.
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

    fn replay(&self) -> Option<&'static dyn Replay> {
        Some(&ResponseAnswers)
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable(why.into()))
}

fn read(bytes: &[u8], bounds: &Bounds) -> Result<Call, Unreadable> {
    let (body, mut prompt, mut unknown_members) =
        Object::prompt(bytes, KNOWN, SETTINGS, MODEL_READS)?;
    if body.flag("background")? {
        return refused("background is not served here: wait for the answer or stream it");
    }
    for (name, instead) in REFUSED_MEMBERS {
        if body.value(name).is_some() {
            return refused(format!("{name} is not served here: {instead}"));
        }
    }
    let mut extras = Extras {
        shared: Some(body.number("max_tool_calls", 0)?.unwrap_or(u64::MAX)),
        ..Extras::default()
    };
    let mut offered = Tools::default();
    if let Some(list) = body.value("tools") {
        offered = tools::read(list, Of::Responses, &mut extras)?;
        prompt = prompt.plus(weight(list)).plus(offered.described);
    }
    body.string("instructions")?;
    if let Some(instructions) = body.value("instructions") {
        prompt = prompt.plus(weight(instructions)).plus(frame());
    }
    if let Some(value) = body.value("input") {
        let mut input = Input {
            bounds,
            unknown_members: &mut unknown_members,
            extras: &mut extras,
            offered: &mut offered,
        };
        prompt = prompt.plus(input.read(value)?);
    }
    let choice = body.value("tool_choice");
    prompt = prompt.plus(tools::choice(choice, &offered, &mut extras)?);
    tiers::read(&body, &mut extras)?;
    prompt = prompt.plus(content::metadata(&body, &mut unknown_members));
    Ok(Call {
        unknown_members: unknown_members.names()?,
        extras,
        model: body.string("model")?.map(Cow::into_owned),
        stream: body.flag("stream")?,
        cache_key: body.string("prompt_cache_key")?.map(Cow::into_owned),
        // A `responses` stream always reports its usage, so the gateway never asks for it.
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

/// Reads the items of `input` and sums their tokens.
struct Input<'r> {
    bounds: &'r Bounds,
    unknown_members: &'r mut UnknownMembers,
    extras: &'r mut Extras,
    /// Tools of the body and of its items: `additional_tools` and the like bring their own.
    offered: &'r mut Tools,
}

impl Input<'_> {
    fn read(&mut self, value: &RawValue) -> Result<Tokens, Unreadable> {
        if value.get().starts_with('"') {
            return Ok(weight(value).plus(frame()));
        }
        let mut sum = Tokens::ZERO;
        object::list(value, "input", |value| {
            sum = sum.plus(self.item(value)?).plus(frame());
            Ok(())
        })?;
        Ok(sum)
    }

    fn item(&mut self, value: &RawValue) -> Result<Tokens, Unreadable> {
        let mut sum = Tokens::ZERO;
        let item = read_item(value, |name, value| {
            sum = sum.plus(stray(name, value));
            self.unknown_members
                .record_unless_null("input", name, value);
        })?;
        let kind = match item.string("type")? {
            Some(kind) => kind,
            None if item.value("role").is_some() => "message".into(),
            // An item with nothing but an `id` refers to a stored one.
            None => return refused("An item of input must have a type or a role"),
        };
        let mut described = Tokens::ZERO;
        if let Some(list) = item.value("tools") {
            let tools = tools::read(list, Of::Responses, self.extras)?;
            self.offered.run_at_client |= tools.run_at_client;
            described = tools.described;
        }
        if !tools::is_local(&item)? {
            return refused("A shell is served here only with a local environment");
        }
        if OTHER_ITEMS.contains(&&*kind) {
            return Ok(weight(value).plus(described));
        }
        if !TEXT_ITEMS.contains(&&*kind) {
            return refused(format!(
                "Input items of type {} are not served here: they do not show all that is read for them",
                short(&kind)
            ));
        }
        let is_empty = |names: &[&str]| weights(&item, names).is_zero();
        if kind == "reasoning" && !is_empty(&["id"]) && is_empty(&["encrypted_content", "content"])
        {
            return refused(
                "An input item of type reasoning must have its content: include reasoning.encrypted_content",
            );
        }
        sum = sum.plus(content::role(&item)).plus(described);
        sum = sum.plus(weights(&item, TEXT_MEMBERS));
        for value in ["content", "output"]
            .iter()
            .filter_map(|name| item.value(name))
        {
            sum = sum.plus(content::whole(value, self.bounds, self.unknown_members)?);
        }
        Ok(sum)
    }
}

fn read_item<'a>(
    value: &'a RawValue,
    other: impl FnMut(&'a str, &'a RawValue),
) -> Result<Object<'a>, Unreadable> {
    Object::read(value.get(), "An item of input", ITEM, other)
}

/// Removes the entries of `include` that belong to a removed tool, such as `web_search_call.results`.
fn take_out_included<'a>(
    edit: &mut Edit<'a>,
    body: &Object<'a>,
    changes: &Changes<'_>,
) -> Result<(), Unreadable> {
    let Some(list) = body.value("include") else {
        return Ok(());
    };
    let is_empty = thin(edit, list, |_, entry| {
        let entry = object::string(entry).unwrap_or_default();
        let tool = entry.split('.').next().unwrap_or_default();
        let tool = tool.strip_suffix("_call").unwrap_or_default();
        Ok(changes.removes(tool))
    })?;
    if is_empty {
        edit.remove("include");
    }
    Ok(())
}

/// Removes tools from the items of `input`, which may have a `tools` list too.
fn take_out_of_input<'a>(
    edit: &mut Edit<'a>,
    body: &Object<'a>,
    changes: &Changes<'_>,
) -> Result<(), Unreadable> {
    let items = body
        .value("input")
        .filter(|items| items.get().starts_with('['));
    let Some(items) = items else {
        return Ok(());
    };
    object::list(items, "input", |value| {
        if let Some(list) = read_item(value, |_, _| {})?.value("tools")
            && tools::take_out(edit, list, Of::Responses, changes)?
        {
            edit.replace(list, "[]");
        }
        Ok(())
    })
}

/// Rewrites a body for the provider. Sets `store` to false in every body: a stored response would be in the
/// operator's account, where other callers could read it. A body without other changes still differs in
/// `store`.
fn rewrite(bytes: &[u8], changes: &Changes<'_>) -> Result<Vec<u8>, Unreadable> {
    let body = Object::body(bytes, KNOWN, |_, _| {})?;
    let mut edit = Edit::of(&body, changes);
    if let Some(limit) = changes.limit {
        // Every endpoint knows the limit by this name, whatever `Limit::name` says.
        edit.set("max_output_tokens", &limit.tokens.to_string());
    }
    edit.set("store", "false");
    if !changes.removed.is_empty() {
        tools::take_out_of_body(&mut edit, &body, Of::Responses, changes)?;
        take_out_of_input(&mut edit, &body, changes)?;
        take_out_included(&mut edit, &body, changes)?;
        tiers::take_out(&mut edit, changes);
    }
    if let Some(calls) = changes.calls {
        edit.set("max_tool_calls", &calls.to_string());
    }
    Ok(edit.apply())
}

#[cfg(test)]
#[path = "responses_tests.rs"]
mod tests;
