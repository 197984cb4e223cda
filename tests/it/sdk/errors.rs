//! Exceptions of the official SDKs: for mistakes of a caller, for responses of a provider, and for truncated
//! streams.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::official::{
    Caller, Facts, PLENTY, SDKS, Sdk, TENANT, Vendor, WINDOW_SECONDS, assert_left, assert_raised,
    left,
};
use super::provider::{EXCUSE, PIECES, start};
use crate::harness::{Gateway, Provider, Script, Setup, eventually, mint, sample};

const SOON: Duration = Duration::from_secs(10);

/// Asserts the `type` of the error body.
#[track_caller]
fn assert_type(facts: &Facts, kind: &str) {
    assert_eq!(facts.refusal["type"], kind, "{facts:?}");
}

#[test]
fn anthropic_caller_mistakes_raise_typed_exceptions() {
    let (provider, gateway) = start();
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        let caller = Caller::of(Vendor::Anthropic, sdk, &gateway, &key);

        let stranger = Caller {
            key: "temp_00000000-0000-4000-8000-000000000000",
            ..caller
        };
        for call in ["message", "stream", "count-tokens"] {
            let facts = stranger.call(call, 1);
            assert_raised(&facts, "AuthenticationError", 401);
            assert_type(&facts, "authentication_error");
        }

        let elsewhere = Caller {
            tenant: "nobody",
            ..caller
        };
        let facts = elsewhere.call("message", 1);
        assert_raised(&facts, "BadRequestError", 400);
        assert_eq!(
            facts.refusal["body"],
            json!({"error": "Invalid tenant ID"}),
            "{facts:?}"
        );

        let facts = caller.call("bad-message", 1);
        assert_raised(&facts, "BadRequestError", 400);
        assert_type(&facts, "invalid_request_error");

        let facts = caller.call("list-batches", 1);
        assert_raised(&facts, "NotFoundError", 404);
        assert_type(&facts, "not_found_error");

        assert_left(&gateway, &key, PLENTY);
    }
    assert!(provider.requests().is_empty());
}

#[test]
fn unreadable_body_raises_a_typed_openai_exception() {
    let (provider, gateway) = start();
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        let facts = Caller::of(Vendor::OpenAi, sdk, &gateway, &key).call("bad-chat", 1);
        assert_raised(&facts, "BadRequestError", 400);
        assert_type(&facts, "invalid_request_error");
        assert_left(&gateway, &key, PLENTY);
    }
    assert!(provider.requests().is_empty());
}

/// A gateway with a small balance or rate limit, for both APIs.
#[track_caller]
fn scarce(tokens: u64, requests: u64) -> (Provider, Gateway) {
    let provider = Provider::start(|request| match request.path.as_str() {
        "/v1/messages" => Script::message("Hi", 11, 5),
        "/v1/responses" => Script::json(404, &Value::Null),
        _ => Script::chat("Hi", 9, 5),
    });
    let config = sample(&provider)
        .tokens(tokens)
        .rate_limit(requests, WINDOW_SECONDS)
        .endpoint("anthropic", &provider.url("/v1/messages"), "claude");
    let gateway = Gateway::start(Setup::new().tenant(TENANT, config));
    (provider, gateway)
}

#[test]
fn spent_key_is_not_retried_on_either_api() {
    let (provider, gateway) = scarce(10, 100);
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        for (vendor, call, raised, kind) in [
            (
                Vendor::OpenAi,
                "responses",
                sdk.nameless_error(),
                "insufficient_quota",
            ),
            (
                Vendor::OpenAi,
                "embeddings",
                sdk.nameless_error(),
                "insufficient_quota",
            ),
            (
                Vendor::Anthropic,
                "message",
                "PaymentRequiredError",
                "billing_error",
            ),
            (
                Vendor::Anthropic,
                "stream",
                "PaymentRequiredError",
                "billing_error",
            ),
        ] {
            let facts = Caller::of(vendor, sdk, &gateway, &key).call(call, 1);
            assert_raised(&facts, raised, 402);
            assert_type(&facts, kind);
        }
        assert_left(&gateway, &key, 10);
    }
    assert!(provider.requests().is_empty());
}

#[test]
fn anthropic_rate_limit_has_a_retry_after() {
    let (provider, gateway) = scarce(PLENTY, 2);
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        let caller = Caller {
            max_retries: Some(0),
            ..Caller::of(Vendor::Anthropic, sdk, &gateway, &key)
        };
        let facts = caller.call("message", 3);
        assert_eq!(facts.answers.len(), 2, "{facts:?}");
        assert_raised(&facts, "RateLimitError", 429);
        assert_type(&facts, "rate_limit_error");
        let wait = facts.refusal["retry_after"].as_str();
        let seconds: u64 = wait.and_then(|text| text.parse().ok()).expect("seconds");
        let longest = WINDOW_SECONDS + WINDOW_SECONDS / 10;
        assert!((1..=longest).contains(&seconds), "{facts:?}");
        assert_left(&gateway, &key, PLENTY - 2 * 16);
    }
    assert_eq!(provider.requests().len(), 4);
}

/// Exceptions of each API's SDKs for a provider's status.
const PROVIDERS_OWN: [(&str, u64, &str, &str); 5] = [
    ("status-400", 400, "BadRequestError", "BadRequestError"),
    ("status-404", 404, "NotFoundError", "NotFoundError"),
    ("status-429", 429, "RateLimitError", "RateLimitError"),
    (
        "status-500",
        500,
        "InternalServerError",
        "InternalServerError",
    ),
    ("status-529", 529, "InternalServerError", "OverloadedError"),
];

#[test]
fn provider_refusals_raise_typed_exceptions_and_cost_nothing() {
    let (_provider, gateway) = start();
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        for (model, status, openai, anthropic) in PROVIDERS_OWN {
            for (vendor, call, raised) in [
                (Vendor::OpenAi, "responses-stream", openai),
                (Vendor::Anthropic, "stream", anthropic),
            ] {
                let caller = Caller {
                    model,
                    max_retries: Some(0),
                    ..Caller::of(vendor, sdk, &gateway, &key)
                };
                let facts = caller.call(call, 1);
                assert_raised(&facts, raised, status);
                assert!(
                    facts.refusal["body"].to_string().contains(EXCUSE),
                    "{facts:?}"
                );
                assert_eq!(facts.refusal["retry_after"], "7", "{facts:?}");
            }
        }
        assert_left(&gateway, &key, PLENTY);
    }
}

#[test]
fn provider_failure_is_retried_by_the_sdk() {
    let first = AtomicBool::new(true);
    let provider = Provider::start(move |_| {
        if first.swap(false, Ordering::Relaxed) {
            return Script::json(
                529,
                &json!({"type": "error", "error": {"type":
                "overloaded_error", "message": EXCUSE}}),
            )
            .header("retry-after-ms", "1");
        }
        Script::message("Hi", 11, 5)
    });
    let config = sample(&provider).tokens(PLENTY).endpoint(
        "anthropic",
        &provider.url("/v1/messages"),
        "claude",
    );
    let gateway = Gateway::start(Setup::new().tenant(TENANT, config));
    let key = mint(&gateway, TENANT);

    let answer = Caller::of(Vendor::Anthropic, Sdk::Python, &gateway, &key).answer("message");

    assert_eq!(answer["attempts"], 2);
    assert_left(&gateway, &key, PLENTY - 16);
}

/// Failures between operator and provider are not the client's: its key is valid, and it has nothing to pay.
#[test]
fn provider_401_402_and_403_reach_the_client_as_502() {
    let (_provider, gateway) = start();
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        for model in ["status-401", "status-402", "status-403"] {
            for (vendor, call) in [(Vendor::OpenAi, "chat"), (Vendor::Anthropic, "message")] {
                let caller = Caller {
                    model,
                    ..Caller::of(vendor, sdk, &gateway, &key)
                };
                let facts = caller.call(call, 1);
                assert_raised(&facts, "InternalServerError", 502);
                assert!(
                    !facts.refusal["body"].to_string().contains(EXCUSE),
                    "{facts:?}"
                );
            }
        }
        assert_left(&gateway, &key, PLENTY);
    }
}

#[test]
fn truncated_stream_raises() {
    let (_provider, gateway) = start();
    let heard = PIECES[..2].concat();
    for sdk in SDKS {
        for (vendor, call) in [
            (Vendor::OpenAi, "stream"),
            (Vendor::OpenAi, "responses-stream"),
            (Vendor::OpenAi, "completions-stream"),
            (Vendor::Anthropic, "stream"),
            (Vendor::Anthropic, "stream-helper"),
        ] {
            for model in ["cut", "short"] {
                let key = mint(&gateway, TENANT);
                let caller = Caller {
                    model,
                    ..Caller::of(vendor, sdk, &gateway, &key)
                };
                let facts = caller.call(call, 1);
                let refusal = &facts.refusal;
                let raised = match (vendor, sdk) {
                    (Vendor::Anthropic, Sdk::Python) => "APIStatusError",
                    _ => "APIError",
                };
                assert_eq!(
                    refusal["raised"], raised,
                    "{sdk:?} {call} {model}: {facts:?}"
                );
                let kind = match vendor {
                    Vendor::OpenAi => "server_error",
                    Vendor::Anthropic => "api_error",
                    Vendor::Google => "UNAVAILABLE",
                };
                assert_eq!(refusal["type"], kind, "{sdk:?} {call} {model}: {facts:?}");
                assert_eq!(refusal["attempts"], 1, "{sdk:?} {call} {model}: {facts:?}");
                assert_eq!(refusal["heard"], heard, "{sdk:?} {call} {model}: {facts:?}");
                // The part that arrived is charged.
                eventually(SOON, "the broken stream is paid for", || {
                    (left(&gateway, &key) < PLENTY).then_some(())
                });
            }
        }
    }
}

#[test]
fn truncated_sound_raises() {
    let (_provider, gateway) = start();
    for sdk in SDKS {
        let key = mint(&gateway, TENANT);
        let caller = Caller {
            model: "cut",
            ..Caller::of(Vendor::OpenAi, sdk, &gateway, &key)
        };
        let output = caller.run("speech", 1);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            !output.status.success(),
            "{sdk:?} took it for whole: {said}"
        );
    }
}
