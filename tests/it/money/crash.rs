//! kill -9 at any moment loses nothing that was acknowledged.

use crate::harness::{
    Gate, Gateway, Provider, Redis, Script, Setup, Step, balance, chat, chat_streaming, eventually,
    mint, sample,
};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ROUNDS: usize = 20;
const COST: u64 = 7;
const GRANT: u64 = 1_000_000;

/// Acknowledgements of one client: its key, and its number of successful calls.
struct Told {
    key: String,
    answered: u64,
    /// Calls in flight at the kill, which may be charged or not.
    open: u64,
}

fn work(gateway: &Gateway, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<Told>> {
    let (client, stop) = (gateway.client(), stop.clone());
    let call = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20});
    std::thread::spawn(move || {
        let mut all = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let Ok(minted) = client.request("POST", "/abc/auth/anonymous").try_send() else {
                break;
            };
            assert_eq!(minted.status, 200, "{}", minted.text());
            let key = minted.json()["apiKey"].as_str().unwrap().to_owned();
            let mut told = Told {
                key,
                answered: 0,
                open: 0,
            };
            for _ in 0..5 {
                match client
                    .request("POST", "/abc/v1/chat/completions")
                    .bearer(&told.key)
                    .json(&call)
                    .try_send()
                {
                    Ok(response) if response.status == 200 => told.answered += 1,
                    Ok(response) => panic!("{}", response.text()),
                    Err(_) => {
                        told.open += 1;
                        break;
                    }
                }
            }
            all.push(told);
        }
        all
    })
}

#[test]
fn kill_9_of_an_embedded_store_loses_nothing_acknowledged() {
    kill_and_compare(ROUNDS);
}

/// Kills the gateway `rounds` times and asserts that nothing acknowledged is lost; returns the number of
/// mints and of charges.
pub fn kill_and_compare(rounds: usize) -> (usize, u64) {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new()
        .tenant("abc", sample(&provider).tokens(GRANT))
        .yaml("accounts: { mints_per_address: 1000000 }");
    let mut told: HashMap<String, (u64, u64)> = HashMap::new();
    for round in 0..rounds {
        let gateway = Gateway::start(setup.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..4).map(|_| work(&gateway, &stop)).collect();
        // Each round kills at a different moment.
        std::thread::sleep(Duration::from_millis(40 + 23 * (round as u64 % 7)));
        gateway.kill9();
        stop.store(true, Ordering::SeqCst);
        for worker in workers {
            for Told {
                key,
                answered,
                open,
            } in worker.join().unwrap()
            {
                told.insert(key, (answered, open));
            }
        }
    }
    let gateway = Gateway::start(setup);
    assert!(told.len() > rounds, "{} keys", told.len());
    let mut charges = 0;
    for (key, (answered, open)) in &told {
        let me = gateway
            .client()
            .request("GET", "/abc/auth/me")
            .bearer(key)
            .send();
        assert_eq!(me.status, 200, "an acknowledged key is lost: {}", me.text());
        let left = me.json()["tokensLeft"].as_u64().unwrap();
        let spent = GRANT - left;
        assert!(
            spent >= answered * COST,
            "an acknowledged charge is lost: {spent} < {answered} x {COST}"
        );
        assert!(
            spent <= (answered + open) * COST,
            "charged twice: {spent} > ({answered} + {open}) x {COST}"
        );
        charges += answered;
    }
    assert!(charges > rounds as u64, "{charges} charges");
    mint(&gateway, "abc");
    (told.len(), charges)
}

#[test]
fn requests_of_a_killed_process_are_settled_at_the_next_start() {
    let redis = Redis::start();
    for store in [None, Some(redis.url())] {
        redis.cli(&["FLUSHALL"]);
        // Streams a hundred tokens and then stalls.
        let provider = Provider::start(|_| {
            let mut script = Script::new().head(200, &[("content-type", "text/event-stream")]);
            for _ in 0..10 {
                let chunk = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"0123456789012345678901234567890123456789\"}}]}\n\n";
                script = script.bytes(chunk).wait(Duration::from_millis(60));
            }
            script.bytes(": the end\n\n").stall()
        });
        let setup = store
            .iter()
            .fold(Setup::new(), |setup, url| setup.store(url));
        let setup = setup.tenant("abc", sample(&provider).tokens(10_000));
        let gateway = Gateway::start(setup.clone());
        let key = mint(&gateway, "abc");
        let call =
            json!({"stream": true, "messages": [{"role": "user", "content": "x".repeat(400)}]});
        let mut stream = chat_streaming(&gateway, "abc", &key, &call);
        stream.wait_for(": the end");
        gateway.kill9();
        drop(stream);
        let gateway = Gateway::start(setup);
        gateway.wait_log("[INFO] Settled 1 requests of an earlier process");
        gateway.wait_log("tokens for an earlier process account=");
        let (left, free) = balance(&gateway, &key);
        assert_eq!(left, free, "no hold is left");
        // 100 prompt and 100 streamed tokens, less those after the journal's last note.
        assert!((10_000 - left).abs_diff(202) < 30, "{}", 10_000 - left);
    }
}

#[test]
fn waiting_settlement_survives_kill_9_of_the_gateway() {
    let redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let gate = Gate::new();
    let hold = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat_stream(&["one ", "two "], 10, 2)
            .after(2, Step::WaitUntilReleased(hold.clone()))
    });
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", sample(&provider).tokens(1000));
    let gateway = Gateway::start(setup.clone());
    let key = mint(&gateway, "abc");
    let call = json!({"stream": true, "messages": []});
    let mut stream = chat_streaming(&gateway, "abc", &key, &call);
    stream.wait_for("one ");

    redis.kill();
    eventually(Duration::from_secs(5), "the loss is noticed", || {
        (chat(&gateway, "abc", &key, &json!({"messages": []})).status == 503).then_some(())
    });

    gate.open();
    stream.wait_for("[DONE]");
    gateway.wait_log("A settlement of 12 tokens waits");

    gateway.kill9();
    redis.restart();
    for _ in 0..2 {
        let gateway = Gateway::start(setup.clone());
        assert_eq!(
            balance(&gateway, &key),
            (988, 988),
            "charged once, however often it starts"
        );
    }
}
