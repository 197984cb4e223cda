//! Failover to a server that lacks the last moments of charges and credits.
//!
//! A request that was admitted and settled within these moments leaves no trace and is the only one not
//! charged. The tests count such requests, so that no other loss hides among them.

use super::redis::{COST, GRANT, Served, ask, half_a_stream, keys, metric, ready, setup};
use super::{case, many};
use crate::harness::{Cluster, Gate, Gateway, Provider, Redis, Sentinel, Setup, eventually, mint};
use serde_json::{Value, json};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const FROM_STORE: &str = "resullm_admissions_total{from=\"store\"}";
const FROM_LEASE: &str = "resullm_admissions_total{from=\"lease\"}";
/// Span of writes that the new server lacks. An idle lease budget is returned after two seconds.
const CUT: Duration = Duration::from_millis(2_500);
const CREDIT: u64 = 1_000;
const SAID_AGAIN: &str = "[INFO] The server behind the store was replaced: ";

/// Calls some keys often enough that they are leased.
struct Hammer {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Hammer {
    fn start(gateway: &Gateway, keys: &[String]) -> Hammer {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = keys.iter().map(|key| {
            let (client, key, stop) = (gateway.client(), key.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let status = ask(client, &key).0;
                    assert!(status == 200 || status == 503, "{status}");
                    thread::sleep(Duration::from_millis(5));
                }
            })
        });
        let threads = threads.collect();
        Hammer { stop, threads }
    }

    #[track_caller]
    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// Keys by their use.
#[derive(Default)]
struct Keys {
    /// Admitted before the cut, settled after it.
    held: Vec<String>,
    /// Leased before, during and after the cut.
    often: Vec<String>,
    /// Leases that end after the cut.
    ended: Vec<String>,
    /// Admitted and settled after the cut.
    brief: Vec<String>,
    /// Number of admissions of leased keys that went to the store nevertheless, admitted and settled after
    /// the cut.
    asked: u64,
    rounds: usize,
}

struct World {
    gateway: Gateway,
    served: Served,
    gate: Gate,
    _provider: Provider,
}

impl World {
    fn start(setup: impl FnOnce(&Provider) -> Setup) -> World {
        let (served, gate) = (Served::default(), Gate::new());
        let provider = served.provider(&gate);
        World {
            gateway: Gateway::start(setup(&provider)),
            served,
            gate,
            _provider: provider,
        }
    }

    /// Runs work of every kind. `cut` stops replication, `kill` ends the server, `back` brings up another
    /// one.
    #[track_caller]
    fn lose(&self, keys_: &mut Keys, cut: impl FnOnce(), kill: impl FnOnce(), back: impl FnOnce()) {
        let gateway = &self.gateway;
        let fresh = |count| keys(gateway, count);
        let (held, ended, brief) = (fresh(10), fresh(3), fresh(10));
        if keys_.often.is_empty() {
            keys_.often = fresh(3);
        }
        self.gate.close();
        let often = Hammer::start(gateway, &keys_.often);
        let last = Hammer::start(gateway, &ended);
        let from_leases = metric(gateway, FROM_LEASE);
        let streams: Vec<_> = held.iter().map(|key| half_a_stream(gateway, key)).collect();
        eventually(Duration::from_secs(10), "leases are used", || {
            (metric(gateway, FROM_LEASE) > from_leases + 200).then_some(())
        });
        let from_store = metric(gateway, FROM_STORE);
        cut();
        self.gate.open();
        for stream in streams {
            assert!(stream.into_response().unwrap().text().contains("[DONE]"));
        }
        thread::sleep(Duration::from_millis(100));
        last.end();
        for key in &brief {
            assert_eq!(ask(gateway.client(), key).0, 200);
        }
        thread::sleep(CUT);
        kill();
        keys_.asked += metric(gateway, FROM_STORE) - from_store - brief.len() as u64;
        back();
        eventually(Duration::from_secs(10), "it is found", || {
            (ready(gateway) == 200).then_some(())
        });
        thread::sleep(Duration::from_millis(500));
        often.end();
        keys_.held.extend(held);
        keys_.ended.extend(ended);
        keys_.brief.extend(brief);
        keys_.rounds += 1;
    }

    /// Tokens that were served to a key and not charged, as soon as no hold is left.
    #[track_caller]
    fn uncharged(&self, key: &str) -> u64 {
        let left = eventually(Duration::from_secs(60), "nothing is held", || {
            let me = self.gateway.client().request("GET", "/abc/auth/me");
            let me = me.bearer(key).send().json();
            let left = me["tokensLeft"].as_u64()?;
            (me["tokensFree"] == left).then_some(left)
        });
        let (charged, served) = (GRANT - left, self.served.of(key));
        assert!(charged <= served, "charged {charged} of {served}");
        served - charged
    }

    #[track_caller]
    fn figure(&self, keys: &Keys) -> String {
        let uncharged = |keys: &[String]| keys.iter().map(|key| self.uncharged(key)).sum::<u64>();
        let served = |keys: &[String]| keys.iter().map(|key| self.served.of(key)).sum::<u64>();
        let leases = [&keys.often[..], &keys.ended[..]].concat();
        let (held, brief) = (uncharged(&keys.held), uncharged(&keys.brief));
        let (asked, of_leases) = (keys.asked * COST, uncharged(&leases));
        let all = served(&keys.held) + served(&leases) + served(&keys.brief);
        let figure = format!(
            "{} rounds, {all} tokens: uncharged {held} of {} held before the cut; {of_leases} of {} from leases, of \
             which the store was asked for {asked} in the cut; {brief} of {} begun and ended in it; none too many; {}",
            keys.rounds,
            served(&keys.held),
            served(&leases),
            served(&keys.brief),
            self.said_again(),
        );
        assert_eq!(held, 0, "{figure}");
        assert!(of_leases <= asked, "{figure}");
        figure
    }

    /// Log lines about replayed settlements, summed up.
    fn said_again(&self) -> String {
        let logs = self.gateway.logs();
        let lines = logs.iter().filter_map(|line| line.split_once(SAID_AGAIN));
        let mut sums = [0_u64; 3];
        for (_, line) in lines {
            let words = line.split(|c: char| !c.is_ascii_digit());
            let numbers = words.filter_map(|word| word.parse::<u64>().ok());
            sums.iter_mut().zip(numbers).for_each(|(sum, n)| *sum += n);
        }
        let [all, lost, tokens] = sums;
        format!("{lost} of {all} settlements had been lost, {tokens} tokens")
    }

    fn credit(&self, key: &str, id: &str) -> (u16, Value, Option<String>) {
        let path = format!("/abc/admin/keys/{key}/credit");
        let request = self.gateway.client().request("POST", &path);
        let credit = json!({"tokens": CREDIT, "id": id});
        let answer = request
            .bearer(self.gateway.admin_token())
            .json(&credit)
            .send();
        let again = answer.header("retry-after").map(str::to_owned);
        (answer.status, answer.json(), again)
    }
}

/// Credits before, during and after the cut.
struct Credits<'a> {
    world: &'a World,
    key: String,
    rounds: u64,
}

impl Credits<'_> {
    fn of(world: &World, key: String) -> Credits<'_> {
        Credits {
            world,
            key,
            rounds: 0,
        }
    }

    #[track_caller]
    fn before(&mut self) {
        self.rounds += 1;
        let id = format!("before-{}", self.rounds);
        assert_eq!(self.world.credit(&self.key, &id).0, 200);
    }

    /// Without a replica that confirms it, a credit is not acknowledged.
    #[track_caller]
    fn during(&self) {
        let id = format!("during-{}", self.rounds);
        let (status, body, again) = self.world.credit(&self.key, &id);
        assert_eq!((status, again.as_deref()), (503, Some("1")), "{body}");
        let sentence = body["error"].as_str().unwrap();
        assert!(sentence.contains(&id), "{sentence}");
    }

    /// Without a replica the credit waits; later it counts exactly once.
    #[track_caller]
    fn after(&self) {
        let id = format!("during-{}", self.rounds);
        let credited = eventually(Duration::from_secs(10), "it is credited", || {
            let (status, body, _) = self.world.credit(&self.key, &id);
            assert!(status == 200 || status == 503, "{body}");
            (status == 200).then_some(body)
        });
        let left = GRANT + 2 * self.rounds * CREDIT;
        assert_eq!(credited["tokensLeft"], left);
        let (_, again, _) = self.world.credit(&self.key, &id);
        let again = (&again["tokensLeft"], &again["repeated"]);
        assert_eq!(again, (&json!(left), &json!(true)));
    }
}

#[test]
fn sentinel_failover_to_a_stale_replica_keeps_the_books() {
    let sentinel = Sentinel::start();
    let world = World::start(|provider| setup(&sentinel.url(), provider));
    case("redis: a stale replica is promoted", || {
        let mut credits = Credits::of(&world, mint(&world.gateway, "abc"));
        let mut keys = Keys::default();
        for _ in 0..many(1, 10) {
            credits.before();
            let dead = Cell::new(0);
            let cut = || sentinel.cut_replica();
            let kill = || {
                credits.during();
                dead.set(sentinel.kill_primary());
            };
            let back = || {
                sentinel.wait_failover(dead.get());
            };
            world.lose(&mut keys, cut, kill, back);
            sentinel.revive(dead.get());
            credits.after();
        }
        let figure = world.figure(&keys);
        format!("{figure}; no credit was lost or counted twice")
    });
}

#[test]
fn cluster_failover_to_a_stale_replica_keeps_the_books() {
    let cluster = Cluster::with_replicas();
    let world = World::start(|provider| setup(&cluster.url(), provider));
    case("redis: a stale replica of a cluster is promoted", || {
        let rich = mint(&world.gateway, "abc");
        let account = format!("apiKey:{rich}");
        let mut primary = cluster.node_of(&account);
        let mut credits = Credits::of(&world, rich);
        let mut keys = Keys::default();
        for _ in 0..many(1, 10) {
            let replica = cluster.replica_of(primary);
            credits.before();
            let cut = || primary.cut_off(replica);
            let kill = || {
                credits.during();
                primary.kill();
            };
            world.lose(&mut keys, cut, kill, || cluster.wait_promoted(replica));
            primary.restart();
            cluster.wait_in_step();
            credits.after();
            primary = replica;
        }
        let figure = world.figure(&keys);
        format!("{figure}; no credit was lost or counted twice")
    });
}

#[test]
fn redis_restarted_from_an_old_dump_keeps_the_books() {
    let redis = Redis::start();
    let world = World::start(|provider| setup(&redis.url(), provider));
    case("redis: restarted from a dump of some seconds ago", || {
        let mut keys = Keys::default();
        for _ in 0..many(1, 10) {
            let cut = || {
                redis.cli(&["SAVE"]);
            };
            world.lose(&mut keys, cut, || redis.kill(), || redis.restart());
        }
        world.figure(&keys)
    });
}

#[test]
fn cluster_node_restarted_from_an_old_dump_keeps_the_books() {
    let cluster = Cluster::start();
    let world = World::start(|provider| setup(&cluster.url(), provider));
    case("redis: a cluster restarted from old dumps", || {
        // This setup has no replicas to wait for.
        let credited = world.credit(&mint(&world.gateway, "abc"), "order");
        assert_eq!(credited.0, 200, "{}", credited.1);
        let mut keys = Keys::default();
        for _ in 0..many(1, 5) {
            let each = |what: fn(&Redis)| cluster.nodes().iter().for_each(what);
            let cut = || {
                each(|node| {
                    node.cli(&["SAVE"]);
                });
            };
            let back = || {
                each(Redis::restart);
                cluster.wait_ok();
            };
            world.lose(&mut keys, cut, || each(Redis::kill), back);
        }
        world.figure(&keys)
    });
}
