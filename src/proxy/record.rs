//! One record of every settled request, in its tenant's usage log.
//!
//! Records wait in bounded memory for a task of their own, which writes them together ten times a second:
//! no request waits for its record or wakes anyone for it, and one that cannot be kept is counted and
//! dropped.

use super::exchange::Exchange;
use crate::rules::amount::{Millis, Tokens};
use crate::rules::date::rfc3339;
use crate::rules::tenant::TenantId;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use serde::Serialize;
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    time: String,
    tenant: &'a str,
    account: &'a str,
    group: &'a str,
    endpoint: &'a str,
    model: Option<&'a str>,
    call: &'a str,
    tokens_in: Tokens,
    tokens_out: Tokens,
    tokens_cached: Tokens,
    reported: bool,
    cost: Tokens,
    status: u16,
    latency_ms: Millis,
    request_id: &'a str,
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
    pub fn record(&self, exchange: &Exchange, cost: Tokens) {
        let Some(tenant) = &exchange.tenant else {
            return;
        };
        let now: Millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .into();
        let usage = exchange.usage.unwrap_or_default();
        let record = Record {
            time: rfc3339(now),
            tenant: tenant.as_str(),
            account: &exchange.account,
            group: &exchange.group,
            endpoint: &exchange.endpoint,
            model: exchange.model.as_deref(),
            call: exchange.call,
            tokens_in: usage.input(),
            tokens_out: usage.output,
            tokens_cached: usage.cache_read,
            reported: exchange.usage.is_some(),
            cost,
            status: exchange.status,
            latency_ms: Millis::from(exchange.started.elapsed()),
            request_id: &exchange.request_id,
        };
        // Strings and numbers always have a text.
        let text = serde_json::to_string(&record).unwrap_or_default();
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

async fn write(waiting: Arc<Waiting>, store: Arc<dyn Store>, metrics: Arc<Metrics>) {
    loop {
        let is_last = tokio::time::timeout(WRITE_EVERY, waiting.finish.notified())
            .await
            .is_ok();
        for (tenant, records) in waiting.take().by_tenant {
            for records in records.chunks(TOGETHER) {
                write_together(&tenant, records, &*store, &metrics).await;
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
    store: &dyn Store,
    metrics: &Metrics,
) {
    let mut tries = 0;
    while let Err(error) = store.record(tenant, records).await {
        tries += 1;
        if tries == TRIES {
            let count = records.len();
            log::error!("{count} usage records of tenant {tenant} are lost: {error}");
            metrics.records_dropped.add(count as u64);
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
