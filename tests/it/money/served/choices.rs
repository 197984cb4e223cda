//! Answers of chats and completions, whole or streamed, with usage where each server puts it.

use super::flow::{Flow, arguments, words};
use super::obeys::Answer;
use super::servers::{Api, Counts, Thought, Usage};
use serde_json::{Value, json};

pub fn plain(flow: &mut Flow<'_>) {
    let answers = &flow.asked.answers;
    // One of the `best_of` answers is shown.
    let shown = match flow.server.many.contains(&"best_of") && flow.server.api == Api::Completions {
        true => 1,
        false => answers.len(),
    };
    let choices: Vec<Value> = answers[..shown]
        .iter()
        .enumerate()
        .map(|(index, answer)| choice(flow, index, answer))
        .collect();
    let usage = usage(flow, answers, answers.iter().map(Answer::tokens).sum());
    let body = match flow.server.usage {
        Usage::Groq => json!({"choices": choices, "usage": usage, "x_groq": {"id": "r"}}),
        _ => json!({"object": "chat.completion", "choices": choices, "usage": usage}),
    };
    flow.plain(&body);
}

fn choice(flow: &Flow<'_>, index: usize, answer: &Answer) -> Value {
    let reason = if answer.is_cut { "length" } else { "stop" };
    if flow.server.api == Api::Completions {
        return json!({"index": index, "text": words(answer.words), "finish_reason": reason});
    }
    let mut message = json!({"role": "assistant", "content": words(answer.words)});
    match flow.server.thought {
        Thought::Shown(member) => message[member] = json!(words(answer.thoughts)),
        Thought::InParts => {
            message["content"] = json!([
                thinking(&words(answer.thoughts)),
                text(&words(answer.words))
            ]);
        }
        Thought::Never | Thought::Hidden => {}
    }
    if answer.arguments > 0 {
        let function = json!({"name": flow.turn.tool, "arguments": arguments(answer)});
        message["tool_calls"] = json!([{"id": "c", "type": "function", "function": function}]);
    }
    json!({"index": index, "message": message, "finish_reason": reason})
}

fn thinking(words: &str) -> Value {
    json!({"type": "thinking", "thinking": [{"type": "text", "text": words}]})
}

fn text(words: &str) -> Value {
    json!({"type": "text", "text": words})
}

/// Usage for these answers in the server's way of counting.
fn usage(flow: &Flow<'_>, answers: &[Answer], generated: u64) -> Value {
    let thoughts: u64 = answers.iter().map(|answer| answer.thoughts).sum();
    let share = generated / answers.len().max(1) as u64;
    let prompt = flow.asked.prompt;
    let is_cut = answers.iter().any(|answer| answer.is_cut);
    let (output, total) = match flow.server.counts {
        Counts::First | Counts::Last => (share, prompt + share),
        Counts::OneLess if is_cut => (generated - 1, prompt + generated - 1),
        Counts::ThoughtsInTotal => (generated - thoughts.min(generated), prompt + generated),
        _ => (generated, prompt + generated),
    };
    json!({"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": total})
}

/// Usage beside a choice that is not the last event.
fn beside(flow: &Flow<'_>) -> Option<Value> {
    match flow.server.usage {
        Usage::Running => Some(usage(flow, &flow.asked.answers, flow.generated)),
        Usage::Noughts => {
            Some(json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}))
        }
        Usage::IfAsked if flow.asked.wants_usage => Some(Value::Null),
        _ => None,
    }
}

fn chunk(flow: &mut Flow<'_>, index: usize, delta: Value, reason: Option<&str>) {
    let mut choice = json!({"index": index, "finish_reason": reason});
    if flow.server.api == Api::Completions {
        choice["text"] = delta["content"].as_str().unwrap_or_default().into();
    } else {
        choice["delta"] = delta;
    }
    if flow.server.filters {
        choice["content_filter_results"] = json!({"hate": {"filtered": false}});
    }
    let mut event = json!({"object": "chat.completion.chunk", "choices": [choice]});
    if let Some(usage) = beside(flow) {
        event["usage"] = usage;
    }
    if reason.is_some() {
        at_the_end(flow, &mut event);
    }
    if flow.turn.padding > 0 {
        event["obfuscation"] = json!(flow.padding());
        // A translation carries no padding, but in some APIs the ID into each event.
        event["id"] = json!(flow.id());
    }
    flow.event(&event);
}

/// Adds members that some servers send with the finish reason.
fn at_the_end(flow: &Flow<'_>, event: &mut Value) {
    let usage = usage(flow, &flow.asked.answers, flow.generated);
    match flow.server.usage {
        Usage::AtTheEnd => event["usage"] = usage,
        Usage::InChoice => event["choices"][0]["usage"] = usage,
        Usage::Groq => event["x_groq"] = json!({"id": "r", "usage": usage}),
        _ => {}
    }
    if flow.server.kind == "llamacpp" {
        event["timings"] = json!({"prompt_n": flow.asked.prompt, "predicted_n": flow.generated});
    }
}

pub fn stream(flow: &mut Flow<'_>) {
    flow.begin_stream();
    if flow.server.filters {
        flow.event(&json!({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}));
    }
    let answers = flow.asked.answers.clone();
    let shown = match flow.server.many.contains(&"best_of") && flow.server.api == Api::Completions {
        true => 1,
        false => answers.len(),
    };
    for (index, answer) in answers.iter().enumerate() {
        if index < shown {
            one(flow, index, answer);
        } else {
            flow.think(answer.tokens());
        }
        if flow.is_over {
            flow.end(Flow::fail_as_chat);
            return;
        }
    }
    // The finish reason comes last, with the final counts.
    for (index, answer) in answers[..shown].iter().enumerate() {
        let reason = if answer.is_cut { "length" } else { "stop" };
        chunk(flow, index, json!({}), Some(reason));
    }
    last(flow, &answers);
}

fn one(flow: &mut Flow<'_>, index: usize, answer: &Answer) {
    match flow.server.thought {
        Thought::Hidden => flow.think(answer.thoughts),
        Thought::Shown(member) => {
            chunk(
                flow,
                index,
                json!({"role": "assistant", "content": ""}),
                None,
            );
            for _ in 0..answer.thoughts {
                flow.generate(1);
                chunk(flow, index, json!({ member: "word " }), None);
            }
        }
        Thought::InParts => {
            for _ in 0..answer.thoughts {
                flow.generate(1);
                chunk(flow, index, json!({"content": [thinking("word ")]}), None);
            }
        }
        Thought::Never => chunk(
            flow,
            index,
            json!({"role": "assistant", "content": ""}),
            None,
        ),
    }
    for _ in 0..answer.words {
        if !flow.word() {
            return;
        }
        let content = match flow.server.has_parts {
            true => json!([text("word ")]),
            false => json!("word "),
        };
        chunk(flow, index, json!({"content": content}), None);
    }
    for at in 0..answer.arguments {
        flow.generate(1);
        let mut call = json!({"index": 0, "function": {"arguments": "word "}});
        if at == 0 {
            call["id"] = json!("c");
            call["type"] = json!("function");
            if !flow.turn.tool.is_empty() {
                call["function"]["name"] = json!(flow.turn.tool);
            }
        }
        chunk(flow, index, json!({"tool_calls": [call]}), None);
    }
}

fn last(flow: &mut Flow<'_>, answers: &[Answer]) {
    let wanted = flow.asked.wants_usage;
    let is_there = match flow.server.usage {
        Usage::IfAsked | Usage::Noughts | Usage::Groq => wanted,
        Usage::Always => true,
        Usage::AtTheEnd | Usage::InChoice | Usage::Running => false,
    };
    if is_there {
        let usage = usage(flow, answers, flow.generated);
        // Some servers count each answer separately.
        let times = match flow.server.counts {
            Counts::First => answers.len(),
            _ => 1,
        };
        for _ in 0..times {
            flow.event(&json!({"object": "chat.completion.chunk", "choices": [], "usage": usage}));
        }
    }
    if flow.server.has_done {
        flow.bytes("data: [DONE]\n\n".to_owned());
    }
}
