//! Tests of the journal pages that a dead process leaves to the next one.

use super::*;

fn account() -> AccountName {
    AccountName::user("u1").unwrap()
}

fn left(text: &str) -> Vec<(String, u64)> {
    let mut left: Vec<_> = together(vec![Leftover::read_earlier(text)])
        .0
        .into_iter()
        .map(|open| (open.id, open.used.count()))
        .collect();
    left.sort();
    left
}

#[test]
fn begun_requests_without_an_end_are_unfinished() {
    let text = "B a 5 user:u1\nB b 0 apiKey:k\nK a 9\nE b\nB c 1 apiKey:k\nK c 2";
    assert_eq!(
        left(text),
        [("a".into(), 9), ("c".into(), 1)],
        "a torn line says nothing"
    );
    assert_eq!(left("nonsense\nB x y z\nE q\n\nB a b c d e\n"), []);
}

#[test]
fn open_lease_owes_its_unreported_spending() {
    let here = "L l 0 x\nL l apiKey:k\nb a 3 l\nb b 4 l\nS a 10 l\nK b 6\nL n apiKey:k\nS z 5 n\nX n\n\
                    L m apiKey:k\nS d 9 m\nR m 2 9\nA m 2\n";
    let there = "S c 7 l\nR l 5 10\nS y 3 n\nR l 5 10\n";
    let (unfinished, mut leases) = together(vec![
        Leftover::read_earlier(here),
        Leftover::read_earlier(there),
    ]);
    assert!(unfinished.is_empty());
    leases.sort_by(|a, b| a.name.cmp(&b.name));
    let owed = |lease: &OpenLease| {
        let in_doubt = lease.in_doubt.map(Tokens::count);
        (
            lease.number,
            in_doubt,
            lease.spent.count(),
            lease.known.count(),
        )
    };
    let owed: Vec<_> = leases.iter().map(owed).collect();
    assert_eq!(owed, [(5, Some(10), 7, 6), (2, None, 0, 0)]);
}

#[test]
fn only_journals_of_dead_processes_are_recovered() {
    let dir = std::env::temp_dir().join(format!("resullm-journal-{}", uuid::Uuid::new_v4()));
    let (first, legacy) = Journal::open(&dir).unwrap();
    assert!(legacy.unfinished.is_empty());
    first.begin(&account(), "r1", Tokens::new(5));
    first.begin(&account(), "r2", Tokens::new(6));
    first.context("r2", "\"tenant\":\"abc\"");
    first.know("r2", Tokens::new(7));
    first.decide("r2", Tokens::new(8), (Millis(7), "\"model\":\"a b\""));
    first.end("r1");
    let (second, legacy) = Journal::open(&dir).unwrap();
    assert!(legacy.unfinished.is_empty(), "the first one lives");
    drop(first);
    let (third, legacy) = Journal::open(&dir).unwrap();
    let expected = Unfinished {
        account: account(),
        id: "r2".into(),
        used: Tokens::new(8),
        decided: true,
    };
    assert_eq!(legacy.unfinished, [expected]);
    let unrecorded = Unrecorded {
        id: "r2".into(),
        context: "\"tenant\":\"abc\"".into(),
        settled: Some((Millis(7), "\"model\":\"a b\"".into())),
        cost: Tokens::new(8),
    };
    assert_eq!(legacy.unrecorded, [unrecorded]);
    legacy.delete();
    second.finish();
    drop((second, third));
    let (last, legacy) = Journal::open(&dir).unwrap();
    assert!(legacy.unfinished.is_empty());
    legacy.delete();
    last.finish();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nothing is left");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_long_journal_is_written_anew_and_loses_nothing() {
    let dir = std::env::temp_dir().join(format!("resullm-journal-{}", uuid::Uuid::new_v4()));
    let (journal, _) = Journal::open(&dir).unwrap();
    journal.begin(&account(), "kept", Tokens::new(7));
    journal.lease(&account(), "lease");
    journal.begin_leased("lease", "kept too", Tokens::new(8));
    for i in 0..100_000 {
        let id = format!("request-{i}");
        journal.begin(&account(), &id, Tokens::new(1));
        journal.end(&id);
        journal.begin_leased("lease", &id, Tokens::new(1));
        journal.spend("lease", &id, Tokens::new(2), (Millis(7), "\"model\":null"));
        journal.recorded([id.as_str()].into_iter());
        if i % 1_000 == 999 {
            journal.report("lease", i, Tokens::new(2_000));
        }
        if i % 2_000 == 999 {
            journal.heard("lease", i);
        }
    }
    let size: u64 = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 2 * page::REWRITE_ABOVE_BYTES, "{size}");
    drop(journal);
    let (_, legacy) = Journal::open(&dir).unwrap();
    assert_eq!(legacy.unfinished.len(), 1);
    let lease = &legacy.leases[0];
    let in_doubt = lease.in_doubt.map(Tokens::count);
    assert_eq!(
        (lease.number, in_doubt, lease.spent.count()),
        (99_999, Some(2_000), 0)
    );
    fs::remove_dir_all(dir).unwrap();
}
