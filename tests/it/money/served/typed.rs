//! Answers of `responses` and `messages`, whose events have a type.

use super::flow::{Flow, arguments, words};
use super::obeys::Answer;
use super::servers::{Api, Counts, Thought};
use serde_json::{Value, json};

pub fn plain(flow: &mut Flow<'_>) {
    let answer = flow.asked.answers[0];
    let body = match flow.server.api {
        Api::Messages => message(flow, &answer),
        _ => response(flow, answer.tokens(), &output(flow, &answer)),
    };
    flow.plain(&body);
}

pub fn stream(flow: &mut Flow<'_>) {
    flow.begin_stream();
    let answer = flow.asked.answers[0];
    // The other requested answers are generated as well.
    for other in &flow.asked.answers[1..] {
        flow.think(other.tokens());
    }
    match flow.server.api {
        Api::Messages => stream_message(flow, &answer),
        _ => stream_response(flow, &answer),
    }
}

fn output(flow: &Flow<'_>, answer: &Answer) -> Value {
    let mut output = Vec::new();
    match flow.server.thought {
        Thought::Shown(_) => output.push(json!({"type": "reasoning", "id": "rs", "content":
            [{"type": "reasoning_text", "text": words(answer.thoughts)}]})),
        Thought::Hidden => output.push(json!({"type": "reasoning", "id": "rs", "summary": []})),
        _ => {}
    }
    output.push(
        json!({"type": "message", "id": "msg", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": words(answer.words), "annotations": []}]}),
    );
    if answer.arguments > 0 {
        output.push(
            json!({"type": "function_call", "id": "fc", "call_id": "c", "name": "",
            "arguments": arguments(answer)}),
        );
    }
    Value::Array(output)
}

fn response(flow: &Flow<'_>, tokens: u64, output: &Value) -> Value {
    let is_cut = flow.asked.answers[0].is_cut;
    let status = if is_cut { "incomplete" } else { "completed" };
    let prompt = flow.asked.prompt;
    json!({"id": "resp", "object": "response", "status": status, "output": output, "usage":
        {"input_tokens": prompt, "output_tokens": tokens, "total_tokens": prompt + tokens}})
}

fn stream_response(flow: &mut Flow<'_>, answer: &Answer) {
    let begun = json!({"id": "resp", "status": "in_progress", "usage": null});
    for kind in ["response.created", "response.in_progress"] {
        flow.named(&json!({"type": kind, "response": begun}));
    }
    match flow.server.thought {
        Thought::Shown(_) => {
            for _ in 0..answer.thoughts {
                flow.generate(1);
                flow.named(&json!({"type": "response.reasoning_text.delta", "item_id": "rs", "delta": "word "}));
            }
        }
        _ => flow.think(answer.thoughts),
    }
    flow.named(
        &json!({"type": "response.output_item.added", "item": {"type": "message", "id": "msg"}}),
    );
    for _ in 0..answer.words {
        if !flow.word() {
            flow.end(|flow| {
                let failed = json!({"id": "resp", "status": "failed", "usage": null,
                    "error": {"code": "server_error", "message": "It has failed"}});
                flow.named(&json!({"type": "response.failed", "response": failed}));
            });
            return;
        }
        let mut delta =
            json!({"type": "response.output_text.delta", "item_id": "msg", "delta": "word "});
        if flow.turn.padding > 0 {
            delta["obfuscation"] = json!(flow.padding());
        }
        flow.named(&delta);
    }
    for _ in 0..answer.arguments {
        flow.generate(1);
        flow.named(&json!({"type": "response.function_call_arguments.delta", "item_id": "fc", "delta": "word "}));
    }
    flow.named(&json!({"type": "response.output_text.done", "item_id": "msg", "text": words(answer.words)}));
    let output = output(flow, answer);
    for item in output.as_array().into_iter().flatten() {
        flow.named(&json!({"type": "response.output_item.done", "item": item}));
    }
    let kind = match answer.is_cut {
        true => "response.incomplete",
        false => "response.completed",
    };
    let response = response(flow, flow.generated, &output);
    flow.named(&json!({"type": kind, "response": response}));
}

fn message_usage(flow: &Flow<'_>, answer: &Answer) -> Value {
    let prompt = flow.asked.prompt;
    match flow.server.counts {
        // Reasoning is another pass over the same prompt.
        Counts::Iterations => {
            let said = answer.words + answer.arguments;
            json!({"input_tokens": prompt, "output_tokens": said, "iterations": [
                {"type": "compaction", "input_tokens": prompt, "output_tokens": answer.thoughts},
                {"type": "message", "input_tokens": prompt, "output_tokens": said}]})
        }
        _ => json!({"input_tokens": prompt, "output_tokens": answer.tokens()}),
    }
}

fn message(flow: &Flow<'_>, answer: &Answer) -> Value {
    let mut content = Vec::new();
    match (flow.server.thought, flow.server.counts) {
        (Thought::Shown(_), _) => content.push(
            json!({"type": "thinking", "thinking": words(answer.thoughts), "signature": "sig"}),
        ),
        (Thought::Hidden, Counts::Iterations) => {
            content.push(json!({"type": "compaction", "content": "word"}));
        }
        (Thought::Hidden, _) => {
            content.push(json!({"type": "thinking", "thinking": "", "signature": "sig"}));
        }
        _ => {}
    }
    content.push(json!({"type": "text", "text": words(answer.words)}));
    if answer.arguments > 0 {
        content.push(json!({"type": "tool_use", "id": "t", "name": "f",
            "input": {"a": words(answer.arguments)}}));
    }
    json!({"id": "msg", "type": "message", "role": "assistant", "content": content,
        "stop_reason": stop_reason(answer), "usage": message_usage(flow, answer)})
}

fn stop_reason(answer: &Answer) -> &'static str {
    if answer.is_cut {
        "max_tokens"
    } else {
        "end_turn"
    }
}

fn stream_message(flow: &mut Flow<'_>, answer: &Answer) {
    let prompt = flow.asked.prompt;
    flow.named(
        &json!({"type": "message_start", "message": {"id": flow.id(), "type": "message",
        "content": [], "usage": {"input_tokens": prompt, "output_tokens": 1}}}),
    );
    flow.named(&json!({"type": "ping"}));
    let mut index = 0;
    if answer.thoughts > 0 {
        stream_thoughts(flow, answer);
        index += 1;
    }
    flow.named(&json!({"type": "content_block_start", "index": index,
        "content_block": {"type": "text", "text": ""}}));
    for _ in 0..answer.words {
        if !flow.word() {
            flow.end(|flow| {
                let error = json!({"type": "overloaded_error", "message": "Overloaded"});
                flow.named(&json!({"type": "error", "error": error}));
            });
            return;
        }
        if flow.turn.padding > 0 {
            let padding = flow.padding();
            flow.bytes(format!(": {padding}\n\n"));
        }
        flow.named(&json!({"type": "content_block_delta", "index": index,
            "delta": {"type": "text_delta", "text": "word "}}));
    }
    flow.named(&json!({"type": "content_block_stop", "index": index}));
    if answer.arguments > 0 {
        index += 1;
        stream_arguments(flow, answer, index);
    }
    let usage = message_usage(flow, answer);
    flow.named(&json!({"type": "message_delta", "usage": usage,
        "delta": {"stop_reason": stop_reason(answer), "stop_sequence": null}}));
    flow.named(&json!({"type": "message_stop"}));
}

fn stream_thoughts(flow: &mut Flow<'_>, answer: &Answer) {
    flow.named(&json!({"type": "content_block_start", "index": 0,
        "content_block": {"type": "thinking", "thinking": "", "signature": ""}}));
    if let Thought::Shown(_) = flow.server.thought {
        for _ in 0..answer.thoughts {
            flow.generate(1);
            flow.named(&json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "thinking_delta", "thinking": "word "}}));
        }
    } else {
        flow.think(answer.thoughts);
    }
    flow.named(&json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "signature_delta", "signature": "sig"}}));
    flow.named(&json!({"type": "content_block_stop", "index": 0}));
}

fn stream_arguments(flow: &mut Flow<'_>, answer: &Answer, index: u64) {
    flow.named(&json!({"type": "content_block_start", "index": index,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}));
    for _ in 0..answer.arguments {
        flow.generate(1);
        flow.named(&json!({"type": "content_block_delta", "index": index,
            "delta": {"type": "input_json_delta", "partial_json": "word "}}));
    }
    flow.named(&json!({"type": "content_block_stop", "index": index}));
}
