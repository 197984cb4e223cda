//! One record of every settled request, in its tenant's usage log.
//!
//! Records wait in bounded memory for a task of their own: no request waits for its record, and one
//! that cannot be kept is counted and dropped.

use super::exchange::Exchange;
use crate::rules::amount::{Millis, Tokens};
use crate::rules::date::rfc3339;
use crate::rules::tenant::TenantId;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

const WAITING: usize = 20_000;
const TOGETHER: usize = 500;
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

type Record = (TenantId, String);

pub struct Recorder {
    sender: Mutex<Option<Sender<Record>>>,
    receiver: Mutex<Option<Receiver<Record>>>,
    worker: Mutex<Option<JoinHandle<()>>>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

impl Recorder {
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Recorder {
        let (sender, receiver) = mpsc::channel(WAITING);
        Recorder {
            sender: Mutex::new(Some(sender)),
            receiver: Mutex::new(Some(receiver)),
            worker: Mutex::default(),
            store,
            metrics,
        }
    }

    /// From here on, what is recorded is written.
    pub fn start(&self) {
        let receiver = self
            .receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(receiver) = receiver {
            let worker = tokio::spawn(write(receiver, self.store.clone(), self.metrics.clone()));
            *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        }
    }

    /// Writes what there is and ends.
    pub async fn finish(&self) {
        self.sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
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
        let Some(tenant) = exchange.tenant.as_deref().and_then(TenantId::parse) else {
            return;
        };
        let now: Millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .into();
        let usage = exchange.usage.unwrap_or_default();
        let record = json!({
            "time": rfc3339(now),
            "tenant": tenant.as_str(),
            "account": exchange.account,
            "group": exchange.group,
            "endpoint": exchange.endpoint,
            "model": exchange.model,
            "call": exchange.call,
            "tokensIn": usage.input(),
            "tokensOut": usage.output,
            "tokensCached": usage.cache_read,
            "reported": exchange.usage.is_some(),
            "cost": cost,
            "status": exchange.status,
            "latencyMs": Millis::from(exchange.started.elapsed()),
            "requestId": exchange.request_id,
        });
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = sender
            .as_ref()
            .is_some_and(|sender| sender.try_send((tenant, record.to_string())).is_ok());
        if !kept {
            self.metrics.records_dropped.add(1);
        }
    }
}

async fn write(mut receiver: Receiver<Record>, store: Arc<dyn Store>, metrics: Arc<Metrics>) {
    let mut records = Vec::new();
    while receiver.recv_many(&mut records, TOGETHER).await > 0 {
        let mut by_tenant: BTreeMap<TenantId, Vec<String>> = BTreeMap::new();
        for (tenant, record) in records.drain(..) {
            by_tenant.entry(tenant).or_default().push(record);
        }
        for (tenant, records) in by_tenant {
            let mut tries = 0;
            while let Err(error) = store.record(&tenant, &records).await {
                tries += 1;
                if tries == TRIES {
                    log::error!(
                        "{} usage records of tenant {tenant} are lost: {error}",
                        records.len()
                    );
                    metrics.records_dropped.add(records.len() as u64);
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
