//! Reads the body of `messages` into a [`Conversation`].

use super::super::conversation::{
    ContentPart, Conversation, Format, Input, Json, Media, Removed, Speaker, Takes, Tool, ToolCall,
    ToolChoice, ToolResult,
};
use super::super::fields::{self, BodyFields, no_type, not_carried};
use crate::dialect::call::Unreadable;
use crate::dialect::object;
use serde_json::value::RawValue;

/// Members of a body that only tune an answer.
const TUNING: &[&str] = &[
    "cache_control",
    "metadata",
    "service_tier",
    "speed",
    "thinking",
];

/// Members of a block that only tune an answer. Citations belong to documents of another provider.
const TUNING_OF_BLOCK: &[&str] = &["cache_control", "citations", "caller"];

/// Members of a tool that only tune how it is called.
const TUNING_OF_TOOL: &[&str] = &[
    "allowed_callers",
    "cache_control",
    "defer_loading",
    "eager_input_streaming",
    "input_examples",
];

/// Types of tools that the provider runs itself, without their versions.
const HOSTED: &[&str] = &[
    "web_search",
    "web_fetch",
    "code_execution",
    "mcp_toolset",
    "tool_search_tool_regex",
    "tool_search_tool_bm25",
];

pub(crate) fn read(body: &RawValue) -> Result<Conversation, Unreadable> {
    let mut body = BodyFields::of(body, "")?;
    let mut conversation = Conversation {
        model: body.text("model")?,
        limit: body.whole("max_tokens")?,
        stream: body.flag("stream")?.unwrap_or(false),
        wants_usage: true,
        ..Conversation::default()
    };
    for text in body.list("stop_sequences")? {
        let text = object::string(text);
        let text = text.ok_or_else(|| Unreadable("stop_sequences must be strings".to_owned()))?;
        conversation.stop.push(text.into_owned());
    }
    let sampling = &mut conversation.sampling;
    sampling.temperature = body.number("temperature")?;
    sampling.top_p = body.number("top_p")?;
    sampling.top_k = body.number("top_k")?;
    if let Some(system) = body.take("system") {
        for part in content_of(system, &mut conversation.removed)? {
            conversation.instruct(part)?;
        }
    }
    for message in body.list("messages")? {
        read_message(message, &mut conversation)?;
    }
    for tool in body.list("tools")? {
        read_tool(tool, &mut conversation)?;
    }
    // Hosted tools are left out; the reading of the client's own API names them.
    body.take("mcp_servers");
    choose(&mut body, &mut conversation)?;
    read_format(&mut body, &mut conversation)?;
    read_edits(&mut body, &mut conversation.removed)?;
    // Thinking that is off is what an API without it does.
    if is_off(&body)? {
        body.take("thinking");
    }
    body.end(TUNING, &mut conversation.removed)?;
    Ok(conversation)
}

fn is_off(body: &BodyFields<'_>) -> Result<bool, Unreadable> {
    let Some(thinking) = body.peek("thinking") else {
        return Ok(true);
    };
    let kind = BodyFields::of(thinking, "thinking")?.text("type")?;
    Ok(kind.as_deref() == Some("disabled"))
}

/// Takes `output_config` and `output_format`.
fn read_format(body: &mut BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    let mut format = body.object("output_format", "output_format")?;
    if let Some(mut config) = body.object("output_config", "output_config")? {
        let inner = config.object("format", "output_config.format")?;
        format = inner.or(format);
        config.end(&["effort", "task_budget"], &mut into.removed)?;
    }
    let Some(mut format) = format else {
        return Ok(());
    };
    let schema = format.take("schema").map(Json::of).filter(Json::is_object);
    let (Some("json_schema"), Some(schema)) = (format.text("type")?.as_deref(), schema) else {
        return Err(not_carried("This output format"));
    };
    into.format = Format::Schema {
        name: format.text("name")?,
        schema,
        is_strict: Some(true),
    };
    format.end(&[], &mut into.removed)
}

/// Takes `context_management`. Edits that only clear what the model need not read again are left out.
fn read_edits(body: &mut BodyFields<'_>, removed: &mut Removed) -> Result<(), Unreadable> {
    let Some(mut management) = body.object("context_management", "context_management")? else {
        return Ok(());
    };
    for edit in management.list("edits")? {
        let kind = BodyFields::of(edit, "context_management.edits")?.needed_text("type")?;
        if !kind.starts_with("clear_") {
            return Err(not_carried(
                "An edit of the context that does not only clear",
            ));
        }
    }
    removed.add("context_management");
    management.end(&[], removed)
}

fn read_message(message: &RawValue, into: &mut Conversation) -> Result<(), Unreadable> {
    let mut message = BodyFields::of(message, "messages")?;
    let speaker = match message.needed_text("role")?.as_str() {
        "user" => Some(Speaker::User),
        "assistant" => Some(Speaker::Assistant),
        "system" => None,
        _ => return Err(not_carried("A message of this role")),
    };
    if let Some(content) = message.take("content") {
        for part in content_of(content, &mut into.removed)? {
            match speaker {
                Some(speaker) => into.say(speaker, part),
                None => into.instruct(part)?,
            }
        }
    }
    message.end(&[], &mut into.removed)
}

/// Reads content: a text, or a list of blocks. Empty texts are left out.
fn content_of(content: &RawValue, removed: &mut Removed) -> Result<Vec<ContentPart>, Unreadable> {
    fields::content(content, "content", |block| read_block(block, removed))
}

fn read_block(block: &RawValue, removed: &mut Removed) -> Result<ContentPart, Unreadable> {
    const PLACE: &str = "messages.content";
    let mut block = BodyFields::of(block, PLACE)?;
    let kind = block.needed_text("type")?;
    let part = match kind.as_str() {
        "text" => ContentPart::Text(block.needed_text("text")?),
        "image" => ContentPart::Image(source(&mut block, removed)?),
        "document" => {
            if let Some(mut citations) = block.object("citations", "messages.content.citations")? {
                if citations.flag("enabled")?.unwrap_or(false) {
                    return Err(not_carried("Citations"));
                }
                citations.end(&[], removed)?;
            }
            let part = ContentPart::Document {
                media: source(&mut block, removed)?,
                name: block.text("title")?,
            };
            if block.has("context") {
                return Err(not_carried("messages.content.context"));
            }
            part
        }
        "tool_use" => {
            let input = block.take("input").map(Json::of).filter(Json::is_object);
            let input =
                input.ok_or_else(|| Unreadable(format!("{PLACE}.input must be an object")))?;
            ContentPart::Call(ToolCall {
                id: block.needed_text("id")?,
                name: block.needed_text("name")?,
                input: Input::Object(input),
            })
        }
        "tool_result" => {
            let content = block.take("content");
            let parts = content.map(|content| content_of(content, removed));
            ContentPart::Result(ToolResult {
                id: block.needed_text("tool_use_id")?,
                parts: parts.transpose()?.unwrap_or_default(),
                is_error: block.flag("is_error")?.unwrap_or(false),
            })
        }
        "thinking" => ContentPart::Thinking {
            text: block.needed_text("thinking")?,
            signature: block.text("signature")?,
        },
        "redacted_thinking" => ContentPart::Sealed(block.needed_text("data")?),
        // A tool that was found by its name: its schema is among the tools.
        "tool_reference" => ContentPart::Text(block.needed_text("tool_name")?),
        kind => return Err(no_type("A block", kind)),
    };
    block.end(TUNING_OF_BLOCK, removed)?;
    Ok(part)
}

fn source(block: &mut BodyFields<'_>, removed: &mut Removed) -> Result<Media, Unreadable> {
    let place = "messages.content.source";
    let Some(mut source) = block.object("source", place)? else {
        return Err(Unreadable(format!("{place} is required")));
    };
    let media = match source.needed_text("type")?.as_str() {
        "base64" => Media::Data {
            kind: source.needed_text("media_type")?.to_ascii_lowercase(),
            base64: source.needed_text("data")?,
        },
        "url" => Media::Url(source.needed_text("url")?),
        "text" => {
            source.take("media_type");
            Media::Text(source.needed_text("data")?)
        }
        "content" => {
            let mut whole = String::new();
            let content = source.take("content");
            let parts = content.map(|content| content_of(content, removed));
            for part in parts.transpose()?.unwrap_or_default() {
                match part {
                    ContentPart::Text(text) => whole.push_str(&text),
                    _ => return Err(not_carried("A document with content other than text")),
                }
            }
            Media::Text(whole)
        }
        kind => return Err(no_type("A source", kind)),
    };
    source.end(&[], removed)?;
    Ok(media)
}

fn read_tool(tool: &RawValue, into: &mut Conversation) -> Result<(), Unreadable> {
    let mut tool = BodyFields::of(tool, "tools")?;
    if let Some(kind) = tool.text("type")?.filter(|kind| kind != "custom") {
        if !HOSTED.iter().any(|name| kind.starts_with(name)) {
            return Err(not_carried("A tool that only its vendor describes"));
        }
        return Ok(());
    }
    let read = Tool {
        name: tool.needed_text("name")?,
        description: tool.text("description")?,
        takes: Takes::Object(tool.take("input_schema").map(Json::of)),
        is_strict: tool.flag("strict")?,
    };
    tool.end(TUNING_OF_TOOL, &mut into.removed)?;
    into.tools.push(read);
    Ok(())
}

fn choose(body: &mut BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    let Some(mut choice) = body.object("tool_choice", "tool_choice")? else {
        return Ok(());
    };
    into.choice = match choice.needed_text("type")?.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Any,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.needed_text("name")?),
        _ => return Err(not_carried("This tool_choice")),
    };
    let is_serial = choice.flag("disable_parallel_tool_use")?;
    into.is_parallel = is_serial.map(|is_serial| !is_serial);
    choice.end(&[], &mut into.removed)
}
