//! [`Freshness`]: when a document of an issuer, its keys or its discovery, is fetched again.
//!
//! A kid that is unknown may be of a key that the issuer has just added, or rubbish. So it brings one fetch, and no
//! second within a minute: rubbish cannot make the gateway flood an issuer, and a new key is seen within a minute.
//! A document whose fetch fails is used for a day more.

use std::time::{Duration, Instant};

/// Shortest time for which a document is used, whatever its `max-age`.
const MIN_FRESH: Duration = Duration::from_secs(60);
/// Longest time for which a document is used without another fetch.
const MAX_FRESH: Duration = Duration::from_secs(24 * 3600);
/// Time for which a document without `max-age` is used.
const USUAL_FRESH: Duration = Duration::from_secs(3600);
/// Time for which a document is used after it was to be fetched again, while fetches fail.
const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
/// Interval of fetches for what the latest document does not have.
const MISSING_INTERVAL: Duration = Duration::from_secs(60);
/// Interval of fetches while they fail.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Times of a cached document.
#[derive(Clone, Copy, Debug, Default)]
pub struct Freshness {
    /// End of the time for which it is used without another fetch. `None`: there is no document.
    fresh_until: Option<Instant>,
    /// Start of the latest fetch.
    tried: Option<Instant>,
    failed: bool,
}

/// Next step of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Use the document.
    Use,
    /// Fetch it first.
    Fetch,
    /// The document does not have what is asked for, and it is too soon to fetch it again.
    Missing,
    /// There is no document that may be used.
    Unavailable,
}

impl Freshness {
    /// Decides what a caller does. `has`: whether the document has what it asks for.
    pub fn next(&self, has: bool, now: Instant) -> Next {
        let Some(fresh_until) = self.fresh_until else {
            return self.fetch_or(Next::Unavailable, now);
        };
        match (has, now < fresh_until) {
            (true, true) => Next::Use,
            (true, false) if now < fresh_until + MAX_STALE => self.fetch_or(Next::Use, now),
            (true, false) => self.fetch_or(Next::Unavailable, now),
            (false, _) if self.failed => self.fetch_or(Next::Unavailable, now),
            (false, _) => self.fetch_or(Next::Missing, now),
        }
    }

    fn fetch_or(&self, otherwise: Next, now: Instant) -> Next {
        let interval = match self.failed {
            true => RETRY_INTERVAL,
            false => MISSING_INTERVAL,
        };
        let is_due = |tried: Instant| now.saturating_duration_since(tried) >= interval;
        match self.tried.is_none_or(is_due) {
            true => Next::Fetch,
            false => otherwise,
        }
    }

    /// Notes that a fetch begins.
    pub fn begin(&mut self, now: Instant) {
        self.tried = Some(now);
    }

    /// Notes that a fetch succeeded. `max_age`: that of `cache-control`.
    pub fn succeed(&mut self, max_age: Option<Duration>, now: Instant) {
        let fresh = max_age.unwrap_or(USUAL_FRESH).clamp(MIN_FRESH, MAX_FRESH);
        self.fresh_until = Some(now + fresh);
        self.failed = false;
    }

    /// Notes that a fetch failed.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Returns the start of the latest fetch.
    pub fn tried(&self) -> Option<Instant> {
        self.tried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn fetched(now: Instant, max_age: Option<Duration>) -> Freshness {
        let mut freshness = Freshness::default();
        assert_eq!(freshness.next(false, now), Next::Fetch);
        freshness.begin(now);
        freshness.succeed(max_age, now);
        freshness
    }

    #[test]
    fn document_is_used_for_its_max_age_within_bounds() {
        let now = Instant::now();
        for (max_age, fresh) in [
            (None, USUAL_FRESH),
            (Some(Duration::ZERO), MIN_FRESH),
            (Some(SECOND * 7200), SECOND * 7200),
            (Some(Duration::MAX), MAX_FRESH),
        ] {
            let freshness = fetched(now, max_age);
            assert_eq!(
                freshness.next(true, now + fresh - SECOND),
                Next::Use,
                "{max_age:?}"
            );
            assert_eq!(
                freshness.next(true, now + fresh),
                Next::Fetch,
                "{max_age:?}"
            );
        }
    }

    #[test]
    fn rubbish_brings_one_fetch_a_minute() {
        let begun = Instant::now();
        let mut freshness = fetched(begun, None);
        let mut fetches = 0;
        for second in 0..600 {
            let now = begun + SECOND * second;
            if freshness.next(false, now) == Next::Fetch {
                freshness.begin(now);
                freshness.succeed(None, now);
                fetches += 1;
            }
        }
        assert_eq!(fetches, 9);
        assert_eq!(freshness.next(true, begun + SECOND * 600), Next::Use);
    }

    #[test]
    fn failed_fetch_keeps_the_document_for_a_day() {
        let begun = Instant::now();
        let mut freshness = fetched(begun, None);
        let late = begun + USUAL_FRESH;
        freshness.begin(late);
        freshness.fail();

        assert_eq!(freshness.next(true, late + SECOND), Next::Use);
        assert_eq!(freshness.next(false, late + SECOND), Next::Unavailable);
        assert_eq!(freshness.next(true, late + RETRY_INTERVAL), Next::Fetch);
        let end = late + MAX_STALE;
        freshness.begin(end);
        freshness.fail();
        assert_eq!(freshness.next(true, end), Next::Unavailable);
    }

    #[test]
    fn issuer_that_never_answered_is_asked_every_ten_seconds() {
        let begun = Instant::now();
        let mut freshness = Freshness::default();
        freshness.begin(begun);
        freshness.fail();
        assert_eq!(freshness.next(false, begun + SECOND), Next::Unavailable);
        assert_eq!(freshness.next(false, begun + RETRY_INTERVAL), Next::Fetch);
    }
}
