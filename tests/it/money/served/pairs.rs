//! All pairs of stand-in and client, as data.

use super::members::{self, HOSTED_TOOL, OF_A_MESSAGE, PARTS, value};
use super::servers::{Api, SERVERS, Server, Usage};
use super::turns::{TURNS, Turn, turn};

/// Behaviour of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Reads,
    /// Disconnects after this many events.
    Leaves(usize),
    /// Disconnects after this text.
    LeavesAt(&'static str),
    /// Disconnects once the provider has the call.
    LeavesEarly,
    /// Stops reading for a while, then disconnects.
    StopsReading,
}

pub struct Pair {
    pub server: &'static Server,
    /// API that the client asks in; another one than the server's is translated.
    pub asks: Api,
    pub turn: &'static Turn,
    pub client: Client,
    pub streams: bool,
    /// Body with `CASE` as a placeholder for its number.
    pub body: String,
    /// Balance of its key.
    pub grant: u64,
    /// Odd member of its body.
    pub odd: String,
    /// The gateway refuses the call, because its odd member cannot be carried to the server's API.
    pub is_refused: bool,
}

const RICH: u64 = 100_000;
/// A balance far below a natural answer's length.
pub const POOR: u64 = 400;
/// Hold for the prompt that xAI adds.
const HIDDEN_PROMPT: u64 = 1_000;
/// Servers for clients that stop reading: many large events.
pub const WIDE: &[&str] = &[
    "openai",
    "openai-responses-shows",
    "openai-thinks",
    "vllm",
    "claude",
];
const MARKS: &[&str] = &[
    "\"finish_reason\":\"",
    "\"stop_reason\":\"",
    "\"finishReason\":\"",
    "response.output_text.done",
];

fn body(server: &Server, asks: Api, streams: bool, members: &str) -> String {
    let text = "case-CASE please go on";
    let read = match asks {
        Api::Chat | Api::Messages => {
            format!(r#""messages":[{{"role":"user","content":"{text}"}}]"#)
        }
        Api::Completions => format!(r#""prompt":"{text}""#),
        Api::Responses => format!(r#""input":"{text}""#),
        Api::Content => {
            let contents = format!(r#""contents":[{{"parts":[{{"text":"{text}"}}]}}]"#);
            return format!("{{{contents}{members}}}");
        }
    };
    let (name, model) = (server.name, server.model);
    // Another API does not have these members.
    let with = if asks == server.api {
        server.asked_with
    } else {
        ""
    };
    format!(r#"{{"model":"{name}/{model}",{read},"stream":{streams}{members}{with}}}"#)
}

pub fn limit(asks: Api, tokens: u64) -> String {
    let name = match asks {
        Api::Content => return format!(r#","generationConfig":{{"maxOutputTokens":{tokens}}}"#),
        Api::Responses => "max_output_tokens",
        _ => "max_tokens",
    };
    format!(r#","{name}":{tokens}"#)
}

impl Pair {
    fn new(server: &'static Server, turn: &'static Turn, client: Client, streams: bool) -> Pair {
        Pair::asking(server.api, server, turn, client, streams)
    }

    /// A pair whose client asks in this API.
    pub fn asking(
        asks: Api,
        server: &'static Server,
        turn: &'static Turn,
        client: Client,
        streams: bool,
    ) -> Pair {
        Pair {
            server,
            asks,
            turn,
            client,
            streams,
            body: body(server, asks, streams, &limit(asks, 200)),
            grant: RICH,
            odd: String::new(),
            is_refused: false,
        }
    }

    pub fn with(mut self, odd: &str, members: &str) -> Pair {
        odd.clone_into(&mut self.odd);
        self.body = body(self.server, self.asks, self.streams, members);
        self
    }

    /// Path of its call.
    pub fn path(&self) -> String {
        if self.asks != Api::Content {
            return format!("/abc/v1/{}", self.asks.path());
        }
        let (name, model) = (self.server.name, self.server.model);
        let method = match self.streams {
            true => "streamGenerateContent?alt=sse",
            false => "generateContent",
        };
        format!("/abc/v1beta/models/{name}/{model}:{method}")
    }

    pub fn is_translated(&self) -> bool {
        self.asks != self.server.api
    }

    /// Gives the key less balance than the answer needs.
    pub fn poor(mut self) -> Pair {
        let open = match self.asks {
            Api::Messages => limit(self.asks, 100_000),
            _ => String::new(),
        };
        self.body = body(self.server, self.asks, self.streams, &open);
        self.grant = POOR;
        if self.server.kind == "xai" {
            self.grant += HIDDEN_PROMPT;
        }
        self
    }
}

/// Every server and turn, with clients that read or disconnect at every point.
pub fn product() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for server in SERVERS {
        for turn in TURNS {
            pairs.extend(of(server, turn));
        }
        pairs.extend(variants(server));
    }
    pairs
}

fn of(server: &'static Server, turn: &'static Turn) -> Vec<Pair> {
    let is_poor = turn.words > POOR;
    let leaves: Vec<usize> = match turn.name {
        // A short answer has at most 28 events.
        "short" => (0..28).collect(),
        "long" => vec![0, 1, 30],
        "wide" if !WIDE.contains(&server.name) => return Vec::new(),
        "unparsed" if server.quotes.is_none() => return Vec::new(),
        // A name matters to a translation alone, which cannot carry a call without one.
        "named tool" => return Vec::new(),
        _ => vec![0, 2],
    };
    let leavers = leaves.into_iter().map(Client::Leaves);
    let marks = MARKS.iter().map(|mark| Client::LeavesAt(mark));
    let mut clients: Vec<(Client, bool)> =
        leavers.chain(marks).map(|client| (client, true)).collect();
    clients.extend([
        (Client::Reads, true),
        (Client::Reads, false),
        (Client::LeavesEarly, false),
        (Client::LeavesEarly, true),
    ]);
    if turn.name == "wide" {
        clients = vec![(Client::StopsReading, true)];
    }
    let pair = |(client, streams)| {
        let pair = Pair::new(server, turn, client, streams);
        match turn.name {
            "wide" => pair.with("", &limit(server.api, 1_000)),
            _ if is_poor => pair.poor(),
            _ => pair,
        }
    };
    clients.into_iter().map(pair).collect()
}

/// Variants: several answers, an explicit limit, requested usage.
fn variants(server: &'static Server) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let (short, long) = (turn("short"), turn("long"));
    let mut add = |turn, odd: &str, members: &str| {
        for (client, streams) in [
            (Client::Reads, false),
            (Client::Reads, true),
            (Client::Leaves(3), true),
            (Client::LeavesEarly, false),
        ] {
            pairs.push(Pair::new(server, turn, client, streams).with(odd, members));
        }
    };
    add(long, "a limit", &limit(server.api, 50));
    if matches!(server.api, Api::Chat | Api::Completions) {
        let limit = limit(server.api, 50);
        add(
            short,
            "usage asked for",
            &format!(
                r#"{limit},"stream_options":{{"include_usage":true,"continuous_usage_stats":true}}"#
            ),
        );
        for name in server.many {
            add(short, "many", &format!(r#"{limit},"{name}":3"#));
            add(long, "many", &format!(r#"{limit},"{name}":3"#));
        }
    }
    if server.api == Api::Completions && server.usage != Usage::Noughts {
        for pair in &mut pairs {
            if pair.odd == "usage asked for" {
                "many prompts".clone_into(&mut pair.odd);
                let one = r#""prompt":"case-CASE please go on""#;
                let two = r#""prompt":["case-CASE please go on","case-CASE once more"]"#;
                pair.body = pair.body.replace(one, two);
            }
        }
    }
    pairs
}

/// Each known member at each server that obeys it, and at an unknown server.
pub fn members() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for server in SERVERS {
        for members in members::all().filter(|members| members.calls.contains(&server.api)) {
            if !members.servers.contains(&server.kind) && server.name != "anything" {
                continue;
            }
            for name in members.names {
                let written = value(name, members.effect);
                let member = format!(r#","{}":{written}"#, name.replace(HOSTED_TOOL, "tools"));
                pairs.push(odd(server, name, &member));
            }
        }
    }
    pairs
}

/// Members of messages, and content part types.
pub fn inside() -> Vec<Pair> {
    let mut pairs = Vec::new();
    let chats = SERVERS.iter().filter(|server| server.api == Api::Chat);
    for server in chats {
        let reads = |servers: &[&str]| servers.contains(&server.kind) || server.name == "anything";
        let text = r#""content":"case-CASE please go on""#;
        let mut add = |name: &str, message: String| {
            let mut pair = odd(server, name, "");
            pair.body = pair.body.replace(text, &message);
            pair.grant = RICH;
            pair.body = pair
                .body
                .replace(r#","stream""#, r#","max_tokens":50,"stream""#);
            pairs.push(pair);
        };
        for (names, _) in OF_A_MESSAGE.iter().filter(|(_, servers)| reads(servers)) {
            for name in *names {
                add(name, format!(r#"{text},"{name}":"read these words""#));
            }
        }
        for (part, ..) in PARTS.iter().filter(|(_, _, servers)| reads(servers)) {
            add(
                part,
                format!(r#""content":[{{"type":"text","text":"case-CASE"}},{part}]"#),
            );
        }
    }
    pairs
}

/// A pair with an odd body and a small balance, and with a limit where the call requires one.
fn odd(server: &'static Server, odd: &str, members: &str) -> Pair {
    odd_asking(server.api, server, odd, members)
}

pub fn odd_asking(asks: Api, server: &'static Server, odd: &str, members: &str) -> Pair {
    let streams = odd.len().is_multiple_of(2);
    let pair = Pair::asking(asks, server, turn("long"), Client::Reads, streams);
    let mut pair = pair.poor();
    odd.clone_into(&mut pair.odd);
    // Appended after the existing members.
    pair.body.insert_str(pair.body.len() - 1, members);
    pair
}

/// All limit members.
const LIMITS: &[&str] = &[
    "max_tokens",
    "max_completion_tokens",
    "n_predict",
    "max_output_tokens",
    "num_predict",
    "auto_max_new_tokens",
    "max_new_tokens",
    "max_length",
    "best_of",
    "n",
    "n_cmpl",
];

/// Spellings of one limit beside another.
pub fn spellings() -> Vec<Pair> {
    let chosen = [
        "anything",
        "first-of-two",
        "openai",
        "llamacpp",
        "ollama",
        "localai",
        "textgen",
        "llamacpp-text",
        "llamacpp-responses",
        "claude",
    ];
    let mut pairs = Vec::new();
    for server in SERVERS
        .iter()
        .filter(|server| chosen.contains(&server.name))
    {
        for name in LIMITS {
            for members in written(name) {
                pairs.push(odd(server, &members, &format!(",{members}")));
            }
        }
        let nested = r#""options":{"num_predict":50000,"max_tokens":50000}"#;
        pairs.push(odd(server, nested, &format!(",{nested}")));
        for other in [
            "\"me\u{17f}\u{17f}ages\":[]",
            "\"\u{17f}tream\":true",
            "\"Stream\":true",
            "\"stream\":true",
        ] {
            pairs.push(odd(server, other, &format!(",{other}")));
        }
    }
    pairs
}

/// Spellings of Gemini's limits, which stand in an object of their own.
pub fn spellings_of_content() -> Vec<Pair> {
    let google = SERVERS.iter().filter(|server| server.api == Api::Content);
    let mut pairs = Vec::new();
    for server in google {
        for name in ["maxOutputTokens", "max_output_tokens", "candidateCount"] {
            for members in written(name) {
                for config in ["generationConfig", "generation_config"] {
                    let member = format!(r#""{config}":{{{members}}}"#);
                    pairs.push(odd(server, &member, &format!(",{member}")));
                }
            }
        }
        for member in [
            r#""generationConfig":{"maxOutputTokens":20},"generation_config":{"maxOutputTokens":50000}"#,
            r#""generation_config":{"maxOutputTokens":50000},"generationConfig":{"maxOutputTokens":20}"#,
            r#""GenerationConfig":{"maxOutputTokens":50000}"#,
            r#""serviceTier":"priority""#,
            r#""tools":[{"googleSearch":{}}]"#,
        ] {
            pairs.push(odd(server, member, &format!(",{member}")));
        }
    }
    pairs
}

pub fn written(name: &str) -> Vec<String> {
    let values = [
        "50000",
        "-1",
        "0",
        "null",
        "true",
        "\"50000\"",
        "5e4",
        "50000.0",
        "18446744073709551616",
        "[50000]",
    ];
    let small = if ["n", "n_cmpl", "best_of"].contains(&name) {
        "1"
    } else {
        "20"
    };
    let big = if small == "1" { "5" } else { "50000" };
    let upper = name.to_uppercase();
    let mut first = name.to_owned();
    first.replace_range(..1, &upper[..1]);
    let escaped = format!("\\u00{:02x}{}", name.as_bytes()[0], &name[1..]);
    let mut all: Vec<String> = values
        .iter()
        .map(|value| format!(r#""{name}":{value}"#))
        .collect();
    for other in [
        name.to_owned(),
        upper,
        first,
        escaped,
        name.replace('s', "\u{17f}"),
        name.replace('k', "\u{212a}"),
        format!("{name} "),
    ] {
        all.push(format!(r#""{name}":{small},"{other}":{big}"#));
        all.push(format!(r#""{other}":{big},"{name}":{small}"#));
        all.push(format!(r#""{other}":{big}"#));
    }
    all.push(format!(r#""max_tokens":20,"{name}":{big}"#));
    all.push(format!(
        r#""{name}":{big},"max_tokens":20,"max_completion_tokens":{big}"#
    ));
    all
}
