//! Frameworks through the built gateway: LangChain, LlamaIndex, Vercel's AI SDK and the command `llm`, each
//! with plain, streamed and tool calls over every API that it supports.
//!
//! The scripts in `tests/sdk` call and print facts; only this file asserts.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use super::official::{TENANT, assert_left};
use super::turns::{GRANTED, ORDER, TEXT, cost, price, results, start};
use crate::harness::project::{in_project, not_installed};
use crate::harness::{Gateway, TempDir, mint, run};

/// Python frameworks take seconds to load, longer beside other tests.
const LIMIT: Duration = Duration::from_secs(60);
const TOOL_SAYS: &str = "Sunny in Paris";
const QUESTION: &str = "Say hello";
const PYTHON: &str = ".tools/frameworks/bin/python";
const LLM: &str = ".tools/frameworks/bin/llm";

fn order() -> String {
    format!("{ORDER}weather")
}

fn installed(program: &str) -> Command {
    let program = in_project(program);
    if !program.exists() {
        not_installed(&program);
    }
    Command::new(program)
}

/// Clears the environment except `PATH` and a temporary home.
fn alone(command: &mut Command, home: &TempDir) {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path());
}

/// Runs a script that makes every call of every client once, and asserts the results.
#[track_caller]
fn assert_calls(mut command: Command, script: &str, clients: usize) {
    let (provider, gateway) = start();
    let key = mint(&gateway, TENANT);
    let home = TempDir::new();
    command.arg(in_project("tests/sdk").join(script));
    alone(&mut command, &home);
    command
        .env("BASE_URL", format!("http://{}/{TENANT}", gateway.addr()))
        .env("API_KEY", &key)
        .env("PLAIN", QUESTION)
        .env("TOOL", order());
    let output = run(&mut command, LIMIT);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    let facts: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list of facts");
    assert_eq!(facts.len(), 3 * clients, "{facts:?}");
    for fact in &facts {
        assert_eq!(fact["text"], TEXT, "{fact}");
        let expected = match fact["call"].as_str() {
            Some("tool") => {
                assert_eq!(fact["results"][0], TOOL_SAYS, "{fact}");
                price(0) + price(1)
            }
            Some("stream") => {
                assert!(fact["pieces"].as_u64() > Some(1), "{fact}");
                price(0)
            }
            _ => price(0),
        };
        // Some clients do not request usage in streams; the gateway charges them all the same.
        let says_none = fact["used"].is_null() && fact["call"] == "stream";
        assert!(says_none || fact["used"] == expected, "{fact}");
    }
    let asked = provider.requests();
    assert_eq!(asked.len(), 4 * clients, "{facts:?}");
    assert_left(&gateway, &key, GRANTED - cost(&asked));
}

#[test]
fn lang_chain_pays_the_usage_of_every_turn() {
    assert_calls(installed(PYTHON), "langchain_calls.py", 3);
}

#[test]
fn llama_index_pays_the_usage_of_every_turn() {
    assert_calls(installed(PYTHON), "llama_index_calls.py", 3);
}

#[test]
fn ai_sdk_pays_the_usage_of_every_turn() {
    let package = in_project(".tools/node/node_modules/ai");
    if !package.exists() {
        not_installed(&package);
    }
    assert_calls(Command::new("node"), "ai_sdk_calls.mjs", 5);
}

/// Runs the command `llm`, with the gateway configured in its home.
#[track_caller]
fn llm(gateway: &Gateway, key: &str, model: &str, more: &[&str]) -> Output {
    let url = format!("http://{}/{TENANT}/v1", gateway.addr());
    let home = TempDir::new();
    let mut models = String::new();
    for (id, is_responses) in [("chat", false), ("responses", true)] {
        models += &format!(
            "- model_id: {id}\n  model_name: our-model\n  api_base: {url}\n  \
             api_key_name: gateway\n  supports_tools: true\n  responses: {is_responses}\n"
        );
    }
    home.write("extra-openai-models.yaml", &models);
    let mut command = installed(LLM);
    alone(&mut command, &home);
    command
        .env("LLM_USER_PATH", home.path())
        .args(["-m", model, "--key", key])
        .args(more);
    run(&mut command, LIMIT)
}

#[test]
fn llm_command_pays_the_usage_of_every_turn() {
    const TOOL: &str = "def weather(city: str) -> str:\n    return 'Sunny in ' + city\n";
    let order = order();
    let (provider, gateway) = start();

    for model in ["chat", "responses"] {
        for (arguments, turns) in [
            (&["--no-stream", QUESTION][..], 1),
            (&[QUESTION], 1),
            (&["--functions", TOOL, &order], 2),
        ] {
            let key = mint(&gateway, TENANT);
            let before = provider.requests().len();
            let output = llm(&gateway, &key, model, arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{model} {arguments:?}: {said}");
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(text.trim(), TEXT, "{model} {arguments:?}");
            let asked = &provider.requests()[before..];
            assert_eq!(asked.len(), turns, "{model} {arguments:?}");
            if let [_, second] = asked {
                let results = results(&second.json());
                assert!(results[0].to_string().contains(TOOL_SAYS), "{results:?}");
            }
            assert_left(&gateway, &key, GRANTED - cost(asked));
        }
    }
}
