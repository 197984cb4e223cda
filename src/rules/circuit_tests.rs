//! Tests of the circuit breaker: who can open it, for whom, and what closes it.

use super::*;
use proptest::prelude::*;

/// A circuit with a clock of its own.
struct Case {
    circuit: Circuit,
    now: Instant,
}

impl Case {
    fn new() -> Case {
        Case {
            circuit: Circuit::default(),
            now: Instant::now(),
        }
    }

    fn call(&mut self, account: u64, heard: Heard) -> Option<Change> {
        self.circuit.begin(account, self.now);
        self.circuit.end(account, heard, self.now, self.now)
    }

    fn fail(&mut self, accounts: impl IntoIterator<Item = u64>) -> Vec<Change> {
        let accounts = accounts.into_iter();
        accounts
            .filter_map(|account| self.call(account, Heard::Failed))
            .collect()
    }

    fn pass(&self, account: u64) -> Pass {
        self.circuit.pass(account, self.now)
    }

    fn wait(&mut self, span: Duration) {
        self.now += span;
    }
}

#[test]
fn three_failing_accounts_open_it_for_everybody() {
    let mut case = Case::new();
    assert_eq!(case.fail([1, 1, 1, 1, 2]), []);
    let opened = Change::Opened {
        failures: 6,
        accounts: 3,
    };
    assert_eq!(case.fail([3]), [opened]);
    assert_eq!(case.pass(9), Pass::Blocked);
    case.wait(FIRST_PAUSE);
    assert_eq!(case.pass(9), Pass::Probe);
}

#[test]
fn one_account_puts_out_itself_and_nobody_else() {
    let mut case = Case::new();
    case.call(2, Heard::Answered);
    assert_eq!(case.fail([1; 19]), []);
    assert_eq!(case.pass(1), Pass::Free);
    assert_eq!(case.fail([1; 500]), []);
    assert_eq!((case.pass(1), case.pass(2)), (Pass::Blocked, Pass::Free));
    case.wait(LONGEST_PAUSE);
    assert_eq!(case.pass(1), Pass::Probe);
    case.call(1, Heard::Answered);
    assert_eq!(case.pass(1), Pass::Free);
}

#[test]
fn accounts_that_succeed_outvote_as_many_that_fail() {
    let mut case = Case::new();
    for account in 10..14 {
        case.call(account, Heard::Answered);
    }
    assert_eq!(case.fail([1, 2, 3, 1, 2, 3, 1, 2, 3]), []);
    assert_eq!(case.fail([4]).len(), 1);
}

#[test]
fn what_was_heard_long_ago_does_not_count() {
    let mut case = Case::new();
    case.fail([1, 1, 2, 2]);
    case.wait(WINDOW);
    assert_eq!(case.fail([3, 3, 3]), []);
}

#[test]
fn one_probe_at_a_time_decides() {
    let mut case = Case::new();
    case.fail([1, 2, 3, 1, 2]);
    case.wait(FIRST_PAUSE);
    let begun = case.now;
    case.circuit.begin(7, begun);
    assert_eq!(case.pass(8), Pass::Blocked);
    // A probe that tells nothing leaves its place to the next.
    case.circuit.end(7, Heard::Unsure, begun, case.now);
    assert_eq!(case.pass(8), Pass::Probe);
    case.call(8, Heard::Failed);
    assert_eq!(case.pass(7), Pass::Blocked);
    case.wait(FIRST_PAUSE);
    assert_eq!(case.pass(7), Pass::Blocked);
    case.wait(FIRST_PAUSE);
    // The pause has doubled, and accounts that have probed in vain leave the next probe to others.
    assert_eq!((case.pass(7), case.pass(8)), (Pass::Blocked, Pass::Blocked));
    assert_eq!(case.pass(9), Pass::Probe);
    assert_eq!(case.call(9, Heard::Answered), Some(Change::Closed));
    assert_eq!(case.pass(8), Pass::Free);
}

/// Accounts that fail on purpose, and call all the time.
#[test]
fn few_failing_accounts_cannot_keep_it_open() {
    let mut case = Case::new();
    case.fail([1, 2, 3, 1, 2, 3]);
    assert!(case.circuit.is_open());
    let mut closed = 0;
    for _ in 0..1_200 {
        case.wait(Duration::from_millis(100));
        for account in [1, 2, 3] {
            if case.pass(account) != Pass::Blocked {
                case.call(account, Heard::Failed);
            }
        }
        if case.pass(9) != Pass::Blocked && case.call(9, Heard::Answered).is_some() {
            closed += 1;
        }
    }
    assert!((1..=5).contains(&closed), "{closed}");
    assert_eq!(case.pass(9), Pass::Free);
    // Each of them is passed by alone.
    let blocked = [1, 2, 3].map(|account| case.pass(account) != Pass::Free);
    assert_eq!(blocked, [true; 3]);
}

#[test]
fn probes_that_hang_keep_nobody_from_probing_for_long() {
    let mut case = Case::new();
    case.fail([1, 2, 3, 1, 2, 3]);
    case.wait(FIRST_PAUSE);
    for account in [7, 8] {
        assert_eq!(case.pass(account), Pass::Probe);
        case.circuit.begin(account, case.now);
        assert_eq!(case.pass(9), Pass::Blocked);
        case.wait(PROBE_TIMEOUT);
        assert_eq!(case.pass(account), Pass::Blocked);
    }
    assert_eq!(case.pass(9), Pass::Probe);
    assert_eq!(case.call(9, Heard::Answered), Some(Change::Closed));
}

#[test]
fn answers_to_calls_from_before_the_opening_close_nothing() {
    let mut case = Case::new();
    let before = case.now;
    case.wait(Duration::from_secs(1));
    case.fail([1, 2, 3, 1, 2]);
    assert_eq!(case.circuit.end(5, Heard::Answered, before, case.now), None);
    assert_eq!(case.pass(5), Pass::Blocked);
}

proptest! {
    #[test]
    fn two_accounts_never_open_it_for_others(
        calls in prop::collection::vec((0u64..2, any::<bool>(), 0u64..20_000), 0..400),
    ) {
        let mut case = Case::new();
        for (account, fails, millis) in calls {
            case.wait(Duration::from_millis(millis));
            case.call(account, if fails { Heard::Failed } else { Heard::Answered });
            prop_assert_eq!(case.pass(9), Pass::Free);
        }
    }

    #[test]
    fn it_is_never_closed_to_everybody_for_longer_than_the_longest_pause(
        calls in prop::collection::vec((0u64..9, any::<bool>(), 0u64..9_000), 0..400),
    ) {
        let mut case = Case::new();
        for (account, fails, millis) in calls {
            case.wait(Duration::from_millis(millis));
            case.call(account, if fails { Heard::Failed } else { Heard::Answered });
        }
        prop_assert!(case.circuit.voices.len() <= MAX_VOICES);
        case.wait(LONGEST_PAUSE);
        prop_assert_ne!(case.pass(99), Pass::Blocked);
        case.wait(PAUSES_BETWEEN_PROBES * LONGEST_PAUSE);
        for account in 0..9 {
            prop_assert_ne!(case.pass(account), Pass::Blocked);
        }
    }
}
