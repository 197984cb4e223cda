//! Turns: which endpoint and which of its keys the next attempt of a call goes to, and whether there is one.

use super::watch::Watch;
use crate::proxy::admission::admit;
use crate::proxy::admission::estimate::Estimate;
use crate::proxy::exchange::Admitted;
use crate::proxy::relay::request::NextAttempt;
use crate::rules::key_choice;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Attempts that are still to be made.
pub(crate) struct Turns<'a> {
    estimates: VecDeque<Estimate<'a>>,
    /// Indices of the first endpoint's keys that were not tried yet, in order.
    keys: VecDeque<usize>,
    /// Attempts that may still be made, whatever there is to try.
    budget: u64,
    deadline: Instant,
}

impl<'a> Turns<'a> {
    pub(crate) fn new(estimates: Vec<Estimate<'a>>, started: Instant) -> Turns<'a> {
        let text = estimates
            .first()
            .map(|first| &first.tenant.config.providers);
        let failover = text.and_then(|providers| Some(&providers.text.as_ref()?.failover));
        let (attempts, timeout) = failover.map_or((1, Duration::ZERO), |failover| {
            (failover.attempts, failover.timeout)
        });
        Turns {
            estimates: estimates.into(),
            keys: VecDeque::new(),
            budget: attempts,
            deadline: started + timeout,
        }
    }

    /// Attempt that may follow the one that begins now.
    pub(crate) fn next(&self) -> NextAttempt {
        let has_next = self.estimates.len() > 1;
        match self.budget > 0 && (has_next || !self.keys.is_empty()) {
            true => NextAttempt::until(self.deadline, !has_next),
            false => NextAttempt::NONE,
        }
    }

    /// Endpoint of the next attempt.
    pub(crate) fn present(&mut self) -> Option<&mut Estimate<'a>> {
        self.estimates.front_mut()
    }

    /// Takes the index of the key that the next attempt goes out with. `None`: the endpoint has no keys.
    pub(crate) fn take_key(&mut self, call: &Admitted<'_, '_>) -> Option<usize> {
        self.budget -= 1;
        if self.keys.is_empty() {
            self.keys = keys_in_order(self.estimates.front()?, call);
        }
        self.keys.pop_front()
    }

    /// Moves on after a failed attempt. `is_for_key`: another key of the same endpoint may do better. False: nothing is left to try.
    pub(crate) fn advance(&mut self, is_for_key: bool, call: &Admitted<'_, '_>) -> bool {
        // The last attempt is another endpoint's, whose keys may be good.
        let is_last = self.budget == 1 && self.estimates.len() > 1;
        if is_for_key && !self.keys.is_empty() && !is_last {
            return true;
        }
        self.keys.clear();
        self.estimates.pop_front();
        // What an endpoint costs at least must be left of the hold.
        while let Some(next) = self.estimates.front()
            && admit::least(next) > call.bill.held()
        {
            self.estimates.pop_front();
        }
        !self.estimates.is_empty()
    }
}

/// Keys of an endpoint, the account's own first, and those that rest last.
fn keys_in_order(estimate: &Estimate<'_>, call: &Admitted<'_, '_>) -> VecDeque<usize> {
    let count = estimate.endpoint.keys().count();
    if count < 2 {
        return (0..count).collect();
    }
    let ids = estimate.tenant.key_ids(estimate.endpoint);
    let account = &call.bill.labels().account;
    let mut order = key_choice::in_order(call.tenant.as_str(), account, ids);
    let (health, now) = (estimate.tenant.health.lock(), Instant::now());
    let place = Watch::place(estimate);
    let number = Watch::number_of(call);
    // Stable: the account's own key stays first of its kind.
    order.sort_by_key(|index| health.resting(place, ids[*index], number, now));
    order.into()
}
