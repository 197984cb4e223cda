//! One suite for every store engine: embedded, Redis, Redis behind Sentinel, Redis Cluster.

mod answers;
mod cases;

use crate::harness::{Cluster, Redis, Sentinel, TempDir};
use resullm::rules::account::{Admit, Orphans};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::entry::{Caller, Groups};
use resullm::rules::tenant::TenantId;
use resullm::rules::window::{Limits, Window};
use resullm::settings;
use resullm::store::name::{KeyName, KeyNames};
use resullm::store::{AccountSettings, Clock, KeyAdmission, LogBounds, Mint, Store};
use std::future::Future;
use std::sync::Arc;

pub fn keeping(orphans: Orphans, clock: Clock) -> AccountSettings {
    let log = LogBounds {
        records: 100,
        age: Millis(Millis::DAY.0),
    };
    AccountSettings {
        orphans,
        clock,
        log,
        whole_postings: Millis(1 << 50),
        audit: LogBounds::of_audit(Millis(2 * Millis::DAY.0)),
        credit_replicas: Some(0),
        key_names: KeyNames::default(),
    }
}

pub fn settings_of(url: &str) -> settings::Store {
    let env = |name: &str| (name == "REDIS_URL").then(|| url.to_owned());
    settings::load(None, &env, &["REDIS_URL".to_owned()])
        .unwrap()
        .store
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub async fn open(url: &str, keeping: AccountSettings) -> Arc<dyn Store> {
    resullm::store::open::open(&settings_of(url), keeping)
        .await
        .unwrap()
}

fn on_embedded<F: Future<Output = ()>>(test: impl FnOnce(Arc<dyn Store>) -> F) {
    let dir = TempDir::new();
    runtime().block_on(async {
        let url = format!("embedded:{}", dir.path().display());
        let store = open(&url, keeping(Orphans::Known, Clock::Store)).await;
        test(store.clone()).await;
        store.close().await;
    });
}

fn on_url<F: Future<Output = ()>>(url: &str, test: impl FnOnce(Arc<dyn Store>) -> F) {
    runtime().block_on(async {
        test(open(url, keeping(Orphans::Known, Clock::Store)).await).await;
    });
}

/// Runs each case of `cases` on every engine.
macro_rules! contract {
    ($($case:ident),*; $($answers:ident),* $(,)?) => {
        mod embedded {
            $(#[test] fn $case() { super::on_embedded(super::cases::$case); })*
            $(#[test] fn $answers() { super::on_embedded(super::answers::$answers); })*
        }
        mod redis {
            $(#[test] fn $case() {
                let redis = super::Redis::start();
                super::on_url(&redis.url(), super::cases::$case);
            })*
            $(#[test] fn $answers() {
                let redis = super::Redis::start();
                super::on_url(&redis.url(), super::answers::$answers);
            })*
        }
        #[test]
        fn sentinel_keeps_the_contract() {
            let sentinel = Sentinel::start();
            $(on_url(&sentinel.url(), cases::$case);)*
            $(on_url(&sentinel.url(), answers::$answers);)*
        }
        #[test]
        fn cluster_keeps_the_contract() {
            let cluster = Cluster::start();
            $(on_url(&cluster.url(), cases::$case);)*
            $(on_url(&cluster.url(), answers::$answers);)*
        }
    };
}

contract!(
    a_key_is_found_only_at_its_tenant,
    a_user_record_is_shared_by_its_keys,
    an_expired_key_is_unknown,
    a_key_is_never_minted_over_another,
    a_revoked_key_is_unknown,
    concurrent_admissions_never_exceed_balance_or_window,
    a_settlement_is_charged_once,
    credit_counts_once_and_regroup_changes_the_group,
    a_config_is_the_text_that_was_stored,
    config_is_replaced_only_if_unchanged,
    tenants_are_listed_and_deleted,
    text_beside_a_config_is_replaced_only_if_unchanged,
    concurrent_changes_of_a_text_lose_nothing,
    events_count_under_all_of_their_names_or_none,
    concurrent_events_are_counted_exactly,
    followers_are_notified_of_changes,
    a_damaged_record_is_reported_and_left_alone,
    a_usage_log_is_bounded_and_read_newest_first,
    a_ticket_is_redeemed_once,
    a_ticket_ends_by_itself;
    an_answer_is_given_as_it_was_kept_until_it_is_replaced,
    answers_of_two_tenants_never_meet,
    an_answer_is_not_kept_on_a_shelf_that_is_gone,
    the_least_recently_used_answer_makes_space,
    an_answer_larger_than_the_bound_changes_nothing,
    answers_of_an_owner_are_forgotten_alone,
    a_tenant_made_anew_has_no_answers_of_before,
    more_answers_than_one_step_takes_are_forgotten,
    an_answer_ends_by_itself,
);

fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

/// A unique name, because tests share servers.
fn fresh(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::new_v4().simple())
}

fn groups(requests: u64) -> Groups {
    let window = Window {
        requests,
        span: Millis(60_000),
    };
    let limits = Limits {
        window: Some(window),
        ..Limits::default()
    };
    Groups::new(vec![
        ("anonymous".into(), limits),
        ("paid".into(), Limits::default()),
    ])
}

fn record(left: u64, tenant: &str) -> String {
    format!(
        r#"{{"userId":null,"createdAt":"2026-01-01T00:00:00Z","tokensLeft":{left},"tenantId":"{tenant}","group":"anonymous","x":[]}}"#
    )
}

async fn mint(store: &dyn Store, left: u64, tenant: &str, life: Option<u64>) -> KeyName {
    let key = KeyName::parse(&fresh("temp_")).unwrap();
    let mint = Mint {
        key: key.clone(),
        user: None,
        record: record(left, tenant),
        life: life.map(Millis),
    };
    assert!(store.mint(&mint).await.unwrap());
    key
}

fn ask(id: &str, most: u64) -> Admit<'_> {
    Admit {
        id,
        least: Tokens::new(1),
        most: Tokens::new(most),
        open: Tokens::ZERO,
        known: Tokens::ZERO,
        limits: Limits::default(),
        ttl: Millis(60_000),
        key: None,
        created: Millis(0),
    }
}

async fn admit(
    store: &dyn Store,
    key: &KeyName,
    at: &str,
    groups: &Groups,
    most: u64,
) -> KeyAdmission {
    let caller = Caller {
        tenant: at,
        key: key.as_str(),
        groups,
    };
    store
        .admit(key, caller, &ask(&fresh(""), most))
        .await
        .unwrap()
}
