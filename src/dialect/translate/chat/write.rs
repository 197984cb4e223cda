//! Writes a [`Conversation`] as the body of `chat/completions`.

use super::super::conversation::{
    ContentPart, Conversation, Format, Json, Media, Sampling, Speaker, Takes, Tool, ToolCall,
    ToolChoice, ToolResult, Turn,
};
use super::super::fields::not_carried;
use super::super::written::{ObjectText, quoted};
use crate::dialect::call::Unreadable;

/// Name of a schema whose client gave none.
const NAMELESS_SCHEMA: &str = "answer";

/// Writes the body for a model. What cannot be carried, and only tunes, is named in `conversation.removed`.
/// `limit_name`: name of the output limit at the server.
pub(crate) fn write(
    conversation: &mut Conversation,
    model: Option<&str>,
    limit_name: &str,
) -> Result<String, Unreadable> {
    let mut messages = Vec::new();
    if !conversation.system.is_empty() {
        let parts: Vec<ContentPart> = conversation
            .system
            .iter()
            .cloned()
            .map(ContentPart::Text)
            .collect();
        let content = content(&parts)?;
        messages.push(
            ObjectText::new()
                .text("role", "system")
                .raw("content", &content)
                .end(),
        );
    }
    let turns = std::mem::take(&mut conversation.turns);
    for turn in &turns {
        match turn.speaker {
            Speaker::User => write_user(turn, conversation, &mut messages)?,
            Speaker::Assistant => write_assistant(turn, conversation, &mut messages)?,
        }
    }
    conversation.turns = turns;
    if conversation.sampling.top_k.is_some() {
        conversation.removed.add("top_k");
    }
    let tools: Vec<String> = conversation.tools.iter().map(tool).collect();
    let mut body = ObjectText::new()
        .some_text("model", model)
        .list("messages", &messages)
        .some_list("tools", &tools);
    if !tools.is_empty() {
        let is_serial = conversation.is_parallel.filter(|is_parallel| !is_parallel);
        body = body
            .some_raw("tool_choice", choice(&conversation.choice).as_deref())
            .some_flag("parallel_tool_calls", is_serial);
    }
    let stop: Vec<String> = conversation.stop.iter().map(|stop| quoted(stop)).collect();
    body = sample(body.some_list("stop", &stop), &conversation.sampling)
        .some_raw("response_format", format(&conversation.format).as_deref());
    if let Some(limit) = conversation.limit {
        body = body.number(limit_name, limit);
    }
    if conversation.stream {
        body = body
            .flag("stream", true)
            .raw("stream_options", r#"{"include_usage":true}"#);
    }
    Ok(body.end())
}

/// Adds the members that control sampling, as they were written.
fn sample(body: ObjectText, sampling: &Sampling) -> ObjectText {
    let members = [
        ("temperature", &sampling.temperature),
        ("top_p", &sampling.top_p),
        ("frequency_penalty", &sampling.frequency_penalty),
        ("presence_penalty", &sampling.presence_penalty),
        ("seed", &sampling.seed),
    ];
    let mut body = body;
    for (name, value) in members {
        body = body.some_raw(name, value.as_ref().map(Json::get));
    }
    body
}

/// Writes the turn of a user: results of tools first, each in a message of its own, then the rest. A result holds text
/// alone, so its images follow with the rest.
fn write_user(
    turn: &Turn,
    conversation: &mut Conversation,
    messages: &mut Vec<String>,
) -> Result<(), Unreadable> {
    let (mut rest, mut shown) = (Vec::new(), Vec::new());
    for part in &turn.parts {
        match part {
            ContentPart::Result(result) => {
                messages.push(tool_message(result, conversation, &mut shown)?);
            }
            part => {
                if let ContentPart::Document {
                    media: Media::Text(_),
                    name: Some(_),
                } = part
                {
                    conversation.removed.add("messages.content.title");
                }
                rest.push(part.clone());
            }
        }
    }
    shown.extend(rest);
    if !shown.is_empty() {
        let content = content(&shown)?;
        messages.push(
            ObjectText::new()
                .text("role", "user")
                .raw("content", &content)
                .end(),
        );
    }
    Ok(())
}

/// Writes the result of a tool. Its images go to `shown`, with the ID of their call.
fn tool_message(
    result: &ToolResult,
    conversation: &mut Conversation,
    shown: &mut Vec<ContentPart>,
) -> Result<String, Unreadable> {
    if result.is_error {
        conversation.removed.add("messages.content.is_error");
    }
    let (texts, others): (Vec<ContentPart>, Vec<ContentPart>) = result
        .parts
        .iter()
        .cloned()
        .partition(|part| matches!(part, ContentPart::Text(_)));
    if !others.is_empty() {
        let told = format!("Shown by the tool call {}:", result.id);
        shown.push(ContentPart::Text(told));
        shown.extend(others);
    }
    let content = match texts.is_empty() {
        true => quoted(""),
        false => content(&texts)?,
    };
    Ok(ObjectText::new()
        .text("role", "tool")
        .text("tool_call_id", &result.id)
        .raw("content", &content)
        .end())
}

fn write_assistant(
    turn: &Turn,
    conversation: &mut Conversation,
    messages: &mut Vec<String>,
) -> Result<(), Unreadable> {
    let (mut said, mut calls, mut refusal) = (Vec::new(), Vec::new(), None);
    for part in &turn.parts {
        match part {
            ContentPart::Call(call) => calls.push(tool_call(call)),
            ContentPart::Refusal(text) => refusal = Some(text.as_str()),
            ContentPart::Thinking { .. } | ContentPart::Sealed(_) => {
                conversation.removed.add("messages.content.thinking");
            }
            part => said.push(part.clone()),
        }
    }
    if said.is_empty() && calls.is_empty() && refusal.is_none() {
        return Ok(());
    }
    let mut message = ObjectText::new().text("role", "assistant");
    message = match said.is_empty() {
        true => message.null("content"),
        false => message.raw("content", &content(&said)?),
    };
    messages.push(
        message
            .some_text("refusal", refusal)
            .some_list("tool_calls", &calls)
            .end(),
    );
    Ok(())
}

fn tool_call(call: &ToolCall) -> String {
    let function = ObjectText::new()
        .text("name", &call.name)
        .text("arguments", call.input.object().get());
    ObjectText::new()
        .text("id", &call.id)
        .text("type", "function")
        .raw("function", &function.end())
        .end()
}

/// Writes parts as content: one text as a string, all else as a list.
fn content(parts: &[ContentPart]) -> Result<String, Unreadable> {
    if let [ContentPart::Text(text)] = parts {
        return Ok(quoted(text));
    }
    let parts: Result<Vec<String>, Unreadable> = parts.iter().map(part).collect();
    Ok(format!("[{}]", parts?.join(",")))
}

fn part(part: &ContentPart) -> Result<String, Unreadable> {
    Ok(match part {
        ContentPart::Text(text) => ObjectText::typed("text").text("text", text).end(),
        ContentPart::Image(media) => {
            let Some(url) = media.url() else {
                return Err(not_carried("An image of this kind"));
            };
            let image = ObjectText::new().text("url", &url).end();
            ObjectText::typed("image_url")
                .raw("image_url", &image)
                .end()
        }
        ContentPart::Document {
            media: Media::Text(text),
            ..
        } => ObjectText::typed("text").text("text", text).end(),
        ContentPart::Document {
            media: media @ Media::Data { .. },
            name,
        } => {
            let file = ObjectText::new()
                .text("filename", name.as_deref().unwrap_or("document.pdf"))
                .some_text("file_data", media.url().as_deref())
                .end();
            ObjectText::typed("file").raw("file", &file).end()
        }
        ContentPart::Document { .. } => {
            return Err(not_carried("A document that is given by its URL"));
        }
        ContentPart::Sound(Media::Data { kind, base64 }) => {
            let format = kind.strip_prefix("audio/").unwrap_or(kind);
            let sound = ObjectText::new()
                .text("data", base64)
                .text("format", format)
                .end();
            ObjectText::typed("input_audio")
                .raw("input_audio", &sound)
                .end()
        }
        ContentPart::Sound(_) => return Err(not_carried("Sound of this kind")),
        ContentPart::Thinking { .. }
        | ContentPart::Sealed(_)
        | ContentPart::Call(_)
        | ContentPart::Result(_)
        | ContentPart::Refusal(_) => return Err(not_carried("Content in this place")),
    })
}

/// Writes a tool. One that takes free text becomes a function with one string: most servers know no other.
fn tool(tool: &Tool) -> String {
    let is_strict = match tool.takes {
        Takes::Object(_) => tool.is_strict,
        Takes::Text { .. } => None,
    };
    let function = ObjectText::new()
        .text("name", &tool.name)
        .some_text("description", tool.whole_description().as_deref())
        .raw("parameters", tool.schema().get())
        .some_flag("strict", is_strict);
    ObjectText::typed("function")
        .raw("function", &function.end())
        .end()
}

fn choice(choice: &ToolChoice) -> Option<String> {
    Some(match choice {
        ToolChoice::Auto => return None,
        ToolChoice::None => quoted("none"),
        ToolChoice::Any => quoted("required"),
        ToolChoice::Named(name) => {
            let function = ObjectText::new().text("name", name).end();
            ObjectText::typed("function")
                .raw("function", &function)
                .end()
        }
    })
}

fn format(format: &Format) -> Option<String> {
    Some(match format {
        Format::Text => return None,
        Format::Json => ObjectText::typed("json_object").end(),
        Format::Schema {
            name,
            schema,
            is_strict,
        } => {
            let wanted = ObjectText::new()
                .text("name", name.as_deref().unwrap_or(NAMELESS_SCHEMA))
                .raw("schema", schema.get())
                .some_flag("strict", *is_strict);
            ObjectText::typed("json_schema")
                .raw("json_schema", &wanted.end())
                .end()
        }
    })
}
