//! What agents offer their models: their own tools arrive as they were said, those that a provider
//! would run itself do not arrive at all, and the turn goes on without them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::agents::{Agent, TOKEN, assert_claude_code_answers, assert_codex_answers, paths};
use crate::harness::mint;
use crate::harness::provider::Received;
use crate::sdks::{TENANT, assert_left};
use crate::turns::{GRANTED, ORDER, TEXT, cost, results, start};

/// One that Codex knows and calls with tools of its own, and one that it does not know.
const MODELS: [&str; 2] = ["gpt-5.5", "our-model"];
/// Names what was taken out of a request.
const REMOVED: &str = "x-resullm-removed";

/// The only request of a run.
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

/// What `codex exec` sends where no gateway is between.
#[track_caller]
fn codex_of_its_own(model: &str) -> Received {
    let (provider, _gateway) = start();
    let output = Agent::directly_at(&provider).codex("Say hello", Some(model));
    assert_codex_answers(&output, cost(&provider.requests()));
    only(provider.requests())
}

/// What it says differs from one installation to the next, so that the same one says it twice.
#[test]
fn what_claude_code_says_arrives_as_it_was_said() {
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
    // In the metadata is the session.
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

/// For a search Claude Code makes a request of its own, whose one tool is the provider's. Whether
/// that is refused or answered without a search, the turn that wanted it goes on.
#[test]
fn claude_code_wants_a_search_and_no_provider_makes_one() {
    let (provider, gateway) = start();
    let key = mint(&gateway, TENANT);
    let question = format!("{ORDER}WebSearch");
    // Else it would have to look for its tool first.
    let all_tools = [("ENABLE_TOOL_SEARCH", "false")];
    let output = Agent::at(&gateway, &key).claude_code(&question, TOKEN, &all_tools);
    let asked = provider.requests();
    for request in &asked {
        let call = request.json();
        assert!(!tools(&call).iter().any(|tool| is_hosted(&tool)), "{call}");
        // A choice among no tools is refused by the real provider.
        assert!(!tools(&call).is_empty() || call["tool_choice"].is_null());
    }
    let last = asked.last().expect("a request").json();
    assert_eq!(results(&last).len(), 1, "{last}");
    assert_claude_code_answers(&output, cost(&asked));
    assert_left(&gateway, &key, GRANTED - cost(&asked));
}

#[test]
fn codex_answers_without_the_search_that_it_asks_for_by_default() {
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
        // The gateway says itself how much an answer may have.
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

/// Codex shows no headers: what it sends is sent once more.
#[test]
fn what_is_taken_from_codex_is_named_in_the_answer() {
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
fn codex_goes_on_with_what_its_tool_said_and_pays_both_turns() {
    let (provider, gateway) = start();
    let key = mint(&gateway, TENANT);
    let question = format!("{ORDER}exec_command");
    let output = Agent::at(&gateway, &key).codex(&question, Some(MODELS[0]));
    let asked = provider.requests();
    assert_eq!(paths(&asked), ["/v1/responses"; 2]);
    // What it says depends on whether this machine has a sandbox for it.
    assert_eq!(results(&asked[1].json()).len(), 1, "{}", asked[1].text());
    assert_codex_answers(&output, cost(&asked));
    assert_left(&gateway, &key, GRANTED - cost(&asked));
}
