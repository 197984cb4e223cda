//! Models and the limits that are set for them.

use super::hi;
use crate::harness::{Gateway, Provider, Script, Setup, chat, mint, sample};
use serde_json::{Value, json};

#[test]
fn many_answers_on_a_small_balance_are_refused() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(100)));
    let key = mint(&gateway, "abc");

    assert_eq!(
        chat(&gateway, "abc", &key, &json!({"n": 128, "messages": []})).status,
        402
    );
    assert_eq!(
        chat(&gateway, "abc", &key, &json!({"n": 5, "messages": []})).status,
        200
    );
    assert_eq!(provider.requests().pop().unwrap().json()["max_tokens"], 20);
}

#[test]
fn limit_never_exceeds_the_models_own() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider).tokens(1_000_000).set(
        "providers.text.endpoints.openai.max_output_tokens",
        json!(5000),
    );
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let sent = |call: Value| {
        assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
        provider.requests().pop().unwrap().json()
    };

    assert_eq!(sent(hi()).get("max_tokens"), None);
    assert_eq!(
        sent(json!({"messages": [], "max_tokens": 9000}))["max_tokens"],
        9000,
        "the client's own word stands"
    );
}

#[test]
fn long_model_name_stays_out_of_logs_and_headers() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let asked = |length: usize| {
        let call = json!({"model": "m".repeat(length), "messages": []});
        chat(&gateway, "abc", &key, &call)
    };

    assert_eq!(asked(256).status, 200);
    let refused = asked(257);
    assert_eq!(refused.status, 400);

    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("at most 256 characters"), "{message}");
    assert_eq!(provider.requests().len(), 1);
}

#[test]
fn limit_is_repeated_under_the_name_the_provider_knows() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");

    let call = json!({"messages": [], "max_completion_tokens": 20});
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);

    let sent = provider.requests().pop().unwrap().json();
    assert_eq!(sent["max_completion_tokens"], 20);
    assert_eq!(sent["max_tokens"], 20, "what older servers know");
}

#[test]
fn equal_model_names_of_two_endpoints_have_their_own_limits() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider).tokens(1_000_000);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");

    let call = json!({"model": "gpt-4o", "messages": []});
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);

    let sent = provider.requests().pop().unwrap().json();
    let limit = sent["max_tokens"].as_u64();
    assert!(limit.is_some_and(|limit| limit > 16_384), "{limit:?}");
}
