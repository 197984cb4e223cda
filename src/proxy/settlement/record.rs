//! Writes one usage record of every settled call to its tenant's log.
//!
//! Records wait in a bounded buffer for a task that writes them in batches, ten times a second: no request
//! waits for its record or wakes a task. A record that cannot be buffered is dropped and counted.

use crate::proxy::exchange::Exchange;
use crate::proxy::settlement::bill::{Bill, Labels};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::charge::{Basis, Charge};
use crate::rules::date::rfc3339;
use crate::rules::tenant::TenantId;
use crate::store::name::LogName;
use crate::store::{Outcome, UsageLog};
use crate::telemetry::metrics::Metrics;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Records that may wait; beyond it, new ones are dropped.
const MAX_WAITING_RECORDS: usize = 50_000;
const RECORDS_PER_WRITE: usize = 500;
const WRITE_EVERY: Duration = Duration::from_millis(100);
const WRITE_TRIES: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

pub struct Recorder {
    buffer: Arc<Buffer>,
    worker: Mutex<Option<JoinHandle<()>>>,
    store: Arc<dyn UsageLog>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Buffer {
    records: Mutex<Records>,
    /// Records that are buffered, or about to be written.
    unwritten: AtomicUsize,
    finish: Notify,
}

#[derive(Default)]
struct Records {
    by_tenant: BTreeMap<TenantId, Vec<String>>,
    count: usize,
}

impl Buffer {
    fn take(&self) -> Records {
        let mut records = self.records.lock();
        std::mem::take(&mut *records)
    }
}

impl Recorder {
    pub fn new(store: Arc<dyn UsageLog>, metrics: Arc<Metrics>) -> Recorder {
        Recorder {
            buffer: Arc::default(),
            worker: Mutex::default(),
            store,
            metrics,
        }
    }

    /// Returns the number of records that are not written yet.
    pub(crate) fn unwritten_count(&self) -> usize {
        self.buffer.unwritten.load(Ordering::Relaxed)
    }

    /// Starts the task that writes buffered records.
    pub fn start(&self) {
        let work = write(
            self.buffer.clone(),
            self.store.clone(),
            self.metrics.clone(),
        );
        *self.worker.lock() = Some(tokio::spawn(work));
    }

    /// Writes what is buffered and ends the task.
    pub async fn finish(&self) {
        self.buffer.finish.notify_one();
        let worker = self.worker.lock().take();
        if let Some(worker) = worker
            && worker.await.is_err()
        {
            log::error!(
                "The task that writes usage records panicked: records not yet written are lost. Balances are not affected"
            );
        }
    }

    /// Records a call that was admitted and is over. `status`: of the answer, 0 where none was written.
    pub(crate) fn record(&self, exchange: &Exchange<'_>, status: u16, lasted: Duration) {
        let (Some(tenant), Some(bill)) = (&exchange.tenant, &exchange.bill) else {
            return;
        };
        let Some(charge) = bill.decided() else {
            return;
        };
        let Labels {
            account,
            group,
            endpoint,
            model,
            call,
            ..
        } = bill.labels();
        let now: Millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .into();
        let usage = bill.usage();
        let mut text = String::with_capacity(USUAL_RECORD_BYTES);
        let mut record = Object(&mut text);
        record.plain("time", &rfc3339(now));
        record.plain("tenant", tenant.as_str());
        record.string("account", account);
        record.string("group", group);
        record.string("endpoint", endpoint);
        match model {
            Some(model) => record.string("model", model),
            None => record.raw("model", "null"),
        }
        record.plain("call", call);
        record.number("tokensIn", usage.input().count());
        record.number("tokensOut", usage.output.count());
        record.number("tokensCached", usage.cache_read.count());
        let is_reported = charge.basis == Basis::Reported;
        record.raw("reported", if is_reported { "true" } else { "false" });
        record.plain("basis", basis(charge.basis));
        record.number("cost", charge.cost.count());
        record.number("status", status.into());
        record.number("latencyMs", Millis::from(lasted).0);
        record.string("requestId", exchange.reply.request_id());
        record_amount(&mut record, bill);
        record_way(&mut record, exchange, bill, charge);
        text.push('}');
        let mut waiting = self.buffer.records.lock();
        if waiting.count >= MAX_WAITING_RECORDS {
            self.metrics.records_dropped.add(1);
            return;
        }
        waiting.count += 1;
        self.buffer.unwritten.fetch_add(1, Ordering::Relaxed);
        match waiting.by_tenant.get_mut(tenant) {
            Some(records) => records.push(text),
            None => {
                waiting.by_tenant.insert(tenant.clone(), vec![text]);
            }
        }
    }
}

/// Writes what the call costs in money, where its tenant has a price for it.
fn record_amount(record: &mut Object<'_>, bill: &Bill) {
    if let (Some(amount), Some(currency)) = (bill.amount(), bill.currency()) {
        record.raw("amount", &amount.to_string());
        record.plain("currency", currency);
    }
}

/// Writes how the answer came, where that was not from the first endpoint at once.
fn record_way(record: &mut Object<'_>, exchange: &Exchange<'_>, bill: &Bill, charge: &Charge) {
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

/// Value of the record's `basis` member.
fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Reported => "reported",
        Basis::Counted => "counted",
        Basis::Held => "held",
        Basis::Cached => "cached",
        Basis::Nothing => "nothing",
    }
}

/// Initial capacity in bytes of a record; a usual one fits.
const USUAL_RECORD_BYTES: usize = 448;

/// Writer of a JSON object, member by member: one is written with every call, without building a tree.
struct Object<'a>(&'a mut String);

impl Object<'_> {
    fn name(&mut self, name: &str) {
        self.0
            .push_str(if self.0.is_empty() { "{\"" } else { ",\"" });
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn raw(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push_str(value);
    }

    fn number(&mut self, name: &str, value: u64) {
        self.raw(name, itoa::Buffer::new().format(value));
    }

    /// Writes a string `value` that needs no JSON escapes.
    fn plain(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push('"');
        self.0.push_str(value);
        self.0.push('"');
    }

    fn string(&mut self, name: &str, value: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if value.bytes().all(is_plain) {
            self.plain(name, value);
        } else {
            self.raw(name, &serde_json::Value::from(value).to_string());
        }
    }
}

async fn write(buffer: Arc<Buffer>, store: Arc<dyn UsageLog>, metrics: Arc<Metrics>) {
    let mut lost = 0;
    loop {
        let is_last = tokio::time::timeout(WRITE_EVERY, buffer.finish.notified())
            .await
            .is_ok();
        for (tenant, records) in buffer.take().by_tenant {
            for records in records.chunks(RECORDS_PER_WRITE) {
                let written = write_together(&tenant, records, &*store).await;
                buffer.unwritten.fetch_sub(records.len(), Ordering::Relaxed);
                // Logged at the start and the end of an outage only, which can be long.
                match written {
                    Ok(()) if lost > 0 => {
                        log::warn!(
                            dropped = lost;
                            "Usage records are written again. {lost} of the outage are lost for good: sums of usage lack them, balances do not"
                        );
                        lost = 0;
                    }
                    Ok(()) => {}
                    Err(error) => {
                        if lost == 0 {
                            log::error!(
                                tenant = tenant.as_str();
                                "Usage records cannot be written: {error}. They are dropped until the store recovers; balances are not affected"
                            );
                        }
                        lost += records.len() as u64;
                        metrics.records_dropped.add(records.len() as u64);
                    }
                }
            }
        }
        if is_last {
            return;
        }
    }
}

async fn write_together(
    tenant: &TenantId,
    records: &[String],
    store: &dyn UsageLog,
) -> Outcome<()> {
    let mut tries = 1;
    loop {
        match store.record(&LogName::usage(tenant), records).await {
            Err(_) if tries < WRITE_TRIES => tries += 1,
            written => return written,
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_is_json_whatever_is_in_a_string(word in any::<String>(), number: u64) {
            let mut text = String::new();
            let mut object = Object(&mut text);
            object.string("word", &word);
            object.number("number", number);
            object.raw("none", "null");
            text.push('}');
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read["word"], &serde_json::Value::from(word));
            prop_assert_eq!(&read["number"], &serde_json::Value::from(number));
        }
    }
}
