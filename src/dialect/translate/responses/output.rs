//! Items of a response, and the response around them.

use super::super::conversation::CallFacts;
use super::super::reply::{Stop, TokenCounts};
use super::super::written::ObjectText;

/// Response that is being written.
#[derive(Debug)]
pub(super) struct ResponseText {
    pub id: String,
    pub model: String,
    pub created: u64,
    pub items: Vec<String>,
}

impl ResponseText {
    /// Writes the response as it stands: `status`, and what else is known of its end.
    pub(crate) fn write(&self, status: &str, end: ObjectText) -> String {
        let response = ObjectText::new()
            .text("id", &self.id)
            .text("object", "response")
            .number("created_at", self.created)
            .text("status", status)
            .text("model", &self.model)
            .list("output", &self.items)
            .flag("parallel_tool_calls", true)
            .text("tool_choice", "auto")
            .list("tools", &[])
            .null("instructions")
            .null("previous_response_id")
            .flag("store", false)
            .raw("metadata", "{}");
        let rest = end.end();
        let whole = response.end();
        // Both are objects: the members of the end follow.
        match rest.as_str() {
            "{}" => whole,
            rest => format!("{},{}", &whole[..whole.len() - 1], &rest[1..]),
        }
    }

    /// Writes the response at its end.
    pub(crate) fn write_end(
        &self,
        stop: &Stop,
        usage: Option<&TokenCounts>,
    ) -> (&'static str, String) {
        let (status, reason) = match stop {
            Stop::Limit | Stop::Context => ("incomplete", Some("max_output_tokens")),
            Stop::Refused => ("incomplete", Some("content_filter")),
            Stop::End | Stop::Sequence(_) | Stop::Calls | Stop::Paused => ("completed", None),
        };
        let end = ObjectText::new().null("error");
        let end = match reason {
            Some(reason) => {
                let details = ObjectText::new().text("reason", reason).end();
                end.raw("incomplete_details", &details)
            }
            None => end.null("incomplete_details"),
        };
        let end = match usage {
            Some(usage) => end.raw("usage", &write_usage(usage)),
            None => end.null("usage"),
        };
        (status, self.write(status, end))
    }
}

fn write_usage(usage: &TokenCounts) -> String {
    let input = ObjectText::new()
        .number("cached_tokens", usage.cache_read)
        .number("cache_write_tokens", usage.cache_write)
        .end();
    let output = ObjectText::new()
        .number("reasoning_tokens", usage.reasoning)
        .end();
    ObjectText::new()
        .number("input_tokens", usage.input)
        .raw("input_tokens_details", &input)
        .number("output_tokens", usage.output)
        .raw("output_tokens_details", &output)
        .number("total_tokens", usage.input.saturating_add(usage.output))
        .end()
}

/// Stands for sealed reasoning where there is none. Agents send a reasoning item back, and must not send one without its
/// content.
const NOTHING_SEALED: &str = "none";

/// Item of the output. Its ID is made of the response's.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// `is_refusal`: its part is a refusal.
    Message { is_refusal: bool },
    /// `proof`: of its provider.
    Reasoning { proof: Option<String> },
    Call {
        call_id: String,
        name: String,
        is_freeform: bool,
    },
}

impl Item {
    pub(crate) fn call(call_id: &str, name: &str, asked: &CallFacts) -> Item {
        Item::Call {
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            is_freeform: asked.is_freeform(name),
        }
    }

    /// Writes the part of a message, or of a summary. `None`: the item has no parts.
    pub(crate) fn part(&self, text: &str) -> Option<String> {
        Some(match self {
            Item::Message { is_refusal: true } => {
                ObjectText::typed("refusal").text("refusal", text).end()
            }
            Item::Message { .. } => ObjectText::typed("output_text")
                .text("text", text)
                .list("annotations", &[])
                .list("logprobs", &[])
                .end(),
            Item::Reasoning { .. } => ObjectText::typed("summary_text").text("text", text).end(),
            Item::Call { .. } => return None,
        })
    }

    /// Writes the item with its text. `None`: it has just begun.
    pub(crate) fn write(&self, id: &str, text: Option<&str>, asked: &CallFacts) -> String {
        let status = if text.is_some() {
            "completed"
        } else {
            "in_progress"
        };
        let parts: Vec<String> = text.and_then(|text| self.part(text)).into_iter().collect();
        match self {
            Item::Message { .. } => ObjectText::typed("message")
                .text("id", id)
                .text("status", status)
                .text("role", "assistant")
                .list("content", &parts)
                .end(),
            Item::Reasoning { proof } => {
                let sealed = proof.as_deref().unwrap_or(NOTHING_SEALED);
                let item = ObjectText::typed("reasoning")
                    .text("id", id)
                    .list("summary", &parts);
                match text {
                    Some(_) => item.text("encrypted_content", sealed),
                    None => item,
                }
                .end()
            }
            Item::Call {
                call_id,
                name,
                is_freeform,
            } => {
                let (kind, member) = match is_freeform {
                    true => ("custom_tool_call", "input"),
                    false => ("function_call", "arguments"),
                };
                let (namespace, name) = asked.name_in_namespace(name);
                ObjectText::typed(kind)
                    .text("id", id)
                    .text("status", status)
                    .text("call_id", call_id)
                    .some_text("namespace", namespace)
                    .text("name", name)
                    .text(member, text.unwrap_or_default())
                    .end()
            }
        }
    }

    /// Prefix of the item's ID.
    pub(crate) fn prefix(&self) -> &'static str {
        match self {
            Item::Message { .. } => "msg",
            Item::Reasoning { .. } => "rs",
            Item::Call {
                is_freeform: true, ..
            } => "ctc",
            Item::Call { .. } => "fc",
        }
    }
}
