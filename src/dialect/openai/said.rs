//! What a model generated in a choice of an answer, or in a piece of one.
//!
//! Members are an open set: what is known to be generated counts as text, what is known to frame it
//! does not count, and anything else counts in the upper bound alone. Nothing is passed over because
//! it has an unusual shape.

use super::usage;
use crate::dialect::beside::{is_frame, unsure};
use crate::dialect::call::{Claim, Delivered};
use crate::json::{self, Value};

/// Members of a choice, a message or a part that no model generates.
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

/// Members that hold generated text, alone or in parts.
const TEXT: &[&str] = &["content", "refusal", "text"];

/// The same reasoning goes by one of these names, and some servers write several of them.
const REASONING: &[&str] = &["reasoning_content", "reasoning", "thinking"];

/// Takes in a choice. Some servers report the usage here.
pub fn choice(choice: &Value<'_>, delivered: &mut Delivered) -> Option<Claim> {
    let mut claim = None;
    let whole = choice.members(|name, value| match name {
        "message" | "delta" => message(value, delivered),
        "text" => text(value.bytes(), delivered),
        "usage" => claim = usage::read(value),
        name => beside(name, value.bytes(), delivered),
    });
    if !whole {
        delivered.unreadable(choice.bytes());
    }
    claim
}

/// A member that stands beside what is generated, or that nobody knows.
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

/// Takes in a member of a message.
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

/// Generated text: a string, or whatever holds strings.
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

/// Calls of tools, as a list or as one, each with its function or without.
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
        // It says what the sound says.
        _ => unsure(value, delivered),
    });
    if !whole && value != b"null" {
        unsure(value, delivered);
    }
}

#[cfg(test)]
#[path = "said_tests.rs"]
mod tests;
