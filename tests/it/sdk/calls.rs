//! Every call of the official SDKs, plain and streamed: the answer, its charge by the provider's usage, and
//! the separation of client and provider keys.

use serde_json::{Value, json};

use super::official::{Caller, PLENTY, SDKS, TENANT, Vendor, assert_left, left};
use super::provider::{IMAGE, TEXT, VECTOR, sound, start};
use crate::harness::mint;
use crate::harness::provider::Received;
use crate::harness::sample::PROVIDER_KEY;

/// `anthropic-version` of the pinned SDKs; it must differ from the gateway's default.
const SDKS_VERSION: &str = "2026-10-21";

/// Charge of a call.
enum Cost {
    Tokens(u64),
    /// Some tokens: the provider reports no usage.
    Some,
}

struct Case {
    call: &'static str,
    /// Path at the provider.
    path: &'static str,
    /// Members of the answer that the SDK returns.
    answer: Value,
    cost: Cost,
}

fn case(call: &'static str, path: &'static str, answer: Value, cost: Cost) -> Case {
    Case {
        call,
        path,
        answer,
        cost,
    }
}

/// Asserts that the provider got its own key and never the client's.
#[track_caller]
fn assert_keys(vendor: Vendor, request: &Received, key: &str) {
    let (name, value) = match vendor {
        Vendor::OpenAi => ("authorization", format!("Bearer {PROVIDER_KEY}")),
        Vendor::Anthropic => ("x-api-key", PROVIDER_KEY.to_owned()),
        Vendor::Google => ("x-goog-api-key", PROVIDER_KEY.to_owned()),
    };
    for (header, sent) in &request.headers {
        assert!(!sent.contains(key), "{header}");
        assert!(
            header.eq_ignore_ascii_case(name) == sent.contains(PROVIDER_KEY),
            "{header}"
        );
    }
    assert_eq!(request.header(name), Some(value.as_str()));
    assert!(!request.path.contains(key) && !request.text().contains(key));
}

#[track_caller]
fn assert_calls(vendor: Vendor, cases: &[Case]) {
    let (provider, gateway) = start();
    for sdk in SDKS {
        for case in cases {
            let key = mint(&gateway, TENANT);
            let before = provider.requests().len();
            let answer = Caller::of(vendor, sdk, &gateway, &key).answer(case.call);
            let Value::Object(expected) = &case.answer else {
                panic!("{} has no answer", case.call)
            };
            for (name, value) in expected {
                assert_eq!(&answer[name], value, "{sdk:?} {} {name}", case.call);
            }
            assert_eq!(answer["attempts"], 1, "{sdk:?} {}", case.call);
            match case.cost {
                Cost::Tokens(tokens) => assert_left(&gateway, &key, PLENTY - tokens),
                Cost::Some => assert!(left(&gateway, &key) < PLENTY, "{sdk:?} {}", case.call),
            }
            let requests = provider.requests().split_off(before);
            assert_eq!(requests.len(), 1, "{sdk:?} {}", case.call);
            assert_eq!(requests[0].path, case.path, "{sdk:?}");
            assert_keys(vendor, &requests[0], &key);
        }
    }
}

#[test]
fn every_openai_sdk_call_costs_its_usage() {
    let text = || json!({"text": TEXT});
    let counted = |tokens: u64| json!({"text": TEXT, "total_tokens": tokens});
    assert_calls(
        Vendor::OpenAi,
        &[
            case("chat", "/v1/chat/completions", text(), Cost::Tokens(14)),
            case("stream", "/v1/chat/completions", text(), Cost::Tokens(14)),
            case("responses", "/v1/responses", counted(27), Cost::Tokens(27)),
            case(
                "responses-stream",
                "/v1/responses",
                json!({"text": TEXT, "last": "response.completed", "total_tokens": 27}),
                Cost::Tokens(27),
            ),
            case(
                "completions",
                "/v1/completions",
                counted(9),
                Cost::Tokens(9),
            ),
            case(
                "completions-stream",
                "/v1/completions",
                text(),
                Cost::Tokens(9),
            ),
            case(
                "embeddings",
                "/v1/embeddings",
                json!({"vector": VECTOR, "total_tokens": 8}),
                Cost::Tokens(8),
            ),
            case(
                "images",
                "/v1/images/generations",
                json!({"image": IMAGE, "total_tokens": 50}),
                Cost::Tokens(50),
            ),
            case(
                "transcription",
                "/v1/audio/transcriptions",
                counted(18),
                Cost::Tokens(18),
            ),
            case(
                "transcription-text",
                "/v1/audio/transcriptions",
                json!({"text": format!("{TEXT}\n")}),
                Cost::Some,
            ),
            case(
                "speech",
                "/v1/audio/speech",
                json!({"sound": sound()}),
                Cost::Some,
            ),
            case(
                "moderations",
                "/v1/moderations",
                json!({"flagged": true}),
                Cost::Tokens(0),
            ),
        ],
    );
}

#[test]
fn every_anthropic_sdk_call_costs_its_usage() {
    let ended = || json!({"text": TEXT, "stop_reason": "end_turn", "output_tokens": 5});
    assert_calls(
        Vendor::Anthropic,
        &[
            // Includes tokens read from and written to the cache.
            case("message", "/v1/messages", ended(), Cost::Tokens(21)),
            case("beta", "/v1/messages", ended(), Cost::Tokens(21)),
            case(
                "stream",
                "/v1/messages",
                json!({"text": TEXT, "last": "message_stop"}),
                Cost::Tokens(16),
            ),
            case("stream-helper", "/v1/messages", ended(), Cost::Tokens(16)),
            case(
                "count-tokens",
                "/v1/messages/count_tokens",
                json!({"input_tokens": 17}),
                Cost::Tokens(0),
            ),
        ],
    );
}

#[test]
fn base_url_works_with_v1_missing_or_doubled() {
    let (provider, gateway) = start();
    for sdk in SDKS {
        for (vendor, base, call) in [
            (Vendor::Anthropic, "/v1", "message"),
            (Vendor::Anthropic, "/v1/", "count-tokens"),
            (Vendor::OpenAi, "", "chat"),
            (Vendor::OpenAi, "/v1/v1", "responses"),
        ] {
            let key = mint(&gateway, TENANT);
            let caller = Caller {
                base,
                ..Caller::of(vendor, sdk, &gateway, &key)
            };
            caller.answer(call);
        }
    }
    assert_eq!(provider.requests().len(), 8);
}

#[test]
fn version_and_beta_headers_reach_the_provider() {
    let (provider, gateway) = start();
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        let caller = Caller::of(Vendor::Anthropic, sdk, &gateway, &key);
        caller.answer("beta");
        let request = provider.requests().pop().expect("a request");
        let version = request.header("anthropic-version");
        assert_eq!(version, Some(SDKS_VERSION), "{sdk:?}");
        let betas = request.header("anthropic-beta").expect("betas");
        let betas: Vec<&str> = betas.split(',').map(str::trim).collect();
        assert_eq!(betas, ["first-beta", "second-beta"], "{sdk:?}");
    }
}
