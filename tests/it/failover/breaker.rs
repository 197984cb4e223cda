//! The circuit breaker: who opens it, who notices, and calls of many accounts beside a provider that fails.

use super::{GRANT, ask, config, hi, start};
use crate::harness::{
    Client, Gateway, Provider, Script, Setup, Step, balance, chat, eventually, mint, sample_at,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CALLS: usize = 2_000;
const CALLERS: usize = 8;

fn error(status: u16) -> Script {
    Script::json(status, &json!({"error": {"message": "no", "type": "t"}}))
}

fn live() -> Provider {
    Provider::start(|asked| match asked.json()["stream"] == true {
        true => Script::chat_stream(&["from ", "live"], 9, 2),
        false => Script::chat("from live", 9, 2),
    })
}

/// Address of a gateway's listener for the operator.
fn ops(gateway: &Gateway) -> Client {
    let line = gateway.wait_log("Metrics on http://");
    let (_, address) = line.split_once("http://").unwrap();
    let (address, _) = address.split_once("/metrics").unwrap();
    Client::new(address.parse().unwrap())
}

#[test]
fn failures_of_three_accounts_put_an_endpoint_out_until_a_probe_is_answered() {
    let is_well = Arc::new(AtomicBool::new(false));
    let mends = is_well.clone();
    let first = Provider::start(move |_| match mends.load(Ordering::SeqCst) {
        true => Script::chat("well again", 9, 2),
        false => error(500),
    });
    let live = live();
    let setup = Setup::new()
        .env("RESULLM__SERVER__OPS_LISTEN", "127.0.0.1:0")
        .tenant("abc", config(&first, &live));
    let gateway = Gateway::start(setup);
    let keys: Vec<String> = (0..3).map(|_| mint(&gateway, "abc")).collect();
    for key in keys.iter().cycle().take(9) {
        assert_eq!(ask(&gateway, key, false).status, 200);
    }
    let tried = first.requests().len();
    assert!((5..9).contains(&tried), "{tried}");
    gateway.wait_log("[WARN] Endpoint openai is passed over");
    let ops = ops(&gateway);
    let ready = ops.get("/readyz?verbose").json();
    let passed_over = json!([{"tenant": "abc", "endpoint": "openai", "model": "gpt-4o"}]);
    assert_eq!(
        (&ready["status"], &ready["passedOver"]),
        (&json!("ready"), &passed_over)
    );
    let row = r#"resullm_endpoints_passed_over{tenant="abc",endpoint="openai"} 1"#;
    assert!(ops.get("/metrics").text().contains(row));
    // Who may not read the metrics learns nothing of tenants either.
    assert_eq!(
        gateway.client().get("/readyz?verbose").json(),
        json!({"status": "ready"})
    );

    is_well.store(true, Ordering::SeqCst);
    eventually(Duration::from_secs(30), "a probe is answered", || {
        let answer = ask(&gateway, &keys[0], false);
        assert_eq!(answer.status, 200);
        (answer.header("x-resullm-endpoint") == Some("openai")).then_some(())
    });
    gateway.wait_log("[INFO] Endpoint openai is used again");
    assert_eq!(ops.get("/readyz?verbose").json()["passedOver"], json!([]));
}

#[test]
fn poisonous_prompt_of_one_account_puts_out_nobody_else() {
    let first = Provider::start(|asked| match asked.text().contains("poison") {
        true => error(500),
        false => Script::chat("Hello", 9, 2),
    });
    let live = live();
    let (gateway, victim) = start(config(&first, &live));
    let poisoner = mint(&gateway, "abc");
    let mut poison = hi(false);
    poison["messages"][0]["content"] = json!("poison");
    for _ in 0..40 {
        assert_eq!(chat(&gateway, "abc", &poisoner, &poison).status, 200);
    }
    // After 20 failures the poisoner itself goes to the fallback at once.
    assert_eq!(first.requests().len(), 20);
    for _ in 0..3 {
        let answer = ask(&gateway, &victim, false);
        assert_eq!(answer.header("x-resullm-endpoint"), Some("openai"));
    }
}

#[test]
fn endpoint_without_an_alternative_is_always_asked() {
    let first = Provider::start(|_| error(500));
    let gone = Provider::start(|_| Script::new());
    let url = gone.url("/v1/chat/completions");
    drop(gone);
    let config = crate::harness::sample(&first)
        .endpoint("gone", &url, "gpt-4o")
        .tokens(GRANT);
    let (gateway, key) = start(config);
    for _ in 0..30 {
        assert_eq!(ask(&gateway, &key, false).status, 500);
    }
    assert_eq!(first.requests().len(), 30);
}

#[test]
fn provider_that_asks_for_a_rest_gets_it() {
    for (name, value) in [("retry-after", "30"), ("retry-after-ms", "30000")] {
        let first = Provider::start(move |_| error(429).header(name, value));
        let live = live();
        let (gateway, key) = start(config(&first, &live));
        for _ in 0..5 {
            assert_eq!(ask(&gateway, &key, false).status, 200);
        }
        assert_eq!(
            (first.requests().len(), live.requests().len()),
            (1, 5),
            "{name}"
        );
    }
}

/// A provider that fails in one way, beside a live one of the same model.
struct Beside {
    name: &'static str,
    failing: Option<fn() -> Script>,
    stream: bool,
}

fn slow() -> Script {
    Script::chat("late", 9, 2).first(Step::Wait(Duration::from_secs(5)))
}

fn cutting() -> Script {
    Script::new()
        .head(200, &[("content-type", "text/event-stream")])
        .bytes("data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n")
        .cut()
}

/// Median time of a call, and how many were answered, of [`CALLS`] by as many accounts as callers.
fn run(gateway: &Gateway, stream: bool) -> (Duration, usize) {
    let keys: Vec<String> = (0..CALLERS).map(|_| mint(gateway, "abc")).collect();
    let all: Vec<(Duration, bool)> = std::thread::scope(|scope| {
        let callers: Vec<_> = keys
            .iter()
            .map(|key| {
                scope.spawn(move || {
                    let call = || {
                        let begun = Instant::now();
                        let answer = ask(gateway, key, stream);
                        let is_whole = answer.status == 200 && answer.text().contains("live");
                        (begun.elapsed(), is_whole)
                    };
                    (0..CALLS / CALLERS).map(|_| call()).collect::<Vec<_>>()
                })
            })
            .collect();
        callers
            .into_iter()
            .flat_map(|caller| caller.join().unwrap())
            .collect()
    });
    let mut times: Vec<Duration> = all.iter().map(|(time, _)| *time).collect();
    times.sort();
    let answered = all.iter().filter(|(_, is_whole)| *is_whole).count();
    let left: u64 = keys.iter().map(|key| balance(gateway, key).0).sum();
    let spent = CALLERS as u64 * GRANT - left;
    assert_eq!(spent, 11 * answered as u64, "each answer is charged once");
    (times[CALLS / 2], answered)
}

fn config_beside(url: &str, live: &Provider) -> Value {
    sample_at(url)
        .endpoint("live", &live.url("/v1/chat/completions"), "gpt-4o")
        .set("providers.text.endpoints.openai.models", json!(["gpt-4o"]))
        .set(
            "providers.text.endpoints.openai.timeouts.first_byte",
            json!("500ms"),
        )
        .set("providers.text.endpoints.live.models", json!(["gpt-4o"]))
        .tokens(GRANT)
        .into()
}

#[test]
fn calls_beside_a_failing_endpoint_are_answered_and_each_is_charged_once() {
    let cases = [
        Beside {
            name: "dead",
            failing: None,
            stream: false,
        },
        Beside {
            name: "slow",
            failing: Some(slow),
            stream: false,
        },
        Beside {
            name: "500",
            failing: Some(|| error(500)),
            stream: false,
        },
        Beside {
            name: "429",
            failing: Some(|| error(429)),
            stream: false,
        },
        Beside {
            name: "cut",
            failing: Some(cutting),
            stream: true,
        },
    ];
    for Beside {
        name,
        failing,
        stream,
    } in cases
    {
        let live = live();
        let first = Provider::start(move |_| failing.map_or_else(Script::new, |failing| failing()));
        let url = first.url("/v1/chat/completions");
        if failing.is_none() {
            drop(first);
        }
        let setup = Setup::new().tenant("abc", config_beside(&url, &live));
        let gateway = Gateway::start(setup);
        let (median, answered) = run(&gateway, stream);
        println!("{name}: {answered} of {CALLS} answered, median {median:?}");
        assert!(
            answered * 1_000 >= CALLS * 999,
            "{name}: {answered} of {CALLS}"
        );
        assert_eq!(live.served(), answered, "{name}");
    }
}
