//! Text answers and tool calls in the formats of the four text APIs.

use serde_json::{Value, json};

use super::{Answer, Call, TEXT, Usage, results};
use crate::harness::Script;

const PIECES: [&str; 3] = ["Hello", ", ", "world"];
const READ_FROM_CACHE: u64 = 30;
const WRITTEN_TO_CACHE: u64 = 10;

/// Cuts a text into pieces of odd lengths, which end within words and escapes.
fn pieces(text: &str) -> Vec<String> {
    let mut rest = text.chars().peekable();
    let mut pieces = Vec::new();
    for length in [1, 4, 2, 9, 3].into_iter().cycle() {
        if rest.peek().is_none() {
            break;
        }
        pieces.push(rest.by_ref().take(length).collect());
    }
    pieces
}

/// ID of an answer. Agents take two answers of one ID for one.
fn id(prefix: &str, call: &Value) -> String {
    format!("{prefix}_{}", results(call).len())
}

fn chat_usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input, "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {"cached_tokens": READ_FROM_CACHE},
    })
}

fn chat_tool(index: usize, call: &Call, arguments: &str) -> Value {
    json!({
        "index": index, "id": call.id, "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    })
}

/// A call as deltas: its name first, then its arguments in pieces.
fn chat_tool_deltas(index: usize, call: &Call) -> Vec<Value> {
    let mut deltas = vec![json!({"tool_calls": [chat_tool(index, call, "")]})];
    for piece in pieces(&call.arguments.to_string()) {
        let more = json!({"index": index, "function": {"arguments": piece}});
        deltas.push(json!({"tool_calls": [more]}));
    }
    deltas
}

pub fn chat(call: &Value, answer: &Answer, usage: &Usage) -> Value {
    let (message, reason) = match answer {
        Answer::Text => (json!({"role": "assistant", "content": TEXT}), "stop"),
        Answer::Calls(calls) => {
            let calls = calls.iter().enumerate();
            let tools: Vec<Value> = calls
                .map(|(index, call)| chat_tool(index, call, &call.arguments.to_string()))
                .collect();
            let message = json!({"role": "assistant", "content": null, "tool_calls": tools});
            (message, "tool_calls")
        }
    };
    json!({
        "id": id("chatcmpl", call), "object": "chat.completion", "created": 1, "model": call["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": chat_usage(usage),
    })
}

pub fn chat_stream(call: &Value, answer: &Answer, usage: &Usage) -> Script {
    let chunk = |choices: Value| {
        json!({
            "id": id("chatcmpl", call), "object": "chat.completion.chunk", "created": 1,
            "model": call["model"], "choices": choices,
        })
    };
    let (deltas, reason) = match answer {
        Answer::Text => (PIECES.map(|text| json!({"content": text})).to_vec(), "stop"),
        Answer::Calls(calls) => {
            let calls = calls.iter().enumerate();
            let deltas = calls.flat_map(|(index, call)| chat_tool_deltas(index, call));
            (deltas.collect(), "tool_calls")
        }
    };
    let mut chunks = vec![json!({"delta": {"role": "assistant", "content": ""}})];
    chunks.extend(deltas.into_iter().map(|delta| json!({"delta": delta})));
    chunks.push(json!({"delta": {}, "finish_reason": reason}));
    let mut events: Vec<String> = Vec::new();
    for mut choice in chunks {
        choice["index"] = json!(0);
        events.push(chunk(json!([choice])).to_string());
    }
    if call["stream_options"]["include_usage"] == true {
        let mut last = chunk(json!([]));
        last["usage"] = chat_usage(usage);
        events.push(last.to_string());
    }
    events.push("[DONE]".to_owned());
    Script::sse(events)
}

/// Usage with three disjoint parts of the input.
fn message_usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input - READ_FROM_CACHE - WRITTEN_TO_CACHE,
        "cache_read_input_tokens": READ_FROM_CACHE,
        "cache_creation_input_tokens": WRITTEN_TO_CACHE,
        "output_tokens": usage.output,
    })
}

/// Blocks of an answer, and the reason of its end.
fn blocks(answer: &Answer) -> (Vec<Value>, &'static str) {
    let block = |call: &Call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments});
    match answer {
        Answer::Text => (vec![json!({"type": "text", "text": TEXT})], "end_turn"),
        Answer::Calls(calls) => (calls.iter().map(block).collect(), "tool_use"),
    }
}

pub fn message(call: &Value, answer: &Answer, usage: &Usage) -> Value {
    let (blocks, reason) = blocks(answer);
    json!({
        "id": id("msg", call), "type": "message", "role": "assistant", "model": call["model"],
        "content": blocks, "stop_reason": reason, "stop_sequence": null,
        "usage": message_usage(usage),
    })
}

/// Events of a block: its begin, its content in pieces, its end.
fn block_events(index: usize, mut block: Value) -> Vec<(&'static str, Value)> {
    let deltas: Vec<Value> = match block["input"].take() {
        Value::Null => {
            block = json!({"type": "text", "text": ""});
            let delta = |text| json!({"type": "text_delta", "text": text});
            PIECES.map(delta).to_vec()
        }
        input => {
            block["input"] = json!({});
            let delta = |piece| json!({"type": "input_json_delta", "partial_json": piece});
            pieces(&input.to_string()).into_iter().map(delta).collect()
        }
    };
    let begun = json!({"index": index, "content_block": block});
    let mut events = vec![("content_block_start", begun)];
    for delta in deltas {
        let event = json!({"index": index, "delta": delta});
        events.push(("content_block_delta", event));
    }
    events.push(("content_block_stop", json!({"index": index})));
    events
}

pub fn message_stream(call: &Value, answer: &Answer, usage: &Usage) -> Script {
    let whole = message(call, answer, usage);
    let mut begun = whole.clone();
    begun["content"] = json!([]);
    begun["stop_reason"] = Value::Null;
    begun["usage"]["output_tokens"] = json!(1);
    let mut events = vec![("message_start", json!({"message": begun}))];
    for (index, block) in blocks(answer).0.into_iter().enumerate() {
        events.extend(block_events(index, block));
    }
    let delta = json!({"stop_reason": whole["stop_reason"], "stop_sequence": null});
    events.push((
        "message_delta",
        json!({"delta": delta, "usage": whole["usage"]}),
    ));
    events.push(("message_stop", json!({})));
    named(events)
}

/// `None`: the response has only begun.
pub fn response(call: &Value, done: Option<(&Answer, &Usage)>) -> Value {
    let mut response = json!({
        "id": id("resp", call), "object": "response", "created_at": 1, "model": call["model"],
        "status": "in_progress", "error": null, "incomplete_details": null, "instructions": null,
        "metadata": {}, "parallel_tool_calls": true, "temperature": 1.0, "top_p": 1.0,
        "tool_choice": "auto", "tools": [], "output": [], "usage": null,
    });
    if let Some((answer, usage)) = done {
        response["status"] = json!("completed");
        response["output"] = json!(items(answer));
        response["usage"] = json!({
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": READ_FROM_CACHE},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": usage.total(),
        });
    }
    response
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn items(answer: &Answer) -> Vec<Value> {
    let item = |call: &Call| {
        json!({
            "id": format!("fc_{}", call.id), "type": "function_call", "status": "completed",
            "call_id": call.id, "name": call.name, "arguments": call.arguments.to_string(),
        })
    };
    match answer {
        Answer::Text => vec![json!({
            "id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
            "content": [part(TEXT)],
        })],
        Answer::Calls(calls) => calls.iter().map(item).collect(),
    }
}

/// Events of an item: its begin, its content in pieces, its end.
fn item_events(index: usize, whole: Value) -> Vec<(&'static str, Value)> {
    let mut begun = whole.clone();
    begun["status"] = json!("in_progress");
    let place = |extra: Value| {
        let mut data = json!({"item_id": whole["id"], "output_index": index, "content_index": 0});
        for (name, value) in extra.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        data
    };
    let mut inner = Vec::new();
    match whole["arguments"].as_str() {
        None => {
            begun["content"] = json!([]);
            let first = place(json!({"part": part("")}));
            inner.push(("response.content_part.added", first));
            for text in PIECES {
                inner.push(("response.output_text.delta", place(json!({"delta": text}))));
            }
            inner.push(("response.output_text.done", place(json!({"text": TEXT}))));
            let last = place(json!({"part": part(TEXT)}));
            inner.push(("response.content_part.done", last));
        }
        Some(arguments) => {
            begun["arguments"] = json!("");
            for piece in pieces(arguments) {
                let delta = place(json!({"delta": piece}));
                inner.push(("response.function_call_arguments.delta", delta));
            }
            let done = place(json!({"name": whole["name"], "arguments": arguments}));
            inner.push(("response.function_call_arguments.done", done));
        }
    }
    let begun = json!({"output_index": index, "item": begun});
    let mut events = vec![("response.output_item.added", begun)];
    events.append(&mut inner);
    let done = json!({"output_index": index, "item": whole});
    events.push(("response.output_item.done", done));
    events
}

pub fn response_stream(call: &Value, answer: &Answer, usage: &Usage) -> Script {
    let begun = json!({"response": response(call, None)});
    let mut events = vec![("response.created", begun)];
    for (index, item) in items(answer).into_iter().enumerate() {
        events.extend(item_events(index, item));
    }
    let done = response(call, Some((answer, usage)));
    events.push(("response.completed", json!({"response": done})));
    for (number, (_, data)) in events.iter_mut().enumerate() {
        data["sequence_number"] = json!(number);
    }
    named(events)
}

/// Events whose data repeats their name as `type`.
fn named(events: Vec<(&'static str, Value)>) -> Script {
    Script::sse_named(events.into_iter().map(|(name, mut data)| {
        data["type"] = json!(name);
        (name, data)
    }))
}

fn content_usage(usage: &Usage) -> Value {
    json!({
        "promptTokenCount": usage.input, "cachedContentTokenCount": READ_FROM_CACHE,
        "candidatesTokenCount": usage.output - 3, "thoughtsTokenCount": 3,
        "totalTokenCount": usage.total(),
    })
}

/// An answer of Gemini's, or an event of a stream. Agents take two answers of one ID for one.
fn generated(parts: Value, usage: &Usage) -> Value {
    json!({
        "candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}],
        "modelVersion": "gemini-2.5-flash", "responseId": format!("response-{}", usage.input),
    })
}

pub fn content(answer: &Answer, usage: &Usage) -> Value {
    let parts = match answer {
        Answer::Text => vec![json!({"text": TEXT})],
        Answer::Calls(calls) => calls.iter().enumerate().map(called).collect(),
    };
    let mut whole = generated(json!(parts), usage);
    whole["candidates"][0]["finishReason"] = json!("STOP");
    whole["usageMetadata"] = content_usage(usage);
    whole
}

/// A call, of which the first of an answer is signed.
fn called((nth, call): (usize, &Call)) -> Value {
    let mut part =
        json!({"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}});
    if nth == 0 {
        part["thoughtSignature"] = json!("c2lnbmF0dXJl");
    }
    part
}

pub fn content_stream(answer: &Answer, usage: &Usage) -> Script {
    let mut events = Vec::new();
    let mut last = content(answer, usage);
    if let Answer::Text = answer {
        events.extend(PIECES.map(|text| generated(json!([{"text": text}]), usage)));
        last["candidates"][0]["content"]["parts"] = json!([{"text": ""}]);
    }
    events.push(last);
    Script::sse(events.iter().map(Value::to_string))
}
