//! Disk faults of the embedded store: damaged, full or read-only. The store may refuse, but never change a
//! balance.

mod backup;
mod damage;
mod full;

use crate::harness::{Setup, TempDir, resullm};
use crate::store::contract::{keeping, runtime};
use resullm::rules::account::{Admit, Orphans, Verdict};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::entry::{Caller, Groups};
use resullm::rules::tenant::TenantId;
use resullm::rules::window::Limits;
use resullm::store::embedded::Embedded;
use resullm::store::name::{KeyName, LogName, TenantText};
use resullm::store::{Clock, Durability, KeyAdmission, Mint, Put, Store, StoreError, UsageLog};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Random generator with a printed seed, which `FAULTS_SEED` repeats.
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

/// Expected content of a store.
#[derive(Clone, Debug, Default)]
struct Known {
    balances: Vec<u64>,
    config: String,
    admins: String,
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

    /// Admits and settles one request of a key.
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
            key: None,
            created: Millis(0),
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
        let settled = store
            .settle(&account, &id, Tokens::new(used), false, "")
            .await;
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
        self.admins = format!(r#"["{:064}"]"#, dice.roll(1_000_000));
        let which = TenantText::AdminTokens;
        let id = tenant();
        let put = store.replace_tenant_text(&id, which, None, &self.admins);
        assert_eq!(put.await.unwrap(), Put::Done);
        let record = |number| format!(r#"{{"requestId":"r{number}","cost":7}}"#);
        let records: Vec<_> = (0..60).map(record).collect();
        store
            .record(&LogName::usage(&tenant()), &records)
            .await
            .unwrap();
        self.records = records.len();
    }

    async fn spend_here_and_there(&mut self, store: &dyn Store, dice: &mut Dice, times: usize) {
        for _ in 0..times {
            let number = dice.roll(self.balances.len());
            self.spend(store, number, 1 + dice.roll(500) as u64).await;
        }
    }

    /// Asserts that every record is right or reported as damaged; returns the number of damaged ones.
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
        match store.tenant_text(&tenant(), TenantText::AdminTokens).await {
            Ok(admins) => assert_eq!(admins.as_deref(), Some(self.admins.as_str())),
            Err(_) => damaged += 1,
        }
        match store
            .recorded(&LogName::usage(&tenant()), Millis(0), 100)
            .await
        {
            Ok(records) => assert_eq!(records.len(), self.records),
            Err(_) => damaged += 1,
        }
        damaged
    }
}

/// Files of a store at one moment, with their content.
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

/// Two copies of a store with known balances: one closed, one as kill -9 would leave it a moment earlier.
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
        store
            .recorded(&LogName::usage(&tenant()), Millis(0), 1)
            .await
            .unwrap();
        // Later writes are in the journal only, for the 200 ms that the flusher waits.
        known.spend_here_and_there(&store, dice, 20).await;
        let killed = (Copy::of(dir.path()), known.clone());
        store.close().await;
        [closed, killed]
    })
}

const GRANT: u64 = 10_000_000;

/// Runs `resullm store` with these arguments: success, and its output.
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

/// A setup whose data directory has these files.
fn laid_out(copy: &Copy) -> Setup {
    let setup = Setup::new();
    let data = setup.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for (name, bytes) in &copy.0 {
        std::fs::write(data.join(name), bytes).unwrap();
    }
    setup
}
