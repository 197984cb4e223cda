//! Cases of the contract for cached answers; each takes one open store.

use super::{fresh, tenant};
use bytes::Bytes;
use resullm::rules::amount::Millis;
use resullm::rules::tenant::TenantId;
use resullm::store::name::AnswerKey;
use resullm::store::{ANSWER_OVERHEAD_BYTES, NewAnswer, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOUR: Millis = Millis(3_600_000);
const PLENTY: u64 = 64 << 20;

fn key(number: u8) -> AnswerKey {
    AnswerKey::new([number; 32])
}

fn answer(owner: &str, bytes: impl Into<Bytes>, most_bytes: u64) -> NewAnswer<'_> {
    NewAnswer {
        owner,
        bytes: bytes.into(),
        life: HOUR,
        most_bytes,
        shelf: None,
    }
}

async fn keep(store: &dyn Store, at: &TenantId, number: u8, text: &'static str, most: u64) {
    let answer = answer("p_one", text, most);
    assert!(store.keep_answer(at, &key(number), &answer).await.unwrap());
}

async fn read(store: &dyn Store, at: &TenantId, number: u8) -> Option<Bytes> {
    store.cached_answer(at, &key(number)).await.unwrap()
}

pub async fn an_answer_is_given_as_it_was_kept_until_it_is_replaced(store: Arc<dyn Store>) {
    let at = tenant(&fresh("t"));
    assert_eq!(read(&*store, &at, 1).await, None);
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for bytes in [b"\xff\x00\r\n".to_vec(), large, Vec::new()] {
        let answer = answer("p_one", bytes.clone(), PLENTY);
        assert!(store.keep_answer(&at, &key(1), &answer).await.unwrap());
        for _ in 0..2 {
            let read = read(&*store, &at, 1).await;
            assert!(read.is_some_and(|read| read == bytes));
        }
    }
    assert_eq!(read(&*store, &at, 2).await, None);
}

pub async fn answers_of_two_tenants_never_meet(store: Arc<dyn Store>) {
    let (one, other) = (tenant(&fresh("T")), tenant(&fresh("t")));
    keep(&*store, &one, 1, "ours", PLENTY).await;
    assert_eq!(read(&*store, &other, 1).await, None);
    keep(&*store, &other, 1, "theirs", PLENTY).await;

    assert_eq!(store.forget_answers(&other).await.unwrap(), 1);

    assert_eq!(read(&*store, &one, 1).await.unwrap(), "ours");
    assert_eq!(read(&*store, &other, 1).await, None);
}

pub async fn the_least_recently_used_answer_makes_space(store: Arc<dyn Store>) {
    let at = tenant(&fresh("t"));
    let most = 3 * (ANSWER_OVERHEAD_BYTES + 4);
    for number in 1..=3 {
        keep(&*store, &at, number, "text", most).await;
    }
    assert!(read(&*store, &at, 1).await.is_some());

    keep(&*store, &at, 4, "text", most).await;

    assert_eq!(read(&*store, &at, 2).await, None);
    for number in [1, 3, 4] {
        assert!(read(&*store, &at, number).await.is_some());
    }
    // One byte more, and another one must go.
    keep(&*store, &at, 4, "texts", most).await;
    assert_eq!(read(&*store, &at, 1).await, None);
    assert!(read(&*store, &at, 3).await.is_some());
}

pub async fn an_answer_larger_than_the_bound_changes_nothing(store: Arc<dyn Store>) {
    let at = tenant(&fresh("t"));
    let most = ANSWER_OVERHEAD_BYTES + 4;
    keep(&*store, &at, 1, "text", most).await;

    for number in [1, 2] {
        let larger = answer("p_one", "texts", most);
        assert!(!store.keep_answer(&at, &key(number), &larger).await.unwrap());
    }

    assert_eq!(read(&*store, &at, 1).await.unwrap(), "text");
    assert_eq!(read(&*store, &at, 2).await, None);
}

pub async fn answers_of_an_owner_are_forgotten_alone(store: Arc<dyn Store>) {
    let at = tenant(&fresh("t"));
    for number in 0..20 {
        let owner = ["p_one", "p:two: "][usize::from(number % 2)];
        let answer = answer(owner, "text", PLENTY);
        assert!(store.keep_answer(&at, &key(number), &answer).await.unwrap());
    }
    // The account that paid for it last is the owner.
    keep(&*store, &at, 1, "text", PLENTY).await;

    assert_eq!(store.forget_answers_of(&at, "p:two: ").await.unwrap(), 9);
    assert_eq!(store.forget_answers_of(&at, "p:two: ").await.unwrap(), 0);
    assert_eq!(store.forget_answers_of(&at, "p").await.unwrap(), 0);

    for number in 0..20 {
        let is_kept = number % 2 == 0 || number == 1;
        assert_eq!(read(&*store, &at, number).await.is_some(), is_kept);
    }
    assert_eq!(store.forget_answers(&at).await.unwrap(), 11);
}

pub async fn a_tenant_made_anew_has_no_answers_of_before(store: Arc<dyn Store>) {
    let at = tenant(&fresh("t"));
    store.seed_config(&at, "{}").await.unwrap();
    keep(&*store, &at, 1, "text", PLENTY).await;

    assert!(store.delete_tenant(&at).await.unwrap());

    store.seed_config(&at, "{}").await.unwrap();
    assert_eq!(read(&*store, &at, 1).await, None);
    keep(&*store, &at, 1, "anew", PLENTY).await;
    assert_eq!(read(&*store, &at, 1).await.unwrap(), "anew");
}

pub async fn more_answers_than_one_step_takes_are_forgotten(store: Arc<dyn Store>) {
    let at = tenant(&fresh("t"));
    let mut keys = Vec::new();
    for number in 0..700_u16 {
        let mut hash = [7; 32];
        hash[..2].copy_from_slice(&number.to_le_bytes());
        keys.push(AnswerKey::new(hash));
        let owner = if number < 600 { "p_one" } else { "p_two" };
        let answer = answer(owner, "text", PLENTY);
        assert!(
            store
                .keep_answer(&at, &keys[keys.len() - 1], &answer)
                .await
                .unwrap()
        );
    }
    // Much must go for one: it may take several calls, and the bound holds all along.
    let most = 250 * (ANSWER_OVERHEAD_BYTES + 4);
    assert!(
        store
            .keep_answer(&at, &keys[0], &answer("p_one", "text", most))
            .await
            .unwrap()
    );
    assert!(store.cached_answer(&at, &keys[0]).await.unwrap().is_some());
    assert!(
        store
            .cached_answer(&at, &keys[450])
            .await
            .unwrap()
            .is_none()
    );

    assert_eq!(store.forget_answers_of(&at, "p_one").await.unwrap(), 150);
    assert_eq!(store.forget_answers(&at).await.unwrap(), 100);

    for key in &keys {
        assert_eq!(store.cached_answer(&at, key).await.unwrap(), None);
    }
    assert_eq!(store.forget_answers(&at).await.unwrap(), 0);
}

pub async fn an_answer_ends_by_itself(store: Arc<dyn Store>) {
    let at = tenant(&fresh("t"));
    let short = NewAnswer {
        life: Millis(300),
        ..answer("p_one", "text", PLENTY)
    };
    assert!(store.keep_answer(&at, &key(1), &short).await.unwrap());
    keep(&*store, &at, 2, "stays", PLENTY).await;

    let begun = Instant::now();
    while read(&*store, &at, 1).await.is_some() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    assert_eq!(read(&*store, &at, 2).await.unwrap(), "stays");
    assert_eq!(store.forget_answers(&at).await.unwrap(), 1);
}

/// An answer that was under way while others of its tenant were forgotten is not kept: it may be one of these.
pub async fn an_answer_is_not_kept_on_a_shelf_that_is_gone(store: Arc<dyn Store>) {
    let at = tenant(&fresh("t"));
    for forgets_all in [false, true] {
        let found = store.find_answer(&at, &key(1)).await.unwrap();
        assert_eq!(found.answer, None);
        let again = store.find_answer(&at, &key(2)).await.unwrap();
        assert_eq!(found.shelf, again.shelf);
        let on_shelf = |shelf| NewAnswer {
            shelf: Some(shelf),
            ..answer("p_one", "text", PLENTY)
        };
        match forgets_all {
            true => store.forget_answers(&at).await.unwrap(),
            false => store.forget_answers_of(&at, "p_other").await.unwrap(),
        };

        let late = on_shelf(found.shelf.clone());
        assert!(!store.keep_answer(&at, &key(1), &late).await.unwrap());
        assert_eq!(read(&*store, &at, 1).await, None);

        let present = store.find_answer(&at, &key(1)).await.unwrap().shelf;
        assert_ne!(present, found.shelf);
        let kept = on_shelf(present);
        assert!(store.keep_answer(&at, &key(1), &kept).await.unwrap());
        assert_eq!(read(&*store, &at, 1).await.unwrap(), "text");
        store.forget_answers(&at).await.unwrap();
    }
}
