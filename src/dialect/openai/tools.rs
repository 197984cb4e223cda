//! Reads the tools of a call: those that the client runs, and hosted tools, which the provider runs itself.
//!
//! A tool's `type` must be in a list here. An unknown `type` is refused, because such a tool may run at
//! either.

use super::content::weight;
use crate::dialect::call::{Changes, Extras, Unreadable};
use crate::dialect::extras::{family, thin, word};
use crate::dialect::object::{self, Edit, Object};
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;

/// Hosted tools: values of `type`, without a version.
const HOSTED: &[&str] = &[
    "web_search",
    "web_search_premium",
    "web_fetch",
    "web_browser",
    "file_search",
    "code_interpreter",
    "code_execution",
    "image_generation",
    "mcp",
    "connector",
    "tool_search",
    "shell",
    "browser_search",
    "browser_automation",
    "visit_website",
    "wolfram_alpha",
    "live_search",
    "x_search",
    "collections_search",
    "attachment_search",
    "google_search",
    "retrieval",
    "document_library",
    "drawing_tool",
    "builtin_function",
];

/// Members of a chat tool beside its `function` that make the provider run nothing.
const HARMLESS_TOOL_MEMBERS: &[&str] = &[
    "cache_control",
    "strict",
    "name",
    "description",
    "parameters",
    "id",
];

/// Prefixes of the types of a vendor's own hosted tools, such as `openrouter:web_search`.
const VENDOR_TOOL_PREFIXES: &[&str] = &["openrouter:"];

/// Upper bound of the tokens in which a provider describes one of its built-in tools, such as `apply_patch`,
/// to a model. Providers do not publish it; 1,000 tokens are a page of text.
const BUILT_IN_TOOL_TOKENS: u64 = 1_000;

/// API call that a list of tools belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Chat,
    Responses,
}

/// Place where a tool runs.
enum Runs<'a> {
    /// At the client. The provider may describe a tool such as `local_shell` itself, in at most this many
    /// tokens.
    Client(Tokens),
    /// A `namespace`: each tool of this list runs in its own place.
    Each(&'a RawValue),
    /// At the provider: the hosted tool's name, without its version.
    Provider(String),
}

/// Facts about a list of tools, beside its hosted tools in [`Extras`].
#[derive(Debug, Default)]
pub struct Tools {
    /// Upper bound of the tokens that the provider may add to describe them.
    pub described: Tokens,
    pub run_at_client: bool,
}

/// Returns the first 40 characters of a caller's word, to quote it in an error.
pub fn short(word: &str) -> &str {
    word.char_indices()
        .nth(40)
        .map_or(word, |(end, _)| &word[..end])
}

/// Reads a list of tools, and records the hosted ones in `extras.hosted`.
pub(crate) fn read(list: &RawValue, of: Of, extras: &mut Extras) -> Result<Tools, Unreadable> {
    let mut seen = Tools::default();
    object::list(list, "tools", |tool| {
        match runs(tool, of)? {
            Runs::Client(described) => {
                seen.described = seen.described.plus(described);
                seen.run_at_client = true;
            }
            Runs::Each(list) => {
                object::list(list, "tools", |tool| {
                    if let Runs::Each(_) = runs(tool, of)? {
                        let why = "A namespace of tools must not hold another";
                        return Err(Unreadable(why.to_owned()));
                    }
                    Ok(())
                })?;
                let within = read(list, of, extras)?;
                seen.described = seen.described.plus(within.described);
                seen.run_at_client |= within.run_at_client;
            }
            Runs::Provider(name) => {
                if of == Of::Chat && !extras.unbounded.contains(&name) {
                    extras.unbounded.push(name.clone());
                }
                extras.hosted(name, None)?;
            }
        }
        Ok(())
    })?;
    Ok(seen)
}

fn runs(tool: &RawValue, of: Of) -> Result<Runs<'_>, Unreadable> {
    let known = &["type", "tools", "environment", "execution", "function"];
    // Some servers accept hosted tools in other members of a tool that has a `function`.
    let mut has_more = false;
    let tool = Object::read(tool.get(), "A tool", known, |name, value| {
        has_more |= !HARMLESS_TOOL_MEMBERS.contains(&name) && value.get() != "null";
    })?;
    let kind = tool.string("type")?.unwrap_or_default();
    let described = Tokens::new(BUILT_IN_TOOL_TOKENS);
    Ok(match (&*kind, of) {
        ("", Of::Chat) if tool.value("function").is_some() && !has_more => {
            Runs::Client(Tokens::ZERO)
        }
        ("function", Of::Chat) if has_more => {
            let why = "A tool of type function must have its function alone";
            return Err(Unreadable(why.to_owned()));
        }
        ("function" | "custom", _) => Runs::Client(Tokens::ZERO),
        ("namespace", Of::Responses) => match tool.value("tools") {
            Some(list) => Runs::Each(list),
            None => Runs::Client(Tokens::ZERO),
        },
        ("local_shell" | "apply_patch", Of::Responses) => Runs::Client(described),
        ("shell", Of::Responses) if is_local(&tool)? => Runs::Client(described),
        ("tool_search", Of::Responses) if word(&tool, "execution") == "client" => {
            Runs::Client(described)
        }
        (kind, _) => match hosted(kind) {
            Some(name) => Runs::Provider(name),
            None => {
                return Err(Unreadable(format!(
                    "Tools of type {} are not served here: where they run is not known",
                    short(kind)
                )));
            }
        },
    })
}

/// Returns the name of a hosted tool, without its version. `None`: no tool of this `type` is hosted.
fn hosted(kind: &str) -> Option<String> {
    let name = family(kind);
    let is_vendors = || {
        VENDOR_TOOL_PREFIXES
            .iter()
            .any(|start| kind.starts_with(start))
    };
    (HOSTED.contains(&name.as_str()) || is_vendors()).then_some(name)
}

/// Returns the same for a `tool_choice`, where `shell` can mean one that runs at the client.
fn hosted_choice(kind: &str) -> Option<String> {
    hosted(kind).filter(|_| kind != "shell")
}

/// Whether a shell's `environment` is at the client, and not in a container of the operator's.
pub(crate) fn is_local(object: &Object<'_>) -> Result<bool, Unreadable> {
    let Some(environment) = object.value("environment") else {
        return Ok(true);
    };
    let environment = Object::read(environment.get(), "environment", &["type"], |_, _| {})?;
    Ok(word(&environment, "type") == "local")
}

/// Records in `extras.forced` the hosted tools that a `tool_choice` demands. Returns the tokens of the choice
/// itself.
pub(crate) fn choice(
    choice: Option<&RawValue>,
    tools: &Tools,
    extras: &mut Extras,
) -> Result<Tokens, Unreadable> {
    let Some(choice) = choice else {
        return Ok(Tokens::ZERO);
    };
    if matches!(choice.get(), "\"required\"" | "\"any\"") && !tools.run_at_client {
        extras.forced = extras.hosted.iter().map(|(name, _)| name.clone()).collect();
    }
    if choice.get().starts_with('{') {
        let object = read_choice(choice)?;
        let kind = word(&object, "type");
        let mut named = Vec::new();
        if let Some(list) = allowed(&object)? {
            let hosted = hosted_of(list)?;
            let is_forced = hosted.iter().all(Option::is_some);
            named.extend(hosted.into_iter().flatten());
            if is_forced {
                extras.forced.clone_from(&named);
            }
        } else if let Some(name) = hosted_choice(&kind) {
            named.push(name);
            extras.forced.clone_from(&named);
        }
        // A caller may list any number of them, of the same few names.
        named.sort_unstable();
        named.dedup();
        for name in named {
            if extras.hosted.iter().all(|(known, _)| *known != name) {
                extras.hosted(name, None)?;
            }
        }
    }
    Ok(weight(choice))
}

fn read_choice(choice: &RawValue) -> Result<Object<'_>, Unreadable> {
    let known = &["type", "tools", "allowed_tools"];
    Object::read(choice.get(), "tool_choice", known, |_, _| {})
}

/// Returns the tools that a `tool_choice` allows: its own `tools`, or those of its `allowed_tools`.
fn allowed<'a>(choice: &Object<'a>) -> Result<Option<&'a RawValue>, Unreadable> {
    let Some(within) = choice.value("allowed_tools") else {
        return Ok(choice.value("tools"));
    };
    let within = Object::read(within.get(), "allowed_tools", &["tools"], |_, _| {})?;
    Ok(within.value("tools"))
}

/// Returns the name of each tool of a list that is hosted, and `None` for each of the others.
fn hosted_of(list: &RawValue) -> Result<Vec<Option<String>>, Unreadable> {
    let mut hosted = Vec::new();
    object::list(list, "tools", |tool| {
        let tool = Object::read(tool.get(), "A tool", &["type"], |_, _| {})?;
        hosted.push(hosted_choice(&word(&tool, "type")));
        Ok(())
    })?;
    Ok(hosted)
}

/// Removes the tools in `changes.removed` from a list. Returns true, and removes nothing, if none would be
/// left.
pub(crate) fn take_out<'a>(
    edit: &mut Edit<'a>,
    list: &'a RawValue,
    of: Of,
    changes: &Changes<'_>,
) -> Result<bool, Unreadable> {
    thin(edit, list, |edit, tool| match runs(tool, of)? {
        Runs::Client(_) => Ok(false),
        Runs::Each(list) => take_out(edit, list, of, changes),
        Runs::Provider(name) => Ok(changes.removes(&name)),
    })
}

/// Removes those tools from a body, and everything that refers to them: entries in `allowed_tools`, or
/// `tool_choice` and `parallel_tool_calls` if no tool is left.
pub(crate) fn take_out_of_body<'a>(
    edit: &mut Edit<'a>,
    body: &Object<'a>,
    of: Of,
    changes: &Changes<'_>,
) -> Result<(), Unreadable> {
    if let Some(list) = body.value("tools")
        && take_out(edit, list, of, changes)?
    {
        for name in ["tools", "tool_choice", "parallel_tool_calls"] {
            edit.remove(name);
        }
        return Ok(());
    }
    let choice = body
        .value("tool_choice")
        .filter(|choice| choice.get().starts_with('{'));
    if let Some(choice) = choice
        && let Some(list) = allowed(&read_choice(choice)?)?
    {
        let mut hosted = hosted_of(list)?.into_iter();
        thin(edit, list, |_, _| {
            let name = hosted.next().flatten();
            Ok(name.is_some_and(|name| changes.removes(&name)))
        })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
