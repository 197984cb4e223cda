//! HTTP/2, by preface on plain listeners and by ALPN on TLS ones: same results as HTTP/1.1.

use crate::harness::{
    CHAT_PATH, Gate, Gateway, Http2, Provider, Script, Setup, Step, balance, eventually, mint,
    sample,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn call(stream: bool) -> Value {
    json!({"model": "gpt-4o", "max_tokens": 20, "stream": stream,
        "messages": [{"role": "user", "content": "Hi"}]})
}

fn answering() -> Provider {
    Provider::start(|asked| match asked.json()["stream"].as_bool() {
        Some(true) => Script::chat_stream(&["one", "two"], 9, 2),
        _ => Script::chat("one two", 9, 2),
    })
}

#[test]
fn http2_calls_responses_and_errors_equal_http1() {
    let provider = answering();
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(100)));
    let client = Http2::plain(gateway.addr());
    let minted = client.send("POST", "/abc/auth/anonymous", &[], Some(Vec::new()));
    assert_eq!(minted.status, 200, "{}", minted.text());
    let key = minted.json()["apiKey"].as_str().unwrap().to_owned();

    let plain = client.post(CHAT_PATH, &key, &call(false));
    assert_eq!(plain.status, 200, "{}", plain.text());
    assert_eq!(plain.json()["choices"][0]["message"]["content"], "one two");
    assert_eq!(plain.header("x-resullm-tokens-left"), Some("89"));
    assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));
    for name in ["connection", "transfer-encoding", "keep-alive"] {
        assert_eq!(plain.header(name), None, "{name}");
    }
    let streamed = client.post(CHAT_PATH, &key, &call(true));
    assert!(
        streamed.text().ends_with("data: [DONE]\n\n"),
        "{}",
        streamed.text()
    );
    assert_eq!(balance(&gateway, &key).0, 78);

    let twin = |path: &str, key: &str, body: &Value| {
        let ours = client.post(path, key, body);
        let theirs = gateway
            .client()
            .request("POST", path)
            .bearer(key)
            .json(body)
            .send();
        assert_eq!(ours.status, theirs.status, "{path}: {}", ours.text());
        let without_id = |mut body: Value| {
            if let Some(error) = body["error"].as_object_mut() {
                error.remove("request_id");
            }
            body
        };
        assert_eq!(without_id(ours.json()), without_id(theirs.json()));
        assert_eq!(
            ours.header("x-should-retry"),
            theirs.header("x-should-retry")
        );
        assert_eq!(ours.header("retry-after"), theirs.header("retry-after"));
        ours.status
    };
    let mut too_much = call(false);
    too_much["messages"][0]["content"] = json!("x ".repeat(5_000));
    assert_eq!(twin(CHAT_PATH, &key, &too_much), 402);
    assert_eq!(twin(CHAT_PATH, "temp_unknown", &call(false)), 401);
    assert_eq!(twin(CHAT_PATH, &key, &json!({"messages": 7})), 400);
    assert_eq!(twin("/abc/v1/nothing", &key, &call(false)), 404);
    assert_eq!(twin("/xyz/v1/chat/completions", &key, &call(false)), 400);
}

#[test]
fn http2_heads_bodies_and_methods_are_read_strictly() {
    let provider = answering();
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(1_000_000)));

    let client = Http2::plain(gateway.addr());
    assert_eq!(client.get("/healthz").status, 200);
    let head = client.send("HEAD", "/healthz", &[], None);
    assert_eq!((head.status, head.body.len()), (200, 0));

    let refused = |headers: &[(&str, &str)]| client.send("GET", "/healthz", headers, None).status;
    assert_eq!(refused(&[("expect", "something")]), 417);
    assert_eq!(refused(&[("host", "other.example")]), 400);
    assert_eq!(client.send("TRACE", "/healthz", &[], None).status, 405);

    let key = mint(&gateway, "abc");
    let too_long = vec![b'x'; 40 << 20];
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-length", "41943040"),
    ];
    // The declared length is refused before the body is read.
    let begun = client
        .begin("POST", CHAT_PATH, &headers, Some(too_long))
        .unwrap();
    assert_eq!(begun.whole().unwrap().status, 413);

    let mut long = call(false);
    long["messages"][0]["content"] = json!("word ".repeat(60_000));
    let answer = client.post(CHAT_PATH, &key, &long);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn many_streams_are_served_side_by_side_and_charged_exactly() {
    let provider = answering();
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(100_000)));
    let key = mint(&gateway, "abc");
    let client = Http2::plain(gateway.addr());
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    let begun: Vec<_> = (0..90)
        .map(|n| {
            let body = call(n % 2 == 0).to_string().into_bytes();
            client
                .begin("POST", CHAT_PATH, &headers, Some(body))
                .unwrap()
        })
        .collect();

    for each in begun {
        assert_eq!(each.whole().unwrap().status, 200);
    }
    eventually(Duration::from_secs(10), "all of it is settled", || {
        (balance(&gateway, &key) == (100_000 - 90 * 11, 100_000 - 90 * 11)).then_some(())
    });
}

/// CPU time of each worker thread, in nanoseconds.
fn workers(gateway: &Gateway) -> BTreeMap<PathBuf, u64> {
    let tasks = format!("/proc/{}/task", gateway.pid());
    let read = |path: &Path, file: &str| std::fs::read_to_string(path.join(file)).unwrap();
    let threads = std::fs::read_dir(tasks).unwrap();
    let mut paths: Vec<_> = threads.map(|thread| thread.unwrap().path()).collect();
    paths.retain(|path| read(path, "comm").starts_with("worker-"));
    let spent = |path: &PathBuf| read(path, "schedstat").split(' ').next().unwrap().parse();
    let pair = |path: PathBuf| (path.clone(), spent(&path).unwrap());
    paths.into_iter().map(pair).collect()
}

#[test]
fn streams_stay_on_the_thread_of_their_connection() {
    let provider = answering();
    let setup = Setup::new()
        .tenant("abc", sample(&provider).tokens(1_000_000))
        .yaml("server: { threads: 4 }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let client = Http2::plain(gateway.addr());
    client.post(CHAT_PATH, &key, &call(false));

    let before = workers(&gateway);
    // A new thread keeps the name of its parent for a moment.
    assert!(before.len() >= 4, "{before:?}");

    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    for _ in 0..10 {
        let begun: Vec<_> = (0..90)
            .map(|n| {
                let body = call(n % 2 == 0).to_string().into_bytes();
                client
                    .begin("POST", CHAT_PATH, &headers, Some(body))
                    .unwrap()
            })
            .collect();
        for each in begun {
            assert_eq!(each.whole().unwrap().status, 200);
        }
    }

    let now = workers(&gateway);
    let spent = now
        .into_iter()
        .filter_map(|(path, now)| Some(now - before.get(&path)?));
    let spent: Vec<u64> = spent.collect();
    // Spread over all threads, the others' time would be three times the first's.
    let (first, all) = (*spent.iter().max().unwrap(), spent.iter().sum::<u64>());
    assert!(all < 2 * first, "nanoseconds of each worker: {spent:?}");
}

#[test]
fn reset_request_is_charged_what_it_was_sent() {
    let provider =
        Provider::start(|_| Script::chat_stream(&["one", "two"], 9, 2).after(2, Step::Stall));
    let config = sample(&provider).server("openai", "openai").tokens(1_000);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let client = Http2::plain(gateway.addr());
    let bearer = format!("Bearer {key}");
    let body = call(true).to_string().into_bytes();
    let headers = [("authorization", bearer.as_str())];
    let begun = client
        .begin("POST", CHAT_PATH, &headers, Some(body))
        .unwrap();
    begun.until("one").reset();

    let left = eventually(Duration::from_secs(10), "its hold ends", || {
        let (left, free) = balance(&gateway, &key);
        (left == free && left < 1_000).then_some(left)
    });

    assert!((900..1_000).contains(&left), "{left}");
    // The connection stays usable.
    assert_eq!(client.get("/healthz").status, 200);
}

#[test]
fn truncated_response_resets_its_stream() {
    let provider =
        Provider::start(|_| Script::chat_stream(&["one", "two"], 9, 2).after(2, Step::Cut));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let client = Http2::plain(gateway.addr());

    let text = client.post(CHAT_PATH, &key, &call(true)).text();

    assert!(text.contains("one") && text.contains("\"error\""), "{text}");
    assert!(!text.contains("[DONE]"), "{text}");
}

#[test]
fn shutdown_sends_goaway_and_lets_streams_finish() {
    let gate = Gate::new();
    let held = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat_stream(&["one", "two"], 9, 2).after(2, Step::WaitUntilReleased(held.clone()))
    });
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let mut client = Http2::plain(gateway.addr());

    let mut resting = Http2::plain(gateway.addr());
    assert_eq!(resting.get("/healthz").status, 200);

    {
        let bearer = format!("Bearer {key}");
        let body = call(true).to_string().into_bytes();
        let headers = [("authorization", bearer.as_str())];
        let begun = client
            .begin("POST", CHAT_PATH, &headers, Some(body))
            .unwrap();
        let streaming = begun.until("one");
        gateway.signal("TERM");
        gateway.wait_log("Server shutting down");
        assert!(
            resting.ends_within(Duration::from_secs(10)),
            "nothing is open on it"
        );
        gate.open();
        let rest = streaming.rest().unwrap();
        assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
    }
    assert!(client.ends_within(Duration::from_secs(10)));
    assert!(gateway.wait_exit(Duration::from_secs(10)).success());
}

#[test]
fn websocket_upgrades_are_refused_with_a_reason() {
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&answering())));
    let upgrade = |path: &str| {
        let request = gateway.client().request("GET", path);
        let request = request
            .header("upgrade", "websocket")
            .header("connection", "upgrade");
        request
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .send()
    };

    let responses = upgrade("/abc/v1/responses");
    assert_eq!(responses.status, 426, "{}", responses.text());
    assert_eq!(responses.json()["error"]["code"], "websocket_not_served");
    assert_eq!(responses.header("upgrade"), Some("HTTP/1.1"));
    assert_eq!(upgrade("/abc/v1/chat/completions").status, 405);
    let request = gateway.client().request("GET", "/abc/v1/responses");
    assert_eq!(request.header("upgrade", "websocket").send().status, 405);

    let realtime = upgrade("/abc/v1/realtime?model=gpt-realtime");
    assert_eq!(realtime.status, 501, "{}", realtime.text());
    assert_eq!(realtime.json()["error"]["code"], "realtime_not_served");
    assert_eq!(gateway.client().get("/abc/v1/responses").status, 405);
}
