//! Opens the store engine that the settings name. The only place that chooses between engines, beside `copy.rs`,
//! whose ends need no gateway's engine.

use super::embedded::Embedded;
use super::redis::Redis;
use super::{AccountSettings, Store};
use crate::settings;
use std::sync::Arc;

/// Opens the store and checks that it answers. `Err`: the reason in one line.
pub async fn open(
    store: &settings::Store,
    keeping: AccountSettings,
) -> Result<Arc<dyn Store>, String> {
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
