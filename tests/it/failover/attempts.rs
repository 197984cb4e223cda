//! Attempts: what moves a call on to the next endpoint, what does not, and what each costs.

use super::{GRANT, ask, config, hi, record, spent, start};
use crate::harness::{
    Gateway, Provider, Script, Setup, chat, chat_request, mint, sample, sample_at,
};
use serde_json::json;
use std::time::{Duration, Instant};

fn error(status: u16) -> Script {
    let body = json!({"error": {"message": "no", "type": "t", "param": null, "code": "c"}});
    Script::json(status, &body)
}

fn live() -> Provider {
    Provider::start(|asked| match asked.json()["stream"] == true {
        true => Script::chat_stream(&["from ", "live"], 9, 2),
        false => Script::chat("from live", 9, 2),
    })
}

/// A provider that fails, for a table of cases.
type Failing = fn() -> Script;

const FAILURES: [(&str, Failing); 13] = [
    ("401", || error(401)),
    ("402", || error(402)),
    ("403", || error(403)),
    ("4xx", || error(408)),
    ("4xx", || error(409)),
    ("429", || error(429)),
    ("5xx", || error(500)),
    ("5xx", || error(503)),
    ("5xx", || error(529)),
    ("broken", || Script::new().cut()),
    ("timed_out", || Script::new().stall()),
    ("invalid", || {
        Script::json(
            200,
            &json!({"error": {"message": "overloaded", "type": "server_error"}}),
        )
    }),
    ("invalid", || {
        Script::new().head(200, &[]).bytes("<html>sign in</html>")
    }),
];

#[test]
fn failed_attempt_moves_on_to_the_fallback_and_the_call_is_charged_once() {
    for (outcome, failing) in FAILURES {
        for stream in [false, true] {
            let (first, live) = (Provider::start(move |_| failing()), live());
            let wait = json!({"first_byte": "300ms"});
            let config =
                config(&first, &live).set("providers.text.endpoints.openai.timeouts", wait);
            let (gateway, key) = start(config);

            let answer = ask(&gateway, &key, stream);

            assert_eq!(answer.status, 200, "{outcome}: {}", answer.text());
            assert_eq!(answer.header("x-resullm-endpoint"), Some("live"));
            assert!(answer.text().contains("live") && !answer.text().contains("error"));
            assert_eq!(
                (first.requests().len(), live.requests().len()),
                (1, 1),
                "{outcome}"
            );
            assert_eq!(spent(&gateway, &key), 11, "{outcome}");
            let record = record(&gateway);
            let attempts = json!([
                {"endpoint": "openai", "model": "gpt-4o", "outcome": outcome, "cost": 0},
                {"endpoint": "live", "model": "gpt-4o", "outcome": "2xx", "cost": 11},
            ]);
            assert_eq!(record["attempts"], attempts);
            assert_eq!(
                (&record["endpoint"], &record["cost"]),
                (&json!("live"), &json!(11))
            );
        }
    }
}

#[test]
fn endpoint_that_cannot_be_reached_moves_on() {
    let live = live();
    let gone = Provider::start(|_| Script::new());
    let url = gone.url("/v1/chat/completions");
    drop(gone);
    let config = sample_at(&url)
        .endpoint("live", &live.url("/v1/chat/completions"), "gpt-4o")
        .fallbacks(&["live"])
        .tokens(GRANT);
    let (gateway, key) = start(config);
    let answer = ask(&gateway, &key, false);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(record(&gateway)["attempts"][0]["outcome"], "connect_failed");
    assert_eq!(spent(&gateway, &key), 11);
}

#[test]
fn error_about_the_request_itself_is_passed_on() {
    for status in [400, 404, 413, 422] {
        let (first, live) = (Provider::start(move |_| error(status)), live());
        let (gateway, key) = start(config(&first, &live));
        let answer = ask(&gateway, &key, false);
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["error"]["code"], "c");
        assert_eq!(live.requests().len(), 0);
        assert_eq!(record(&gateway).get("attempts"), None);
        assert_eq!(spent(&gateway, &key), 0);
    }
}

#[test]
fn last_attempt_decides_the_answer_when_all_fail() {
    let (first, second) = (
        Provider::start(|_| error(500)),
        Provider::start(|_| error(429)),
    );
    let (gateway, key) = start(config(&first, &second));
    let answer = ask(&gateway, &key, false);
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json()["error"]["code"], "provider_rate_limited");
    assert_eq!(spent(&gateway, &key), 0);
    let outcomes: Vec<_> = record(&gateway)["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["5xx", "429"]);
}

#[test]
fn attempts_and_their_time_are_bounded() {
    let failing: Vec<Provider> = (0..4).map(|_| Provider::start(|_| error(500))).collect();
    let url = |nth: usize| failing[nth].url("/v1/chat/completions");
    let config = sample(&failing[0])
        .endpoint("b", &url(1), "gpt-4o")
        .endpoint("c", &url(2), "gpt-4o")
        .endpoint("d", &url(3), "gpt-4o")
        .fallbacks(&["b", "c", "d"]);
    let asked = || {
        failing
            .iter()
            .map(|each| each.requests().len())
            .collect::<Vec<_>>()
    };

    let (gateway, key) = start(config.clone());
    assert_eq!(ask(&gateway, &key, false).status, 500);
    assert_eq!(asked(), [1, 1, 1, 0]);

    let (gateway, key) = start(
        config
            .clone()
            .set("providers.text.failover", json!({"attempts": 1})),
    );
    assert_eq!(ask(&gateway, &key, false).status, 500);
    assert_eq!(asked(), [2, 1, 1, 0]);

    let slow = Provider::start(|_| {
        error(500).first(crate::harness::Step::Wait(Duration::from_millis(400)))
    });
    let config = config
        .set(
            "providers.text.endpoints.openai.url",
            json!(slow.url("/v1/chat/completions")),
        )
        .set(
            "providers.text.failover",
            json!({"attempts": 9, "timeout": "200ms"}),
        );
    let (gateway, key) = start(config);
    assert_eq!(ask(&gateway, &key, false).status, 500);
    assert_eq!(asked(), [2, 1, 1, 0]);
}

#[test]
fn slow_endpoint_is_left_after_its_own_timeout() {
    let (first, live) = (Provider::start(|_| Script::new().stall()), live());
    let config = config(&first, &live).set(
        "providers.text.endpoints.openai.timeouts.first_byte",
        json!("200ms"),
    );
    let (gateway, key) = start(config);
    let begun = Instant::now();
    assert_eq!(ask(&gateway, &key, false).status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5));
    first.wait_left(0);
}

#[test]
fn fallback_is_asked_with_its_own_model_and_key() {
    let (first, live) = (Provider::start(|_| error(500)), live());
    let config = config(&first, &live)
        .set("providers.text.endpoints.live.models", json!(["other"]))
        .set("providers.text.endpoints.live.default_model", json!("mine"))
        .set(
            "providers.text.endpoints.live.api_key",
            json!("sk-of-the-fallback-itself"),
        );
    let (gateway, key) = start(config);
    assert_eq!(ask(&gateway, &key, false).status, 200);
    let request = &live.requests()[0];
    assert_eq!(request.json()["model"], "mine");
    assert_eq!(
        request.header("authorization"),
        Some("Bearer sk-of-the-fallback-itself")
    );
    assert_eq!(first.requests()[0].json()["model"], "gpt-4o");
    assert_eq!(record(&gateway)["model"], "mine");
}

#[test]
fn model_that_a_group_may_not_use_is_no_fallback() {
    let (first, live) = (Provider::start(|_| error(500)), live());
    let config = config(&first, &live)
        .set("providers.text.endpoints.live.models", json!(["dear"]))
        .set("providers.text.endpoints.live.default_model", json!("dear"))
        .set("user_groups.anonymous.models", json!(["gpt-4o"]));
    let (gateway, key) = start(config);
    assert_eq!(ask(&gateway, &key, false).status, 500);
    assert_eq!(live.requests().len(), 0);
}

#[test]
fn served_attempt_is_charged_at_its_own_rate_and_held_for() {
    let (first, live) = (Provider::start(|_| error(500)), live());
    let config = config(&first, &live)
        .set("providers.text.endpoints.live.models", json!(["dear"]))
        .set("providers.text.endpoints.live.default_model", json!("dear"))
        .set("providers.text.rates", json!({"dear": 50}));
    let (gateway, key) = start(config.clone());
    assert_eq!(ask(&gateway, &key, false).status, 200);
    assert_eq!(spent(&gateway, &key), 11 * 50);

    // A balance that does not cover the least of the fallback buys no attempt there.
    let (gateway, key) = start(config.tokens(500));
    assert_eq!(ask(&gateway, &key, false).status, 500);
    assert_eq!((first.requests().len(), live.requests().len()), (2, 1));
    assert_eq!(crate::harness::balance(&gateway, &key), (500, 500));
}

#[test]
fn output_limit_of_the_fallback_is_what_the_hold_pays_for_there() {
    let (first, live) = (Provider::start(|_| error(500)), live());
    let config = config(&first, &live)
        .set("providers.text.endpoints.live.models", json!(["dear"]))
        .set("providers.text.endpoints.live.default_model", json!("dear"))
        .set("providers.text.rates", json!({"dear": 10}))
        .tokens(2_000);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let mut call = hi(false);
    call["max_tokens"] = json!(5_000);
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
    let limit = live.requests()[0].json()["max_tokens"].as_u64().unwrap();
    assert!(limit * 10 < 2_000, "{limit}");
}

#[test]
fn usage_that_a_failed_attempt_reports_is_charged_once() {
    let failing = Provider::start(|_| {
        let usage = json!({"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35});
        Script::json(500, &json!({"error": {"message": "late"}, "usage": usage}))
    });
    let live = live();
    let (gateway, key) = start(config(&failing, &live));
    let mut call = hi(false);
    call["max_tokens"] = json!(500);
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
    assert_eq!(spent(&gateway, &key), 35 + 11);
    let record = record(&gateway);
    assert_eq!(
        (&record["cost"], &record["tokensIn"]),
        (&json!(46), &json!(39))
    );
    assert_eq!(record["attempts"][0]["cost"], 35);
    assert_eq!(record["attempts"][1]["cost"], 11);
}

#[test]
fn error_of_an_endpoint_with_two_keys_is_its_own() {
    let body = json!({"error": {"message": "provider says why", "type": "t", "code": "c"}});
    let first = Provider::start(move |_| Script::json(500, &body));
    let config = sample(&first)
        .set(
            "providers.text.endpoints.openai.api_keys",
            json!(["sk-another-key-of-it"]),
        )
        .tokens(GRANT);
    let (gateway, key) = start(config);
    let answer = ask(&gateway, &key, false);
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()["error"]["message"], "provider says why");
    assert_eq!(first.requests().len(), 1);
}

/// The failed attempt has cost the whole hold, so nothing is left for another one.
#[test]
fn record_lists_each_attempt_once() {
    let failing = Provider::start(|_| {
        let usage =
            json!({"prompt_tokens": 90_000, "completion_tokens": 0, "total_tokens": 90_000});
        Script::json(500, &json!({"error": {"message": "late"}, "usage": usage}))
    });
    let live = live();
    let (gateway, key) = start(config(&failing, &live));
    assert_eq!(ask(&gateway, &key, false).status, 502);
    assert_eq!(live.requests().len(), 0);
    assert_eq!(spent(&gateway, &key), 90_000);
    let record = record(&gateway);
    assert_eq!(
        (&record["cost"], record.get("attempts")),
        (&json!(90_000), None)
    );
}

/// No attempt may follow any more when the timeout comes, so the answer is waited for, as with one endpoint.
#[test]
fn timeout_after_the_time_for_attempts_costs_what_the_late_answer_does() {
    for stream in [false, true] {
        let late = Provider::start(|asked| {
            let script = match asked.json()["stream"] == true {
                true => Script::chat_stream(&["too ", "late"], 9, 2),
                false => Script::chat("too late", 9, 2),
            };
            script.first(crate::harness::Step::Wait(Duration::from_secs(2)))
        });
        let config = config(&late, &live())
            .set("providers.text.failover", json!({"timeout": "300ms"}))
            .set(
                "providers.text.endpoints.openai.timeouts",
                json!({"first_byte": "700ms"}),
            );
        let (gateway, key) = start(config);
        assert_eq!(ask(&gateway, &key, stream).status, 504);
        crate::harness::eventually(
            Duration::from_secs(10),
            "the late answer is charged",
            || {
                let (left, free) = crate::harness::balance(&gateway, &key);
                (left == free && left < GRANT).then(|| assert_eq!(GRANT - left, 11))
            },
        );
    }
}

/// An error after attempts that were charged says what they have cost.
#[test]
fn error_after_charged_attempts_has_the_balance_behind_them() {
    let failing = |tokens: u64| {
        Provider::start(move |_| {
            let usage =
                json!({"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens});
            Script::json(502, &json!({"error": {"message": "late"}, "usage": usage}))
        })
    };
    let (first, second) = (failing(40), Provider::start(|_| Script::new().cut()));
    let (gateway, key) = start(config(&first, &second));
    let request = chat_request(&gateway, "abc", &key, &hi(false));
    let answer = request.header("x-resullm-cost", "1").send();
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("x-resullm-cost"), Some("40"));
    let left = (GRANT - 40).to_string();
    assert_eq!(answer.header("x-resullm-tokens-left"), Some(left.as_str()));
    assert_eq!(spent(&gateway, &key), 40);
}
