//! Whole answers of `generateContent`, read and written.

use super::super::conversation::{CallFacts, ContentPart, Input, Json, ToolCall, gemini_proof};
use super::super::reply::{Stop, TokenCounts, WholeReply};
use super::super::written::ObjectText;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Signature of a call that has none, because another API lost it or another model made the call.
pub(super) const NO_SIGNATURE: &str = "skip_thought_signature_validator";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Generated {
    #[serde(default, deserialize_with = "or_none")]
    pub candidates: Vec<Candidate>,
    #[serde(default)]
    pub prompt_feedback: Option<Value>,
    #[serde(default)]
    pub usage_metadata: Option<Value>,
    #[serde(default)]
    pub model_version: Option<String>,
    #[serde(default)]
    pub response_id: Option<String>,
    #[serde(default)]
    pub error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate {
    #[serde(default)]
    pub content: Option<Content>,
    #[serde(default)]
    pub finish_reason: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Content {
    #[serde(default, deserialize_with = "or_none")]
    pub parts: Vec<GeneratedPart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GeneratedPart {
    #[serde(default)]
    pub text: Option<String>,
    #[serde(default)]
    pub thought: Option<bool>,
    #[serde(default)]
    pub thought_signature: Option<String>,
    #[serde(default)]
    pub function_call: Option<Function>,
    /// Content of other kinds.
    #[serde(flatten)]
    pub others: HashMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct Function {
    #[serde(default)]
    pub id: Option<String>,
    pub name: String,
    #[serde(default)]
    pub args: Option<Box<RawValue>>,
}

impl GeneratedPart {
    /// Whether the part says nothing, as one with a signature alone.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_none() && self.function_call.is_none() && self.others.is_empty()
    }
}

/// Reads a list, or null as an empty one.
fn or_none<'de, T: Deserialize<'de>, D: Deserializer<'de>>(list: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(list)?.unwrap_or_default())
}

impl Function {
    /// Returns the ID of a call, the `nth` of an answer: a new one where the provider gives none.
    pub(super) fn id(&self, answer: &str, nth: usize) -> String {
        let given = self.id.clone().filter(|id| !id.is_empty());
        given.unwrap_or_else(|| match answer {
            "" => format!("call_{nth}"),
            answer => format!("call_{answer}_{nth}"),
        })
    }

    /// Returns the JSON text of its input.
    pub(super) fn input(&self) -> &str {
        self.args.as_ref().map_or("{}", |args| args.get())
    }
}

impl Generated {
    /// Whether the prompt was blocked, so that there are no candidates.
    pub(super) fn is_blocked(&self) -> bool {
        let feedback = self.prompt_feedback.as_ref();
        let reason = feedback.and_then(|feedback| feedback.get("blockReason"));
        self.candidates.is_empty() && reason.is_some_and(Value::is_string)
    }
}

/// Reads a whole answer. `None`: it is not understood.
pub(crate) fn read(answer: &[u8], asked: &CallFacts) -> Option<WholeReply> {
    let answer: Generated = serde_json::from_slice(answer).ok()?;
    let is_blocked = answer.is_blocked();
    let mut reply = WholeReply {
        id: answer.response_id.unwrap_or_default(),
        model: answer.model_version.unwrap_or_default(),
        parts: Vec::new(),
        stop: Stop::Refused,
        usage: answer.usage_metadata.as_ref().and_then(usage),
    };
    if is_blocked {
        return Some(reply);
    }
    let [candidate] = <[Candidate; 1]>::try_from(answer.candidates).ok()?;
    reply.stop = stop(candidate.finish_reason.as_deref())?;
    let mut calls = 0;
    for part in candidate
        .content
        .into_iter()
        .flat_map(|content| content.parts)
    {
        if let Some(call) = &part.function_call {
            if let Some(signature) = &part.thought_signature {
                sign(&mut reply.parts, signature);
            }
            let input = Input::read(call.input(), asked.is_freeform(&call.name))?;
            reply.parts.push(ContentPart::Call(ToolCall {
                id: call.id(&reply.id, calls),
                name: call.name.clone(),
                input,
            }));
            calls += 1;
            continue;
        }
        if part.is_empty() {
            continue;
        }
        let is_thought = part.thought.unwrap_or(false);
        match (part.text?, is_thought, reply.parts.last_mut()) {
            (text, _, _) if text.is_empty() => {}
            (more, false, Some(ContentPart::Text(text)))
            | (more, true, Some(ContentPart::Thinking { text, .. })) => text.push_str(&more),
            (text, false, _) => reply.parts.push(ContentPart::Text(text)),
            (text, true, _) => reply.parts.push(ContentPart::Thinking {
                text,
                signature: None,
            }),
        }
    }
    if calls > 0 && reply.stop == Stop::End {
        reply.stop = Stop::Calls;
    }
    Some(reply)
}

/// Adds the signature of a call that follows to the thoughts before it.
fn sign(parts: &mut Vec<ContentPart>, signature: &str) {
    let proof = Some(gemini_proof(signature));
    match parts.last_mut() {
        Some(ContentPart::Thinking { signature, .. }) => *signature = proof,
        _ => parts.push(ContentPart::Thinking {
            text: String::new(),
            signature: proof,
        }),
    }
}

/// Reads the reason of an answer's end. `None`: the answer is of no use.
pub(super) fn stop(reason: Option<&str>) -> Option<Stop> {
    Some(match reason? {
        "STOP" => Stop::End,
        "MAX_TOKENS" => Stop::Limit,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => Stop::Refused,
        _ => return None,
    })
}

/// Reads `usageMetadata`. `None`: it counts no tokens.
pub(super) fn usage(usage: &Value) -> Option<TokenCounts> {
    let count = |name: &str| usage.get(name).and_then(Value::as_u64);
    let thoughts = count("thoughtsTokenCount").unwrap_or(0);
    let tool_use = count("toolUsePromptTokenCount").unwrap_or(0);
    let candidates = count("candidatesTokenCount").unwrap_or(0);
    Some(TokenCounts {
        input: count("promptTokenCount")?.saturating_add(tool_use),
        cache_read: count("cachedContentTokenCount").unwrap_or(0),
        cache_write: 0,
        output: candidates.saturating_add(thoughts),
        reasoning: thoughts,
    })
}

/// Writes a whole answer.
pub(crate) fn write(reply: &WholeReply) -> String {
    let parts: Vec<String> = reply.parts.iter().filter_map(part).collect();
    let candidate = candidate(&parts, Some(&reply.stop));
    generated(&candidate, reply.usage.as_ref(), &reply.model, &reply.id)
}

/// Writes an answer or an event with one candidate.
pub(super) fn generated(
    candidate: &str,
    usage: Option<&TokenCounts>,
    model: &str,
    id: &str,
) -> String {
    let usage = usage.map(write_usage);
    ObjectText::new()
        .list("candidates", &[candidate.to_owned()])
        .some_raw("usageMetadata", usage.as_deref())
        .text("modelVersion", model)
        .text("responseId", id)
        .end()
}

pub(super) fn candidate(parts: &[String], stop: Option<&Stop>) -> String {
    let content = ObjectText::new()
        .list("parts", parts)
        .text("role", "model")
        .end();
    ObjectText::new()
        .raw("content", &content)
        .some_text("finishReason", stop.map(finish_reason))
        .number("index", 0)
        .end()
}

/// Writes a part. `None`: no answer of this API has such a part.
pub(super) fn part(part: &ContentPart) -> Option<String> {
    Some(match part {
        ContentPart::Text(text) | ContentPart::Refusal(text) => {
            ObjectText::new().text("text", text).end()
        }
        ContentPart::Thinking { text, .. } if !text.is_empty() => thought(text),
        ContentPart::Call(call) => function_call(&call.id, &call.name, &call.input.object()),
        _ => return None,
    })
}

pub(super) fn thought(text: &str) -> String {
    ObjectText::new()
        .text("text", text)
        .flag("thought", true)
        .end()
}

pub(super) fn function_call(id: &str, name: &str, args: &Json) -> String {
    let call = ObjectText::new()
        .text("id", id)
        .text("name", name)
        .raw("args", args.get());
    ObjectText::new().raw("functionCall", &call.end()).end()
}

fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::Calls | Stop::Paused => "STOP",
        Stop::Limit | Stop::Context => "MAX_TOKENS",
        Stop::Refused => "SAFETY",
    }
}

fn write_usage(usage: &TokenCounts) -> String {
    let candidates = usage.output.saturating_sub(usage.reasoning);
    ObjectText::new()
        .number("promptTokenCount", usage.input)
        .number("cachedContentTokenCount", usage.cache_read)
        .number("candidatesTokenCount", candidates)
        .number("thoughtsTokenCount", usage.reasoning.min(usage.output))
        .number("totalTokenCount", usage.input.saturating_add(usage.output))
        .end()
}
