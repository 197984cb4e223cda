//! How many tokens the prompt of a Messages call can be at most.
//!
//! Whatever a model may read counts with its bytes, names inside a tool's input included. Only where
//! the bytes do not tell - images, documents, what is fetched - the operator's bounds stand in. What
//! is not understood must never count less than its bytes.

use crate::dialect::call::{Bounds, Unreadable};
use crate::dialect::{edit, prompt};
use crate::json::{self, Member};
use crate::rules::amount::Tokens;
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Members that no model reads. Everything else is taken for a part of the prompt.
const NOT_PROMPT: &[&str] = &[
    "model",
    "max_tokens",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "metadata",
    "service_tier",
    "inference_geo",
    "output_config",
];

/// The instructions that a provider adds as soon as there are tools. Published: 159 to 804.
const TOOL_USE: u64 = 1_000;

/// A document or what a tool fetches, in images, where its bytes are not in the body.
const UNSEEN: u64 = 20;

/// The bytes of a PDF, in base64, that count as one image. They do not tell how many pages and how
/// much text they hold: this is a bound for usual documents, not for one made to beat it.
const PDF_BYTES: usize = 50_000;

/// No API nests content deeper than a message, a tool's result, a document and its parts.
const DEEPEST: usize = 8;

/// The bound for a whole body, from its members.
pub fn bound(text: &str, members: &[Member<'_>], bounds: &Bounds) -> Result<Tokens, Unreadable> {
    let prompt = Prompt {
        image: Tokens::new(bounds.image),
    };
    let mut sum = Tokens::ZERO;
    for member in members {
        let value = &text[member.value.clone()];
        sum = sum.plus(match member.name {
            "messages" => prompt.messages(value)?,
            "system" => frame().plus(prompt.content(value, 0)?),
            "tools" => prompt.tools(value)?,
            name if NOT_PROMPT.contains(&name) => Tokens::ZERO,
            _ => raw(value),
        });
    }
    Ok(sum)
}

struct Prompt {
    image: Tokens,
}

impl Prompt {
    fn messages(&self, value: &str) -> Result<Tokens, Unreadable> {
        if !value.starts_with('[') {
            return Err(Unreadable("messages must be a list".to_owned()));
        }
        sum(value, |message| {
            if !message.starts_with('{') {
                return Ok(raw(message));
            }
            let mut tokens = frame();
            for member in edit::members(message, &["role", "content"])? {
                let value = &message[member.value];
                tokens = tokens.plus(match member.name {
                    "role" => Tokens::ZERO,
                    "content" => self.content(value, 0)?,
                    _ => raw(value),
                });
            }
            Ok(tokens)
        })
    }

    fn content(&self, value: &str, depth: usize) -> Result<Tokens, Unreadable> {
        if depth > DEEPEST {
            return Err(Unreadable("content is nested too deep".to_owned()));
        }
        match value.as_bytes().first() {
            Some(b'[') => sum(value, |block| self.block(block, depth)),
            Some(b'{') => self.block(value, depth),
            _ => Ok(string(value)),
        }
    }

    fn block(&self, block: &str, depth: usize) -> Result<Tokens, Unreadable> {
        if !block.starts_with('{') {
            return Ok(raw(block));
        }
        let known = ["type", "text", "content", "source", "cache_control"];
        let members = edit::members(block, &known)?;
        let is_image = word(block, &members, "type") == "image";
        let mut tokens = frame();
        for member in &members {
            let value = &block[member.value.clone()];
            tokens = tokens.plus(match member.name {
                "type" | "cache_control" => Tokens::ZERO,
                "text" => string(value),
                "content" => self.content(value, depth + 1)?,
                "source" => self.source(value, is_image, depth)?,
                // A tool's input, and signatures: thoughts that the provider alone can read.
                _ => raw(value),
            });
        }
        Ok(tokens)
    }

    /// Of an image, or of anything else, which counts as a document.
    fn source(&self, source: &str, is_image: bool, depth: usize) -> Result<Tokens, Unreadable> {
        // The source of a search result is its address.
        if !source.starts_with('{') {
            return Ok(raw(source));
        }
        let known = ["type", "media_type", "data", "content", "url", "file_id"];
        let members = edit::members(source, &known)?;
        let value = |name| json::member(&members, name).map(|m| &source[m.value.clone()]);
        let is_pdf = word(source, &members, "media_type") == "application/pdf";
        Ok(match word(source, &members, "type").as_str() {
            "base64" if is_image => self.image,
            "base64" if is_pdf => {
                let bytes = value("data").map_or(0, str::len);
                self.image.times(bytes.div_ceil(PDF_BYTES).max(1) as u64)
            }
            "base64" | "text" => raw(source),
            "content" => self.content(value("content").unwrap_or_default(), depth + 1)?,
            _ if is_image => self.image.max(raw(source)),
            _ => self.image.times(UNSEEN).max(raw(source)),
        })
    }

    fn tools(&self, value: &str) -> Result<Tokens, Unreadable> {
        if !value.starts_with('[') {
            return Ok(raw(value));
        }
        let tools = sum(value, |tool| {
            let fetched = if fetches(tool)? {
                self.image.times(UNSEEN)
            } else {
                Tokens::ZERO
            };
            Ok(raw(tool).plus(fetched))
        })?;
        Ok(if tools.is_zero() {
            tools
        } else {
            tools.plus(Tokens::new(TOOL_USE))
        })
    }
}

/// Whether the provider itself runs this tool and puts what it fetches into the prompt.
fn fetches(tool: &str) -> Result<bool, Unreadable> {
    let members = edit::members(tool, &["type"])?;
    let kind = word(tool, &members, "type");
    Ok(kind.starts_with("web_search") || kind.starts_with("web_fetch"))
}

fn frame() -> Tokens {
    Tokens::new(prompt::message_frames(1))
}

fn raw(value: &str) -> Tokens {
    Tokens::new(value.len() as u64)
}

/// A string without its quotes. Escapes are never shorter than what they stand for.
fn string(value: &str) -> Tokens {
    if value.starts_with('"') {
        raw(value).minus(Tokens::new(2))
    } else {
        raw(value)
    }
}

/// A member's value where it is a string, else nothing.
fn word(text: &str, members: &[Member<'_>], name: &str) -> String {
    json::member(members, name)
        .and_then(|member| serde_json::from_str(&text[member.value.clone()]).ok())
        .unwrap_or_default()
}

/// What the items of a list come to, without keeping them.
fn sum(
    list: &str,
    item: impl FnMut(&str) -> Result<Tokens, Unreadable>,
) -> Result<Tokens, Unreadable> {
    struct Items<F>(F);
    impl<'de, F: FnMut(&str) -> Result<Tokens, Unreadable>> Visitor<'de> for Items<F> {
        type Value = Result<Tokens, Unreadable>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut sum = Ok(Tokens::ZERO);
            while let Some(item) = list.next_element::<&RawValue>()? {
                if let Ok(so_far) = sum {
                    sum = (self.0)(item.get()).map(|tokens| so_far.plus(tokens));
                }
            }
            Ok(sum)
        }
    }
    serde_json::Deserializer::from_str(list)
        .deserialize_seq(Items(item))
        .map_err(|error| Unreadable(format!("The body cannot be read: {error}")))?
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
