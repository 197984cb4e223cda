//! Writes a [`Conversation`] as the body of `generateContent`.

use super::super::conversation::{
    ContentPart, Conversation, Format, Json, Media, Speaker, Tool, ToolCall, ToolChoice,
    ToolResult, Turn, gemini_signature,
};
use super::super::fields::not_carried;
use super::super::written::{ObjectText, quoted};
use super::answer::NO_SIGNATURE;
use crate::dialect::call::Unreadable;
use std::collections::HashMap;

/// Most stop sequences.
const MAX_STOPS: usize = 5;

/// Types of images by the end of their address.
const IMAGES: &[(&str, &str)] = &[
    (".png", "image/png"),
    (".jpg", "image/jpeg"),
    (".jpeg", "image/jpeg"),
    (".webp", "image/webp"),
    (".gif", "image/gif"),
    (".heic", "image/heic"),
];

/// Writes the body. What cannot be carried, and only tunes, is named in `conversation.removed`.
pub(crate) fn write(conversation: &mut Conversation) -> Result<String, Unreadable> {
    tune(conversation)?;
    let turns = std::mem::take(&mut conversation.turns);
    let (mut contents, mut names) = (Vec::new(), HashMap::new());
    for turn in &turns {
        contents.extend(content(turn, conversation, &mut names)?);
    }
    conversation.turns = turns;
    let system: Vec<String> = conversation.system.iter().map(|line| text(line)).collect();
    let system = match system.is_empty() {
        true => None,
        false => Some(ObjectText::new().list("parts", &system).end()),
    };
    let mut body = ObjectText::new()
        .some_raw("systemInstruction", system.as_deref())
        .list("contents", &contents);
    if !conversation.tools.is_empty() {
        let tools: Vec<String> = conversation.tools.iter().map(tool).collect();
        let tools = ObjectText::new().list("functionDeclarations", &tools).end();
        body = body
            .list("tools", &[tools])
            .some_raw("toolConfig", choice(&conversation.choice).as_deref());
    }
    let config = config(conversation);
    Ok(body.some_raw("generationConfig", config.as_deref()).end())
}

/// Refuses or names what the API does not have.
fn tune(conversation: &mut Conversation) -> Result<(), Unreadable> {
    if conversation.stop.len() > MAX_STOPS {
        return Err(not_carried("More than 5 stop sequences"));
    }
    if !conversation.tools.is_empty() && conversation.is_parallel == Some(false) {
        conversation.removed.add("parallel_tool_calls");
    }
    if conversation
        .tools
        .iter()
        .any(|tool| tool.is_strict == Some(true))
    {
        conversation.removed.add("tools.strict");
    }
    if let Format::Schema {
        is_strict: Some(true),
        ..
    } = conversation.format
    {
        conversation.removed.add("response_format.strict");
    }
    Ok(())
}

/// Writes a turn. `names`: names of the calls so far, by their IDs. `None`: nothing in it is left.
fn content(
    turn: &Turn,
    conversation: &mut Conversation,
    names: &mut HashMap<String, String>,
) -> Result<Option<String>, Unreadable> {
    let (mut results, mut parts) = (Vec::new(), Vec::new());
    let mut signature = None;
    let mut is_first = true;
    for part in &turn.parts {
        match part {
            ContentPart::Result(result) => {
                let (written, mut shown) = response(result, names)?;
                results.push(written);
                parts.append(&mut shown);
            }
            ContentPart::Thinking {
                text,
                signature: proof,
            } => {
                signature = proof.as_deref().and_then(gemini_signature);
                if signature.is_none() || !text.is_empty() {
                    conversation.removed.add("messages.content.thinking");
                }
            }
            ContentPart::Sealed(_) => conversation.removed.add("messages.content.thinking"),
            ContentPart::Call(call) => {
                names.insert(call.id.clone(), call.name.clone());
                // The first call of a step must have a signature.
                let proof = signature.take().or(is_first.then_some(NO_SIGNATURE));
                is_first = false;
                parts.push(function_call(call, proof));
            }
            part => {
                if let ContentPart::Document {
                    media: Media::Text(_),
                    name: Some(_),
                } = part
                {
                    conversation.removed.add("messages.content.title");
                }
                parts.push(written(part)?);
            }
        }
    }
    // Results stand before everything else.
    results.append(&mut parts);
    if results.is_empty() {
        return Ok(None);
    }
    let role = match turn.speaker {
        Speaker::User => "user",
        Speaker::Assistant => "model",
    };
    let content = ObjectText::new().text("role", role).list("parts", &results);
    Ok(Some(content.end()))
}

fn text(text: &str) -> String {
    ObjectText::new().text("text", text).end()
}

fn written(part: &ContentPart) -> Result<String, Unreadable> {
    Ok(match part {
        ContentPart::Text(line) | ContentPart::Refusal(line) => text(line),
        ContentPart::Document {
            media: Media::Text(line),
            ..
        } => text(line),
        ContentPart::Image(Media::Url(url)) => {
            let path = url.split(['?', '#']).next().unwrap_or_default();
            let path = path.to_ascii_lowercase();
            let mut kinds = IMAGES.iter();
            let kind = kinds.find(|(end, _)| path.ends_with(end));
            let (_, kind) = kind.ok_or_else(|| {
                not_carried("An image by an address that does not end in its type, such as .png,")
            })?;
            file(kind, url, None)
        }
        ContentPart::Document {
            media: Media::Url(url),
            name,
        } => file("application/pdf", url, name.as_deref()),
        ContentPart::Image(Media::Data { kind, base64 })
        | ContentPart::Sound(Media::Data { kind, base64 }) => inline(kind, base64, None),
        ContentPart::Document {
            media: Media::Data { kind, base64 },
            name,
        } => inline(kind, base64, name.as_deref()),
        _ => return Err(not_carried("Content in this place")),
    })
}

fn inline(kind: &str, base64: &str, name: Option<&str>) -> String {
    let data = ObjectText::new()
        .text("mimeType", kind)
        .text("data", base64)
        .some_text("displayName", name);
    ObjectText::new().raw("inlineData", &data.end()).end()
}

fn file(kind: &str, url: &str, name: Option<&str>) -> String {
    let data = ObjectText::new()
        .text("mimeType", kind)
        .text("fileUri", url)
        .some_text("displayName", name);
    ObjectText::new().raw("fileData", &data.end()).end()
}

fn function_call(call: &ToolCall, signature: Option<&str>) -> String {
    let written = ObjectText::new()
        .text("id", &call.id)
        .text("name", &call.name)
        .raw("args", call.input.object().get());
    ObjectText::new()
        .raw("functionCall", &written.end())
        .some_text("thoughtSignature", signature)
        .end()
}

/// Writes the result of a call, and what it shows beside its text.
fn response(
    result: &ToolResult,
    names: &HashMap<String, String>,
) -> Result<(String, Vec<String>), Unreadable> {
    let Some(name) = names.get(&result.id) else {
        return Err(not_carried("The result of a tool without its call"));
    };
    let (mut told, mut shown) = (String::new(), Vec::new());
    for part in &result.parts {
        match part {
            ContentPart::Text(more) => told.push_str(more),
            part => {
                if shown.is_empty() {
                    shown.push(text(&format!("Shown by the tool call {}:", result.id)));
                }
                shown.push(written(part)?);
            }
        }
    }
    let member = if result.is_error { "error" } else { "output" };
    let response = ObjectText::new().text(member, &told).end();
    let written = ObjectText::new()
        .text("id", &result.id)
        .text("name", name)
        .raw("response", &response);
    let written = ObjectText::new().raw("functionResponse", &written.end());
    Ok((written.end(), shown))
}

fn tool(tool: &Tool) -> String {
    ObjectText::new()
        .text("name", &tool.name)
        .some_text("description", tool.whole_description().as_deref())
        .raw("parametersJsonSchema", tool.schema().get())
        .end()
}

fn choice(choice: &ToolChoice) -> Option<String> {
    let mode = |mode: &str| ObjectText::new().text("mode", mode);
    let config = match choice {
        ToolChoice::Auto => return None,
        ToolChoice::None => mode("NONE"),
        ToolChoice::Any => mode("ANY"),
        ToolChoice::Named(name) => mode("ANY").list("allowedFunctionNames", &[quoted(name)]),
    };
    let config = ObjectText::new().raw("functionCallingConfig", &config.end());
    Some(config.end())
}

/// Writes `generationConfig`. `None`: there is nothing in it.
fn config(conversation: &Conversation) -> Option<String> {
    let stop: Vec<String> = conversation.stop.iter().map(|stop| quoted(stop)).collect();
    let mut config = ObjectText::new().some_list("stopSequences", &stop);
    let sampling = &conversation.sampling;
    for (name, value) in [
        ("temperature", &sampling.temperature),
        ("topP", &sampling.top_p),
        ("topK", &sampling.top_k),
        ("seed", &sampling.seed),
        ("presencePenalty", &sampling.presence_penalty),
        ("frequencyPenalty", &sampling.frequency_penalty),
    ] {
        config = config.some_raw(name, value.as_ref().map(Json::get));
    }
    if let Some(limit) = conversation.limit {
        config = config.number("maxOutputTokens", limit);
    }
    let schema = match &conversation.format {
        Format::Text => None,
        Format::Json => Some(None),
        Format::Schema { schema, .. } => Some(Some(schema)),
    };
    if let Some(schema) = schema {
        config = config
            .text("responseMimeType", "application/json")
            .some_raw("responseJsonSchema", schema.map(Json::get));
    }
    let written = config.end();
    (written != "{}").then_some(written)
}
