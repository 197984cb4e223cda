//! Sums of a bill: whatever its attempts report, each is charged once, and a kept answer costs its fee.

use super::*;
use crate::dialect::extras::Hosted;
use crate::rules::charge::Sizes;
use crate::rules::issued_key::KeyId;
use crate::store::tenants::Tenant;
use proptest::prelude::*;
use serde_json::json;

const PROMPT: u64 = 20;

/// How the meter ended.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Concluded,
    BrokeOff,
    /// The attempt was given up before its answer ended.
    GivenUp,
}

#[derive(Clone, Debug)]
struct Attempt {
    accepted: bool,
    input: Option<u64>,
    output: Option<u64>,
    text: usize,
    failed: bool,
    complete: bool,
    ending: Ending,
}

impl Attempt {
    fn reading(&self) -> Reading {
        let mut delivered = Delivered::default();
        if self.text > 0 {
            delivered.text(&"word ".repeat(self.text));
        }
        let input = self.input.map(|input| Usage {
            uncached_input: Tokens::new(input),
            ..Usage::default()
        });
        Reading {
            claim: Claim {
                input,
                output: self.output.map(Tokens::new),
                others: Vec::new(),
            },
            is_final: self.complete,
            complete: self.complete,
            failed: self.failed,
            delivered,
            ..Reading::default()
        }
    }

    /// Returns the tokens that the provider reports. Text that is more than its report is not believed.
    fn reported(&self) -> u64 {
        match self.accepted {
            true => self.input.unwrap_or(0) + self.output.unwrap_or(0),
            false => 0,
        }
    }

    fn play(&self, bill: &mut Bill) {
        bill.set_accepted(self.accepted);
        let reading = self.reading();
        match self.ending {
            Ending::Concluded => bill.conclude(&reading),
            Ending::BrokeOff => bill.broke_off(&reading),
            Ending::GivenUp => bill.observe(&reading),
        }
    }
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let endings = prop_oneof![
        Just(Ending::Concluded),
        Just(Ending::BrokeOff),
        Just(Ending::GivenUp)
    ];
    let counts = || proptest::option::of(0u64..300);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (flags, counts(), counts(), 0usize..40, endings).prop_map(
        |((accepted, failed, complete), input, output, text, ending)| Attempt {
            accepted,
            input,
            output,
            text,
            failed,
            complete,
            ending,
        },
    )
}

#[derive(Clone, Debug)]
enum Last {
    Answer(Attempt),
    /// A kept answer, for this share of what is left.
    Kept {
        percent: u64,
    },
    None,
}

fn last() -> impl Strategy<Value = Last> {
    prop_oneof![
        3 => attempt().prop_map(Last::Answer),
        1 => (0u64..=100).prop_map(|percent| Last::Kept { percent }),
        1 => Just(Last::None),
    ]
}

fn terms() -> Arc<Terms> {
    let tenant = Tenant::of(&json!({"user_groups": {"anonymous": {"tokens": 1}}}));
    Arc::new(Terms {
        rate: Rate::default(),
        tenant: Arc::new(tenant),
        prompt: Tokens::new(PROMPT),
        beyond: Tokens::ZERO,
        text: Some("Once upon a time".into()),
        is_exact: false,
        free: false,
        no_text: false,
        unreported: None,
        shows_all: true,
        has_many: false,
        reports_one: false,
        sizes: Sizes {
            image_answer: 0,
            sound_second: 0,
        },
        hosted: Hosted::default(),
    })
}

fn open(held: u64) -> Box<Bill> {
    let hold = Hold {
        account: AccountName::user("someone").unwrap(),
        id: "a".to_owned(),
        held: Tokens::new(held),
        lease: None,
    };
    let labels = Labels {
        account: String::new(),
        key: KeyId::of("user_1"),
        group: "anonymous".into(),
        issued: None,
        endpoint: "one".into(),
        model: None,
        call: "chat/completions",
    };
    Bill::open(hold, Instant::now(), terms(), labels)
}

proptest! {
    #[test]
    fn each_attempt_is_charged_once_and_within_the_hold(
        held in 0u64..2_000,
        attempts in proptest::collection::vec(attempt(), 0..4),
        last in last(),
    ) {
        let mut bill = open(held);
        let (mut reported, mut exceeds) = (0, false);
        for (number, attempt) in attempts.iter().enumerate() {
            let left = bill.held().count();
            attempt.play(&mut bill);
            bill.fail_attempt("failed");
            reported += attempt.reported();
            exceeds |= attempt.reported() > left;
            let (failed, is_over) = bill.failed_attempts();
            prop_assert_eq!(failed.len(), number + 1);
            prop_assert!(!is_over);
            let cost = failed[number].cost.count();
            // Text without a report is bounded by what is left of the hold.
            prop_assert!(cost >= attempt.reported(), "{attempt:?}: {cost}");
            prop_assert!(cost <= attempt.reported().max(left), "{attempt:?}: {cost}");
            prop_assert!(attempt.accepted || cost == 0, "{attempt:?}: {cost}");
            let failed: Tokens = failed.iter().map(|failed| failed.cost).sum();
            prop_assert_eq!(bill.held(), Tokens::new(held).minus(failed));
            bill.begin_attempt("other".into(), None, terms());
        }
        let failed: Tokens = bill.failed_attempts().0.iter().map(|failed| failed.cost).sum();
        let left = bill.held().count();
        let most = match &last {
            Last::Answer(answer) => {
                answer.play(&mut bill);
                reported += answer.reported();
                exceeds |= answer.reported() > left;
                answer.reported().max(left)
            }
            Last::Kept { percent } => {
                let fee = Tokens::new(left).percent_up(*percent);
                bill.serve_cached(fee, None, "other");
                fee.count()
            }
            Last::None => {
                bill.end_attempts();
                0
            }
        };
        let (hold, charge) = bill.close().unwrap();
        prop_assert_eq!(hold.held, Tokens::new(held));
        let own = charge.cost.minus(failed).count();
        prop_assert_eq!(charge.cost, failed.plus(Tokens::new(own)), "nothing of the attempts before is dropped");
        prop_assert!(own <= most, "{own} of {most}");
        if let Last::Kept { .. } = last {
            prop_assert_eq!(own, most);
            prop_assert_eq!(charge.basis, Basis::Cached);
        }
        prop_assert!(charge.cost.count() >= reported, "{} of {reported} reported", charge.cost);
        // Only a report beyond what was left may exceed the hold.
        prop_assert!(exceeds || charge.cost.count() <= held, "{} of {held}", charge.cost);
        prop_assert!(bill.close().is_none(), "a bill is settled once");
    }
}
