//! Shutdown, drain, and handover of the sockets to a successor.

use crate::harness::{
    Client, Gate, Gateway, Provider, Redis, Script, Setup, Step, TempDir, chat, chat_streaming,
    eventually, mint, sample,
};
use serde_json::json;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn call() -> serde_json::Value {
    json!({"messages": [{"role": "user", "content": "Hi"}]})
}

#[test]
fn an_idle_gateway_ends_at_once_on_either_signal() {
    let redis = Redis::start();
    for (signal, store) in [("TERM", None), ("INT", Some(redis.url()))] {
        let setup = Setup::new();
        let gateway = Gateway::start(match &store {
            Some(url) => setup.store(url),
            None => setup,
        });
        // An idle keep-alive connection must not delay the exit.
        let mut idle = gateway.client().connect();
        assert_eq!(idle.request("GET", "/").send().status, 200);
        let asked = Instant::now();
        gateway.signal(signal);
        assert_eq!(gateway.wait_exit(Duration::from_secs(5)).code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(3));
        assert_eq!(gateway.count_logs("[INFO] Server shutting down"), 1);
    }
}

#[test]
fn requests_in_flight_are_finished_and_settled_before_exit() {
    let redis = Redis::start();
    let gate = Gate::new();
    let hold = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat_stream(&["one ", "two ", "three"], 10, 3)
            .after(2, Step::WaitUntilReleased(hold.clone()))
    });
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", sample(&provider).tokens(1000));
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let mut stream = chat_streaming(
        &gateway,
        "abc",
        &key,
        &json!({"stream": true, "messages": []}),
    );
    stream.wait_for("one ");

    gateway.signal("TERM");
    gateway.wait_log("[INFO] Server shutting down");

    let refused = || gateway.client().try_connect().is_err().then_some(());
    eventually(
        Duration::from_secs(5),
        "no new connection is taken",
        refused,
    );
    assert!(gateway.is_alive());

    gate.open();
    let whole = stream.into_response().unwrap();
    assert!(
        whole.text().contains("three") && whole.text().contains("[DONE]"),
        "{}",
        whole.text()
    );
    assert_eq!(gateway.wait_exit(Duration::from_secs(10)).code(), Some(0));

    let record = redis.cli(&["GET", &format!("apiKey:{key}")]).text();
    assert!(record.contains("\"tokensLeft\":987"), "{record}");
    assert_eq!(
        redis
            .cli(&["HLEN", &format!("{{apiKey:{key}}}:books")])
            .int(),
        2,
        "no hold, one slice, and the tally of the ledger"
    );
}

#[test]
fn drain_timeout_settles_and_notifies_cut_streams() {
    let redis = Redis::start();
    let provider =
        Provider::start(|_| Script::chat_stream(&["one ", "two "], 10, 2).after(2, Step::Stall));
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", sample(&provider).tokens(1000))
        .yaml("server: { drain_timeout: 1s }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let mut stream = chat_streaming(
        &gateway,
        "abc",
        &key,
        &json!({"stream": true, "messages": []}),
    );
    stream.wait_for("one ");
    gateway.signal("TERM");

    let said = stream.wait_for("event: error");
    assert!(
        said.contains("shutting down") && !said.contains("[DONE]"),
        "{said}"
    );
    assert_eq!(gateway.wait_exit(Duration::from_secs(10)).code(), Some(0));

    let books = redis.cli(&["HKEYS", &format!("{{apiKey:{key}}}:books")]);
    assert!(
        !books
            .list()
            .iter()
            .any(|field| field.text().starts_with("h:")),
        "the hold is settled"
    );
}

#[test]
fn second_signal_ends_the_drain() {
    let provider = Provider::start(|_| Script::new().stall());
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let client = gateway.client();
    let waiting = std::thread::spawn(move || {
        client
            .request("POST", "/abc/v1/chat/completions")
            .bearer(&key)
            .json(&call())
            .send()
            .status
    });
    provider.wait_requests(1);

    gateway.signal("TERM");
    gateway.wait_log("[INFO] Server shutting down");

    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(Duration::from_secs(8)).code(), Some(0));
    assert_eq!(waiting.join().unwrap(), 503);
}

/// Clients that send requests in a loop, on new connections or on a kept one.
fn hammer(
    client: Client,
    stop: &Arc<AtomicBool>,
    done: &Arc<AtomicUsize>,
) -> Vec<std::thread::JoinHandle<Vec<String>>> {
    (0..4)
        .map(|_| {
            let (stop, done) = (stop.clone(), done.clone());
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match client.request("GET", "/").try_send() {
                        Ok(response) if response.status == 200 => {
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(response) => failures.push(format!("status {}", response.status)),
                        Err(error) => failures.push(error.to_string()),
                    }
                }
                failures
            })
        })
        .collect()
}

/// Process ID of the successor, so that the test can end it.
pub fn successor(gateway: &Gateway) -> Option<u32> {
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", gateway.pid())).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

pub struct KillOnDrop(pub u32);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill")
            .args(["-KILL", &self.0.to_string()])
            .status();
    }
}

#[track_caller]
fn hands_over(setup: Setup, redis_or_embedded: &str) {
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients = hammer(gateway.client(), &stop, &done);
    let more = |wanted: usize| {
        let target = done.load(Ordering::SeqCst) + wanted;
        eventually(Duration::from_secs(20), "requests are answered", || {
            (done.load(Ordering::SeqCst) >= target).then_some(())
        });
    };
    more(50);
    gateway.signal("QUIT");
    let heir = KillOnDrop(eventually(
        Duration::from_secs(10),
        "a successor is started",
        || successor(&gateway),
    ));
    assert_eq!(
        gateway.wait_exit(Duration::from_secs(30)).code(),
        Some(0),
        "{redis_or_embedded}"
    );
    more(50);
    stop.store(true, Ordering::SeqCst);
    let failures: Vec<String> = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect();
    assert!(failures.is_empty(), "{redis_or_embedded}: {failures:?}");
    // The successor uses the same store.
    assert_eq!(chat(&gateway, "abc", &key, &call()).status, 200);
    drop(heir);
}

#[test]
fn handover_on_redis_refuses_no_connection() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    hands_over(
        Setup::new()
            .store(&redis.url())
            .tenant("abc", sample(&provider)),
        "redis",
    );
}

#[test]
fn handover_on_an_embedded_store_refuses_no_connection() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    hands_over(Setup::new().tenant("abc", sample(&provider)), "embedded");
}

#[test]
fn failed_successor_leaves_the_old_process_serving() {
    let redis = Redis::start();
    let gateway = Gateway::start(Setup::new().store(&redis.url()));
    std::fs::write(gateway.setup().path().join("gateway.yaml"), "nonsense: 1\n").unwrap();
    gateway.signal("QUIT");
    gateway.wait_log("[ERROR] Hand-over failed");
    assert_eq!(gateway.client().get("/").status, 200);
}

/// The environment of a process never changes; a file is read anew by each process that takes over.
#[test]
fn operator_token_in_a_file_is_exchanged_by_a_reload() {
    let dir = TempDir::new();
    let tokens = dir.write("tokens", "the-first-token\n");
    let setup = Setup::new()
        .env("RESULLM__ADMIN__TOKEN_FILE", &tokens.display().to_string())
        .env(
            "RESULLM__ADMIN__OLD_TOKENS",
            "an-old-token, another-old-token",
        );
    let gateway = Gateway::start(setup);
    let status = |token: &str| {
        let request = gateway.client().request("GET", "/admin/tenants");
        request.bearer(token).send().status
    };
    for token in [
        gateway.admin_token(),
        "the-first-token",
        "an-old-token",
        "another-old-token",
    ] {
        assert_eq!(status(token), 200, "{token}");
    }
    assert_eq!(status("the-second-token"), 401);
    fs::write(&tokens, "the-second-token\n").unwrap();

    gateway.signal("QUIT");
    let heir = KillOnDrop(eventually(
        Duration::from_secs(10),
        "a successor is started",
        || successor(&gateway),
    ));
    gateway.wait_exit(Duration::from_secs(30));

    assert_eq!(status("the-second-token"), 200);
    assert_eq!(status("the-first-token"), 401);
    drop(heir);
}
