//! Reads the body of `responses` into a [`Conversation`].

use super::super::chat::{grammar_of, word_of_choice};
use super::super::conversation::{
    ContentPart, Conversation, Format, Input, Json, Media, NAMESPACE_END, Removed, Speaker, Takes,
    Tool, ToolCall, ToolChoice, ToolResult, gemini_signature,
};
use super::super::fields::{self, BodyFields, elements, no_type, not_carried};
use crate::dialect::call::Unreadable;
use crate::dialect::object;
use serde_json::value::RawValue;
use std::collections::HashSet;

/// Members of a body that only tune an answer.
const TUNING: &[&str] = &[
    "client_metadata",
    "max_tool_calls",
    "metadata",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream_options",
    "truncation",
    "user",
];

/// Members of an item that only its provider reads.
const TUNING_OF_ITEM: &[&str] = &["phase"];

/// Types of tools that run at the client, and that their vendor describes.
const RUN_BY_CLIENTS: &[&str] = &["apply_patch", "computer", "local_shell"];

/// Entries of `include` that ask for what no other provider has.
const LEFT_OUT: &[&str] = &["reasoning.encrypted_content"];

pub(crate) fn read(body: &RawValue) -> Result<Conversation, Unreadable> {
    let mut body = BodyFields::of(body, "")?;
    let mut conversation = Conversation {
        model: body.text("model")?,
        limit: body.whole("max_output_tokens")?,
        stream: body.flag("stream")?.unwrap_or(false),
        is_parallel: body.flag("parallel_tool_calls")?,
        wants_usage: true,
        ..Conversation::default()
    };
    let sampling = &mut conversation.sampling;
    sampling.temperature = body.number("temperature")?;
    sampling.top_p = body.number("top_p")?;
    if body.flag("background")?.unwrap_or(false) {
        return Err(not_carried("background"));
    }
    if body.whole("top_logprobs")?.unwrap_or(0) > 0 {
        return Err(not_carried("top_logprobs"));
    }
    if let Some(instructions) = body.text("instructions")?.filter(|text| !text.is_empty()) {
        conversation.system.push(instructions);
    }
    read_input(&mut body, &mut conversation)?;
    for tool in body.list("tools")? {
        read_tool(tool, &mut conversation)?;
    }
    choose(&mut body, &mut conversation)?;
    read_text(&mut body, &mut conversation)?;
    for entry in body.list("include")? {
        let entry = object::string(entry).unwrap_or_default();
        let of_hosted = entry.contains("_call.");
        if !LEFT_OUT.contains(&&*entry) && !of_hosted {
            return Err(not_carried("This entry of include"));
        }
        conversation.removed.add("include");
    }
    body.end(TUNING, &mut conversation.removed)?;
    Ok(conversation)
}

/// Takes `text`: the format of the answer.
fn read_text(body: &mut BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    let Some(mut text) = body.object("text", "text")? else {
        return Ok(());
    };
    if let Some(mut format) = text.object("format", "text.format")? {
        into.format = match format.needed_text("type")?.as_str() {
            "text" => Format::Text,
            "json_object" => Format::Json,
            "json_schema" => {
                let schema = format.take("schema").map(Json::of).filter(Json::is_object);
                let wrong = || Unreadable("text.format.schema must be an object".to_owned());
                Format::Schema {
                    name: format.text("name")?,
                    schema: schema.ok_or_else(wrong)?,
                    is_strict: format.flag("strict")?,
                }
            }
            _ => return Err(not_carried("text.format")),
        };
        format.end(&["description"], &mut into.removed)?;
    }
    text.end(&["verbosity"], &mut into.removed)
}

fn read_input(body: &mut BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    let Some(input) = body.take("input") else {
        return Ok(());
    };
    if let Some(text) = object::string(input) {
        into.say(Speaker::User, ContentPart::Text(text.into_owned()));
        return Ok(());
    }
    let Some(items) = elements(input) else {
        return Err(Unreadable("input must be a string or a list".to_owned()));
    };
    for item in items {
        read_item(item, into)?;
    }
    Ok(())
}

fn read_item(item: &RawValue, into: &mut Conversation) -> Result<(), Unreadable> {
    let mut item = BodyFields::of(item, "input")?;
    // Names that the provider has given to its own.
    item.take("id");
    item.take("status");
    let kind = item.text("type")?;
    match kind.as_deref() {
        None | Some("message") => read_message(&mut item, into)?,
        Some("function_call") => {
            let name = full_name(&mut item)?;
            let arguments = item.text("arguments")?.unwrap_or_default();
            let input = Input::read(&arguments, false).ok_or_else(|| {
                Unreadable("input.arguments must be the text of an object".to_owned())
            })?;
            let id = item.needed_text("call_id")?;
            into.say(
                Speaker::Assistant,
                ContentPart::Call(ToolCall { id, name, input }),
            );
        }
        Some("custom_tool_call") => {
            let name = full_name(&mut item)?;
            let input = Input::Text(item.text("input")?.unwrap_or_default());
            let id = item.needed_text("call_id")?;
            into.say(
                Speaker::Assistant,
                ContentPart::Call(ToolCall { id, name, input }),
            );
        }
        Some("function_call_output" | "custom_tool_call_output") => {
            item.take("name");
            let id = item.needed_text("call_id")?;
            let parts = match item.take("output") {
                Some(output) => content_of(output, &mut into.removed)?,
                None => Vec::new(),
            };
            let result = ToolResult {
                id,
                parts,
                is_error: false,
            };
            into.say(Speaker::User, ContentPart::Result(result));
        }
        Some("reasoning") => return read_reasoning(item, into),
        Some("additional_tools") => {
            item.take("role");
            for tool in item.list("tools")? {
                read_tool(tool, into)?;
            }
        }
        Some(kind) => return Err(no_type("An item of input", kind)),
    }
    item.end(TUNING_OF_ITEM, &mut into.removed)
}

/// Reads reasoning, mostly sealed. That of another provider's model is left out, but for a signature of Gemini's.
fn read_reasoning(mut item: BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    let proof = item.text("encrypted_content")?;
    match proof.filter(|proof| gemini_signature(proof).is_some()) {
        Some(proof) => into.say(
            Speaker::Assistant,
            ContentPart::Thinking {
                text: String::new(),
                signature: Some(proof),
            },
        ),
        None => into.removed.add("input.reasoning"),
    }
    Ok(())
}

/// Takes the name of a tool, with that of its namespace.
fn full_name(item: &mut BodyFields<'_>) -> Result<String, Unreadable> {
    let name = item.needed_text("name")?;
    Ok(match item.text("namespace")? {
        Some(namespace) => in_namespace(&namespace, &name),
        None => name,
    })
}

/// Returns the name of a tool of a namespace, where an API knows none.
fn in_namespace(namespace: &str, name: &str) -> String {
    format!("{namespace}{NAMESPACE_END}{name}")
}

fn read_message(item: &mut BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    let role = item.needed_text("role")?;
    let parts = match item.take("content") {
        Some(content) => content_of(content, &mut into.removed)?,
        None => Vec::new(),
    };
    for part in parts {
        match role.as_str() {
            "system" | "developer" => into.instruct(part)?,
            "user" => into.say(Speaker::User, part),
            "assistant" => into.say(Speaker::Assistant, part),
            _ => return Err(not_carried("A message of this role")),
        }
    }
    Ok(())
}

fn content_of(content: &RawValue, removed: &mut Removed) -> Result<Vec<ContentPart>, Unreadable> {
    fields::content(content, "content", |part| read_part(part, removed))
}

fn read_part(part: &RawValue, removed: &mut Removed) -> Result<ContentPart, Unreadable> {
    let mut part = BodyFields::of(part, "input.content")?;
    let kind = part.needed_text("type")?;
    let read = match kind.as_str() {
        "input_text" | "output_text" | "text" => {
            // Of an earlier answer.
            part.take("annotations");
            part.take("logprobs");
            ContentPart::Text(part.needed_text("text")?)
        }
        "refusal" => ContentPart::Refusal(part.needed_text("refusal")?),
        "input_image" => {
            let url = part.text("image_url")?;
            let url = url.ok_or_else(|| not_carried("An image without its image_url"))?;
            ContentPart::Image(Media::of_url(&url)?)
        }
        "input_file" => {
            let name = part.text("filename")?;
            let media = match (part.text("file_data")?, part.text("file_url")?) {
                (Some(data), None) => Media::of_url(&data)?,
                (None, Some(url)) => Media::Url(url),
                _ => return Err(not_carried("A file without its file_data")),
            };
            ContentPart::Document { media, name }
        }
        kind => return Err(no_type("A part of content", kind)),
    };
    part.end(&["detail"], removed)?;
    Ok(read)
}

fn read_tool(tool: &RawValue, into: &mut Conversation) -> Result<(), Unreadable> {
    read_tool_of(tool, None, into)
}

fn read_tool_of(
    tool: &RawValue,
    namespace: Option<&str>,
    into: &mut Conversation,
) -> Result<(), Unreadable> {
    let mut tool = BodyFields::of(tool, "tools")?;
    let kind = tool.needed_text("type")?;
    let name = |tool: &mut BodyFields<'_>| {
        let name = tool.needed_text("name")?;
        Ok(match namespace {
            Some(namespace) => in_namespace(namespace, &name),
            None => name,
        })
    };
    let read = match kind.as_str() {
        "function" => Tool {
            name: name(&mut tool)?,
            description: tool.text("description")?,
            takes: Takes::Object(tool.take("parameters").map(Json::of)),
            is_strict: tool.flag("strict")?,
        },
        "custom" => {
            let mut grammar = None;
            if let Some(mut format) = tool.object("format", "tools.format")? {
                match format.text("type")?.as_deref() {
                    Some("grammar") => grammar = grammar_of(format)?,
                    _ => format.end(&[], &mut into.removed)?,
                }
            }
            Tool {
                name: name(&mut tool)?,
                description: tool.text("description")?,
                takes: Takes::Text { grammar },
                is_strict: None,
            }
        }
        "namespace" if namespace.is_none() => {
            let namespace = tool.needed_text("name")?;
            for inner in tool.list("tools")? {
                read_tool_of(inner, Some(&namespace), into)?;
            }
            return tool.end(&["description"], &mut into.removed);
        }
        // Only their vendor describes them to a model.
        kind if RUN_BY_CLIENTS.iter().any(|known| kind.starts_with(known)) => {
            return Err(no_type("A tool", kind));
        }
        "shell" if runs_here(&mut tool)? => return Err(no_type("A tool", "shell")),
        // A hosted tool: the reading of the client's own API names it.
        _ => return Ok(()),
    };
    tool.end(&["defer_loading"], &mut into.removed)?;
    if let Some(namespace) = namespace {
        let names = (read.name.clone(), namespace.to_owned());
        into.in_namespaces.push(names);
    }
    into.tools.push(read);
    Ok(())
}

/// Whether a shell runs at the client, and not in a container of its vendor's.
fn runs_here(shell: &mut BodyFields<'_>) -> Result<bool, Unreadable> {
    match shell.object("environment", "tools.environment")? {
        None => Ok(true),
        Some(mut place) => Ok(place.text("type")?.as_deref() == Some("local")),
    }
}

/// Takes `tool_choice`. Tools that it does not allow are left out.
fn choose(body: &mut BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    let Some(choice) = body.take("tool_choice") else {
        return Ok(());
    };
    if let Some(word) = object::string(choice) {
        into.choice = word_of_choice(&word)?;
        return Ok(());
    }
    let mut choice = BodyFields::of(choice, "tool_choice")?;
    match choice.needed_text("type")?.as_str() {
        "function" | "custom" => {
            into.choice = ToolChoice::Named(full_name(&mut choice)?);
        }
        "allowed_tools" => {
            let mode = choice.text("mode")?;
            into.choice = word_of_choice(mode.as_deref().unwrap_or("auto"))?;
            let mut names = HashSet::new();
            for tool in choice.list("tools")? {
                let mut tool = BodyFields::of(tool, "tool_choice.tools")?;
                tool.take("type");
                if tool.has("name") {
                    names.insert(full_name(&mut tool)?);
                }
            }
            into.tools.retain(|tool| names.contains(&tool.name));
        }
        _ => return Err(not_carried("tool_choice of this type")),
    }
    choice.end(&[], &mut into.removed)
}
