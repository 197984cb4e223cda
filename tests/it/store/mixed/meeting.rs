//! What an instance of the release before does with what it does not know, case by case: docs/upgrades.md says the same.

use super::before::{Before, There};
use super::model;
use super::step::{START, TTL, groups};
use super::world::{Two, join, record};
use crate::harness::Redis;
use crate::store::contract::runtime;
use resullm::rules::account::{Admit, Ask, Settlement, Verdict};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::carry::Taken;
use resullm::rules::entry::{Caller, Founding};
use resullm::rules::person::PersonId;
use resullm::rules::tenant::TenantId;
use resullm::rules::window::Limits;
use resullm::store::KeyAdmission;
use resullm::store::name::{AccountName, KeyName};

fn ask(id: &str, most: u64) -> Admit<'_> {
    Admit {
        id,
        least: Tokens::new(1),
        most: Tokens::new(most),
        open: Tokens::ZERO,
        known: Tokens::new(1),
        limits: Limits::default(),
        ttl: TTL,
        key: None,
        created: Millis(0),
    }
}

/// A key with a new name, and a person.
fn names(kind: &str) -> (KeyName, AccountName) {
    let run = uuid::Uuid::new_v4();
    let person = PersonId::derive("abc", "app", "", &run.to_string());
    let key = KeyName::parse(&format!("{kind}_{run}")).unwrap();
    (key, AccountName::person(&person))
}

/// What was held, of an answer of the release before.
fn old(before: &mut Before, key: &KeyName, id: &str, most: u64) -> Result<u64, &'static str> {
    let groups = model::groups_before();
    let answer = before.admit(key.as_str(), "abc", &groups, &ask(id, most));
    verdict(answer.done().1)
}

async fn new(two: &Two, key: &KeyName, id: &str, most: u64) -> Result<u64, &'static str> {
    let caller = Caller {
        tenant: "abc",
        key: key.as_str(),
        groups: &groups(),
    };
    match two.store.admit(key, caller, &ask(id, most)).await.unwrap() {
        KeyAdmission::Unknown => Err("unknown"),
        KeyAdmission::Known { admission, .. } => verdict(admission),
    }
}

fn verdict(verdict: Verdict) -> Result<u64, &'static str> {
    match verdict {
        Verdict::Granted { held, .. } => Ok(held.count()),
        Verdict::Spent { .. } => Err("spent"),
        Verdict::Held { .. } => Err("held"),
        Verdict::TooManyInFlight { .. } => Err("crowded"),
        Verdict::KeySpent { .. } => Err("key spent"),
        Verdict::Suspended { .. } => Err("suspended"),
        Verdict::RateLimited { .. } => Err("limited"),
    }
}

async fn founded(
    two: &Two,
    person: &AccountName,
    key: &KeyName,
    at: usize,
    group: &str,
    text: &str,
) {
    let founding = Founding {
        record: record(100, group),
        token: None,
        carry: None,
    };
    let join = join(key, at, Some(founding));
    two.store.join(person, &join).await.unwrap();
    two.store.lead(&key.account(), text, None).await.unwrap();
}

async fn take(two: &Two, key: &KeyName, person: &AccountName) -> (u64, bool) {
    let tenant = TenantId::parse("abc").unwrap();
    let taken = two
        .store
        .take(&key.account(), &tenant, person, Tokens::new(100))
        .await;
    match taken.unwrap().unwrap() {
        Taken::Took { total, is_over } => (total.count(), is_over),
        Taken::Refused => panic!("refused"),
    }
}

/// The release before still serves a key whose balance moves, but only from what has not moved: requests in flight
/// there, its leases, and what they free.
#[test]
fn nothing_that_has_moved_is_spent_by_the_release_before() {
    let redis = Redis::start();
    runtime().block_on(async {
        let mut two = Two::on(&redis).await;
        let (key, person) = names("temp");
        let name = key.account().as_str().to_owned();
        two.mint(&key, None, &record(100, "anonymous")).await;
        assert_eq!(old(&mut two.before, &key, "r1", 30), Ok(30));
        let lease = Ask {
            instance: "i",
            number: 1,
            tokens: Tokens::new(50),
            slots: 0,
            window: None,
            ttl: TTL,
            told: Tokens::ZERO,
        };
        assert_eq!(two.before.lease(&name, &lease).tokens, Tokens::new(17));

        assert_eq!(take(&two, &key, &person).await, (53, false));

        assert_eq!(new(&two, &key, "r2", 1).await, Err("unknown"));
        assert_eq!(old(&mut two.before, &key, "r2", 1), Err("held"));
        let again = Ask { number: 2, ..lease };
        assert_eq!(two.before.lease(&name, &again).tokens, Tokens::ZERO);
        // 20 of the 30 are free again: whoever is first has them, and nobody else.
        two.before.settle(&name, "r1", Tokens::new(10), false);
        assert_eq!(old(&mut two.before, &key, "r3", 15), Ok(15));
        assert_eq!(take(&two, &key, &person).await, (58, false));
        assert_eq!(old(&mut two.before, &key, "r4", 1), Err("held"));
        two.before.settle(&name, "r3", Tokens::new(15), false);
        // The lease is not spent and runs out: it moves too.
        two.wait(TTL.0 + 1);
        assert_eq!(take(&two, &key, &person).await, (75, true));
        assert_eq!(old(&mut two.before, &key, "r5", 1), Err("spent"));
    });
}

#[test]
fn a_persons_key_in_layout_key_is_damaged_to_the_release_before_which_changes_nothing() {
    let redis = Redis::start();
    runtime().block_on(async {
        let mut two = Two::on(&redis).await;
        let (key, person) = names("user");
        let lead = format!(
            r#"{{"userId":"u","tenantId":"abc","account":"{}"}}"#,
            person.as_str()
        );
        founded(&two, &person, &key, 0, "paid", &lead).await;
        assert_eq!(new(&two, &key, "r1", 30).await, Ok(30));
        let stored = |two: &mut Two| {
            let (record, lead) = (two.text(person.as_str()), two.text(key.account().as_str()));
            (
                record,
                lead,
                two.hash(&person.books()),
                two.hash(&person.keys()),
            )
        };
        let before = stored(&mut two);

        let groups = model::groups_before();
        let admitted = two
            .before
            .admit(key.as_str(), "abc", &groups, &ask("r2", 1));
        let found = two.before.find(key.as_str(), "abc", &groups);

        assert_eq!(admitted, There::Damaged("balance".to_owned()));
        assert_eq!(found, There::Damaged("balance".to_owned()));
        assert_eq!(stored(&mut two), before);
        // An admin there who revokes the key ends it everywhere.
        two.before.revoke(key.as_str());
        assert_eq!(new(&two, &key, "r3", 1).await, Err("unknown"));
        assert_eq!(two.hash(&person.books()), before.2);
    });
}

#[test]
fn a_persons_key_in_layout_user_has_the_balance_of_its_account_and_no_bound_at_the_release_before()
{
    let redis = Redis::start();
    runtime().block_on(async {
        let mut two = Two::on(&redis).await;
        let (key, person) = names("user");
        // Its bound are 40 of 100 tokens.
        founded(&two, &person, &key, 1, "paid", person.part()).await;
        assert_eq!(new(&two, &key, "r1", 90).await, Ok(40));

        assert_eq!(
            old(&mut two.before, &key, "r2", 90),
            Ok(60),
            "no more than is free"
        );

        assert_eq!(new(&two, &key, "r3", 1).await, Err("held"));
        let settled = two
            .before
            .settle(person.as_str(), "r2", Tokens::new(50), false);
        assert_eq!(settled, charged(50, 50));
        let settled = two
            .store
            .settle(&person, "r1", Tokens::new(15), false, "")
            .await;
        assert_eq!(settled.unwrap(), Some(charged(15, 35)));
        // Only what this release has settled counts towards the bound.
        assert_eq!(new(&two, &key, "r4", 90).await, Ok(25));
        two.store.drop_key(&person, key.id()).await.unwrap();
        assert_eq!(new(&two, &key, "r5", 1).await, Err("unknown"));
        two.store.unlead(&key.account()).await.unwrap();
        let groups = model::groups_before();
        let gone = two
            .before
            .admit(key.as_str(), "abc", &groups, &ask("r5", 1));
        assert_eq!(
            gone,
            There::Gone,
            "a revoked key opens nothing there either"
        );
    });
}

fn charged(charged: u64, left: u64) -> Settlement {
    Settlement {
        charged: Tokens::new(charged),
        overrun: Tokens::ZERO,
        left: Tokens::new(left),
    }
}

#[test]
fn a_refill_that_is_due_waits_for_this_release_and_comes_once() {
    let redis = Redis::start();
    runtime().block_on(async {
        let mut two = Two::on(&redis).await;
        let (key, person) = names("user");
        founded(&two, &person, &key, 0, "daily", person.part()).await;
        assert_eq!(old(&mut two.before, &key, "r1", 100), Ok(100));
        two.before
            .settle(person.as_str(), "r1", Tokens::new(100), false);
        two.wait(Millis::DAY.0);

        assert_eq!(old(&mut two.before, &key, "r2", 1), Err("spent"));
        assert_eq!(new(&two, &key, "r3", 50).await, Ok(50));
        // 90 were refilled, of which 50 are held.
        assert_eq!(old(&mut two.before, &key, "r4", 50), Ok(40));
        for (id, used) in [("r3", 50), ("r4", 40)] {
            two.before
                .settle(person.as_str(), id, Tokens::new(used), false);
        }
        assert_eq!(new(&two, &key, "r5", 1).await, Err("spent"));
        // A move by the release before does not put the refill off, which is still one a day.
        two.wait(Millis::DAY.0);
        two.before.regroup(person.as_str(), "daily");
        assert_eq!(new(&two, &key, "r6", 90).await, Ok(90));
        two.before
            .settle(person.as_str(), "r6", Tokens::new(90), false);
        assert_eq!(new(&two, &key, "r7", 1).await, Err("spent"));
        assert!(two.now().0 > START);
    });
}

#[test]
fn requests_in_flight_count_together_whichever_release_has_them() {
    let redis = Redis::start();
    runtime().block_on(async {
        let mut two = Two::on(&redis).await;
        for old_first in [true, false] {
            let (key, _) = names("temp");
            let name = key.account();
            two.mint(&key, None, &record(100, "one")).await;
            match old_first {
                true => {
                    assert_eq!(old(&mut two.before, &key, "r1", 5), Ok(5));
                    assert_eq!(new(&two, &key, "r2", 5).await, Err("crowded"));
                }
                false => {
                    assert_eq!(new(&two, &key, "r1", 5).await, Ok(5));
                    assert_eq!(old(&mut two.before, &key, "r2", 5), Err("crowded"));
                }
            }
            // The other release may end what one has begun.
            match old_first {
                true => assert!(
                    two.store
                        .settle(&name, "r1", Tokens::new(5), false, "")
                        .await
                        .is_ok()
                ),
                false => assert_eq!(
                    two.before
                        .settle(name.as_str(), "r1", Tokens::new(5), false),
                    charged(5, 95)
                ),
            }
            assert_eq!(new(&two, &key, "r3", 5).await, Ok(5));
            assert_eq!(old(&mut two.before, &key, "r4", 5), Err("crowded"));
        }
    });
}
