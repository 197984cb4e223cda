//! The beginning of every command: the settings, what the store keeps by them, and the runtime.

use crate::settings::{self, KeyNaming, Settings, Unusable};
use crate::store::name::KeyNames;
use crate::store::{AccountSettings, Clock, LogBounds};
use std::path::PathBuf;

/// Like [`load_located`], with all faults as one text.
pub(super) fn load(path: Option<&PathBuf>) -> Result<Settings, String> {
    load_located(path).map_err(|unusable| unusable.to_string())
}

/// Loads and validates the settings, tenant configs included; the error holds one line for each fault.
pub(super) fn load_located(path: Option<&PathBuf>) -> Result<Settings, Unusable> {
    settings::load_from_process(path.map(PathBuf::as_path))
}

/// Maps `accounts` and `usage` settings to the store's options.
pub(super) fn keeping(settings: &Settings) -> AccountSettings {
    let usage = &settings.usage;
    AccountSettings {
        orphans: settings.accounts.orphans,
        clock: Clock::Store,
        log: LogBounds {
            records: usage.records,
            age: settings.usage_age().into(),
        },
        whole_postings: settings.retention.postings.into(),
        audit: LogBounds::of_audit(settings.retention.audit.into()),
        credit_replicas: settings.accounts.credit_replicas,
        key_names: KeyNames::new(
            settings.accounts.key_secret.as_ref().map(|key| &key.0),
            settings.accounts.key_names == KeyNaming::Hashed,
        ),
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    // Connections are served by the threads of `serve::workers`; this thread runs accepting and background
    // tasks.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| format!("Cannot start the runtime: {error}"))
}
