//! Duration in ticks that every usual sample rate divides. Must never round down.

/// Ticks of a second: divisible by 7,350, 11,025, 64,000, 176,400 and 192,000 Hz, and by the divisors of
/// those.
const TICKS_PER_SECOND: u64 = 28_224_000;

/// Duration in units of 1 / `TICKS_PER_SECOND`. Its arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    pub const ZERO: Time = Time(0);

    /// Returns the duration of `samples` at `rate` Hz; zero at a rate of zero.
    pub fn of(samples: u64, rate: u64) -> Time {
        Time::scaled(samples, 1, rate)
    }

    pub(crate) fn of_seconds(seconds: u64) -> Time {
        Time(seconds.saturating_mul(TICKS_PER_SECOND))
    }

    /// Returns the duration of `units` of `numerator / denominator` seconds each, rounded up.
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

    /// Returns an estimate that rests on what a header says, raised to half of `most`: decoders read the frames,
    /// so a header that says less is no evidence.
    pub(crate) fn credible(self, most: Time) -> Time {
        self.max(Time(most.0.div_ceil(2))).min(most)
    }

    /// Returns the number of samples at `rate` Hz that take this long, rounded up.
    pub fn samples(self, rate: u64) -> u64 {
        let samples = u128::from(self.0) * u128::from(rate);
        u64::try_from(samples.div_ceil(u128::from(TICKS_PER_SECOND))).unwrap_or(u64::MAX)
    }

    /// Returns the duration in whole seconds, rounded up.
    pub fn seconds(self) -> u64 {
        self.0.div_ceil(TICKS_PER_SECOND)
    }
}
