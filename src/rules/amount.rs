//! The two units of the crate: [`Tokens`] and [`Millis`].
//!
//! A balance is a whole number up to 2^53-1, the largest that JSON readers in every language keep exact.
//! Arithmetic saturates at both ends: a balance must never wrap or become negative.

use serde::{Deserialize, Serialize};

/// A whole number of tokens, 0 to 2^53-1 ([`Tokens::MAX`]).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Tokens(u64);

impl Tokens {
    pub const ZERO: Tokens = Tokens(0);
    pub const MAX: Tokens = Tokens((1 << 53) - 1);

    /// Returns `amount` tokens, at most [`Tokens::MAX`].
    pub fn new(amount: u64) -> Tokens {
        Tokens(amount.min(Tokens::MAX.0))
    }

    pub fn count(self) -> u64 {
        self.0
    }

    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    pub fn plus(self, other: Tokens) -> Tokens {
        Tokens::new(self.0 + other.0)
    }

    pub fn minus(self, other: Tokens) -> Tokens {
        Tokens(self.0.saturating_sub(other.0))
    }

    pub fn times(self, factor: u64) -> Tokens {
        Tokens::new(self.0.saturating_mul(factor))
    }

    /// Returns so many hundredths, rounded up.
    pub fn percent_up(self, percent: u64) -> Tokens {
        let hundredths = u128::from(self.0) * u128::from(percent);
        Tokens::new(u64::try_from(hundredths.div_ceil(100)).unwrap_or(u64::MAX))
    }

    /// Returns one of `parts` equal parts, rounded down.
    pub fn share(self, parts: u64) -> Tokens {
        Tokens(self.0 / parts.max(1))
    }
}

impl std::fmt::Display for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::iter::Sum for Tokens {
    fn sum<I: Iterator<Item = Tokens>>(amounts: I) -> Tokens {
        amounts.fold(Tokens::ZERO, Tokens::plus)
    }
}

/// A duration, or a moment since 1970-01-01, in milliseconds. Moments in an account's books come from the
/// store's clock, never from an instance's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    pub const DAY: Millis = Millis(86_400_000);

    pub fn from_secs(seconds: u64) -> Millis {
        Millis(seconds.saturating_mul(1000))
    }

    pub fn plus(self, other: Millis) -> Millis {
        Millis(self.0.saturating_add(other.0))
    }

    pub fn minus(self, other: Millis) -> Millis {
        Millis(self.0.saturating_sub(other.0))
    }

    /// Returns whole seconds, rounded up, so that a `retry-after` never names too early a time.
    pub fn seconds_up(self) -> u64 {
        self.0.div_ceil(1000)
    }
}

impl From<std::time::Duration> for Millis {
    fn from(span: std::time::Duration) -> Millis {
        Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_neither_wrap_nor_go_below_nothing() {
        assert_eq!(Tokens::MAX.plus(Tokens::MAX), Tokens::MAX);
        assert_eq!(Tokens::ZERO.minus(Tokens::new(1)), Tokens::ZERO);
        assert_eq!(Tokens::MAX.count(), 9_007_199_254_740_991);
        assert_eq!(Tokens::new(u64::MAX), Tokens::MAX);
        assert_eq!(Tokens::new(7).share(4), Tokens::new(1));
        assert_eq!(Millis(1001).seconds_up(), 2);
    }
}
