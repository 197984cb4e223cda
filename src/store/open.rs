//! From what the operator wrote to the engine that keeps it.

use super::embedded::Embedded;
use super::redis::Redis;
use super::{Keeping, Store};
use crate::settings;
use std::sync::Arc;

/// The store is there and answers, or the reason why not, in one line.
pub async fn open(store: &settings::Store, keeping: Keeping) -> Result<Arc<dyn Store>, String> {
    Ok(match store {
        settings::Store::Embedded(dir) => Arc::new(
            Embedded::open(dir, keeping)
                .map_err(|error| format!("Embedded store failed: {error}"))?,
        ),
        settings::Store::Redis(target) => Arc::new(
            Redis::open(target, keeping)
                .await
                .map_err(|error| format!("Redis connection failed: {error}"))?,
        ),
    })
}
