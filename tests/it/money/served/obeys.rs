//! A stand-in's reading of a body: the tokens it generates and the tokens it reads.

use super::loose::{Body, words};
use super::members::{self, Effect, PARTS};
use super::servers::{Api, Server, Thought};
use super::turns::Turn;
use serde_json::Value;

/// Tokens of context that a body does not show.
const UNSEEN: u64 = 3_000;
/// Tokens of a known text that a server adds.
const PREAMBLE: u64 = 40;

const MOST_HIDDEN: u64 = 5_000;

/// One answer to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub thoughts: u64,
    pub words: u64,
    /// Words in tool arguments.
    pub arguments: u64,
    /// Whether the limit cuts it.
    pub is_cut: bool,
}

impl Answer {
    pub fn tokens(&self) -> u64 {
        self.thoughts + self.words + self.arguments
    }
}

#[derive(Debug)]
pub struct Asked {
    pub streams: bool,
    pub wants_usage: bool,
    pub answers: Vec<Answer>,
    pub prompt: u64,
}

/// `None`: the server refuses the body. `streams`: the path asks for a stream.
pub fn read(server: &Server, turn: &Turn, bytes: &[u8], streams: bool) -> Option<Asked> {
    let body = Body::read(bytes, server.names)?;
    let is_taken = |name: &str| server.takes.is_empty() || server.takes.contains(&name);
    if !body.names().all(is_taken) {
        return None;
    }
    let control = |name: &str| control(server, &body, name);
    let given: Vec<&Value> = server
        .limits
        .iter()
        .filter_map(|name| control(name))
        .collect();
    if server.api == Api::Content && given.len() > 1 {
        return None;
    }
    if server.wants_one_limit && given.len() > 1 {
        return None;
    }
    let numbers = given.iter().map(|value| limit(value));
    let limit = match () {
        () if !server.voids.is_empty() && body.is_on(server.voids) => u64::MAX,
        () if server.is_generous => numbers.max().unwrap_or(u64::MAX),
        () => numbers.into_iter().next().unwrap_or(u64::MAX),
    };
    let streams = streams || body.is_on("stream");
    let mut many = server.many.iter().filter_map(|name| control(name));
    let many = many.next().and_then(Value::as_u64).unwrap_or(1).min(8);
    let many = if streams && server.many_plain_only {
        1
    } else {
        many
    };
    let prompts = match body.get("prompt") {
        Some(Value::Array(prompts)) => prompts.len() as u64,
        _ => 1,
    };
    let options = body.get("stream_options");
    let wants_usage = options.is_some_and(|options| options["include_usage"] == true);
    let one = answer(server, turn, limit);
    let answers = usize::try_from(many * prompts).unwrap_or(1);
    Some(Asked {
        streams,
        wants_usage,
        answers: vec![one; answers],
        prompt: prompt(server, &body) + parts(server, &String::from_utf8_lossy(bytes)),
    })
}

/// Returns a member that controls the answer: of the body, or of Gemini's `generationConfig`.
fn control<'b>(server: &Server, body: &'b Body, name: &str) -> Option<&'b Value> {
    if server.api != Api::Content {
        return body.get(name);
    }
    let config = body
        .get("generationConfig")
        .or(body.get("generation_config"));
    config?.get(name)
}

/// A negative number is no limit.
fn limit(value: &Value) -> u64 {
    let written = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    match written {
        Some(number) if number >= 0.0 => number as u64,
        _ => u64::MAX,
    }
}

fn answer(server: &Server, turn: &Turn, limit: u64) -> Answer {
    let mut left = limit;
    let mut take = |most: u64| {
        let taken = most.min(left);
        left -= taken;
        taken
    };
    let wanted = match server.thought {
        Thought::Never => 0,
        // More than the allowance for an answer's frame.
        Thought::Hidden => (turn.thoughts * 6).min(MOST_HIDDEN),
        Thought::Shown(_) | Thought::InParts => turn.thoughts,
    };
    let thoughts = match server.thinks_beyond {
        true => wanted,
        false => take(wanted),
    };
    let words = take(turn.words);
    let arguments = match server.api {
        Api::Completions => 0,
        _ => take(turn.arguments),
    };
    Answer {
        thoughts,
        words,
        arguments,
        is_cut: left == 0,
    }
}

/// Prompt tokens by the server's count.
fn prompt(server: &Server, body: &Body) -> u64 {
    let always = [
        "messages",
        "system",
        "prompt",
        "input",
        "instructions",
        "suffix",
        "contents",
        "systemInstruction",
        "system_instruction",
    ];
    let read = always.iter().filter_map(|name| body.get(name));
    let mut sum = server.template + read.map(words).sum::<u64>();
    for members in members::all() {
        if !members.calls.contains(&server.api) || !members.servers.contains(&server.kind) {
            continue;
        }
        for value in members.names.iter().filter_map(|name| body.get(name)) {
            sum += match members.effect {
                Effect::Text => words(value),
                Effect::Preamble => PREAMBLE,
                Effect::Unseen if is_unseen(value) => UNSEEN,
                _ => 0,
            };
        }
    }
    let tools = body.get("tools").map(ToString::to_string);
    let is_hosted = tools.is_some_and(|tools| tools.contains("web_search"));
    sum + if is_hosted { UNSEEN } else { 0 }
}

/// Whether `metadata` loads context; a map of plain notes does not.
fn is_unseen(value: &Value) -> bool {
    value
        .as_object()
        .is_none_or(|map| map.contains_key("on") || map.contains_key("mcp_servers"))
}

/// Tokens of parts that count more than their text.
fn parts(server: &Server, text: &str) -> u64 {
    let reads = |servers: &[&str]| servers.contains(&server.kind) || server.name == "anything";
    let parts = PARTS.iter().filter(|(_, _, servers)| reads(servers));
    parts
        .filter(|(part, ..)| text.contains(part))
        .map(|(_, tokens, _)| tokens)
        .sum()
}
