//! Cached answers: random histories against the pure rule, the exact moment of an expiry, and what Redis holds.

mod faults;

use crate::harness::{Cluster, Redis, TempDir, eventually};
use crate::store::contract::{keeping, open, runtime};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use resullm::rules::account::Orphans;
use resullm::rules::amount::Millis;
use resullm::rules::lru::{Item, Lru};
use resullm::rules::tenant::TenantId;
use resullm::store::name::AnswerKey;
use resullm::store::{ANSWER_OVERHEAD_BYTES, Clock, NewAnswer, Store};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const START: u64 = 1_800_000_000_000;
const OWNERS: [&str; 3] = ["p_one", "p_two", "2f6c1b"];
const KEYS: u8 = 8;

#[derive(Clone, Debug)]
enum Op {
    Keep {
        key: u8,
        owner: usize,
        size: usize,
        life: u64,
        most: u64,
    },
    Ask {
        key: u8,
    },
    ForgetOf {
        owner: usize,
    },
    Forget,
    Wait {
        millis: u64,
    },
}

/// Each with the tenant that it is about.
fn op() -> impl Strategy<Value = (usize, Op)> {
    let life = prop_oneof![Just(60_000_u64), 100_000u64..200_000, Just(10_000_000)];
    let most = prop_oneof![8 => Just(4_000_u64), 2 => 0u64..6_000];
    let keep = (0..KEYS, 0usize..3, 0usize..1_500, life, most);
    let op = prop_oneof![
        8 => keep.prop_map(|(key, owner, size, life, most)| Op::Keep { key, owner, size, life, most }),
        8 => (0..KEYS).prop_map(|key| Op::Ask { key }),
        1 => (0usize..3).prop_map(|owner| Op::ForgetOf { owner }),
        1 => Just(Op::Forget),
        2 => prop_oneof![0u64..50_000, Just(60_000)].prop_map(|millis| Op::Wait { millis }),
    ];
    (0usize..2, op)
}

fn key(number: u8) -> AnswerKey {
    AnswerKey::new([number; 32])
}

/// Bytes by which an answer is told from every other one of its history.
fn bytes(size: usize, step: usize) -> Bytes {
    let word = format!("{step}\u{0}\u{ff}");
    Bytes::from(word.repeat(size / word.len() + 1).into_bytes()).slice(..size)
}

fn by_rule(rule: &mut Lru<u8, Bytes>, op: &Op, step: usize, now: Millis) -> String {
    match op {
        Op::Keep {
            key,
            owner,
            size,
            life,
            most,
        } => {
            let item = Item {
                bytes: *size as u64 + ANSWER_OVERHEAD_BYTES,
                expires: now.plus(Millis(*life)),
                owner: OWNERS[*owner].to_owned(),
                value: bytes(*size, step),
            };
            let kept = rule.put(*key, item, *most, now).is_some();
            assert!(!kept || rule.bytes() <= *most);
            kept.to_string()
        }
        Op::Ask { key } => format!("{:?}", rule.touch(key, now).map(|item| &item.value)),
        Op::ForgetOf { owner } => {
            rule.drop_expired(now);
            rule.drop_owned(OWNERS[*owner]).len().to_string()
        }
        Op::Forget => {
            rule.drop_expired(now);
            std::mem::take(rule).len().to_string()
        }
        Op::Wait { .. } => String::new(),
    }
}

async fn by_engine(store: &dyn Store, at: &TenantId, op: &Op, step: usize) -> String {
    match op {
        Op::Keep {
            key: number,
            owner,
            size,
            life,
            most,
        } => {
            let answer = NewAnswer {
                owner: OWNERS[*owner],
                bytes: bytes(*size, step),
                life: Millis(*life),
                most_bytes: *most,
                shelf: None,
            };
            let kept = store.keep_answer(at, &key(*number), &answer).await;
            kept.unwrap().to_string()
        }
        Op::Ask { key: number } => {
            let answer = store.cached_answer(at, &key(*number)).await.unwrap();
            format!("{:?}", answer.as_ref())
        }
        Op::ForgetOf { owner } => {
            let gone = store.forget_answers_of(at, OWNERS[*owner]).await;
            gone.unwrap().to_string()
        }
        Op::Forget => store.forget_answers(at).await.unwrap().to_string(),
        Op::Wait { .. } => String::new(),
    }
}

async fn replay(
    store: &dyn Store,
    clock: &AtomicU64,
    ops: &[(usize, Op)],
) -> Result<(), TestCaseError> {
    let name = uuid::Uuid::new_v4().simple().to_string();
    let tenants = ["a", "b"].map(|which| TenantId::parse(&format!("{which}{name}")).unwrap());
    let mut rules = [Lru::default(), Lru::default()];
    for (step, (which, op)) in ops.iter().enumerate() {
        if let Op::Wait { millis } = op {
            clock.fetch_add(*millis, Ordering::SeqCst);
        }
        let now = Millis(clock.load(Ordering::SeqCst));
        let expected = by_rule(&mut rules[*which], op, step, now);
        let answered = by_engine(store, &tenants[*which], op, step).await;
        prop_assert_eq!(&answered, &expected, "{:?} at {}", op, now.0);
    }
    for (which, tenant) in tenants.iter().enumerate() {
        for key in 0..KEYS {
            let op = Op::Ask { key };
            let now = Millis(clock.load(Ordering::SeqCst));
            let expected = by_rule(&mut rules[which], &op, 0, now);
            prop_assert_eq!(by_engine(store, tenant, &op, 0).await, expected);
        }
    }
    Ok(())
}

/// Asserts that the engine's results equal the rule's, whatever was done before.
fn compare(url: &str, histories: u32) {
    let runtime = runtime();
    let clock = Arc::new(AtomicU64::new(START));
    let keeping = keeping(Orphans::Known, Clock::Fixed(clock.clone()));
    let store = runtime.block_on(open(url, keeping));
    let mut runner = TestRunner::new(Config {
        cases: histories,
        failure_persistence: None,
        ..Config::default()
    });
    let history = proptest::collection::vec(op(), 1..60);
    runner
        .run(&history, |ops| {
            runtime.block_on(replay(&*store, &clock, &ops))
        })
        .unwrap();
}

#[test]
fn embedded_engine_equals_the_rule() {
    let dir = TempDir::new();
    compare(&format!("embedded:{}", dir.path().display()), 200);
}

#[test]
fn redis_scripts_equal_the_rule() {
    let redis = Redis::start();
    compare(&redis.url(), 200);
}

#[test]
fn redis_scripts_on_a_cluster_equal_the_rule() {
    let cluster = Cluster::start();
    compare(&cluster.url(), 60);
}

fn new_answer(text: &str, life: u64) -> NewAnswer<'_> {
    NewAnswer {
        owner: "p_one",
        bytes: Bytes::copy_from_slice(text.as_bytes()),
        life: Millis(life),
        most_bytes: 1 << 20,
        shelf: None,
    }
}

#[test]
fn answer_expires_at_the_exact_millisecond() {
    let (dir, redis) = (TempDir::new(), Redis::start());
    for url in [format!("embedded:{}", dir.path().display()), redis.url()] {
        let clock = Arc::new(AtomicU64::new(START));
        runtime().block_on(async {
            let store = open(&url, keeping(Orphans::Known, Clock::Fixed(clock.clone()))).await;
            let at = TenantId::parse("abc").unwrap();
            let answer = new_answer("text", 60_000);
            assert!(store.keep_answer(&at, &key(1), &answer).await.unwrap());

            clock.store(START + 59_999, Ordering::SeqCst);
            let before = store.cached_answer(&at, &key(1)).await.unwrap();
            clock.store(START + 60_000, Ordering::SeqCst);
            let after = store.cached_answer(&at, &key(1)).await.unwrap();

            assert_eq!((before.unwrap(), after), (Bytes::from("text"), None));
            store.close().await;
        });
    }
}

#[test]
fn all_names_on_redis_expire_and_the_sum_is_exact_after_redis_expired_some() {
    let redis = Redis::start();
    runtime().block_on(async {
        let store = open(&redis.url(), keeping(Orphans::Known, Clock::Store)).await;
        let at = TenantId::parse("abc").unwrap();
        for number in 0..6 {
            let life = if number < 3 { 400 } else { 100_000 };
            let answer = new_answer("text", life);
            assert!(store.keep_answer(&at, &key(number), &answer).await.unwrap());
        }
        assert_eq!(index(&redis).len(), 6);
        eventually(Duration::from_secs(10), "Redis expires three", || {
            (redis.cli(&["EXISTS", &name(&key(0).hex())]).int() == 0
                && redis.cli(&["EXISTS", &name(&key(2).hex())]).int() == 0)
                .then_some(())
        });

        let answer = new_answer("texts", 100_000);
        assert!(store.keep_answer(&at, &key(7), &answer).await.unwrap());

        assert_eq!(index(&redis).len(), 4);
        let sum = 4 * ANSWER_OVERHEAD_BYTES + 3 * 4 + 5;
        let noted = redis.cli(&["HGET", &name("index"), "bytes"]).text();
        assert_eq!(noted, sum.to_string());
        assert_names_are_on_one_slot_and_expire(&redis);
        assert_eq!(store.forget_answers(&at).await.unwrap(), 4);
        assert!(redis.cli(&["KEYS", "{tenant:abc*"]).list().is_empty());
    });
}

fn name(part: &str) -> String {
    format!("{{tenant:abc:answers}}:{part}")
}

/// Keys of the answers that are in the index, which are the members of both orders.
fn index(redis: &Redis) -> BTreeSet<String> {
    let list = |command: &[&str]| -> BTreeSet<String> {
        let reply = redis.cli(command);
        reply.list().iter().map(|word| word.text()).collect()
    };
    let mut keys = list(&["HKEYS", &name("index")]);
    keys.retain(|key| key.len() == 64);
    assert_eq!(list(&["ZRANGE", &name("used"), "0", "-1"]), keys);
    assert_eq!(list(&["ZRANGE", &name("ends"), "0", "-1"]), keys);
    keys
}

fn assert_names_are_on_one_slot_and_expire(redis: &Redis) {
    let reply = redis.cli(&["KEYS", "*answers*"]);
    assert!(reply.list().len() >= 7, "{reply:?}");
    for name in reply.list() {
        assert!(name.text().starts_with("{tenant:abc:answers}:"), "{name:?}");
        let life = redis.cli(&["PTTL", &name.text()]).int();
        assert!((1..=100_000).contains(&life), "{name:?} {life}");
    }
}

#[test]
fn index_that_redis_evicted_in_part_is_begun_anew() {
    let redis = Redis::start();
    runtime().block_on(async {
        let store = open(&redis.url(), keeping(Orphans::Known, Clock::Store)).await;
        let at = TenantId::parse("abc").unwrap();
        let answer = new_answer("text", 100_000);
        for part in ["index", "used", "ends"] {
            for number in 0..3 {
                assert!(store.keep_answer(&at, &key(number), &answer).await.unwrap());
            }

            redis.cli(&["DEL", &name(part)]);

            assert_eq!(store.cached_answer(&at, &key(1)).await.unwrap(), None);
            assert!(store.keep_answer(&at, &key(0), &answer).await.unwrap());
            assert_eq!(index(&redis).len(), 1);
            assert_eq!(store.cached_answer(&at, &key(1)).await.unwrap(), None);
            assert!(store.cached_answer(&at, &key(0)).await.unwrap().is_some());
        }
    });
}

#[test]
fn lost_redis_is_an_error_at_once_and_the_cache_comes_back() {
    let redis = Redis::start();
    runtime().block_on(async {
        let store = open(&redis.url(), keeping(Orphans::Known, Clock::Store)).await;
        let at = TenantId::parse("abc").unwrap();
        let answer = new_answer("text", 100_000);
        assert!(store.keep_answer(&at, &key(1), &answer).await.unwrap());

        redis.kill();
        eventually(Duration::from_secs(10), "the loss is noticed", || {
            (!store.is_up()).then_some(())
        });
        let begun = std::time::Instant::now();
        assert!(store.cached_answer(&at, &key(1)).await.is_err());
        assert!(store.keep_answer(&at, &key(1), &answer).await.is_err());
        assert!(begun.elapsed() < Duration::from_secs(1));

        redis.restart();
        let begun = std::time::Instant::now();
        while store.keep_answer(&at, &key(1), &answer).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(
            store.cached_answer(&at, &key(1)).await.unwrap().unwrap(),
            "text"
        );
    });
}

#[test]
fn forgetting_that_broke_off_is_finished_by_the_next_one() {
    let redis = Redis::start();
    runtime().block_on(async {
        let store = open(&redis.url(), keeping(Orphans::Known, Clock::Store)).await;
        let at = TenantId::parse("abc").unwrap();
        let answer = new_answer("text", 100_000);
        for number in 0..3 {
            assert!(store.keep_answer(&at, &key(number), &answer).await.unwrap());
        }
        // As if the first step alone had been taken, and one of them had been kept again since.
        redis.cli(&["COPY", &name("used"), &name("forgotten")]);
        redis.cli(&["DEL", &name("index"), &name("used"), &name("ends")]);
        assert!(store.keep_answer(&at, &key(0), &answer).await.unwrap());
        assert_eq!(store.cached_answer(&at, &key(1)).await.unwrap(), None);

        assert_eq!(store.forget_answers(&at).await.unwrap(), 1);

        assert!(redis.cli(&["KEYS", "{tenant:abc*"]).list().is_empty());
    });
}
