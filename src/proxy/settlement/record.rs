//! Writes one usage record of every settled call to its tenant's log.
//!
//! Records wait in a buffer for a task that writes them in batches, ten times a second: no request waits for its record
//! or wakes a task. While the store is away they go on waiting. The journal has each of them until it is written, so a
//! crash loses none; one that the buffer has no room for is left to the journal, and to the next start.

use crate::proxy::exchange::Exchange;
use crate::proxy::settlement::bill::Bill;
use crate::proxy::settlement::members::MemberWriter;
use crate::proxy::settlement::receipt::Labels;
use crate::rules::amount::{Millis, Tokens};
use crate::rules::charge::Charge;
use crate::rules::tenant::TenantId;
use crate::store::UsageLog;
use crate::store::journal::Journal;
use crate::store::name::LogName;
use crate::telemetry::metrics::Metrics;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Records that may wait; beyond it, new ones are left to the journal.
const MAX_WAITING_RECORDS: usize = 500_000;
const RECORDS_PER_WRITE: usize = 500;
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// Tries to write a record at shutdown.
const LAST_TRIES: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

pub struct Recorder {
    buffer: Arc<Buffer>,
    worker: Mutex<Option<JoinHandle<()>>>,
    store: Arc<dyn UsageLog>,
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Buffer {
    records: Mutex<Records>,
    /// Records that are buffered, or about to be written.
    unwritten: AtomicUsize,
    finish: Notify,
    is_finishing: AtomicBool,
}

#[derive(Default)]
struct Records {
    by_tenant: BTreeMap<TenantId, Vec<Record>>,
    count: usize,
}

struct Record {
    /// ID of the hold, by which the journal knows the call.
    id: String,
    text: String,
}

impl Buffer {
    fn take(&self) -> Records {
        let mut records = self.records.lock();
        std::mem::take(&mut *records)
    }

    fn is_empty(&self) -> bool {
        self.records.lock().count == 0
    }
}

impl Recorder {
    pub fn new(store: Arc<dyn UsageLog>, journal: Arc<Journal>, metrics: Arc<Metrics>) -> Recorder {
        Recorder {
            buffer: Arc::default(),
            worker: Mutex::default(),
            store,
            journal,
            metrics,
        }
    }

    /// Returns the number of records that are not written yet.
    pub(crate) fn unwritten_count(&self) -> usize {
        self.buffer.unwritten.load(Ordering::Relaxed)
    }

    /// Starts the task that writes buffered records.
    pub fn start(&self) {
        let (buffer, store) = (self.buffer.clone(), self.store.clone());
        let work = write(buffer, store, self.journal.clone());
        *self.worker.lock() = Some(tokio::spawn(work));
    }

    /// Writes what is buffered and ends the task.
    pub async fn finish(&self) {
        self.buffer.is_finishing.store(true, Ordering::Release);
        self.buffer.finish.notify_one();
        let worker = self.worker.lock().take();
        if let Some(worker) = worker
            && worker.await.is_err()
        {
            log::error!(
                "The task that writes usage records panicked: the next start writes the others from the journal. Balances are not affected"
            );
        }
    }

    /// Records a call that was admitted and is over. `status`: of the answer, 0 where none was written.
    pub(crate) fn record(&self, exchange: &Exchange<'_>, status: u16, lasted: Duration) {
        let (Some(tenant), Some(bill)) = (&exchange.tenant, &exchange.bill) else {
            return;
        };
        let Some(receipt) = bill.receipt() else {
            return;
        };
        let mut record = receipt.begin_record(tenant, bill.labels());
        record.number("status", status.into());
        record.number("latencyMs", Millis::from(lasted).0);
        record_amount(&mut record, bill);
        record_way(&mut record, exchange, bill, &receipt.charge);
        let record = Record {
            id: receipt.id.clone(),
            text: record.object(),
        };
        let mut waiting = self.buffer.records.lock();
        if waiting.count >= MAX_WAITING_RECORDS {
            self.metrics.records_dropped.add(1);
            return;
        }
        waiting.count += 1;
        self.buffer.unwritten.fetch_add(1, Ordering::Relaxed);
        match waiting.by_tenant.get_mut(tenant) {
            Some(records) => records.push(record),
            None => {
                waiting.by_tenant.insert(tenant.clone(), vec![record]);
            }
        }
    }
}

/// Writes what the call costs in money, where its tenant has a price for it.
fn record_amount(record: &mut MemberWriter, bill: &Bill) {
    if let (Some(amount), Some(currency)) = (bill.amount(), bill.currency()) {
        record.raw("amount", &amount.to_string());
        record.plain("currency", currency);
    }
}

/// Writes how the answer came, where that was not from the first endpoint at once.
fn record_way(record: &mut MemberWriter, exchange: &Exchange<'_>, bill: &Bill, charge: &Charge) {
    if exchange.outcome.cache == Some("hit") {
        record.plain("cache", "hit");
    }
    let (failed, is_all) = bill.failed_attempts();
    if failed.len() > usize::from(is_all) {
        record.raw("attempts", &attempts(exchange, bill, charge));
    }
}

/// One attempt of a call, as the record has it.
#[derive(Serialize)]
struct Attempt<'a> {
    endpoint: &'a str,
    model: Option<&'a str>,
    outcome: &'static str,
    cost: Tokens,
}

/// Value of the record's `attempts` member, for a call that was answered, or given up, at its second attempt or later.
fn attempts(exchange: &Exchange<'_>, bill: &Bill, charge: &Charge) -> String {
    let (failed, is_all) = bill.failed_attempts();
    let before: Tokens = failed.iter().map(|attempt| attempt.cost).sum();
    let Labels {
        endpoint, model, ..
    } = bill.labels();
    let last = Attempt {
        endpoint,
        model: model.as_deref(),
        outcome: exchange.outcome.provider_word(),
        cost: charge.cost.minus(before),
    };
    let failed = failed.iter().map(|attempt| Attempt {
        endpoint: &attempt.endpoint,
        model: attempt.model.as_deref(),
        outcome: attempt.outcome,
        cost: attempt.cost,
    });
    let last = Some(last).filter(|_| !is_all);
    let all: Vec<Attempt<'_>> = failed.chain(last).collect();
    // Cannot fail: texts and numbers alone.
    serde_json::to_string(&all).unwrap_or_else(|_| "[]".to_owned())
}

async fn write(buffer: Arc<Buffer>, store: Arc<dyn UsageLog>, journal: Arc<Journal>) {
    let mut is_failing = false;
    loop {
        let is_last = tokio::time::timeout(WRITE_EVERY, buffer.finish.notified())
            .await
            .is_ok();
        for (tenant, records) in buffer.take().by_tenant {
            let log = LogName::usage(&tenant);
            let mut records = records.into_iter();
            loop {
                let (ids, texts): (Vec<String>, Vec<String>) = records
                    .by_ref()
                    .take(RECORDS_PER_WRITE)
                    .map(|record| (record.id, record.text))
                    .unzip();
                if ids.is_empty() {
                    break;
                }
                if write_together(&log, &texts, &buffer, &*store, &mut is_failing).await {
                    journal.recorded(ids.iter().map(String::as_str));
                }
                buffer.unwritten.fetch_sub(ids.len(), Ordering::Relaxed);
            }
        }
        if is_last || buffer.is_finishing.load(Ordering::Acquire) && buffer.is_empty() {
            return;
        }
    }
}

/// Writes records until the store has them. False: it did not take them before the shutdown.
async fn write_together(
    log: &LogName,
    records: &[String],
    buffer: &Buffer,
    store: &dyn UsageLog,
    is_failing: &mut bool,
) -> bool {
    let mut last_tries = 0;
    loop {
        match store.record(log, records).await {
            Ok(()) => {
                if std::mem::take(is_failing) {
                    log::info!("Usage records are written again; none of the outage are lost");
                }
                return true;
            }
            // Logged at the start and the end of an outage only, which can be long.
            Err(error) => {
                if !std::mem::replace(is_failing, true) {
                    log::error!(
                        log = log.as_str();
                        "Usage records cannot be written: {error}. They wait until the store recovers; balances are not affected"
                    );
                }
            }
        }
        last_tries += u32::from(buffer.is_finishing.load(Ordering::Acquire));
        if last_tries >= LAST_TRIES {
            log::error!(
                records = records.len(), log = log.as_str();
                "{} usage records were not written before shutdown; the next start writes them from the journal: keep its directory",
                records.len()
            );
            return false;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}
