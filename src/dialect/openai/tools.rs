//! The tools of a call: which run at the client, and which the provider would run itself.
//!
//! Tools are served by name: a new kind may be either.

use super::content::weight;
use crate::dialect::call::{Changes, Extras, Unreadable};
use crate::dialect::extras::{family, thin, word};
use crate::dialect::object::{self, Edit, Object};
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;

/// Tools that a provider runs itself, without their versions.
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

/// Members of a tool of a chat beside its function that run nothing.
const BESIDE: &[&str] = &[
    "cache_control",
    "strict",
    "name",
    "description",
    "parameters",
    "id",
];

/// How the names of a vendor's own tools begin.
const VENDORS: &[&str] = &["openrouter:"];

/// What a provider may write itself to describe one of its own tools to a model. Not published; a
/// page of text.
const BUILT_IN_TOOL: u64 = 1_000;

/// Which call the tools are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Chat,
    Responses,
}

/// Where a tool runs.
enum Runs<'a> {
    /// At the client; the provider may describe it itself, in so many tokens.
    Client(Tokens),
    /// Where each of its own tools does.
    Each(&'a RawValue),
    Provider(String),
}

#[derive(Debug, Default)]
pub struct Tools {
    /// What the provider may add to describe them.
    pub described: Tokens,
    pub run_at_client: bool,
}

/// As much of a caller's own word as a sentence has room for.
pub fn short(word: &str) -> &str {
    word.char_indices()
        .nth(40)
        .map_or(word, |(end, _)| &word[..end])
}

/// The tools of a list, and those that the provider runs itself into `extras`.
pub fn read(list: &RawValue, of: Of, extras: &mut Extras) -> Result<Tools, Unreadable> {
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
    // Beside a function some servers take tools of their own.
    let mut has_more = false;
    let tool = Object::read(tool.get(), "A tool", known, |name, value| {
        has_more |= !BESIDE.contains(&name) && value.get() != "null";
    })?;
    let kind = tool.string("type")?.unwrap_or_default();
    let described = Tokens::new(BUILT_IN_TOOL);
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

/// The name of a tool that a provider runs itself.
fn hosted(kind: &str) -> Option<String> {
    let name = family(kind);
    let is_vendors = || VENDORS.iter().any(|start| kind.starts_with(start));
    (HOSTED.contains(&name.as_str()) || is_vendors()).then_some(name)
}

/// The same of a choice, which can mean a shell at the client.
fn hosted_choice(kind: &str) -> Option<String> {
    hosted(kind).filter(|_| kind != "shell")
}

/// A shell may run at the client, not in a container of the operator's.
pub fn is_local(object: &Object<'_>) -> Result<bool, Unreadable> {
    let Some(environment) = object.value("environment") else {
        return Ok(true);
    };
    let environment = Object::read(environment.get(), "environment", &["type"], |_, _| {})?;
    Ok(word(&environment, "type") == "local")
}

/// Whether `tool_choice` asks for a tool that the provider runs itself.
pub fn choice(
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
        // As many as a caller likes, of the same few names.
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

/// The tools that a choice is limited to: there, or one level down.
fn allowed<'a>(choice: &Object<'a>) -> Result<Option<&'a RawValue>, Unreadable> {
    let Some(within) = choice.value("allowed_tools") else {
        return Ok(choice.value("tools"));
    };
    let within = Object::read(within.get(), "allowed_tools", &["tools"], |_, _| {})?;
    Ok(within.value("tools"))
}

/// Of each of the tools the name, where the provider runs it.
fn hosted_of(list: &RawValue) -> Result<Vec<Option<String>>, Unreadable> {
    let mut hosted = Vec::new();
    object::list(list, "tools", |tool| {
        let tool = Object::read(tool.get(), "A tool", &["type"], |_, _| {})?;
        hosted.push(hosted_choice(&word(&tool, "type")));
        Ok(())
    })?;
    Ok(hosted)
}

/// Takes the tools that are not served out of a list. True: none would be left, and none is taken.
pub fn take_out<'a>(
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

/// Takes them out of a body, with all that is said of them.
pub fn take_out_of_body<'a>(
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
