//! Either SDK, and either agent, on the API of the other vendor: what they say, what it costs, how they fail.

use serde_json::{Value, json};

use super::agents::{
    Agent, TOKEN, assert_claude_code_answers, assert_codex_answers, codex_events, paths,
};
use super::official::{Caller, PLENTY, SDKS, Sdk, TENANT, Vendor, assert_left};
use super::provider::{EXCUSE, TEXT, start_with};
use super::turns::{self, GRANTED, ORDER, SAID, cost, results};
use crate::harness::provider::Received;
use crate::harness::{Gateway, Provider, Sample, mint};

/// A tenant that has this endpoint alone.
pub fn only(config: Sample, name: &str) -> Sample {
    let whole = Value::from(config.clone());
    let kept = whole["providers"]["text"]["endpoints"][name].clone();
    config
        .set("providers.text.endpoints", json!({name: kept}))
        .set("providers.text.default", json!(name))
}

fn without_responses(config: Sample) -> Sample {
    only(config, "openai").set("providers.text.endpoints.openai.responses", json!(false))
}

/// Each call of an SDK is answered by an endpoint of the other API, and costs what that reports.
#[track_caller]
fn assert_calls(vendor: Vendor, change: fn(Sample) -> Sample, calls: &[(&str, u64)], path: &str) {
    let (provider, gateway) = start_with(change);
    for sdk in SDKS {
        for (call, tokens) in calls {
            let key = mint(&gateway, TENANT);
            let before = provider.requests().len();

            let answer = Caller::of(vendor, sdk, &gateway, &key).answer(call);

            assert_eq!(answer["text"], TEXT, "{sdk:?} {call}");
            assert_eq!(answer["attempts"], 1, "{sdk:?} {call}");
            if let Some(total) = answer["total_tokens"].as_u64() {
                assert_eq!(total, *tokens, "{sdk:?} {call}");
            }
            assert_left(&gateway, &key, PLENTY - tokens);
            let asked = provider.requests().split_off(before);
            assert_eq!(paths(&asked), [path], "{sdk:?} {call}");
            assert!(!asked[0].text().contains(&key));
        }
    }
}

#[test]
fn openai_sdk_is_answered_by_an_anthropic_endpoint() {
    let calls = [
        ("chat", 21),
        ("stream", 16),
        ("stream-with-usage", 16),
        ("responses", 21),
        ("responses-stream", 16),
    ];
    assert_calls(
        Vendor::OpenAi,
        |config| only(config, "anthropic"),
        &calls,
        "/v1/messages",
    );
}

#[test]
fn openai_sdk_is_answered_by_a_gemini_endpoint() {
    let calls = [("chat", 14), ("responses", 14)];
    let at_gemini: fn(Sample) -> Sample = |config| only(config, "gemini");
    let path = "/v1beta/models/demo-1:generateContent";
    assert_calls(Vendor::OpenAi, at_gemini, &calls, path);
    let calls = [
        ("stream", 14),
        ("stream-with-usage", 14),
        ("responses-stream", 14),
    ];
    let path = "/v1beta/models/demo-1:streamGenerateContent?alt=sse";
    assert_calls(Vendor::OpenAi, at_gemini, &calls, path);
}

#[test]
fn anthropic_sdk_is_answered_by_a_gemini_endpoint() {
    let at_gemini: fn(Sample) -> Sample = |config| only(config, "gemini");
    let path = "/v1beta/models/demo-1:generateContent";
    let calls = [("message", 14), ("beta", 14)];
    assert_calls(Vendor::Anthropic, at_gemini, &calls, path);
    let path = "/v1beta/models/demo-1:streamGenerateContent?alt=sse";
    let calls = [("stream", 14), ("stream-helper", 14)];
    assert_calls(Vendor::Anthropic, at_gemini, &calls, path);
}

#[test]
fn anthropic_sdk_is_answered_by_an_openai_endpoint() {
    let calls = [
        ("message", 14),
        ("beta", 14),
        ("stream", 14),
        ("stream-helper", 14),
    ];
    assert_calls(
        Vendor::Anthropic,
        |config| only(config, "openai"),
        &calls,
        "/v1/chat/completions",
    );
}

#[test]
fn responses_are_answered_by_an_endpoint_that_has_chat_alone() {
    let calls = [("responses", 14), ("responses-stream", 14)];
    assert_calls(
        Vendor::OpenAi,
        without_responses,
        &calls,
        "/v1/chat/completions",
    );
}

#[test]
fn errors_of_the_other_api_raise_the_sdks_own_exceptions() {
    for (vendor, name, call) in [
        (Vendor::OpenAi, "anthropic", "chat"),
        (Vendor::Anthropic, "openai", "message"),
        (Vendor::OpenAi, "gemini", "chat"),
        (Vendor::Anthropic, "gemini", "message"),
    ] {
        let (_provider, gateway) = start_with(|config| only(config, name));
        for sdk in SDKS {
            for (model, raised) in [
                ("status-400", "BadRequestError"),
                ("status-404", "NotFoundError"),
                ("status-429", "RateLimitError"),
                ("status-500", "InternalServerError"),
            ] {
                let key = mint(&gateway, TENANT);
                let caller = Caller {
                    model,
                    max_retries: Some(0),
                    ..Caller::of(vendor, sdk, &gateway, &key)
                };
                let refusal = caller.call(call, 1).refusal;
                assert_eq!(refusal["raised"], raised, "{sdk:?} {model}: {refusal}");
                let told = refusal.to_string();
                assert!(told.contains(EXCUSE), "{sdk:?} {model}: {refusal}");
                assert_left(&gateway, &key, PLENTY);
            }
        }
    }
}

#[test]
fn stream_that_breaks_off_raises_in_the_other_api_too() {
    for (vendor, name) in [
        (Vendor::OpenAi, "anthropic"),
        (Vendor::Anthropic, "openai"),
        (Vendor::OpenAi, "gemini"),
        (Vendor::Anthropic, "gemini"),
    ] {
        let (_provider, gateway) = start_with(|config| only(config, name));
        let key = mint(&gateway, TENANT);
        let caller = Caller {
            model: "cut",
            max_retries: Some(0),
            ..Caller::of(vendor, Sdk::Python, &gateway, &key)
        };
        let refusal = caller.call("stream", 1).refusal;
        assert_ne!(refusal, Value::Null, "{name}");
    }
}

/// An agent's tenant with this endpoint alone.
fn agents_at(change: impl Fn(Sample) -> Sample) -> (Provider, Gateway) {
    turns::start_changed(GRANTED, change)
}

#[track_caller]
fn the_result(asked: &[Received]) -> String {
    assert_eq!(asked.len(), 2, "{:?}", paths(asked));
    let [result] = &results(&asked[1].json())[..] else {
        panic!("one result: {}", asked[1].text())
    };
    result.to_string()
}

#[test]
fn claude_code_works_on_an_openai_endpoint() {
    let (provider, gateway) = agents_at(|config| only(config, "openai"));
    let key = mint(&gateway, TENANT);
    let question = format!("{ORDER}Bash");

    let output = Agent::at(&gateway, &key).claude_code(&question, TOKEN, &[]);

    let asked = provider.requests();
    assert!(the_result(&asked).contains(SAID));
    assert_eq!(paths(&asked), ["/v1/chat/completions"; 2]);
    assert_claude_code_answers(&output, cost(&asked));
    assert_left(&gateway, &key, GRANTED - cost(&asked));
}

#[test]
fn agents_work_on_a_gemini_endpoint() {
    let (provider, gateway) = agents_at(|config| only(config, "gemini"));
    let key = mint(&gateway, TENANT);
    let output = Agent::at(&gateway, &key).claude_code(&format!("{ORDER}Bash"), TOKEN, &[]);
    let asked = provider.requests();
    let result = the_result(&asked);
    assert!(result.contains(SAID) && result.contains("functionResponse"));
    // The signature of the call comes back with it.
    assert!(
        asked[1]
            .text()
            .contains(r#""thoughtSignature":"c2lnbmF0dXJl""#)
    );
    assert_claude_code_answers(&output, cost(&asked));
    assert_left(&gateway, &key, GRANTED - cost(&asked));

    let key = mint(&gateway, TENANT);
    let question = format!("{ORDER}exec_command");
    let output = Agent::at(&gateway, &key).codex(&question, Some("some-model"));
    let asked = provider.requests().split_off(2);
    let events = codex_events(&output);
    assert_eq!(asked.len(), 2, "{events:?}");
    assert!(the_result(&asked).contains(SAID), "{events:?}");
    // Sealed reasoning comes back, and the signature in it.
    assert!(
        asked[1]
            .text()
            .contains(r#""thoughtSignature":"c2lnbmF0dXJl""#)
    );
    assert_codex_answers(&output, cost(&asked));
    assert_left(&gateway, &key, GRANTED - cost(&asked));
}

#[test]
fn codex_works_on_an_anthropic_endpoint_and_on_one_that_has_chat_alone() {
    let on_messages: fn(Sample) -> Sample = |config| only(config, "anthropic");
    for (change, path) in [
        (on_messages, "/v1/messages"),
        (without_responses, "/v1/chat/completions"),
    ] {
        let (provider, gateway) = agents_at(change);
        let key = mint(&gateway, TENANT);
        let question = format!("{ORDER}exec_command");

        let output = Agent::at(&gateway, &key).codex(&question, Some("some-model"));

        let asked = provider.requests();
        assert_eq!(paths(&asked), [path; 2], "{:?}", codex_events(&output));
        assert!(the_result(&asked).contains(SAID));
        assert_codex_answers(&output, cost(&asked));
        assert_left(&gateway, &key, GRANTED - cost(&asked));

        // With its default model it brings its tools in namespaces.
        let key = mint(&gateway, TENANT);
        let output = Agent::at(&gateway, &key).codex("Say hello", None);
        let asked = provider.requests().split_off(2);
        assert_codex_answers(&output, cost(&asked));
        assert!(asked[0].text().contains("functions__exec"));
        assert_left(&gateway, &key, GRANTED - cost(&asked));
    }
}
