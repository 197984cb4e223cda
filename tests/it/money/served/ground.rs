//! Plays pairs of server and client: one gateway, one provider for all stand-ins, one key per pair.

use super::answers;
use super::obeys;
use super::pairs::{Client, Pair};
use super::servers::{Api, SERVERS};
use crate::harness::provider::Received;
use crate::harness::{
    Client as Http, Gateway, Provider, Script, Setup, Tally, eventually, sample_at,
};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

const CALLERS: usize = 32;
/// Servers without Responses, as the gateway knows.
const KNOWN_FOR_CHAT_ALONE: &[&str] = &["mistral", "deepseek", "gemini", "moonshot", "tgi"];
const PATIENCE: Duration = Duration::from_secs(30);

/// Result of a pair.
#[derive(Debug)]
pub struct Outcome {
    pub charged: u64,
    pub held: u64,
    /// Tokens that the stand-in generated.
    pub generated: u64,
    /// Tokens that it read.
    pub read: u64,
    /// Number of calls that reached it.
    pub calls: u64,
    /// Status of the answer; 0: the client has seen none.
    pub status: u16,
    /// The client has read the end of an answer, as its API writes it.
    pub is_whole: bool,
}

impl Outcome {
    pub fn truth(&self) -> u64 {
        self.generated + self.read
    }
}

#[derive(Default)]
struct Record {
    key: OnceLock<String>,
    tally: Tally,
    read: AtomicU64,
    held: AtomicU64,
    calls: AtomicU64,
    status: AtomicU16,
    is_whole: AtomicBool,
}

struct Ground {
    pairs: Vec<Pair>,
    records: Vec<Record>,
    gateway: OnceLock<SocketAddr>,
}

/// Plays all pairs on this store. `keeps`: the tenant's answers are kept.
pub fn play(setup: Setup, keeps: bool, pairs: Vec<Pair>) -> Vec<(Pair, Outcome)> {
    let records = pairs.iter().map(|_| Record::default()).collect();
    let ground = Arc::new(Ground {
        pairs,
        records,
        gateway: OnceLock::new(),
    });
    let for_provider = Arc::clone(&ground);
    let provider = Provider::start(move |request| for_provider.answer(request));
    let gateway = start(setup, keeps, &provider);
    let _ = ground.gateway.set(gateway.addr());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= ground.pairs.len() {
                        return;
                    }
                    ground.call(&gateway, number);
                }
            });
        }
    });
    let outcomes: Vec<Outcome> = (0..ground.pairs.len())
        .map(|number| ground.outcome(number))
        .collect();
    drop((gateway, provider));
    // Threads of the provider's connections end shortly after it.
    let mut shared = Some(ground);
    let ground = eventually(PATIENCE, "the provider's threads end", || {
        Arc::try_unwrap(shared.take()?)
            .map_err(|still| shared = Some(still))
            .ok()
    });
    let pairs = ground.pairs;
    pairs.into_iter().zip(outcomes).collect()
}

fn start(setup: Setup, keeps: bool, provider: &Provider) -> Gateway {
    let mut config = sample_at(&provider.url("/v1/chat/completions"));
    if keeps {
        config = config.caching(20);
    }
    for server in SERVERS {
        let url = provider.url(&format!(
            "/{}/v1/{}",
            server.name,
            path_of_endpoint(server.api)
        ));
        config = config.endpoint(server.name, &url, server.model);
        if server.kind != "generic" {
            config = config.server(server.name, server.kind);
        }
        // A call in Responses is translated for a chat; of some servers the gateway knows it by itself.
        if server.api == Api::Chat && !KNOWN_FOR_CHAT_ALONE.contains(&server.kind) {
            let path = format!("providers.text.endpoints.{}.responses", server.name);
            config = config.set(&path, json!(false));
        }
    }
    let yaml = "upstream: { drain: 2s, idle_timeout: 3s, first_byte_timeout: 6s }";
    Gateway::start(setup.yaml(yaml).tenant("abc", config))
}

fn path_of_endpoint(api: Api) -> &'static str {
    match api {
        Api::Messages => "messages",
        Api::Content => "models/m:generateContent",
        _ => "chat/completions",
    }
}

fn look(gateway: SocketAddr, key: &str) -> Option<(u64, u64)> {
    let client = Http::new(gateway);
    let request = client.request("GET", "/abc/auth/me").bearer(key);
    let me: Value = request.try_send().ok()?.json();
    Some((me["tokensLeft"].as_u64()?, me["tokensFree"].as_u64()?))
}

impl Ground {
    fn answer(&self, request: &Received) -> Script {
        let text = request.text();
        let number = text.split("case-").nth(1).and_then(|rest| rest.get(..6));
        let number: usize = number
            .and_then(|number| number.parse().ok())
            .expect("a case");
        let (pair, record) = (&self.pairs[number], &self.records[number]);
        let (gateway, key) = (self.gateway.get(), record.key.get());
        let balance = gateway
            .zip(key)
            .and_then(|(gateway, key)| look(*gateway, key));
        let (left, free) = balance.expect("a balance of a key that calls");
        record.held.store(left - free, Ordering::Release);
        let streams = request.path.contains(":streamGenerateContent");
        let script = match obeys::read(pair.server, pair.turn, &request.body, streams) {
            None => Script::json(422, &json!({"error": {"message": "Not so"}})),
            Some(asked) => {
                record.read.fetch_add(asked.prompt, Ordering::AcqRel);
                answers::script(pair.server, pair.turn, &asked, &record.tally)
            }
        };
        record.calls.fetch_add(1, Ordering::AcqRel);
        script
    }

    fn call(&self, gateway: &Gateway, number: usize) {
        let (pair, record) = (&self.pairs[number], &self.records[number]);
        let minted = gateway
            .client()
            .request("POST", "/abc/admin/keys")
            .bearer(gateway.admin_token())
            .json(&json!({"group": "anonymous", "tokens": pair.grant, "expiresInSeconds": 900}))
            .send();
        assert_eq!(minted.status, 201, "{}", minted.text());
        let key = minted.json()["apiKey"].as_str().expect("a key").to_owned();
        let _ = record.key.set(key.clone());
        let path = pair.path();
        let body = pair.body.replace("CASE", &format!("{number:06}"));
        let client = gateway.client();
        let request = client
            .request("POST", &path)
            .bearer(&key)
            .header("content-type", "application/json")
            .header("anthropic-version", "2023-06-01")
            .body(body);
        if pair.client == Client::LeavesEarly {
            self.leave_early(gateway, &key, pair, record, number);
            return;
        }
        let Ok(mut answer) = request.try_send_streaming() else {
            return;
        };
        record.status.store(answer.status, Ordering::Release);
        let mut seen = Vec::new();
        match pair.client {
            Client::Reads | Client::LeavesEarly => {
                for chunk in &mut answer {
                    seen.extend(chunk.bytes);
                }
                let ends = |end: &&str| count(&seen, end.as_bytes()) > 0;
                let is_whole = pair.asks.ends().iter().any(ends);
                record.is_whole.store(is_whole, Ordering::Release);
            }
            Client::StopsReading => thread::sleep(Duration::from_millis(3000)),
            Client::Leaves(events) => {
                while count(&seen, b"\n\n") < events {
                    let Some(chunk) = answer.next() else { break };
                    seen.extend(chunk.bytes);
                }
            }
            Client::LeavesAt(mark) => {
                while count(&seen, mark.as_bytes()) == 0 {
                    let Some(chunk) = answer.next() else { break };
                    seen.extend(chunk.bytes);
                }
            }
        }
    }

    /// Sends the call and closes once the provider has it.
    fn leave_early(
        &self,
        gateway: &Gateway,
        key: &str,
        pair: &Pair,
        record: &Record,
        number: usize,
    ) {
        let body = pair.body.replace("CASE", &format!("{number:06}"));
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\nanthropic-version: 2023-06-01\r\n\
             content-length: {}\r\n\r\n",
            pair.path(),
            gateway.addr(),
            body.len()
        );
        let mut socket = TcpStream::connect(gateway.addr()).expect("a socket");
        let sent = socket.write_all(format!("{head}{body}").as_bytes());
        sent.and_then(|()| socket.set_nonblocking(true))
            .expect("the gateway takes it");
        eventually(PATIENCE, "the provider has the call", || {
            let is_answered = socket.peek(&mut [0]).is_ok();
            (is_answered || record.calls.load(Ordering::Acquire) > 0).then_some(())
        });
    }

    fn outcome(&self, number: usize) -> Outcome {
        let record = &self.records[number];
        let (gateway, key) = (self.gateway.get(), record.key.get());
        let (gateway, key) = gateway.zip(key).expect("a key");
        let what = format!("pair {number} is settled");
        let left = eventually(PATIENCE, &what, || {
            let (left, free) = look(*gateway, key)?;
            (left == free).then_some(left)
        });
        Outcome {
            charged: self.pairs[number].grant - left,
            held: record.held.load(Ordering::Acquire),
            generated: record.tally.tokens(),
            read: record.read.load(Ordering::Acquire),
            calls: record.calls.load(Ordering::Acquire),
            status: record.status.load(Ordering::Acquire),
            is_whole: record.is_whole.load(Ordering::Acquire),
        }
    }
}

fn count(text: &[u8], what: &[u8]) -> usize {
    text.windows(what.len())
        .filter(|piece| *piece == what)
        .count()
}
