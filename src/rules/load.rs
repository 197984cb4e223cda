//! Load of an endpoint as this instance sees it: peak EWMA of its latency, times its calls in flight.
//!
//! A slow answer counts at once, and a quick one only gradually, so a struggling endpoint is noticed within one call.
//! Pure: `now` comes in.

use std::time::{Duration, Instant};

/// Time constant of the average: after it, an old latency counts for a third.
const DECAY: Duration = Duration::from_secs(10);
/// Latency that a failed attempt counts for, because failing quickly must not look like being quick.
const FAILURE_LATENCY: Duration = Duration::from_secs(5);

/// Load of one model at one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    average_seconds: f64,
    /// Time of `average_seconds`; `None`: no answer has come yet.
    at: Option<Instant>,
    in_flight: u32,
}

impl Load {
    /// Counts an attempt in flight, until [`Load::end`].
    pub fn begin(&mut self) {
        self.in_flight += 1;
    }

    /// Ends an attempt. `latency`: time to the head of its answer; `None`: it was given up before.
    pub fn end(&mut self, latency: Option<Duration>, has_failed: bool, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(latency) = latency else {
            return;
        };
        let latency = match has_failed {
            true => latency.max(FAILURE_LATENCY),
            false => latency,
        };
        let latency = latency.as_secs_f64();
        let before = self.average(now);
        self.average_seconds = match self.at {
            Some(at) if latency < self.average_seconds => {
                let weight = weight(now.saturating_duration_since(at));
                self.average_seconds * weight + latency * (1.0 - weight)
            }
            _ => latency.max(before),
        };
        self.at = Some(now);
    }

    /// Returns the load now: expected seconds until this endpoint would begin another answer.
    pub fn now(&self, now: Instant) -> f64 {
        self.average(now) * f64::from(self.in_flight + 1)
    }

    /// Average latency in seconds. It fades while nothing is heard, so that an endpoint that was slow is asked again.
    fn average(&self, now: Instant) -> f64 {
        let fades = |at| self.average_seconds * weight(now.saturating_duration_since(at));
        self.at.map_or(0.0, fades)
    }
}

/// Weight of an average that is this old.
fn weight(age: Duration) -> f64 {
    (-age.as_secs_f64() / DECAY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_answers_count_at_once_and_quick_ones_by_and_by() {
        let begun = Instant::now();
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        let millis = |millis| Some(Duration::from_millis(millis));
        let mut load = Load::default();
        assert_eq!(load.now(begun), 0.0);
        load.begin();
        load.end(millis(100), false, after(0));
        load.begin();
        load.end(millis(900), false, after(1));
        assert_eq!(load.now(after(1)), 0.9);
        load.begin();
        load.end(millis(100), false, after(2));
        assert!(load.now(after(2)) > 0.8);
        assert!(load.now(after(32)) < 0.1);
    }

    #[test]
    fn calls_in_flight_and_failures_weigh() {
        let now = Instant::now();
        let mut load = Load::default();
        load.begin();
        load.end(Some(Duration::from_millis(1)), true, now);
        assert_eq!(load.now(now), 5.0);
        load.begin();
        assert_eq!(load.now(now), 10.0);
        load.end(None, false, now);
        load.end(None, false, now);
        assert_eq!(load.now(now), 5.0);
    }
}
