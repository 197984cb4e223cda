//! Delivers settlements and releases to the store exactly once each, also across an outage of the store.
//!
//! A command that the store does not answer is retried with backoff (100 ms to 2 s) until it does, and waits
//! in memory meanwhile.
//! Every retry is marked as one, so the store never charges a call twice (idempotent).

use crate::proxy::limits::in_flight::InFlight;
use crate::proxy::settlement::bill::Hold;
use crate::proxy::settlement::receipt::Receipt;
use crate::rules::account::Settlement;
use crate::rules::amount::Tokens;
use crate::store::journal::Journal;
use crate::store::leases::Leases;
use crate::store::name::KeyName;
use crate::store::replay::{Acknowledged, Replay};
use crate::store::{Ledger, StoreError};
use crate::telemetry::fields::{About, OwnedAbout};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::throttle::Throttle;
use log::Level;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// Commands that may wait at a time. Beyond it, holds expire, and the store charges the cost that it knows.
const MAX_WAITING_COMMANDS: usize = 100_000;

/// Kinds of log lines of which one is written in a second.
static WAITS: Throttle = Throttle::new();
static DROPPED: Throttle = Throttle::new();
static OVERRUN: Throttle = Throttle::new();

pub struct Delivery {
    pub store: Arc<dyn Ledger>,
    pub metrics: Arc<Metrics>,
    pub in_flight: Arc<InFlight>,
    pub journal: Arc<Journal>,
    pub leases: Arc<Leases>,
    pub replay: Arc<Replay>,
    waiting: AtomicUsize,
}

impl Delivery {
    pub fn new(
        store: Arc<dyn Ledger>,
        metrics: Arc<Metrics>,
        in_flight: Arc<InFlight>,
        journal: Arc<Journal>,
        leases: Arc<Leases>,
        replay: Arc<Replay>,
    ) -> Arc<Delivery> {
        Arc::new(Delivery {
            store,
            metrics,
            in_flight,
            journal,
            leases,
            replay,
            waiting: AtomicUsize::new(0),
        })
    }

    /// Returns the number of commands that wait for the store.
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Charges the call and releases the rest of the hold. Returns the balance that is left, where the store
    /// could say.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        hold: Hold,
        receipt: &Receipt,
        about: About<'_>,
    ) -> Option<Tokens> {
        let used = receipt.charge.cost;
        let members = (receipt.at, receipt.members());
        if let Some(lease) = &hold.lease {
            return Some(self.leases.settle(lease, &hold.id, used, members));
        }
        self.journal.decide(&hold.id, used, members);
        let note = receipt.note();
        let generation = self.store.generation();
        match self
            .store
            .settle(&hold.account, &hold.id, used, false, &note)
            .await
        {
            Ok(settled) => self.acknowledge(generation, (hold, used, note), settled, about),
            Err(StoreError::Damaged { name, damage }) => {
                self.journal.end(&hold.id);
                about.log(
                    module_path!(),
                    Level::Error,
                    &[("tokens", used.count().into())],
                    format_args!(
                        "Account {name} is damaged ({damage}): a settlement of {used} tokens was not charged and is not retried. Restore the record"
                    ),
                );
                None
            }
            Err(error) => {
                self.metrics.store_errors.add(1);
                about.log_throttled(
                    &WAITS,
                    module_path!(),
                    Level::Warn,
                    &[("tokens", used.count().into())],
                    format_args!(
                        "A settlement of {used} tokens waits for the store: {error}. It is retried until it succeeds; no tokens are lost"
                    ),
                );
                let may_be_done = matches!(error, StoreError::Unknown(_));
                let command = Pending::Settlement { hold, used, note };
                self.spawn_retries(command, may_be_done, about.into());
                None
            }
        }
    }

    fn acknowledge(
        &self,
        generation: Option<u64>,
        (hold, used, note): (Hold, Tokens, String),
        settled: Option<Settlement>,
        about: About<'_>,
    ) -> Option<Tokens> {
        self.journal.end(&hold.id);
        let settled = settled?;
        self.replay.charged(about, &hold.account, settled);
        let Hold { account, id, .. } = hold;
        let said = Acknowledged::Settlement {
            account,
            id,
            used,
            note,
        };
        self.replay.remember(generation, said);
        Some(settled.left)
    }

    /// Releases a hold that may have been taken: the store's answer to its admission was lost.
    pub(crate) fn release_later(self: &Arc<Self>, key: KeyName, id: String, about: About<'_>) {
        self.spawn_retries(Pending::Release { key, id }, true, about.into());
    }

    /// Retries a command until the store has answered it. `may_be_done`: an earlier try may have reached the
    /// store, so this one says that it is a retry.
    fn spawn_retries(
        self: &Arc<Self>,
        mut command: Pending,
        mut may_be_done: bool,
        about: OwnedAbout,
    ) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING_COMMANDS {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            let line = format_args!(
                "{command} was dropped: too many wait for the store already. Its hold expires and is charged by accounts.orphans"
            );
            let about = about.about();
            about.log_throttled(&DROPPED, module_path!(), Level::Error, &[], line);
            return;
        }
        self.metrics.settlements_waiting.add(1);
        let delivery = self.clone();
        let guard = self.in_flight.enter_owned();
        tokio::spawn(async move {
            let mut pause = FIRST_BACKOFF;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = delivery.in_flight.is_cut() => {
                        let line = format_args!("{command} did not reach the store before shutdown. A settlement is repeated from the journal at the next start; a hold ends when it expires");
                        about.about().log(module_path!(), Level::Error, &[], line);
                        break;
                    }
                }
                match delivery.deliver(command, may_be_done, about.about()).await {
                    Ok(()) => {
                        delivery.metrics.settlements_delivered_late.add(1);
                        break;
                    }
                    Err((command, error @ StoreError::Damaged { .. })) => {
                        let line =
                            format_args!("{command} was given up: {error}. Restore the record");
                        about.about().log(module_path!(), Level::Error, &[], line);
                        break;
                    }
                    Err((again, error)) => {
                        command = again;
                        may_be_done |= matches!(error, StoreError::Unknown(_));
                        pause = (pause * 2).min(MAX_BACKOFF);
                    }
                }
            }
            delivery.waiting.fetch_sub(1, Ordering::Relaxed);
            drop(guard);
        });
    }

    /// Sends a command to the store once. `Err`: returns the command, not delivered.
    async fn deliver(
        &self,
        command: Pending,
        retry: bool,
        about: About<'_>,
    ) -> Result<(), (Pending, StoreError)> {
        let generation = self.store.generation();
        match command {
            Pending::Settlement { hold, used, note } => {
                let (account, id) = (&hold.account, &hold.id);
                match self.store.settle(account, id, used, retry, &note).await {
                    Ok(settled) => self.acknowledge(generation, (hold, used, note), settled, about),
                    Err(error) => return Err((Pending::Settlement { hold, used, note }, error)),
                };
            }
            Pending::Release { key, id } => {
                if let Err(error) = self.store.release(&key, &id).await {
                    return Err((Pending::Release { key, id }, error));
                }
                self.replay
                    .remember(generation, Acknowledged::Release { key, id });
            }
        }
        Ok(())
    }
}

/// Counts a settlement in the metrics, and logs an overrun.
pub fn charged(metrics: &Metrics, about: About<'_>, settled: Settlement) {
    metrics.tokens_charged.add(settled.charged.count());
    if !settled.overrun.is_zero() {
        metrics.tokens_overrun.add(settled.overrun.count());
        let (account, overrun) = (about.account.unwrap_or("-"), settled.overrun);
        about.log_throttled(
            &OVERRUN,
            module_path!(),
            Level::Warn,
            &[("tokens", overrun.count().into())],
            format_args!(
                "Account {account} used {overrun} tokens more than it had: an upper bound was too low, or its hold had expired. They are recorded as overrun"
            ),
        );
    }
}

/// Command that the store has not answered yet: settle or release.
enum Pending {
    Settlement {
        hold: Hold,
        used: Tokens,
        /// JSON object for the ledger.
        note: String,
    },
    Release {
        key: KeyName,
        id: String,
    },
}

impl std::fmt::Display for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pending::Settlement { hold, used, .. } => {
                write!(
                    f,
                    "A settlement of {used} tokens of account {}",
                    hold.account.id()
                )
            }
            Pending::Release { key, .. } => {
                write!(f, "The release of a hold of account {}", key.id())
            }
        }
    }
}
