//! How long a page of keys and of people takes, in a tenant with 100,000 keys and 10,000 people.
//!
//! `cargo bench --bench lists` measures the embedded store, in a directory that is removed afterwards;
//! `cargo bench --bench lists -- redis://127.0.0.1:6379` an empty Redis. Figures are printed only.
#![expect(clippy::print_stdout, reason = "figures are what this is run for")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

use resullm::rules::account::Orphans;
use resullm::rules::amount::Millis;
use resullm::rules::entry::Groups;
use resullm::rules::tenant::TenantId;
use resullm::settings;
use resullm::store::directory::{self, PageAsk};
use resullm::store::listed::{List, Listed};
use resullm::store::name::{AccountName, KeyName, KeyNames};
use resullm::store::{AccountSettings, Clock, LogBounds, Mint, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};

const KEYS: u32 = 100_000;
const USERS: u32 = 10_000;
const PAGE: usize = 50;
const ROUNDS: usize = 200;

fn keeping() -> AccountSettings {
    let log = LogBounds {
        records: 100,
        age: Millis(Millis::DAY.0),
    };
    AccountSettings {
        orphans: Orphans::Known,
        clock: Clock::Store,
        log,
        whole_postings: Millis(1 << 40),
        audit: log,
        credit_replicas: Some(0),
        key_names: KeyNames::default(),
    }
}

async fn open(url: &str) -> Arc<dyn Store> {
    let env = |name: &str| (name == "REDIS_URL").then(|| url.to_owned());
    let settings = settings::load(None, &env, &["REDIS_URL".to_owned()]).unwrap();
    let store = resullm::store::open::open(&settings.store, keeping());
    store.await.unwrap()
}

/// Mints a key as the gateway does: entered, then written.
async fn mint(store: &dyn Store, tenant: &TenantId, number: u32) {
    let user = (number < USERS).then(|| format!("u{number}"));
    let at = resullm::rules::date::rfc3339(Millis(1_700_000_000_000 + u64::from(number) * 1_000));
    let record = format!(
        r#"{{"userId":null,"createdAt":"{at}","tokensLeft":1000,"tenantId":"{tenant}","group":"members"}}"#
    );
    let key = KeyName::parse(&format!("user_{number}")).unwrap();
    let entry = Listed::key(store.key_names().of(&key), &record);
    store.enter(tenant, List::Keys, &[entry]).await.unwrap();
    if let Some(account) = user.as_deref().and_then(AccountName::user) {
        let entry = Listed::user(account, &record);
        store.enter(tenant, List::Users, &[entry]).await.unwrap();
    }
    let mint = Mint {
        key,
        user,
        record,
        life: None,
    };
    assert!(store.mint(&mint).await.unwrap());
}

async fn fill(store: &Arc<dyn Store>, tenant: &TenantId) {
    let begun = Instant::now();
    let workers = (0..64).map(|worker| {
        let (store, tenant) = (store.clone(), tenant.clone());
        tokio::spawn(async move {
            for number in (worker..KEYS).step_by(64) {
                mint(&*store, &tenant, number).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    println!("{KEYS} keys and {USERS} people in {:?}", begun.elapsed());
}

/// Reads pages one after the other, and prints the median and the slowest but one in a hundred.
async fn read(store: &dyn Store, tenant: &TenantId, list: List) {
    let begun = Instant::now();
    let total = store.count_listed(tenant, list).await.unwrap();
    println!(
        "{list:?}: {total} entries, counted first in {:?}",
        begun.elapsed()
    );
    let (mut after, mut times) = (None, Vec::new());
    for _ in 0..ROUNDS {
        let ask = PageAsk {
            after,
            limit: PAGE,
            most_read: 2_000,
        };
        let begun = Instant::now();
        let groups = Groups::default();
        let page = directory::page(store, tenant, &groups, list, ask, |_| true);
        let page = page.await.unwrap();
        times.push(begun.elapsed());
        assert_eq!(page.found.len(), PAGE);
        after = page.next;
    }
    times.sort_unstable();
    let at = |part: usize| -> Duration { times[(times.len() - 1) * part / 100] };
    println!("  a page of {PAGE}: median {:?}, p99 {:?}", at(50), at(99));
}

fn main() {
    let url = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let dir = std::env::temp_dir().join(format!("resullm-lists-{}", std::process::id()));
    let url = url.unwrap_or_else(|| format!("embedded:{}", dir.display()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tenant = TenantId::parse("bench").unwrap();
        let store = open(&url).await;
        fill(&store, &tenant).await;
        for list in List::ALL {
            read(&*store, &tenant, list).await;
        }
        store.close().await;
    });
    // Ignored: a Redis has no directory.
    let _ = std::fs::remove_dir_all(dir);
}
