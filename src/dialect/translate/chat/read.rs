//! Reads the body of `chat/completions` into a [`Conversation`].

use super::super::conversation::{
    ContentPart, Conversation, Format, Input, Json, Media, Removed, Speaker, Takes, Tool, ToolCall,
    ToolChoice, ToolResult,
};
use super::super::fields::{self, BodyFields, elements, no_type, not_carried};
use crate::dialect::call::Unreadable;
use crate::dialect::object;
use serde_json::value::RawValue;
use std::collections::HashSet;

/// Members of a body that only tune an answer.
const TUNING: &[&str] = &[
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
    "verbosity",
];

/// Members of a message that only tune an answer. Reasoning of another provider's model is nothing to the next.
const TUNING_OF_MESSAGE: &[&str] = &[
    "name",
    "annotations",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
];

pub(crate) fn read(body: &RawValue) -> Result<Conversation, Unreadable> {
    let mut body = BodyFields::of(body, "")?;
    let mut conversation = Conversation {
        model: body.text("model")?,
        stream: body.flag("stream")?.unwrap_or(false),
        stop: stop(&mut body)?,
        is_parallel: body.flag("parallel_tool_calls")?,
        ..Conversation::default()
    };
    if let Some(mut options) = body.object("stream_options", "stream_options")? {
        conversation.wants_usage = options.flag("include_usage")?.unwrap_or(false);
        options.end(&["include_obfuscation"], &mut conversation.removed)?;
    }
    let limits = [
        body.whole("max_tokens")?,
        body.whole("max_completion_tokens")?,
    ];
    conversation.limit = limits.into_iter().flatten().min();
    if body.whole("n")?.is_some_and(|count| count != 1) {
        return Err(not_carried("n above 1"));
    }
    let sampling = &mut conversation.sampling;
    sampling.temperature = body.number("temperature")?;
    sampling.top_p = body.number("top_p")?;
    sampling.top_k = body.number("top_k")?;
    sampling.frequency_penalty = body.number("frequency_penalty")?;
    sampling.presence_penalty = body.number("presence_penalty")?;
    sampling.seed = body.number("seed")?;
    without_effect(&mut body)?;
    conversation.format = format(&mut body, &mut conversation.removed)?;
    for message in body.list("messages")? {
        read_message(message, &mut conversation)?;
    }
    for tool in body.list("tools")? {
        read_tool(tool, &mut conversation)?;
    }
    // Hosted tools are left out; the reading of the client's own API names them.
    body.take("web_search_options");
    choose(&mut body, &mut conversation)?;
    body.end(TUNING, &mut conversation.removed)?;
    Ok(conversation)
}

/// Takes members that are refused unless they ask for nothing.
fn without_effect(body: &mut BodyFields<'_>) -> Result<(), Unreadable> {
    if body.flag("logprobs")?.unwrap_or(false) || body.whole("top_logprobs")?.unwrap_or(0) > 0 {
        return Err(not_carried("logprobs"));
    }
    if body
        .take("logit_bias")
        .is_some_and(|bias| bias.get().len() > 2)
    {
        return Err(not_carried("logit_bias"));
    }
    for kind in body.list("modalities")? {
        if kind.get() != "\"text\"" {
            return Err(not_carried("modalities other than text"));
        }
    }
    Ok(())
}

fn stop(body: &mut BodyFields<'_>) -> Result<Vec<String>, Unreadable> {
    let Some(stop) = body.take("stop") else {
        return Ok(Vec::new());
    };
    let list = elements(stop).unwrap_or_else(|| vec![stop]);
    let texts = list.into_iter().map(|text| {
        let text = object::string(text);
        text.map(std::borrow::Cow::into_owned)
            .ok_or_else(|| Unreadable("stop must be a string, or a list of them".to_owned()))
    });
    texts.collect()
}

fn format(body: &mut BodyFields<'_>, removed: &mut Removed) -> Result<Format, Unreadable> {
    let Some(mut format) = body.object("response_format", "response_format")? else {
        return Ok(Format::Text);
    };
    let kind = format.needed_text("type")?;
    let read = match kind.as_str() {
        "text" => Format::Text,
        "json_object" => Format::Json,
        "json_schema" => {
            let place = "response_format.json_schema";
            let Some(mut wanted) = format.object("json_schema", place)? else {
                return Err(Unreadable(format!("{place} is required")));
            };
            let schema = wanted.take("schema").map(Json::of);
            let schema = schema.filter(Json::is_object);
            let schema =
                schema.ok_or_else(|| Unreadable(format!("{place}.schema must be an object")))?;
            let read = Format::Schema {
                name: wanted.text("name")?,
                schema,
                is_strict: wanted.flag("strict")?,
            };
            wanted.end(&["description"], removed)?;
            read
        }
        _ => return Err(not_carried("response_format")),
    };
    format.end(&[], &mut Removed::default())?;
    Ok(read)
}

fn read_message(message: &RawValue, into: &mut Conversation) -> Result<(), Unreadable> {
    let mut message = BodyFields::of(message, "messages")?;
    let role = message.needed_text("role")?;
    match role.as_str() {
        "system" | "developer" => {
            for part in content(&mut message, &mut into.removed)? {
                into.instruct(part)?;
            }
        }
        "user" => {
            for part in content(&mut message, &mut into.removed)? {
                into.say(Speaker::User, part);
            }
        }
        "tool" => {
            let id = message.needed_text("tool_call_id")?;
            let parts = content(&mut message, &mut into.removed)?;
            let result = ToolResult {
                id,
                parts,
                is_error: false,
            };
            into.say(Speaker::User, ContentPart::Result(result));
        }
        "assistant" => read_assistant(&mut message, into)?,
        _ => return Err(not_carried("A message of this role")),
    }
    message.end(TUNING_OF_MESSAGE, &mut into.removed)
}

fn read_assistant(message: &mut BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    for part in content(message, &mut into.removed)? {
        into.say(Speaker::Assistant, part);
    }
    if let Some(refusal) = message.text("refusal")? {
        into.say(Speaker::Assistant, ContentPart::Refusal(refusal));
    }
    for call in message.list("tool_calls")? {
        let mut call = BodyFields::of(call, "messages.tool_calls")?;
        let id = call.needed_text("id")?;
        call.take("index");
        let kind = call.text("type")?;
        let (name, input) = match kind.as_deref() {
            Some("custom") => {
                let mut custom = needed(&mut call, "custom", "messages.tool_calls.custom")?;
                let name = custom.needed_text("name")?;
                let input = Input::Text(custom.text("input")?.unwrap_or_default());
                custom.end(&[], &mut into.removed)?;
                (name, input)
            }
            None | Some("function") => {
                let place = "messages.tool_calls.function";
                let mut function = needed(&mut call, "function", place)?;
                let name = function.needed_text("name")?;
                let arguments = function.text("arguments")?.unwrap_or_default();
                function.end(&[], &mut into.removed)?;
                let input = Input::read(&arguments, false).ok_or_else(|| {
                    Unreadable(format!("{place}.arguments must be the text of an object"))
                })?;
                (name, input)
            }
            Some(kind) => return Err(no_type("A tool call", kind)),
        };
        call.end(&["extra_content"], &mut into.removed)?;
        into.say(
            Speaker::Assistant,
            ContentPart::Call(ToolCall { id, name, input }),
        );
    }
    Ok(())
}

fn needed<'a>(
    of: &mut BodyFields<'a>,
    name: &str,
    place: &'static str,
) -> Result<BodyFields<'a>, Unreadable> {
    let found = of.object(name, place)?;
    found.ok_or_else(|| Unreadable(format!("{place} is required")))
}

/// Takes the content of a message: a text, or a list of parts. Empty texts are left out.
fn content(
    message: &mut BodyFields<'_>,
    removed: &mut Removed,
) -> Result<Vec<ContentPart>, Unreadable> {
    let Some(content) = message.take("content") else {
        return Ok(Vec::new());
    };
    fields::content(content, "messages.content", |part| read_part(part, removed))
}

fn read_part(part: &RawValue, removed: &mut Removed) -> Result<ContentPart, Unreadable> {
    const PLACE: &str = "messages.content";
    let mut part = BodyFields::of(part, PLACE)?;
    let kind = part.needed_text("type")?;
    let read = match kind.as_str() {
        "text" => ContentPart::Text(part.needed_text("text")?),
        "refusal" => ContentPart::Refusal(part.needed_text("refusal")?),
        "image_url" => {
            let mut image = needed(&mut part, "image_url", "messages.content.image_url")?;
            let media = Media::of_url(&image.needed_text("url")?)?;
            image.end(&["detail"], removed)?;
            ContentPart::Image(media)
        }
        "file" => {
            let mut file = needed(&mut part, "file", "messages.content.file")?;
            let name = file.text("filename")?;
            let Some(data) = file.text("file_data")? else {
                return Err(not_carried("A file without its file_data"));
            };
            file.end(&[], removed)?;
            ContentPart::Document {
                media: Media::of_url(&data)?,
                name,
            }
        }
        "input_audio" => {
            let mut sound = needed(&mut part, "input_audio", "messages.content.input_audio")?;
            let media = Media::Data {
                kind: format!("audio/{}", sound.needed_text("format")?),
                base64: sound.needed_text("data")?,
            };
            sound.end(&[], removed)?;
            ContentPart::Sound(media)
        }
        kind => return Err(no_type("A part of content", kind)),
    };
    part.end(&["cache_control"], removed)?;
    Ok(read)
}

fn read_tool(tool: &RawValue, into: &mut Conversation) -> Result<(), Unreadable> {
    let mut tool = BodyFields::of(tool, "tools")?;
    let kind = tool.text("type")?;
    let read = match kind.as_deref() {
        None | Some("function") => {
            let mut function = needed(&mut tool, "function", "tools.function")?;
            let read = Tool {
                name: function.needed_text("name")?,
                description: function.text("description")?,
                takes: Takes::Object(function.take("parameters").map(Json::of)),
                is_strict: function.flag("strict")?,
            };
            function.end(&[], &mut into.removed)?;
            read
        }
        Some("custom") => {
            let mut custom = needed(&mut tool, "custom", "tools.custom")?;
            let read = Tool {
                name: custom.needed_text("name")?,
                description: custom.text("description")?,
                takes: Takes::Text {
                    grammar: match custom.object("format", "tools.custom.format")? {
                        Some(mut format) => {
                            let grammar =
                                match format.object("grammar", "tools.custom.format.grammar")? {
                                    Some(grammar) => grammar_of(grammar)?,
                                    None => None,
                                };
                            format.take("type");
                            format.end(&[], &mut into.removed)?;
                            grammar
                        }
                        None => None,
                    },
                },
                is_strict: None,
            };
            custom.end(&[], &mut into.removed)?;
            read
        }
        // A hosted tool.
        Some(_) => return Ok(()),
    };
    tool.end(&["cache_control"], &mut into.removed)?;
    into.tools.push(read);
    Ok(())
}

/// Returns a grammar in words.
pub(crate) fn grammar_of(mut grammar: BodyFields<'_>) -> Result<Option<String>, Unreadable> {
    let syntax = grammar.text("syntax")?.unwrap_or_default();
    let definition = grammar.needed_text("definition")?;
    grammar.end(&[], &mut Removed::default())?;
    Ok(Some(format!(
        "The input must match this {syntax} grammar:\n{definition}"
    )))
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
    let kind = choice.needed_text("type")?;
    match kind.as_str() {
        "function" | "custom" => {
            let place = "tool_choice.function";
            let mut named = needed(&mut choice, &kind, place)?;
            into.choice = ToolChoice::Named(named.needed_text("name")?);
            named.end(&[], &mut Removed::default())?;
        }
        "allowed_tools" => {
            let mut allowed = needed(&mut choice, "allowed_tools", "tool_choice.allowed_tools")?;
            let mode = allowed.text("mode")?;
            into.choice = word_of_choice(mode.as_deref().unwrap_or("auto"))?;
            let mut names = HashSet::new();
            for tool in allowed.list("tools")? {
                let mut tool = BodyFields::of(tool, "tool_choice.allowed_tools.tools")?;
                let kind = tool.text("type")?.unwrap_or_else(|| "function".to_owned());
                let Some(mut named) = tool.object(&kind, "tool_choice.allowed_tools.tools")? else {
                    return Err(not_carried("tool_choice of a tool of this type"));
                };
                names.insert(named.needed_text("name")?);
                named.end(&[], &mut Removed::default())?;
            }
            allowed.end(&[], &mut Removed::default())?;
            into.tools.retain(|tool| names.contains(&tool.name));
        }
        _ => return Err(not_carried("tool_choice of this type")),
    }
    choice.end(&[], &mut Removed::default())
}

pub(crate) fn word_of_choice(word: &str) -> Result<ToolChoice, Unreadable> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" | "any" => Ok(ToolChoice::Any),
        _ => Err(not_carried("This tool_choice")),
    }
}
