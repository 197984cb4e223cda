//! The official SDKs of OpenAI, Anthropic and Google against the built gateway and its demo provider.
//!
//! Asserts what SDK users see: typed exceptions, streams, and a balance that falls by the usage. The scripts
//! in `tests/sdk` call and print facts; only this file asserts. SDKs that are not installed fail the tests.
//! `calls` and `errors` have the remaining cases.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::project::{in_project, not_installed};
use crate::harness::{Gateway, Setup, mint, within};

const SOON: Duration = Duration::from_secs(10);
pub const TENANT: &str = "demo";
pub const PLENTY: u64 = 100_000;
pub const WINDOW_SECONDS: u64 = 60;
pub const SDKS: [Sdk; 2] = [Sdk::Python, Sdk::Node];

#[derive(Clone, Copy, Debug)]
pub enum Sdk {
    Python,
    Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    OpenAi,
    Anthropic,
    Google,
}

impl Sdk {
    fn command(self, vendor: Vendor) -> Command {
        let (script, package) = match vendor {
            Vendor::OpenAi => ("openai_calls", "openai"),
            Vendor::Anthropic => ("anthropic_calls", "@anthropic-ai/sdk"),
            Vendor::Google => ("google_calls", "@google/genai"),
        };
        let (program, library, ending) = match self {
            Sdk::Python => {
                let python = in_project(".tools/python/bin/python");
                (python.clone(), python, "py")
            }
            Sdk::Node => {
                let library = in_project(".tools/node/node_modules").join(package);
                ("node".into(), library, "mjs")
            }
        };
        if !library.exists() {
            not_installed(&library);
        }
        let mut command = Command::new(program);
        command.arg(in_project("tests/sdk").join(format!("{script}.{ending}")));
        command
    }

    /// Exception for a status without its own type, as OpenAI's SDKs have none for 402.
    pub fn nameless_error(self) -> &'static str {
        match self {
            Sdk::Python => "APIStatusError",
            Sdk::Node => "APIError",
        }
    }
}

/// Parameters of one script run.
#[derive(Clone, Copy)]
pub struct Caller<'g> {
    pub vendor: Vendor,
    pub sdk: Sdk,
    pub gateway: &'g Gateway,
    pub tenant: &'g str,
    /// Path between the tenant and the SDK's own path.
    pub base: &'g str,
    pub key: &'g str,
    pub model: &'g str,
    /// `None`: the SDK's default.
    pub max_retries: Option<u64>,
}

#[derive(Debug)]
pub struct Facts {
    pub answers: Vec<Value>,
    /// Exception of the SDK, or null.
    pub refusal: Value,
}

impl<'g> Caller<'g> {
    fn new(sdk: Sdk, gateway: &'g Gateway, key: &'g str) -> Caller<'g> {
        Caller::of(Vendor::OpenAi, sdk, gateway, key)
    }

    pub fn of(vendor: Vendor, sdk: Sdk, gateway: &'g Gateway, key: &'g str) -> Caller<'g> {
        Caller {
            vendor,
            sdk,
            gateway,
            tenant: TENANT,
            base: match vendor {
                Vendor::OpenAi => "/v1",
                Vendor::Anthropic | Vendor::Google => "",
            },
            key,
            model: "demo-1",
            max_retries: None,
        }
    }

    /// Runs the script; an exception other than an API error is a failure.
    #[track_caller]
    pub fn run(&self, name: &str, times: u64) -> Output {
        let Caller {
            gateway,
            tenant,
            base,
            ..
        } = self;
        let mut command = self.sdk.command(self.vendor);
        command
            .args([name, &times.to_string()])
            .env_clear()
            .env(
                "BASE_URL",
                format!("http://{}/{tenant}{base}", gateway.addr()),
            )
            .env("API_KEY", self.key)
            .env("MODEL", self.model)
            .stdin(Stdio::null());
        for name in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(most) = self.max_retries {
            command.env("MAX_RETRIES", most.to_string());
        }
        match command.output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                not_installed(Path::new(command.get_program()));
            }
            Err(error) => panic!("{:?} does not run: {error}", self.sdk),
        }
    }

    /// Repeats a call `times` times or until the SDK raises.
    #[track_caller]
    pub fn call(&self, name: &str, times: u64) -> Facts {
        let output = self.run(name, times);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {name}: {said}", self.sdk);
        let facts: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
        Facts {
            answers: facts["answers"].as_array().expect("a list").clone(),
            refusal: facts["refusal"].clone(),
        }
    }

    /// Answer of a call that must succeed.
    #[track_caller]
    pub fn answer(&self, name: &str) -> Value {
        let mut facts = self.call(name, 1);
        assert_eq!(facts.refusal, Value::Null, "{:?} {name}", self.sdk);
        facts.answers.pop().expect("an answer")
    }
}

#[track_caller]
fn start(tokens: u64, rate_limit: u64) -> Gateway {
    let anonymous = json!({
        "tokens": tokens, "rate_limit": rate_limit, "rate_limit_window": WINDOW_SECONDS
    });
    let endpoint = json!({"kind": "demo", "default_model": "demo-1"});
    let config = json!({
        "user_groups": {"anonymous": anonymous},
        "providers": {"text": {"default": "demo", "endpoints": {"demo": endpoint}}},
    });
    Gateway::start(Setup::new().tenant(TENANT, config))
}

#[track_caller]
pub fn left(gateway: &Gateway, key: &str) -> u64 {
    let response = gateway
        .client()
        .request("GET", &format!("/{TENANT}/auth/me"))
        .bearer(key)
        .send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["tokensLeft"].as_u64().expect("a balance")
}

/// Waits for the balance: the client may have its answer shortly before the settlement.
#[track_caller]
pub fn assert_left(gateway: &Gateway, key: &str, expected: u64) {
    within(SOON, || (left(gateway, key) == expected).then_some(()));
    assert_eq!(left(gateway, key), expected, "tokens left");
}

#[track_caller]
fn total_tokens(answer: &Value) -> u64 {
    let total = answer["usage"]["total_tokens"].as_u64();
    total.unwrap_or_else(|| panic!("no usage in {answer}"))
}

/// Asserts that it was raised without a retry, with the exception of this status and a request ID.
#[track_caller]
pub fn assert_raised(facts: &Facts, raised: &str, status: u64) {
    let refusal = &facts.refusal;
    assert_eq!(refusal["raised"], raised, "{facts:?}");
    assert_eq!(refusal["status"], status, "{facts:?}");
    assert_eq!(refusal["attempts"], 1, "{facts:?}");
    let id = refusal["request_id"].as_str();
    assert!(id.is_some_and(|id| !id.is_empty()), "{facts:?}");
}

#[test]
fn sdk_chat_costs_its_usage() {
    let gateway = start(PLENTY, 100);
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        let answer = Caller::new(sdk, &gateway, &key).answer("chat");
        let text = answer["text"].as_str().expect("a text");
        assert!(text.contains("demo provider"), "{sdk:?}: {text}");
        assert!(text.contains("Hello from the"), "{sdk:?}: {text}");
        assert_eq!(answer["finish_reason"], "stop", "{sdk:?}");
        let id = answer["request_id"].as_str();
        assert!(id.is_some_and(|id| !id.is_empty()), "{sdk:?}");
        let usage = &answer["usage"];
        let parts = ["prompt_tokens", "completion_tokens"].map(|part| usage[part].as_u64());
        assert!(parts.iter().all(|part| part > &Some(0)), "{sdk:?}: {usage}");
        assert_left(&gateway, &key, PLENTY - total_tokens(&answer));
    }
}

#[test]
fn sdk_stream_costs_as_much_as_the_whole_answer() {
    let gateway = start(PLENTY, 100);
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        let caller = Caller::new(sdk, &gateway, &key);
        let whole = caller.answer("chat");
        let cost = total_tokens(&whole);

        // Users read `chunk.choices[0]`, so no chunk without choices may appear unrequested.
        let stream = caller.answer("stream");
        assert_eq!(stream["text"], whole["text"], "{sdk:?}");
        assert!(stream["pieces"].as_u64() > Some(5), "{sdk:?}: {stream}");
        assert_eq!(stream["finish_reason"], "stop", "{sdk:?}");
        assert_eq!(stream["chunks_without_choices"], 0, "{sdk:?}");
        assert_eq!(stream["chunks_with_usage"], 0, "{sdk:?}");
        assert_left(&gateway, &key, PLENTY - 2 * cost);

        let stream = caller.answer("stream-with-usage");
        assert_eq!(stream["text"], whole["text"], "{sdk:?}");
        assert_eq!(stream["chunks_without_choices"], 1, "{sdk:?}");
        assert_eq!(stream["chunks_with_usage"], 1, "{sdk:?}");
        assert_eq!(stream["usage"], whole["usage"], "{sdk:?}");
        assert_left(&gateway, &key, PLENTY - 3 * cost);
    }
}

#[test]
fn spent_key_gets_402_without_a_retry() {
    const GRANTED: u64 = 200;
    let gateway = start(GRANTED, 1000);
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        let caller = Caller::new(sdk, &gateway, &key);
        let facts = caller.call("chat", GRANTED);
        assert_eq!(facts.refusal["status"], 402, "{facts:?}");
        assert!(!facts.answers.is_empty(), "{facts:?}");
        let used: u64 = facts.answers.iter().map(total_tokens).sum();
        assert!(used <= GRANTED, "{facts:?}");
        assert_left(&gateway, &key, GRANTED - used);

        for call in ["chat", "stream"] {
            let facts = caller.call(call, 1);
            assert_raised(&facts, sdk.nameless_error(), 402);
            assert_eq!(facts.refusal["code"], "insufficient_tokens", "{facts:?}");
            assert_eq!(facts.refusal["type"], "insufficient_quota", "{facts:?}");
        }
        assert_left(&gateway, &key, GRANTED - used);
    }
}

#[test]
fn rate_limit_has_a_retry_after() {
    let gateway = start(PLENTY, 2);
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        let caller = Caller {
            max_retries: Some(0),
            ..Caller::new(sdk, &gateway, &key)
        };
        let facts = caller.call("chat", 3);
        assert_eq!(facts.answers.len(), 2, "{facts:?}");
        assert_raised(&facts, "RateLimitError", 429);
        assert_eq!(facts.refusal["code"], "rate_limit_exceeded", "{facts:?}");
        let wait = facts.refusal["retry_after"].as_str();
        let seconds: u64 = wait.and_then(|text| text.parse().ok()).expect("seconds");
        // Window slices add up to a tenth of the window.
        let longest = WINDOW_SECONDS + WINDOW_SECONDS / 10;
        assert!((1..=longest).contains(&seconds), "{facts:?}");
        let used: u64 = facts.answers.iter().map(total_tokens).sum();
        assert_left(&gateway, &key, PLENTY - used);
    }
}

#[test]
fn caller_mistakes_raise_typed_exceptions() {
    let gateway = start(PLENTY, 100);
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        let caller = Caller::new(sdk, &gateway, &key);

        let stranger = Caller::new(sdk, &gateway, "temp_00000000-0000-4000-8000-000000000000");
        for call in ["chat", "stream"] {
            let facts = stranger.call(call, 1);
            assert_raised(&facts, "AuthenticationError", 401);
            assert_eq!(facts.refusal["code"], "invalid_api_key", "{facts:?}");
        }

        let elsewhere = Caller {
            tenant: "nobody",
            ..Caller::new(sdk, &gateway, &key)
        };
        let facts = elsewhere.call("chat", 1);
        assert_raised(&facts, "BadRequestError", 400);
        assert_eq!(facts.refusal["body"], "Invalid tenant ID", "{facts:?}");

        let facts = caller.call("list-files", 1);
        assert_raised(&facts, "NotFoundError", 404);
        assert!(facts.refusal["code"].is_string(), "{facts:?}");

        assert_left(&gateway, &key, PLENTY);
    }
}
