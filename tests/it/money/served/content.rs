//! Answers of Gemini's `generateContent`, whole or streamed.

use super::flow::{Flow, error, words};
use super::obeys::Answer;
use super::servers::{Counts, Thought, Usage};
use serde_json::{Value, json};

pub fn plain(flow: &mut Flow<'_>) {
    let answers = flow.asked.answers.clone();
    let candidates = answers.iter().enumerate().map(|(index, answer)| {
        let mut parts = Vec::new();
        if matches!(flow.server.thought, Thought::Shown(_)) {
            parts.push(thought(&words(answer.thoughts)));
        }
        parts.push(json!({"text": words(answer.words)}));
        if answer.arguments > 0 {
            parts.push(call(flow, answer));
        }
        candidate(index, &json!(parts), Some(reason(answer)))
    });
    let candidates: Vec<Value> = candidates.collect();
    let generated = answers.iter().map(Answer::tokens).sum();
    let body = json!({"candidates": candidates, "usageMetadata": usage(flow, generated)});
    flow.plain(&body);
}

pub fn stream(flow: &mut Flow<'_>) {
    flow.begin_stream();
    let answers = flow.asked.answers.clone();
    for (index, answer) in answers.iter().enumerate() {
        one(flow, index, answer);
        if flow.is_over {
            flow.end(|flow| flow.event(&error()));
            return;
        }
    }
    for (index, answer) in answers.iter().enumerate() {
        let last = candidate(index, &json!([{"text": ""}]), Some(reason(answer)));
        let mut event = json!({"candidates": [last]});
        event["usageMetadata"] = usage(flow, flow.generated);
        flow.event(&event);
    }
}

fn one(flow: &mut Flow<'_>, index: usize, answer: &Answer) {
    match flow.server.thought {
        Thought::Shown(_) => {
            for _ in 0..answer.thoughts {
                flow.generate(1);
                piece(flow, index, &thought("word "));
            }
        }
        _ => flow.think(answer.thoughts),
    }
    for _ in 0..answer.words {
        if !flow.word() {
            return;
        }
        piece(flow, index, &json!({"text": "word "}));
    }
    if answer.arguments > 0 {
        flow.generate(answer.arguments);
        let called = call(flow, answer);
        piece(flow, index, &called);
    }
}

fn piece(flow: &mut Flow<'_>, index: usize, part: &Value) {
    let mut event = json!({"candidates": [candidate(index, &json!([part]), None)]});
    if flow.server.usage == Usage::Running {
        event["usageMetadata"] = usage(flow, flow.generated);
    }
    flow.event(&event);
}

fn candidate(index: usize, parts: &Value, reason: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": index});
    if let Some(reason) = reason {
        candidate["finishReason"] = json!(reason);
    }
    candidate
}

fn reason(answer: &Answer) -> &'static str {
    match answer.is_cut {
        true => "MAX_TOKENS",
        false => "STOP",
    }
}

fn thought(words: &str) -> Value {
    json!({"text": words, "thought": true})
}

fn call(flow: &Flow<'_>, answer: &Answer) -> Value {
    let args = json!({"a": words(answer.arguments)});
    json!({"functionCall": {"name": flow.turn.tool, "args": args}})
}

/// Running counts. Thoughts are counted apart, or in the total alone.
fn usage(flow: &Flow<'_>, generated: u64) -> Value {
    let thoughts: u64 = flow
        .asked
        .answers
        .iter()
        .map(|answer| answer.thoughts)
        .sum();
    let thoughts = thoughts.min(generated);
    let mut usage = json!({
        "promptTokenCount": flow.asked.prompt,
        "candidatesTokenCount": generated - thoughts,
        "totalTokenCount": flow.asked.prompt + generated,
    });
    if flow.server.counts != Counts::ThoughtsInTotal {
        usage["thoughtsTokenCount"] = json!(thoughts);
    }
    usage
}
