//! Tests of [`charge`]: case by case, and properties that hold for any provider and any client.

use super::*;
use proptest::prelude::*;

/// A [`Bound`] with fixed counts.
struct Counted {
    prompt: u64,
    output: u64,
}

impl Bound for Counted {
    fn prompt(&self) -> Tokens {
        Tokens::new(self.prompt)
    }

    fn output(&self) -> Tokens {
        Tokens::new(self.output)
    }
}

const COUNTED: Counted = Counted {
    prompt: 40,
    output: 90,
};
const HELD: u64 = 1_000;

fn claim(input: Option<u64>, output: Option<u64>) -> Claim {
    Claim {
        input: input.map(|tokens| Usage {
            uncached_input: Tokens::new(tokens),
            ..Usage::default()
        }),
        output: output.map(Tokens::new),
        others: Vec::new(),
    }
}

fn evidence(claim: &Claim, end: End) -> Evidence<'_> {
    Evidence {
        claim: Some(claim),
        end,
        least: Tokens::new(20),
        has_content: true,
        has_prompt: true,
        shows_all: false,
        reports_one: false,
        is_absurd: false,
        unreported: None,
    }
}

#[test]
fn a_count_that_no_call_can_have_is_none() {
    let (kept, is_absurd) = claim(Some(1 << 62), Some(90)).credible();
    assert_eq!((kept, is_absurd), (claim(None, Some(90)), true));
    let (kept, is_absurd) = claim(Some(40), Some(u64::MAX)).credible();
    assert_eq!((kept, is_absurd), (claim(Some(40), None), true));
    let honest = claim(Some(10_000_000), Some(1_000_000));
    assert_eq!(honest.clone().credible(), (honest, false));

    let (kept, is_absurd) = claim(Some(40), Some(1 << 62)).credible();
    let evidence = Evidence {
        is_absurd,
        ..evidence(&kept, End::Whole)
    };

    assert_eq!(
        charged(&evidence),
        (130, Basis::Counted, Some(Doubt::Absurd))
    );
}

fn charged(evidence: &Evidence<'_>) -> (u64, Basis, Option<Doubt>) {
    let rate_of = |_: &str| Rate::flat(2_000_000);
    let held = Tokens::new(HELD);
    let charge = charge(evidence, held, Rate::default(), rate_of, &COUNTED);
    (charge.cost.count(), charge.basis, charge.doubt)
}

#[test]
fn claim_is_believed_unless_delivery_contradicts_it() {
    for (input, output, expected) in [
        (Some(30), Some(50), (80, Basis::Reported, None)),
        (Some(30), Some(20), (50, Basis::Reported, None)),
        (
            Some(30),
            Some(19),
            (120, Basis::Counted, Some(Doubt::BelowDelivered)),
        ),
        (Some(0), Some(0), (130, Basis::Counted, Some(Doubt::Zero))),
        (Some(30), Some(0), (120, Basis::Counted, Some(Doubt::Zero))),
        (Some(0), Some(50), (90, Basis::Counted, Some(Doubt::Zero))),
        (None, None, (130, Basis::Counted, None)),
        (None, Some(500), (540, Basis::Counted, None)),
        // A claim above the hold is believed: it is the provider's own.
        (Some(30), Some(5_000), (5_030, Basis::Reported, None)),
    ] {
        let claim = claim(input, output);
        let charged = charged(&evidence(&claim, End::Whole));
        assert_eq!(charged, expected, "{input:?} {output:?}");
    }
}

#[test]
fn leaving_is_no_discount() {
    let running = claim(Some(30), Some(50));
    let cut = evidence(&running, End::Cut);
    assert_eq!(charged(&cut), (HELD, Basis::Held, None));
    let shown = Evidence {
        shows_all: true,
        ..cut
    };
    assert_eq!(charged(&shown), (120, Basis::Counted, None));
    let beyond = claim(Some(30), Some(5_000));
    assert_eq!(
        charged(&evidence(&beyond, End::Cut)),
        (5_030, Basis::Held, None)
    );
}

#[test]
fn a_failure_costs_what_it_carries() {
    let nothing = Claim::default();
    let failed = evidence(&nothing, End::Failed);
    assert_eq!(charged(&failed), (130, Basis::Counted, None));
    let empty = Evidence {
        has_content: false,
        least: Tokens::ZERO,
        ..failed
    };
    assert_eq!(charged(&empty), (0, Basis::Nothing, None));
    let told = claim(Some(30), Some(50));
    let told = Evidence {
        claim: Some(&told),
        ..empty
    };
    assert_eq!(charged(&told), (80, Basis::Reported, None));
}

#[test]
fn unreported_usage_is_charged_at_the_models_rate() {
    let nothing = Claim::default();
    let unreported = Some(Usage {
        output: Tokens::new(300),
        ..Usage::default()
    });
    let seen = Evidence {
        unreported,
        ..evidence(&nothing, End::Whole)
    };
    let at = |millionths| {
        let rate = Rate::flat(millionths);
        let held = Tokens::new(6_000);
        charge(&seen, held, rate, |_| rate, &COUNTED).cost.count()
    };
    assert_eq!((at(20_000_000), at(0), at(1_000_000)), (6_000, 0, 300));
}

#[test]
fn another_models_part_costs_that_models_rate() {
    let part = Usage {
        output: Tokens::new(10),
        ..Usage::default()
    };
    let claim = Claim {
        others: vec![("other".to_owned(), part)],
        ..claim(Some(30), Some(50))
    };
    assert_eq!(charged(&evidence(&claim, End::Whole)).0, 80 + 20);
}

#[test]
fn later_claim_replaces_an_earlier_one_unless_zero() {
    let mut all = Claim::default();
    for (input, output) in [
        (Some(0), Some(0)),
        (Some(9), Some(4)),
        (Some(9), Some(5)),
        (None, None),
        (Some(0), Some(0)),
    ] {
        all.update(claim(input, output));
    }
    assert_eq!(all, claim(Some(9), Some(5)));
    let mut nought = Claim::default();
    nought.update(claim(Some(0), None));
    assert_eq!(nought, claim(Some(0), None));
}

#[derive(Debug, Clone)]
struct Answer {
    prompt: u64,
    shown: u64,
    hidden: u64,
    left: bool,
    reports: bool,
    lies: Option<u64>,
}

fn answers() -> impl Strategy<Value = Answer> {
    let tokens = (1u64..400, 0u64..300, 0u64..300);
    let flags = (
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(0u64..100),
    );
    (tokens, flags).prop_map(|((prompt, shown, hidden), (left, reports, lies))| Answer {
        prompt,
        shown,
        hidden,
        left,
        reports,
        lies,
    })
}

proptest! {
    /// Holds for every provider that either shows all it generates or reports it honestly, whenever its
    /// client disconnects.
    #[test]
    fn charge_covers_the_output_and_stays_within_the_hold(answer in answers()) {
        let Answer { prompt, shown, hidden, left, reports, lies } = answer.clone();
        let hides = hidden > 0;
        let generated = prompt + shown + hidden;
        // The claim is honest, or less than half of what was shown, or absent.
        let output = match lies {
            Some(share) if !hides => (shown / 2).saturating_sub(1) * share / 100,
            _ => shown + hidden,
        };
        let claim = match reports || hides {
            true if !left => claim(Some(prompt), Some(output)),
            _ => Claim::default(),
        };
        let seen = Evidence {
            is_absurd: false,
            claim: Some(&claim),
            end: if left { End::Cut } else { End::Whole },
            least: Tokens::new(shown / 2),
            has_content: shown > 0,
            has_prompt: true,
            shows_all: !hides,
            reports_one: false,
            unreported: None,
        };
        let held = Tokens::new(4 * generated);
        let counted = Counted { prompt: 2 * prompt, output: 2 * shown };
        let cost = charge(&seen, held, Rate::default(), |_| Rate::default(), &counted).cost;
        prop_assert!(cost.count() >= generated, "{answer:?} cost {cost}");
        prop_assert!(cost <= held, "{answer:?} cost {cost}");
    }
}
