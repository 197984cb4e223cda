//! Tools of a Messages call: those that run at the client, and hosted ones that the provider runs itself.
//!
//! A tool whose `type` is in neither list must never be forwarded.

use crate::dialect::call::{Changes, Extras, Unreadable};
use crate::dialect::extras::{family, thin, word};
use crate::dialect::object::{self, Edit, Object};
use serde_json::value::RawValue;

/// Tools that run at the client, by the beginning of their `type`.
const CLIENT: &[&str] = &["custom", "bash_", "text_editor_", "computer_", "memory_"];

/// Tools that the provider runs itself, by their `type` without its version.
const HOSTED: &[&str] = &[
    "web_search",
    "web_fetch",
    "code_execution",
    "tool_search_tool_regex",
    "tool_search_tool_bm25",
    "mcp_toolset",
    "advisor",
];

/// Members that let the provider read data that the body does not show.
pub(crate) const HOSTED_MEMBERS: &[&str] = &["mcp_servers", "container"];

/// Members that change the price, or cause more output than the answer shows.
pub(crate) const SURCHARGED: &[&str] = &["speed", "service_tier", "inference_geo", "compaction"];

/// Values of the `SURCHARGED` members that change nothing.
const PLAIN: &[&str] = &["standard", "auto", "standard_only", "not_available"];

/// Part of the `type` of edits that summarise the conversation.
const COMPACT: &str = "compact";

enum Runs {
    Client,
    Provider(String),
}

fn runs(tool: &Object<'_>) -> Result<Runs, Unreadable> {
    let kind = word(tool, "type");
    if tool.written("type").is_none_or(|kind| kind.get() == "null")
        || CLIENT.iter().any(|client| kind.starts_with(client))
    {
        return Ok(Runs::Client);
    }
    let name = family(&kind);
    if HOSTED.contains(&name.as_str()) {
        return Ok(Runs::Provider(name));
    }
    Err(Unreadable(format!(
        "Tools of type {kind:.40} are not served here: where they run is not known"
    )))
}

fn read_tool(tool: &RawValue) -> Result<Object<'_>, Unreadable> {
    Object::read(
        tool.get(),
        "A tool",
        &["type", "name", "max_uses"],
        |_, _| {},
    )
}

/// Collects the hosted tools and the `SURCHARGED` members that a body asks for.
pub fn read(body: &Object<'_>) -> Result<Extras, Unreadable> {
    let mut extras = Extras::default();
    // Hosted tools by `name`, which is what the model calls them by.
    let mut names = Vec::new();
    let mut run_at_client = false;
    if let Some(list) = body.value("tools") {
        object::list(list, "tools", |tool| {
            let tool = read_tool(tool)?;
            match runs(&tool)? {
                Runs::Client => run_at_client = true,
                Runs::Provider(kind) => {
                    names.push((word(&tool, "name").into_owned(), kind.clone()));
                    extras.hosted(kind, tool.number("max_uses", 0)?)?;
                }
            }
            Ok(())
        })?;
    }
    for name in HOSTED_MEMBERS {
        if body.value(name).is_some() {
            extras.hosted((*name).to_owned(), None)?;
        }
    }
    if let Some(choice) = body.value("tool_choice") {
        let choice = Object::read(choice.get(), "tool_choice", &["type", "name"], |_, _| {})?;
        let wanted = word(&choice, "name");
        let is_wanted = |name: &str| match &*word(&choice, "type") {
            "any" => !run_at_client,
            "tool" => name == wanted,
            _ => false,
        };
        let forced = names.iter().filter(|(name, _)| is_wanted(name));
        extras.forced = forced.map(|(_, kind)| kind.clone()).collect();
    }
    for name in SURCHARGED {
        let value = body.value(name);
        let is_plain = |value| {
            let value = object::string(value).unwrap_or_default();
            PLAIN.contains(&&*value)
        };
        if value.is_some_and(|value| !is_plain(value)) {
            extras.surcharged.push((*name).to_owned());
        }
    }
    if let Some(edits) = edits(body)? {
        object::list(edits, "edits", |edit| {
            extras.surcharged.extend(compaction(edit)?);
            Ok(())
        })?;
    }
    Ok(extras)
}

fn edits<'a>(body: &Object<'a>) -> Result<Option<&'a RawValue>, Unreadable> {
    let Some(management) = body.value("context_management") else {
        return Ok(None);
    };
    let management = Object::read(
        management.get(),
        "context_management",
        &["edits"],
        |_, _| {},
    )?;
    Ok(management.value("edits"))
}

fn compaction(edit: &RawValue) -> Result<Option<String>, Unreadable> {
    let edit = Object::read(edit.get(), "An edit", &["type"], |_, _| {})?;
    let kind = word(&edit, "type");
    Ok(kind.contains(COMPACT).then(|| family(&kind)))
}

/// Checks tools that a message adds. Only those that run at the client are served there.
pub fn within(list_or_tool: &RawValue) -> Result<(), Unreadable> {
    let check = |tool: &RawValue| match runs(&read_tool(tool)?)? {
        Runs::Client => Ok(()),
        Runs::Provider(kind) => Err(Unreadable(format!(
            "{kind} is not served here: only tools that run at the client are"
        ))),
    };
    if list_or_tool.get().starts_with('[') {
        object::list(list_or_tool, "tools", check)
    } else if list_or_tool.get().starts_with('{') {
        check(list_or_tool)
    } else {
        Ok(())
    }
}

/// Removes the names in `changes.removed` from the body and limits the calls of the hosted tools that stay.
pub fn edit<'a>(
    edit: &mut Edit<'a>,
    body: &Object<'a>,
    changes: &Changes<'_>,
) -> Result<(), Unreadable> {
    if let (Some(list), true) = (body.value("tools"), is_any_hosted(changes)) {
        let is_empty = thin(edit, list, |edit, value| {
            let tool = read_tool(value)?;
            let Runs::Provider(kind) = runs(&tool)? else {
                return Ok(false);
            };
            if changes.removes(&kind) {
                return Ok(true);
            }
            if let Some(most) = changes.calls {
                let uses = tool.number("max_uses", 0)?.unwrap_or(most).min(most);
                edit.set_within(value, &tool, "max_uses", &uses.to_string());
            }
            Ok(false)
        })?;
        if is_empty {
            edit.remove("tools");
            edit.remove("tool_choice");
        }
    }
    for name in HOSTED_MEMBERS.iter().chain(SURCHARGED) {
        if changes.removes(name) {
            edit.remove(name);
        }
    }
    if let Some(edits) = edits(body)? {
        let is_empty = thin(edit, edits, |_, value| {
            let kind = compaction(value)?;
            Ok(kind.is_some_and(|kind| changes.removes(&kind)))
        })?;
        if is_empty {
            edit.remove("context_management");
        }
    }
    Ok(())
}

fn is_any_hosted(changes: &Changes<'_>) -> bool {
    changes.calls.is_some() || HOSTED.iter().any(|name| changes.removes(name))
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
