//! Power loss in the middle of writes: promises are kept, nothing is applied twice, and every start succeeds.
//!
//! strace records a gateway under load with everything it told its clients. Then its directory is laid out as
//! a disk might hold it after a power loss at some moment, and opened.

mod load;

use super::disk::{Dice, told};
use super::{case, many};
use crate::harness::disk_model::{Loss, lay_out};
use crate::harness::recorder::{Event, What};
use crate::harness::{Gateway, Provider, Recorder, Script, Setup, Step, TempDir, sample};
use crate::store::contract::{keeping, runtime};
use load::{Asked, Asking, COST, Load};
use resullm::rules::account::Orphans;
use resullm::rules::entry::Groups;
use resullm::rules::tenant::TenantId;
use resullm::serve::recover::open_journal;
use resullm::settings::{self, Settings};
use resullm::store::embedded::Embedded;
use resullm::store::name::KeyName;
use resullm::store::{Clock, Configs, Durability, Found, Ledger};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const GRANT: u64 = 10_000_000;

/// Bound in seconds for unreported lease spending: it is reported ten times a second, but strace slows
/// everything.
const REPORTED: f64 = 2.0;

/// Number of gateway starts in a record; all but the last one end by kill or stop.
const LIVES: usize = 3;

/// A recording: file changes and client requests.
struct Record {
    events: Vec<Event>,
    asked: Vec<Asking>,
    orphans: Orphans,
    /// Event index of each request's response, by request number.
    answers: HashMap<usize, usize>,
    /// Event indexes of name changes.
    names: Vec<usize>,
    /// Event index and number of each flush (`marks`) and of each change's write (`changes`).
    marks: Vec<(usize, u64)>,
    changes: Vec<(usize, u64)>,
    /// Start of service of each process in seconds; earlier requests are settled and flushed by then.
    served: Vec<f64>,
}

impl Record {
    fn make(orphans: Orphans) -> Record {
        let provider = Provider::start(|received| {
            if received.text().contains("\"stream\":true") {
                let pause = Step::Wait(Duration::from_millis(150));
                Script::chat_stream(&["one ", "two "], 10, 2).after(2, pause)
            } else {
                Script::chat("Hi", 3, 4)
            }
        });
        let config: Value = sample(&provider)
            .rate_limit(1_000_000, 60)
            .set("user_groups.paid.tokens", json!(100))
            .into();
        let setup = Setup::new().tenant("abc", config.clone());
        let orphan = if orphans == Orphans::Spend {
            "spend"
        } else {
            "known"
        };
        let setup = setup.yaml(&format!("accounts: {{ orphans: {orphan} }}"));
        let recorder = Recorder::new(setup.path());
        let setup = setup.recorded(&recorder);
        let numbers: Arc<AtomicUsize> = Arc::default();
        let mut asked = Vec::new();
        let mut rich = None;
        let mut events = Vec::new();
        let mut served = Vec::new();
        for life in 0..LIVES {
            let gateway = Gateway::start(setup.clone());
            served.push(now().as_secs_f64());
            let load = Load {
                client: gateway.client(),
                numbers: numbers.clone(),
                stop: Arc::default(),
            };
            let key = rich.get_or_insert_with(|| {
                let mut first = Asking::new();
                let key = load.mint(&mut first, GRANT).unwrap();
                asked.push(first);
                key
            });
            let tracer = Recorder::tracer(gateway.pid());
            asked.extend(live(life, &gateway, &load, key, &config));
            if life + 1 == LIVES {
                events = recorder.read(tracer);
            }
        }
        let mut record = Record {
            events,
            asked,
            orphans,
            answers: HashMap::new(),
            names: Vec::new(),
            marks: Vec::new(),
            changes: Vec::new(),
            served,
        };
        record.find_moments();
        record
    }

    fn find_moments(&mut self) {
        for event in &self.events {
            match &event.what {
                What::Open { .. } | What::MakeDir(_) | What::Rename(..) | What::Remove(_) => {
                    self.names.push(event.ended);
                }
                What::Answer(number) => {
                    self.answers.entry(*number).or_insert(event.begun);
                }
                What::Write { path, bytes, .. }
                    if path.starts_with("data/changes.0") || path.starts_with("data/changes.1") =>
                {
                    let number = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
                    let is_mark = bytes[24..26] == [0, 0];
                    let list = if is_mark {
                        &mut self.marks
                    } else {
                        &mut self.changes
                    };
                    list.push((event.begun, number));
                }
                _ => {}
            }
        }
    }

    fn seconds(&self, moment: usize) -> f64 {
        let at = self.events.partition_point(|event| event.begun < moment);
        self.events[at.min(self.events.len() - 1)].seconds
    }

    /// Index before which every response is durable, and the time before which lease spending is.
    fn sure(&self, cut: usize) -> (usize, f64) {
        if self.orphans == Orphans::Spend {
            return (cut, f64::MAX);
        }
        let marks = self.marks.iter().filter(|(at, _)| *at < cut);
        let flushed = marks.map(|(_, number)| *number).max().unwrap_or(0);
        let mut later = self.changes.iter().filter(|(_, number)| *number > flushed);
        let sure = later.next().map_or(cut, |(at, _)| cut.min(*at));
        // A dead process reported nothing after its last response.
        let mut before = self.events.iter().filter(|event| event.begun < sure).rev();
        let last = before.find(|event| matches!(event.what, What::Answer(_)));
        let last = last.map_or(0.0, |event| event.seconds);
        (sure, last.min(self.seconds(sure)) - REPORTED)
    }

    fn is_answered(&self, number: usize, before: usize) -> bool {
        self.answers.get(&number).is_some_and(|at| *at < before)
    }

    /// Bounds of each key after a power loss at `cut`, and the possible config versions.
    fn bounds(&self, cut: usize) -> (BTreeMap<String, Bounds>, Vec<u64>) {
        let (sure, sure_leased) = self.sure(cut);
        let moment = self.seconds(cut);
        let served = self.served.iter().filter(|served| **served < moment);
        let served = served.fold(0.0_f64, |last, served| last.max(*served));
        let mut keys: BTreeMap<String, Bounds> = BTreeMap::new();
        let mut versions = vec![0];
        for client in &self.asked {
            for (number, asked) in client {
                let answered = self.is_answered(*number, cut);
                match asked {
                    Asked::Mint(key, tokens) => {
                        let key = keys.entry(key.clone()).or_default();
                        key.least += tokens;
                        key.most += tokens;
                        key.granted += tokens;
                        key.is_minted = answered;
                    }
                    Asked::Credit(key, tokens) => {
                        let key = keys.entry(key.clone()).or_default();
                        key.least += if answered { *tokens } else { 0 };
                        key.most += tokens;
                        key.granted += tokens;
                    }
                    Asked::Charge(key, tokens) => {
                        let is_rich = key == self.rich();
                        let key = keys.entry(key.clone()).or_default();
                        key.least = key.least.saturating_sub(*tokens);
                        let at = self.answers.get(number).copied().unwrap_or(usize::MAX);
                        let is_sure = match is_rich {
                            true => answered && self.seconds(at) < sure_leased.max(served),
                            false => answered && (at < sure || self.seconds(at) < served),
                        };
                        if *tokens == COST && is_sure {
                            key.most -= tokens;
                        }
                        if answered && *tokens == COST {
                            key.answered.push(self.seconds(at));
                        }
                    }
                    Asked::Regroup(key, group) => {
                        let key = keys.entry(key.clone()).or_default();
                        key.group = answered.then_some(group);
                    }
                    Asked::Revoke(key) => {
                        let key = keys.entry(key.clone()).or_default();
                        key.is_revoked = Some(answered);
                    }
                    Asked::Configure(version) if answered => versions = vec![*version],
                    Asked::Configure(version) => versions.push(*version),
                }
                // Later requests of this client were not made yet.
                if !answered {
                    break;
                }
            }
        }
        (keys, versions)
    }

    fn rich(&self) -> &str {
        match &self.asked[0][0].1 {
            Asked::Mint(key, _) => key,
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Bounds {
    least: u64,
    most: u64,
    granted: u64,
    /// Response times of its calls, in seconds.
    answered: Vec<f64>,
    is_minted: bool,
    group: Option<&'static str>,
    /// `None`: no revoke was requested; else whether it was confirmed.
    is_revoked: Option<bool>,
}

/// Runs one process of the gateway under load; returns what each client asked for.
fn live(life: usize, gateway: &Gateway, load: &Load, rich: &str, config: &Value) -> Vec<Asking> {
    let mut clients = Vec::new();
    for kind in [0, 0, 1, 1, 2, 3] {
        let (load, rich, config) = (load.clone(), rich.to_owned(), config.clone());
        clients.push(std::thread::spawn(move || {
            let mut asked = Asking::new();
            let _ = match kind {
                0 => load.often(&mut asked, &rich),
                1 => load.seldom(&mut asked),
                2 => load.stream(&mut asked),
                _ => load.administer(&mut asked, &config, life + 1),
            };
            asked
        }));
    }
    std::thread::sleep(Duration::from_millis(many(800, 2_500)));
    if life == 1 {
        load.stop.store(true, Ordering::SeqCst);
    }
    let stopped = |clients: Vec<std::thread::JoinHandle<Asking>>| -> Vec<Asking> {
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    };
    if life == 1 {
        let asked = stopped(clients);
        gateway.signal("TERM");
        gateway.wait_exit(Duration::from_secs(60));
        return asked;
    }
    gateway.kill9();
    stopped(clients)
}

/// Result of a number of simulated power losses.
#[derive(Default)]
struct Tally {
    losses: usize,
    refused: usize,
    /// Most charges lost in one power loss, and the age of the oldest in seconds.
    lost: usize,
    since: f64,
}

impl Tally {
    fn lose(&mut self, record: &Record, dice: &mut Dice, runtime: &tokio::runtime::Runtime) {
        let last = record.events.last().unwrap().begun;
        let cut = match dice.roll(4) {
            // The first moments of a directory are few and have their own ways to fail.
            0 => dice.roll(last / 20),
            // Name changes are rare, so they are chosen on purpose.
            1 => record.names[dice.roll(record.names.len())] + dice.roll(200),
            _ => dice.roll(last + 1),
        };
        let loss = Loss {
            cut,
            kept: [0, 10, 50, 90, 100][dice.roll(5)],
            torn: dice.roll(2) == 0,
            ordered: dice.roll(2) == 0,
            long: dice.roll(2) == 0,
        };
        told(&format!("{}: {loss:?}", self.losses));
        self.losses += 1;
        let dir = TempDir::new();
        lay_out(
            &record.events,
            loss,
            &mut |sides| dice.roll(sides),
            dir.path(),
        );
        let is_late = dice.roll(2) == 0 || record.orphans == Orphans::Spend;
        runtime.block_on(self.open_and_look(record, cut, is_late, dir.path()));
    }

    async fn open_and_look(&mut self, record: &Record, cut: usize, is_late: bool, dir: &Path) {
        let data = dir.join("data");
        let clock = Arc::new(AtomicU64::new(now().as_millis() as u64));
        let keeping = keeping(record.orphans, Clock::Fixed(clock.clone()));
        let opened = Embedded::open(&data, keeping);
        let store = match opened {
            Ok(store) => store,
            Err(why) => {
                told(&format!("refused: {why}"));
                self.refused += 1;
                return;
            }
        };
        match open_journal(&settings_in(&data, record.orphans), &store).await {
            Ok(journal) => journal.finish(),
            Err(why) => {
                told(&format!("refused: {why}"));
                self.refused += 1;
            }
        }
        if is_late {
            // Two hours later every hold and lease has expired.
            clock.fetch_add(7_200_000, Ordering::SeqCst);
        }
        let (keys, versions) = record.bounds(cut);
        let moment = record.seconds(cut);
        let mut lost = 0;
        for (key, bounds) in &keys {
            let name = KeyName::parse(key).unwrap();
            let tenant = TenantId::parse("abc").unwrap();
            let found = store.find(&name, &tenant, &Groups::default()).await;
            let found = found.unwrap();
            let late = bounds.check(key, found.as_ref(), record.orphans);
            lost += late.len();
            self.since = late
                .iter()
                .fold(self.since, |most, at| most.max(moment - at));
        }
        self.lost = self.lost.max(lost);
        let tenant = TenantId::parse("abc").unwrap();
        if let Some(config) = store.config(&tenant).await.unwrap() {
            let config: Value = serde_json::from_str(&config).unwrap();
            let version = config["version"].as_u64().unwrap_or(0);
            assert!(versions.contains(&version), "{version}: {versions:?}");
        } else {
            assert!(versions.contains(&0), "{versions:?}");
        }
        store.close().await;
    }
}

impl Bounds {
    /// Asserts the bounds of a key; returns the response times of the calls whose charge is lost.
    fn check(&self, key: &str, found: Option<&Found>, orphans: Orphans) -> Vec<f64> {
        let Some(found) = found else {
            let may_be_gone = !self.is_minted || self.is_revoked.is_some();
            assert!(may_be_gone, "{key} is lost: {self:?}");
            return Vec::new();
        };
        assert!(self.is_revoked != Some(true), "{key} is back: {self:?}");
        let left = found.look.left.count();
        assert!(left <= self.most, "{key} has {left}: {self:?}");
        assert!(
            left >= self.least || orphans == Orphans::Spend,
            "{key} has {left}: {self:?}"
        );
        assert!(
            self.group.is_none_or(|group| found.standing.group == group),
            "{key}: {self:?}"
        );
        let charged = (self.granted.saturating_sub(left) / COST) as usize;
        let mut late = self.answered.clone();
        late.sort_by(f64::total_cmp);
        late.split_off(charged.min(late.len()))
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn settings_in(data: &Path, orphans: Orphans) -> Settings {
    let orphans = if orphans == Orphans::Spend {
        "spend"
    } else {
        "known"
    };
    let variables = [
        ("RESULLM__ACCOUNTS__JOURNAL", data.display().to_string()),
        ("RESULLM__ACCOUNTS__ORPHANS", orphans.to_owned()),
    ];
    let names: Vec<String> = variables
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let env = |wanted: &str| {
        let mut known = variables.iter();
        known
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.clone())
    };
    settings::load(None, &env, &names).unwrap()
}

fn lose_power(orphans: Orphans, losses: usize) -> String {
    let mut dice = Dice::new("power");
    let record = Record::make(orphans);
    let runtime = runtime();
    let mut tally = Tally::default();
    while tally.losses < losses {
        tally.lose(&record, &mut dice, &runtime);
    }
    assert_eq!(tally.refused, 0, "of {losses} starts");
    assert!(
        record.answers.len() > 100,
        "{} answers",
        record.answers.len()
    );
    let flushes = record
        .events
        .iter()
        .filter(|event| matches!(event.what, What::Flush(_)));
    format!(
        "{losses} cuts in {} steps, {} flushes, {} answers: 0 refused, at most {} settlements lost, of the last {:.0} ms",
        record.events.len(),
        flushes.count(),
        record.answers.len(),
        tally.lost,
        tally.since * 1_000.0
    )
}

#[test]
fn power_loss_keeps_promises_with_known_orphans() {
    case("disk: power loss in the middle of writes", || {
        lose_power(Orphans::Known, many(60, 1_000))
    });
}

#[test]
fn power_loss_gives_nothing_away_with_spent_orphans() {
    case("disk: power loss, orphans: spend", || {
        lose_power(Orphans::Spend, many(30, 500))
    });
}
