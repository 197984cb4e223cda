//! A disk that lies, fills up, or cannot be written: refused or harmless, never another balance.

use super::{case, many};
use crate::crash::kill_and_compare;
use crate::harness::{
    Client, Gate, Gateway, Provider, Script, Setup, SmallDisk, Step, TempDir, balance, chat,
    eventually, free_port, mint, resullm, sample,
};
use crate::store_contract::{keeping, runtime};
use resullm::rules::account::{Admit, Orphans, Verdict};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::entry::{Caller, Groups};
use resullm::rules::tenant::TenantId;
use resullm::rules::window::Limits;
use resullm::store::embedded::Embedded;
use resullm::store::name::KeyName;
use resullm::store::{Clock, Durability, KeyAdmission, Ledger, Mint, Store, StoreError, UsageLog};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Another sequence each time, and the same one again for the seed it has printed.
pub struct Dice(u64);

impl Dice {
    pub fn new(what: &str) -> Dice {
        let given = std::env::var("FAULTS_SEED").ok();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = given.map_or(now.as_nanos() as u64 | 1, |seed| seed.parse().unwrap());
        told(&format!("{what}: FAULTS_SEED={seed}"));
        Dice(seed)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

#[expect(
    clippy::print_stdout,
    reason = "that of a test is shown where it fails"
)]
pub fn told(text: &str) {
    println!("{text}");
}

fn tenant() -> TenantId {
    TenantId::parse("abc").unwrap()
}

fn open(dir: &Path) -> Result<Embedded, String> {
    Embedded::open(dir, keeping(Orphans::Known, Clock::Store))
}

fn key(number: usize) -> KeyName {
    KeyName::parse(&format!("key_of_the_test_{number}")).unwrap()
}

/// What a store must say of itself.
#[derive(Clone, Debug, Default)]
struct Known {
    balances: Vec<u64>,
    config: String,
    admins: Vec<String>,
    records: usize,
}

impl Known {
    async fn mint(&mut self, store: &dyn Store, left: u64) {
        let mint = Mint {
            key: key(self.balances.len()),
            user: None,
            record: format!(r#"{{"tokensLeft":{left},"tenantId":"abc","group":"paid"}}"#),
            life: None,
        };
        assert!(store.mint(&mint).await.unwrap());
        self.balances.push(left);
    }

    /// One request of a key, begun and settled.
    async fn spend(&mut self, store: &dyn Store, number: usize, used: u64) {
        let (key, id) = (key(number), uuid::Uuid::new_v4().to_string());
        let groups = Groups::default();
        let caller = Caller {
            tenant: "abc",
            key: key.as_str(),
            groups: &groups,
        };
        let ask = Admit {
            id: &id,
            least: Tokens::new(used),
            most: Tokens::new(used),
            open: Tokens::ZERO,
            known: Tokens::ZERO,
            limits: Limits::default(),
            ttl: Millis(600_000),
        };
        let admitted = store.admit(&key, caller, &ask).await.unwrap();
        let KeyAdmission::Known {
            account,
            admission: Verdict::Granted { .. },
            ..
        } = admitted
        else {
            panic!("{admitted:?}");
        };
        let settled = store.settle(&account, &id, Tokens::new(used), false).await;
        assert_eq!(settled.unwrap().unwrap().charged, Tokens::new(used));
        self.balances[number] -= used;
    }

    async fn fill(&mut self, store: &dyn Store, dice: &mut Dice) {
        for _ in 0..40 {
            self.mint(store, 1_000_000 + dice.roll(1_000_000) as u64)
                .await;
        }
        self.config = format!(
            r#"{{"user_groups":{{"paid":{{"tokens":{}}}}}}}"#,
            dice.roll(999)
        );
        store.seed_config(&tenant(), &self.config).await.unwrap();
        self.admins = vec!["a".repeat(64), format!("{:064}", dice.roll(1_000_000))];
        store
            .set_admin_tokens(&tenant(), &self.admins)
            .await
            .unwrap();
        let record = |number| format!(r#"{{"requestId":"r{number}","cost":7}}"#);
        let records: Vec<_> = (0..60).map(record).collect();
        store.record(&tenant(), &records).await.unwrap();
        self.records = records.len();
    }

    async fn spend_here_and_there(&mut self, store: &dyn Store, dice: &mut Dice, times: usize) {
        for _ in 0..times {
            let number = dice.roll(self.balances.len());
            self.spend(store, number, 1 + dice.roll(500) as u64).await;
        }
    }

    /// Everything is as it should be, or is said to be damaged. How often it was.
    async fn check(&self, store: &dyn Store) -> usize {
        let mut damaged = 0;
        for (number, left) in self.balances.iter().enumerate() {
            match store
                .find(&key(number), &tenant(), &Groups::default())
                .await
            {
                Ok(Some(found)) => assert_eq!(found.look.left, Tokens::new(*left)),
                Ok(None) => panic!("key {number} is unknown"),
                Err(StoreError::Damaged { .. } | StoreError::Unavailable(_)) => damaged += 1,
                Err(error) => panic!("{error}"),
            }
        }
        match store.config(&tenant()).await {
            Ok(config) => assert_eq!(config.as_deref(), Some(self.config.as_str())),
            Err(_) => damaged += 1,
        }
        match store.admins(&tenant()).await {
            Ok(admins) => assert_eq!(admins, self.admins),
            Err(_) => damaged += 1,
        }
        match store.recorded(&tenant(), Millis(0), 100).await {
            Ok(records) => assert_eq!(records.len(), self.records),
            Err(_) => damaged += 1,
        }
        damaged
    }
}

/// The files of a store, as they were at one moment.
#[derive(Clone)]
struct Copy(Vec<(String, Vec<u8>)>);

impl Copy {
    fn of(dir: &Path) -> Copy {
        let names = ["resullm.redb", "changes.0", "changes.1"];
        Copy(
            names
                .map(|n| (n.to_owned(), std::fs::read(dir.join(n)).unwrap()))
                .into(),
        )
    }

    fn lay_out(&self) -> TempDir {
        let dir = TempDir::new();
        for (name, bytes) in &self.0 {
            std::fs::write(dir.file(name), bytes).unwrap();
        }
        dir
    }

    fn journals(&self) -> usize {
        self.0[1..].iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// A store with known balances: closed, and as kill -9 would have left it a moment earlier.
fn stores(dice: &mut Dice) -> [(Copy, Known); 2] {
    let dir = TempDir::new();
    let mut known = Known::default();
    runtime().block_on(async {
        let store = open(dir.path()).unwrap();
        known.fill(&store, dice).await;
        store.close().await;
        let store = open(dir.path()).unwrap();
        known.spend_here_and_there(&store, dice, 50).await;
        store.close().await;
        let closed = (Copy::of(dir.path()), known.clone());
        let store = open(dir.path()).unwrap();
        known.spend_here_and_there(&store, dice, 50).await;
        store.recorded(&tenant(), Millis(0), 1).await.unwrap();
        // What is written from here on is in the journal alone, for the fifth of a second that the
        // flusher waits for more.
        known.spend_here_and_there(&store, dice, 20).await;
        let killed = (Copy::of(dir.path()), known.clone());
        store.close().await;
        [closed, killed]
    })
}

#[test]
fn a_flipped_byte_is_refused_or_harmless_and_never_another_balance() {
    let mut dice = Dice::new("flips");
    let stores = stores(&mut dice);
    for (copy, known) in &stores {
        let dir = copy.lay_out();
        runtime().block_on(async {
            let store = open(dir.path()).unwrap();
            assert_eq!(known.check(&store).await, 0);
            store.close().await;
        });
    }
    assert!(stores[1].0.journals() > 4_000, "the journal holds changes");
    let runtime = runtime();
    case("disk: one byte flipped in a store", || {
        let (mut refused, mut damaged, mut harmless) = (0, 0, 0);
        for round in 0..many(40, 500) {
            let (mut copy, known) = stores[round % 2].clone();
            // Mostly where something stands, for most of a database is free room; and often in its first
            // page, which says where everything is.
            let file = [0, 0, 0, 0, 1, 2][dice.roll(6)];
            let (name, bytes) = &mut copy.0[file];
            let most = match dice.roll(4) {
                0 => bytes.len().min(320),
                _ => bytes.len(),
            };
            let mut at = dice.roll(most);
            for _ in 0..100 * dice.roll(2) {
                if !matches!(bytes[at], 0 | 0xff) {
                    break;
                }
                at = dice.roll(most);
            }
            let before = bytes[at];
            bytes[at] ^= 1 + dice.roll(255) as u8;
            let what = format!("{name} at {at}: {before:#x} -> {:#x}", bytes[at]);
            told(&format!("{round}: {what}"));
            let name = name.clone();
            let dir = copy.lay_out();
            match open(dir.path()) {
                Err(why) => {
                    assert!(
                        why.contains(&name) || name != "resullm.redb",
                        "{what}: {why}"
                    );
                    assert!(why.contains("resullm store restore"), "{what}: {why}");
                    assert!(!why.contains("key_of_the_test"), "{what}: {why}");
                    assert_eq!(why.lines().count(), 1, "{what}: {why}");
                    // And it is refused again.
                    assert!(open(dir.path()).is_err(), "{what}");
                    refused += 1;
                }
                Ok(store) => runtime.block_on(async {
                    match known.check(&store).await {
                        0 => harmless += 1,
                        _ => damaged += 1,
                    }
                    store.close().await;
                }),
            }
        }
        format!("{refused} refused, {damaged} said to be damaged, {harmless} harmless, 0 wrong")
    });
}

/// The whole records of a journal's file that starts with these bytes: number, name, balance.
fn records(mut bytes: &[u8]) -> Vec<(u64, String, u64)> {
    let mut records = Vec::new();
    while let Some(length) = bytes.get(..4) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let Some(record) = bytes.get(..length) else {
            break;
        };
        let sequence = u64::from_le_bytes(record[16..24].try_into().unwrap());
        let name_end = 26 + u16::from_le_bytes(record[24..26].try_into().unwrap()) as usize;
        let name = String::from_utf8(record[26..name_end].to_vec()).unwrap();
        if !name.is_empty() {
            let value: serde_json::Value = serde_json::from_slice(&record[name_end + 8..]).unwrap();
            let text: serde_json::Value =
                serde_json::from_str(value["text"].as_str().unwrap()).unwrap();
            records.push((sequence, name, text["tokensLeft"].as_u64().unwrap()));
        }
        bytes = &bytes[length..];
    }
    records
}

#[test]
fn a_journal_cut_anywhere_has_what_was_whole_and_nothing_else() {
    let mut dice = Dice::new("cuts");
    let [_, (copy, known)] = stores(&mut dice);
    let runtime = runtime();
    let balances = |copy: &Copy| -> Vec<u64> {
        let dir = copy.lay_out();
        runtime.block_on(async {
            let store = open(dir.path()).unwrap();
            let mut balances = Vec::new();
            for number in 0..known.balances.len() {
                let found = store
                    .find(&key(number), &tenant(), &Groups::default())
                    .await;
                balances.push(found.unwrap().unwrap().look.left.count());
            }
            store.close().await;
            balances
        })
    };
    case("disk: a journal cut short by a crash", || {
        let mut without = copy.clone();
        without.0[1].1.clear();
        without.0[2].1.clear();
        let base = balances(&without);
        let full = 1 + usize::from(copy.0[2].1.len() > copy.0[1].1.len());
        let length = copy.0[full].1.len();
        let cuts: Vec<usize> = (0..many(40, 1_000)).map(|_| dice.roll(length)).collect();
        for cut in cuts.iter().copied().chain([0, length - 1, length]) {
            let mut short = copy.clone();
            short.0[full].1.truncate(cut);
            let mut whole: Vec<_> = short.0[1..]
                .iter()
                .flat_map(|file| records(&file.1))
                .collect();
            whole.sort();
            let latest: HashMap<_, _> = whole
                .into_iter()
                .map(|(_, name, left)| (name, left))
                .collect();
            let expected: Vec<u64> = (0..base.len())
                .map(|number| {
                    let name = key(number).account();
                    latest.get(name.as_str()).copied().unwrap_or(base[number])
                })
                .collect();
            assert_eq!(balances(&short), expected, "cut at {cut} of {length}");
        }
        assert_eq!(balances(&copy), known.balances);
        format!(
            "{} cuts, every balance that of its last whole record",
            cuts.len() + 3
        )
    });
}

const GRANT: u64 = 10_000_000;
const COST: u64 = 7;
const CLIENTS: usize = 4;

/// Clients that call without end, each with a key of its own.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Vec<Arc<AtomicU64>>,
    refused: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(gateway: &Gateway, keys: &[String]) -> Load {
        let stop: Arc<AtomicBool> = Arc::default();
        let refused: Arc<AtomicU64> = Arc::default();
        let answered: Vec<Arc<AtomicU64>> = keys.iter().map(|_| Arc::default()).collect();
        let threads = keys.iter().zip(&answered).map(|(key, answered)| {
            let (client, key) = (gateway.client(), key.clone());
            let (stop, answered, refused) = (stop.clone(), answered.clone(), refused.clone());
            std::thread::spawn(move || {
                let call =
                    json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20});
                while !stop.load(Ordering::SeqCst) {
                    let request = client.request("POST", "/abc/v1/chat/completions");
                    let answer = request.bearer(&key).json(&call).send();
                    match answer.status {
                        200 => answered.fetch_add(1, Ordering::SeqCst),
                        503 => {
                            assert!(answer.header("retry-after").is_some());
                            std::thread::sleep(Duration::from_millis(5));
                            refused.fetch_add(1, Ordering::SeqCst)
                        }
                        status => panic!("{status}: {}", answer.text()),
                    };
                }
            })
        });
        Load {
            threads: threads.collect(),
            stop,
            answered,
            refused,
        }
    }

    fn stop(self) -> (Vec<u64>, u64) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let answered = self
            .answered
            .iter()
            .map(|count| count.load(Ordering::SeqCst));
        (answered.collect(), self.refused.load(Ordering::SeqCst))
    }
}

/// Fills the disk under load, once or with everything that becomes free again, and looks at everything
/// that is promised of it. How long it took to go on.
fn fill_and_free(greedy: bool) -> String {
    let gate = Gate::new();
    let hold = gate.clone();
    let provider = Provider::start(move |received| {
        if received.text().contains("stream") {
            Script::chat_stream(&["one ", "two "], 10, 2)
                .after(2, Step::WaitUntilReleased(hold.clone()))
        } else {
            Script::chat("Hi", 3, 4)
        }
    });
    let port = free_port();
    let setup = Setup::new();
    let disk = Arc::new(SmallDisk::mount(&setup.path().join("data"), 64));
    let setup = setup
        .on(&disk)
        .tenant("abc", sample(&provider).tokens(GRANT))
        .yaml(&format!("server: {{ ops_listen: \"127.0.0.1:{port}\" }}"));
    let gateway = Gateway::start(setup.clone());
    let ops = Client::new(format!("127.0.0.1:{port}").parse().unwrap());
    let keys: Vec<_> = (0..CLIENTS).map(|_| mint(&gateway, "abc")).collect();
    let (streaming, quiet) = (mint(&gateway, "abc"), mint(&gateway, "abc"));
    let mut stream = gateway
        .client()
        .request("POST", "/abc/v1/chat/completions")
        .bearer(&streaming)
        .json(&json!({"stream": true, "messages": []}))
        .send_streaming();
    stream.wait_for("one ");
    let load = Load::start(&gateway, &keys);
    eventually(Duration::from_secs(20), "calls are answered", || {
        let all = load
            .answered
            .iter()
            .all(|count| count.load(Ordering::SeqCst) > 20);
        all.then_some(())
    });
    assert_eq!(ops.get("/readyz").status, 200);

    disk.fill();
    let begun = Instant::now();
    let never = Arc::new(AtomicBool::new(false));
    let eater = greedy.then(|| {
        let (disk, never) = (disk.clone(), never.clone());
        std::thread::spawn(move || {
            while !never.load(Ordering::SeqCst) {
                disk.fill();
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    });
    let call = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let mut quietly = 0;
    let refusal = eventually(Duration::from_secs(10), "a full disk refuses", || {
        let answer = chat(&gateway, "abc", &quiet, &call);
        quietly += u64::from(answer.status == 200);
        (answer.status == 503).then_some(answer)
    });
    balance(&gateway, &quiet);
    assert_eq!(
        refusal.json()["error"]["code"],
        "store_full",
        "{}",
        refusal.text()
    );
    assert_eq!(refusal.header("retry-after"), Some("2"));
    assert_eq!(ops.get("/readyz").status, 503);
    assert_eq!(ops.get("/healthz").status, 200);
    let minted = gateway
        .client()
        .request("POST", "/abc/auth/anonymous")
        .send();
    assert_eq!(minted.status, 503, "{}", minted.text());
    // What was under way comes to its end, and is settled on the reserve.
    gate.open();
    stream.wait_for("[DONE]");
    if !greedy {
        eventually(Duration::from_secs(5), "the stream is settled", || {
            (balance(&gateway, &streaming) == (GRANT - 12, GRANT - 12)).then_some(())
        });
    }
    let refused = load.refused.load(Ordering::SeqCst);
    eventually(Duration::from_secs(10), "everyone is refused", || {
        (load.refused.load(Ordering::SeqCst) > refused + 200).then_some(())
    });
    std::thread::sleep(Duration::from_secs(3).saturating_sub(begun.elapsed()));
    assert_eq!(
        gateway.count_logs("[ERROR] The disk of"),
        1,
        "{:#?}",
        gateway.logs()
    );

    never.store(true, Ordering::SeqCst);
    eater.into_iter().for_each(|eater| eater.join().unwrap());
    disk.free();
    let freed = Instant::now();
    eventually(Duration::from_secs(10), "it goes on by itself", || {
        (chat(&gateway, "abc", &quiet, &call).status == 200).then_some(())
    });
    let recovery = freed.elapsed();
    assert!(recovery < Duration::from_secs(2), "{recovery:?}");
    assert_eq!(ops.get("/readyz").status, 200);
    let (before, _): (Vec<u64>, u64) = (
        load.answered
            .iter()
            .map(|count| count.load(Ordering::SeqCst))
            .collect(),
        0,
    );
    eventually(Duration::from_secs(10), "everyone is served", || {
        let mut now = load
            .answered
            .iter()
            .map(|count| count.load(Ordering::SeqCst));
        before
            .iter()
            .all(|before| now.next() > Some(*before + 5))
            .then_some(())
    });
    assert_eq!(
        gateway.count_logs("writes again"),
        1,
        "{:#?}",
        gateway.logs()
    );
    assert_eq!(gateway.count_logs("panic"), 0, "{:#?}", gateway.logs());
    let (answered, refused) = load.stop();

    gateway.kill9();
    let gateway = Gateway::start(setup);
    for (key, answered) in keys.iter().zip(&answered) {
        let exact = GRANT - answered * COST;
        eventually(Duration::from_secs(5), "every balance is exact", || {
            (balance(&gateway, key) == (exact, exact)).then_some(())
        });
    }
    assert_eq!(balance(&gateway, &streaming), (GRANT - 12, GRANT - 12));
    assert_eq!(balance(&gateway, &quiet).0, GRANT - (quietly + 1) * COST);
    let answered: u64 = answered.iter().sum();
    format!(
        "{answered} answered, {refused} refused, back after {} ms, exact",
        recovery.as_millis()
    )
}

#[test]
fn a_full_disk_refuses_what_promises_and_settles_what_is_under_way() {
    for _ in 0..many(1, 5) {
        case("disk: full under load", || fill_and_free(false));
    }
}

#[test]
fn a_disk_that_stays_full_even_without_the_reserve_loses_nothing() {
    for _ in 0..many(1, 5) {
        case("disk: full under load, the reserve eaten too", || {
            fill_and_free(true)
        });
    }
}

#[test]
fn a_disk_that_cannot_be_written_ends_the_start_with_one_line() {
    case("disk: read-only at the start", || {
        let setup = Setup::new();
        let disk = Arc::new(SmallDisk::mount(&setup.path().join("data"), 64));
        let setup = setup.on(&disk);
        disk.read_only();
        let (status, logs, took) = Gateway::run_to_end(setup);
        assert_eq!(status.code(), Some(1), "{logs:#?}");
        let errors: Vec<_> = logs
            .iter()
            .filter(|line| line.contains("[ERROR]"))
            .collect();
        assert_eq!(errors.len(), 1, "{logs:#?}");
        assert!(
            errors[0].contains("Embedded store failed: ") && errors[0].contains("Read-only"),
            "{errors:?}"
        );
        format!("exit 1 after {} ms", took.as_millis())
    });
}

/// What a command about a store says, and whether it went well.
#[track_caller]
fn command(setup: &Setup, args: &[&str]) -> (bool, String) {
    let config = setup.write_config().display().to_string();
    let output = resullm(
        &[&["--config", config.as_str(), "store"], args].concat(),
        &[],
    );
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        !text.contains("key_of_the_test") && !text.contains("panicked"),
        "{text}"
    );
    (output.status.success(), text)
}

/// A setup on the files of a store.
fn laid_out(copy: &Copy) -> Setup {
    let setup = Setup::new();
    let data = setup.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for (name, bytes) in &copy.0 {
        std::fs::write(data.join(name), bytes).unwrap();
    }
    setup
}

#[test]
fn a_backup_brings_everything_back_or_changes_nothing() {
    let mut dice = Dice::new("backups");
    let stores = stores(&mut dice);
    case("disk: backup and restore", || {
        let mut bytes = 0;
        let mut flips = 0;
        for (copy, known) in &stores {
            let setup = laid_out(copy);
            let (good, text) = command(&setup, &["check"]);
            assert!(good, "{text}");
            let told: serde_json::Value = serde_json::from_str(&text).unwrap();
            let contents = &told["contents"];
            assert_eq!(contents["accounts"], 40, "{text}");
            assert_eq!(
                contents["tokensLeft"],
                known.balances.iter().sum::<u64>(),
                "{text}"
            );
            assert_eq!(
                (&contents["tenants"], &contents["usageRecords"]),
                (&json!(1), &json!(60))
            );
            let backup = setup.path().join("backup").display().to_string();
            let (good, text) = command(&setup, &["backup", &backup]);
            assert!(good, "{text}");
            let (good, text) = command(&setup, &["backup", &backup]);
            assert!(!good && text.contains("never written over"), "{text}");
            // Not over what is there.
            let before = Copy::of(&setup.path().join("data"));
            let (good, text) = command(&setup, &["restore", &backup]);
            assert!(!good && text.contains("move the directory away"), "{text}");
            assert!(before.0 == Copy::of(&setup.path().join("data")).0);
            // Not with a byte that is wrong or missing.
            let whole = std::fs::read(&backup).unwrap();
            for round in 0..many(10, 150) {
                let empty = Setup::new();
                let mut broken = whole.clone();
                let at = dice.roll(broken.len());
                if round % 5 == 4 {
                    broken.truncate(at);
                } else {
                    broken[at] ^= 1 + dice.roll(255) as u8;
                }
                let file = empty.path().join("broken");
                std::fs::write(&file, broken).unwrap();
                let (good, text) = command(&empty, &["restore", &file.display().to_string()]);
                assert!(!good && text.contains("no good backup"), "{at}: {text}");
                assert!(!empty.path().join("data").exists());
                flips += 1;
            }
            // And then all of it.
            let new = Setup::new();
            let (good, text) = command(&new, &["restore", &backup]);
            assert!(good, "{text}");
            let again = new.path().join("again").display().to_string();
            let (good, text) = command(&new, &["backup", &again]);
            assert!(good, "{text}");
            assert!(
                std::fs::read(&again).unwrap() == whole,
                "the same, byte for byte"
            );
            bytes += whole.len();
            runtime().block_on(async {
                let store = open(&new.path().join("data")).unwrap();
                assert_eq!(known.check(&store).await, 0);
                store.close().await;
            });
        }
        format!("{bytes} bytes there and back; {flips} damaged backups refused, nothing changed")
    });
}

#[test]
fn a_damaged_store_is_named_by_check_and_by_the_start() {
    let mut dice = Dice::new("named");
    let [(copy, _), _] = stores(&mut dice);
    case("disk: a damaged value is named", || {
        let mut copy = copy.clone();
        let bytes = &mut copy.0[0].1;
        let text = b"tokensLeft";
        let mut places = bytes.windows(text.len()).enumerate();
        // Pages that are no longer used may have one, too.
        let places: Vec<usize> = places
            .by_ref()
            .filter(|(_, b)| b == text)
            .map(|(at, _)| at)
            .collect();
        for at in places {
            bytes[at + text.len() + 4] ^= 1;
        }
        let setup = laid_out(&copy);
        let (good, text) = command(&setup, &["check"]);
        assert!(!good, "{text}");
        let id = key(0).account().id();
        let line = text.lines().find(|line| line.contains(&id)).unwrap();
        assert!(
            line.starts_with("[ERROR] account ") && line.contains("not what was written"),
            "{line}"
        );
        let (status, logs, _) = Gateway::run_to_end(setup);
        assert_eq!(status.code(), Some(1), "{logs:#?}");
        let errors: Vec<_> = logs
            .iter()
            .filter(|line| line.contains("[ERROR]"))
            .collect();
        assert_eq!(errors.len(), 1, "{logs:#?}");
        assert!(
            errors[0].contains("resullm.redb is damaged: "),
            "{errors:?}"
        );
        assert!(errors[0].contains("resullm store restore"), "{errors:?}");
        "the file by the start, 40 accounts by check, no key in clear".to_owned()
    });
}

#[test]
fn a_store_in_use_and_one_on_redis_are_left_alone() {
    case("disk: commands beside a running gateway", || {
        let gateway = Gateway::start(Setup::new());
        let setup = gateway.setup();
        let file = setup.path().join("backup").display().to_string();
        for args in [&["check"][..], &["backup", &file]] {
            let (good, text) = command(setup, args);
            assert!(
                !good && text.contains("in use by another process (pid"),
                "{text}"
            );
        }
        assert_eq!(gateway.client().get("/").status, 200);
        let (good, text) = command(&Setup::new().store("redis://127.0.0.1:1"), &["check"]);
        assert!(!good && text.contains("embedded store"), "{text}");
        "refused with the pid of the gateway".to_owned()
    });
}

#[test]
fn a_damaged_page_of_what_was_under_way_ends_the_start() {
    case("disk: one byte flipped in a page of holds", || {
        let gate = Gate::new();
        let hold = gate.clone();
        let provider = Provider::start(move |_| {
            Script::chat_stream(&["one ", "two "], 10, 2)
                .after(2, Step::WaitUntilReleased(hold.clone()))
        });
        let setup = Setup::new().tenant("abc", sample(&provider).tokens(GRANT));
        // Named in full: a command does not run where the gateway does.
        let data = setup.path().join("data").display().to_string();
        let setup = setup.yaml(&format!("accounts: {}", json!({"journal": data})));
        let gateway = Gateway::start(setup.clone());
        let key = mint(&gateway, "abc");
        let mut stream = gateway
            .client()
            .request("POST", "/abc/v1/chat/completions")
            .bearer(&key)
            .json(&json!({"stream": true, "messages": [{"role": "user", "content": "x".repeat(400)}]}))
            .send_streaming();
        stream.wait_for("one ");
        gateway.kill9();
        gate.open();
        let pages = std::fs::read_dir(setup.path().join("data")).unwrap();
        let pages = pages.map(|entry| entry.unwrap().path());
        let page = pages
            .filter(|path| path.extension().is_some_and(|name| name == "held"))
            .find(|path| !std::fs::read(path).unwrap().is_empty())
            .unwrap();
        let whole = std::fs::read(&page).unwrap();
        let places = [0, whole.len() / 2, whole.len() - 1];
        for at in places {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            std::fs::write(&page, broken).unwrap();
            let (good, text) = command(&setup, &["check"]);
            assert!(!good && text.contains(".held is damaged at byte"), "{text}");
            let (status, logs, _) = Gateway::run_to_end(setup.clone());
            assert_eq!(status.code(), Some(1), "{logs:#?}");
            let errors: Vec<_> = logs
                .iter()
                .filter(|line| line.contains("[ERROR]"))
                .collect();
            assert_eq!(errors.len(), 1, "{logs:#?}");
            assert!(errors[0].contains(".held is damaged at byte"), "{errors:?}");
            assert!(!errors[0].contains(&key), "{errors:?}");
        }
        // As it was, it is settled.
        std::fs::write(&page, whole).unwrap();
        let gateway = Gateway::start(setup);
        let (left, free) = balance(&gateway, &key);
        assert!(left == free && left < GRANT, "{left} {free}");
        format!("{} flips, each refused with file and offset", places.len())
    });
}

#[test]
fn kills_lose_no_acknowledged_mint_or_charge() {
    case("disk: kill -9 of the embedded store", || {
        let rounds = many(3, 200);
        let (keys, charges) = kill_and_compare(rounds);
        format!("{rounds} kills, {keys} keys, {charges} charges, 0 lost")
    });
}

/// Every write behind a file's first bytes fails, the database's above all, and then they succeed again.
fn fail_and_mend() -> String {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new();
    let disk = Arc::new(SmallDisk::mount(&setup.path().join("data"), 64));
    let setup = setup
        .on(&disk)
        .tenant("abc", sample(&provider).tokens(GRANT));
    let gateway = Gateway::start(setup.clone());
    let keys: Vec<_> = (0..CLIENTS).map(|_| mint(&gateway, "abc")).collect();
    let load = Load::start(&gateway, &keys);
    let all_beyond = |least: &[u64]| {
        let counts = load
            .answered
            .iter()
            .map(|count| count.load(Ordering::SeqCst));
        counts
            .zip(least)
            .all(|(count, least)| count > least + 20)
            .then_some(())
    };
    eventually(Duration::from_secs(20), "calls are answered", || {
        all_beyond(&[0; CLIENTS])
    });
    SmallDisk::limit(gateway.pid(), Some(16 << 10));
    eventually(Duration::from_secs(20), "everyone is refused", || {
        (load.refused.load(Ordering::SeqCst) > 400).then_some(())
    });
    assert_eq!(
        gateway.count_logs("Embedded store cannot write"),
        1,
        "{:#?}",
        gateway.logs()
    );
    let counts = load
        .answered
        .iter()
        .map(|count| count.load(Ordering::SeqCst));
    let before: Vec<u64> = counts.collect();
    SmallDisk::limit(gateway.pid(), None);
    let mended = Instant::now();
    eventually(Duration::from_secs(20), "everyone is served", || {
        all_beyond(&before)
    });
    let recovery = mended.elapsed();
    let (answered, refused) = load.stop();
    assert_eq!(
        gateway.count_logs("writes again"),
        1,
        "{:#?}",
        gateway.logs()
    );
    assert_eq!(gateway.count_logs("panic"), 0, "{:#?}", gateway.logs());
    gateway.kill9();
    let gateway = Gateway::start(setup);
    for (key, answered) in keys.iter().zip(&answered) {
        let exact = GRANT - answered * COST;
        assert_eq!(balance(&gateway, key), (exact, exact));
    }
    let answered: u64 = answered.iter().sum();
    format!(
        "{answered} answered, {refused} refused, all served after {} ms, exact",
        recovery.as_millis()
    )
}

#[test]
fn writes_that_fail_for_a_while_lose_nothing() {
    for _ in 0..many(1, 5) {
        case("disk: writes fail under load", fail_and_mend);
    }
}
