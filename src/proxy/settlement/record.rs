//! One record of every settled request, in its tenant's usage log.
//!
//! Records wait in bounded memory for a task of their own, which writes them together ten times a second:
//! no request waits for its record or wakes anyone for it, and one that cannot be kept is counted and
//! dropped.

use crate::http1::write::decimal;
use crate::proxy::exchange::Exchange;
use crate::rules::amount::Millis;
use crate::rules::charge::{Basis, Charge};
use crate::rules::date::rfc3339;
use crate::rules::tenant::TenantId;
use crate::store::{Outcome, Store};
use crate::telemetry::metrics::Metrics;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const WAITING: usize = 50_000;
const TOGETHER: usize = 500;
const WRITE_EVERY: Duration = Duration::from_millis(100);
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

pub struct Recorder {
    waiting: Arc<Waiting>,
    worker: Mutex<Option<JoinHandle<()>>>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Waiting {
    records: Mutex<Records>,
    finish: Notify,
}

#[derive(Default)]
struct Records {
    by_tenant: BTreeMap<TenantId, Vec<String>>,
    count: usize,
}

impl Waiting {
    fn take(&self) -> Records {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *records)
    }
}

impl Recorder {
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Recorder {
        Recorder {
            waiting: Arc::default(),
            worker: Mutex::default(),
            store,
            metrics,
        }
    }

    /// From here on, what is recorded is written.
    pub fn start(&self) {
        let work = write(
            self.waiting.clone(),
            self.store.clone(),
            self.metrics.clone(),
        );
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::spawn(work));
    }

    /// Writes what there is and ends.
    pub async fn finish(&self) {
        self.waiting.finish.notify_one();
        let worker = self
            .worker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(worker) = worker
            && worker.await.is_err()
        {
            log::error!("The task that writes usage records ended badly");
        }
    }

    /// Of a request that was admitted, when it is over.
    pub fn record(&self, exchange: &Exchange, charge: &Charge, lasted: Duration) {
        let Some(tenant) = &exchange.tenant else {
            return;
        };
        let now: Millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .into();
        let usage = exchange.usage();
        let mut text = String::with_capacity(ROOM);
        let mut record = Object(&mut text);
        record.ours("time", &rfc3339(now));
        record.ours("tenant", tenant.as_str());
        record.word("account", &exchange.account);
        record.word("group", exchange.group());
        record.word("endpoint", &exchange.endpoint);
        match &exchange.model {
            Some(model) => record.word("model", model),
            None => record.raw("model", "null"),
        }
        record.ours("call", exchange.call);
        record.number("tokensIn", usage.input().count());
        record.number("tokensOut", usage.output.count());
        record.number("tokensCached", usage.cache_read.count());
        let is_reported = charge.basis == Basis::Reported;
        record.raw("reported", if is_reported { "true" } else { "false" });
        record.ours("basis", word(charge.basis));
        record.number("cost", charge.cost.count());
        record.number("status", exchange.status.into());
        record.number("latencyMs", Millis::from(lasted).0);
        record.word("requestId", &exchange.request_id);
        text.push('}');
        let mut waiting = self
            .waiting
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.count >= WAITING {
            self.metrics.records_dropped.add(1);
            return;
        }
        waiting.count += 1;
        match waiting.by_tenant.get_mut(tenant) {
            Some(records) => records.push(text),
            None => {
                waiting.by_tenant.insert(tenant.clone(), vec![text]);
            }
        }
    }
}

/// What a charge rests on, in a record's word.
fn word(basis: Basis) -> &'static str {
    match basis {
        Basis::Reported => "reported",
        Basis::Counted => "counted",
        Basis::Held => "held",
        Basis::Nothing => "nothing",
    }
}

/// A record has about so many bytes.
const ROOM: usize = 448;

/// A JSON object, written member by member: one is written with every request.
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
        let mut digits = [0; 20];
        let digits = std::str::from_utf8(decimal(&mut digits, value));
        self.raw(name, digits.unwrap_or("0"));
    }

    /// A word of the gateway's own, which needs no escapes.
    fn ours(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push('"');
        self.0.push_str(value);
        self.0.push('"');
    }

    fn word(&mut self, name: &str, value: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if value.bytes().all(is_plain) {
            self.ours(name, value);
        } else {
            self.raw(name, &serde_json::Value::from(value).to_string());
        }
    }
}

async fn write(waiting: Arc<Waiting>, store: Arc<dyn Store>, metrics: Arc<Metrics>) {
    let mut lost = 0;
    loop {
        let is_last = tokio::time::timeout(WRITE_EVERY, waiting.finish.notified())
            .await
            .is_ok();
        for (tenant, records) in waiting.take().by_tenant {
            for records in records.chunks(TOGETHER) {
                let written = write_together(&tenant, records, &*store).await;
                // Said when it begins and when it is over: a store can be lost for long.
                match written {
                    Ok(()) if lost > 0 => {
                        log::error!("{lost} usage records are lost; they are written again");
                        lost = 0;
                    }
                    Ok(()) => {}
                    Err(error) => {
                        if lost == 0 {
                            log::error!("Usage records cannot be written: {error}");
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

async fn write_together(tenant: &TenantId, records: &[String], store: &dyn Store) -> Outcome<()> {
    let mut tries = 1;
    loop {
        match store.record(tenant, records).await {
            Err(_) if tries < TRIES => tries += 1,
            written => return written,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_is_in_a_word_the_record_is_json(word in any::<String>(), number: u64) {
            let mut text = String::new();
            let mut object = Object(&mut text);
            object.word("word", &word);
            object.number("number", number);
            object.raw("none", "null");
            text.push('}');
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read["word"], &serde_json::Value::from(word));
            prop_assert_eq!(&read["number"], &serde_json::Value::from(number));
        }
    }
}
