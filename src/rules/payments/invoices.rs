//! The running sum of a customer's paid invoices ([`highest`]): what subscriptions are worth in all.
//!
//! Each line is worth its share of a plan's tokens, credits negatively. What the sum of the invoices has reached at most,
//! in order of creation, is what they grant: a period is worth its plan once, an upgrade the difference, and changing
//! plans back and forth nothing.

use super::facts::{PaidInvoice, PlanPrice};
use crate::rules::amount::Tokens;

/// Worth of an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Worth {
    pub tokens: i64,
    /// Whether every price of it is known. One that is not could be worth something later.
    pub is_whole: bool,
}

/// Returns what an invoice is worth: of each line with a known price `tokens x amount / price`, rounded down.
pub(super) fn worth(invoice: &PaidInvoice) -> Worth {
    let mut sum = Worth {
        tokens: 0,
        is_whole: true,
    };
    for line in &invoice.lines {
        match line.price {
            Some(price) => sum.tokens = sum.tokens.saturating_add(share(price, line.amount)),
            None => sum.is_whole &= line.amount == 0,
        }
    }
    sum
}

fn share(price: PlanPrice, amount: i64) -> i64 {
    if price.amount == 0 {
        return 0;
    }
    let product = i128::from(price.tokens.count()) * i128::from(amount);
    let most = i128::from(Tokens::MAX.count());
    let worth = product
        .div_euclid(i128::from(price.amount))
        .clamp(-most, most);
    i64::try_from(worth).unwrap_or_default()
}

/// Returns what each invoice adds to the highest running sum, from the oldest to the newest.
pub(super) fn contributions(worths: impl IntoIterator<Item = i64>) -> Vec<Tokens> {
    let (mut sum, mut highest) = (0i64, 0i64);
    let mut added = Vec::new();
    for worth in worths {
        sum = sum.saturating_add(worth);
        let more = sum.saturating_sub(highest).max(0);
        highest = highest.max(sum);
        added.push(Tokens::new(more.unsigned_abs()));
    }
    added
}

/// Returns the highest running sum.
pub(super) fn highest(worths: impl IntoIterator<Item = i64>) -> Tokens {
    contributions(worths).into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::super::facts::InvoiceLine;
    use super::*;
    use proptest::prelude::*;

    fn line(tokens: u64, price: u64, amount: i64) -> InvoiceLine {
        let tokens = Tokens::new(tokens);
        InvoiceLine {
            price: Some(PlanPrice {
                amount: price,
                tokens,
            }),
            amount,
        }
    }

    fn worth_of(lines: &[InvoiceLine]) -> (i64, bool) {
        let worth = worth(&PaidInvoice {
            id: "in_1".into(),
            created_seconds: 1,
            total: 0,
            lines: lines.to_vec(),
            intents: Vec::new(),
        });
        (worth.tokens, worth.is_whole)
    }

    #[test]
    fn a_whole_period_is_worth_its_plan_and_a_trial_nothing() {
        assert_eq!(worth_of(&[line(5000, 999, 999)]), (5000, true));
        assert_eq!(worth_of(&[line(5000, 999, 0)]), (0, true));
        assert_eq!(worth_of(&[line(5000, 0, 999)]), (0, true));
        assert_eq!(worth_of(&[line(5000, 999, 1998)]), (10_000, true));
    }

    #[test]
    fn a_share_is_rounded_down_and_a_credit_up() {
        assert_eq!(worth_of(&[line(5000, 999, 500)]), (2502, true));
        assert_eq!(worth_of(&[line(5000, 999, -500)]), (-2503, true));
    }

    #[test]
    fn a_line_of_an_unknown_price_is_worth_nothing_yet() {
        let unknown = |amount| InvoiceLine {
            price: None,
            amount,
        };
        assert_eq!(worth_of(&[line(5000, 999, 999), unknown(5)]), (5000, false));
        assert_eq!(worth_of(&[line(5000, 999, 999), unknown(0)]), (5000, true));
    }

    #[test]
    fn the_highest_sum_counts_and_flipping_plans_adds_nothing() {
        let flips = [5000, 7500, -7500, 7500, -7500, 7500];
        assert_eq!(highest(flips), Tokens::new(12_500));
        assert_eq!(highest([-3, -4]), Tokens::ZERO);
        let each: Vec<u64> = contributions([5000, -2500, 4000])
            .iter()
            .map(|t| t.count())
            .collect();
        assert_eq!(each, [5000, 0, 1500]);
    }

    proptest! {
        #[test]
        fn contributions_are_never_negative_and_sum_to_the_highest(
            worths in proptest::collection::vec(-30_000i64..30_000, 0..40),
        ) {
            let mut sums = vec![0i64];
            for worth in &worths {
                sums.push(sums.last().copied().unwrap_or_default() + worth);
            }
            let most = sums.into_iter().max().unwrap_or_default();
            prop_assert_eq!(highest(worths).count(), most.unsigned_abs());
        }

        #[test]
        fn a_line_is_worth_no_more_than_its_share(
            tokens in 0u64..1_000_000_000, price in 1u64..1_000_000, amount in -2_000_000i64..2_000_000,
        ) {
            let worth = i128::from(worth_of(&[line(tokens, price, amount)]).0);
            prop_assert!(worth * i128::from(price) <= i128::from(tokens) * i128::from(amount));
            prop_assert!((worth + 1) * i128::from(price) > i128::from(tokens) * i128::from(amount));
        }

        #[test]
        fn no_amount_overflows(
            tokens: u64, price: u64, amount: i64, worths in proptest::collection::vec(any::<i64>(), 0..10),
        ) {
            let _ = worth_of(&[line(tokens, price, amount)]);
            let _ = highest(worths);
        }
    }
}
