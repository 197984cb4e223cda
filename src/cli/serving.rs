//! The gateway itself: what `resullm` does without a command.

use super::start::{keeping, load_located, runtime};
use crate::serve::build::{Deps, create_app};
use crate::serve::sockets::Sockets;
use crate::serve::{handover, life, limits, recover};
use crate::settings::{LogFormat, Settings};
use crate::store::{open, tenants};
use crate::telemetry;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

pub(super) fn serve(path: Option<&PathBuf>, take_over: bool, errors_as: Option<&str>) -> ExitCode {
    let settings = match load_located(path) {
        Ok(settings) => Arc::new(settings),
        Err(faults) => {
            let format = match errors_as {
                Some("json") => LogFormat::Json,
                Some(_) => LogFormat::Human,
                None => faults.log_format,
            };
            telemetry::log::write_errors(format, &faults.to_string());
            return ExitCode::FAILURE;
        }
    };
    telemetry::log::start(&settings.log);
    log_start(&settings);
    let served = runtime().and_then(|runtime| {
        let served = runtime.block_on(serve_until_stopped(settings, take_over));
        // Tasks that still run have exceeded the drain's deadlines: do not wait for them.
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Logs what starts: version, store, and the settings file by its hash.
fn log_start(settings: &Settings) {
    let (version, store) = (env!("CARGO_PKG_VERSION"), settings.store.kind());
    let source = settings.source.as_ref();
    let config = source.map_or("built-in defaults".into(), |file| file.to_string_lossy());
    let bytes = source.and_then(|file| std::fs::read(file).ok());
    let hash = bytes.map_or_else(String::new, tenants::version);
    log::info!(
        version = version, store = store, config = &*config, config_hash = hash.as_str();
        "ResuLLM {version} starts"
    );
}

async fn serve_until_stopped(settings: Arc<Settings>, take_over: bool) -> Result<(), String> {
    limits::raise_descriptors();
    let cannot = |error: std::io::Error| format!("Cannot take over: {error}");
    let inherited = if take_over {
        let (mut line, listeners) = handover::receive().map_err(cannot)?;
        // An address in use or a bad certificate must show while the predecessor can still go on.
        let sockets = Sockets::open(&settings, listeners)?;
        line.send(handover::SETTINGS_GOOD).await.map_err(cannot)?;
        // The predecessor releases an embedded store only after its drain, so wait for `drain_timeout` plus
        // 10 s.
        let patience = settings.server.drain_timeout + std::time::Duration::from_secs(10);
        line.expect_letter(handover::GO, patience)
            .await
            .map_err(cannot)?;
        Some((line, sockets))
    } else {
        None
    };
    if settings.admin.tokens().next().is_none() {
        log::warn!("admin.token is not set: the admin API refuses everyone (ADMIN_TOKEN sets it)");
    }
    for warning in &settings.warnings {
        log::warn!("{warning}");
    }
    let unset = settings
        .secrets
        .env
        .iter()
        .filter(|one| one.value.is_none());
    for approval in unset {
        log::warn!(
            "secrets.env approves {}, which is not set: tenant configs that use it have no key until it is set and the gateway restarted",
            approval.name
        );
    }
    let store = open::open(&settings.store, keeping(&settings)).await?;
    // First of all: a wrong key must not seal a new tenant's secrets.
    recover::check_seals(&settings, &*store).await?;
    recover::check_key_secret(&*store).await?;
    recover::seed(&settings, &*store).await?;
    let journal = recover::open_journal(&settings, &*store).await?;
    let app = create_app(Deps {
        settings: settings.clone(),
        store,
        journal,
    });
    let (line, sockets) = match inherited {
        Some((line, sockets)) => (Some(line), sockets),
        None => (None, Sockets::open(&settings, Vec::new())?),
    };
    life::serve(app, sockets, line)
        .await
        .map_err(|error| format!("Cannot serve: {error}"))
}
