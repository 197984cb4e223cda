//! Tests of the lease budget ([`LeaseBudget`]): what it covers, asks for and gives back.

use super::super::account::Settlement;
use super::super::window::Limits;
use super::*;

const FRESH: Millis = Millis(20);

fn ask(id: &str, most: u64, open: u64) -> Admit<'_> {
    Admit {
        id,
        least: Tokens::new(1),
        most: Tokens::new(most),
        open: Tokens::new(open),
        known: Tokens::ZERO,
        limits: Limits::default(),
        ttl: Millis(60),
        key: None,
        created: Millis(0),
    }
}

/// A budget of `tokens` that the store granted at 1,000 ms.
fn filled(tokens: u64, most: u64, open: u64) -> LeaseBudget {
    let now = Millis(1_000);
    let mut budget = LeaseBudget::default();
    assert_eq!(budget.admit(now, &ask("first", most, open), false), None);
    let asked = budget.ask_at_once(now).unwrap();
    assert!(matches!(asked, Command::Ask { number: 1, .. }));
    budget.say(now).unwrap();
    let grant = Grant {
        tokens: Tokens::MAX,
        reserved: Tokens::new(tokens),
        left: Tokens::new(4 * tokens),
        ..Grant::default()
    };
    budget.granted(FRESH, &grant);
    budget
}

#[test]
fn request_is_held_whole_and_only_in_a_fresh_budget() {
    let mut budget = filled(100, 60, 0);
    let now = Millis(1_001);
    assert_eq!(
        budget
            .admit(now, &ask("a", 60, 0), false)
            .unwrap()
            .held
            .count(),
        60
    );
    assert_eq!(
        budget.admit(now, &ask("b", 60, 0), false),
        None,
        "40 are free"
    );
    assert_eq!(budget.settle("a", Tokens::new(10), "").count(), 390);
    assert_eq!(budget.free().count(), 90);
    assert!(
        budget
            .admit(Millis(1_019), &ask("c", 60, 0), false)
            .is_some()
    );
    assert!(budget.renew(Millis(1_019), "c", Millis(60)));
    assert_eq!(budget.admit(Millis(1_020), &ask("d", 60, 0), false), None);
    assert!(!budget.renew(Millis(1_020), "c", Millis(60)));
}

#[test]
fn a_call_without_a_limit_has_room_for_any_models_answer() {
    let mut budget = filled(200_000, 4_096, u64::MAX);
    let held = budget
        .admit(Millis(1_001), &ask("a", 4_096, u64::MAX), false)
        .unwrap()
        .held;
    assert_eq!(held.count(), MAX_OPEN_TOKENS);
}

#[test]
fn spending_is_reported_once_before_the_rest_is_returned() {
    let mut budget = filled(100, 60, 0);
    budget
        .admit(Millis(1_001), &ask("a", 60, 0), false)
        .unwrap();
    budget.settle("a", Tokens::new(10), "");
    let (told, again) = (budget.give_back(), budget.give_back());
    assert_eq!(told, again, "until it is answered");
    assert!(matches!(told, Some(Command::Report { spent, .. }) if spent.count() == 10));
    assert!(!budget.say(Millis(1_002)).unwrap().1);
    let (_, is_repeat) = budget.say(Millis(1_003)).unwrap();
    assert!(is_repeat, "the second time");
    let settlement = Settlement {
        charged: Tokens::new(10),
        overrun: Tokens::ZERO,
        left: Tokens::new(390),
    };
    let reported = Reported {
        settlement,
        reserved: Tokens::ZERO,
    };
    budget.reported(FRESH, &reported);
    assert!(matches!(
        budget.give_back(),
        Some(Command::Report { ends: true, .. })
    ));
    budget.say(Millis(1_004));
    budget.reported(FRESH, &reported);
    assert_eq!(budget.give_back(), None);
    assert!(budget.is_empty());
}

#[test]
fn uncertain_budget_admits_nothing_until_a_report_answer() {
    let mut budget = filled(100, 60, 0);
    let now = Millis(1_001);
    budget.mark_uncertain();
    assert_eq!(budget.admit(now, &ask("a", 1, 0), false), None);
    assert_eq!(budget.ask_at_once(now), None);
    assert!(matches!(
        budget.command(now, FRESH),
        Some(Command::Report { .. })
    ));
    budget.say(now).unwrap();
    assert_eq!(budget.begun(now), Some(Tokens::ZERO));
    assert_eq!(
        budget.begun(now.plus(MAX_REPLICATION_LOSS)),
        None,
        "it cannot be so young that it was forgotten"
    );
    let reported = Reported {
        settlement: Settlement {
            charged: Tokens::ZERO,
            overrun: Tokens::ZERO,
            left: Tokens::new(400),
        },
        reserved: Tokens::new(40),
    };
    // The answered command was sent before the second failover.
    budget.mark_uncertain();
    budget.reported(FRESH, &reported);
    assert_eq!(budget.admit(now, &ask("a", 1, 0), false), None);
    budget.command(now, FRESH).unwrap();
    budget.say(now).unwrap();
    budget.reported(FRESH, &reported);
    assert_eq!(budget.free().count(), 40, "what the store has set aside");
    assert!(budget.admit(now, &ask("a", 1, 0), false).is_some());
}

#[test]
fn budget_of_a_deleted_account_owes_nothing() {
    let mut budget = filled(100, 60, 0);
    budget
        .admit(Millis(1_001), &ask("a", 60, 0), false)
        .unwrap();
    budget.lost();
    assert!(!budget.is_empty(), "a request is under way");
    assert!(!budget.renew(Millis(1_001), "a", Millis(60)));
    budget.settle("a", Tokens::new(10), "");
    assert!(budget.is_empty());
    assert_eq!(budget.command(Millis(1_002), FRESH), None);
}
