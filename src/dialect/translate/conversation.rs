//! Picture of a call, the same whatever API it is written in: turns, tools, limits, sampling.
//!
//! A translation reads a body into a [`Conversation`] and writes it again for another API. A native call is never
//! read here. A member that this picture has no place for must be refused or named in `removed`, never dropped in
//! silence.

use crate::dialect::call::Unreadable;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// JSON text that is carried as it was written, such as a schema.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Json(Box<RawValue>);

impl Json {
    pub(crate) fn of(value: &RawValue) -> Json {
        Json(value.to_owned())
    }

    /// Parses a JSON text. `None`: it is none.
    pub(crate) fn parse(text: &str) -> Option<Json> {
        let value: Box<RawValue> = serde_json::from_str(text.trim_ascii()).ok()?;
        Some(Json(value))
    }

    /// Returns the JSON text of a value of our own.
    pub(crate) fn from(value: &impl Serialize) -> Json {
        match serde_json::value::to_raw_value(value) {
            Ok(value) => Json(value),
            // Cannot happen: the values written here have no maps with other keys than strings.
            Err(_) => Json(RawValue::NULL.to_owned()),
        }
    }

    pub(crate) fn get(&self) -> &str {
        self.0.get()
    }

    pub(crate) fn is_object(&self) -> bool {
        self.get().starts_with('{')
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Json) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Conversation {
    pub model: Option<String>,
    pub stream: bool,
    /// Whether the client asked for usage in a stream.
    pub wants_usage: bool,
    /// Instructions of the app, in order.
    pub system: Vec<String>,
    /// Turns, alternating between the speakers.
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub choice: ToolChoice,
    /// Whether the model may call several tools at once. `None`: the API's own default, which is yes everywhere.
    pub is_parallel: Option<bool>,
    /// Maximum number of tokens of the answer.
    pub limit: Option<u64>,
    pub stop: Vec<String>,
    pub sampling: Sampling,
    pub format: Format,
    /// Tools of a namespace: the name by which they are known where there are none, and their namespace.
    pub in_namespaces: Vec<(String, String)>,
    pub removed: Removed,
}

impl Conversation {
    /// Adds a part to the turn of its speaker, which is a new one where the other spoke last.
    pub(crate) fn say(&mut self, speaker: Speaker, part: ContentPart) {
        match self.turns.last_mut() {
            Some(turn) if turn.speaker == speaker => turn.parts.push(part),
            _ => self.turns.push(Turn {
                speaker,
                parts: vec![part],
            }),
        }
    }

    /// Adds a part of a message of the app. Fails if it is no text.
    pub(crate) fn instruct(&mut self, part: ContentPart) -> Result<(), Unreadable> {
        let ContentPart::Text(text) = part else {
            return Err(not_carried("An instruction that is no text"));
        };
        self.system.push(text);
        Ok(())
    }

    /// Returns what the answer needs to know of the call.
    pub(crate) fn facts(&self) -> CallFacts {
        let takes_text = |tool: &&Tool| matches!(tool.takes, Takes::Text { .. });
        let freeform = self.tools.iter().filter(takes_text);
        CallFacts {
            wants_usage: self.wants_usage,
            freeform: freeform.map(|tool| tool.name.clone()).collect(),
            // The first of a name counts.
            in_namespaces: self.in_namespaces.iter().rev().cloned().collect(),
        }
    }
}

/// Facts of a call that its answer is written by.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallFacts {
    /// Whether the client asked for usage in a stream.
    pub wants_usage: bool,
    /// Tools that take free text.
    freeform: HashSet<String>,
    /// Namespaces of tools, by the name that the tools have where there are none.
    in_namespaces: HashMap<String, String>,
}

impl CallFacts {
    /// Whether a tool takes free text.
    pub(crate) fn is_freeform(&self, name: &str) -> bool {
        self.freeform.contains(name)
    }

    /// Returns the namespace of a tool and its name there.
    pub(crate) fn name_in_namespace<'a>(&'a self, name: &'a str) -> (Option<&'a str>, &'a str) {
        let within = || {
            let namespace = self.in_namespaces.get(name)?;
            let rest = name.strip_prefix(namespace.as_str())?;
            Some((Some(namespace.as_str()), rest.strip_prefix(NAMESPACE_END)?))
        };
        within().unwrap_or((None, name))
    }
}

/// Prefix of the signature of a tool call of Gemini's, where an API has a place for proofs of thinking alone. Another
/// provider would refuse such a proof.
const GEMINI_PROOF: &str = "gemini.";

/// Returns the proof of thinking that holds a signature of Gemini's.
pub(crate) fn gemini_proof(signature: &str) -> String {
    format!("{GEMINI_PROOF}{signature}")
}

/// Returns the signature of Gemini's that a proof of thinking holds. `None`: it is another provider's.
pub(crate) fn gemini_signature(proof: &str) -> Option<&str> {
    proof.strip_prefix(GEMINI_PROOF)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    User,
    Assistant,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn {
    pub speaker: Speaker,
    pub parts: Vec<ContentPart>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ContentPart {
    Text(String),
    Image(Media),
    Document {
        media: Media,
        name: Option<String>,
    },
    Sound(Media),
    /// Reasoning that the model has shown. `signature`: its provider's proof.
    Thinking {
        text: String,
        signature: Option<String>,
    },
    /// Reasoning that only its provider can read.
    Sealed(String),
    Call(ToolCall),
    Result(ToolResult),
    Refusal(String),
}

/// Content that is no text of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// `kind` is a media type, such as `image/png`.
    Data {
        kind: String,
        base64: String,
    },
    Url(String),
    /// Plain text of a document.
    Text(String),
}

impl Media {
    /// Reads a URL, whose data it may hold itself.
    pub(crate) fn of_url(url: &str) -> Result<Media, Unreadable> {
        let Some(rest) = strip_scheme(url, "data:") else {
            return Ok(Media::Url(url.to_owned()));
        };
        let (head, base64) = rest.split_once(',').unwrap_or((rest, ""));
        let Some(kind) = strip_suffix(head, ";base64") else {
            return Err(Unreadable(
                "A data URL must be in base64 to be carried to another API".to_owned(),
            ));
        };
        let kind = kind.split(';').next().unwrap_or_default().trim();
        Ok(Media::Data {
            kind: kind.to_ascii_lowercase(),
            base64: base64.to_owned(),
        })
    }

    /// Returns the content as a URL. `None`: it is text.
    pub(crate) fn url(&self) -> Option<String> {
        match self {
            Media::Data { kind, base64 } => Some(format!("data:{kind};base64,{base64}")),
            Media::Url(url) => Some(url.clone()),
            Media::Text(_) => None,
        }
    }
}

fn strip_scheme<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let head = url.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme)
        .then(|| &url[scheme.len()..])
}

fn strip_suffix<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(end.len())?;
    let tail = text.get(at..)?;
    tail.eq_ignore_ascii_case(end).then(|| &text[..at])
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolCall {
    pub id: String,
    pub name: String,
    pub input: Input,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// An object, by the tool's schema.
    Object(Json),
    /// Free text, of a tool that [`Takes::Text`].
    Text(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolResult {
    /// ID of the call.
    pub id: String,
    pub parts: Vec<ContentPart>,
    pub is_error: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tool {
    pub name: String,
    pub description: Option<String>,
    pub takes: Takes,
    pub is_strict: Option<bool>,
}

/// Input of a tool.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Takes {
    /// An object; `None`: of any shape.
    Object(Option<Json>),
    /// Free text. `grammar`: its syntax in words.
    Text { grammar: Option<String> },
}

/// Text between a namespace and the name of a tool in it.
pub(crate) const NAMESPACE_END: &str = "__";

/// Member of the object that stands for the free text of a tool where an API knows objects alone.
const FREE_TEXT: &str = "input";

impl Tool {
    /// Returns the schema of the object that the tool takes where an API knows objects alone.
    pub(crate) fn schema(&self) -> Json {
        match &self.takes {
            Takes::Object(Some(schema)) => schema.clone(),
            Takes::Object(None) => {
                Json::from(&serde_json::json!({"type": "object", "properties": {}}))
            }
            Takes::Text { .. } => Json::from(&serde_json::json!({
                "type": "object",
                "properties": {FREE_TEXT: {"type": "string"}},
                "required": [FREE_TEXT],
                "additionalProperties": false,
            })),
        }
    }

    /// Returns the description, with the syntax of the free text where an API has no place for it.
    pub(crate) fn whole_description(&self) -> Option<String> {
        let Takes::Text {
            grammar: Some(grammar),
        } = &self.takes
        else {
            return self.description.clone();
        };
        let description = self.description.as_deref().unwrap_or_default();
        Some(format!("{description}\n\n{grammar}").trim().to_owned())
    }
}

impl Input {
    /// Returns the input as an object, where an API knows objects alone.
    pub(crate) fn object(&self) -> Json {
        match self {
            Input::Object(object) => object.clone(),
            Input::Text(text) => Json::from(&serde_json::json!({FREE_TEXT: text})),
        }
    }

    /// Reads the input of a call from the text of an object. An empty text is an empty object.
    pub(crate) fn read(text: &str, is_freeform: bool) -> Option<Input> {
        let text = match text.trim_ascii() {
            "" => "{}",
            text => text,
        };
        let object = Json::parse(text).filter(Json::is_object)?;
        match is_freeform {
            true => free_text(object.get()).map(Input::Text),
            false => Some(Input::Object(object)),
        }
    }
}

/// Returns the free text that an object stands for. `None`: it does not.
pub(crate) fn free_text(object: &str) -> Option<String> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(object).ok()?;
    match members.get(FREE_TEXT) {
        Some(serde_json::Value::String(text)) => Some(text.clone()),
        _ => None,
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    #[default]
    Auto,
    None,
    /// Some tool must be called.
    Any,
    Named(String),
}

/// Numbers as they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sampling {
    pub temperature: Option<Json>,
    pub top_p: Option<Json>,
    pub top_k: Option<Json>,
    pub frequency_penalty: Option<Json>,
    pub presence_penalty: Option<Json>,
    pub seed: Option<Json>,
}

/// Format of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Format {
    #[default]
    Text,
    /// Any JSON object.
    Json,
    Schema {
        name: Option<String>,
        schema: Json,
        is_strict: Option<bool>,
    },
}

/// Error: something cannot be carried to the API of the endpoint that serves the call.
pub(crate) fn not_carried(what: &str) -> Unreadable {
    Unreadable(format!(
        "{what} cannot be carried to the API of the endpoint that serves this call"
    ))
}

/// Members that were left out, because they only tune an answer. They are named to the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed(Vec<String>);

impl Removed {
    pub(crate) fn add(&mut self, name: &str) {
        if !self.0.iter().any(|known| known == name) {
            self.0.push(name.to_owned());
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }
}
