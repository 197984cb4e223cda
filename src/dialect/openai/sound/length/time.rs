//! A length of time in ticks that every usual sample rate divides. It must never round down.

/// Divisible by 7,350 Hz, 11,025 Hz, 64,000 Hz, 176,400 Hz, 192,000 Hz and what divides those.
const TICKS_PER_SECOND: u64 = 28_224_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    pub const ZERO: Time = Time(0);

    /// So many samples at a rate in Hz. No rate is no sound.
    pub fn of(samples: u64, rate: u64) -> Time {
        Time::scaled(samples, 1, rate)
    }

    pub fn of_seconds(seconds: u64) -> Time {
        Time(seconds.saturating_mul(TICKS_PER_SECOND))
    }

    /// So many units of `numerator / denominator` seconds.
    pub fn scaled(units: u64, numerator: u64, denominator: u64) -> Time {
        if denominator == 0 {
            return Time::ZERO;
        }
        let units = u128::from(units).saturating_mul(u128::from(numerator));
        let ticks = units.saturating_mul(u128::from(TICKS_PER_SECOND));
        Time(u64::try_from(ticks.div_ceil(u128::from(denominator))).unwrap_or(u64::MAX))
    }

    pub fn plus(self, other: Time) -> Time {
        Time(self.0.saturating_add(other.0))
    }

    pub fn times(self, count: u64) -> Time {
        Time(self.0.saturating_mul(count))
    }

    /// The samples at a rate in Hz that take so long.
    pub fn samples(self, rate: u64) -> u64 {
        let samples = u128::from(self.0) * u128::from(rate);
        u64::try_from(samples.div_ceil(u128::from(TICKS_PER_SECOND))).unwrap_or(u64::MAX)
    }

    pub fn seconds(self) -> u64 {
        self.0.div_ceil(TICKS_PER_SECOND)
    }
}
