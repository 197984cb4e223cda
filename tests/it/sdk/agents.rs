//! Claude Code and Codex, as installed, through the built gateway: they answer, and a turn costs the usage of
//! all of the agent's requests.
//!
//! Each run has its own home directory, no terminal and no telemetry. `tools` covers their tools.

mod tools;

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use super::official::{TENANT, assert_left};
use super::turns::{GRANTED, ORDER, SAID, TEXT, cost, results, start, start_with};
use crate::harness::project::{in_project, not_installed};
use crate::harness::provider::Received;
use crate::harness::{Gateway, Provider, TempDir, mint, run};

const LIMIT: Duration = Duration::from_secs(60);
pub const TOKEN: &str = "ANTHROPIC_AUTH_TOKEN";

/// Installation of an agent: the URL and key it calls with, and its home directory.
pub struct Agent<'a> {
    /// Base URL without `v1`.
    pub url: String,
    pub key: &'a str,
    pub home: TempDir,
}

impl<'a> Agent<'a> {
    pub fn at(gateway: &Gateway, key: &'a str) -> Agent<'a> {
        Agent {
            url: format!("http://{}/{TENANT}", gateway.addr()),
            key,
            home: TempDir::new(),
        }
    }

    /// Calls the provider directly, to record what the agent sends by itself.
    pub fn directly_at(provider: &Provider) -> Agent<'static> {
        Agent {
            url: provider.url(""),
            key: "a-key",
            home: TempDir::new(),
        }
    }

    /// The same installation with the gateway as its provider.
    pub fn moved_to<'k>(self, gateway: &Gateway, key: &'k str) -> Agent<'k> {
        Agent {
            home: self.home,
            ..Agent::at(gateway, key)
        }
    }

    fn command(&self, program: &str) -> Command {
        let program = in_project(".tools/agents/node_modules").join(program);
        if !program.exists() {
            not_installed(&program);
        }
        let mut command = Command::new("node");
        command
            .arg(program)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .current_dir(self.home.path());
        command
    }

    /// Runs `claude -p` with its key in the variable `key_in`.
    #[track_caller]
    pub fn claude_code(&self, question: &str, key_in: &str, more: &[(&str, &str)]) -> Output {
        let mut command = self.command("@anthropic-ai/claude-code/cli-wrapper.cjs");
        command
            .args(["-p", question, "--output-format", "json"])
            .args(["--allowedTools", "Bash,WebSearch"])
            .env("CLAUDE_CONFIG_DIR", self.home.file("claude"))
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("ANTHROPIC_BASE_URL", &self.url)
            .env(key_in, self.key)
            .envs(more.iter().copied());
        run(&mut command, LIMIT)
    }

    /// Runs `codex exec`; `None`: its default model. Its plugins are disabled because they are downloaded.
    #[track_caller]
    pub fn codex(&self, question: &str, model: Option<&str>) -> Output {
        let model = model.map_or(String::new(), |model| format!("model = \"{model}\"\n"));
        let url = &self.url;
        let settings = format!(
            r#"{model}model_provider = "gateway"
check_for_update_on_startup = false

[analytics]
enabled = false

[features]
plugins = false

[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"#
        );
        self.home.write("config.toml", &settings);
        let mut command = self.command("@openai/codex/bin/codex.js");
        command
            .args(["exec", "--skip-git-repo-check", "--json", question])
            .env("CODEX_HOME", self.home.path())
            .env("GATEWAY_KEY", self.key);
        run(&mut command, LIMIT)
    }
}

/// Result object that Claude Code prints last.
#[track_caller]
pub fn claude_code_facts(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str(&said) {
        Ok(facts) => facts,
        Err(error) => panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[track_caller]
pub fn assert_claude_code_answers(output: &Output, spent: u64) {
    let facts = claude_code_facts(output);
    assert!(output.status.success(), "{facts}");
    assert_eq!(facts["result"], TEXT, "{facts}");
    let names = [
        "inputTokens",
        "outputTokens",
        "cacheReadInputTokens",
        "cacheCreationInputTokens",
    ];
    let models = facts["modelUsage"].as_object().expect("usage by model");
    let parts = models
        .values()
        .flat_map(|usage| names.map(|name| usage[name].as_u64().expect("a number")));
    assert_eq!(parts.sum::<u64>(), spent, "{facts}");
}

/// Events of Codex, one JSON object a line.
#[track_caller]
pub fn codex_events(output: &Output) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stdout);
    let events = said.lines().map(serde_json::from_str);
    match events.collect() {
        Ok(events) => events,
        Err(error) => panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[track_caller]
pub fn assert_codex_answers(output: &Output, spent: u64) {
    let events = codex_events(output);
    assert!(output.status.success(), "{events:?}");
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).cloned();
    let words = events
        .iter()
        .find(|event| event["item"]["type"] == "agent_message");
    assert_eq!(
        words.expect("an answer")["item"]["text"],
        TEXT,
        "{events:?}"
    );
    let usage = &of("turn.completed").expect("an end")["usage"];
    let parts = ["input_tokens", "output_tokens"].map(|name| usage[name].as_u64().expect("usage"));
    assert_eq!(parts.iter().sum::<u64>(), spent, "{usage}");
}

pub fn paths(requests: &[Received]) -> Vec<&str> {
    requests.iter().map(|request| &*request.path).collect()
}

#[test]
fn claude_code_answers_with_its_key_in_either_header() {
    let (provider, gateway) = start();
    for (turn, key_in) in [TOKEN, "ANTHROPIC_API_KEY"].into_iter().enumerate() {
        let key = mint(&gateway, TENANT);
        let output = Agent::at(&gateway, &key).claude_code("Say hello", key_in, &[]);
        let asked = &provider.requests()[turn..];
        assert_eq!(paths(asked), ["/v1/messages?beta=true"], "{key_in}");
        assert_claude_code_answers(&output, cost(asked));
        assert_left(&gateway, &key, GRANTED - cost(asked));
    }
}

#[test]
fn claude_code_continues_after_a_tool_and_pays_both_turns() {
    let (provider, gateway) = start();
    let key = mint(&gateway, TENANT);
    let question = format!("{ORDER}Bash");
    let output = Agent::at(&gateway, &key).claude_code(&question, TOKEN, &[]);

    let asked = provider.requests();
    assert_eq!(asked.len(), 2, "{:?}", paths(&asked));

    let [result] = &results(&asked[1].json())[..] else {
        panic!("one result: {}", asked[1].text())
    };
    assert_eq!(result["content"], SAID);
    assert_claude_code_answers(&output, cost(&asked));
    assert_left(&gateway, &key, GRANTED - cost(&asked));
}

#[test]
fn codex_answers_with_its_default_model_and_pays_its_usage() {
    let (provider, gateway) = start();
    let key = mint(&gateway, TENANT);
    let output = Agent::at(&gateway, &key).codex("Say hello", None);

    let asked = provider.requests();

    assert_eq!(paths(&asked), ["/v1/responses"]);
    assert_codex_answers(&output, cost(&asked));
    assert_left(&gateway, &key, GRANTED - cost(&asked));
}

/// Claude Code gives up at once; Codex retries five times after any response.
#[test]
fn agent_without_enough_balance_reports_it_and_pays_nothing() {
    const FEW: u64 = 1000;
    const WHY: &str = "token balance of this key";
    let (provider, gateway) = start_with(FEW);
    let key = mint(&gateway, TENANT);
    let output = Agent::at(&gateway, &key).claude_code("Say hello", TOKEN, &[]);
    let facts = claude_code_facts(&output);
    assert!(!output.status.success(), "{facts}");
    assert_eq!(facts["api_error_status"], 402, "{facts}");
    assert!(facts["result"].to_string().contains(WHY), "{facts}");

    let output = Agent::at(&gateway, &key).codex("Say hello", None);
    let events = codex_events(&output);
    assert!(!output.status.success(), "{events:?}");
    let last = events.last().expect("an end");
    assert_eq!(last["type"], "turn.failed", "{events:?}");
    assert!(last.to_string().contains(WHY), "{last}");

    assert!(provider.requests().is_empty());
    assert_left(&gateway, &key, FEW);
}
