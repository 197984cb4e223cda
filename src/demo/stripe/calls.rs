//! API calls that an account received, and the answers that are kept for their idempotency keys.
//!
//! Both are bounded: the oldest goes when a new one comes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const MAX_CALLS: usize = 1_000;
const MAX_KEPT_ANSWERS: usize = 1_000;
/// Life of a kept answer in seconds, as at Stripe.
const ANSWER_LIFE_SECONDS: u64 = 24 * 3_600;

/// An API call as it was received, for a test's assertions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedCall {
    pub method: String,
    /// Path without the query, such as `/v1/checkout/sessions`.
    pub path: String,
    /// Decoded parameters of the body, or of the query.
    pub form: Vec<(String, String)>,
    /// `Idempotency-Key`
    pub idempotency_key: Option<String>,
    /// `Stripe-Version`
    pub version: Option<String>,
    /// HTTP status of the answer.
    pub status: u16,
}

impl ReceivedCall {
    pub(super) fn bytes(&self) -> usize {
        let fields = self
            .form
            .iter()
            .map(|(name, value)| name.len() + value.len());
        self.path.len() + fields.sum::<usize>()
    }
}

/// The newest calls of an account, and the faults that the next ones meet.
#[derive(Debug, Default)]
pub(super) struct CallLog {
    calls: VecDeque<ReceivedCall>,
    failures: u32,
    failure_status: u16,
    pause: Duration,
}

impl CallLog {
    /// Records a call. Returns the bytes of the one that went.
    pub(super) fn record(&mut self, call: ReceivedCall) -> usize {
        self.calls.push_back(call);
        let is_full = self.calls.len() > MAX_CALLS;
        let gone = if is_full {
            self.calls.pop_front()
        } else {
            None
        };
        gone.map_or(0, |oldest| oldest.bytes())
    }

    pub(super) fn calls(&self) -> Vec<ReceivedCall> {
        self.calls.iter().cloned().collect()
    }

    pub(super) fn set_failures(&mut self, count: u32, status: u16) {
        (self.failures, self.failure_status) = (count, status);
    }

    pub(super) fn set_pause(&mut self, pause: Duration) {
        self.pause = pause;
    }

    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    /// Status with which this call fails, where it shall.
    pub(super) fn next_failure(&mut self) -> Option<u16> {
        self.failures = self.failures.checked_sub(1)?;
        Some(self.failure_status)
    }
}

/// Answer that a repeated `Idempotency-Key` gets again.
#[derive(Clone, Debug)]
pub(super) struct KeptAnswer {
    /// Method and path of the first call.
    pub endpoint: String,
    /// Its body, which the repeated call's must equal.
    pub sent: Vec<u8>,
    pub answer: String,
    pub at: u64,
}

impl KeptAnswer {
    pub(super) fn bytes(&self) -> usize {
        self.sent.len() + self.answer.len()
    }
}

#[derive(Debug, Default)]
pub(super) struct KeptAnswers {
    order: VecDeque<String>,
    by_key: HashMap<String, KeptAnswer>,
}

impl KeptAnswers {
    pub(super) fn find(&self, key: &str, now: u64) -> Option<&KeptAnswer> {
        let kept = self.by_key.get(key)?;
        let is_fresh = now.saturating_sub(kept.at) < ANSWER_LIFE_SECONDS;
        is_fresh.then_some(kept)
    }

    /// Keeps an answer. Returns the bytes of those that went.
    pub(super) fn keep(&mut self, key: &str, kept: KeptAnswer) -> usize {
        let mut gone = 0;
        if let Some(old) = self.by_key.insert(key.to_owned(), kept) {
            return old.bytes();
        }
        self.order.push_back(key.to_owned());
        while self.order.len() > MAX_KEPT_ANSWERS {
            let oldest = self.order.pop_front();
            let old = oldest.and_then(|key| self.by_key.remove(&key));
            gone += old.map_or(0, |kept| kept.bytes());
        }
        gone
    }
}
