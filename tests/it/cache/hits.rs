//! Hits: the provider is not asked, the fee is exact, and the answer comes in the form that was asked for.

use super::{GRANT, ask, cached, hi, result_of, spent, start, streamed};
use crate::harness::sample::PROVIDER_KEY;
use crate::harness::{
    Gateway, Provider, Redis, Script, Setup, balance, chat, chat_request, eventually, mint, sample,
};
use serde_json::{Value, json};
use std::time::Duration;

fn provider() -> Provider {
    Provider::start(|asked| match asked.json()["stream"] == true {
        true => Script::chat_stream(&["Good ", "day"], 9, 2),
        false => Script::chat("Good day", 9, 2),
    })
}

#[test]
fn second_equal_call_gets_the_same_answer_for_the_fee() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let provider = provider();
        let gateway = Gateway::start(setup.tenant("abc", cached(&provider)));
        let (first, second) = (mint(&gateway, "abc"), mint(&gateway, "abc"));

        let asked = ask(&gateway, &first, &hi());
        let given = ask(&gateway, &second, &hi());

        assert_eq!(asked.header("x-resullm-cache"), Some("miss"));
        assert_eq!(given.header("x-resullm-cache"), Some("hit"));
        assert_eq!(given.header("content-type"), Some("application/json"));
        assert_eq!(given.header("x-resullm-endpoint"), Some("openai"));
        assert_eq!(asked.json(), given.json());
        assert_eq!(provider.requests().len(), 1);
        // A fifth of 11, rounded up.
        assert_eq!((spent(&gateway, &first), spent(&gateway, &second)), (11, 3));
        assert_eq!(
            given.header("x-resullm-tokens-left"),
            Some((GRANT - 3).to_string().as_str())
        );
        let usage = eventually(Duration::from_secs(10), "two usage records", || {
            let request = gateway.client().request("GET", "/abc/admin/usage");
            let usage = request.bearer(gateway.admin_token()).send().json();
            (usage["events"].as_array()?.len() == 2).then_some(usage)
        });
        let event = usage["events"]
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["cache"] == "hit");
        let event = event.unwrap_or_else(|| panic!("{usage}"));
        assert_eq!(
            (&event["cost"], &event["basis"]),
            (&json!(3), &json!("cached"))
        );
        assert_eq!(
            (&event["tokensIn"], &event["tokensOut"]),
            (&json!(0), &json!(0))
        );
    }
}

#[test]
fn answer_is_replayed_as_json_or_as_a_stream_with_the_usage_of_the_first() {
    for first_streams in [false, true] {
        let provider = provider();
        let (gateway, key) = start(cached(&provider));
        let first = if first_streams { streamed(&hi()) } else { hi() };
        ask(&gateway, &key, &first);

        let whole = ask(&gateway, &key, &hi());
        assert_eq!(
            whole.header("x-resullm-cache"),
            Some("hit"),
            "{first_streams}"
        );
        let whole = whole.json();
        assert_eq!(whole["choices"][0]["message"]["content"], "Good day");
        assert_eq!(whole["choices"][0]["finish_reason"], "stop");
        assert_eq!(whole["usage"]["total_tokens"], 11);

        let stream = ask(&gateway, &key, &streamed(&hi()));
        assert_eq!(stream.header("x-resullm-cache"), Some("hit"));
        assert!(
            stream
                .header("content-type")
                .unwrap()
                .starts_with("text/event-stream")
        );
        let text = stream.text();
        assert!(
            text.contains("Good day") && text.ends_with("data: [DONE]\n\n"),
            "{text}"
        );
        assert!(!text.contains("total_tokens"), "{text}");

        let mut with_usage = streamed(&hi());
        with_usage["stream_options"] = json!({"include_usage": true});
        let text = ask(&gateway, &key, &with_usage).text();
        assert!(text.contains("\"total_tokens\":11"), "{text}");
        assert_eq!(provider.requests().len(), 1);
        assert_eq!(spent(&gateway, &key), 11 + 3 * 3);
    }
}

#[test]
fn messages_are_kept_and_given_in_both_forms() {
    let provider = Provider::start(|_| Script::message("Good day", 9, 2));
    let config = sample(&provider)
        .endpoint("claude", &provider.url("/v1/messages"), "claude-sonnet-4-5")
        .caching(20)
        .tokens(GRANT);
    let (gateway, key) = start(config);
    let call = json!({"model": "claude-sonnet-4-5", "max_tokens": 50,
        "messages": [{"role": "user", "content": "Hi"}]});
    let send = |call: &Value| {
        let request = gateway
            .client()
            .request("POST", "/abc/v1/messages")
            .json(call);
        request.header("x-api-key", &key).send()
    };
    assert_eq!(send(&call).header("x-resullm-cache"), Some("miss"));
    let given = send(&call);
    assert_eq!(given.header("x-resullm-cache"), Some("hit"));
    assert_eq!(given.json()["content"][0]["text"], "Good day");
    let stream = send(&streamed(&call));
    assert_eq!(stream.header("x-resullm-cache"), Some("hit"));
    let text = stream.text();
    assert!(
        text.contains("event: message_start") && text.contains("event: message_stop"),
        "{text}"
    );
    assert_eq!(provider.requests().len(), 1);
}

#[test]
fn only_whole_successful_answers_are_kept() {
    let finish = |reason: &str, message: Value| {
        json!({"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o",
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}})
    };
    let text = json!({"role": "assistant", "content": "Good day"});
    let tool = json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let refusal = json!({"role": "assistant", "content": null, "refusal": "No."});
    let cases = [
        (finish("length", text.clone()), false),
        (finish("content_filter", text.clone()), false),
        (finish("stop", refusal), false),
        (finish("tool_calls", tool), false),
        (
            json!({"error": {"message": "overloaded", "type": "server_error"}}),
            false,
        ),
        (finish("stop", text), true),
    ];
    for (answer, is_kept) in cases {
        let sent = answer.clone();
        let provider = Provider::start(move |_| Script::json(200, &sent));
        let (gateway, key) = start(cached(&provider));
        for _ in 0..2 {
            assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 200);
        }
        let asked = if is_kept { 1 } else { 2 };
        assert_eq!(provider.requests().len(), asked, "{answer}");
    }
    let provider = Provider::start(|_| Script::json(400, &json!({"error": {"message": "no"}})));
    let (gateway, key) = start(cached(&provider));
    for _ in 0..2 {
        assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 400);
    }
    assert_eq!(provider.requests().len(), 2);
}

#[test]
fn answers_that_call_tools_are_kept_where_the_tenant_wants_it() {
    let tool = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null,
            "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}});
    let provider = Provider::start(move |_| Script::json(200, &tool));
    let (gateway, key) = start(cached(&provider).set("caching.tools", json!(true)));
    assert_eq!(result_of(&gateway, &key, &hi()), "miss");
    assert_eq!(result_of(&gateway, &key, &hi()), "hit");
    let text = ask(&gateway, &key, &streamed(&hi())).text();
    assert!(text.contains("\"tool_calls\":[{"), "{text}");
}

#[test]
fn stream_that_breaks_off_is_not_kept() {
    let provider = Provider::start(|_| {
        let mut script = Script::chat_stream(&["Good ", "day"], 9, 2);
        script.steps.truncate(3);
        script.cut()
    });
    let (gateway, key) = start(cached(&provider));
    for _ in 0..2 {
        assert_eq!(chat(&gateway, "abc", &key, &streamed(&hi())).status, 200);
    }
    assert_eq!(provider.requests().len(), 2);
}

#[test]
fn hit_takes_a_place_in_the_window_and_needs_a_balance() {
    let provider = provider();
    let config = cached(&provider).rate_limit(2, 60);
    let (gateway, key) = start(config);
    assert_eq!(result_of(&gateway, &key, &hi()), "miss");
    assert_eq!(result_of(&gateway, &key, &hi()), "hit");
    assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 429);

    let (gateway, key) = start(cached(&provider).tokens(5));
    assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 402);
    assert_eq!(balance(&gateway, &key), (5, 5));
}

#[test]
fn answer_ends_after_its_time() {
    let provider = provider();
    let (gateway, key) = start(cached(&provider).set("caching.text_ttl", json!(1)));
    assert_eq!(result_of(&gateway, &key, &hi()), "miss");
    assert_eq!(result_of(&gateway, &key, &hi()), "hit");
    eventually(Duration::from_secs(10), "the answer ends", || {
        (result_of(&gateway, &key, &hi()) == "miss").then_some(())
    });
}

#[test]
fn tenant_without_a_cache_says_nothing_of_one() {
    let provider = provider();
    let (gateway, key) = start(sample(&provider).tokens(GRANT));
    for _ in 0..2 {
        assert_eq!(result_of(&gateway, &key, &hi()), "none");
    }
    assert_eq!(provider.requests().len(), 2);
}

/// The cache does without a fee, and charges all of it, as the config says.
#[test]
fn fee_is_what_the_config_says_at_the_time_of_the_hit() {
    for (percent, fee) in [(0, 0), (1, 1), (50, 6), (100, 11)] {
        let provider = provider();
        let (gateway, key) = start(sample(&provider).caching(percent).tokens(GRANT));
        ask(&gateway, &key, &hi());
        ask(&gateway, &key, &hi());
        assert_eq!(spent(&gateway, &key), 11 + fee, "{percent} %");
    }
}

#[test]
fn answer_that_repeats_who_asked_is_not_given_to_others() {
    let provider = Provider::start(|asked| {
        let call = asked.json();
        Script::json(
            200,
            &json!({"id": "r", "object": "response", "created_at": 1, "status": "completed",
            "model": "gpt-4o", "metadata": call["metadata"], "user": call["user"], "error": null,
            "incomplete_details": null, "output": [{"type": "message", "id": "m", "status": "completed",
                "role": "assistant", "content": [{"type": "output_text", "text": "Good day", "annotations": []}]}],
            "usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11,
                "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}}),
        )
    });
    let (gateway, key) = start(cached(&provider));
    let ask = |extra: Value| {
        let mut call = json!({"model": "gpt-4o", "input": "hello", "max_output_tokens": 50});
        call.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let request = gateway
            .client()
            .request("POST", "/abc/v1/responses")
            .bearer(&key);
        let answer = request.json(&call).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    };
    let alice = json!({"metadata": {"email": "alice@example.com"}, "user": "alice"});
    assert_eq!(ask(alice.clone()).header("x-resullm-cache"), Some("miss"));
    let others = ask(json!({}));
    assert_eq!(others.header("x-resullm-cache"), Some("miss"));
    assert!(!others.text().contains("alice"));
    // A call that meets the end of the one before goes its own way, and is not kept.
    eventually(Duration::from_secs(10), "an answer is kept", || {
        (ask(json!({})).header("x-resullm-cache") == Some("hit")).then_some(())
    });
    assert!(!ask(alice).text().contains("alice"));
}

#[test]
fn answer_that_quotes_a_key_in_pieces_is_not_kept() {
    let provider = Provider::start(|_| {
        let (one, other) = PROVIDER_KEY.split_at(10);
        Script::chat_stream(&[one, other], 9, 2)
    });
    let (gateway, key) = start(cached(&provider));
    ask(&gateway, &key, &streamed(&hi()));
    let second = ask(&gateway, &key, &hi());
    assert_eq!(second.header("x-resullm-cache"), Some("miss"));
    assert!(!second.text().contains(PROVIDER_KEY));
}

#[test]
fn answer_without_content_is_not_kept() {
    let provider = Provider::start(|_| Script::chat("", 9, 1));
    let (gateway, key) = start(cached(&provider));
    assert_eq!(result_of(&gateway, &key, &hi()), "miss");
    assert_eq!(result_of(&gateway, &key, &hi()), "miss");
}

/// Amounts of one currency are none of another.
#[test]
fn hit_has_no_amount_where_the_currency_is_another_one_since() {
    let provider = provider();
    let prices = |currency: &str| json!({"currency": currency, "models": {"gpt-4o": {"input": 2.5, "output": 10}}});
    let config = cached(&provider).set("prices", prices("USD"));
    let (gateway, key) = start(config.clone());
    let cost = || {
        let request = chat_request(&gateway, "abc", &key, &hi());
        let answer = request.header("x-resullm-cost", "1").send();
        assert_eq!(answer.status, 200);
        answer.header("x-resullm-cost").unwrap().to_owned()
    };
    let price = cost();
    assert!(
        price.ends_with("currency=USD") && price.starts_with("11; "),
        "{price}"
    );
    assert!(cost().starts_with("3; amount="));
    let changed = gateway
        .client()
        .request("PUT", "/abc/admin/config")
        .bearer(gateway.admin_token())
        .json(&json!({"config": serde_json::Value::from(config.set("prices", prices("JPY")))}))
        .send();
    assert_eq!(changed.status, 200, "{}", changed.text());

    crate::harness::eventually(super::SOON, "the new config is in force", || {
        let cost = cost();
        (!cost.contains("USD")).then(|| assert_eq!(cost, "3"))
    });
}
