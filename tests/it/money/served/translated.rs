//! Pairs of a client and a server that speak different APIs, as data.

use super::members::{self, HOSTED_TOOL, value};
use super::pairs::{Client, POOR, Pair, WIDE, limit, odd_asking, written};
use super::servers::{Api, SERVERS, Server};
use super::turns::{Ending, TURNS, Turn, turn};
use std::collections::BTreeSet;

/// Servers that hide output because a member of Messages says so.
const ASKED_FOR: &[&str] = &["claude-omits", "claude-compacts"];

/// Chats that clients of Gemini's API ask, one for each way to count.
const ASKED_BY_GOOGLE: &[&str] = &["anything", "openai", "openai-thinks", "vllm", "perplexity"];

/// APIs of clients whose calls are translated for a server.
fn asked_in(server: &Server) -> &'static [Api] {
    match server.api {
        Api::Chat if ASKED_BY_GOOGLE.contains(&server.name) => {
            &[Api::Messages, Api::Responses, Api::Content]
        }
        Api::Chat => &[Api::Messages, Api::Responses],
        // Only asked for what no other API can ask for.
        Api::Messages if ASKED_FOR.contains(&server.name) => &[],
        Api::Messages => &[Api::Chat, Api::Responses, Api::Content],
        Api::Content => &[Api::Chat, Api::Messages, Api::Responses],
        Api::Completions | Api::Responses => &[],
    }
}

fn all() -> impl Iterator<Item = (&'static Server, Api)> {
    let ways = |server| asked_in(server).iter().map(move |asks| (server, *asks));
    SERVERS.iter().flat_map(ways)
}

/// Text at which a client of this API leaves.
fn mark(asks: Api) -> &'static str {
    match asks {
        Api::Messages => "\"stop_reason\":\"",
        Api::Responses => "response.output_text.done",
        Api::Chat | Api::Completions => "\"finish_reason\":\"",
        Api::Content => "\"finishReason\":\"",
    }
}

/// Every server and turn, with clients that read, or disconnect at some points.
pub fn product() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (server, asks) in all() {
        for turn in TURNS {
            pairs.extend(of(asks, server, turn));
        }
        pairs.extend(limited(asks, server));
    }
    pairs
}

fn of(asks: Api, server: &'static Server, turn: &'static Turn) -> Vec<Pair> {
    let leaves: &[usize] = match turn.name {
        "short" => &[0, 1, 2, 3, 5, 8, 13, 18, 22, 26],
        "long" => &[1, 30],
        "wide" if !WIDE.contains(&server.name) => return Vec::new(),
        "unparsed" if server.quotes.is_none() => return Vec::new(),
        _ => &[2],
    };
    let mut clients: Vec<(Client, bool)> = leaves
        .iter()
        .map(|events| (Client::Leaves(*events), true))
        .collect();
    clients.extend([
        (Client::LeavesAt(mark(asks)), true),
        (Client::Reads, true),
        (Client::Reads, false),
        (Client::LeavesEarly, false),
        (Client::LeavesEarly, true),
    ]);
    if turn.name == "wide" {
        clients = vec![(Client::StopsReading, true), (Client::Reads, true)];
    }
    if matches!(turn.ending, Ending::Stalls(_)) {
        // Whoever waits for it waits for seconds, so one client does in each API; no mark comes.
        let waits = |client: &Client, streams: bool| match client {
            Client::LeavesAt(_) => true,
            Client::Reads => streams != (asks == Api::Responses),
            _ => false,
        };
        clients.retain(|(client, streams)| !waits(client, *streams));
    }
    let pair = |(client, streams)| {
        let pair = Pair::asking(asks, server, turn, client, streams);
        match turn.name {
            "wide" => pair.with("", &limit(asks, 1_000)),
            _ if turn.words > POOR => pair.poor(),
            _ => pair,
        }
    };
    clients.into_iter().map(pair).collect()
}

/// An explicit limit.
fn limited(asks: Api, server: &'static Server) -> impl Iterator<Item = Pair> {
    let clients = [
        (Client::Reads, false),
        (Client::Reads, true),
        (Client::Leaves(3), true),
        (Client::LeavesEarly, false),
    ];
    let pair = move |(client, streams)| {
        let pair = Pair::asking(asks, server, turn("long"), client, streams);
        pair.with("a limit", &limit(asks, 50))
    };
    clients.into_iter().map(pair)
}

/// Servers for odd bodies, one of each kind of reader.
fn chosen(names: &[&str]) -> impl Iterator<Item = (&'static Server, Api)> {
    all().filter(|(server, _)| names.contains(&server.name))
}

/// Each known member of the client's API.
pub fn members() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (server, asks) in chosen(&["anything", "openai", "llamacpp", "claude"]) {
        let known = members::all().filter(|members| members.calls.contains(&asks));
        let mut before = BTreeSet::new();
        for members in known {
            for name in members.names.iter().filter(|name| before.insert(**name)) {
                let written = value(name, members.effect);
                let member = format!(r#","{}":{written}"#, name.replace(HOSTED_TOOL, "tools"));
                pairs.push(odd_asking(asks, server, name, &member));
            }
        }
    }
    pairs
}

/// Limits of each API, in spellings that some servers read.
pub fn spellings() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (server, asks) in chosen(&["anything", "openai", "claude"]) {
        for name in [
            "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "n",
        ] {
            for members in written(name) {
                pairs.push(odd_asking(asks, server, &members, &format!(",{members}")));
            }
        }
    }
    pairs
}

/// Members that no other API has: refused before anything is held.
const NOT_CARRIED: &[(Api, &[&str])] = &[
    (
        Api::Chat,
        &[
            r#""n":2"#,
            r#""logprobs":true"#,
            r#""logit_bias":{"1":100}"#,
            r#""modalities":["text","audio"]"#,
            r#""temperature":1.5"#,
            r#""response_format":{"type":"json_object"}"#,
            r#""thinking":{"type":"enabled","budget_tokens":1024,"display":"omitted"}"#,
            r#""context_management":{"edits":[{"type":"compact_20260112"}]}"#,
            r#""max_output_tokens":50000"#,
        ],
    ),
    (
        Api::Responses,
        &[
            r#""background":true"#,
            r#""previous_response_id":"resp_1""#,
            r#""conversation":"conv_1""#,
            r#""prompt":{"id":"pmpt_1"}"#,
            r#""top_logprobs":2"#,
            r#""max_tokens":50000"#,
            r#""n":2"#,
        ],
    ),
    (
        Api::Messages,
        &[
            r#""context_management":{"edits":[{"type":"compact_20260112"}]}"#,
            r#""container":"container_1""#,
            r#""max_completion_tokens":50000"#,
            r#""n":2"#,
        ],
    ),
];

pub fn refused() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (server, asks) in chosen(&["anything", "claude"]) {
        let of = NOT_CARRIED.iter().filter(|(api, _)| *api == asks);
        for member in of.flat_map(|(_, members)| *members) {
            let mut pair = odd_asking(asks, server, member, &format!(",{member}"));
            pair.is_refused = true;
            pairs.push(pair);
        }
    }
    pairs
}

/// Parts of content by URL, in the words of each API.
const PARTS_BY_URL: &[(Api, &str)] = &[
    (
        Api::Chat,
        r#"{"type":"image_url","image_url":{"url":"https://a.example/a.png"}}"#,
    ),
    (
        Api::Responses,
        r#"{"type":"input_image","image_url":"https://a.example/a.png"}"#,
    ),
    (
        Api::Responses,
        r#"{"type":"input_file","file_url":"https://a.example/a.pdf"}"#,
    ),
    (
        Api::Messages,
        r#"{"type":"image","source":{"type":"url","url":"https://a.example/a.png"}}"#,
    ),
    (
        Api::Messages,
        r#"{"type":"document","source":{"type":"url","url":"https://a.example/a.pdf"}}"#,
    ),
];

/// Balance above the most that a document may have.
const FOR_DOCUMENTS: u64 = 2_000_000;

/// Images and documents, which a server reads for more tokens than their bytes.
pub fn inside() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (server, asks) in chosen(&["anything", "vllm", "openrouter", "azure", "claude"]) {
        let text = r#""case-CASE please go on""#;
        let kind = match asks {
            Api::Responses => "input_text",
            _ => "text",
        };
        for (_, part) in PARTS_BY_URL.iter().filter(|(api, _)| *api == asks) {
            let parts = format!(r#"[{{"type":"{kind}","text":{text}}},{part}]"#);
            let content = match asks {
                Api::Responses => format!(r#"[{{"role":"user","content":{parts}}}]"#),
                _ => parts,
            };
            let turn = turn("short");
            let mut pair = Pair::asking(asks, server, turn, Client::Reads, false);
            pair.body = pair.body.replace(text, &content);
            // Chat Completions know no document by its address.
            pair.is_refused = server.api == Api::Chat && part.contains(".pdf");
            (*part).clone_into(&mut pair.odd);
            pair.grant = FOR_DOCUMENTS;
            pairs.push(pair);
        }
    }
    pairs
}
