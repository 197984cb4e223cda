//! Tests of the harness itself, including its failures.
//!
//! They do not use the gateway. A defect in a guard, client or scripted provider shows here first.

use std::fs;
use std::net::TcpListener;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::http::Chunk;
use crate::harness::process::{Process, openssl};
use crate::harness::sample::PROVIDER_KEY;
use crate::harness::{
    Client, Cluster, Gate, Provider, Redis, RedisTls, Reply, Script, Sentinel, Step, TempDir,
    eventually, free_port, raw, raw_for, sample, within,
};

const SOON: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(50);

#[test]
fn waiting_ends_with_a_result_or_a_timeout() {
    let mut left = 3;
    let found = eventually(SOON, "the third look", || {
        left -= 1;
        (left == 0).then_some("found")
    });
    assert_eq!(found, "found");

    let begun = Instant::now();
    assert_eq!(within(MOMENT, || None::<()>), None);
    assert!(begun.elapsed() >= MOMENT && begun.elapsed() < SOON);
    assert!(catch_unwind(|| eventually(MOMENT, "the impossible", || None::<()>)).is_err());
}

#[test]
fn a_directory_goes_with_its_guard_also_when_a_test_panics() {
    let dir = TempDir::new();
    let path = dir.write("file", "content");
    assert_eq!(fs::read_to_string(&path).expect("a file"), "content");
    drop(dir);
    assert!(!path.parent().is_some_and(Path::exists));

    let dir = TempDir::new();
    let path = dir.path().to_owned();
    let failed = catch_unwind(move || {
        let _held = dir;
        panic!("as a failing test does");
    });
    assert!(failed.is_err() && !path.exists());
}

#[test]
fn no_port_is_handed_out_twice() {
    let threads: Vec<_> = (0..4)
        .map(|_| thread::spawn(|| (0..40).map(|_| free_port()).collect::<Vec<_>>()))
        .collect();
    let mut ports: Vec<u16> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("ports"))
        .collect();
    ports.sort_unstable();
    ports.dedup();

    assert_eq!(ports.len(), 160);
    let last = *ports.last().expect("a port");
    TcpListener::bind(("127.0.0.1", last)).expect("the port is free");
}

#[test]
fn a_process_does_not_outlive_its_guard() {
    let process = Process::spawn(std::process::Command::new("sleep").arg("600"));
    let pid = process.pid();
    assert!(process.is_alive());
    assert_eq!(process.wait(MOMENT), None);
    drop(process);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn redis_starts_answers_dies_and_comes_back() {
    let redis = Redis::start();
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{}", redis.port()));
    assert_eq!(redis.cli(&["SET", "k", "v"]).text(), "OK");
    assert_eq!(redis.cli(&["GET", "k"]).text(), "v");
    assert_eq!(redis.cli(&["INCRBY", "n", "7"]).int(), 7);
    assert!(redis.cli(&["GET", "nothing"]).is_nil());
    redis.cli(&["RPUSH", "l", "one", "two"]);
    let list = redis.cli(&["LRANGE", "l", "0", "-1"]);
    let words: Vec<String> = list.list().iter().map(Reply::text).collect();
    assert_eq!(words, ["one", "two"]);
    assert_eq!(redis.calls("get"), 2);
    assert_eq!(redis.calls("getdel"), 0);

    let refused = redis.try_cli(&["INCR", "k"]).expect("an answer");
    assert!(refused.error().is_some_and(|text| text.contains("integer")));
    assert!(catch_unwind(|| redis.cli(&["INCR", "k"])).is_err());

    redis.kill();
    assert!(!redis.is_alive());
    assert!(redis.try_cli(&["PING"]).is_err());
    redis.restart();
    assert!(redis.cli(&["GET", "k"]).is_nil());
}

#[test]
fn redis_keeps_its_data_over_a_kill_when_told_to() {
    let redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    redis.cli(&["SET", "k", "v"]);
    redis.kill();
    redis.restart();
    assert_eq!(redis.cli(&["GET", "k"]).text(), "v");
}

#[test]
fn redis_with_a_password_has_it_in_its_url() {
    let redis = Redis::with(&["--requirepass", "secret"]);
    assert!(redis.url().starts_with("redis://:secret@127.0.0.1:"));
    assert_eq!(redis.cli(&["PING"]).text(), "PONG");
}

#[test]
fn a_paused_redis_is_silent_until_it_resumes() {
    let redis = Redis::start();
    let mut connection = redis.connect().expect("a connection");
    redis.pause();

    let asked = thread::spawn(move || connection.ask(&["PING"]));
    assert!(within(MOMENT, || asked.is_finished().then_some(())).is_none());

    redis.resume();
    let reply = asked.join().expect("a reply").expect("no time-out");
    assert_eq!(reply, Reply::Status("PONG".to_owned()));
}

#[test]
fn redis_cuts_its_clients_on_demand() {
    let redis = Redis::start();
    let mut plain = redis.connect().expect("a connection");
    plain.ask(&["PING"]).expect("a reply");
    let mut listening = redis.connect().expect("a connection");
    let subscribed = listening.ask(&["SUBSCRIBE", "news"]).expect("a reply");
    assert_eq!(subscribed.list()[2].int(), 1);
    redis.cli(&["PUBLISH", "news", "today"]);
    assert_eq!(
        listening.read().expect("a message").list()[2].text(),
        "today"
    );

    redis.kill_clients();
    assert!(plain.ask(&["PING"]).is_err());
    assert!(listening.read().is_err());
    assert_eq!(redis.cli(&["PING"]).text(), "PONG");
}

#[test]
fn a_server_that_cannot_start_fails_the_test_with_its_log() {
    let failed = catch_unwind(|| Redis::with(&["--no-such-option", "1"]));
    let panic = failed.err().expect("a panic");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("no-such-option"), "{message}");
}

#[test]
fn a_killed_primary_is_followed_by_its_replica() {
    let sentinel = Sentinel::start();
    assert!(sentinel.url().starts_with("redis+sentinel://127.0.0.1:"));
    assert!(sentinel.url().ends_with("/main"));
    // WAIT covers the writes of its own connection.
    let mut connection = sentinel.primary().connect().expect("a connection");
    connection.ask(&["SET", "k", "v"]).expect("a reply");
    let copies = connection.ask(&["WAIT", "1", "5000"]).expect("a reply");
    assert_eq!(copies.int(), 1);

    let dead = sentinel.kill_primary();
    let promoted = sentinel.wait_failover(dead);
    assert_ne!(promoted.port(), dead);
    assert_eq!(promoted.cli(&["GET", "k"]).text(), "v");
    assert_eq!(promoted.cli(&["SET", "k", "w"]).text(), "OK");

    sentinel.revive(dead);
    assert_eq!(sentinel.other().port(), dead);
    assert_eq!(sentinel.other().cli(&["GET", "k"]).text(), "w");
}

#[test]
fn a_cluster_takes_commands_for_every_slot() {
    let cluster = Cluster::start();
    assert_eq!(cluster.url().matches("127.0.0.1:").count(), 3);
    for key in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(cluster.cli(&["SET", key, key]).text(), "OK");
        assert_eq!(cluster.node_of(key).cli(&["GET", key]).text(), key);
    }
    let held: Vec<i64> = cluster
        .nodes()
        .iter()
        .map(|node| node.cli(&["DBSIZE"]).int())
        .collect();
    assert_eq!(held.iter().sum::<i64>(), 6);
    assert!(held.iter().all(|count| *count > 0), "{held:?}");

    let node = cluster.node_of("a");
    node.kill();
    assert!(cluster.try_cli(&["GET", "a"]).is_err());
    node.restart();
    cluster.wait_ok();
    assert!(cluster.cli(&["GET", "a"]).is_nil());
}

#[test]
fn redis_speaks_tls_to_clients_that_trust_its_authority() {
    let redis = RedisTls::start();
    assert_eq!(redis.url(), format!("rediss://127.0.0.1:{}", redis.port()));

    let shake_hands = |authority: &Path| {
        let address = format!("127.0.0.1:{}", redis.port());
        openssl()
            .args([
                "s_client",
                "-verify_return_error",
                "-verify_ip",
                "127.0.0.1",
            ])
            .args(["-connect", &address, "-CAfile"])
            .arg(authority)
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs")
            .status
            .success()
    };
    assert!(shake_hands(&redis.ca_file()));
    assert!(!shake_hands(&RedisTls::start().ca_file()));
    assert_eq!(redis.plain().cli(&["PING"]).text(), "PONG");
}

#[test]
fn a_provider_remembers_what_it_was_asked() {
    let provider = Provider::start(|_| Script::chat("Hello", 12, 3));
    let client = Client::new(provider.addr());
    let call = json!({"model": "gpt-4o", "messages": []});
    let before = Instant::now();
    let response = client
        .request("POST", "/v1/chat/completions?x=1")
        .bearer("sk-test")
        .json(&call)
        .send();
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    let answer = response.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "Hello");
    assert_eq!(answer["usage"]["total_tokens"], 15);

    let requests = provider.wait_requests(1);
    let request = &requests[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/v1/chat/completions?x=1");
    assert_eq!(request.header("Authorization"), Some("Bearer sk-test"));
    assert_eq!(request.json(), call);
    assert!(request.at >= before && !request.client_left);
    eventually(SOON, "the answer counts as served", || {
        (provider.served() == 1).then_some(())
    });
    assert!(provider.url("/x").ends_with("/x"));
}

#[test]
fn several_requests_share_one_connection() {
    let provider = Provider::start(|request| match request.path.as_str() {
        "/last" => Script::json(200, &json!({})).header("connection", "close"),
        _ => Script::json(200, &json!({"path": request.path})),
    });
    let mut connection = Client::new(provider.addr()).connect();

    for path in ["/one", "/two"] {
        let response = connection.request("POST", path).body("text").send();
        assert_eq!(response.json()["path"], path);
        assert!(connection.is_open());
    }
    assert_eq!(provider.connections(), 1);
    assert_ne!(connection.local_port(), 0);

    connection.request("GET", "/last").send();
    assert!(connection.closes_within(SOON));
    assert!(!connection.is_open());
    let used: Vec<usize> = provider.requests().iter().map(|r| r.connection).collect();
    assert_eq!(used, [0, 0, 0]);
}

#[test]
fn a_stream_arrives_chunk_by_chunk_as_it_is_sent() {
    let gate = Gate::new();
    let held = gate.clone();
    let provider = Provider::start(move |_| {
        let script = Script::chat_stream(&["Hel", "lo"], 5, 2);
        script.after(2, Step::WaitUntilReleased(held.clone()))
    });
    let client = Client::new(provider.addr());

    let mut stream = client
        .request("POST", "/v1/chat/completions")
        .send_streaming();
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert!(stream.wait_for("Hel").contains("assistant"));

    let opened = Instant::now();
    gate.open();
    let rest: Vec<Chunk> = stream.by_ref().collect();
    assert!(stream.is_whole());
    assert!(rest.iter().all(|chunk| chunk.at >= opened));
    assert_eq!(rest.len(), 4, "the second text, the reason, usage, the end");
    assert!(rest[2].bytes.windows(12).any(|w| w == b"total_tokens"));
    assert_eq!(rest[3].bytes, b"data: [DONE]\n\n");
}

#[test]
fn any_script_can_leave_in_pieces() {
    for size in [1, 7, 1000] {
        let provider = Provider::start(move |request| {
            let script = match request.path.as_str() {
                "/plain" => Script::message("Hello", 12, 3),
                _ => Script::message_stream(&["Hel", "lo"], 12, 3),
            };
            script.split_every(size)
        });
        let client = Client::new(provider.addr());
        assert_eq!(client.get("/plain").json()["usage"]["output_tokens"], 3);

        let pieces: Vec<Chunk> = client.request("GET", "/").send_streaming().collect();
        assert!(pieces.iter().all(|piece| piece.bytes.len() <= size));
        let whole: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.bytes).collect();
        let text = String::from_utf8(whole).expect("UTF-8");
        assert!(text.starts_with("event: message_start\ndata: {"));
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let kinds: Vec<Value> = data
            .map(|json| serde_json::from_str::<Value>(json).expect("JSON")["type"].clone())
            .collect();
        assert_eq!(kinds.first(), Some(&json!("message_start")));
        assert_eq!(kinds.last(), Some(&json!("message_stop")));
    }
}

#[test]
fn truncated_answer_differs_from_a_whole_one() {
    let provider = Provider::start(|request| match request.path.as_str() {
        "/chunked" => Script::sse(["one", "two"]).after(1, Step::Cut),
        "/length" => Script::new()
            .head(200, &[("content-length", "10")])
            .bytes("half")
            .cut(),
        "/close" => Script::new()
            .head(200, &[("connection", "close")])
            .bytes("all"),
        "/never" => Script::new(),
        _ => Script::sse(["one"]).first(Step::Cut),
    });
    let client = Client::new(provider.addr());

    let mut stream = client.request("GET", "/chunked").send_streaming();

    assert_eq!(stream.by_ref().count(), 1);
    assert!(!stream.is_whole());
    assert!(stream.into_response().is_err());
    assert!(client.request("GET", "/length").try_send().is_err());
    assert!(client.request("GET", "/never").try_send().is_err());
    assert!(client.request("GET", "/first").try_send().is_err());
    assert!(catch_unwind(|| client.get("/length")).is_err());
    assert_eq!(client.get("/close").text(), "all");
    assert_eq!(provider.served(), 2, "an empty script is also served");
}

#[test]
fn stalled_answer_runs_into_the_client_timeout() {
    let provider = Provider::start(|request| match request.path.as_str() {
        "/slow" => Script::new().wait(MOMENT).head(204, &[]),
        _ => Script::sse(["one"]).stall(),
    });
    let client = Client::new(provider.addr());
    let begun = Instant::now();
    assert_eq!(client.get("/slow").status, 204);
    assert!(begun.elapsed() >= MOMENT);

    let mut stream = client.timeout(MOMENT).request("GET", "/").send_streaming();
    assert!(stream.wait_for("one").contains("data: one"));
    assert!(stream.next().is_none() && !stream.is_whole());
    drop(stream);
    assert!(provider.wait_left(1).client_left);
    assert!(!provider.requests()[0].client_left);
    // This one still stalls when the provider is dropped, and must not delay that.
    let _stalled = client.request("GET", "/").send_streaming();
}

#[test]
fn provider_sees_a_disconnect_while_waiting_at_a_gate() {
    let gate = Gate::new();
    let held = gate.clone();
    let provider = Provider::start(move |_| Script::new().wait_for(&held).head(200, &[]));
    let mut connection = Client::new(provider.addr()).connect();
    connection.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    provider.wait_requests(1);
    drop(connection);

    assert!(provider.wait_left(0).client_left);
    assert!(!gate.is_open());
}

#[test]
fn the_client_sends_bodies_in_every_framing() {
    let provider = Provider::start(|request| {
        Script::json(200, &json!({"body": request.text()})).header("x-method", &request.method)
    });
    let client = Client::new(provider.addr());
    let chunked = client
        .request("POST", "/")
        .chunked(&[b"one ", b"two"])
        .send();
    assert_eq!(chunked.json()["body"], "one two");
    let request = &provider.requests()[0];
    assert_eq!(request.header("transfer-encoding"), Some("chunked"));
    assert_eq!(request.header("content-length"), None);

    let continued = client
        .request("POST", "/")
        .expect_continue()
        .body("later")
        .send();
    assert!(continued.continued && continued.json()["body"] == "later");

    let head = client.request("HEAD", "/").send();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("11"));

    let mut parts = client.connect();
    parts.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab");
    assert!(!parts.closes_within(MOMENT));
    parts.write(b"cd");
    assert_eq!(
        parts.read_answer().expect("an answer").json()["body"],
        "abcd"
    );
}

#[test]
fn raw_bytes_come_back_as_they_are() {
    let provider = Provider::start(|_| Script::sse(["x"]));
    let asked = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";
    let answer = raw(provider.addr(), asked);
    let text = String::from_utf8(answer).expect("UTF-8");
    assert!(text.starts_with("HTTP/1.1 200 "));
    assert!(
        text.ends_with("\r\n9\r\ndata: x\n\n\r\n0\r\n\r\n"),
        "{text:?}"
    );

    let kept_open = raw_for(provider.addr(), b"GET / HTTP/1.1\r\n\r\n", MOMENT);
    assert!(kept_open.ends_with(b"0\r\n\r\n"));
}

#[test]
fn a_sample_config_points_at_its_provider() {
    let provider = Provider::start(|_| Script::new());
    let config: Value = sample(&provider)
        .tokens(5)
        .rate_limit(2, 1)
        .endpoint("second", "http://127.0.0.1:9/v1/messages", "claude")
        .fallbacks(&["second"])
        .caching(20)
        .set("user_groups.paying.tokens", json!(7))
        .into();
    let text = &config["providers"]["text"];

    let url = provider.url("/v1/chat/completions");
    assert_eq!(text["endpoints"]["openai"]["url"], url);
    assert_eq!(text["endpoints"]["second"]["api_key"], PROVIDER_KEY);
    assert_eq!(text["fallbacks"], json!(["second"]));

    let anonymous = json!({"tokens": 5, "rate_limit": 2, "rate_limit_window": 1});
    assert_eq!(config["user_groups"]["anonymous"], anonymous);
    assert_eq!(config["user_groups"]["paying"]["tokens"], 7);
    assert_eq!(config["caching"]["fee_percentage"], 20);
}
