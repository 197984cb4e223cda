//! Reads the body of `generateContent` into a [`Conversation`].

use super::super::conversation::{
    ContentPart, Conversation, Input, Json, Media, Removed, Speaker, ToolCall, ToolResult,
};
use super::super::fields::{BodyFields, no_type, not_carried, one_or_more};
use super::options::{choose, read_config, read_tool};
use crate::dialect::call::Unreadable;
use crate::dialect::object;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use std::collections::{HashMap, VecDeque};

/// Members of a body that only tune an answer.
const TUNING: &[&str] = &["safetySettings", "serviceTier", "labels"];

/// Members of a part that only tune an answer.
const TUNING_OF_PART: &[&str] = &["mediaResolution", "partMetadata", "thoughtSignature"];

/// Reads a body. `is_stream`: the call's path asks for a stream.
pub(crate) fn read(body: &RawValue, is_stream: bool) -> Result<Conversation, Unreadable> {
    let mut body = BodyFields::of_proto(body, "")?;
    let mut reader = ContentsReader {
        into: Conversation {
            stream: is_stream,
            wants_usage: true,
            ..Conversation::default()
        },
        calls: HashMap::new(),
        waiting: HashMap::new(),
        count: 0,
    };
    if let Some(system) = body.take("systemInstruction") {
        let mut system = BodyFields::of_proto(system, "systemInstruction")?;
        system.take("role");
        for part in one_or_more(system.take("parts")) {
            if let Some(part) = reader.part(part)? {
                reader.into.instruct(part)?;
            }
        }
        system.end(&[], &mut reader.into.removed)?;
    }
    for content in one_or_more(body.take("contents")) {
        reader.content(content)?;
    }
    let mut into = reader.into;
    for tool in one_or_more(body.take("tools")) {
        read_tool(tool, &mut into)?;
    }
    choose(&mut body, &mut into)?;
    if let Some(config) = body.take("generationConfig") {
        read_config(BodyFields::of_proto(config, "generationConfig")?, &mut into)?;
    }
    body.end(TUNING, &mut into.removed)?;
    Ok(into)
}

struct ContentsReader {
    into: Conversation,
    /// Names of the calls that have no result yet, by their IDs.
    calls: HashMap<String, String>,
    /// IDs of the calls by their names, in order; those with a result may still be there.
    waiting: HashMap<String, VecDeque<String>>,
    /// Number of calls.
    count: usize,
}

impl ContentsReader {
    fn content(&mut self, content: &RawValue) -> Result<(), Unreadable> {
        let mut content = BodyFields::of_proto(content, "contents")?;
        let speaker = match content.text("role")?.as_deref() {
            None | Some("user" | "function" | "") => Speaker::User,
            Some("model") => Speaker::Assistant,
            Some(_) => return Err(not_carried("A content of this role")),
        };
        for part in one_or_more(content.take("parts")) {
            if let Some(part) = self.part(part)? {
                let of_model = matches!(part, ContentPart::Call(_));
                let of_user = matches!(part, ContentPart::Result(_));
                if of_model && speaker == Speaker::User || of_user && speaker != Speaker::User {
                    return Err(not_carried(
                        "A call or a result in the other speaker's turn",
                    ));
                }
                self.into.say(speaker, part);
            }
        }
        content.end(&[], &mut self.into.removed)
    }

    /// Reads a part. Empty texts and thoughts are left out: those of one provider's model are nothing to the next.
    fn part(&mut self, part: &RawValue) -> Result<Option<ContentPart>, Unreadable> {
        let mut part = BodyFields::of_proto(part, "contents.parts")?;
        let is_thought = part.flag("thought")?.unwrap_or(false);
        let read = if let Some(text) = part.text("text")? {
            Some(ContentPart::Text(text)).filter(|part| *part != ContentPart::Text(String::new()))
        } else if let Some(data) = part.take("inlineData") {
            Some(inline(data, &mut self.into.removed)?)
        } else if let Some(file) = part.take("fileData") {
            Some(remote(file, &mut self.into.removed)?)
        } else if let Some(call) = part.take("functionCall") {
            Some(self.call(call)?)
        } else if let Some(response) = part.take("functionResponse") {
            Some(self.response(response)?)
        } else {
            None
        };
        part.end(TUNING_OF_PART, &mut self.into.removed)?;
        if is_thought && matches!(read, Some(ContentPart::Text(_)) | None) {
            self.into.removed.add("contents.parts.thought");
            return Ok(None);
        }
        Ok(read)
    }

    fn call(&mut self, call: &RawValue) -> Result<ContentPart, Unreadable> {
        let place = "contents.parts.functionCall";
        let mut call = BodyFields::of_proto(call, place)?;
        let args = match call.take("args") {
            Some(args) => Some(Json::of(args)).filter(Json::is_object),
            None => Json::parse("{}"),
        };
        let args = args.ok_or_else(|| Unreadable(format!("{place}.args must be an object")))?;
        let name = call.needed_text("name")?;
        let id = call.text("id")?.filter(|id| !id.is_empty());
        call.end(&[], &mut self.into.removed)?;
        let nth = self.count;
        self.count += 1;
        let id = id.unwrap_or_else(|| format!("call_{nth}"));
        if self.calls.insert(id.clone(), name.clone()).is_some() {
            return Err(Unreadable(format!(
                "{place}.id stands twice without a result between"
            )));
        }
        let waiting = self.waiting.entry(name.clone()).or_default();
        waiting.push_back(id.clone());
        Ok(ContentPart::Call(ToolCall {
            id,
            name,
            input: Input::Object(args),
        }))
    }

    /// Returns the ID of the first call of a function that has no result yet.
    fn first_waiting(&mut self, name: &str) -> Option<String> {
        let waiting = self.waiting.get_mut(name)?;
        while let Some(id) = waiting.pop_front() {
            if self.calls.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }

    /// Reads the result of a function: of the call with its ID, or else of the first of its name without a result.
    fn response(&mut self, response: &RawValue) -> Result<ContentPart, Unreadable> {
        let place = "contents.parts.functionResponse";
        let mut response = BodyFields::of_proto(response, place)?;
        let name = response.needed_text("name")?;
        let id = response.text("id")?.filter(|id| !id.is_empty());
        let id = id.or_else(|| self.first_waiting(&name));
        let id = id.filter(|id| self.calls.get(id) == Some(&name));
        let Some(id) = id else {
            return Err(Unreadable(format!(
                "{place} of {name:.64} has no functionCall before it"
            )));
        };
        self.calls.remove(&id);
        let result = response.take("response");
        let result = result.filter(|result| result.get().starts_with('{'));
        let result =
            result.ok_or_else(|| Unreadable(format!("{place}.response must be an object")))?;
        let (text, is_error) = result_text(result);
        let mut parts = Vec::new();
        if !text.is_empty() {
            parts.push(ContentPart::Text(text));
        }
        for part in one_or_more(response.take("parts")) {
            let mut part = BodyFields::of_proto(part, "contents.parts.functionResponse.parts")?;
            if let Some(data) = part.take("inlineData") {
                parts.push(inline(data, &mut self.into.removed)?);
            } else if let Some(file) = part.take("fileData") {
                parts.push(remote(file, &mut self.into.removed)?);
            }
            part.end(&[], &mut self.into.removed)?;
        }
        response.end(&["scheduling"], &mut self.into.removed)?;
        Ok(ContentPart::Result(ToolResult {
            id,
            parts,
            is_error,
        }))
    }
}

/// Returns the text of a result, and whether it reports an error: an object with nothing but `output` or `error` stands
/// for that text, any other for itself.
fn result_text(result: &RawValue) -> (String, bool) {
    let members = BodyFields::of(result, "").ok();
    let only = members.and_then(|mut members| {
        let text = |value| object::string(value).map(std::borrow::Cow::into_owned);
        let output = members.take("output").and_then(text);
        let error = members.take("error").and_then(text);
        members.end(&[], &mut Removed::default()).ok()?;
        match (output, error) {
            (Some(output), None) => Some((output, false)),
            (None, Some(error)) => Some((error, true)),
            _ => None,
        }
    });
    only.unwrap_or_else(|| (result.get().to_owned(), false))
}

fn inline(data: &RawValue, removed: &mut Removed) -> Result<ContentPart, Unreadable> {
    let place = "contents.parts.inlineData";
    let mut data = BodyFields::of_proto(data, place)?;
    let kind = data.needed_text("mimeType")?.to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
    // Protocol Buffers take both alphabets, other APIs the usual one.
    let base64 = data
        .needed_text("data")?
        .replace('-', "+")
        .replace('_', "/");
    let name = data.text("displayName")?;
    data.end(&[], removed)?;
    let media = Media::Data {
        kind: kind.clone(),
        base64,
    };
    Ok(match kind.split_once('/') {
        Some(("image", _)) => ContentPart::Image(media),
        Some(("audio", _)) => ContentPart::Sound(media),
        Some(("application", "pdf")) => ContentPart::Document { media, name },
        Some(("text", _) | ("application", "json")) => ContentPart::Document {
            media: Media::Text(decoded(&media, place)?),
            name,
        },
        _ => return Err(no_type("inlineData", &kind)),
    })
}

fn decoded(media: &Media, place: &str) -> Result<String, Unreadable> {
    let text = match media {
        Media::Data { base64, .. } => STANDARD.decode(base64).ok(),
        _ => None,
    };
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Unreadable(format!("{place}.data must be a text in base64")))
}

fn remote(file: &RawValue, removed: &mut Removed) -> Result<ContentPart, Unreadable> {
    let mut file = BodyFields::of_proto(file, "contents.parts.fileData")?;
    let kind = file.needed_text("mimeType")?.to_ascii_lowercase();
    let media = Media::Url(file.needed_text("fileUri")?);
    let name = file.text("displayName")?;
    file.end(&[], removed)?;
    Ok(match kind.split_once('/') {
        Some(("image", _)) => ContentPart::Image(media),
        Some(("application", "pdf")) => ContentPart::Document { media, name },
        _ => return Err(no_type("fileData", &kind)),
    })
}
