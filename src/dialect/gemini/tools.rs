//! Tools of a call: functions that run at the client, and hosted ones that the provider runs itself.
//!
//! A tool is an object with one member for each kind. A kind that is in neither list must never be forwarded.

use super::spelling::{Spellings, either, elements, word};
use crate::dialect::call::{Changes, Extras, Unreadable};
use crate::dialect::extras::thin;
use crate::dialect::object::{Edit, Object};
use serde_json::value::RawValue;
use std::sync::LazyLock;

const FUNCTIONS: Spellings = ["functionDeclarations", "function_declarations"];

/// Tools that the provider runs itself, by their member.
pub(crate) const HOSTED: &[Spellings] = &[
    ["googleSearch", "google_search"],
    ["googleSearchRetrieval", "google_search_retrieval"],
    ["enterpriseWebSearch", "enterprise_web_search"],
    ["parallelAiSearch", "parallel_ai_search"],
    ["exaAiSearch", "exa_ai_search"],
    ["codeExecution", "code_execution"],
    ["fileSearch", "file_search"],
    ["googleMaps", "google_maps"],
    ["mcpServers", "mcp_servers"],
    ["retrieval", "retrieval"],
    ["urlContext", "url_context"],
];

/// Every member of a tool that is understood.
static KINDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let spellings = HOSTED.iter().chain([&FUNCTIONS]).flatten();
    let mut names: Vec<&str> = spellings.copied().collect();
    // One word has one spelling.
    names.dedup();
    names
});

const SERVICE_TIER: Spellings = ["serviceTier", "service_tier"];

/// Values of `serviceTier` that change nothing.
const PLAIN_TIERS: &[&str] = &[
    "standard",
    "unspecified",
    "service_tier_standard",
    "service_tier_unspecified",
];

fn read_tool(tool: &RawValue) -> Result<Object<'_>, Unreadable> {
    let mut unknown = None;
    let read = Object::read(tool.get(), "A tool", &KINDS, |name, value| {
        if value.get() != "null" {
            unknown = Some(name);
        }
    })?;
    match unknown {
        None => Ok(read),
        Some(name) => Err(Unreadable(format!(
            "Tools of type {name:.40} are not served here: where they run is not known"
        ))),
    }
}

/// Returns the members of a tool that the provider runs itself.
fn hosted<'a>(
    tool: &'a Object<'_>,
) -> impl Iterator<Item = Result<&'static str, Unreadable>> + use<'a> {
    HOSTED.iter().filter_map(|spellings| {
        let value = either(tool, *spellings);
        value.map(|value| value.map(|_| spellings[0])).transpose()
    })
}

/// Collects the hosted tools and the members that change the price.
pub(super) fn read(body: &Object<'_>) -> Result<Extras, Unreadable> {
    let mut extras = Extras::default();
    if let Some(tools) = body.value("tools") {
        elements(tools, "tools", |tool| {
            let tool = read_tool(tool)?;
            for name in hosted(&tool) {
                let name = name?.to_owned();
                // No body sets the number of their calls.
                extras.unbounded.push(name.clone());
                extras.hosted(name, None)?;
            }
            either(&tool, FUNCTIONS).map(|_| ())
        })?;
    }
    let tier = word(body, SERVICE_TIER)?.to_ascii_lowercase();
    let is_written = either(body, SERVICE_TIER)?.is_some();
    if is_written && !PLAIN_TIERS.contains(&tier.as_str()) {
        extras.surcharged.push(SERVICE_TIER[0].to_owned());
    }
    Ok(extras)
}

/// Removes the names in `changes.removed` from the body.
pub(super) fn edit<'a>(
    edit: &mut Edit<'a>,
    body: &Object<'a>,
    changes: &Changes<'_>,
) -> Result<(), Unreadable> {
    if changes.removes(SERVICE_TIER[0]) {
        SERVICE_TIER.into_iter().for_each(|name| edit.remove(name));
    }
    let is_removed = |[camel, _]: &Spellings| changes.removes(camel);
    let Some(tools) = body
        .value("tools")
        .filter(|_| HOSTED.iter().any(is_removed))
    else {
        return Ok(());
    };
    let is_empty = match tools.get().starts_with('[') {
        true => thin(edit, tools, |edit, tool| cut(edit, tool, changes))?,
        false => cut(edit, tools, changes)?,
    };
    if is_empty {
        for name in ["tools", "toolConfig", "tool_config"] {
            edit.remove(name);
        }
    }
    Ok(())
}

/// Cuts the removed members out of a tool. Returns whether none is left.
fn cut<'a>(
    edit: &mut Edit<'a>,
    tool: &'a RawValue,
    changes: &Changes<'_>,
) -> Result<bool, Unreadable> {
    let read = read_tool(tool)?;
    let is_removed = |name: &str| {
        let mut hosted = HOSTED.iter();
        let of_name = |spellings: &&Spellings| spellings.contains(&name);
        hosted
            .find(of_name)
            .is_some_and(|[camel, _]| changes.removes(camel))
    };
    let written = KINDS
        .iter()
        .filter_map(|name| Some((*name, read.value(name)?)));
    let (cut, kept): (Vec<_>, Vec<_>) = written.partition(|(name, _)| is_removed(name));
    if !cut.is_empty() && !kept.is_empty() {
        let kept = kept.iter();
        let members: Vec<String> = kept
            .map(|(name, value)| format!("\"{name}\":{}", value.get()))
            .collect();
        edit.replace(tool, &format!("{{{}}}", members.join(",")));
        return Ok(false);
    }
    Ok(!cut.is_empty())
}
