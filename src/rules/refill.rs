//! Refill of a balance at the beginning of a period: a UTC day or a calendar month.
//!
//! A refill only raises: a balance above it stays. It happens once in a period, in the step that admits a request, so
//! nobody has to run a job for it.

use super::amount::{Millis, Tokens};
use super::date;

/// Balance that an account of a group has at least when a period begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    pub tokens: Tokens,
    pub every: Period,
}

/// Length of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Day,
    Month,
}

impl Period {
    /// Returns when the period began that `now` belongs to.
    pub fn start(self, now: Millis) -> Millis {
        let days = now.0 / Millis::DAY.0;
        let before = match self {
            Period::Day => 0,
            Period::Month => date::day_of_month(days) - 1,
        };
        Millis((days - before) * Millis::DAY.0)
    }

    /// Returns when the next period begins.
    pub fn next(self, now: Millis) -> Millis {
        // 31 days after its beginning every month is over, and no next one is.
        let days = match self {
            Period::Day => 1,
            Period::Month => 31,
        };
        self.start(Millis(self.start(now).0 + days * Millis::DAY.0))
    }

    /// Word in the arguments of the store's scripts.
    pub fn word(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Month => "month",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::date::rfc3339;

    fn at(text: &str) -> Millis {
        date::start_of_day(text).unwrap()
    }

    #[test]
    fn periods_begin_with_the_day_and_with_the_month() {
        for (now, day, month, next) in [
            ("2026-01-31", "2026-01-31", "2026-01-01", "2026-02-01"),
            ("2026-02-01", "2026-02-01", "2026-02-01", "2026-03-01"),
            ("2028-02-29", "2028-02-29", "2028-02-01", "2028-03-01"),
            ("2026-12-31", "2026-12-31", "2026-12-01", "2027-01-01"),
        ] {
            let now = at(now).plus(Millis(86_399_999));
            assert_eq!(Period::Day.start(now), at(day));
            assert_eq!(Period::Day.next(now), at(day).plus(Millis::DAY));
            assert_eq!(Period::Month.start(now), at(month));
            assert_eq!(rfc3339(Period::Month.next(now)), rfc3339(at(next)));
        }
    }
}
