//! One test for each bug that was found, named for what went wrong.

use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RESET, Raw, SETTINGS, call_headers, frame,
};
use crate::harness::{
    Gateway, Provider, Redis, Script, Setup, Step, balance, chat, eventually, mint, raw_for, sample,
};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/abc/v1/chat/completions";

fn hi() -> Value {
    json!({"messages": [{"role": "user", "content": "Hi"}]})
}

#[test]
fn a_refusal_after_100_continue_is_still_said() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    for (method, path, status) in [("POST", PATH, 401), ("PUT", "/abc/admin/config", 401)] {
        let refused = gateway
            .client()
            .request(method, path)
            .bearer("temp_nobody")
            .json(&hi())
            .expect_continue()
            .send();
        assert_eq!(
            (refused.status, refused.continued),
            (status, true),
            "{path}"
        );
    }
}

#[test]
fn a_provider_that_ignores_its_limit_is_cut_off() {
    let provider = Provider::start(|_| {
        let chunk = format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
            "x".repeat(10_000)
        );
        let mut script = Script::new().head(200, &[("content-type", "text/event-stream")]);
        for _ in 0..200 {
            script = script.bytes(chunk.clone());
        }
        script.stall()
    });
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(200)));
    let key = mint(&gateway, "abc");
    let call = json!({"stream": true, "max_tokens": 50, "messages": []});
    let text = gateway
        .client()
        .request("POST", PATH)
        .bearer(&key)
        .json(&call)
        .send()
        .text();
    assert!(
        text.contains("event: error") && text.len() < 100_000,
        "{} bytes",
        text.len()
    );
    provider.wait_left(0);
}

#[test]
fn a_client_that_stops_reading_does_not_hold_up_the_end() {
    let provider = Provider::start(|_| {
        let chunk = format!(": {}\n\n", "x".repeat(100_000));
        let mut script = Script::new().head(200, &[("content-type", "text/event-stream")]);
        for _ in 0..500 {
            script = script.bytes(chunk.clone());
        }
        script.stall()
    });
    let setup = Setup::new()
        .tenant("abc", sample(&provider))
        .yaml("server: { drain_timeout: 1s }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let stream = gateway
        .client()
        .request("POST", PATH)
        .bearer(&key)
        .json(&json!({"stream": true, "messages": []}))
        .send_streaming();
    assert_eq!(stream.status, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(Duration::from_secs(10)).code(), Some(0));
    drop(stream);
}

#[test]
fn an_admission_whose_answer_never_came_leaves_no_hold() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(
        Setup::new()
            .store(&redis.url())
            .tenant("abc", sample(&provider).tokens(190)),
    );
    let key = mint(&gateway, "abc");
    redis.pause();
    let refused = chat(&gateway, "abc", &key, &hi());
    redis.resume();
    assert_eq!(refused.status, 503, "{}", refused.text());
    eventually(Duration::from_secs(10), "the hold is released", || {
        let me = gateway
            .client()
            .request("GET", "/abc/auth/me")
            .bearer(&key)
            .send();
        (me.status == 200 && me.json()["tokensFree"] == 190).then_some(())
    });
    assert_eq!(provider.served(), 0);
    assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 200);
}

#[test]
fn a_server_that_echoes_commands_puts_no_key_into_the_log() {
    let redis = Redis::with(&[
        "--rename-command",
        "EVALSHA",
        "",
        "--rename-command",
        "EVAL",
        "",
    ]);
    redis.cli(&["SET", "tenant:abc:config", "{}"]);
    let gateway = Gateway::start(Setup::new().store(&redis.url()));
    let answer = gateway
        .client()
        .request("GET", "/abc/auth/me")
        .bearer("temp_mysecretkey")
        .send();
    assert_eq!(answer.status, 503);
    gateway.wait_log("[WARN] store unavailable");
    assert_eq!(
        gateway.count_logs("mysecretkey"),
        0,
        "{:#?}",
        gateway.logs()
    );
}

#[test]
fn a_group_whose_name_could_break_a_record_is_refused() {
    let gateway = Gateway::start(Setup::new().tenant("abc", json!({})));
    for name in ["q\"x", "", "a b", "é", "a\\n"] {
        let body = json!({"config": {"user_groups": {name: {"tokens": 1}}}});
        let refused = gateway
            .client()
            .request("PUT", "/abc/admin/config")
            .bearer(gateway.admin_token())
            .json(&body)
            .send();
        assert_eq!(refused.status, 400, "{name:?}");
    }
}

#[test]
fn requests_that_mean_two_things_are_refused() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nx-long: {}\r\n\r\n",
        "y".repeat(70_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "x-many: 1\r\n".repeat(110)
    );
    for (bytes, status) in [
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: x\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
            400,
        ),
        (
            "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("nonsense\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        ("TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (long.as_str(), 431),
        (many.as_str(), 431),
    ] {
        let answer = raw_for(gateway.addr(), bytes.as_bytes(), Duration::from_secs(3));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{}\n{answer}",
            &bytes[..bytes.len().min(80)]
        );
    }
}

#[test]
fn requests_that_come_together_are_answered_one_after_the_other() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let call = json!({"messages": [{"role": "user", "content": "x"}]}).to_string();
    let (length, half) = (call.len(), call.len() / 2);
    let bytes = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n\
         POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n{call}\
         POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nTransfer-Encoding: chunked\r\n\r\n\
         {half:x}\r\n{}\r\n{:x};x=y\r\n{}\r\n0\r\nTrailer: x\r\n\r\n\
         HEAD /abc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        &call[..half],
        length - half,
        &call[half..]
    );
    let answer = raw_for(gateway.addr(), bytes.as_bytes(), Duration::from_secs(5));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 4, "{answer}");
    assert_eq!(answer.matches("\"content\":\"Hi\"").count(), 2, "{answer}");
    assert!(answer.ends_with("connection: close\r\n\r\n"), "{answer}");
    assert!(
        provider
            .requests()
            .iter()
            .all(|asked| asked.json()["messages"][0]["content"] == "x")
    );
}

#[test]
fn a_coding_nobody_asked_for_and_a_redirect_are_the_providers_failure() {
    for (script, status) in [
        (
            Script::chat("Hi", 1, 1).header("content-encoding", "gzip"),
            502,
        ),
        (
            Script::json(302, &json!({})).header("location", "http://127.0.0.1:1/"),
            502,
        ),
        (
            Script::json(
                429,
                &json!({"error": {"message": "org-secret", "code": "insufficient_quota"}}),
            ),
            502,
        ),
        (
            Script::json(402, &json!({"error": {"message": "org-secret"}})),
            502,
        ),
    ] {
        let provider = Provider::start(move |_| script.clone());
        let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(1000)));
        let key = mint(&gateway, "abc");
        let answer = chat(&gateway, "abc", &key, &hi());
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(!answer.text().contains("org-secret"));
        assert_eq!(balance(&gateway, &key), (1000, 1000));
        assert_eq!(provider.requests().len(), 1, "a redirect is not followed");
    }
}

#[test]
fn many_answers_on_a_small_balance_are_refused_and_never_asked_for_without_a_limit() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(100)));
    let key = mint(&gateway, "abc");
    assert_eq!(
        chat(&gateway, "abc", &key, &json!({"n": 128, "messages": []})).status,
        402
    );
    assert_eq!(
        chat(&gateway, "abc", &key, &json!({"n": 5, "messages": []})).status,
        200
    );
    assert_eq!(provider.requests().pop().unwrap().json()["max_tokens"], 20);
}

#[test]
fn a_stranger_is_refused_before_a_large_body_is_read() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    // Only the head is sent: whoever reads the body first would wait for it.
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer temp_nobody\r\nContent-Length: 5000000\r\n\r\n"
    );
    let answer = raw_for(gateway.addr(), head.as_bytes(), Duration::from_secs(5));
    assert!(
        answer.starts_with(b"HTTP/1.1 401 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[test]
fn a_user_who_has_an_account_gets_a_conflict_and_not_a_lost_store() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let config = json!({"user_groups": {"anonymous": {"tokens": 1}}});
        let gateway = Gateway::start(
            setup
                .tenant("abc", config)
                .yaml("accounts: { layout: user }"),
        );
        let mint = |body: Value| {
            gateway
                .client()
                .request("POST", "/abc/admin/keys")
                .bearer(gateway.admin_token())
                .json(&body)
                .send()
                .status
        };
        assert_eq!(
            (
                mint(json!({"userId": "bob"})),
                mint(json!({"userId": "bob"}))
            ),
            (201, 409)
        );
        assert_eq!(mint(json!({"expiresInSeconds": u64::MAX})), 400);
    }
}

#[test]
fn a_client_that_leaves_before_the_answer_pays_what_was_held() {
    let provider = Provider::start(|_| Script::new().stall());
    let setup = Setup::new().yaml("upstream: { drain: 1s }");
    let gateway = Gateway::start(setup.tenant("abc", sample(&provider).tokens(1000)));
    let key = mint(&gateway, "abc");
    let call =
        json!({"max_tokens": 100, "messages": [{"role": "user", "content": "x".repeat(400)}]});
    let call = call.to_string();
    let mut connection = gateway.client().connect();
    connection.write(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{call}", call.len()).as_bytes());
    provider.wait_requests(1);
    drop(connection);
    eventually(Duration::from_secs(5), "the hold is charged", || {
        let (left, free) = balance(&gateway, &key);
        (left == free && left < 500 && left > 400).then_some(())
    });
}

#[test]
fn a_stream_that_was_complete_needs_no_clean_end_and_old_clients_get_no_chunks() {
    let provider = Provider::start(|_| Script::chat_stream(&["one "], 10, 2).then(Step::Cut));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(1000)));
    let key = mint(&gateway, "abc");
    let call = json!({"stream": true, "messages": []}).to_string();
    let new = gateway
        .client()
        .request("POST", PATH)
        .bearer(&key)
        .body(call.clone())
        .send();
    assert!(
        new.text().trim_end().ends_with("data: [DONE]"),
        "{}",
        new.text()
    );
    let old = format!(
        "POST {PATH} HTTP/1.0\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{call}",
        call.len()
    );
    let answer = raw_for(gateway.addr(), old.as_bytes(), Duration::from_secs(3));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        !answer.to_ascii_lowercase().contains("transfer-encoding"),
        "{answer}"
    );
    assert!(answer.trim_end().ends_with("data: [DONE]"), "{answer}");
    assert_eq!(balance(&gateway, &key), (976, 976));
}

#[test]
fn a_tenant_with_a_broken_config_says_so_in_the_shape_of_the_api() {
    let redis = Redis::start();
    redis.cli(&["SET", "tenant:abc:config", r#"{"providers":3}"#]);
    let gateway = Gateway::start(Setup::new().store(&redis.url()));
    let answer = chat(&gateway, "abc", "temp_x", &hi());
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (503, &json!("broken_config"))
    );
}

#[test]
fn a_model_is_never_given_a_limit_beyond_its_own() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider).tokens(1_000_000).set(
        "providers.text.endpoints.openai.max_output_tokens",
        json!(5000),
    );
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let sent = |call: Value| {
        assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
        provider.requests().pop().unwrap().json()
    };
    assert_eq!(sent(hi()).get("max_tokens"), None);
    assert_eq!(
        sent(json!({"messages": [], "max_tokens": 9000}))["max_tokens"],
        9000,
        "the client's own word stands"
    );
}

#[test]
fn a_config_that_was_read_can_be_put_back_on_the_command_line() {
    let redis = Redis::start();
    let text = "{\"a\": 1.50, \"user_groups\": {\"anonymous\": {\"tokens\": 5}}}";
    redis.cli(&["SET", "tenant:abc:config", text]);
    let url = redis.url();
    let env = [("REDIS_URL", url.as_str())];
    let read = crate::harness::resullm(&["tenant", "get", "abc"], &env);
    assert_eq!(String::from_utf8_lossy(&read.stdout).trim_end(), text);
    let dir = crate::harness::TempDir::new();
    let file = dir.write("c.json", text);
    assert!(
        crate::harness::resullm(&["tenant", "put", "abc", file.to_str().unwrap()], &env)
            .status
            .success()
    );
    assert_eq!(redis.cli(&["GET", "tenant:abc:config"]).text(), text);
}

#[test]
fn a_model_of_any_length_is_not_written_into_logs_and_headers() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let asked = |length: usize| {
        let call = json!({"model": "m".repeat(length), "messages": []});
        chat(&gateway, "abc", &key, &call)
    };
    assert_eq!(asked(256).status, 200);
    let refused = asked(257);
    assert_eq!(refused.status, 400);
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("at most 256 characters"), "{message}");
    assert_eq!(provider.requests().len(), 1);
}

#[test]
fn a_limit_under_a_name_that_the_provider_does_not_know_is_said_again() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let call = json!({"messages": [], "max_completion_tokens": 20});
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
    let sent = provider.requests().pop().unwrap().json();
    assert_eq!(sent["max_completion_tokens"], 20);
    assert_eq!(sent["max_tokens"], 20, "what older servers know");
}

#[test]
fn a_model_of_the_same_name_elsewhere_has_limits_of_its_own() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider).tokens(1_000_000);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let call = json!({"model": "gpt-4o", "messages": []});
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
    let sent = provider.requests().pop().unwrap().json();
    let limit = sent["max_tokens"].as_u64();
    assert!(limit.is_some_and(|limit| limit > 16_384), "{limit:?}");
}

#[test]
fn two_users_of_one_idempotency_key_are_two_to_the_provider() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let [one, other] = [mint(&gateway, "abc"), mint(&gateway, "abc")];
    let sent = |key: &str, name: &str| {
        let client = gateway.client();
        let request = client.request("POST", PATH).bearer(key).json(&hi());
        assert_eq!(request.header("idempotency-key", name).send().status, 200);
        let asked = provider.requests().pop().unwrap();
        asked.header("idempotency-key").unwrap().to_owned()
    };
    let first = sent(&one, "retry-1");
    assert_eq!(sent(&one, "retry-1"), first, "a repeat is a repeat");
    assert_ne!(sent(&other, "retry-1"), first);
    assert_ne!(sent(&one, "retry-2"), first);
    assert!(!first.contains("retry"));
}

/// The files of a gateway's directory whose names end so.
fn files(setup: &Setup, end: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(setup.path().join("data")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect()
}

#[test]
fn holes_that_a_loss_of_power_left_in_journals_do_not_refuse_the_start() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new().tenant("abc", sample(&provider).tokens(1_000_000));
    let gateway = Gateway::start(setup.clone().in_another_boot());
    let key = mint(&gateway, "abc");
    for _ in 0..40 {
        assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 200);
    }
    gateway.kill9();
    for path in [
        files(&setup, "changes.0"),
        files(&setup, "changes.1"),
        files(&setup, ".held"),
    ]
    .concat()
    {
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len().min(1_000);
        bytes[end / 2..end].fill(0);
        bytes.extend(b"what stood there before");
        std::fs::write(&path, bytes).unwrap();
    }
    // The second start is on the same machine, still running: there it would be damage.
    for _ in 0..2 {
        let gateway = Gateway::start(setup.clone());
        let (left, _) = balance(&gateway, &key);
        assert!((1_000_000 - 40 * 7..=1_000_000).contains(&left), "{left}");
        gateway.kill9();
    }
}

#[test]
fn what_was_reported_of_a_lease_is_not_charged_again_where_a_loss_of_power_took_the_report() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new().tenant("abc", sample(&provider).tokens(1_000_000));
    let gateway = Gateway::start(setup.clone().in_another_boot());
    let key = mint(&gateway, "abc");
    for _ in 0..100 {
        assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 200);
    }
    eventually(Duration::from_secs(5), "all is reported", || {
        (balance(&gateway, &key).0 == 1_000_000 - 700).then_some(())
    });
    gateway.kill9();
    let is_report = |line: &&[u8]| matches!(line.first(), Some(b'R' | b'A' | b'X'));
    for path in files(&setup, ".held") {
        let bytes = std::fs::read(&path).unwrap();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let kept: Vec<&[u8]> = lines.take_while(|line| !is_report(line)).collect();
        std::fs::write(&path, kept.concat()).unwrap();
    }
    let gateway = Gateway::start(setup);
    assert_eq!(balance(&gateway, &key), (1_000_000 - 700, 1_000_000 - 700));
}

#[test]
fn a_database_that_was_being_made_when_the_power_went_is_made_anew() {
    let setup = Setup::new();
    let data = setup.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("resullm.redb.new"), [0; 8_192]).unwrap();
    let gateway = Gateway::start(setup);
    assert_eq!(gateway.client().get("/readyz").status, 200);
    assert!(!data.join("resullm.redb.new").exists());
}

#[test]
fn what_an_earlier_process_left_is_flushed_before_its_pages_go() {
    let provider = Provider::start(|_| {
        let script = Script::chat_stream(&["one ", "two "], 10, 2);
        script.after(2, Step::Stall)
    });
    let setup = Setup::new().tenant("abc", sample(&provider).tokens(10_000));
    let gateway = Gateway::start(setup.clone());
    let key = mint(&gateway, "abc");
    let call = json!({"stream": true, "messages": [{"role": "user", "content": "x".repeat(400)}]});
    let request = gateway.client().request("POST", PATH);
    let mut stream = request.bearer(&key).json(&call).send_streaming();
    stream.wait_for("one ");
    gateway.kill9();
    let pages = files(&setup, ".held").len();
    let gateway = Gateway::start(setup.clone());
    let (left, _) = balance(&gateway, &key);
    gateway.kill9();
    assert!(left < 10_000, "{left}, {pages} pages");
    // That much is left where nothing was flushed that was not waited for.
    for path in [files(&setup, "changes.0"), files(&setup, "changes.1")].concat() {
        std::fs::remove_file(path).unwrap();
    }
    let gateway = Gateway::start(setup);
    assert_eq!(balance(&gateway, &key), (left, left));
}

#[test]
fn a_gateway_whose_clock_is_ahead_does_not_empty_the_usage_log() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let setup = Setup::new().store(&redis.url()).clock("+1h");
    let setup = setup.tenant("abc", sample(&provider));
    let gateway = Gateway::start(setup.yaml("usage: { age: 30m }"));
    let key = mint(&gateway, "abc");
    // A server forgets a hundred at a time.
    const CALLS: u64 = 250;
    for _ in 0..CALLS {
        assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 200);
    }
    eventually(Duration::from_secs(5), "every call is in the log", || {
        let client = gateway.client();
        let request = client.request("GET", "/abc/admin/usage");
        let usage = request.bearer(gateway.admin_token()).send().json();
        (usage["total"]["requests"] == CALLS).then_some(())
    });
}

#[test]
fn a_second_signal_while_load_balancers_are_waited_for_ends_all_waiting() {
    let provider = Provider::start(|_| Script::new().stall());
    let setup = Setup::new().tenant("abc", sample(&provider));
    let gateway = Gateway::start(setup.yaml("server: { drain_delay: 60s }"));
    let key = mint(&gateway, "abc");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| chat(&gateway, "abc", &key, &hi()).status);
        provider.wait_requests(1);
        gateway.signal("TERM");
        gateway.wait_log("[INFO] Server shutting down");
        gateway.signal("TERM");
        assert_eq!(gateway.wait_exit(Duration::from_secs(20)).code(), Some(0));
        assert_eq!(waiting.join().unwrap(), 503);
    });
}

#[test]
fn a_list_in_place_of_an_object_is_no_body_of_any_local_route() {
    let gateway = Gateway::start(
        Setup::new().tenant("abc", json!({"user_groups": {"anonymous": {"tokens": 1}}})),
    );
    let key = mint(&gateway, "abc");
    for (method, path, body) in [
        (
            "POST",
            "/abc/admin/keys".to_owned(),
            json!(["anonymous", 5, 100, "u"]),
        ),
        ("PUT", "/abc/admin/config".to_owned(), json!([{}])),
        (
            "PATCH",
            format!("/abc/admin/keys/{key}"),
            json!(["anonymous"]),
        ),
        (
            "POST",
            format!("/abc/admin/keys/{key}/credit"),
            json!([5, "id"]),
        ),
        ("POST", "/admin/tenants".to_owned(), json!(["new", {}])),
        ("PUT", "/admin/tenants/new".to_owned(), json!([{}])),
        (
            "PUT",
            "/admin/tenants/abc/tokens".to_owned(),
            json!([["a-token-of-16-signs"]]),
        ),
    ] {
        let text = format!(" \n{body}");
        let request = gateway
            .client()
            .request(method, &path)
            .bearer(gateway.admin_token());
        let refused = request.body(text).send();
        assert_eq!(refused.status, 400, "{path}: {}", refused.text());
        assert!(
            refused.text().contains("must be a JSON object"),
            "{}",
            refused.text()
        );
    }
    assert_eq!(balance(&gateway, &key), (1, 1));
}

#[test]
fn an_admin_token_that_no_header_can_carry_is_refused_when_it_is_set() {
    let gateway = Gateway::start(Setup::new().tenant("abc", json!({})));
    let set = |token: &str| {
        let request = gateway.client().request("PUT", "/admin/tenants/abc/tokens");
        request
            .bearer(gateway.admin_token())
            .json(&json!({"tokens": ["a-token-of-16-signs", token]}))
            .send()
    };
    let long = "x".repeat(1025);
    for token in [
        " ".repeat(16).as_str(),
        "\u{e4}bcdefghijklmnopq",
        " leading-blank-16",
        "trailing-blank-16 ",
        "a-blank inside-it",
        "a-tab\tinside-it-16",
        "a-line\ninside-it-16",
        "a-nul\u{0}inside-it-16",
        "short",
        long.as_str(),
    ] {
        let refused = set(token);
        assert_eq!(refused.status, 400, "{token:?}");
        assert!(
            refused.json()["error"]
                .as_str()
                .unwrap()
                .starts_with("tokens.1 must have 16 to 1024 visible ASCII")
        );
    }
    let sign = "!~#$%&'()*+,-./:;<=>?@[]^_`{|}\\\"";
    assert_eq!(set(sign).status, 200);
    let config = gateway
        .client()
        .request("GET", "/abc/admin/config")
        .bearer(sign)
        .send();
    assert_eq!(config.status, 200);
}

#[test]
fn a_providers_key_is_struck_out_however_it_is_spelled() {
    const KEY: &str = "sk-prov/0123+abcdefgh=";
    for echo in [
        r#"{"error":{"message":"no key sk-prov\/0123+abcdefgh="}}"#,
        r#"{"error":{"message":"no key sk-prov/0123\u002Babcdefgh\u003d"}}"#,
        r#"{"error":{"message":"GET /?key=sk-prov%2F0123%2Babcdefgh%3D"}}"#,
        // user:KEY
        r#"{"error":{"message":"Basic dXNlcjpzay1wcm92LzAxMjMrYWJjZGVmZ2g9"}}"#,
    ] {
        let provider = Provider::start(move |_| {
            Script::new()
                .head(
                    400,
                    &[
                        ("content-type", "application/json"),
                        ("openai-version", &echo[20..echo.len() - 3]),
                    ],
                )
                .bytes(echo)
        });
        let config = sample(&provider).set("providers.text.endpoints.openai.api_key", json!(KEY));
        let gateway = Gateway::start(Setup::new().tenant("abc", config));
        let key = mint(&gateway, "abc");

        let answer = chat(&gateway, "abc", &key, &hi());

        assert_eq!(answer.status, 400);
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.ends_with("***"), "{message}");
        assert_eq!(answer.header("openai-version"), None);
    }
}

#[test]
fn a_form_whose_fields_depend_on_who_reads_it_is_refused() {
    let provider = Provider::start(|_| Script::json(200, &json!({"data": []})));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let send = |kind: &str, field: &str| {
        let form = format!(
            "--A\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na cat\r\n\
             --A\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\nx\r\n\
             --A\r\nContent-Disposition: form-data; {field}\r\n\r\n10\r\n--A--\r\n"
        );
        let request = gateway.client().request("POST", "/abc/v1/images/edits");
        let request = request.bearer(&key).header("content-type", kind);
        request.body(form).send().status
    };
    let plain = "multipart/form-data; boundary=A";
    assert_eq!(send(plain, "name=\"size\""), 200);
    for field in [
        "name=\"size\"; name*0=\"n\"",
        "name=\"size\"; name*0=\"mod\"; name*1=\"el\"",
        "name=\"size\"; filename*=utf-8''",
        "name=\"size\"; other=\"n\"",
        "name=\"\u{ff4e}\"",
    ] {
        assert_eq!(send(plain, field), 400, "{field}");
    }
    let other = "multipart/form-data; boundary=A; boundary*=utf-8''A%0D%0AX-J%3A%201";
    assert_eq!(send(other, "name=\"size\""), 400);
    assert_eq!(provider.served(), 1);
}

/// A form in capitals was empty to Starlette, and a charset beside the boundary made its text twice as long.
#[test]
fn a_form_leaves_in_the_one_spelling_that_every_reader_knows() {
    let provider = Provider::start(|_| Script::json(200, &json!({"text": "Hi"})));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let field = |head: &str, value: &[u8]| {
        let head = format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n");
        [head.as_bytes(), value, b"\r\n"].concat()
    };
    let send = |kind: &str, odd: Vec<u8>| {
        let form = [
            field("name=\"model\"", b"m"),
            field("name=\"file\"; filename=\"a\"", b"sound"),
            odd,
            b"--b--".to_vec(),
        ];
        let request = gateway
            .client()
            .request("POST", "/abc/v1/audio/transcriptions");
        let request = request.bearer(&key).header("content-type", kind);
        request.body(form.concat()).send().status
    };
    let usual = "multipart/form-data; boundary=b";
    for kind in [
        usual,
        "Multipart/Form-Data; Boundary=\"b\";",
        "multipart/form-data; boundary=b; charset=us-ascii",
    ] {
        assert_eq!(send(kind, Vec::new()), 200, "{kind}");
    }
    let mut sent = provider.requests().into_iter();
    assert!(sent.all(|request| request.header("content-type") == Some(usual)));
    for (head, value) in [
        ("name=\"prompt\"; ", &b"a"[..]),
        ("name='prompt'", b"a"),
        ("name=\"prompt\"", b"\xff\xfe"),
    ] {
        assert_eq!(send(usual, field(head, value)), 400, "{head}");
    }
}

/// The texts of answers whose readers had left waited for the counting thread in memory that nothing bounded.
#[test]
fn texts_that_wait_to_be_counted_have_no_more_room_than_bodies() {
    // Slow to count.
    let piece = "Z".repeat(1200);
    let provider = Provider::start(move |_| {
        let words: Vec<&str> = std::iter::repeat_n(piece.as_str(), 300).collect();
        Script::chat_stream(&words, 9, 100_000)
    });
    let config = sample(&provider)
        .server("openai", "openai")
        .tokens(1_000_000_000);
    let setup = Setup::new()
        .tenant("abc", config)
        .yaml("server: { max_buffered: 16MiB, ops_listen: '127.0.0.1:0' }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let call = json!({"model": "gpt-4o", "stream": true, "max_tokens": 400_000,
        "messages": [{"role": "user", "content": "Hi"}]});
    let settled = || {
        let (left, free) = balance(&gateway, &key);
        (left == free).then_some(left)
    };
    // No window for answers: what the provider says stays where it is, until it is taken back.
    let abandon = |count: u32| {
        let mut raw = Raw::silent(&gateway);
        raw.write(&[PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat());
        let streams = (0..count).map(|number| 2 * number + 1);
        for stream in streams.clone() {
            raw.write(&frame(HEADERS, END_HEADERS, stream, &call_headers(&key)));
            raw.write(&frame(
                DATA,
                END_STREAM,
                stream,
                call.to_string().as_bytes(),
            ));
        }
        eventually(Duration::from_secs(20), "all of them have begun", || {
            raw.take();
            let frames = raw.frames();
            let heads = frames.iter().filter(|(kind, ..)| *kind == HEADERS);
            (heads.count() == count as usize).then_some(())
        });
        for stream in streams {
            raw.write(&frame(RESET, 0, stream, &8u32.to_be_bytes()));
        }
        raw
    };
    // The first text to be counted has its vocabulary unpacked.
    let raw = abandon(1);
    eventually(Duration::from_secs(60), "it is settled", || {
        settled().filter(|left| *left < 1_000_000_000)
    });
    drop(raw);
    let before = gateway.memory_kib();
    let raw = [abandon(90), abandon(90)];
    let mut most = 0;
    eventually(Duration::from_secs(60), "all of it is settled", || {
        most = most.max(gateway.memory_kib());
        settled()
    });
    drop(raw);
    let grown = most.saturating_sub(before) >> 10;
    assert!(grown < 150, "{grown} MiB");
}

/// The word made the call be read a second time, which forgot that this server bills moderations.
#[test]
fn a_moderation_of_text_about_an_image_is_billed() {
    let answer = json!({"id": "m", "results": [{"flagged": false}], "usage": {"prompt_tokens": 8, "completion_tokens": 0, "total_tokens": 8}});
    let provider = Provider::start(move |_| Script::json(200, &answer));
    let config = sample(&provider).tokens(1_000).server("openai", "mistral");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let client = gateway.client();
    let request = client.request("POST", "/abc/v1/moderations").bearer(&key);

    let answer = request
        .json(&json!({"model": "m", "input": "what an image shows"}))
        .send();

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(balance(&gateway, &key).0, 992);
}
