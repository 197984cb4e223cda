//! A scripted provider for agents: it requests a tool call before it answers, and the cost of a turn depends
//! on the number of tool results.
//!
//! The provider speaks all four text APIs, plain and streamed. A question with `Use the tool NAME` is answered by one
//! call of that tool, one with `Use twice and twice again NAME` by two calls at once and then by two more, every other
//! one with text.

mod scripts;

use serde_json::{Value, json};

use super::provider::start_scripted;
use crate::harness::provider::Received;
use crate::harness::{Gateway, Provider, Sample, Script};
use scripts::{
    chat, chat_stream, content, content_stream, message, message_stream, response, response_stream,
};

pub const TEXT: &str = "Hello, world";
/// Precedes the name of a tool in a question.
pub const ORDER: &str = "Use the tool ";
/// Precedes the name of a tool that is to be called twice at once, and then twice again.
pub const ORDER_OF_FOUR: &str = "Use twice and twice again ";
/// Output of the agents' tools.
pub const SAID: &str = "from-the-tool";
/// Balance above the byte bound of agents' prompts, which have about 100 kB each.
pub const GRANTED: u64 = 1_000_000;

pub fn start() -> (Provider, Gateway) {
    start_with(GRANTED)
}

/// A gateway whose keys have a balance of `tokens`.
pub fn start_with(tokens: u64) -> (Provider, Gateway) {
    start_changed(tokens, |config| config)
}

/// A gateway whose keys have a balance of `tokens`, with changes to the tenant's config.
pub fn start_changed(tokens: u64, change: impl Fn(Sample) -> Sample) -> (Provider, Gateway) {
    start_scripted(answer, |config| change(config.tokens(tokens)))
}

/// Cost of all requests together.
pub fn cost(requests: &[Received]) -> u64 {
    let cost = |request: &Received| Usage::of(&request.json()).total();
    requests.iter().map(cost).sum()
}

/// Cost of a request with this number of tool results.
pub fn price(results: u64) -> u64 {
    Usage::after(results).total()
}

pub struct Usage {
    pub input: u64,
    pub output: u64,
}

impl Usage {
    fn of(call: &Value) -> Usage {
        Usage::after(results(call).len() as u64)
    }

    fn after(results: u64) -> Usage {
        Usage {
            input: 100 + 50 * results,
            output: 20 + results,
        }
    }

    pub fn total(&self) -> u64 {
        self.input + self.output
    }
}

/// Tool results in a call, for any of the APIs.
pub fn results(call: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    for content in call["contents"].as_array().into_iter().flatten() {
        let parts = content["parts"].as_array().into_iter().flatten();
        found.extend(
            parts
                .filter(|part| part["functionResponse"].is_object())
                .cloned(),
        );
    }
    let items = call["messages"].as_array().or(call["input"].as_array());
    for item in items.into_iter().flatten() {
        if item["role"] == "tool" || item["type"] == "function_call_output" {
            found.push(item.clone());
        }
        let parts = item["content"].as_array().into_iter().flatten();
        found.extend(parts.filter(|part| part["type"] == "tool_result").cloned());
    }
    found
}

/// Call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub id: String,
    pub name: String,
    pub arguments: Value,
}

impl Call {
    fn new(name: &str, id: String, said: &str) -> Call {
        let arguments = match name {
            "Bash" => json!({"command": format!("echo {said}"), "description": "Say it"}),
            "exec_command" => json!({"cmd": format!("echo {said}")}),
            "WebSearch" => json!({"query": "gateways"}),
            _ => json!({"city": "Paris"}),
        };
        Call {
            id,
            name: name.to_owned(),
            arguments,
        }
    }

    /// The n-th of four calls, counted from 0. Its words need escapes in JSON, and more than one byte a character.
    pub fn nth_of_four(name: &str, nth: usize) -> Call {
        let said = format!("\"{SAID}-{nth} \u{fc}\"");
        Call::new(name, format!("call_{nth}"), &said)
    }
}

pub enum Answer {
    Text,
    Calls(Vec<Call>),
}

impl Answer {
    fn to(call: &Value, question: &str) -> Answer {
        let ordered = |order: &str| {
            let (_, rest) = question.split_once(order)?;
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            Some(&rest[..end.unwrap_or(rest.len())])
        };
        let before = results(call).len();
        match (ordered(ORDER), ordered(ORDER_OF_FOUR)) {
            (Some(name), _) if before == 0 => {
                Answer::Calls(vec![Call::new(name, "call_1".to_owned(), SAID)])
            }
            (_, Some(name)) if before < 4 => {
                let both = [before, before + 1].map(|nth| Call::nth_of_four(name, nth));
                Answer::Calls(both.to_vec())
            }
            _ => Answer::Text,
        }
    }
}

fn answer(request: &Received) -> Script {
    let call: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let answer = Answer::to(&call, &request.text());
    let usage = Usage::of(&call);
    let streams = call["stream"] == true;
    match request.path.split('?').next().unwrap_or_default() {
        "/v1/chat/completions" if streams => chat_stream(&call, &answer, &usage),
        "/v1/chat/completions" => Script::json(200, &chat(&call, &answer, &usage)),
        "/v1/messages" if streams => message_stream(&call, &answer, &usage),
        "/v1/messages" => Script::json(200, &message(&call, &answer, &usage)),
        path if path.ends_with(":generateContent") => Script::json(200, &content(&answer, &usage)),
        path if path.ends_with(":streamGenerateContent") => content_stream(&answer, &usage),
        "/v1/responses" if streams => response_stream(&call, &answer, &usage),
        "/v1/responses" => Script::json(200, &response(&call, Some((&answer, &usage)))),
        _ => Script::json(404, &json!({"error": {"message": "No such path"}})),
    }
}
