//! Redis killed, slow, stopped, or reached through a network that loses its bytes.

use super::{
    BACK, COST, OUT, Probe, Prober, RECOVERY, Served, ask, call, exact, half_a_stream, healthy,
    keys, last_refusal, metric, one_story, ready, setup, slowest,
};
use crate::faults::{case, many};
use crate::harness::{CHAT_PATH, Chaos, Gate, Gateway, Redis, eventually};
use crate::store::contract::{keeping, open, runtime};
use resullm::rules::account::Orphans;
use resullm::rules::tenant::TenantId;
use resullm::store::{Clock, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn redis_killed_under_load_loses_nothing() {
    let redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&redis.url(), &provider));
    case("redis: kill -9 under load, restart", || {
        let keys = keys(&gateway, many(600, 3_000));
        let prober = Prober::start(&gateway, &keys[10..], 3);
        let streams: Vec<_> = keys[..10]
            .iter()
            .map(|key| half_a_stream(&gateway, key))
            .collect();

        assert_eq!(
            (ready(&gateway), metric(&gateway, "resullm_store_up")),
            (200, 1)
        );

        let killed = Instant::now();
        redis.kill();
        gateway.wait_log(OUT);

        let refused = ask(gateway.client(), &keys[0]);
        assert_eq!((refused.0, refused.1.as_deref()), (503, Some("1")));
        assert_eq!((ready(&gateway), healthy(&gateway)), (503, 200));
        assert_eq!(metric(&gateway, "resullm_store_up"), 0);

        gate.open();
        for stream in streams {
            let text = stream.into_response().unwrap().text();
            assert!(text.contains("[DONE]"), "{text}");
        }

        thread::sleep(many(Duration::from_millis(500), Duration::from_secs(5)));
        redis.restart();
        let back = Instant::now();
        gateway.wait_log(BACK);
        eventually(RECOVERY, "it is ready", || {
            (ready(&gateway) == 200).then_some(())
        });

        thread::sleep(Duration::from_millis(500));
        let probes = prober.end();
        let refusals: Vec<&Probe> = probes.iter().filter(|probe| probe.status == 503).collect();
        let (slowest, late) = (
            slowest(refusals.iter().copied()),
            last_refusal(&probes, back),
        );
        assert!(refusals.len() > 20, "{} refusals", refusals.len());
        assert!(
            slowest < Duration::from_millis(500),
            "refused after {slowest:?}"
        );
        assert!(late < RECOVERY, "refused {late:?} after it was back");
        assert!(probes.last().unwrap().status == 200 && probes[0].sent < killed);
        one_story(&gateway);
        let charged = exact(&gateway, &served, &keys);
        format!(
            "{} refusals, slowest {slowest:.1?}; the last {late:.1?} after Redis was back; {charged} tokens exact",
            refusals.len()
        )
    });
}

#[test]
fn slow_redis_opens_the_breaker() {
    let redis = Redis::start();
    let chaos = Chaos::before(redis.port());
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&chaos.url(), &provider));
    let keys = keys(&gateway, many(600, 3_000));
    case("redis: 200 ms further away", || {
        chaos.delay(Duration::from_millis(100));
        let prober = Prober::start(&gateway, &keys, 8);
        thread::sleep(many(Duration::from_secs(2), Duration::from_secs(20)));
        let probes = prober.end();
        let slowest = slowest(&probes);

        assert!(probes.iter().all(|probe| probe.status == 200));
        assert!(slowest < Duration::from_millis(1_500), "{slowest:?}");
        assert_eq!(gateway.count_logs(OUT), 0);
        format!("{} calls served, slowest {slowest:.0?}", probes.len())
    });
    case("redis: 800 ms further away, and near again", || {
        chaos.delay(Duration::from_millis(400));
        let prober = Prober::start(&gateway, &keys, 8);
        let begun = Instant::now();

        gateway.wait_log(OUT);
        let opened = begun.elapsed();
        assert_eq!((ready(&gateway), healthy(&gateway)), (503, 200));

        thread::sleep(many(Duration::from_secs(1), Duration::from_secs(10)));
        let quiet = Instant::now();
        thread::sleep(Duration::from_millis(500));
        chaos.delay(Duration::ZERO);
        let near = Instant::now();
        gateway.wait_log(BACK);

        thread::sleep(Duration::from_millis(500));
        let probes = prober.end();
        let late = last_refusal(&probes, near);
        let while_out = probes
            .iter()
            .filter(|probe| probe.sent > quiet && probe.sent < near);
        let (all, out) = (slowest(&probes), slowest(while_out));
        assert!(opened < Duration::from_secs(6), "noticed after {opened:?}");
        assert!(all < Duration::from_secs(4), "an answer took {all:?}");
        assert!(out < Duration::from_millis(300), "a refusal took {out:?}");
        assert!(late < RECOVERY, "refused {late:?} after it was near");
        one_story(&gateway);
        let charged = exact(&gateway, &served, &keys);
        format!(
            "let go after {opened:.1?}, slowest answer {all:.1?}, refusals then {out:.0?}, served {late:.1?} after; {charged} tokens exact"
        )
    });
}

#[track_caller]
fn stalls(name: &str, stall: impl Fn(&Redis, &Chaos, bool)) {
    let redis = Redis::start();
    let chaos = Chaos::before(redis.port());
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&chaos.url(), &provider));
    case(name, || {
        let keys = keys(&gateway, many(600, 3_000));
        let prober = Prober::start(&gateway, &keys, 8);
        thread::sleep(Duration::from_millis(300));
        stall(&redis, &chaos, true);
        let begun = Instant::now();
        gateway.wait_log(OUT);
        let opened = begun.elapsed();
        // Commands in flight still have to reach their timeout.
        thread::sleep(Duration::from_secs(1));
        let quiet = Instant::now();
        assert_eq!((ready(&gateway), healthy(&gateway)), (503, 200));
        thread::sleep(many(Duration::from_secs(1), Duration::from_secs(10)));
        let in_flight = metric(&gateway, "resullm_requests_in_flight");
        stall(&redis, &chaos, false);
        let over = Instant::now();
        gateway.wait_log(BACK);
        thread::sleep(Duration::from_millis(500));
        let probes = prober.end();
        let late = last_refusal(&probes, over);
        let while_out = probes
            .iter()
            .filter(|probe| probe.sent > quiet && probe.sent < over);
        let (all, out) = (slowest(&probes), slowest(while_out));
        assert!(opened < Duration::from_secs(3), "noticed after {opened:?}");
        assert!(all < Duration::from_millis(3_500), "an answer took {all:?}");
        assert!(out < Duration::from_millis(300), "a refusal took {out:?}");
        assert!(late < RECOVERY, "refused {late:?} after it was over");
        assert!(in_flight <= 9, "{in_flight} requests wait");
        one_story(&gateway);
        let charged = exact(&gateway, &served, &keys);
        format!(
            "let go after {opened:.1?}, slowest answer {all:.1?}, refusals then {out:.0?}, {in_flight} in flight, served {late:.1?} after; {charged} tokens exact"
        )
    });
}

#[test]
fn redis_stopped_by_a_signal_gets_503() {
    stalls("redis: SIGSTOP for some seconds", |redis, _, stop| {
        if stop { redis.pause() } else { redis.resume() }
    });
}

#[test]
fn network_silence_gets_503() {
    stalls(
        "redis: nothing passes for some seconds",
        |_, chaos, stop| {
            chaos.silence(stop);
        },
    );
}

#[test]
fn redis_answers_lost_get_503() {
    stalls("redis: commands pass, answers do not", |_, chaos, stop| {
        chaos.deafen(stop);
    });
}

#[test]
fn lost_redis_answers_with_leases_keep_the_books_exact() {
    answers_are_lost("redis: one answer in ten is cut off, keys with leases", 40);
}

#[test]
fn lost_redis_answers_without_leases_keep_the_books_exact() {
    let name = "redis: one answer in ten is cut off, keys without leases";
    answers_are_lost(name, many(400, 4_000));
}

#[track_caller]
fn answers_are_lost(name: &str, count: usize) {
    let redis = Redis::start();
    let chaos = Chaos::before(redis.port());
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&chaos.url(), &provider));
    case(name, || {
        let keys = keys(&gateway, count);
        chaos.cut_one_in(10);
        let wanted = many(500, 100_000);
        let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let workers: Vec<_> = (0..4)
            .map(|at| {
                let (client, keys) = (gateway.client(), keys.clone());
                let (answered, refused) = (answered.clone(), refused.clone());
                thread::spawn(move || {
                    let mut connection = client.connect();
                    let deadline =
                        Instant::now() + many(Duration::from_secs(60), Duration::from_secs(1_800));
                    for round in at.. {
                        if answered.load(Ordering::SeqCst) >= wanted {
                            return;
                        }
                        assert!(Instant::now() < deadline, "too few are answered");
                        let key = &keys[round % keys.len()];
                        let request = connection.request("POST", CHAT_PATH).bearer(key);
                        match request.json(&call(key)).send().status {
                            200 => answered.fetch_add(1, Ordering::SeqCst),
                            503 => refused.fetch_add(1, Ordering::SeqCst),
                            other => panic!("{other}"),
                        };
                        thread::sleep(Duration::from_millis(1));
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        let cuts = chaos.cuts();
        chaos.cut_one_in(0);
        let charged = exact(&gateway, &served, &keys);
        assert!(cuts > many(10, 500), "{cuts} answers were cut off");
        assert_eq!(charged, answered.load(Ordering::SeqCst) * COST);
        format!(
            "{cuts} cuts, {} answered, {} refused; {charged} tokens charged and served, nothing held",
            answered.load(Ordering::SeqCst),
            refused.load(Ordering::SeqCst)
        )
    });
}

#[test]
fn command_queue_is_bounded() {
    const MOST: usize = 4_096;
    let redis = Redis::start();
    let chaos = Chaos::before(redis.port());
    case("redis: more commands at once than may wait", || {
        let (refused, slowest, unknown) = runtime().block_on(async {
            let store = open(&chaos.url(), keeping(Orphans::Known, Clock::Store)).await;
            chaos.silence(true);
            let tasks: Vec<_> = (0..2 * MOST)
                .map(|_| {
                    let store = store.clone();
                    tokio::spawn(async move {
                        let begun = Instant::now();
                        let tenant = TenantId::parse("abc").unwrap();
                        (store.config(&tenant).await, begun.elapsed())
                    })
                })
                .collect();
            let (mut refused, mut slowest, mut unknown) = (0, Duration::ZERO, 0);
            for task in tasks {
                match task.await.unwrap() {
                    (Err(StoreError::Unavailable(_)), took) => {
                        refused += 1;
                        slowest = slowest.max(took);
                    }
                    (Err(StoreError::Unknown(_)), took) => {
                        assert!(took < Duration::from_secs(3), "{took:?}");
                        unknown += 1;
                    }
                    (other, _) => panic!("{other:?}"),
                }
            }
            (refused, slowest, unknown)
        });
        // The connection's own commands are among them.
        assert!((MOST - 10..=MOST).contains(&unknown), "{unknown} waited");
        assert!(
            slowest < Duration::from_millis(200),
            "refused after {slowest:?}"
        );
        format!("{unknown} waited, {refused} refused within {slowest:.1?}")
    });
}
