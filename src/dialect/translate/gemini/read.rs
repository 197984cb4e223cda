//! Reads the body of `generateContent` into a [`Conversation`].

use super::super::conversation::{
    ContentPart, Conversation, Format, Input, Json, Media, Removed, Speaker, Takes, Tool, ToolCall,
    ToolChoice, ToolResult,
};
use super::super::fields::{BodyFields, elements, no_type, not_carried};
use super::schema::json_schema;
use crate::dialect::call::Unreadable;
use crate::dialect::object;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet, VecDeque};

/// Members of a body that only tune an answer.
const TUNING: &[&str] = &["safetySettings", "serviceTier", "labels"];

/// Members of `generationConfig` that only tune an answer.
const TUNING_OF_CONFIG: &[&str] = &[
    "enableEnhancedCivicAnswers",
    "mediaResolution",
    "thinkingConfig",
];

/// Members of a part that only tune an answer.
const TUNING_OF_PART: &[&str] = &["mediaResolution", "partMetadata", "thoughtSignature"];

/// Kinds of tools that the provider runs itself.
const HOSTED: &[&str] = &[
    "googleSearch",
    "googleSearchRetrieval",
    "enterpriseWebSearch",
    "parallelAiSearch",
    "exaAiSearch",
    "codeExecution",
    "fileSearch",
    "googleMaps",
    "mcpServers",
    "retrieval",
    "urlContext",
];

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
        for part in list(system.take("parts")) {
            if let Some(part) = reader.part(part)? {
                reader.into.instruct(part)?;
            }
        }
        system.end(&[], &mut reader.into.removed)?;
    }
    for content in list(body.take("contents")) {
        reader.content(content)?;
    }
    let mut into = reader.into;
    for tool in list(body.take("tools")) {
        read_tool(tool, &mut into)?;
    }
    choose(&mut body, &mut into)?;
    if let Some(config) = body.take("generationConfig") {
        read_config(BodyFields::of_proto(config, "generationConfig")?, &mut into)?;
    }
    body.end(TUNING, &mut into.removed)?;
    Ok(into)
}

/// Returns the elements of a list, or the value that stands for a list of one.
fn list(value: Option<&RawValue>) -> Vec<&RawValue> {
    let Some(value) = value else {
        return Vec::new();
    };
    elements(value).unwrap_or_else(|| vec![value])
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
        for part in list(content.take("parts")) {
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
        for part in list(response.take("parts")) {
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

fn read_tool(tool: &RawValue, into: &mut Conversation) -> Result<(), Unreadable> {
    let mut tool = BodyFields::of_proto(tool, "tools")?;
    for function in list(tool.take("functionDeclarations")) {
        let place = "tools.functionDeclarations";
        let mut function = BodyFields::of_proto(function, place)?;
        let bad = || Unreadable(format!("{place}.parameters must be an object"));
        let plain = function.take("parameters");
        let schema = match function.take("parametersJsonSchema") {
            Some(_) if plain.is_some() => {
                return Err(Unreadable(format!(
                    "{place} has both parameters and parametersJsonSchema"
                )));
            }
            Some(schema) => Some(Json::of(schema)),
            None => plain
                .map(|schema| json_schema(schema.get()).ok_or_else(bad))
                .transpose()?,
        };
        if function
            .text("behavior")?
            .is_some_and(|behavior| behavior == "NON_BLOCKING")
        {
            return Err(not_carried("A function that does not block"));
        }
        into.tools.push(Tool {
            name: function.needed_text("name")?,
            description: function.text("description")?,
            takes: Takes::Object(schema),
            is_strict: None,
        });
        function.end(&["response", "responseJsonSchema"], &mut into.removed)?;
    }
    // Hosted tools are left out; the reading of the client's own API names them.
    for name in HOSTED {
        tool.take(name);
    }
    tool.end(&[], &mut into.removed)
}

/// Takes `toolConfig`. Tools that it does not allow are left out.
fn choose(body: &mut BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    let Some(config) = body.take("toolConfig") else {
        return Ok(());
    };
    let mut config = BodyFields::of_proto(config, "toolConfig")?;
    if let Some(choice) = config.take("functionCallingConfig") {
        let place = "toolConfig.functionCallingConfig";
        let mut choice = BodyFields::of_proto(choice, place)?;
        let mut names = HashSet::new();
        for name in list(choice.take("allowedFunctionNames")) {
            let name = object::string(name);
            let name = name.ok_or_else(|| {
                Unreadable(format!("{place}.allowedFunctionNames must be strings"))
            })?;
            names.insert(name.into_owned());
        }
        let mode = choice.text("mode")?.unwrap_or_default();
        choice.end(&["streamFunctionCallArguments"], &mut into.removed)?;
        into.choice = match mode.to_ascii_uppercase().as_str() {
            "" | "AUTO" | "MODE_UNSPECIFIED" => ToolChoice::Auto,
            "VALIDATED" => {
                into.removed.add("toolConfig.functionCallingConfig.mode");
                ToolChoice::Auto
            }
            "NONE" => ToolChoice::None,
            "ANY" => match names.iter().next() {
                Some(name) if names.len() == 1 => ToolChoice::Named(name.clone()),
                _ => ToolChoice::Any,
            },
            _ => return Err(not_carried("This functionCallingConfig.mode")),
        };
        if !names.is_empty() && !matches!(into.choice, ToolChoice::Named(_)) {
            into.tools.retain(|tool| names.contains(&tool.name));
        }
    }
    config.end(
        &["retrievalConfig", "includeServerSideToolInvocations"],
        &mut into.removed,
    )
}

fn read_config(mut config: BodyFields<'_>, into: &mut Conversation) -> Result<(), Unreadable> {
    into.limit = config.whole("maxOutputTokens")?;
    if config
        .whole("candidateCount")?
        .is_some_and(|count| count != 1)
    {
        return Err(not_carried("candidateCount above 1"));
    }
    for text in list(config.take("stopSequences")) {
        let text = object::string(text);
        let text = text.ok_or_else(|| Unreadable("stopSequences must be strings".to_owned()))?;
        into.stop.push(text.into_owned());
    }
    let sampling = &mut into.sampling;
    sampling.temperature = config.number("temperature")?;
    sampling.top_p = config.number("topP")?;
    sampling.top_k = config.number("topK")?;
    sampling.seed = config.number("seed")?;
    sampling.presence_penalty = config.number("presencePenalty")?;
    sampling.frequency_penalty = config.number("frequencyPenalty")?;
    if config.flag("responseLogprobs")?.unwrap_or(false) || config.take("logprobs").is_some() {
        return Err(not_carried("responseLogprobs"));
    }
    for kind in list(config.take("responseModalities")) {
        if !object::string(kind).is_some_and(|kind| kind.eq_ignore_ascii_case("text")) {
            return Err(not_carried("responseModalities other than TEXT"));
        }
    }
    into.format = format(&mut config)?;
    config.end(TUNING_OF_CONFIG, &mut into.removed)
}

fn format(config: &mut BodyFields<'_>) -> Result<Format, Unreadable> {
    let kind = config.text("responseMimeType")?;
    let is_json = match kind.as_deref() {
        None | Some("text/plain" | "") => false,
        Some("application/json") => true,
        Some(_) => return Err(not_carried("This responseMimeType")),
    };
    let plain = config.take("responseSchema");
    let bad = || Unreadable("generationConfig.responseSchema must be an object".to_owned());
    let whole = [
        config.take("responseJsonSchema"),
        config.take("_responseJsonSchema"),
    ];
    let has_two = whole.iter().flatten().count() > 1;
    let whole = whole.into_iter().flatten().next().map(Json::of);
    if has_two || (plain.is_some() && whole.is_some()) {
        return Err(Unreadable(
            "generationConfig has more than one schema of the answer".to_owned(),
        ));
    }
    let schema = match plain {
        Some(plain) => Some(json_schema(plain.get()).ok_or_else(bad)?),
        None => whole,
    };
    match schema {
        Some(schema) if is_json => {
            let schema = Some(schema).filter(Json::is_object).ok_or_else(bad)?;
            Ok(Format::Schema {
                name: None,
                schema,
                is_strict: None,
            })
        }
        Some(_) => Err(not_carried(
            "responseSchema without a responseMimeType of application/json",
        )),
        None if is_json => Ok(Format::Json),
        None => Ok(Format::Text),
    }
}
