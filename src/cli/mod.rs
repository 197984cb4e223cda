//! The `resullm` command line: serves, checks settings, maintains a store, and administers tenants, keys and people.
//!
//! `tenant`, `key`, `user`, `usage` and `audit` make requests to the admin routes of `local/`: to their handlers in this
//! process (`in_process.rs`), or over HTTP to a running gateway (`over_http.rs`). They never write to the store by
//! another path.

mod ask;
mod call;
mod desk;
mod in_process;
mod keys;
mod options;
mod over_http;
mod print;
mod reports;
mod serving;
mod shown;
mod start;
mod store_commands;
mod table;
mod tenants;
mod users;

use crate::local::openapi;
use crate::rules::config;
use crate::serve::tls;
use crate::settings::{self, Settings};
use ask::ask;
use clap::{Parser, Subcommand};
use keys::KeyArguments;
use print::print;
use reports::{AuditArguments, UsageArguments};
use start::load;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use store_commands::StoreCommand;
use tenants::TenantArguments;
use users::UserArguments;

#[derive(Parser)]
#[command(
    name = "resullm",
    version,
    about = "An LLM gateway with exact books. Without a command it serves."
)]
struct Arguments {
    /// The settings file (default: `./gateway.yaml` if it exists, else built-in defaults)
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Take over the listening sockets of the process that started this one
    #[arg(long = "take-over", hide = true)]
    take_over: bool,
    /// Format of the lines that say why the settings cannot be used; of the process that started this one
    #[arg(long = "log-errors-as", hide = true, value_parser = ["human", "json"])]
    log_errors_as: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Validate the settings and report every fault with file, line and column
    Check,
    /// Tenants: list, get, put, delete, seal
    Tenant(TenantArguments),
    /// Keys: list, show, mint, credit, debit, move, revoke, roll, suspend, resume, ledger
    Key(KeyArguments),
    /// People: list, show, credit, debit, suspend, resume, delete, export, ledger
    User(UserArguments),
    /// Sums of what a tenant's accounts have used
    #[command(
        after_help = "Example:\n  resullm usage --tenant acme --days 7 --by day,model --csv > usage.csv"
    )]
    Usage(UsageArguments),
    /// The log of changes: who changed what, when and from where
    #[command(
        after_help = "Example:\n  resullm audit --tenant acme --action key.credited --since 2026-01-31"
    )]
    Audit(AuditArguments),
    /// The store: copy; of a stopped gateway with an embedded store: check, backup, restore
    #[command(subcommand)]
    Store(StoreCommand),
    /// Remove at once what is older than `retention` allows
    Purge,
    /// Print the OpenAPI document of the gateway's own routes
    Openapi,
    /// Print the JSON Schema of `gateway.yaml`, or of a tenant's config
    Schema {
        #[arg(value_parser = ["gateway", "tenant"], default_value = "gateway")]
        of: String,
    },
}

/// Runs the command and returns the process's exit code: 0, 1 (failed) or 2 (bad arguments).
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let path = arguments.config.as_ref();
    match arguments.command {
        Some(Command::Purge) => store_commands::purge(path),
        Some(Command::Openapi) => print(openapi::text()),
        Some(Command::Schema { of }) => print(&schema(&of)),
        Some(Command::Check) => check(path),
        Some(Command::Tenant(asked)) => tenants::tenant(path, asked),
        Some(Command::Key(KeyArguments { at, command })) => {
            ask(path, &at.way, keys::call(&at.tenant, command))
        }
        Some(Command::User(UserArguments { at, command })) => {
            ask(path, &at.way, users::call(&at.tenant, command))
        }
        Some(Command::Usage(asked)) => {
            let (way, call) = reports::usage(asked);
            ask(path, &way, Ok(call))
        }
        Some(Command::Audit(asked)) => {
            let (way, call) = reports::audit(asked);
            ask(path, &way, Ok(call))
        }
        Some(Command::Store(StoreCommand::Embedded(command))) => {
            store_commands::maintain_store(path, &command)
        }
        Some(Command::Store(StoreCommand::Copy { from, to })) => {
            store_commands::copy_store(path, &from, &to)
        }
        Some(Command::Store(StoreCommand::Index)) => store_commands::index(path),
        None => {
            let errors_as = arguments.log_errors_as.as_deref();
            serving::serve(path, arguments.take_over, errors_as)
        }
    }
}

fn schema(of: &str) -> String {
    let schema = match of {
        "tenant" => config::schema(),
        _ => settings::gateway_schema(&config::schema()),
    };
    format!("{schema:#}")
}

/// Runs `resullm check`.
fn check(path: Option<&PathBuf>) -> ExitCode {
    match load(path).and_then(with_certificates) {
        Ok(settings) => {
            let from = settings
                .source
                .as_ref()
                .map_or("the built-in defaults".into(), |file| {
                    file.to_string_lossy()
                });
            let mut err = std::io::stderr().lock();
            for warning in &settings.warnings {
                let _ = writeln!(err, "warning: {warning}");
            }
            print(&format!(
                "{from}: good; tenants to seed: {}",
                settings.tenants.0.len()
            ))
        }
        Err(faults) => {
            let mut err = std::io::stderr().lock();
            let _ = writeln!(err, "{}", faults.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Passes `settings` through if every certificate and key of `server.listen` and `server.admin_listen` can be loaded.
fn with_certificates(settings: Settings) -> Result<Settings, String> {
    let server = &settings.server;
    for listener in server.listen.iter().chain(&server.admin_listen) {
        if let Some(tls) = &listener.tls {
            tls::load(tls)?;
        }
    }
    Ok(settings)
}
