//! Hosted tools and members with a surcharge: removed and named, refused, or priced, as the endpoint is
//! configured.

use crate::harness::{Gateway, Provider, Script, Setup, mint, sample, spent};
use serde_json::{Value, json};

const GRANT: u64 = 100_000;
const REMOVED: &str = "x-resullm-removed";

/// A gateway with one endpoint for each wire format; `members` are set on both.
fn start(provider: &Provider, members: &Value) -> (Gateway, String) {
    let mut config = sample(provider).tokens(GRANT).endpoint(
        "anthropic",
        &provider.url("/v1/messages"),
        "claude-sonnet-5",
    );
    // `server: openai` and `anthropic` respect the call limit that a request sets.
    for name in ["openai", "anthropic"] {
        config = config.server(name, name);
        for (member, value) in members.as_object().expect("members") {
            let path = format!("providers.text.endpoints.{name}.{member}");
            config = config.set(&path, value.clone());
        }
    }
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    (gateway, key)
}

struct Answer {
    status: u16,
    text: String,
    removed: Option<String>,
}

fn ask(gateway: &Gateway, key: &str, path: &str, betas: &[&str], call: &Value) -> Answer {
    let client = gateway.client();
    let mut request = client
        .request("POST", &format!("/abc/v1/{path}"))
        .bearer(key)
        .json(call);
    for betas in betas {
        request = request.header("anthropic-beta", betas);
    }
    let answer = request.send();
    Answer {
        status: answer.status,
        removed: answer.header(REMOVED).map(str::to_owned),
        text: answer.text(),
    }
}

fn responses() -> Value {
    json!({"model": "m", "max_output_tokens": 50, "input": "Hi", "tools": [
        {"type": "web_search"},
        {"type": "function", "name": "f", "parameters": {}},
    ], "include": ["web_search_call.results"]})
}

fn searched(calls: usize, input: u64) -> Value {
    let mut output: Vec<Value> = (0..calls)
        .map(|at| json!({"type": "web_search_call", "id": format!("ws_{at}"), "status": "completed"}))
        .collect();
    output.push(json!({"type": "message", "role": "assistant", "content": [
        {"type": "output_text", "text": "Hello"}]}));
    json!({"id": "resp_1", "object": "response", "status": "completed", "output": output,
        "usage": {"input_tokens": input, "output_tokens": 7, "total_tokens": input + 7}})
}

#[test]
fn removed_tools_are_named_and_the_rest_is_answered() {
    let provider = Provider::start(|received| match received.path.as_str() {
        "/v1/messages" => Script::message("Hello", 9, 7),
        _ => Script::json(200, &searched(0, 9)),
    });
    let (gateway, key) = start(&provider, &json!({}));

    let answer = ask(&gateway, &key, "responses", &[], &responses());
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.removed.as_deref(), Some("web_search"));

    let call = json!({"max_tokens": 50, "model": "claude-x", "speed": "fast",
        "messages": [{"role": "user", "content": "Hi"}],
        "context_management": {"edits": [{"type": "compact_20260112"}]},
        "mcp_servers": [{"type": "url", "url": "https://example.org", "name": "x"}],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        "tool_choice": {"type": "auto"}});
    let betas = ["a-1, compact-2026-01-12", "context-1m-2025-08-07"];
    let answer = ask(&gateway, &key, "messages", &betas, &call);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.removed.as_deref(),
        Some("web_search, mcp_servers, speed, compact, compact-2026-01-12, context-1m-2025-08-07")
    );

    let [first, second] = &provider.requests()[..] else {
        panic!("two requests")
    };
    let first = first.json();
    assert_eq!(first["tools"], json!([responses()["tools"][1]]));
    assert_eq!(first["include"], Value::Null);
    assert_eq!(second.header("anthropic-beta"), Some("a-1"));

    let mut members: Vec<String> = second
        .json()
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    members.sort();
    assert_eq!(members, ["max_tokens", "messages", "model"]);
    assert_eq!(spent(&gateway, &key, GRANT), 2 * 16);
}

#[test]
fn forced_hosted_tool_is_refused_by_name() {
    let provider = Provider::start(|_| Script::json(200, &searched(0, 9)));
    let (gateway, key) = start(&provider, &json!({}));
    let mut call = responses();
    call["tool_choice"] = json!({"type": "web_search"});
    let answer = ask(&gateway, &key, "responses", &[], &call);
    assert_eq!(answer.status, 400);
    assert!(
        answer.text.contains("tool_choice asks for web_search"),
        "{}",
        answer.text
    );
    assert_eq!(
        ask(&gateway, "sk-no-such-key", "responses", &[], &call).status,
        401
    );

    let (strict, key) = start(&provider, &json!({"hosted_tools": "refuse"}));
    let answer = ask(&strict, &key, "responses", &[], &responses());
    assert_eq!(answer.status, 400);
    assert!(
        answer.text.contains("web_search is not served here"),
        "{}",
        answer.text
    );
    assert!(provider.requests().is_empty());
}

/// A hosted call costs its price, or the tokens read for it if those are more. The number of calls never
/// exceeds the hold.
#[test]
fn priced_hosted_tool_is_bounded_held_and_charged() {
    let provider = Provider::start(|received| {
        let call = received.json();
        let calls = call["max_tool_calls"].as_u64().expect("a bound");
        let read = if call["input"] == "Hi" { 9 } else { 9 + 4_500 };
        Script::json(200, &searched(calls.try_into().expect("few"), read))
    });
    let (gateway, key) = start(&provider, &json!({"hosted_tools": {"web_search": 1000}}));
    let mut call = responses();
    call["max_tool_calls"] = json!(3);

    let answer = ask(&gateway, &key, "responses", &[], &call);
    assert_eq!((answer.status, answer.removed), (200, None));
    assert_eq!(spent(&gateway, &key, GRANT), 16 + 3_000);

    // The gateway sets a call limit where the caller sets none.
    let answer = ask(&gateway, &key, "responses", &[], &responses());
    assert_eq!(answer.status, 200);
    assert_eq!(spent(&gateway, &key, GRANT), 2 * 16 + 3_000 + 5_000);

    let asked = provider.requests();
    assert_eq!(asked[1].json()["max_tool_calls"], 5);
    assert_eq!(
        asked[1].json()["include"],
        json!(["web_search_call.results"])
    );

    // Input tokens beyond the prompt were read by hosted calls and count towards their price.
    let mut call = responses();
    call["input"] = json!("Ho");
    ask(&gateway, &key, "responses", &[], &call);
    let all = spent(&gateway, &key, GRANT) - (2 * 16 + 8_000);
    assert!((5_007..5_007 + 500).contains(&all), "{all}");
}

#[test]
fn key_without_balance_for_searches_makes_none() {
    let provider = Provider::start(|_| Script::message("Hello", 9, 7));
    let (gateway, key) = start(
        &provider,
        &json!({"hosted_tools": {"web_search": GRANT / 2}}),
    );
    let call = |uses: Option<u64>| {
        json!({"max_tokens": 50, "model": "claude-x",
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": uses}]})
    };

    assert_eq!(
        ask(&gateway, &key, "messages", &[], &call(None)).status,
        402
    );
    assert_eq!(
        ask(&gateway, &key, "messages", &[], &call(Some(2))).status,
        402
    );
    assert!(provider.requests().is_empty());
    assert_eq!(
        ask(&gateway, &key, "messages", &[], &call(Some(1))).status,
        200
    );

    let [only] = &provider.requests()[..] else {
        panic!("one request")
    };
    assert_eq!(only.json()["tools"][0]["max_uses"], 1);
    // No hosted call was made.
    assert_eq!(spent(&gateway, &key, GRANT), 16);
}

#[test]
fn allowed_betas_pass_and_config_faults_are_named() {
    let provider = Provider::start(|_| Script::message("Hello", 9, 7));
    let members = json!({"members": ["speed", "fast-mode-2026-02-01"]});
    let (gateway, key) = start(&provider, &members);
    let call = json!({"max_tokens": 50, "model": "claude-x", "speed": "fast",
        "messages": [{"role": "user", "content": "Hi"}]});
    let betas = ["fast-mode-2026-02-01"];
    let answer = ask(&gateway, &key, "messages", &betas, &call);
    assert_eq!((answer.status, answer.removed), (200, None));
    let [only] = &provider.requests()[..] else {
        panic!("one request")
    };
    assert_eq!(only.json()["speed"], "fast");
    assert_eq!(only.header("anthropic-beta"), Some("fast-mode-2026-02-01"));

    for (bad, place) in [
        (json!("keep"), "hosted_tools"),
        (json!({"web_search": 0}), "hosted_tools.web_search"),
        (json!({"web_serch": 5}), "hosted_tools.web_serch"),
        (json!({"mcp": 5}), "hosted_tools.mcp"),
    ] {
        let config: Value = sample(&provider)
            .set("providers.text.endpoints.openai.hosted_tools", bad)
            .into();
        let answer = gateway
            .client()
            .request("PUT", "/abc/admin/config")
            .bearer(gateway.admin_token())
            .json(&json!({"config": config}))
            .send();
        assert_eq!(answer.status, 400, "{place}");
        assert!(answer.text().contains(place), "{}", answer.text());
    }
}
