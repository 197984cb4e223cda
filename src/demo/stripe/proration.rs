//! Sums of a plan change: a share of a price by seconds, and discounts in percent.
//!
//! Pure, in whole cents, rounded to the nearest cent and halves away from zero, as Stripe rounds.

use super::records::Span;

/// Share of a period that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remaining {
    left_seconds: u64,
    whole_seconds: u64,
}

impl Remaining {
    /// A time outside the period counts as its nearer end.
    pub(super) fn at(now: u64, period: Span) -> Remaining {
        let now = now.clamp(period.start, period.end);
        Remaining {
            left_seconds: period.end - now,
            whole_seconds: period.end - period.start,
        }
    }

    pub(super) fn of(self, cents: i64) -> i64 {
        share(cents, self.left_seconds, self.whole_seconds)
    }
}

/// Amount that a discount takes off.
pub(super) fn percent_of(cents: i64, percent: u8) -> i64 {
    share(cents, u64::from(percent.min(100)), 100)
}

/// `cents * part / whole`, rounded; 0 where the whole is 0.
fn share(cents: i64, part: u64, whole: u64) -> i64 {
    if whole == 0 {
        return 0;
    }
    let (part, whole) = (i128::from(part), i128::from(whole));
    let doubled = i128::from(cents) * part * 2;
    let rounded = (doubled.abs() + whole) / (2 * whole) * doubled.signum();
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "proration_tests.rs"]
mod tests;
