//! Tests of [`decide`]: hosted tools, betas and members that change the price.

use super::*;
use crate::dialect::call::Extras;
use crate::rules::config;
use serde_json::{Value, json};

fn endpoint(members: Value) -> Endpoint {
    let mut endpoint = json!({"url": "https://a.example/v1/chat/completions"});
    for (name, value) in members.as_object().expect("members") {
        endpoint[name] = value.clone();
    }
    let config = json!({"providers": {"text": {"default": "e", "endpoints": {"e": endpoint}}}});
    let config = config::read(&config).expect("a config");
    config
        .providers
        .text
        .expect("endpoints")
        .endpoints
        .remove(0)
}

fn call(extras: Extras) -> Call {
    Call {
        extras,
        ..Call::default()
    }
}

fn hosted(names: &[(&str, Option<u64>)]) -> Extras {
    let hosted = names
        .iter()
        .map(|(name, calls)| ((*name).to_owned(), *calls));
    Extras {
        hosted: hosted.collect(),
        ..Extras::default()
    }
}

fn decided(extras: Extras, endpoint: &Endpoint) -> Result<Decision, Unreadable> {
    decide(&call(extras), endpoint, std::iter::empty())
}

#[test]
fn hosted_tools_are_taken_out_refused_or_held() {
    let both = || {
        hosted(&[
            ("web_search", Some(9)),
            ("mcp", None),
            ("web_search", Some(2)),
        ])
    };
    let decision = decided(both(), &endpoint(json!({}))).unwrap();
    assert_eq!(decision.removed, ["web_search", "mcp"]);
    assert_eq!((decision.calls, decision.hosted.held), (None, Tokens::ZERO));
    let refused = decided(both(), &endpoint(json!({"hosted_tools": "refuse"})));
    assert!(
        refused
            .unwrap_err()
            .0
            .starts_with("web_search is not served")
    );
    let priced = endpoint(json!({"server": "openai", "hosted_tools": {"web_search": 100}}));
    let decision = decided(both(), &priced).unwrap();
    assert_eq!(decision.removed, ["mcp"]);
    assert_eq!(
        decision.hosted.held,
        Tokens::new((MAX_HOSTED_CALLS + 2) * 100)
    );
    let shared = Extras {
        shared: Some(3),
        ..both()
    };
    let decision = decided(shared, &priced).unwrap();
    assert_eq!(
        (decision.calls, decision.hosted.held),
        (Some(3), Tokens::new(300))
    );
}

#[test]
fn forced_tool_that_is_removed_is_refused() {
    let forced = || Extras {
        forced: vec!["web_search".to_owned()],
        ..hosted(&[("web_search", None)])
    };
    assert!(decided(forced(), &endpoint(json!({}))).is_err());
    let priced = endpoint(json!({"server": "openai", "hosted_tools": {"web_search": 100}}));
    assert!(decided(forced(), &priced).is_ok());
}

#[test]
fn extras_allowed_by_the_operator_pass() {
    let dear = || Extras {
        surcharged: vec!["speed".to_owned()],
        ..Extras::default()
    };
    let decide = |endpoint| {
        let betas = surcharged_betas(
            Api::Anthropic,
            b"a, Context-1M-2025-08-07,,fast-mode-2026-02-01",
        );
        decide(&call(dear()), &endpoint, betas).unwrap().removed
    };
    let removed = decide(endpoint(json!({})));
    assert_eq!(
        removed,
        ["speed", "Context-1M-2025-08-07", "fast-mode-2026-02-01"]
    );
    let kept = kept_betas(
        b"a, Context-1M-2025-08-07,,fast-mode-2026-02-01 ,b",
        &removed,
    );
    assert_eq!(kept, b"a,b");
    let known = endpoint(json!({"members": ["speed", "fast-mode-2026-02-01"]}));
    assert_eq!(decide(known), ["Context-1M-2025-08-07"]);
    assert_eq!(surcharged_betas(Api::OpenAi, b"context-1m").count(), 0);
}

#[test]
fn a_request_for_more_than_can_be_named_is_refused() {
    let names: Vec<String> = (0..=MAX_REMOVED_NAMES)
        .map(|at| format!("openrouter:{at}x"))
        .collect();
    let names: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
    assert!(decided(hosted(&names), &endpoint(json!({}))).is_err());
    assert!(decided(hosted(&names[1..]), &endpoint(json!({}))).is_ok());
}

#[test]
fn a_kind_is_named_without_its_version() {
    for (kind, name) in [
        ("web_search", "web_search"),
        ("web_search_20250305", "web_search"),
        ("web_search_preview_2025_03_11", "web_search"),
        ("a b", "tool"),
        ("_1", "_1"),
        ("__1", "_"),
        ("", ""),
    ] {
        assert_eq!(family(kind), name, "{kind}");
    }
}

#[test]
fn nothing_is_priced_whose_calls_are_not_bounded() {
    let tools = json!({"web_search": 100});
    let generic = endpoint(json!({"server": "vllm", "hosted_tools": tools}));
    let decision = decided(hosted(&[("web_search", None)]), &generic).unwrap();
    assert_eq!(decision.removed, ["web_search"]);
    let vendor = endpoint(json!({"server": "openai", "hosted_tools": tools}));
    let unbounded = Extras {
        unbounded: vec!["web_search".to_owned()],
        ..hosted(&[("web_search", None)])
    };
    assert_eq!(decided(unbounded, &vendor).unwrap().removed, ["web_search"]);
}

#[test]
fn a_model_is_only_a_model() {
    let ask = |model: &str, server: &str| {
        let call = Call {
            model: Some(model.to_owned()),
            ..Call::default()
        };
        decide(
            &call,
            &endpoint(json!({"server": server})),
            std::iter::empty(),
        )
        .is_ok()
    };
    for model in [
        "openai/gpt-4o:online",
        "a/b:Online",
        "@preset/x",
        "a/b@preset/x",
    ] {
        assert!(!ask(model, "openrouter"), "{model}");
        assert!(ask(model, "generic"), "{model}");
    }
    assert!(ask("openai/gpt-4o:free", "openrouter"));
}
