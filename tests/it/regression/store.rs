//! The store: Redis, the journals and the database on disk.

use super::hi;
use crate::harness::{
    CHAT_PATH, Gateway, Provider, Redis, Script, Setup, Step, balance, chat, eventually, mint,
    sample,
};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn admission_without_a_store_answer_leaves_no_hold() {
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
fn redis_that_echoes_commands_puts_no_key_into_the_log() {
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
fn minting_an_existing_user_gets_409_and_not_503() {
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

/// Files of a gateway's data directory with this suffix.
fn files(setup: &Setup, end: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(setup.path().join("data")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect()
}

#[test]
fn journal_holes_after_a_power_loss_do_not_stop_the_start() {
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
    // The second start happens on the same boot, where a hole would be damage.
    for _ in 0..2 {
        let gateway = Gateway::start(setup.clone());
        let (left, _) = balance(&gateway, &key);
        assert!((1_000_000 - 40 * 7..=1_000_000).contains(&left), "{left}");
        gateway.kill9();
    }
}

#[test]
fn lease_report_lost_to_a_power_loss_is_not_charged_twice() {
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
fn half_created_database_is_recreated_after_a_power_loss() {
    let setup = Setup::new();
    let data = setup.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("resullm.redb.new"), [0; 8_192]).unwrap();
    let gateway = Gateway::start(setup);

    assert_eq!(gateway.client().get("/readyz").status, 200);
    assert!(!data.join("resullm.redb.new").exists());
}

#[test]
fn earlier_journal_is_flushed_before_its_pages_are_removed() {
    let provider = Provider::start(|_| {
        let script = Script::chat_stream(&["one ", "two "], 10, 2);
        script.after(2, Step::Stall)
    });
    let setup = Setup::new().tenant("abc", sample(&provider).tokens(10_000));
    let gateway = Gateway::start(setup.clone());
    let key = mint(&gateway, "abc");
    let call = json!({"stream": true, "messages": [{"role": "user", "content": "x".repeat(400)}]});
    let request = gateway.client().request("POST", CHAT_PATH);
    let mut stream = request.bearer(&key).json(&call).send_streaming();
    stream.wait_for("one ");
    gateway.kill9();
    let pages = files(&setup, ".held").len();
    let gateway = Gateway::start(setup.clone());
    let (left, _) = balance(&gateway, &key);

    gateway.kill9();
    assert!(left < 10_000, "{left}, {pages} pages");

    // Expected size where only acknowledged writes were flushed.
    for path in [files(&setup, "changes.0"), files(&setup, "changes.1")].concat() {
        std::fs::remove_file(path).unwrap();
    }
    let gateway = Gateway::start(setup);
    assert_eq!(balance(&gateway, &key), (left, left));
}

#[test]
fn gateway_clock_ahead_does_not_empty_the_usage_log() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let setup = Setup::new().store(&redis.url()).clock("+1h");
    let setup = setup.tenant("abc", sample(&provider));
    let gateway = Gateway::start(setup.yaml("usage: { age: 30m }"));
    let key = mint(&gateway, "abc");
    // Redis trims its stream in nodes of a hundred entries.
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
