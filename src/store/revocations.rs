//! Keys that were revoked lately, on any instance: their calls in flight end.
//!
//! A revoked key is refused at its next request, because the store says so. What is still in flight with it learns of it
//! here: each instance asks twice a second for what was announced.

use super::leases::Leases;
use super::name::KeyName;
use super::{People, StoreError};
use crate::rules::issued_key::KeyId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Interval at which announcements are asked for.
const ASKED_EVERY: Duration = Duration::from_millis(500);
/// Time for which a revoked key is remembered: no call that was admitted before is unaware of it after that.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

pub struct Revocations {
    store: Arc<dyn People>,
    leases: Arc<Leases>,
    recent: Mutex<HashMap<KeyId, Instant>>,
    /// Whether `recent` has any: most calls need not look.
    has_any: AtomicBool,
}

impl Revocations {
    pub fn new(store: Arc<dyn People>, leases: Arc<Leases>) -> Arc<Revocations> {
        Arc::new(Revocations {
            store,
            leases,
            recent: Mutex::default(),
            has_any: AtomicBool::new(false),
        })
    }

    /// Whether a key was revoked, or its account suspended, after a moment of late.
    pub fn has_since(&self, key: &KeyName, moment: Instant) -> bool {
        if !self.has_any.load(Ordering::Relaxed) {
            return false;
        }
        let recent = self.recent.lock();
        recent.get(&key.id()).is_some_and(|at| *at >= moment)
    }

    /// Ends what is in flight with these keys, here and on all instances.
    pub async fn announce(&self, ids: &[KeyId]) -> Result<(), StoreError> {
        self.note(ids, Instant::now());
        self.store.announce_revoked(ids).await
    }

    fn note(&self, ids: &[KeyId], now: Instant) {
        if !ids.is_empty() {
            self.leases.invalidate_ids(ids);
        }
        let mut recent = self.recent.lock();
        recent.retain(|_, since| now.duration_since(*since) < REMEMBERED_FOR);
        recent.extend(ids.iter().map(|id| (*id, now)));
        self.has_any.store(!recent.is_empty(), Ordering::Relaxed);
    }

    /// Runs until dropped: asks for announcements of other instances.
    pub async fn run(self: Arc<Revocations>) {
        let mut last = None;
        loop {
            // Ignored: while the store is away nothing is revoked either, and what was missed is asked for again.
            if let Ok((next, ids)) = self.store.revoked_since(last.as_deref()).await {
                last = Some(next);
                self.note(&ids, Instant::now());
            }
            tokio::time::sleep(ASKED_EVERY).await;
        }
    }
}
