//! Answers that were under way while their account or their tenant was deleted: nobody else gets them.

use super::{SOON, cached, hi, result_of};
use crate::harness::{Gate, Gateway, Provider, Redis, Script, Setup, chat, mint};
use serde_json::{Value, json};

/// Provider whose first answer waits for the gate.
fn provider(gate: &Gate) -> Provider {
    let gate = gate.clone();
    Provider::start(move |_| {
        Script::new()
            .wait_for(&gate)
            .head(200, &[("content-type", "application/json")])
            .bytes(chat_answer())
    })
}

fn chat_answer() -> String {
    json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Good day"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    })
    .to_string()
}

/// Two gateways on one Redis, or one on its disk.
fn gateways(redis: Option<&Redis>, provider: &Provider) -> Vec<Gateway> {
    let count = if redis.is_some() { 2 } else { 1 };
    let start = |_| {
        let setup = Setup::new().tenant("abc", cached(provider));
        let setup = match redis {
            Some(redis) => setup.store(&redis.url()),
            None => setup,
        };
        Gateway::start(setup)
    };
    (0..count).map(start).collect()
}

fn admin(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Value {
    let request = gateway.client().request(method, path);
    let answer = request.bearer(gateway.admin_token()).json(body).send();
    assert!(answer.status < 300, "{path}: {}", answer.text());
    answer.json()
}

/// Asks at one gateway, lets `forget` do its work at the other while the provider is silent, and asks again there with
/// the key that `forget` returns.
#[track_caller]
fn nothing_is_kept(
    on_redis: bool,
    key: impl Fn(&Gateway) -> String,
    forget: impl Fn(&Gateway) -> String,
) {
    let redis = on_redis.then(Redis::start);
    let gate = Gate::new();
    let provider = provider(&gate);
    let gateways = gateways(redis.as_ref(), &provider);
    let (one, other) = (&gateways[0], gateways.last().unwrap());
    let key = key(one);
    let stranger = std::thread::scope(|scope| {
        let call = scope.spawn(|| chat(one, "abc", &key, &hi()));
        provider.wait_requests(1);
        let stranger = forget(other);
        gate.open();
        let _ = call.join().unwrap();
        stranger
    });
    // Time to be kept, if it were.
    std::thread::sleep(SOON / 20);
    assert_eq!(result_of(other, &stranger, &hi()), "miss");
}

#[test]
fn answer_of_an_account_that_was_deleted_meanwhile_is_not_kept() {
    for on_redis in [false, true] {
        let session = |gateway: &Gateway| {
            let made = admin(
                gateway,
                "POST",
                "/abc/auth/sessions",
                &json!({"userId": "leaves", "group": "anonymous"}),
            );
            made["apiKey"].as_str().unwrap().to_owned()
        };
        nothing_is_kept(on_redis, session, |gateway| {
            admin(gateway, "DELETE", "/abc/admin/users/leaves", &json!({}));
            mint(gateway, "abc")
        });
    }
}

#[test]
fn answer_of_a_tenant_that_was_deleted_and_made_again_is_not_kept() {
    for on_redis in [false, true] {
        nothing_is_kept(
            on_redis,
            |gateway| mint(gateway, "abc"),
            |gateway| {
                let config = admin(gateway, "GET", "/admin/tenants/abc", &json!({}));
                admin(gateway, "DELETE", "/admin/tenants/abc", &json!({}));
                admin(gateway, "PUT", "/admin/tenants/abc", &config);
                mint(gateway, "abc")
            },
        );
    }
}
