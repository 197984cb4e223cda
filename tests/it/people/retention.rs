//! What is kept of people goes when its time is over, and at once with `resullm purge`.

use super::config;
use crate::harness::{
    Gateway, Provider, Redis, Script, Setup, TempDir, chat, eventually, mint, resullm, small_call,
};
use serde_json::Value;
use std::time::Duration;

fn records(gateway: &Gateway) -> usize {
    let request = gateway.client().request("GET", "/abc/admin/usage");
    let answer = request.bearer(gateway.admin_token()).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    usize::try_from(answer.json()["total"]["requests"].as_u64().unwrap()).unwrap()
}

#[test]
fn purge_removes_what_a_shorter_retention_allows_no_more() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (dir, redis) = (TempDir::new(), Redis::start());
    let embedded = format!("embedded:{}", dir.path().join("store").display());
    for store in [embedded, redis.url()] {
        let setup = || Setup::new().store(&store).tenant("abc", config(&provider));
        let gateway = Gateway::start(setup());
        let key = mint(&gateway, "abc");
        for _ in 0..3 {
            assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
        }
        eventually(Duration::from_secs(10), "three records", || {
            (records(&gateway) == 3).then_some(())
        });
        gateway.signal("TERM");
        assert!(gateway.wait_exit(Duration::from_secs(20)).success());
        let purge = |age: &str| {
            let env = [
                ("REDIS_URL", store.as_str()),
                ("RESULLM__RETENTION__USAGE", age),
            ];
            let output = resullm(&["purge"], &env);
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let told: Value = serde_json::from_slice(&output.stdout).unwrap();
            told["usageRecords"].as_u64().unwrap()
        };

        assert_eq!(purge("1h"), 0);
        let mut removed = 0;
        eventually(Duration::from_secs(20), "they are a second old", || {
            removed += purge("1s");
            (removed == 3).then_some(())
        });

        let gateway = Gateway::start(setup());
        assert_eq!(records(&gateway), 0);
        assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
        eventually(Duration::from_secs(10), "the new record", || {
            (records(&gateway) == 1).then_some(())
        });
        gateway.signal("TERM");
        assert!(gateway.wait_exit(Duration::from_secs(20)).success());
    }
    let log = redis.cli(&["PTTL", "usage:abc"]).int();
    assert!(
        log > 29 * 86_400_000,
        "a log ends with its last record: {log}"
    );
}

#[test]
fn the_former_name_of_the_setting_still_counts_and_says_so() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let redis = Redis::start();
    let setup = Setup::new().store(&redis.url()).yaml("usage: { age: 1h }");
    let gateway = Gateway::start(setup.tenant("abc", config(&provider)));
    gateway.wait_log("usage.age: is now called retention.usage");
    let key = mint(&gateway, "abc");
    assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
    let life = eventually(Duration::from_secs(10), "a record", || {
        let life = redis.cli(&["PTTL", "usage:abc"]).int();
        (life > 0).then_some(life)
    });
    assert!(life <= 3_600_000, "{life}");
}
