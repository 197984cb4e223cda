//! Events on their way to a webhook: signing, delivery in order, redelivery with backoff.
//!
//! Events are signed when they are sent, not when they happen, so a redelivery carries a fresh timestamp. They are
//! never delivered after the account is gone.

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use ring::hmac;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Deliveries of one event before it is given up.
const MAX_DELIVERIES: u32 = 10;
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// Longest wait for a webhook; later is a failed delivery.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Events of one account that wait for their first delivery; what is beyond is recorded and not delivered.
pub(super) const MAX_WAITING_EVENTS: usize = 1_000;
/// Events of one account that are redelivered at the same time; what is beyond is not redelivered.
const MAX_REDELIVERIES: usize = 100;

/// Source of Unix seconds. Tests set the time; the gateway passes [`system_clock`].
pub type UnixClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Clock of the machine.
pub fn system_clock() -> UnixClock {
    Arc::new(|| {
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.as_secs())
    })
}

/// One event as it is sent to the webhook.
#[derive(Clone, Debug)]
pub struct SignedEvent {
    /// API key of the account that it is from.
    pub key: String,
    /// `evt_…`
    pub id: String,
    /// Stripe's `type`, such as `invoice.paid`.
    pub kind: String,
    pub body: Bytes,
    /// Value of `Stripe-Signature`.
    pub signature: String,
}

/// Destination of events: the gateway's webhook, or a test's.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// Returns whether the event was acknowledged with a 2xx.
    async fn deliver(&self, event: SignedEvent) -> bool;
}

/// An event that is not yet signed.
#[derive(Clone, Debug)]
pub(super) struct RecordedEvent {
    pub id: String,
    pub kind: String,
    pub body: Bytes,
}

/// Signs an account's events with every secret of its webhook.
pub(super) struct Signer {
    key: String,
    clock: UnixClock,
    secrets: Mutex<Vec<String>>,
}

impl Signer {
    pub(super) fn new(key: &str, clock: UnixClock) -> Signer {
        Signer {
            key: key.to_owned(),
            clock,
            secrets: Mutex::default(),
        }
    }

    pub(super) fn set_secrets(&self, secrets: Vec<String>) {
        *self.secrets.lock() = secrets;
    }

    /// Value of `Stripe-Signature`: one `v1` for each secret, so that secrets can be rotated.
    pub(super) fn signature(&self, body: &[u8], at: u64) -> String {
        let mut signature = format!("t={at}");
        let signed = [at.to_string().as_bytes(), b".", body].concat();
        for secret in self.secrets.lock().iter() {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let tag = hmac::sign(&key, &signed);
            signature += ",v1=";
            signature += &hex::encode(tag);
        }
        signature
    }

    /// Signs at the present time.
    pub(super) fn signed(&self, event: RecordedEvent) -> SignedEvent {
        SignedEvent {
            signature: self.signature(&event.body, (self.clock)()),
            key: self.key.clone(),
            id: event.id,
            kind: event.kind,
            body: event.body,
        }
    }
}

/// Delivers an account's events in their order. A failed one is redelivered beside the later ones, as Stripe does.
pub(super) async fn deliver_all(
    mut events: mpsc::Receiver<RecordedEvent>,
    signer: Arc<Signer>,
    destination: Arc<dyn Deliver>,
) {
    let redeliveries = Arc::new(Semaphore::new(MAX_REDELIVERIES));
    while let Some(event) = events.recv().await {
        if deliver(&signer, &*destination, event.clone()).await {
            continue;
        }
        if let Ok(permit) = Arc::clone(&redeliveries).try_acquire_owned() {
            let (signer, destination) = (Arc::downgrade(&signer), Arc::clone(&destination));
            tokio::spawn(async move {
                let _permit = permit;
                let mut backoff = FIRST_BACKOFF;
                for _ in 1..MAX_DELIVERIES {
                    tokio::time::sleep(backoff).await;
                    backoff *= 2;
                    let Some(signer) = signer.upgrade() else {
                        return;
                    };
                    if deliver(&signer, &*destination, event.clone()).await {
                        return;
                    }
                }
            });
        }
    }
}

async fn deliver(signer: &Signer, destination: &dyn Deliver, event: RecordedEvent) -> bool {
    let delivery = destination.deliver(signer.signed(event));
    let delivered = tokio::time::timeout(DELIVERY_TIMEOUT, delivery).await;
    delivered.unwrap_or(false)
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
