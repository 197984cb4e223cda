//! What a body asks for besides an answer of the model's own: tools that the provider runs itself, and
//! what changes the price or has more generated than the body shows.
//!
//! Found by the reader of a call, decided for its endpoint, taken out by the call's writer. What is
//! taken out is named in the answer.

use super::call::{Api, Call, Unreadable};
use super::object::{self, Edit, Object};
use crate::rules::amount::Tokens;
use crate::rules::config::Endpoint;
use crate::rules::hosted::HostedTools;
use crate::rules::server::Server;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// So many calls of hosted tools a request may ask for, where they are priced and it names no number.
const MOST_CALLS: u64 = 5;

/// More names than any request asks for.
const MOST_NAMES: usize = 20;

const LONGEST_NAME: usize = 40;

/// Betas that change the price, or what is generated, by a part of their names.
const DEAR_BETAS: &[(Api, &str)] = &[
    (Api::Anthropic, "context-1m"),
    (Api::Anthropic, "fast-mode"),
    (Api::Anthropic, "compact-"),
    (Api::Anthropic, "advisor-tool"),
    (Api::OpenAi, "multi_agent"),
];

/// What an endpoint makes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What is taken out, by name.
    pub removed: Vec<String>,
    /// The most calls of hosted tools, where some are served.
    pub calls: Option<u64>,
    pub hosted: Hosted,
}

/// Costs of calls of tools that the provider runs itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosted {
    /// All that may be made, at most.
    pub held: Tokens,
    /// One of each.
    pub prices: Vec<(String, Tokens)>,
    /// Those that are made and not shown.
    pub unshown: u64,
}

/// Decides for an endpoint. `betas` are the values of the request's own headers.
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
        let calls = calls.unwrap_or(MOST_CALLS).min(MOST_CALLS);
        if hosted.prices.iter().all(|(known, _)| known != name) {
            hosted.prices.push((name.clone(), price));
        }
        decision.calls = Some(MOST_CALLS);
        hosted.held = hosted.held.plus(price.times(calls));
    }
    hosted.unshown = u64::from(extras.unshown && decision.calls.is_some());
    if let (Some(most), Some(_)) = (extras.shared, decision.calls) {
        let calls = most.min(MOST_CALLS);
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
    for name in extras.dear.iter().cloned().chain(betas) {
        if !endpoint.members.contains(&name) {
            decision.remove(&name)?;
        }
    }
    Ok(decision)
}

/// The server keeps to the number of calls that a request names.
fn bounds_calls(endpoint: &Endpoint) -> bool {
    use Server::{Anthropic, Azure, Demo, OpenAi, OpenRouter};
    matches!(
        endpoint.server,
        OpenAi | Azure | Anthropic | OpenRouter | Demo
    )
}

/// At some servers a model's name says more than a model's name.
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
        if self.removed.len() == MOST_NAMES {
            let why = format!("The request asks for more than {MOST_NAMES} things not served here");
            return Err(Unreadable(why));
        }
        self.removed.push(name.to_owned());
        Ok(())
    }

    fn removes(&self, name: &str) -> bool {
        self.removed.iter().any(|removed| removed == name)
    }
}

/// The values of a header for betas that are dear, one by one.
pub fn dear_betas(api: Api, header: &[u8]) -> impl Iterator<Item = String> {
    let values = betas(header).map(String::from_utf8_lossy);
    values
        .filter(move |value| is_dear(api, value))
        .map(|value| shown(&value))
}

/// A header for betas without those that are taken out.
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

/// A beta as an answer can name it.
fn shown(value: &str) -> String {
    let plain = |char: &char| char.is_ascii_alphanumeric() || "_-.=:".contains(*char);
    value.chars().filter(plain).take(2 * LONGEST_NAME).collect()
}

fn is_dear(api: Api, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let mut dear = DEAR_BETAS.iter();
    dear.any(|(of, part)| *of == api && value.contains(part))
}

/// A tool's kind without its version: what an operator calls it, and what an answer can name.
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
    if name.len() <= LONGEST_NAME && name.bytes().all(plain) {
        name.to_ascii_lowercase()
    } else {
        "tool".to_owned()
    }
}

/// A member of an object where it is a string.
pub fn word<'a>(object: &Object<'a>, name: &str) -> Cow<'a, str> {
    let value = object.written(name);
    value.and_then(object::string).unwrap_or_default()
}

/// Whether an address is of one of these schemes.
pub fn has_scheme(address: &str, schemes: &[&str]) -> bool {
    let scheme = address.split_once(':').map_or("", |(scheme, _)| scheme);
    let mut schemes = schemes.iter();
    schemes.any(|known| scheme.eq_ignore_ascii_case(known))
}

/// A file that is only named is one of the operator's account, where others have theirs.
pub fn not_stored(is_named: bool) -> Result<(), Unreadable> {
    if is_named {
        let why = "file_id is not served here: send the file itself";
        return Err(Unreadable(why.to_owned()));
    }
    Ok(())
}

/// Takes elements out of a list that stands anywhere in a body. Of a list that would be left empty
/// nothing is taken: true.
pub fn thin<'a>(
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
