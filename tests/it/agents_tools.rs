//! What agents offer their models: their own tools arrive as they were said, and a turn goes on without
//! those that a provider would run itself.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::agents::{Agent, TOKEN, assert_claude_code_answers, paths};
use crate::harness::mint;
use crate::harness::provider::Received;
use crate::sdks::{TENANT, assert_left};
use crate::turns::{GRANTED, ORDER, cost, results, start};

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
