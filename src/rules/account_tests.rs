//! Tests of the verbs of [`Account`], one after the other and in every order.

use super::*;

const NOW: Millis = Millis(1_000_000);
const TTL: Millis = Millis(60_000);

/// Returns the books without the ledger's tally.
fn encumbrances(account: &Account) -> Books {
    Books {
        tally: None,
        ..account.books.clone()
    }
}

fn account(left: u64) -> Account {
    Account::new(Tokens::new(left), Books::default())
}

fn ask(id: &str, least: u64, most: u64) -> Admit<'_> {
    Admit {
        id,
        least: Tokens::new(least),
        most: Tokens::new(most),
        open: Tokens::ZERO,
        known: Tokens::new(least),
        limits: Limits::default(),
        ttl: TTL,
        key: None,
        created: Millis(0),
    }
}

fn held(admission: Verdict) -> u64 {
    match admission {
        Verdict::Granted { held, .. } => held.count(),
        other => panic!("not held: {other:?}"),
    }
}

#[test]
fn holds_never_promise_more_than_there_is() {
    let mut account = account(100);
    assert_eq!(
        held(account.admit(NOW, Orphans::Known, &ask("a", 10, 70))),
        70
    );
    assert_eq!(
        held(account.admit(NOW, Orphans::Known, &ask("b", 10, 70))),
        30
    );
    let refused = account.admit(NOW, Orphans::Known, &ask("c", 10, 70));
    assert!(matches!(refused, Verdict::Held { .. }));
    let spent = account.admit(NOW, Orphans::Known, &ask("d", 101, 200));
    assert!(matches!(spent, Verdict::Spent { .. }));
    assert_eq!(account.left, Tokens::new(100));
}

#[test]
fn a_call_without_a_limit_may_have_a_quarter_of_what_is_free() {
    let mut account = account(1000);
    let open = Admit {
        open: Tokens::MAX,
        ..ask("a", 20, 100)
    };
    assert_eq!(held(account.admit(NOW, Orphans::Known, &open)), 270);
    let open = Admit {
        open: Tokens::MAX,
        ..ask("b", 20, 500)
    };
    assert_eq!(held(account.admit(NOW, Orphans::Known, &open)), 500);
    let capped = Admit {
        open: Tokens::new(60),
        ..ask("c", 20, 50)
    };
    assert_eq!(held(account.admit(NOW, Orphans::Known, &capped)), 60);
}

#[test]
fn the_same_request_twice_is_one_hold() {
    let mut account = account(100);
    let mut request = ask("a", 10, 70);
    request.limits.window = Some(Window {
        requests: 1,
        span: Millis(1000),
    });
    assert_eq!(held(account.admit(NOW, Orphans::Known, &request)), 70);
    assert_eq!(held(account.admit(NOW, Orphans::Known, &request)), 70);
    assert_eq!(account.free(), Tokens::new(30));
}

#[test]
fn a_refused_call_takes_no_hold_and_no_place_in_the_window() {
    let mut account = account(5);
    let mut request = ask("a", 10, 70);
    request.limits.window = Some(Window {
        requests: 1,
        span: Millis(1000),
    });
    account.admit(NOW, Orphans::Known, &request);
    assert!(account.books.is_empty());
}

#[test]
fn an_account_has_only_so_many_requests_in_flight() {
    let mut account = account(100);
    let limits = Limits {
        window: Some(Window {
            requests: 3,
            span: Millis(1000),
        }),
        concurrent: Some(2),
        refill: None,
    };
    let ask = |id, least| Admit {
        limits,
        ..ask(id, least, least)
    };
    let mut admit = |id, least| account.admit(NOW, Orphans::Known, &ask(id, least));
    assert_eq!(held(admit("a", 10)), 10);
    assert_eq!(held(admit("b", 10)), 10);
    assert_eq!(held(admit("b", 10)), 10, "the same one is not another");
    assert!(matches!(admit("c", 10), Verdict::TooManyInFlight { .. }));
    let too_much = admit("c", 90);
    assert!(
        matches!(too_much, Verdict::TooManyInFlight { .. }),
        "{too_much:?}"
    );
    let never = admit("c", 101);
    assert!(matches!(never, Verdict::Spent { .. }), "{never:?}");
    account.settle(NOW, Orphans::Known, "a", Tokens::new(1), false, "");
    // Refused requests were not counted in the window.
    let mut admit = |id, least| account.admit(NOW, Orphans::Known, &ask(id, least));
    assert_eq!(held(admit("c", 10)), 10);
    assert!(matches!(admit("d", 10), Verdict::RateLimited { .. }));
    let later = NOW.plus(TTL);
    let orphaned = account.admit(later, Orphans::Known, &ask("d", 10));
    assert_eq!(
        held(orphaned),
        10,
        "a hold that has run out is not in flight"
    );
}

#[test]
fn a_settlement_is_charged_once() {
    let mut account = account(100);
    account.admit(NOW, Orphans::Known, &ask("a", 10, 70));
    let first = account.settle(NOW, Orphans::Known, "a", Tokens::new(25), false, "");
    assert_eq!((first.charged.count(), first.left.count()), (25, 75));
    let again = account.settle(NOW, Orphans::Known, "a", Tokens::new(25), true, "");
    assert_eq!((again.charged.count(), again.left.count()), (0, 75));
    assert_eq!(account.free(), Tokens::new(75));
}

#[test]
fn a_command_that_arrives_after_its_repeat_does_nothing() {
    let mut account = account(100);
    account.admit(NOW, Orphans::Known, &ask("a", 10, 70));
    for retry in [true, false, true] {
        let settled = account.settle(NOW, Orphans::Known, "a", Tokens::new(25), retry, "");
        assert_eq!(settled.left.count(), 75);
    }
    let late = account.admit(NOW, Orphans::Known, &ask("a", 10, 70));
    assert!(matches!(late, Verdict::Held { .. }));
    assert_eq!(account.free().count(), 75);
}

#[test]
fn late_settlement_of_an_orphan_charges_the_difference() {
    for (orphans, at_expiry, after) in [(Orphans::Known, 90, 75), (Orphans::Spend, 30, 30)] {
        let mut account = account(100);
        account.admit(NOW, orphans, &ask("a", 10, 70));
        let later = NOW.plus(TTL);
        assert_eq!(
            account
                .look(later, orphans, Limits::default(), Millis(0))
                .left
                .count(),
            at_expiry
        );
        let late = account.settle(later, orphans, "a", Tokens::new(25), false, "");
        assert_eq!(late.left.count(), after);
        let again = account.settle(later, orphans, "a", Tokens::new(25), true, "");
        assert_eq!(again.left.count(), after);
    }
}

#[test]
fn an_overrun_is_counted_and_the_balance_stays_at_nothing() {
    let mut account = account(10);
    account.admit(NOW, Orphans::Known, &ask("a", 1, 10));
    let settled = account.settle(NOW, Orphans::Known, "a", Tokens::new(25), false, "");
    assert_eq!((settled.charged.count(), settled.overrun.count()), (10, 15));
    assert_eq!(
        account
            .look(NOW, Orphans::Known, Limits::default(), Millis(0))
            .overrun
            .count(),
        15
    );
}

#[test]
fn a_lease_takes_a_quarter_at_most_and_its_repeat_takes_nothing() {
    let mut account = account(100);
    let ask = Ask {
        instance: "i",
        number: 1,
        tokens: Tokens::new(1000),
        slots: 0,
        window: None,
        ttl: TTL,
        told: Tokens::ZERO,
    };
    assert_eq!(account.lease(NOW, Orphans::Known, &ask).tokens.count(), 25);
    assert_eq!(account.lease(NOW, Orphans::Known, &ask).tokens.count(), 25);
    assert_eq!(account.free().count(), 75);
    let report = Report {
        instance: "i",
        number: 2,
        spent: Tokens::new(10),
        back: Tokens::new(15),
        ttl: TTL,
        retry: false,
        ends: false,
        before: None,
        begun: None,
        lines: &[],
    };
    account.report(NOW, Orphans::Known, &report);
    account.report(NOW, Orphans::Known, &report);
    assert_eq!((account.left.count(), account.free().count()), (90, 90));
    let end = Report {
        number: 3,
        spent: Tokens::ZERO,
        ends: true,
        ..report
    };
    account.report(NOW, Orphans::Known, &end);
    assert!(encumbrances(&account).is_empty(), "nothing is kept of it");
}

#[test]
fn late_lease_report_charges_the_difference() {
    for (orphans, left) in [(Orphans::Known, 90), (Orphans::Spend, 75)] {
        let mut account = account(100);
        let ask = Ask {
            instance: "i",
            number: 1,
            tokens: Tokens::new(25),
            slots: 0,
            window: None,
            ttl: TTL,
            told: Tokens::ZERO,
        };
        account.lease(NOW, orphans, &ask);
        let report = Report {
            instance: "i",
            number: 2,
            spent: Tokens::new(10),
            back: Tokens::ZERO,
            ttl: TTL,
            retry: false,
            ends: false,
            before: None,
            begun: None,
            lines: &[],
        };
        account.report(NOW.plus(TTL), orphans, &report);
        account.report(NOW.plus(TTL), orphans, &report);
        assert_eq!(account.left.count(), left);
    }
}

#[test]
fn replayed_settlement_is_charged_if_its_hold_is_back() {
    let mut account = account(100);
    account.admit(NOW, Orphans::Known, &ask("a", 10, 70));
    let mut older = account.clone();
    account.settle(NOW, Orphans::Known, "a", Tokens::new(25), false, "");
    for account in [&mut account, &mut older] {
        for _ in 0..2 {
            account.resettle(NOW, Orphans::Known, "a", Tokens::new(25), "");
            assert_eq!(account.left.count(), 75);
            assert!(encumbrances(account).is_empty());
        }
    }
}

#[test]
fn replayed_settlement_after_expiry_charges_the_rest_once() {
    for (orphans, left) in [(Orphans::Known, 75), (Orphans::Spend, 30)] {
        let mut account = account(100);
        account.admit(NOW, orphans, &ask("a", 10, 70));
        for _ in 0..2 {
            account.resettle(NOW.plus(TTL), orphans, "a", Tokens::new(25), "");
            assert_eq!(account.left.count(), left);
        }
    }
}

fn lent(tokens: u64) -> Ask<'static> {
    Ask {
        instance: "i",
        number: 1,
        tokens: Tokens::new(tokens),
        slots: 0,
        window: None,
        ttl: TTL,
        told: Tokens::ZERO,
    }
}

fn spent(number: u64, spent: u64, before: u64) -> Report<'static> {
    Report {
        instance: "i",
        number,
        spent: Tokens::new(spent),
        back: Tokens::ZERO,
        ttl: TTL,
        retry: false,
        ends: false,
        before: Some(Tokens::new(before)),
        begun: None,
        lines: &[],
    }
}

#[test]
fn the_next_report_charges_all_that_was_forgotten() {
    let mut account = account(400);
    account.lease(NOW, Orphans::Known, &lent(100));
    account.report(NOW, Orphans::Known, &spent(2, 10, 0));
    let mut older = account.clone();
    for (number, before) in [(3, 10), (4, 20), (5, 30)] {
        account.report(NOW, Orphans::Known, &spent(number, 10, before));
    }
    // The instance may ask for more before it reports.
    let ask = Ask {
        number: 6,
        ..lent(0)
    };
    for account in [&mut account, &mut older] {
        account.lease(NOW, Orphans::Known, &ask);
        for _ in 0..2 {
            account.report(NOW, Orphans::Known, &spent(7, 5, 40));
            assert_eq!(account.left.count(), 355);
        }
    }
    assert_eq!(encumbrances(&older), encumbrances(&account));
    let late = NOW.plus(TTL);
    older.report(late, Orphans::Known, &spent(9, 1, 60));
    assert_eq!(older.left.count(), 339, "its lease has expired meanwhile");
}

#[test]
fn forgotten_lease_is_charged_once_and_reserves_nothing() {
    let mut account = account(400);
    let report = Report {
        begun: Some(Tokens::new(30)),
        retry: true,
        ..spent(7, 5, 90)
    };
    for _ in 0..2 {
        let reported = account.report(NOW, Orphans::Known, &report);
        assert_eq!(account.left.count(), 365);
        assert_eq!(reported.reserved, Tokens::ZERO);
    }
    let ask = Ask {
        number: 8,
        told: Tokens::new(95),
        ..lent(10)
    };
    account.lease(NOW, Orphans::Known, &ask);
    account.report(NOW, Orphans::Known, &spent(9, 5, 95));
    assert_eq!(account.left.count(), 360);
    let end = Report {
        ends: true,
        ..spent(10, 0, 100)
    };
    account.report(NOW, Orphans::Known, &end);
    assert!(encumbrances(&account).is_empty(), "nothing is kept of it");
}

#[test]
fn a_credit_counts_once() {
    let mut account = account(100);
    account.credit(NOW, Orphans::Known, &Credit::of("c", Tokens::new(50)));
    let again = account.credit(NOW, Orphans::Known, &Credit::of("c", Tokens::new(50)));
    assert_eq!(
        again,
        Credited::Repeated {
            left: Tokens::new(150)
        }
    );
    assert_eq!(
        account.credit(NOW, Orphans::Known, &Credit::of("d", Tokens::MAX)),
        Credited::TooMuch {
            room: Tokens::MAX.minus(account.left)
        }
    );
}

#[test]
fn a_report_is_posted_request_by_request_as_far_as_it_is_charged() {
    let line = |id: &str, cost| ReportLine {
        id: id.to_owned(),
        cost: Tokens::new(cost),
        note: r#"{"model":"m"}"#.to_owned(),
    };
    let lines = [line("a", 30), line("b", 40), line("", 30)];
    let told = |account: &Account| -> Vec<(String, i64, u64)> {
        let postings = account.postings.iter().skip(1);
        postings
            .map(|one| (one.id.clone(), one.amount, one.overrun.count()))
            .collect()
    };
    let post = |id: &str, amount, overrun| (id.to_owned(), amount, overrun);
    for (left, begun, expected) in [
        (
            500,
            None,
            vec![post("a", -30, 0), post("b", -40, 0), post("", -30, 0)],
        ),
        // More than the balance.
        (
            50,
            None,
            vec![post("a", -30, 0), post("b", -20, 20), post("", 0, 30)],
        ),
        // With earlier reports that the store has forgotten.
        (
            500,
            Some(Tokens::new(7)),
            vec![
                post("i", -7, 0),
                post("a", -30, 0),
                post("b", -40, 0),
                post("", -30, 0),
            ],
        ),
    ] {
        let mut account = account(left);
        let report = Report {
            lines: &lines,
            begun,
            ..spent(7, 100, 7)
        };
        account.report(NOW, Orphans::Known, &report);
        assert_eq!(told(&account), expected);
    }
}

#[test]
fn a_report_after_its_lease_expired_posts_the_rest() {
    let mut account = account(500);
    account.lease(NOW, Orphans::Spend, &lent(100));
    let line = |id: &str, cost| ReportLine {
        id: id.to_owned(),
        cost: Tokens::new(cost),
        note: String::new(),
    };
    let lines = [line("a", 80), line("b", 60)];
    let report = Report {
        lines: &lines,
        ..spent(2, 140, 0)
    };
    account.report(NOW.plus(TTL), Orphans::Spend, &report);
    let told: Vec<(Reason, &str, i64)> = account
        .postings
        .iter()
        .map(|one| (one.reason, one.id.as_str(), one.amount))
        .collect();
    let expected = [
        (Reason::Opened, "", 500),
        (Reason::Expired, "i", -100),
        (Reason::Settled, "b", -40),
    ];
    assert_eq!(told, expected);
}
