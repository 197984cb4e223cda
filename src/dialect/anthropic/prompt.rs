//! Upper bound of the prompt of a Messages call, in tokens.
//!
//! Everything that a model may read counts with its bytes, member names inside a tool's `input` included.
//! Images and documents, whose bytes do not show their tokens, count with the operator's [`Bounds`]. A value
//! that is not understood must never count less than its bytes.

use super::tools;
use crate::dialect::call::{Bounds, Extras, Unreadable};
use crate::dialect::extras::{has_scheme, not_stored, word};
use crate::dialect::object::{self, Object};
use crate::dialect::prompt;
use crate::dialect::unknown_members::UnknownMembers;
use crate::rules::amount::Tokens;
use serde_json::value::RawValue;

/// Members that the gateway itself reads or writes.
pub(super) const KNOWN: &[&str] = &[
    "model",
    "max_tokens",
    "stream",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "mcp_servers",
    "container",
    "context_management",
    "compaction",
    "speed",
    "service_tier",
    "inference_geo",
];

/// Members of `KNOWN` that a model may read as they are written.
const COUNTED_RAW: &[&str] = &[
    "tool_choice",
    "thinking",
    "mcp_servers",
    "container",
    "context_management",
    "compaction",
];

/// Members that no model reads, such as `temperature`. Every other member counts as a part of the prompt.
const SETTINGS: &[&str] = &[
    "model",
    "max_tokens",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "metadata",
];

/// Tokens of the instructions that the provider adds to a prompt with tools. Published: 159 to 804.
const TOOL_PROMPT_TOKENS: u64 = 1_000;

/// Pages of a document whose bytes are not in the body, such as one given by `url`.
const PAGES_OF_REMOTE_DOCUMENT: u64 = 20;

/// Bytes of a base64 PDF that count as one page. They do not show how many pages and how much text it has:
/// this bounds usual documents, not one made to exceed it.
const PDF_BYTES_PER_PAGE: usize = 50_000;

/// Maximum nesting of `content`. No API needs more than a message, a tool's result, a document and its parts.
const MAX_DEPTH: usize = 8;

/// Known members beside `KNOWN` that a model reads, or that control its answer.
const MODEL_READS: &[&str] = &["output_config", "output_format", "cache_control"];

/// Known members of a message beside `role` and `content`.
const MESSAGE: &[&str] = &["output_config", "tools"];

/// Known members of a block beside those that `Prompt::block` reads one by one.
const BLOCK: &[&str] = &[
    "id",
    "name",
    "input",
    "tool_use_id",
    "is_error",
    "thinking",
    "signature",
    "data",
    "citations",
    "title",
    "context",
    "caller",
    "tool_name",
    "tool",
    "tools",
];

/// Bytes of the longest usual `role`, quotes included. The tokens of a message's frame cover it.
const USUAL_ROLE_BYTES: u64 = 11;

/// Members of a block that no model reads, each with the most bytes that it usually has.
const USUAL_MEMBER_BYTES: &[(&str, u64)] = &[("type", 40), ("cache_control", 60)];

/// Facts of a body that [`read`] returns beside the known members.
#[derive(Default)]
pub struct Facts {
    pub prompt: Tokens,
    pub unknown_members: Vec<String>,
    pub extras: Extras,
    pub hides: bool,
}

/// Parses a whole body and bounds its prompt. `bounds` are the operator's.
pub fn read<'a>(bytes: &'a [u8], bounds: &Bounds) -> Result<(Object<'a>, Facts), Unreadable> {
    let mut sum = Tokens::ZERO;
    let mut facts = Facts::default();
    let mut unknown_members = UnknownMembers::default();
    let body = Object::body(bytes, KNOWN, |name, value| {
        unknown_members.record_inside(name, value);
        let is_setting = SETTINGS.contains(&name);
        sum = sum.plus(match is_setting {
            true => object::beyond_a_setting(value),
            false => raw(value),
        });
        if !is_setting && !MODEL_READS.contains(&name) {
            unknown_members.record_unless_null("", name, value);
        }
    })?;
    if let Some(thinking) = body.value("thinking") {
        unknown_members.record_inside("thinking", thinking);
    }
    facts.hides = thinks(&body)?;
    // An edit is reported in the answer, but it may first generate a summary of the conversation.
    facts.hides |= body.value("context_management").is_some();
    for value in COUNTED_RAW.iter().filter_map(|name| body.value(name)) {
        sum = sum.plus(raw(value));
    }
    let mut prompt = Prompt {
        image: Tokens::new(bounds.image),
        page: Tokens::new(bounds.page),
        unknown_members,
    };
    if let Some(messages) = body.written("messages") {
        sum = sum.plus(prompt.messages(messages)?);
    }
    if let Some(system) = body.written("system") {
        sum = sum.plus(frame()).plus(prompt.content(system, 0)?);
    }
    if let Some(tools) = body.written("tools") {
        sum = sum.plus(prompt.tools(tools)?);
    }
    facts.unknown_members = prompt.unknown_members.names()?;
    facts.extras = tools::read(&body)?;
    facts.prompt = sum;
    Ok((body, facts))
}

struct Prompt {
    image: Tokens,
    page: Tokens,
    unknown_members: UnknownMembers,
}

impl Prompt {
    fn messages(&mut self, messages: &RawValue) -> Result<Tokens, Unreadable> {
        sum(messages, "messages", |message| {
            if !is_object(message) {
                object::no_list(message, "messages")?;
                return Ok(raw(message));
            }
            let mut tokens = frame();
            let known = &["role", "content"];
            let mut brought = Vec::new();
            let message = Object::read(message.get(), "A message", known, |name, value| {
                tokens = tokens.plus(raw(value));
                brought.extend(is_of_tools(name).then_some(value));
                if !MESSAGE.contains(&name) {
                    self.unknown_members
                        .record_unless_null("messages", name, value);
                }
            })?;
            brought.into_iter().try_for_each(tools::within)?;
            tokens = tokens.plus(beyond(&message, "role", USUAL_ROLE_BYTES));
            if let Some(content) = message.written("content") {
                tokens = tokens.plus(self.content(content, 0)?);
            }
            Ok(tokens)
        })
    }

    fn content(&mut self, content: &RawValue, depth: usize) -> Result<Tokens, Unreadable> {
        if depth > MAX_DEPTH {
            return Err(Unreadable("content is nested too deep".to_owned()));
        }
        match content.get().as_bytes().first() {
            Some(b'[') => sum(content, "content", |block| self.block(block, depth)),
            Some(b'{') => self.block(content, depth),
            _ => Ok(string(content)),
        }
    }

    fn block(&mut self, block: &RawValue, depth: usize) -> Result<Tokens, Unreadable> {
        if !is_object(block) {
            return Ok(raw(block));
        }
        let known = &[
            "type",
            "text",
            "content",
            "source",
            "cache_control",
            "file_id",
        ];
        let mut tokens = frame();
        // Among the other members: a tool's `input`, and `signature`, which are thoughts only the provider
        // can read.
        let mut brought = Vec::new();
        let block = Object::read(block.get(), "A block of content", known, |name, value| {
            tokens = tokens.plus(raw(value));
            brought.extend(is_of_tools(name).then_some(value));
            if !BLOCK.contains(&name) {
                self.unknown_members
                    .record_unless_null("content", name, value);
            }
        })?;
        not_stored(is_stored(&block))?;
        for (name, usual) in USUAL_MEMBER_BYTES {
            tokens = tokens.plus(beyond(&block, name, *usual));
        }
        brought.into_iter().try_for_each(tools::within)?;
        if let Some(text) = block.written("text") {
            tokens = tokens.plus(string(text));
        }
        if let Some(content) = block.written("content") {
            tokens = tokens.plus(self.content(content, depth + 1)?);
        }
        if let Some(source) = block.written("source") {
            tokens = tokens.plus(self.source(source, &word(&block, "type"), depth)?);
        }
        Ok(tokens)
    }

    /// Bounds the `source` of a block whose `type` is `kind`. Every kind but `image` counts as a document.
    fn source(&mut self, value: &RawValue, kind: &str, depth: usize) -> Result<Tokens, Unreadable> {
        let is_image = kind == "image";
        if !is_object(value) {
            return Ok(match kind {
                // The `source` of a search result is an address that nobody opens.
                "search_result" => raw(value),
                "image" => self.image.max(raw(value)),
                _ => self.page.times(PAGES_OF_REMOTE_DOCUMENT).max(raw(value)),
            });
        }
        let known = &["type", "media_type", "data", "content", "url", "file_id"];
        let source = Object::read(value.get(), "A source", known, |name, value| {
            self.unknown_members
                .record_unless_null("source", name, value);
        })?;
        not_stored(is_stored(&source))?;
        let is_open = has_scheme(&word(&source, "url"), &["http", "https"]);
        if source.value("url").is_some() && !is_open {
            let why = "Images and documents are served here from http and https addresses alone";
            return Err(Unreadable(why.to_owned()));
        }
        let is_pdf = word(&source, "media_type") == "application/pdf";
        Ok(match &*word(&source, "type") {
            "base64" if is_image => self.image,
            "base64" if is_pdf => {
                let bytes = source.written("data").map_or(0, |data| data.get().len());
                self.page
                    .times(bytes.div_ceil(PDF_BYTES_PER_PAGE).max(1) as u64)
            }
            "base64" | "text" => raw(value),
            "content" => match source.written("content") {
                Some(content) => self.content(content, depth + 1)?,
                None => Tokens::ZERO,
            },
            _ if is_image => self.image.max(raw(value)),
            _ => self.page.times(PAGES_OF_REMOTE_DOCUMENT).max(raw(value)),
        })
    }

    fn tools(&mut self, tools: &RawValue) -> Result<Tokens, Unreadable> {
        if !tools.get().starts_with('[') {
            return Ok(raw(tools));
        }
        let tokens = sum(tools, "tools", |tool| Ok(raw(tool)))?;
        Ok(if tokens.is_zero() {
            tokens
        } else {
            tokens.plus(Tokens::new(TOOL_PROMPT_TOKENS))
        })
    }
}

/// Whether the model is asked to think. Any `thinking` but a plain `disabled` counts as on.
fn thinks(body: &Object<'_>) -> Result<bool, Unreadable> {
    let Some(thinking) = body.value("thinking") else {
        return Ok(false);
    };
    let mut others = false;
    let thinking = Object::read(thinking.get(), "thinking", &["type"], |_, _| others = true)?;
    Ok(others || word(&thinking, "type") != "disabled")
}

/// Whether an object is a file in the operator's account (`file_id`).
fn is_stored(object: &Object<'_>) -> bool {
    object.value("file_id").is_some() || word(object, "type") == "file"
}

/// Whether a member holds tools. A message in the middle of a conversation can add some.
fn is_of_tools(name: &str) -> bool {
    name.eq_ignore_ascii_case("tools") || name.eq_ignore_ascii_case("tool")
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

fn frame() -> Tokens {
    Tokens::new(prompt::message_frames(1))
}

fn raw(value: &RawValue) -> Tokens {
    Tokens::new(value.get().len() as u64)
}

/// Returns the bytes of the member `name` beyond its usual length.
fn beyond(object: &Object<'_>, name: &str, usual: u64) -> Tokens {
    let written = object.value(name).map_or(Tokens::ZERO, raw);
    written.minus(Tokens::new(usual))
}

/// Counts a string without its quotes. An escape is never shorter than its character.
fn string(value: &RawValue) -> Tokens {
    if value.get().starts_with('"') {
        raw(value).minus(Tokens::new(2))
    } else {
        raw(value)
    }
}

/// Returns the sum of `each` over the elements of a list.
fn sum(
    list: &RawValue,
    name: &str,
    mut each: impl FnMut(&RawValue) -> Result<Tokens, Unreadable>,
) -> Result<Tokens, Unreadable> {
    let mut sum = Tokens::ZERO;
    object::list(list, name, |value| {
        sum = sum.plus(each(value)?);
        Ok(())
    })?;
    Ok(sum)
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
