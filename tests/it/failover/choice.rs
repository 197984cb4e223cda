//! Choice: which endpoint a call goes to, and with which key.

use super::{GRANT, ask, hi, start};
use crate::harness::{Provider, Script, chat, mint, sample};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

fn answering() -> Provider {
    Provider::start(|_| Script::chat("Hello", 9, 2))
}

#[test]
fn endpoints_that_list_a_model_share_its_calls_by_weight() {
    let (one, other) = (answering(), answering());
    let config = sample(&one)
        .endpoint("other", &other.url("/v1/chat/completions"), "gpt-4o")
        .set("providers.text.endpoints.openai.models", json!(["gpt-4o"]))
        .set("providers.text.endpoints.openai.weight", json!(4))
        .set("providers.text.endpoints.other.models", json!(["gpt-4o"]))
        .tokens(GRANT);
    let (gateway, key) = start(config);
    for _ in 0..200 {
        assert_eq!(ask(&gateway, &key, false).status, 200);
    }
    // 160 are expected; 6 standard deviations are 34.
    let count = one.requests().len();
    assert!((126..195).contains(&count), "{count}");
    assert_eq!(count + other.requests().len(), 200);
    let pinned = chat(
        &gateway,
        "abc",
        &key,
        &json!({"model": "other/gpt-4o", "messages": []}),
    );
    assert_eq!(pinned.header("x-resullm-endpoint"), Some("other"));
}

#[test]
fn account_stays_with_one_of_an_endpoints_keys() {
    let provider = answering();
    let keys: Vec<String> = (0..4)
        .map(|nth| format!("sk-number-{nth}-of-the-endpoint"))
        .collect();
    let config = sample(&provider)
        .set("providers.text.endpoints.openai.api_key", json!(keys[0]))
        .set("providers.text.endpoints.openai.api_keys", json!(keys[1..]));
    let (gateway, _) = start(config);
    let mut used = BTreeMap::<String, BTreeSet<String>>::new();
    for _ in 0..24 {
        let key = mint(&gateway, "abc");
        for _ in 0..3 {
            assert_eq!(ask(&gateway, &key, false).status, 200);
            let request = provider.requests().pop().unwrap();
            let authorization = request.header("authorization").unwrap().to_owned();
            used.entry(key.clone()).or_default().insert(authorization);
        }
    }
    assert!(used.values().all(|keys| keys.len() == 1), "{used:?}");
    let all: BTreeSet<_> = used.values().flatten().collect();
    assert!(all.len() > 2, "{all:?}");
}

#[test]
fn refused_key_gives_way_to_the_next_one() {
    for status in [401, 402, 403, 429] {
        let provider = Provider::start(move |asked| match asked.header("authorization") {
            Some("Bearer sk-good-key-of-the-endpoint") => Script::chat("Hello", 9, 2),
            _ => Script::json(
                status,
                &json!({"error": {"message": "bad key sk-bad-key-of-the-endpoint"}}),
            ),
        });
        let config = sample(&provider)
            .set(
                "providers.text.endpoints.openai.api_key",
                json!("sk-bad-key-of-the-endpoint"),
            )
            .set(
                "providers.text.endpoints.openai.api_keys",
                json!(["sk-good-key-of-the-endpoint"]),
            );
        let (gateway, _) = start(config);
        for _ in 0..6 {
            let key = mint(&gateway, "abc");
            let answer = ask(&gateway, &key, false);
            assert_eq!(answer.status, 200, "{status}: {}", answer.text());
            assert_eq!(answer.header("x-resullm-endpoint"), Some("openai"));
        }
        if status == 401 {
            // A refused key rests: of six accounts at most one has found it out.
            assert!(
                provider.requests().len() <= 7,
                "{}",
                provider.requests().len()
            );
        }
    }
}

#[test]
fn no_key_of_a_list_reaches_a_client_or_the_admin_api_of_readers() {
    let secret = "sk-second-key-that-nobody-may-see";
    let provider = Provider::start(move |asked| {
        let sent = asked.header("authorization").unwrap_or_default().to_owned();
        Script::json(
            400,
            &json!({"error": {"message": format!("you sent {sent}")}}),
        )
    });
    let config = sample(&provider)
        .set("providers.text.endpoints.openai.api_key", json!(null))
        .set("providers.text.endpoints.openai.api_keys", json!([secret]));
    let (gateway, key) = start(config);
    let answer = chat(&gateway, "abc", &key, &hi(false));
    assert_eq!(answer.status, 400);
    assert!(
        provider.requests()[0]
            .header("authorization")
            .unwrap()
            .contains(secret)
    );
    assert!(!answer.text().contains(secret), "{}", answer.text());
}

#[test]
fn group_that_may_ask_for_a_model_at_one_endpoint_is_not_sent_to_the_other() {
    let (one, other) = (answering(), answering());
    let config = sample(&one)
        .endpoint("other", &other.url("/v1/chat/completions"), "gpt-4o")
        .set("providers.text.endpoints.openai.models", json!(["gpt-4o"]))
        .set("providers.text.endpoints.other.models", json!(["gpt-4o"]))
        .set("user_groups.anonymous.models", json!(["openai/gpt-4o"]))
        .tokens(GRANT);
    let (gateway, key) = start(config);
    for _ in 0..20 {
        let answer = ask(&gateway, &key, false);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-resullm-endpoint"), Some("openai"));
    }
    let pinned = json!({"model": "other/gpt-4o", "messages": []});
    assert_eq!(chat(&gateway, "abc", &key, &pinned).status, 404);
}

/// Keys take no attempt from the other endpoint, and an endpoint whose keys are all refused is passed over.
#[test]
fn refused_keys_leave_an_attempt_for_another_endpoint() {
    for status in [401, 402, 403, 429] {
        let refusing = Provider::start(move |_| {
            Script::json(status, &json!({"error": {"message": "bad key"}}))
        });
        let live = Provider::start(|_| Script::chat("from live", 9, 2));
        let config = super::config(&refusing, &live).set(
            "providers.text.endpoints.openai.api_keys",
            json!([
                "sk-two-of-the-endpoint",
                "sk-three-of-the-endpoint",
                "sk-four-of-the-endpoint"
            ]),
        );
        let (gateway, _) = start(config);
        let keys: Vec<String> = (0..3).map(|_| mint(&gateway, "abc")).collect();
        for key in keys.iter().cycle().take(30) {
            let answer = ask(&gateway, key, false);
            assert_eq!(answer.status, 200, "{status}: {}", answer.text());
        }
        if status != 429 {
            let asked = refusing.requests().len();
            assert!(asked <= 12, "{status}: {asked}");
        }
    }
}
