//! Circuit breaker: decides when a reachable server is dropped, and when it is used again.
//!
//! Pure: counts and instants come in. A server that answers too many commands too late is dropped, because
//! its callers would wait longer and longer; so is one that rejects writes. A server that returns must pass
//! probes, and the more of them, the sooner it failed again before. A lost connection needs one probe only.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time budget of an answer: a slower one counts as late. Servers across an ocean are well below it.
pub(crate) const LATENCY_BUDGET: Duration = Duration::from_millis(500);
/// Period over which answers are counted.
const COUNTING_PERIOD: Duration = Duration::from_secs(2);
/// Minimum number of late answers that opens the breaker.
const MIN_LATE_ANSWERS: u64 = 3;
/// A server that is dropped again within this time of its return has relapsed.
const RELAPSE_WITHIN: Duration = Duration::from_secs(30);
/// Maximum number of probes that a relapsed server must pass in a row.
const MAX_PROBES: u32 = 32;

/// Numbers of timely and late answers during one heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beat {
    pub timely: u64,
    pub late: u64,
}

/// Reason why a server was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerFault {
    /// The connection is lost, or the server is silent.
    Gone,
    /// The server answers, but too late, or only that it takes no commands.
    Unfit,
}

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    beats: VecDeque<(Instant, Beat)>,
    wanted: u32,
    given: u32,
    trusted: Option<Instant>,
}

impl Breaker {
    /// Adds a beat. True: at least half of the answers of the last two seconds (`COUNTING_PERIOD`) were late.
    pub(crate) fn beat(&mut self, beat: Beat, now: Instant) -> bool {
        self.beats.push_back((now, beat));
        self.beats
            .retain(|(at, _)| now.saturating_duration_since(*at) < COUNTING_PERIOD);
        let late: u64 = self.beats.iter().map(|(_, beat)| beat.late).sum();
        let timely: u64 = self.beats.iter().map(|(_, beat)| beat.timely).sum();
        late >= MIN_LATE_ANSWERS && late >= timely
    }

    /// Opens the breaker. A relapse ([`BreakerFault::Unfit`] within `RELAPSE_WITHIN`) doubles the number of probes
    /// required, up to `MAX_PROBES`.
    pub fn open(&mut self, fault: BreakerFault, now: Instant) {
        let relapsed = self
            .trusted
            .is_some_and(|trusted| now.saturating_duration_since(trusted) < RELAPSE_WITHIN);
        self.wanted = match fault {
            BreakerFault::Unfit if relapsed => (self.wanted * 2).clamp(2, MAX_PROBES),
            _ => 1,
        };
        self.given = 0;
        self.beats.clear();
    }

    /// Counts one passed probe. True: enough in a row, so the server may be used.
    pub(crate) fn probe_passed(&mut self, now: Instant) -> bool {
        self.given += 1;
        let trusted = self.given >= self.wanted;
        if trusted {
            self.trusted = Some(now);
        }
        trusted
    }

    /// Starts the count of passed probes again, after a failed one.
    pub(crate) fn probe_failed(&mut self) {
        self.given = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn beat(timely: u64, late: u64) -> Beat {
        Beat { timely, late }
    }

    #[test]
    fn a_few_late_answers_are_no_reason() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        assert!(!breaker.beat(beat(0, 2), now));
        assert!(!breaker.beat(beat(1_000, 500), now));
    }

    #[test]
    fn half_of_them_late_is_one() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        assert!(!breaker.beat(beat(10, 5), now));
        assert!(breaker.beat(beat(0, 5), now));
    }

    #[test]
    fn old_beats_are_forgotten() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        assert!(!breaker.beat(beat(1_000_000, 0), now));
        assert!(!breaker.beat(beat(5, 5), now + COUNTING_PERIOD / 2));
        assert!(breaker.beat(beat(5, 5), now + COUNTING_PERIOD));
    }

    #[test]
    fn relapses_need_more_probes_except_lost_connections() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        let proofs = |breaker: &mut Breaker, fault| {
            breaker.open(fault, now);
            (1..).find(|_| breaker.probe_passed(now)).unwrap()
        };
        let unfit: Vec<u32> = (0..8)
            .map(|_| proofs(&mut breaker, BreakerFault::Unfit))
            .collect();
        assert_eq!(unfit, [1, 2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(proofs(&mut breaker, BreakerFault::Gone), 1);
        breaker.open(BreakerFault::Unfit, now + RELAPSE_WITHIN);
        assert!(breaker.probe_passed(now + RELAPSE_WITHIN));
    }

    #[test]
    fn proofs_count_in_a_row() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        breaker.open(BreakerFault::Unfit, now);
        assert!(breaker.probe_passed(now));
        breaker.open(BreakerFault::Unfit, now);
        assert!(!breaker.probe_passed(now));
        breaker.probe_failed();
        assert!(!breaker.probe_passed(now));
        assert!(breaker.probe_passed(now));
    }

    proptest! {
        #[test]
        fn breaker_opens_when_half_of_two_seconds_is_late(
            beats in prop::collection::vec((0_u64..20, 0_u64..20, 0_u64..1_500), 1..40),
        ) {
            let (mut breaker, begun) = (Breaker::default(), Instant::now());
            let (mut now, mut all) = (0, Vec::new());
            for (timely, late, pause) in beats {
                now += pause;
                all.push((now, timely, late));
                let said = breaker.beat(beat(timely, late), begun + Duration::from_millis(now));
                let lately = || all.iter().filter(|(at, ..)| now - at < 2_000);
                let timely: u64 = lately().map(|(_, timely, _)| timely).sum();
                let late: u64 = lately().map(|(.., late)| late).sum();
                prop_assert_eq!(said, late >= 3 && 2 * late >= timely + late);
            }
        }

        #[test]
        fn proofs_are_never_more_than_bounded(
            faults in prop::collection::vec((any::<bool>(), 0_u64..60), 1..40),
        ) {
            let mut breaker = Breaker::default();
            let mut now = Instant::now();
            for (unfit, pause) in faults {
                now += Duration::from_secs(pause);
                breaker.open(if unfit { BreakerFault::Unfit } else { BreakerFault::Gone }, now);
                let needed = (1..=MAX_PROBES).find(|_| breaker.probe_passed(now));
                prop_assert!(needed.is_some());
            }
        }
    }
}
