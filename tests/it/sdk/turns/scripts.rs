//! Text answers and tool calls in the formats of the four text APIs.

use serde_json::{Value, json};

use super::{Answer, TEXT, Usage};
use crate::harness::Script;

const PIECES: [&str; 3] = ["Hello", ", ", "world"];
const CALL_ID: &str = "call_1";
const READ_FROM_CACHE: u64 = 30;
const WRITTEN_TO_CACHE: u64 = 10;

fn chat_usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input, "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {"cached_tokens": READ_FROM_CACHE},
    })
}

fn chat_tool(name: &str, arguments: &Value) -> Value {
    json!({
        "index": 0, "id": CALL_ID, "type": "function",
        "function": {"name": name, "arguments": arguments.to_string()},
    })
}

pub fn chat(call: &Value, answer: &Answer, usage: &Usage) -> Value {
    let (message, reason) = match answer {
        Answer::Text => (json!({"role": "assistant", "content": TEXT}), "stop"),
        Answer::Tool { name, arguments } => {
            let tools = json!([chat_tool(name, arguments)]);
            let message = json!({"role": "assistant", "content": null, "tool_calls": tools});
            (message, "tool_calls")
        }
    };
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": call["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": chat_usage(usage),
    })
}

pub fn chat_stream(call: &Value, answer: &Answer, usage: &Usage) -> Script {
    let chunk = |choices: Value| {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": call["model"], "choices": choices,
        })
    };
    let (deltas, reason) = match answer {
        Answer::Text => (PIECES.map(|text| json!({"content": text})).to_vec(), "stop"),
        Answer::Tool { name, arguments } => {
            let tools = json!([chat_tool(name, arguments)]);
            (vec![json!({"tool_calls": tools})], "tool_calls")
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

pub fn message(call: &Value, answer: &Answer, usage: &Usage) -> Value {
    let (block, reason) = match answer {
        Answer::Text => (json!({"type": "text", "text": TEXT}), "end_turn"),
        Answer::Tool { name, arguments } => (
            json!({"type": "tool_use", "id": CALL_ID, "name": name, "input": arguments}),
            "tool_use",
        ),
    };
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": call["model"],
        "content": [block], "stop_reason": reason, "stop_sequence": null,
        "usage": message_usage(usage),
    })
}

pub fn message_stream(call: &Value, answer: &Answer, usage: &Usage) -> Script {
    let whole = message(call, answer, usage);
    let mut begun = whole.clone();
    begun["content"] = json!([]);
    begun["stop_reason"] = Value::Null;
    begun["usage"]["output_tokens"] = json!(1);
    let mut block = whole["content"][0].clone();
    let deltas = match answer {
        Answer::Text => {
            block["text"] = json!("");
            PIECES
                .map(|text| json!({"type": "text_delta", "text": text}))
                .to_vec()
        }
        Answer::Tool { arguments, .. } => {
            block["input"] = json!({});
            let json = arguments.to_string();
            vec![json!({"type": "input_json_delta", "partial_json": json})]
        }
    };
    let delta = json!({"stop_reason": whole["stop_reason"], "stop_sequence": null});
    let mut events = vec![
        ("message_start", json!({"message": begun})),
        (
            "content_block_start",
            json!({"index": 0, "content_block": block}),
        ),
    ];
    for delta in deltas {
        events.push(("content_block_delta", json!({"index": 0, "delta": delta})));
    }
    events.push(("content_block_stop", json!({"index": 0})));
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
        "id": "resp_1", "object": "response", "created_at": 1, "model": call["model"],
        "status": "in_progress", "error": null, "incomplete_details": null, "instructions": null,
        "metadata": {}, "parallel_tool_calls": true, "temperature": 1.0, "top_p": 1.0,
        "tool_choice": "auto", "tools": [], "output": [], "usage": null,
    });
    if let Some((answer, usage)) = done {
        response["status"] = json!("completed");
        response["output"] = json!([item(answer)]);
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

fn item(answer: &Answer) -> Value {
    match answer {
        Answer::Text => json!({
            "id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
            "content": [part(TEXT)],
        }),
        Answer::Tool { name, arguments } => json!({
            "id": "fc_1", "type": "function_call", "status": "completed", "call_id": CALL_ID,
            "name": name, "arguments": arguments.to_string(),
        }),
    }
}

pub fn response_stream(call: &Value, answer: &Answer, usage: &Usage) -> Script {
    let whole = item(answer);
    let mut begun = whole.clone();
    begun["status"] = json!("in_progress");
    let place = |extra: Value| {
        let mut data = json!({"item_id": whole["id"], "output_index": 0, "content_index": 0});
        for (name, value) in extra.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        data
    };
    let mut pieces = Vec::new();
    match answer {
        Answer::Text => {
            begun["content"] = json!([]);
            let first = place(json!({"part": part("")}));
            pieces.push(("response.content_part.added", first));
            for text in PIECES {
                pieces.push(("response.output_text.delta", place(json!({"delta": text}))));
            }
            pieces.push(("response.output_text.done", place(json!({"text": TEXT}))));
            let last = place(json!({"part": part(TEXT)}));
            pieces.push(("response.content_part.done", last));
        }
        Answer::Tool { name, .. } => {
            let json = &whole["arguments"];
            begun["arguments"] = json!("");
            let delta = place(json!({"delta": json}));
            pieces.push(("response.function_call_arguments.delta", delta));
            let done = place(json!({"name": name, "arguments": json}));
            pieces.push(("response.function_call_arguments.done", done));
        }
    }
    let mut events = vec![
        (
            "response.created",
            json!({"response": response(call, None)}),
        ),
        (
            "response.output_item.added",
            json!({"output_index": 0, "item": begun}),
        ),
    ];
    events.extend(pieces);
    events.push((
        "response.output_item.done",
        json!({"output_index": 0, "item": whole}),
    ));
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

/// An answer of Gemini's, or an event of a stream.
fn generated(parts: Value) -> Value {
    json!({
        "candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}],
        "modelVersion": "gemini-2.5-flash", "responseId": "response-1",
    })
}

pub fn content(answer: &Answer, usage: &Usage) -> Value {
    let part = match answer {
        Answer::Text => json!({"text": TEXT}),
        Answer::Tool { name, arguments } => json!({
            "functionCall": {"name": name, "args": arguments}, "thoughtSignature": "c2lnbmF0dXJl",
        }),
    };
    let mut whole = generated(json!([part]));
    whole["candidates"][0]["finishReason"] = json!("STOP");
    whole["usageMetadata"] = content_usage(usage);
    whole
}

pub fn content_stream(answer: &Answer, usage: &Usage) -> Script {
    let mut events = Vec::new();
    let mut last = content(answer, usage);
    if let Answer::Text = answer {
        events.extend(PIECES.map(|text| generated(json!([{"text": text}]))));
        last["candidates"][0]["content"]["parts"] = json!([{"text": ""}]);
    }
    events.push(last);
    Script::sse(events.iter().map(Value::to_string))
}
