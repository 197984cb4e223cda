//! Ends holds, once each, whatever the store is doing just then.
//!
//! A settlement that cannot be delivered waits in memory and is repeated as a retry until the store
//! has answered. The same request is never charged twice, because every repeat says that it is one.

use crate::proxy::exchange::Hold;
use crate::proxy::limits::in_flight::Traffic;
use crate::rules::account::Settlement;
use crate::rules::amount::Tokens;
use crate::store::journal::Journal;
use crate::store::leases::Leases;
use crate::store::name::{AccountName, KeyName};
use crate::store::recall::{Recall, Said};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Settlements that may wait at once; beyond it, holds are left to expire.
const WAITING: usize = 100_000;

pub struct Settler {
    pub store: Arc<dyn Store>,
    pub metrics: Arc<Metrics>,
    pub traffic: Arc<Traffic>,
    pub journal: Arc<Journal>,
    pub leases: Arc<Leases>,
    pub recall: Arc<Recall>,
    waiting: AtomicUsize,
}

impl Settler {
    pub fn new(
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        traffic: Arc<Traffic>,
        journal: Arc<Journal>,
        leases: Arc<Leases>,
        recall: Arc<Recall>,
    ) -> Arc<Settler> {
        Arc::new(Settler {
            store,
            metrics,
            traffic,
            journal,
            leases,
            recall,
            waiting: AtomicUsize::new(0),
        })
    }

    /// Charges `used` and lets the rest go. Returns what is left, where the store could say.
    pub async fn settle(self: &Arc<Self>, hold: Hold, used: Tokens) -> Option<Tokens> {
        if let Some(lease) = &hold.lease {
            return Some(self.leases.settle(lease, &hold.id, used));
        }
        self.journal.decide(&hold.id, used);
        let generation = self.store.generation();
        match self
            .store
            .settle(&hold.account, &hold.id, used, false)
            .await
        {
            Ok(settled) => self.note(generation, hold, used, settled),
            Err(StoreError::Damaged { name, damage }) => {
                self.journal.end(&hold.id);
                log::error!("A settlement of {used} tokens found account {name} damaged: {damage}");
                None
            }
            Err(error) => {
                self.metrics.store_errors.add(1);
                log::warn!("A settlement of {used} tokens waits: {error}");
                let done_perhaps = matches!(error, StoreError::Unknown(_));
                self.later(Waiting::Settlement { hold, used }, done_perhaps);
                None
            }
        }
    }

    fn note(
        &self,
        generation: Option<u64>,
        hold: Hold,
        used: Tokens,
        settled: Option<Settlement>,
    ) -> Option<Tokens> {
        self.journal.end(&hold.id);
        let settled = settled?;
        charged(&self.metrics, &hold.account, settled);
        let Hold { account, id, .. } = hold;
        let said = Said::Settlement { account, id, used };
        self.recall.remember(generation, said);
        Some(settled.left)
    }

    /// Ends a hold that was perhaps taken: the answer to its admission never came.
    pub fn release_later(self: &Arc<Self>, key: KeyName, id: String) {
        self.later(Waiting::Release { key, id }, true);
    }

    /// Repeats a command until the store has answered it. It says that it is a repeat as soon as it
    /// may be one.
    fn later(self: &Arc<Self>, mut command: Waiting, mut done_perhaps: bool) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            log::error!("{command} is left to its hold's end: too many wait already");
            return;
        }
        self.metrics.settlements_waiting.add(1);
        let settler = self.clone();
        let passage = self.traffic.enter();
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = settler.traffic.is_cut() => {
                        log::error!("{command} was not delivered");
                        break;
                    }
                }
                match settler.deliver(command, done_perhaps).await {
                    Ok(()) => {
                        settler.metrics.settlements_delivered_late.add(1);
                        break;
                    }
                    Err((command, error @ StoreError::Damaged { .. })) => {
                        log::error!("{command} cannot be delivered: {error}");
                        break;
                    }
                    Err((again, error)) => {
                        command = again;
                        done_perhaps |= matches!(error, StoreError::Unknown(_));
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
            settler.waiting.fetch_sub(1, Ordering::Relaxed);
            drop(passage);
        });
    }

    /// Gives the command back where it was not delivered.
    async fn deliver(&self, command: Waiting, retry: bool) -> Result<(), (Waiting, StoreError)> {
        let generation = self.store.generation();
        match command {
            Waiting::Settlement { hold, used } => {
                let (account, id) = (&hold.account, &hold.id);
                match self.store.settle(account, id, used, retry).await {
                    Ok(settled) => self.note(generation, hold, used, settled),
                    Err(error) => return Err((Waiting::Settlement { hold, used }, error)),
                };
            }
            Waiting::Release { key, id } => {
                if let Err(error) = self.store.release(&key, &id).await {
                    return Err((Waiting::Release { key, id }, error));
                }
                self.recall.remember(generation, Said::Release { key, id });
            }
        }
        Ok(())
    }
}

/// Counts what was charged, and says what could not be.
pub fn charged(metrics: &Metrics, account: &AccountName, settled: Settlement) {
    metrics.tokens_charged.add(settled.charged.count());
    if !settled.overrun.is_zero() {
        metrics.tokens_overrun.add(settled.overrun.count());
        let (account, overrun) = (account.id(), settled.overrun);
        log::warn!("Account {account} used {overrun} tokens more than it had");
    }
}

/// What the store has not answered yet.
enum Waiting {
    Settlement { hold: Hold, used: Tokens },
    Release { key: KeyName, id: String },
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Waiting::Settlement { hold, used } => {
                write!(
                    f,
                    "A settlement of {used} tokens of account {}",
                    hold.account.id()
                )
            }
            Waiting::Release { key, .. } => {
                write!(f, "The release of a hold of account {}", key.account().id())
            }
        }
    }
}
