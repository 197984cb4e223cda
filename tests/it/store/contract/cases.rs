//! Cases of the contract; each takes one open store.

use super::{admit, ask, fresh, groups, mint, record, tenant};
use crate::harness::eventually;
use resullm::rules::account::{Credit, Credited, Verdict};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::entry::Caller;
use resullm::rules::tenant::TenantId;
use resullm::rules::window::Window;
use resullm::store::name::{KeyName, LogName, TenantText, TicketKind, TicketName};
use resullm::store::{Counted, Follower, KeyAdmission, Mint, Put, Store, StoreError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub async fn a_key_is_found_only_at_its_tenant(store: Arc<dyn Store>) {
    let key = mint(&*store, 100, "abc", None).await;
    let found = store
        .find(&key, &tenant("abc"), &groups(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.record, record(100, "abc"));
    assert_eq!(
        (found.standing.group.as_str(), found.life),
        ("anonymous", None)
    );
    assert_eq!(found.look.left, Tokens::new(100));
    assert_eq!(found.look.pace.unwrap().remaining, 5);
    assert_eq!(
        store
            .find(&key, &tenant("other"), &groups(5))
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        admit(&*store, &key, "other", &groups(5), 10).await,
        KeyAdmission::Unknown
    );

    let stranger = KeyName::parse("temp_nobody").unwrap();
    assert_eq!(
        admit(&*store, &stranger, "abc", &groups(5), 10).await,
        KeyAdmission::Unknown
    );
}

pub async fn a_user_record_is_shared_by_its_keys(store: Arc<dyn Store>) {
    let key = KeyName::parse(&fresh("")).unwrap();
    let user = fresh("u");
    let mint = Mint {
        key: key.clone(),
        user: Some(user),
        record: record(100, "abc"),
        life: None,
    };
    store.mint(&mint).await.unwrap();
    let KeyAdmission::Known {
        account, admission, ..
    } = admit(&*store, &key, "abc", &groups(5), 30).await
    else {
        panic!("not known");
    };

    assert!(account.as_str().starts_with("user:"));
    assert!(matches!(admission, Verdict::Granted { held, .. } if held == Tokens::new(30)));

    let found = store
        .find(&key, &tenant("abc"), &groups(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.look.left.count(), found.look.free.count()),
        (100, 70)
    );
}

pub async fn an_expired_key_is_unknown(store: Arc<dyn Store>) {
    let key = mint(&*store, 100, "abc", Some(300)).await;
    let KeyAdmission::Known { account, .. } = admit(&*store, &key, "abc", &groups(5), 30).await
    else {
        panic!("not known");
    };
    store
        .settle(&account, "other", Tokens::new(1), false, "")
        .await
        .unwrap()
        .unwrap();

    let found = store
        .find(&key, &tenant("abc"), &groups(5))
        .await
        .unwrap()
        .unwrap();

    assert!(
        found.life.is_some_and(|life| life.0 <= 300),
        "an update keeps the expiry"
    );
    for _ in 0..100 {
        if store
            .find(&key, &tenant("abc"), &groups(5))
            .await
            .unwrap()
            .is_none()
        {
            assert_eq!(
                store
                    .settle(&account, "late", Tokens::new(1), false, "")
                    .await
                    .unwrap(),
                None
            );
            assert_eq!(
                admit(&*store, &key, "abc", &groups(5), 30).await,
                KeyAdmission::Unknown
            );
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not expire");
}

pub async fn a_key_is_never_minted_over_another(store: Arc<dyn Store>) {
    let key = mint(&*store, 100, "abc", None).await;
    let again = Mint {
        key: key.clone(),
        user: None,
        record: record(999, "abc"),
        life: None,
    };
    assert!(!store.mint(&again).await.unwrap());

    let found = store
        .find(&key, &tenant("abc"), &groups(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.look.left, Tokens::new(100));
}

pub async fn a_revoked_key_is_unknown(store: Arc<dyn Store>) {
    let key = mint(&*store, 100, "abc", None).await;
    assert!(store.revoke(&key).await.unwrap());
    assert!(!store.revoke(&key).await.unwrap());
    assert_eq!(
        admit(&*store, &key, "abc", &groups(5), 30).await,
        KeyAdmission::Unknown
    );
}

pub async fn concurrent_admissions_never_exceed_balance_or_window(store: Arc<dyn Store>) {
    for (left, limit, each, expected) in [(100, 1_000, 7, 15), (1_000_000, 20, 1, 20)] {
        let key = mint(&*store, left, "abc", None).await;
        let groups = Arc::new(groups(limit));
        let tasks: Vec<_> = (0..60)
            .map(|_| {
                let (store, key, groups) = (store.clone(), key.clone(), groups.clone());
                tokio::spawn(async move { admit(&*store, &key, "abc", &groups, each).await })
            })
            .collect();
        let (mut admitted, mut held) = (0, 0);
        for task in tasks {
            if let KeyAdmission::Known {
                admission: Verdict::Granted { held: some, .. },
                ..
            } = task.await.unwrap()
            {
                admitted += 1;
                held += some.count();
            }
        }
        assert!(held <= left);
        assert_eq!(admitted, expected);
    }
}

pub async fn a_settlement_is_charged_once(store: Arc<dyn Store>) {
    let key = mint(&*store, 9_007_199_254_740_991, "abc", None).await;
    let groups = groups(50);
    let caller = Caller {
        tenant: "abc",
        key: key.as_str(),
        groups: &groups,
    };
    let KeyAdmission::Known { account, .. } =
        store.admit(&key, caller, &ask("r1", 10)).await.unwrap()
    else {
        panic!("not known");
    };

    assert!(
        store
            .renew(&account, "r1", Tokens::new(4), Millis(60_000))
            .await
            .unwrap()
    );

    let settled = store
        .settle(&account, "r1", Tokens::new(7), false, "")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (settled.charged.count(), settled.left.count()),
        (7, 9_007_199_254_740_984)
    );
    for _ in 0..10 {
        let again = store
            .settle(&account, "r1", Tokens::new(7), true, "")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (again.charged.count(), again.left.count()),
            (0, 9_007_199_254_740_984)
        );
    }
    assert!(
        !store
            .renew(&account, "r1", Tokens::new(4), Millis(60_000))
            .await
            .unwrap()
    );

    let found = store
        .find(&key, &tenant("abc"), &groups)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.record, record(9_007_199_254_740_984, "abc"));
    assert_eq!(found.look.free, found.look.left);
}

pub async fn credit_counts_once_and_regroup_changes_the_group(store: Arc<dyn Store>) {
    let key = mint(&*store, 100, "abc", None).await;
    let account = key.account();

    for expected in [
        Credited::Added {
            left: Tokens::new(150),
        },
        Credited::Repeated {
            left: Tokens::new(150),
        },
    ] {
        let credited = store
            .credit(&account, &Credit::of("c1", Tokens::new(50)))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(credited, expected);
    }
    assert!(store.regroup(&account, "paid").await.unwrap());

    let found = store
        .find(&key, &tenant("abc"), &groups(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.standing.group.as_str(), found.look.pace),
        ("paid", None)
    );

    let nobody = KeyName::parse("temp_nobody").unwrap().account();
    assert_eq!(
        store
            .credit(&nobody, &Credit::of("c1", Tokens::new(50)))
            .await
            .unwrap(),
        None
    );
    assert!(!store.regroup(&nobody, "paid").await.unwrap());
}

pub async fn a_config_is_the_text_that_was_stored(store: Arc<dyn Store>) {
    let id = tenant(&fresh("t"));
    let text = "{ \"b\" : [ ] , \"a\" : null, \"n\" : 1.50e1, \"u\" : \"é\\u00e9\" }";
    assert_eq!(store.config(&id).await.unwrap(), None);
    assert!(store.seed_config(&id, text).await.unwrap());
    assert!(!store.seed_config(&id, "{}").await.unwrap());
    assert_eq!(store.config(&id).await.unwrap().as_deref(), Some(text));
}

pub async fn config_is_replaced_only_if_unchanged(store: Arc<dyn Store>) {
    let id = tenant(&fresh("t"));
    assert_eq!(
        store
            .replace_config(&id, Some("{}"), "{\"a\":0}")
            .await
            .unwrap(),
        Put::Changed
    );
    assert_eq!(
        store.replace_config(&id, None, "{\"a\":1}").await.unwrap(),
        Put::Done
    );
    assert_eq!(
        store
            .replace_config(&id, Some("{}"), "{\"a\":2}")
            .await
            .unwrap(),
        Put::Changed
    );
    assert_eq!(
        store
            .replace_config(&id, Some("{\"a\":1}"), "{\"a\":3}")
            .await
            .unwrap(),
        Put::Done
    );
    assert_eq!(
        store.config(&id).await.unwrap().as_deref(),
        Some("{\"a\":3}")
    );
}

pub async fn tenants_are_listed_and_deleted(store: Arc<dyn Store>) {
    let mut ids: Vec<_> = (0..5).map(|_| tenant(&fresh("t"))).collect();
    ids.sort();
    for id in &ids {
        store.seed_config(id, "{}").await.unwrap();
        for text in TEXTS {
            let written = store.replace_tenant_text(id, text, None, "h").await;
            assert_eq!(written.unwrap(), Put::Done);
        }
    }
    let mine = |all: Vec<TenantId>| {
        all.into_iter()
            .filter(|id| ids.contains(id))
            .collect::<Vec<_>>()
    };

    assert_eq!(mine(store.tenants().await.unwrap()), ids);
    assert!(store.delete_tenant(&ids[0]).await.unwrap());
    assert!(!store.delete_tenant(&ids[0]).await.unwrap());
    assert_eq!(mine(store.tenants().await.unwrap()), ids[1..]);
    for text in TEXTS {
        assert_eq!(store.tenant_text(&ids[0], text).await.unwrap(), None);
        let kept = store.tenant_text(&ids[1], text).await.unwrap();
        assert_eq!(kept.as_deref(), Some("h"));
    }
    assert_eq!(store.config(&ids[0]).await.unwrap(), None);
}

const TEXTS: [TenantText; 3] = [
    TenantText::AdminTokens,
    TenantText::History,
    TenantText::MaskKey,
];

pub async fn text_beside_a_config_is_replaced_only_if_unchanged(store: Arc<dyn Store>) {
    let id = tenant(&fresh("t"));
    for which in TEXTS {
        let replace = async |expected: Option<&str>, text: &str| {
            let put = store.replace_tenant_text(&id, which, expected, text);
            put.await.unwrap()
        };
        assert_eq!(store.tenant_text(&id, which).await.unwrap(), None);
        assert_eq!(replace(Some("a"), "b").await, Put::Changed);
        assert_eq!(replace(None, "a").await, Put::Done);
        assert_eq!(replace(None, "b").await, Put::Changed);
        assert_eq!(replace(Some("b"), "c").await, Put::Changed);
        assert_eq!(replace(Some("a"), "d").await, Put::Done);
        let text = store.tenant_text(&id, which).await.unwrap();
        assert_eq!(text.as_deref(), Some("d"));
    }
}

pub async fn concurrent_changes_of_a_text_lose_nothing(store: Arc<dyn Store>) {
    let id = tenant(&fresh("t"));
    let which = TenantText::AdminTokens;
    let add = |number: usize| {
        let (store, id) = (store.clone(), id.clone());
        tokio::spawn(async move {
            loop {
                let stored = store.tenant_text(&id, which).await.unwrap();
                let text = format!("{}{number},", stored.clone().unwrap_or_default());
                let put = store.replace_tenant_text(&id, which, stored.as_deref(), &text);
                if put.await.unwrap() == Put::Done {
                    break;
                }
            }
        })
    };

    for task in (0..20).map(add).collect::<Vec<_>>() {
        task.await.unwrap();
    }

    let text = store.tenant_text(&id, which).await.unwrap().unwrap();
    let mut numbers: Vec<usize> = text
        .split_terminator(',')
        .map(|n| n.parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

pub async fn events_count_under_all_of_their_names_or_none(store: Arc<dyn Store>) {
    let window = |requests| Window {
        requests,
        span: Millis(60_000),
    };
    let (what, other) = (fresh("mint:"), fresh("mint:"));
    let count = async |what: &str, near: &str| {
        let bounds = [(near, window(3)), ("far", window(5)), ("all", window(7))];
        store.count(what, &bounds).await.unwrap()
    };
    let limited = |counted| matches!(counted, Counted::Limited { wait } if wait.0 > 50_000 && wait.0 <= 66_000);

    for _ in 0..3 {
        assert_eq!(count(&what, "a").await, Counted::Passed);
    }
    for _ in 0..20 {
        assert!(limited(count(&what, "a").await));
    }
    // Refused events did not count against the others.
    assert_eq!(count(&what, "b").await, Counted::Passed);
    assert_eq!(count(&what, "b").await, Counted::Passed);
    assert!(limited(count(&what, "b").await));
    assert_eq!(count(&other, "a").await, Counted::Passed);

    // Refused events did not count under the third name either: one of its three slots is left.
    let own = [("b", window(3))];
    assert_eq!(store.count(&what, &own).await.unwrap(), Counted::Passed);
    assert!(limited(store.count(&what, &own).await.unwrap()));
}

pub async fn concurrent_events_are_counted_exactly(store: Arc<dyn Store>) {
    let what = fresh("mint:");
    let tasks = (0..60).map(|number| {
        let (store, what) = (store.clone(), what.clone());
        tokio::spawn(async move {
            let near = format!("near-{}", number % 7);
            let window = |requests| Window {
                requests,
                span: Millis(60_000),
            };
            let bounds = [(near.as_str(), window(5)), ("all", window(17))];
            store.count(&what, &bounds).await.unwrap()
        })
    });
    let mut passed = 0;
    for task in tasks.collect::<Vec<_>>() {
        passed += u32::from(task.await.unwrap() == Counted::Passed);
    }

    assert_eq!(passed, 17);
}

#[derive(Default)]
struct Heard {
    changed: Mutex<Vec<String>>,
    everything: AtomicU64,
    live: AtomicBool,
}

impl Follower for Heard {
    fn changed(&self, tenant: &str) {
        self.changed.lock().unwrap().push(tenant.to_owned());
    }

    fn all_changed(&self) {
        self.everything.fetch_add(1, Ordering::SeqCst);
    }

    fn following(&self, live: bool) {
        self.live.store(live, Ordering::SeqCst);
    }
}

pub async fn followers_are_notified_of_changes(store: Arc<dyn Store>) {
    let heard = Arc::new(Heard::default());
    store.follow(heard.clone());
    let id = tenant(&fresh("t"));
    store.replace_config(&id, None, "{}").await.unwrap();
    let told = || {
        heard
            .changed
            .lock()
            .unwrap()
            .contains(&id.to_string())
            .then_some(())
    };
    tokio::task::block_in_place(|| {
        eventually(Duration::from_secs(5), "the change is heard", told);
    });
}

pub async fn a_damaged_record_is_reported_and_left_alone(store: Arc<dyn Store>) {
    let key = KeyName::parse(&fresh("temp_")).unwrap();
    let bad = r#"{"tokensLeft":"many","tenantId":"abc"}"#;
    let mint = Mint {
        key: key.clone(),
        user: None,
        record: bad.into(),
        life: None,
    };
    store.mint(&mint).await.unwrap();
    let groups = groups(5);
    let caller = Caller {
        tenant: "abc",
        key: key.as_str(),
        groups: &groups,
    };
    let admitted = store.admit(&key, caller, &ask("r", 10)).await;
    let settled = store
        .settle(&key.account(), "r", Tokens::new(1), false, "")
        .await;

    for error in [admitted.unwrap_err(), settled.unwrap_err()] {
        assert!(matches!(&error, StoreError::Damaged { .. }), "{error:?}");
        assert!(
            !error.to_string().contains(key.as_str()),
            "a key is not for logs"
        );
    }
}

pub async fn a_usage_log_is_bounded_and_read_newest_first(store: Arc<dyn Store>) {
    let log = || LogName::usage(&tenant(&fresh("t")));
    let (id, other) = (log(), log());
    let record = |i: usize| format!("{{\"i\":{i}}}");

    assert!(store.recorded(&id, Millis(0), 10).await.unwrap().is_empty());

    for i in 0..300 {
        store
            .record(&id, &[record(2 * i), record(2 * i + 1)])
            .await
            .unwrap();
    }
    store.record(&other, &[record(7)]).await.unwrap();
    let latest = store.recorded(&id, Millis(0), 3).await.unwrap();
    assert_eq!(latest, [record(599), record(598), record(597)]);

    let all = store.recorded(&id, Millis(0), 10_000).await.unwrap();
    // Redis trims streams approximately and may keep a little more.
    assert!((100..=300).contains(&all.len()), "{}", all.len());
    assert_eq!(
        store.recorded(&other, Millis(0), 10).await.unwrap(),
        [record(7)]
    );
    let future = Millis(u64::from(u32::MAX) * 1_000);
    assert!(store.recorded(&id, future, 10).await.unwrap().is_empty());
}

fn ticket(kind: TicketKind) -> TicketName {
    TicketName::of(kind, &fresh("secret"))
}

const MINUTE: Millis = Millis(60_000);

pub async fn a_ticket_is_redeemed_once(store: Arc<dyn Store>) {
    let ticket = ticket(TicketKind::Code);
    let text = "{\"a\":\"ä\\n\"}";
    assert_eq!(store.redeem(&ticket).await.unwrap(), None);
    assert!(store.issue(&ticket, text, MINUTE).await.unwrap());
    assert!(!store.issue(&ticket, "other", MINUTE).await.unwrap());

    let tries = (0..16).map(|_| {
        let (store, ticket) = (store.clone(), ticket.clone());
        tokio::spawn(async move { store.redeem(&ticket).await.unwrap() })
    });
    let tries: Vec<_> = tries.collect();
    let mut redeemed = Vec::new();
    for one in tries {
        redeemed.extend(one.await.unwrap());
    }

    assert_eq!(redeemed, [text]);
    assert_eq!(store.redeem(&ticket).await.unwrap(), None);
}

pub async fn a_ticket_ends_by_itself(store: Arc<dyn Store>) {
    let code = ticket(TicketKind::Code);
    assert!(store.issue(&code, "text", Millis(300)).await.unwrap());

    let begun = Instant::now();
    while !store.issue(&code, "again", MINUTE).await.unwrap() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    assert_eq!(store.redeem(&code).await.unwrap().as_deref(), Some("again"));
}
