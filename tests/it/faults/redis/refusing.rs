//! Redis that refuses writes, comes back empty, or is replaced by its replica.

use super::{
    BACK, COST, GRANT, OUT, Prober, RECOVERY, Served, ask, exact, half_a_stream, healthy, keys,
    last_refusal, metric, one_story, ready, setup, slowest,
};
use crate::faults::{case, many};
use crate::harness::{Gate, Gateway, Provider, Redis, Script, Sentinel, eventually, mint};
use serde_json::json;
use std::thread;
use std::time::{Duration, Instant};

#[track_caller]
fn refuses(name: &str, begin: &[&str], end: &[&str], code: &str) {
    let redis = Redis::start();
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&redis.url(), &provider));
    case(name, || {
        let keys = keys(&gateway, many(600, 3_000));
        let prober = Prober::start(&gateway, &keys[1..], 3);
        let stream = half_a_stream(&gateway, &keys[0]);
        redis.cli(begin);
        let begun = Instant::now();
        let line = gateway.wait_log(OUT);
        assert!(line.contains(code), "{line}");
        let noticed = begun.elapsed();
        assert_eq!((ready(&gateway), healthy(&gateway)), (503, 200));
        // The stream ends during the outage, so its settlement waits.
        gate.open();
        assert!(
            stream
                .into_response()
                .unwrap()
                .text()
                .ends_with("[DONE]\n\n")
        );
        thread::sleep(many(Duration::from_millis(700), Duration::from_secs(10)));
        redis.cli(end);
        let over = Instant::now();
        gateway.wait_log(BACK);
        thread::sleep(Duration::from_millis(500));
        let probes = prober.end();
        let refused = probes.iter().filter(|probe| probe.status == 503);
        let (count, slowest) = (refused.clone().count(), slowest(refused));
        let late = last_refusal(&probes, over);
        assert!(count > 20, "{count} refusals");
        assert!(
            slowest < Duration::from_millis(500),
            "refused after {slowest:?}"
        );
        assert!(late < RECOVERY, "refused {late:?} after it was over");
        one_story(&gateway);
        let charged = exact(&gateway, &served, &keys);
        format!(
            "let go after {noticed:.1?}, {count} refusals, slowest {slowest:.1?}, served {late:.1?} after; {charged} tokens exact"
        )
    });
}

#[test]
fn read_only_redis_gets_503() {
    refuses(
        "redis: read-only (REPLICAOF)",
        &["REPLICAOF", "127.0.0.1", "1"],
        &["REPLICAOF", "NO", "ONE"],
        "READONLY",
    );
}

#[test]
fn redis_without_replicas_gets_503() {
    refuses(
        "redis: read-only (min-replicas-to-write)",
        &["CONFIG", "SET", "min-replicas-to-write", "1"],
        &["CONFIG", "SET", "min-replicas-to-write", "0"],
        "NOREPLICAS",
    );
}

#[test]
fn redis_out_of_memory_gets_503() {
    refuses(
        "redis: out of memory (noeviction)",
        &["CONFIG", "SET", "maxmemory", "1"],
        &["CONFIG", "SET", "maxmemory", "0"],
        "OOM",
    );
}

#[test]
fn read_only_redis_is_noticed_without_calls() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let gateway = Gateway::start(setup(&redis.url(), &provider));
    case("redis: out of memory, and nobody calls", || {
        redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
        let begun = Instant::now();

        eventually(Duration::from_secs(5), "it is not ready", || {
            (ready(&gateway) == 503).then_some(())
        });

        let noticed = begun.elapsed();
        redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        let over = Instant::now();
        eventually(RECOVERY, "it is ready", || {
            (ready(&gateway) == 200).then_some(())
        });
        let back = over.elapsed();
        one_story(&gateway);
        format!("not ready after {noticed:.1?}, ready {back:.1?} after it was over")
    });
}

#[test]
fn redis_restarted_empty_resurrects_no_key() {
    let redis = Redis::start();
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let setup = setup(&redis.url(), &provider);
    let gateway = Gateway::start(setup.clone());
    case("redis: restarted empty", || {
        let keys = keys(&gateway, 4);
        let [rare, often, streaming, late] = &keys[..] else {
            unreachable!("four keys")
        };
        eventually(Duration::from_secs(10), "a lease is used", || {
            ask(gateway.client(), often);
            let row = "resullm_admissions_total{from=\"lease\"}";
            (metric(&gateway, row) > 10).then_some(())
        });

        let streams = [streaming, late].map(|key| half_a_stream(&gateway, key));
        redis.kill();
        gateway.wait_log(OUT);

        // Their settlements wait and reach an empty server.
        gate.open();
        for stream in streams {
            assert!(stream.into_response().unwrap().text().contains("[DONE]"));
        }
        redis.restart();
        gateway.wait_log(BACK);

        let back = Instant::now();
        // The tenant's config is lost too, until the next start writes it again.
        eventually(RECOVERY, "the tenant is unknown", || {
            let gone = ask(gateway.client(), rare).0;
            assert_ne!(gone, 200);
            (gone == 400).then_some(())
        });

        let second = Gateway::start(setup.clone());
        eventually(RECOVERY, "the tenant is known", || {
            (ask(gateway.client(), rare).0 == 401).then_some(())
        });

        for key in &keys {
            eventually(Duration::from_secs(4), "keys are unknown", || {
                (ask(gateway.client(), key).0 == 401).then_some(())
            });
        }
        let gone = back.elapsed();
        eventually(Duration::from_secs(10), "no settlement waits", || {
            let waiting = metric(&gateway, "resullm_settlements_waiting_total");
            let done = metric(&gateway, "resullm_settlements_late_total");
            (waiting == done && waiting >= 2).then_some(())
        });
        for key in &keys {
            let names = [format!("apiKey:{key}"), format!("{{apiKey:{key}}}:books")];
            for name in &names {
                assert_eq!(redis.cli(&["EXISTS", name]).int(), 0, "{name}");
            }
            assert!(served.of(key) <= GRANT);
        }
        let before = served.of(rare);
        assert_eq!(before, 0);

        let new = mint(&gateway, "abc");
        assert_eq!(ask(gateway.client(), &new).0, 200);
        assert_eq!(ask(second.client(), &new).0, 200);
        exact(&gateway, &served, std::slice::from_ref(&new));
        format!(
            "old keys unknown {gone:.1?} after; nothing resurrected, no settlement left waiting"
        )
    });
}

#[test]
fn sentinel_failover_under_load_keeps_the_books() {
    let sentinel = Sentinel::start();
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&sentinel.url(), &provider));
    case("redis: Sentinel failover under load", || {
        const CREDIT: u64 = 1_000;
        let rounds = many(1, 50);
        let keys = keys(&gateway, many(400, 1_000));
        let mut slowest_back = Duration::ZERO;
        let mut refused = 0;

        for round in 0..rounds {
            let path = format!("/abc/admin/keys/{}/credit", keys[0]);
            let request = gateway.client().request("POST", &path);
            let credit = json!({"tokens": CREDIT, "id": format!("order-{round}")});
            let token = gateway.admin_token().to_owned();
            assert_eq!(request.bearer(&token).json(&credit).send().status, 200);
            let same = || {
                let name = format!("apiKey:{}", keys[0]);
                let record = |redis: &Redis| redis.cli(&["GET", &name]).text();
                let size = |redis: &Redis| redis.cli(&["DBSIZE"]).int();
                let (primary, other) = (sentinel.primary(), sentinel.other());
                (record(primary) == record(other) && size(other) > keys.len() as i64).then_some(())
            };
            eventually(Duration::from_secs(10), "the replica has it", same);
            let prober = Prober::start(&gateway, &keys[1..], 3);
            thread::sleep(Duration::from_millis(500));
            let dead = sentinel.kill_primary();
            sentinel.wait_failover(dead);
            let promoted = Instant::now();
            let wanted = round + 1;
            eventually(Duration::from_secs(10), "it is found", || {
                (gateway.count_logs(BACK) >= wanted).then_some(())
            });
            thread::sleep(Duration::from_millis(500));
            let probes = prober.end();
            assert_eq!(probes.last().unwrap().status, 200);
            slowest_back = slowest_back.max(last_refusal(&probes, promoted));
            refused += probes.iter().filter(|probe| probe.status == 503).count();
            sentinel.revive(dead);
        }
        assert!(slowest_back < RECOVERY, "refused {slowest_back:?} after");

        let (mut all, mut lost) = (0, 0);
        for (at, key) in keys.iter().enumerate() {
            let credits = if at == 0 { CREDIT * rounds as u64 } else { 0 };
            let left = eventually(Duration::from_secs(30), "nothing is held", || {
                let me = gateway.client().request("GET", "/abc/auth/me").bearer(key);
                let me = me.send().json();
                let left = me["tokensLeft"].as_u64()?;
                (me["tokensFree"] == left).then_some(left)
            });
            let (charged, served) = (GRANT + credits - left, served.of(key));
            assert!(charged <= served, "charged {charged}, served {served}");
            all += served;
            lost += served - charged;
        }
        // Writes that the dead primary had not replicated: at worst all requests in flight.
        assert!(lost <= 10 * COST * rounds as u64, "{lost} of {all} lost");
        format!(
            "{rounds} failovers, {refused} refusals, served {slowest_back:.1?} after; {lost} of {all} tokens never charged, none too many, no credit lost"
        )
    });
}
