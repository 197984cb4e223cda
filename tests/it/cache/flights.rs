//! Equal calls at once: one asks the provider, the others wait and pay the fee.

use super::{GRANT, SOON, ask, cached, hi, spent, start, streamed};
use crate::harness::{
    Gate, Gateway, Provider, Redis, Script, Setup, Step, balance, chat, chat_streaming, eventually,
    mint,
};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CALLS: usize = 100;

#[test]
fn hundred_equal_calls_on_two_instances_make_one_call_each_at_most() {
    let redis = Redis::start();
    let provider = Provider::start(|asked| {
        let script = match asked.json()["stream"] == true {
            true => Script::chat_stream(&["Good ", "day"], 9, 2),
            false => Script::chat("Good day", 9, 2),
        };
        script.first(Step::Wait(Duration::from_millis(500)))
    });
    let start = || {
        let setup = Setup::new()
            .store(&redis.url())
            .tenant("abc", cached(&provider));
        Gateway::start(setup)
    };
    let (one, other) = (start(), start());
    let keys: Vec<String> = (0..CALLS).map(|_| mint(&one, "abc")).collect();
    std::thread::scope(|scope| {
        for (nth, key) in keys.iter().enumerate() {
            let gateway = if nth % 2 == 0 { &one } else { &other };
            let call = if nth % 3 == 0 { streamed(&hi()) } else { hi() };
            scope.spawn(move || {
                let answer = ask(gateway, key, &call);
                assert!(answer.text().contains("day"), "{}", answer.text());
            });
        }
    });
    let asked = provider.requests().len();
    assert!((1..=2).contains(&asked), "{asked}");
    let spent: Vec<u64> = keys
        .iter()
        .map(|key| GRANT - balance(&one, key).0)
        .collect();
    assert_eq!(spent.iter().filter(|spent| **spent == 11).count(), asked);
    assert_eq!(
        spent.iter().filter(|spent| **spent == 3).count(),
        CALLS - asked
    );
}

#[test]
fn next_one_calls_if_the_first_fails() {
    let count = Arc::new(AtomicUsize::new(0));
    let counts = count.clone();
    let gate = Gate::new();
    let held = gate.clone();
    let provider = Provider::start(move |_| match counts.fetch_add(1, Ordering::SeqCst) {
        0 => Script::json(500, &json!({"error": {"message": "no"}}))
            .first(Step::WaitUntilReleased(held.clone())),
        _ => Script::chat("Good day", 9, 2),
    });
    let (gateway, _) = start(cached(&provider));
    let keys: Vec<String> = (0..4).map(|_| mint(&gateway, "abc")).collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = keys
            .iter()
            .map(|key| {
                let gateway = &gateway;
                scope.spawn(move || chat(gateway, "abc", key, &hi()).status)
            })
            .collect();
        provider.wait_requests(1);
        eventually(SOON, "all wait", || {
            let held = |key: &String| balance(&gateway, key).1 < GRANT;
            keys.iter().all(held).then_some(())
        });
        gate.open();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 1);
    assert_eq!(provider.requests().len(), 2);
    let mut spent: Vec<u64> = keys.iter().map(|key| spent(&gateway, key)).collect();
    spent.sort_unstable();
    assert_eq!(spent, [0, 3, 3, 11]);
}

/// The provider's answer is for the client that asked alone: nobody waits for another one in turn.
#[test]
fn those_who_wait_for_what_is_not_kept_call_at_once() {
    let gate = Gate::new();
    let held = gate.clone();
    let cut_off = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o",
        "choices": [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "Good"}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}});
    let provider = Provider::start(move |_| {
        Script::json(200, &cut_off).first(Step::WaitUntilReleased(held.clone()))
    });
    let (gateway, _) = start(cached(&provider));
    let keys: Vec<String> = (0..4).map(|_| mint(&gateway, "abc")).collect();
    std::thread::scope(|scope| {
        for key in &keys {
            let gateway = &gateway;
            scope.spawn(move || assert_eq!(chat(gateway, "abc", key, &hi()).status, 200));
        }
        provider.wait_requests(1);
        eventually(SOON, "all wait", || {
            let held = |key: &String| balance(&gateway, key).1 < GRANT;
            keys.iter().all(held).then_some(())
        });
        gate.open();
    });
    assert_eq!(provider.requests().len(), 4);
    assert!(keys.iter().all(|key| spent(&gateway, key) == 11));
}

#[test]
fn first_ones_leaving_does_not_end_the_call_of_those_who_wait() {
    let gate = Gate::new();
    let held = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat_stream(&["Good ", "day"], 9, 2).after(2, Step::WaitUntilReleased(held.clone()))
    });
    // A server that shows all it generates would be cut off when its client leaves.
    let config = cached(&provider).set("providers.text.endpoints.openai.server", json!("openai"));
    let (gateway, first) = start(config);
    let second = mint(&gateway, "abc");
    let mut leaving = chat_streaming(&gateway, "abc", &first, &streamed(&hi()));
    leaving.wait_for("Good");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&gateway, &second, &hi()));
        eventually(SOON, "the second one waits", || {
            (balance(&gateway, &second).1 < GRANT).then_some(())
        });
        drop(leaving);
        std::thread::sleep(Duration::from_millis(500));
        gate.open();
        let answer = waiting.join().unwrap();
        assert_eq!(answer.header("x-resullm-cache"), Some("hit"));
        assert_eq!(
            answer.json()["choices"][0]["message"]["content"],
            "Good day"
        );
    });
    assert_eq!(provider.requests().len(), 1);
    eventually(SOON, "the first one is charged", || {
        (balance(&gateway, &first) == (GRANT - 11, GRANT - 11)).then_some(())
    });
    assert_eq!(spent(&gateway, &second), 3);
}

#[test]
fn waiting_client_that_leaves_pays_nothing() {
    let gate = Gate::new();
    let held = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat("Good day", 9, 2).first(Step::WaitUntilReleased(held.clone()))
    });
    let (gateway, first) = start(cached(&provider));
    let second = mint(&gateway, "abc");
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| ask(&gateway, &first, &hi()));
        provider.wait_requests(1);
        let body = hi().to_string();
        let mut leaving = gateway.client().connect();
        leaving.write(
            format!(
                "POST /abc/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {second}\r\ncontent-length: \
                 {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
        eventually(SOON, "the second one waits", || {
            (balance(&gateway, &second).1 < GRANT).then_some(())
        });
        drop(leaving);
        eventually(SOON, "its hold ends", || {
            (balance(&gateway, &second) == (GRANT, GRANT)).then_some(())
        });
        gate.open();
        calling.join().unwrap();
    });
    assert_eq!(provider.requests().len(), 1);
}

/// What is wrong with a request is wrong for each who sends it: none waits for all the others to hear it.
#[test]
fn equal_calls_that_fail_do_not_queue() {
    for (status, leaders) in [(400, 1), (500, 2)] {
        let count = AtomicUsize::new(0);
        let gates: Vec<Gate> = (0..=leaders).map(|_| Gate::new()).collect();
        let held = gates.clone();
        let provider = Provider::start(move |_| {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            let gate = &held[nth.min(leaders)];
            Script::json(status, &json!({"error": {"message": "no"}}))
                .first(Step::WaitUntilReleased(gate.clone()))
        });
        let (gateway, _) = start(cached(&provider));
        let keys: Vec<String> = (0..12).map(|_| mint(&gateway, "abc")).collect();
        std::thread::scope(|scope| {
            for key in &keys {
                let gateway = &gateway;
                scope.spawn(move || assert_eq!(chat(gateway, "abc", key, &hi()).status, status));
            }
            eventually(SOON, "all wait", || {
                let held = |key: &String| balance(&gateway, key).1 < GRANT;
                keys.iter().all(held).then_some(())
            });
            for (nth, gate) in gates[..leaders].iter().enumerate() {
                provider.wait_requests(nth + 1);
                // Time for the others to wait for this one.
                std::thread::sleep(Duration::from_millis(300));
                gate.open();
            }
            // All that are left ask at the same time.
            provider.wait_requests(12);
            gates[leaders].open();
        });
    }
}

/// A stream too long to be kept is nobody else's: an equal call does not wait for its slow reader.
#[test]
fn slow_reader_of_a_long_answer_keeps_nobody_waiting() {
    let text = "x".repeat(64 << 10);
    let provider = Provider::start(move |asked| match asked.json()["stream"] == true {
        true => {
            let texts: Vec<&str> = std::iter::repeat_n(text.as_str(), 200).collect();
            Script::chat_stream(&texts, 9, 2)
        }
        false => Script::chat("Good day", 9, 2),
    });
    let setup = Setup::new()
        .yaml("cache: { per_answer: 16KiB }")
        .tenant("abc", cached(&provider).tokens(100_000_000));
    let gateway = Gateway::start(setup);
    let (first, second) = (mint(&gateway, "abc"), mint(&gateway, "abc"));
    let mut call = hi();
    call["max_tokens"] = json!(20_000_000);
    let mut slow = chat_streaming(&gateway, "abc", &first, &streamed(&call));
    slow.wait_for("xxxx");
    let answer = chat(&gateway, "abc", &second, &call);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json()["choices"][0]["message"]["content"],
        "Good day"
    );
    drop(slow);
}
