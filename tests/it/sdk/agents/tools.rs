//! Tools of agents: their own tools reach the provider unchanged, hosted tools are removed, and the turn
//! continues.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Agent, TOKEN, assert_claude_code_answers, assert_codex_answers, paths};
use crate::harness::mint;
use crate::harness::provider::Received;
use crate::sdk::official::{TENANT, assert_left};
use crate::sdk::turns::{GRANTED, ORDER, TEXT, cost, results, start};

/// A model that Codex knows and gives its own tools, and an unknown one.
const MODELS: [&str; 2] = ["gpt-5.5", "our-model"];
/// Header with the removed members of a request.
const REMOVED: &str = "x-resullm-removed";

/// Single request of a run.
#[track_caller]
fn only(mut requests: Vec<Received>) -> Received {
    assert_eq!(requests.len(), 1, "{:?}", paths(&requests));
    requests.remove(0)
}

fn members(call: &Value) -> BTreeSet<&String> {
    call.as_object().expect("an object").keys().collect()
}

fn is_hosted(tool: &&Value) -> bool {
    let kind = tool["type"].as_str();
    kind.is_some_and(|kind| kind.starts_with("web_search"))
}

fn tools(call: &Value) -> &[Value] {
    call["tools"].as_array().map_or(&[], Vec::as_slice)
}

/// Request of `codex exec` without a gateway.
#[track_caller]
fn codex_of_its_own(model: &str) -> Received {
    let (provider, _gateway) = start();
    let output = Agent::directly_at(&provider).codex("Say hello", Some(model));
    assert_codex_answers(&output, cost(&provider.requests()));
    only(provider.requests())
}

/// Its requests depend on the installation, so one installation sends both.
#[test]
fn claude_code_requests_reach_the_provider_unchanged() {
    let (provider, gateway) = start();
    let key = mint(&gateway, TENANT);
    let say = |agent: &Agent<'_>| agent.claude_code("Say hello", TOKEN, &[]);
    let agent = Agent::directly_at(&provider);
    say(&agent);
    say(&agent.moved_to(&gateway, &key));
    let [direct, passed] = &provider.requests()[..] else {
        panic!("two requests: {:?}", paths(&provider.requests()))
    };

    let betas = direct.header("anthropic-beta");
    assert!(betas.is_some());
    assert_eq!(passed.header("anthropic-beta"), betas);
    let [direct, passed] = [direct, passed].map(Received::json);
    assert_eq!(members(&passed), members(&direct));
    // `metadata` contains the session.
    for name in members(&direct)
        .into_iter()
        .filter(|name| *name != "metadata")
    {
        assert!(
            passed[name] == direct[name],
            "{name}: {} became {}",
            direct[name],
            passed[name]
        );
    }
}

/// Claude Code searches through a separate request with the hosted tool alone. Whether that is refused or
/// answered without a search, the turn continues.
#[test]
fn claude_code_web_search_is_not_run_by_the_provider() {
    let (provider, gateway) = start();
    let key = mint(&gateway, TENANT);
    let question = format!("{ORDER}WebSearch");
    // Otherwise it would first search for its tool.
    let all_tools = [("ENABLE_TOOL_SEARCH", "false")];
    let output = Agent::at(&gateway, &key).claude_code(&question, TOKEN, &all_tools);
    let asked = provider.requests();

    for request in &asked {
        let call = request.json();
        assert!(!tools(&call).iter().any(|tool| is_hosted(&tool)), "{call}");
        // Providers refuse a `tool_choice` without tools.
        assert!(!tools(&call).is_empty() || call["tool_choice"].is_null());
    }

    let last = asked.last().expect("a request").json();
    assert_eq!(results(&last).len(), 1, "{last}");
    assert_claude_code_answers(&output, cost(&asked));
    assert_left(&gateway, &key, GRANTED - cost(&asked));
}

#[test]
fn codex_answers_without_its_default_web_search() {
    for model in MODELS {
        let own = codex_of_its_own(model).json();
        assert!(tools(&own).iter().any(|tool| is_hosted(&tool)), "{model}");

        let (provider, gateway) = start();
        let key = mint(&gateway, TENANT);
        let output = Agent::at(&gateway, &key).codex("Say hello", Some(model));
        let asked = provider.requests();
        assert_codex_answers(&output, cost(&asked));
        assert_left(&gateway, &key, GRANTED - cost(&asked));

        let passed = only(asked).json();
        let kept: Vec<&Value> = tools(&own).iter().filter(|tool| !is_hosted(tool)).collect();
        assert_eq!(tools(&passed).iter().collect::<Vec<_>>(), kept, "{model}");
        // The gateway sets the output limit.
        let said = members(&passed)
            .into_iter()
            .filter(|name| *name != "max_output_tokens");
        assert_eq!(said.collect::<BTreeSet<_>>(), members(&own), "{model}");
        let same = [
            "model",
            "stream",
            "tool_choice",
            "parallel_tool_calls",
            "reasoning",
            "store",
            "include",
            "text",
        ];
        for name in same {
            assert_eq!(passed[name], own[name], "{model} {name}");
        }
    }
}

/// Codex shows no headers, so its request is sent again by the test.
#[test]
fn tools_removed_from_codex_are_named_in_the_response() {
    for model in MODELS {
        let own = codex_of_its_own(model);
        let (_provider, gateway) = start();
        let key = mint(&gateway, TENANT);
        let answer = gateway
            .client()
            .request("POST", &format!("/{TENANT}/v1/responses"))
            .bearer(&key)
            .header("content-type", "application/json")
            .body(own.body)
            .send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let removed = answer.header(REMOVED).unwrap_or_default();
        assert!(removed.contains("web_search"), "{model}: {removed:?}");
        assert!(answer.text().contains(TEXT), "{}", answer.text());
    }
}

#[test]
fn codex_continues_after_a_tool_and_pays_both_turns() {
    let (provider, gateway) = start();
    let key = mint(&gateway, TENANT);
    let question = format!("{ORDER}exec_command");
    let output = Agent::at(&gateway, &key).codex(&question, Some(MODELS[0]));

    let asked = provider.requests();

    assert_eq!(paths(&asked), ["/v1/responses"; 2]);
    // Its output depends on whether this machine has a sandbox.
    assert_eq!(results(&asked[1].json()).len(), 1, "{}", asked[1].text());
    assert_codex_answers(&output, cost(&asked));
    assert_left(&gateway, &key, GRANTED - cost(&asked));
}
