//! Extras of a call: hosted tools, which the provider runs itself, and members that change the price or cause
//! more output than the body shows.
//!
//! A call's `read` collects them in `Extras`, [`decide`] decides about them for an endpoint, and `rewrite`
//! removes them. No removal is silent: every removed name is listed in the `x-resullm-removed` header.

use super::call::{Api, Call, Unreadable};
use super::object::{self, Edit, Object};
use crate::rules::amount::Tokens;
use crate::rules::config::Endpoint;
use crate::rules::hosted::HostedTools;
use crate::rules::server::Server;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Maximum number of calls of a priced hosted tool in one request, and the default if the body sets no
/// number.
const MAX_HOSTED_CALLS: u64 = 5;

/// Maximum number of names removed from one request. No request needs as many.
const MAX_REMOVED_NAMES: usize = 20;

/// Longest name of a tool that is shown as written, in bytes.
const MAX_TOOL_NAME_BYTES: usize = 40;

/// Betas that change the price or the output, by a part of their value in `anthropic-beta` or `openai-beta`.
const SURCHARGED_BETAS: &[(Api, &str)] = &[
    (Api::Anthropic, "context-1m"),
    (Api::Anthropic, "fast-mode"),
    (Api::Anthropic, "compact-"),
    (Api::Anthropic, "advisor-tool"),
    (Api::OpenAi, "multi_agent"),
];

/// Decision of an endpoint about a call's `Extras`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Names of the tools, members and betas to remove.
    pub removed: Vec<String>,
    /// Maximum number of hosted tool calls. `None`: no hosted tool is served.
    pub calls: Option<u64>,
    pub hosted: Hosted,
}

/// Costs of the hosted tool calls that are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosted {
    /// Upper bound of the cost of all calls, added to the hold.
    pub held: Tokens,
    /// Price of one call of each tool, by its name.
    pub prices: Vec<(String, Tokens)>,
    /// Number of calls that are made but not shown in the answer, from `Extras::has_unshown_call`.
    pub has_unshown_call: u64,
}

/// Decides which extras of a call the endpoint serves. `betas` are the values of the request's own headers
/// that [`surcharged_betas`] found.
pub fn decide(
    call: &Call,
    endpoint: &Endpoint,
    betas: impl Iterator<Item = String>,
) -> Result<Decision, Unreadable> {
    let extras = &call.extras;
    let mut decision = Decision::default();
    let mut hosted = Hosted::default();
    check_model(call.model.as_deref(), endpoint.server)?;
    for (name, calls) in &extras.hosted {
        let price = endpoint.hosted_tools.price(name);
        let is_bounded = bounds_calls(endpoint) && !extras.unbounded.contains(name);
        let Some(price) = price.filter(|_| is_bounded) else {
            if endpoint.hosted_tools == HostedTools::Refuse {
                return Err(Unreadable(format!(
                    "{name} is not served here: only tools that run at the client are"
                )));
            }
            decision.remove(name)?;
            continue;
        };
        let calls = calls.unwrap_or(MAX_HOSTED_CALLS).min(MAX_HOSTED_CALLS);
        if hosted.prices.iter().all(|(known, _)| known != name) {
            hosted.prices.push((name.clone(), price));
        }
        decision.calls = Some(MAX_HOSTED_CALLS);
        hosted.held = hosted.held.plus(price.times(calls));
    }
    hosted.has_unshown_call = u64::from(extras.has_unshown_call && decision.calls.is_some());
    if let (Some(most), Some(_)) = (extras.shared, decision.calls) {
        let calls = most.min(MAX_HOSTED_CALLS);
        decision.calls = Some(calls);
        let dearest = hosted.prices.iter().map(|(_, price)| *price).max();
        hosted.held = dearest.unwrap_or_default().times(calls);
    }
    decision.hosted = hosted;
    if !extras.forced.is_empty() && extras.forced.iter().all(|name| decision.removes(name)) {
        return Err(Unreadable(format!(
            "tool_choice asks for {}, which is not served here: only tools that run at the client are",
            extras.forced[0]
        )));
    }
    for name in extras.surcharged.iter().cloned().chain(betas) {
        if !endpoint.members.contains(&name) {
            decision.remove(&name)?;
        }
    }
    Ok(decision)
}

/// Whether the endpoint's server obeys the number of calls that a request sets.
fn bounds_calls(endpoint: &Endpoint) -> bool {
    use Server::{Anthropic, Azure, Demo, OpenAi, OpenRouter};
    matches!(
        endpoint.server,
        OpenAi | Azure | Anthropic | OpenRouter | Demo
    )
}

/// Refuses model names that make OpenRouter read more than the body shows: `:online` searches, `@preset` adds
/// a stored prompt.
fn check_model(model: Option<&str>, server: Server) -> Result<(), Unreadable> {
    if server != Server::OpenRouter {
        return Ok(());
    }
    let model = model.unwrap_or_default().to_ascii_lowercase();
    if [":online", "@preset"]
        .iter()
        .any(|what| model.contains(what))
    {
        let why = "model is not served here with :online or @preset: \
            the body does not show what is read for it";
        return Err(Unreadable(why.to_owned()));
    }
    Ok(())
}

impl Decision {
    fn remove(&mut self, name: &str) -> Result<(), Unreadable> {
        if self.removes(name) {
            return Ok(());
        }
        if self.removed.len() == MAX_REMOVED_NAMES {
            let why = format!(
                "The request asks for more than {MAX_REMOVED_NAMES} things not served here"
            );
            return Err(Unreadable(why));
        }
        self.removed.push(name.to_owned());
        Ok(())
    }

    fn removes(&self, name: &str) -> bool {
        self.removed.iter().any(|removed| removed == name)
    }
}

/// Returns the values of a beta header that match `SURCHARGED_BETAS`, one by one.
pub fn surcharged_betas(api: Api, header: &[u8]) -> impl Iterator<Item = String> {
    let values = betas(header).map(String::from_utf8_lossy);
    values
        .filter(move |value| is_surcharged(api, value))
        .map(|value| shown(&value))
}

/// Returns a beta header without the values that are removed.
pub fn kept_betas(header: &[u8], removed: &[String]) -> Vec<u8> {
    if removed.is_empty() {
        return header.to_owned();
    }
    let is_kept = |value: &&[u8]| {
        let value = String::from_utf8_lossy(value);
        let name = shown(&value);
        removed.iter().all(|removed| *removed != name)
    };
    let kept: Vec<&[u8]> = betas(header).filter(is_kept).collect();
    kept.join(&b","[..])
}

fn betas(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let values = header.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    values.filter(|value| !value.is_empty())
}

/// Returns a beta's value reduced to characters that fit in the `x-resullm-removed` header.
fn shown(value: &str) -> String {
    let plain = |char: &char| char.is_ascii_alphanumeric() || "_-.=:".contains(*char);
    value
        .chars()
        .filter(plain)
        .take(2 * MAX_TOOL_NAME_BYTES)
        .collect()
}

fn is_surcharged(api: Api, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let mut dear = SURCHARGED_BETAS.iter();
    dear.any(|(of, part)| *of == api && value.contains(part))
}

/// Returns a tool's `type` without its version. Operators configure this name, and `x-resullm-removed` lists
/// it.
pub fn family(kind: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:$".contains(&byte);
    let mut name = kind;
    while let Some((start, version)) = name.rsplit_once('_')
        && !start.is_empty()
        && version.bytes().all(|byte| byte.is_ascii_digit())
    {
        name = start;
    }
    let name = name.strip_suffix("_preview").unwrap_or(name);
    if name.len() <= MAX_TOOL_NAME_BYTES && name.bytes().all(plain) {
        name.to_ascii_lowercase()
    } else {
        "tool".to_owned()
    }
}

/// Returns the member `name` of an object if it is a string, else an empty string.
pub fn word<'a>(object: &Object<'a>, name: &str) -> Cow<'a, str> {
    let value = object.written(name);
    value.and_then(object::string).unwrap_or_default()
}

/// Whether the URL `address` has one of these `schemes`.
pub(crate) fn has_scheme(address: &str, schemes: &[&str]) -> bool {
    let scheme = address.split_once(':').map_or("", |(scheme, _)| scheme);
    let mut schemes = schemes.iter();
    schemes.any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Refuses a `file_id`: it names a file in the operator's account, where other callers have files too.
pub(crate) fn not_stored(is_named: bool) -> Result<(), Unreadable> {
    if is_named {
        let why = "file_id is not served here: send the file itself";
        return Err(Unreadable(why.to_owned()));
    }
    Ok(())
}

/// Removes elements from a list anywhere in a body. Returns `true`, and removes none, if the list would be
/// left empty.
pub(crate) fn thin<'a>(
    edit: &mut Edit<'a>,
    list: &'a RawValue,
    mut is_gone: impl FnMut(&mut Edit<'a>, &'a RawValue) -> Result<bool, Unreadable>,
) -> Result<bool, Unreadable> {
    let mut elements = Vec::new();
    object::list(list, "A list", |value| {
        let is_gone = is_gone(edit, value)?;
        elements.push((value, is_gone));
        Ok(())
    })?;
    let is_empty = !elements.is_empty() && elements.iter().all(|(_, is_gone)| *is_gone);
    if !is_empty {
        edit.thin(&elements);
    }
    Ok(is_empty)
}

#[cfg(test)]
#[path = "extras_tests.rs"]
mod tests;
