//! Replay of commands acknowledged within the last minute, to a server that may have forgotten them.
//!
//! Redis acknowledges a write before its replicas, and often its disk, have it: a server that takes over may
//! lack the last moments. When [`Ledger::generation`] shows that the server was replaced, every command kept
//! here is replayed in the background, a few at a time. Replaying a command that was applied before does
//! nothing, so a replay must never charge twice. Commands beyond the bounds in number and age are not
//! replayed.

use super::name::{AccountName, KeyName};
use super::{Ledger, Outcome, StoreError};
use crate::rules::account::{Report, Settlement};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::lease_budget::MAX_REPLICATION_LOSS;
use crate::telemetry::fields::About;
use futures_util::future::join_all;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum number of commands kept; the oldest are evicted.
const MAX_KEPT_COMMANDS: usize = 100_000;
/// Interval between checks of [`Ledger::generation`].
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Commands replayed concurrently, followed by [`REPLAY_PAUSE`]: at most about 3,000 a second.
const REPLAYED_AT_ONCE: usize = 16;
const REPLAY_PAUSE: Duration = Duration::from_millis(5);
/// `ttl` in the replayed report of an ended lease.
const ENDED_LIFE: Millis = Millis(1_000);

/// Callback for every charge that was not made by the request itself.
pub(crate) type Charged = Box<dyn Fn(About<'_>, &AccountName, Settlement) + Send + Sync>;

/// A command that the store acknowledged.
pub enum Acknowledged {
    Settlement {
        account: AccountName,
        id: String,
        used: Tokens,
        /// JSON object for the ledger.
        note: String,
    },
    Release {
        key: KeyName,
        id: String,
    },
    /// The end of a lease with command `number`, after `told` tokens were reported under `name` in all.
    Lease {
        account: AccountName,
        name: String,
        number: u64,
        told: Tokens,
    },
}

struct ReplayEntry {
    said: Acknowledged,
    at: Instant,
    /// [`Ledger::generation`] before the command was sent.
    generation: u64,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<ReplayEntry>,
    /// Generation of the store to which all `entries` have been replayed.
    reached: u64,
}

/// The commands kept for replay, and the store they are replayed to.
pub struct Replay {
    store: Arc<dyn Ledger>,
    charged: Charged,
    ring: Mutex<Ring>,
}

/// Totals of one replay, for the log.
#[derive(Default)]
struct Totals {
    all: usize,
    lost: usize,
    tokens: u64,
}

impl Ring {
    fn push(&mut self, entry: ReplayEntry) {
        if self.entries.len() >= MAX_KEPT_COMMANDS {
            self.entries.pop_front();
        }
        self.reached = self.reached.min(entry.generation);
        self.entries.push_back(entry);
    }

    fn forget(&mut self, now: Instant) {
        let oldest = Duration::from_millis(MAX_REPLICATION_LOSS.0);
        let is_old = |entry: &ReplayEntry| now.duration_since(entry.at) >= oldest;
        while self.entries.front().is_some_and(is_old) {
            self.entries.pop_front();
        }
    }

    /// Removes and returns the entries that an earlier generation acknowledged.
    fn take(&mut self, generation: u64) -> Vec<ReplayEntry> {
        if self.reached >= generation {
            return Vec::new();
        }
        self.reached = generation;
        let entries = std::mem::take(&mut self.entries).into_iter();
        let (behind, kept) = entries.partition(|entry| entry.generation < generation);
        self.entries = kept;
        Vec::from(behind)
    }
}

impl Replay {
    pub fn new(store: Arc<dyn Ledger>, charged: Charged) -> Arc<Replay> {
        Arc::new(Replay {
            store,
            charged,
            ring: Mutex::default(),
        })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock()
    }

    /// Keeps an acknowledged command. `generation`: the store's before it was sent; `None`: the store forgets
    /// nothing.
    pub fn remember(&self, generation: Option<u64>, said: Acknowledged) {
        if let Some(generation) = generation {
            let at = Instant::now();
            self.ring().push(ReplayEntry {
                said,
                at,
                generation,
            });
        }
    }

    pub fn charged(&self, about: About<'_>, account: &AccountName, settled: Settlement) {
        (self.charged)(about, account, settled);
    }

    /// Runs until dropped: checks [`Ledger::generation`] every 250 ms and replays when it has grown.
    pub async fn run(self: Arc<Replay>) {
        if self.store.generation().is_none() {
            return;
        }
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            self.replay().await;
        }
    }

    /// Replays every command acknowledged by a server that was replaced since. Commands that cannot be sent
    /// are kept for the next round.
    pub async fn replay(&self) {
        let Some(generation) = self.store.generation() else {
            return;
        };
        let mut behind = {
            let mut ring = self.ring();
            ring.forget(Instant::now());
            ring.take(generation).into_iter()
        };
        let mut found = Totals::default();
        loop {
            let some: Vec<ReplayEntry> = behind.by_ref().take(REPLAYED_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let answers = join_all(some.iter().map(|entry| self.say(&entry.said))).await;
            let mut is_lost = false;
            for (mut entry, answer) in some.into_iter().zip(answers) {
                match answer {
                    Ok(settled) => {
                        found.count(settled);
                        // The charge was forgotten and acknowledged again just now: keep it for another
                        // minute.
                        if settled.is_some_and(|settled| !settled.charged.is_zero()) {
                            entry.at = Instant::now();
                        }
                        entry.generation = generation;
                    }
                    Err(StoreError::Damaged { name, damage }) => {
                        log::error!(
                            account = name.as_str();
                            "A charge cannot be replayed to account {name}, which is damaged: {damage}. Restore the record"
                        );
                        continue;
                    }
                    Err(_) => is_lost = true,
                }
                self.ring().push(entry);
            }
            if is_lost {
                let mut ring = self.ring();
                behind.for_each(|entry| ring.push(entry));
                break;
            }
            tokio::time::sleep(REPLAY_PAUSE).await;
        }
        if found.all > 0 {
            let Totals { all, lost, tokens } = found;
            log::info!(
                replayed = all, missing = lost, tokens = tokens;
                "The server behind the store was replaced: {all} settlements of the last minute were replayed, it lacked {lost} of \
                 them, {tokens} tokens, which are charged now. What it lacks of earlier ones, as after a restore from a \
                 backup, is not charged again"
            );
        }
    }

    async fn say(&self, said: &Acknowledged) -> Outcome<Option<Settlement>> {
        let (account, settled) = match said {
            Acknowledged::Settlement {
                account,
                id,
                used,
                note,
            } => {
                let settled = self.store.resettle(account, id, *used, note);
                (account, settled.await?)
            }
            Acknowledged::Release { key, id } => {
                self.store.release(key, id).await?;
                return Ok(None);
            }
            Acknowledged::Lease {
                account,
                name,
                number,
                told,
            } => {
                let report = Report {
                    instance: name,
                    number: number + 1,
                    spent: Tokens::ZERO,
                    back: Tokens::MAX,
                    ttl: ENDED_LIFE,
                    retry: true,
                    ends: true,
                    before: Some(*told),
                    begun: None,
                    lines: &[],
                };
                let reported = self.store.report(account, &report).await?;
                (account, reported.map(|reported| reported.settlement))
            }
        };
        if let Some(settled) = settled {
            let id = account.id();
            let about = About {
                account: Some(id.as_str()),
                ..About::default()
            };
            self.charged(about, account, settled);
        }
        Ok(settled)
    }
}

impl Totals {
    fn count(&mut self, settled: Option<Settlement>) {
        let charged = settled.map_or(0, |settled| settled.charged.count());
        self.all += 1;
        self.lost += usize::from(charged > 0);
        self.tokens += charged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: usize, age: u64, generation: u64) -> ReplayEntry {
        let said = Acknowledged::Settlement {
            account: AccountName::user("u").unwrap(),
            id: id.to_string(),
            used: Tokens::new(1),
            note: String::new(),
        };
        let at = Instant::now() + Duration::from_secs(100) - Duration::from_secs(age);
        ReplayEntry {
            said,
            at,
            generation,
        }
    }

    #[test]
    fn commands_of_earlier_generations_are_taken_once() {
        let mut ring = Ring::default();
        ring.push(entry(1, 0, 0));
        ring.push(entry(2, 0, 1));
        assert_eq!(ring.take(0).len(), 0);
        assert_eq!(ring.take(1).len(), 1);
        assert_eq!(ring.take(1).len(), 0);
        ring.push(entry(3, 0, 0));
        assert_eq!(ring.take(1).len(), 1);
        assert_eq!(ring.take(2).len(), 1);
    }

    #[test]
    fn replay_buffer_is_bounded_by_count_and_age() {
        let mut ring = Ring::default();
        (0..MAX_KEPT_COMMANDS + 10).for_each(|id| ring.push(entry(id, 59, 0)));
        assert_eq!(ring.entries.len(), MAX_KEPT_COMMANDS);
        let now = Instant::now() + Duration::from_secs(100);
        ring.forget(now);
        assert_eq!(ring.entries.len(), MAX_KEPT_COMMANDS);
        ring.forget(now + Duration::from_secs(2));
        assert_eq!(ring.entries.len(), 0);
    }
}
