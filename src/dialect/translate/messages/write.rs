//! Writes a [`Conversation`] as the body of `messages`.

use super::super::conversation::{
    ContentPart, Conversation, Format, Json, Media, Speaker, Tool, ToolCall, ToolChoice,
    ToolResult, Turn, gemini_signature,
};
use super::super::fields::not_carried;
use super::super::written::{ObjectText, quoted};
use crate::dialect::call::Unreadable;

/// Highest temperature of Messages; other APIs know 2.
const MAX_TEMPERATURE: f64 = 1.0;

/// Longest ID of a tool call.
const MAX_ID_BYTES: usize = 64;

/// Writes the body for a model. `default_limit`: limit of an answer whose client set none, which Messages require. What
/// cannot be carried, and only tunes, is named in `conversation.removed`.
pub(crate) fn write(
    conversation: &mut Conversation,
    model: Option<&str>,
    default_limit: u64,
) -> Result<String, Unreadable> {
    tune(conversation)?;
    let mut messages = Vec::new();
    let turns = std::mem::take(&mut conversation.turns);
    for turn in &turns {
        messages.extend(message(turn, conversation)?);
    }
    conversation.turns = turns;
    let system: Vec<String> = conversation.system.iter().map(|line| text(line)).collect();
    let tools: Vec<String> = conversation.tools.iter().map(tool).collect();
    let stop: Vec<String> = conversation.stop.iter().map(|stop| quoted(stop)).collect();
    let sampling = &conversation.sampling;
    let limit = conversation.limit.unwrap_or(default_limit);
    let mut body = ObjectText::new()
        .some_text("model", model)
        .number("max_tokens", limit)
        .some_list("system", &system)
        .list("messages", &messages)
        .some_list("tools", &tools);
    if !tools.is_empty() {
        body = body.some_raw("tool_choice", choice(conversation).as_deref());
    }
    body = body.some_list("stop_sequences", &stop);
    for (name, value) in [
        ("temperature", &sampling.temperature),
        ("top_p", &sampling.top_p),
        ("top_k", &sampling.top_k),
    ] {
        body = body.some_raw(name, value.as_ref().map(Json::get));
    }
    if let Format::Schema { schema, .. } = &conversation.format {
        let format = ObjectText::typed("json_schema")
            .raw("schema", schema.get())
            .end();
        body = body.raw(
            "output_config",
            &ObjectText::new().raw("format", &format).end(),
        );
    }
    if conversation.stream {
        body = body.flag("stream", true);
    }
    Ok(body.end())
}

/// Refuses sampling that Messages do not have, or leaves it out where it only tunes.
fn tune(conversation: &mut Conversation) -> Result<(), Unreadable> {
    let sampling = &conversation.sampling;
    let number = |json: &Json| json.get().parse().unwrap_or(f64::NAN);
    if sampling
        .temperature
        .as_ref()
        .map(number)
        .is_some_and(|number: f64| number > MAX_TEMPERATURE)
    {
        return Err(not_carried("temperature above 1"));
    }
    if conversation.format == Format::Json {
        return Err(not_carried("response_format json_object (json_schema can)"));
    }
    for (name, value) in [
        ("frequency_penalty", &sampling.frequency_penalty),
        ("presence_penalty", &sampling.presence_penalty),
        ("seed", &sampling.seed),
    ] {
        // A penalty of 0 is none.
        if value
            .as_ref()
            .is_some_and(|value| number(value) != 0.0 || name == "seed")
        {
            conversation.removed.add(name);
        }
    }
    Ok(())
}

/// Writes a turn. `None`: nothing in it is left.
fn message(turn: &Turn, conversation: &mut Conversation) -> Result<Option<String>, Unreadable> {
    let (mut results, mut blocks) = (Vec::new(), Vec::new());
    for part in &turn.parts {
        match part {
            // Results stand before everything else.
            ContentPart::Result(result) => results.push(tool_result(result)?),
            ContentPart::Thinking { signature, .. }
                if signature.as_deref().is_none_or(is_foreign) =>
            {
                conversation.removed.add("messages.content.thinking");
            }
            part => blocks.push(block(part)?),
        }
    }
    results.append(&mut blocks);
    if results.is_empty() {
        return Ok(None);
    }
    let role = match turn.speaker {
        Speaker::User => "user",
        Speaker::Assistant => "assistant",
    };
    Ok(Some(
        ObjectText::new()
            .text("role", role)
            .list("content", &results)
            .end(),
    ))
}

/// Whether a proof of thinking is another provider's.
fn is_foreign(proof: &str) -> bool {
    gemini_signature(proof).is_some()
}

fn text(text: &str) -> String {
    ObjectText::typed("text").text("text", text).end()
}

fn block(part: &ContentPart) -> Result<String, Unreadable> {
    Ok(match part {
        ContentPart::Text(line) | ContentPart::Refusal(line) => text(line),
        ContentPart::Image(media) => ObjectText::typed("image")
            .raw("source", &source(media))
            .end(),
        ContentPart::Document { media, name } => {
            if let Media::Data { kind, .. } = media
                && kind != "application/pdf"
            {
                return Err(not_carried("A document other than a PDF or a text"));
            }
            ObjectText::typed("document")
                .raw("source", &source(media))
                .some_text("title", name.as_deref())
                .end()
        }
        ContentPart::Call(call) => tool_use(call),
        ContentPart::Thinking {
            text,
            signature: Some(signature),
        } => ObjectText::typed("thinking")
            .text("thinking", text)
            .text("signature", signature)
            .end(),
        ContentPart::Sealed(data) => ObjectText::typed("redacted_thinking")
            .text("data", data)
            .end(),
        ContentPart::Sound(_) => return Err(not_carried("Sound")),
        ContentPart::Thinking { .. } | ContentPart::Result(_) => {
            return Err(not_carried("Content in this place"));
        }
    })
}

fn source(media: &Media) -> String {
    match media {
        Media::Data { kind, base64 } => ObjectText::typed("base64")
            .text("media_type", kind)
            .text("data", base64)
            .end(),
        Media::Url(url) => ObjectText::typed("url").text("url", url).end(),
        Media::Text(text) => ObjectText::typed("text")
            .text("media_type", "text/plain")
            .text("data", text)
            .end(),
    }
}

fn tool_use(call: &ToolCall) -> String {
    ObjectText::typed("tool_use")
        .text("id", &safe_id(&call.id))
        .text("name", &call.name)
        .raw("input", call.input.object().get())
        .end()
}

fn tool_result(result: &ToolResult) -> Result<String, Unreadable> {
    let content: Result<Vec<String>, Unreadable> = result.parts.iter().map(block).collect();
    let written = ObjectText::typed("tool_result")
        .text("tool_use_id", &safe_id(&result.id))
        .some_list("content", &content?);
    Ok(match result.is_error {
        true => written.flag("is_error", true),
        false => written,
    }
    .end())
}

/// Returns an ID as Messages take it: letters, digits, `_` and `-`. Another one is replaced by its hash, in the call and
/// in its result alike.
fn safe_id(id: &str) -> String {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(is_safe) {
        return id.to_owned();
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, id.as_bytes());
    format!("toolu_{}", hex::encode(&digest.as_ref()[..12]))
}

fn tool(tool: &Tool) -> String {
    ObjectText::new()
        .text("name", &tool.name)
        .some_text("description", tool.whole_description().as_deref())
        .raw("input_schema", tool.schema().get())
        .some_flag("strict", tool.is_strict.filter(|is_strict| *is_strict))
        .end()
}

fn choice(conversation: &Conversation) -> Option<String> {
    let is_serial = conversation.is_parallel.is_some_and(|is| !is);
    let choice = match &conversation.choice {
        ToolChoice::Auto if !is_serial => return None,
        ToolChoice::Auto => ObjectText::typed("auto"),
        ToolChoice::Any => ObjectText::typed("any"),
        ToolChoice::None => return Some(ObjectText::typed("none").end()),
        ToolChoice::Named(name) => ObjectText::typed("tool").text("name", name),
    };
    Some(
        match is_serial {
            true => choice.flag("disable_parallel_tool_use", true),
            false => choice,
        }
        .end(),
    )
}
