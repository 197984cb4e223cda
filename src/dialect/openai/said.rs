//! Counts the text that a model generated in a choice of a response, or in the `delta` of a stream chunk.
//!
//! Servers add members of their own. Members known to hold generated text count as text, known metadata
//! (`FRAME`) does not count, and any other member counts in the upper bound alone (`Delivered::unsure`). A
//! member of an unexpected JSON type must never be skipped.

use super::usage;
use crate::dialect::beside::{is_frame, unsure};
use crate::dialect::call::{Claim, Delivered};
use crate::dialect::claim::number;
use crate::dialect::ends;
use crate::json::{self, Value};

/// Members of a choice, a message or a content part that hold metadata and no generated text.
const FRAME: &[&str] = &[
    "index",
    "role",
    "id",
    "type",
    "object",
    "finish_reason",
    "native_finish_reason",
    "stop_reason",
    "matched_stop",
    "logprobs",
    "token_ids",
    "prompt_token_ids",
    "content_filter_results",
    "content_filter_offsets",
    "annotations",
    "expires_at",
    "signature",
];

/// Members that hold generated text: a string, or a list of parts.
const TEXT: &[&str] = &["content", "refusal", "text"];

/// Members that hold reasoning. Some servers write the same reasoning under several of these names, so only
/// the first that is not empty counts as text.
const REASONING: &[&str] = &["reasoning_content", "reasoning", "thinking"];

/// Members of a choice beside its text.
#[derive(Default)]
pub struct SaidBeside {
    /// Its `usage`, which some servers report here.
    pub claim: Option<Claim>,
    /// Its `index`.
    pub place: u64,
    /// Whether it gives the reason of its end.
    pub has_ended: bool,
}

/// Counts a choice into `delivered`. Returns its other members.
pub fn choice(choice: &Value<'_>, delivered: &mut Delivered) -> SaidBeside {
    let mut told = SaidBeside::default();
    let whole = choice.members(|name, value| match name {
        "message" | "delta" => message(value, delivered),
        "text" => text(value.bytes(), delivered),
        "usage" => told.claim = usage::read(value),
        "index" => told.place = number(value.bytes()).unwrap_or(0),
        name => {
            told.has_ended |= name == "finish_reason" && ends::is_reason(value.bytes());
            beside(name, value.bytes(), delivered);
        }
    });
    if !whole {
        delivered.unreadable(choice.bytes());
    }
    told
}

/// Counts a member that is not in `FRAME`, in the upper bound alone.
fn beside(name: &str, value: &[u8], delivered: &mut Delivered) {
    if !is_frame(FRAME, name, value) {
        unsure(value, delivered);
    }
}

fn message(message: &Value<'_>, delivered: &mut Delivered) {
    let mut has_reasoning = false;
    let whole =
        message.members(|name, value| said(name, value.bytes(), &mut has_reasoning, delivered));
    let message = message.bytes();
    if !whole && message != b"null" {
        text(message, delivered);
    }
}

/// Counts one member of a `message` or a `delta`.
fn said(name: &str, value: &[u8], has_reasoning: &mut bool, delivered: &mut Delivered) {
    match name {
        name if TEXT.contains(&name) => text(value, delivered),
        name if REASONING.contains(&name) => {
            if *has_reasoning {
                unsure(value, delivered);
            } else {
                *has_reasoning = value.len() > 2 && value != b"null";
                text(value, delivered);
            }
        }
        "tool_calls" | "function_call" => tool_calls(value, delivered),
        "audio" => sound(value, delivered),
        "images" => {
            json::each_element(value, |_| delivered.images += 1);
        }
        name => beside(name, value, delivered),
    }
}

/// Counts generated text: a string, or the strings and images in a list or an object.
pub fn text(value: &[u8], delivered: &mut Delivered) {
    match value.first() {
        Some(b'"') => delivered.text(&json::text(value)),
        Some(b'[') if json::each_element(value, |part| text(part, delivered)) => {}
        Some(b'[') => delivered.unreadable(value),
        Some(b'{') => {
            let whole = json::each_member(value, |name, value| match name {
                name if is_frame(FRAME, name, value) => {}
                "image_url" | "image" | "b64_json" => delivered.images += 1,
                _ => text(value, delivered),
            });
            if !whole {
                delivered.unreadable(value);
            }
        }
        _ => {}
    }
}

/// Counts tool calls: one or a list, each with or without its `function` or `custom` object.
fn tool_calls(value: &[u8], delivered: &mut Delivered) {
    match value.first() {
        Some(b'[') if json::each_element(value, |call| tool_calls(call, delivered)) => {}
        Some(b'[') => delivered.unreadable(value),
        Some(b'{') => {
            let whole = json::each_member(value, |name, value| match name {
                "function" | "custom" => tool_calls(value, delivered),
                "name" => {
                    delivered.frame();
                    text(value, delivered);
                }
                "arguments" | "input" => text(value, delivered),
                name if is_frame(FRAME, name, value) => {}
                _ => unsure(value, delivered),
            });
            if !whole {
                delivered.unreadable(value);
            }
        }
        _ => text(value, delivered),
    }
}

fn sound(value: &[u8], delivered: &mut Delivered) {
    let whole = json::each_member(value, |name, value| match name {
        "data" => delivered.base64_sound(&json::text(value)),
        name if is_frame(FRAME, name, value) => {}
        // Any other member, such as `transcript`, repeats the sound as text.
        _ => unsure(value, delivered),
    });
    if !whole && value != b"null" {
        unsure(value, delivered);
    }
}

#[cfg(test)]
#[path = "said_tests.rs"]
mod tests;
