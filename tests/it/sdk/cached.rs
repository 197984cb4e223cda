//! Answers from the cache, read by the official SDKs: as JSON and as a stream, whichever came first, with the usage of
//! the first, for the fee.

use super::official::{Caller, PLENTY, SDKS, TENANT, Vendor, assert_left, left};
use super::provider::{TEXT, start_with};
use crate::harness::mint;
use serde_json::{Value, json};

const FEE_PERCENTAGE: u64 = 50;

/// Two forms of one call of a vendor's API.
const FORMS: [(Vendor, [&str; 2]); 7] = [
    (Vendor::OpenAi, ["chat", "stream"]),
    (Vendor::OpenAi, ["chat", "stream-with-usage"]),
    (Vendor::OpenAi, ["responses", "responses-stream"]),
    (Vendor::OpenAi, ["completions", "completions-stream"]),
    (Vendor::OpenAi, ["embeddings", "embeddings"]),
    (Vendor::Anthropic, ["message", "stream"]),
    (Vendor::Anthropic, ["message", "stream-helper"]),
];

/// Facts of an answer that may not depend on its form.
fn facts(answer: &Value) -> Value {
    let names = [
        "text",
        "total_tokens",
        "input_tokens",
        "output_tokens",
        "vector",
    ];
    let named = names.map(|name| (name.to_owned(), answer[name].clone()));
    Value::Object(named.into_iter().collect())
}

#[test]
fn sdks_read_a_kept_answer_in_either_form_whichever_came_first() {
    let (provider, gateway) = start_with(|config| {
        config
            .caching(FEE_PERCENTAGE)
            .set("caching.scope", json!("user"))
    });
    for sdk in SDKS {
        for (vendor, calls) in FORMS {
            for [first, second] in [calls, [calls[1], calls[0]]] {
                let key = mint(&gateway, TENANT);
                let caller = Caller::of(vendor, sdk, &gateway, &key);
                let before = provider.requests().len();

                let asked = caller.answer(first);
                let price = PLENTY - left(&gateway, &key);
                assert!(price > 0, "{sdk:?} {first}");
                let again = caller.answer(first);
                let other = caller.answer(second);

                let what = format!("{sdk:?} {first}, then {second}");
                assert_eq!(provider.requests().len(), before + 1, "{what}");
                assert_eq!(facts(&asked), facts(&again), "{what}");
                for name in ["text", "total_tokens", "input_tokens", "output_tokens"] {
                    let (one, two) = (&asked[name], &other[name]);
                    assert!(
                        one == two || one.is_null() || two.is_null(),
                        "{what} {name}: {one} {two}"
                    );
                }
                if first != "embeddings" {
                    assert_eq!(other["text"], TEXT, "{what}");
                }
                let fee = (price * FEE_PERCENTAGE).div_ceil(100);
                assert_left(&gateway, &key, PLENTY - price - 2 * fee);
            }
        }
    }
}
