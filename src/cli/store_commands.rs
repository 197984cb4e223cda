//! `resullm store …` and `resullm purge`: the store as a whole, without a gateway in between.

use super::print::{fail, print};
use super::start::{keeping, load, runtime};
use crate::settings;
use crate::store::embedded::maintenance;
use crate::store::{copy, directory, journal, open};
use clap::Subcommand;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Subcommand)]
pub(super) enum StoreCommand {
    #[command(flatten)]
    Embedded(EmbeddedCommand),
    /// Copy everything into an empty store, in the layout and with the names of keys that the settings say. FROM and TO are
    /// written like the setting `store`; the word `store` is that setting, and `file:PATH` is what a file says. The same
    /// Redis twice: names of keys are hashed in place, while gateways serve
    Copy { from: String, to: String },
    /// Make the lists of keys and people anew from all that is stored, while gateways serve. An embedded store makes its own
    Index,
}

#[derive(Subcommand)]
pub(super) enum EmbeddedCommand {
    /// Read the whole store and report damage
    Check,
    /// Write a backup of the store to one new file
    Backup { file: PathBuf },
    /// Restore a backup into a directory that is empty or does not exist
    Restore { file: PathBuf },
}

/// Runs `resullm store ...` on the embedded store; `check` prints the contents even if it found damage.
pub(super) fn maintain_store(path: Option<&PathBuf>, command: &EmbeddedCommand) -> ExitCode {
    let settings = match load(path) {
        Ok(settings) => settings,
        Err(faults) => return fail(&faults),
    };
    let settings::Store::Embedded(dir) = settings.store else {
        return fail("This is for the embedded store; Redis has tools of its own");
    };
    let store = dir.display().to_string();
    let done = match command {
        EmbeddedCommand::Check => maintenance::check(&dir).map(|(contents, mut faults)| {
            // No journal directory: no process left anything unsettled.
            let pages = journal::check(Path::new(&settings.accounts.journal));
            faults.extend(pages.unwrap_or_default());
            let told = json!({"store": store, "contents": contents, "faults": faults.len()});
            (told, faults)
        }),
        EmbeddedCommand::Backup { file } => maintenance::backup(&dir, file).map(|things| {
            let told = json!({"store": store, "backup": file, "things": things});
            (told, Vec::new())
        }),
        EmbeddedCommand::Restore { file } => maintenance::restore(&dir, file).map(|things| {
            let told = json!({"store": store, "restored": file, "things": things});
            (told, Vec::new())
        }),
    };
    match done {
        Ok((told, faults)) => {
            let printed = print(&format!("{told:#}"));
            if faults.is_empty() {
                printed
            } else {
                fail(&faults.join("\n"))
            }
        }
        Err(why) => fail(&why),
    }
}

/// Runs `resullm store copy`.
pub(super) fn copy_store(path: Option<&PathBuf>, from: &str, to: &str) -> ExitCode {
    let copied = load(path).and_then(|settings| {
        let end = |which: &str, written| {
            let end = settings::store_of(&settings, written);
            end.map_err(|why| format!("{which}: {why}"))
        };
        let (from, to) = (end("FROM", from)?, end("TO", to)?);
        let (keeping, layout) = (keeping(&settings), settings.accounts.layout);
        runtime()?.block_on(copy::copy(&from, &to, keeping, layout))
    });
    match copied {
        Ok(told) => print(&format!("{told:#}")),
        Err(why) => fail(&why),
    }
}

/// Runs `resullm store index`.
pub(super) fn index(path: Option<&PathBuf>) -> ExitCode {
    let made = load(path).and_then(|settings| {
        if matches!(settings.store, settings::Store::Embedded(_)) {
            return Err(
                "An embedded store makes its lists by itself, whenever they are first asked for"
                    .to_owned(),
            );
        }
        runtime()?.block_on(async {
            let store = open::open(&settings.store, keeping(&settings)).await?;
            let made = directory::rebuild(&*store).await;
            store.close().await;
            made.map_err(|error| error.to_string())
        })
    });
    match made {
        Ok(entries) => print(&format!("{:#}", json!({"entries": entries}))),
        Err(why) => fail(&why),
    }
}

/// Runs `resullm purge`.
pub(super) fn purge(path: Option<&PathBuf>) -> ExitCode {
    let purged = load(path).and_then(|settings| {
        runtime()?.block_on(async {
            let store = open::open(&settings.store, keeping(&settings)).await?;
            let purged = store.purge().await;
            store.close().await;
            purged.map_err(|error| error.to_string())
        })
    });
    match purged {
        Ok(records) => print(&format!("{:#}", json!({"usageRecords": records}))),
        Err(why) => fail(&why),
    }
}
