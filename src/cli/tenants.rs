//! `resullm tenant …`: its words, and the requests that they mean.

use super::ask::{ask, refused};
use super::call::{AdminCall, AnswerForm};
use super::desk::Desk;
use super::options::AskOptions;
use super::print::{fail, print};
use super::start::{load, runtime};
use crate::api;
use crate::rules::identity::form::encoded;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct TenantArguments {
    #[command(flatten)]
    way: AskOptions,
    #[command(subcommand)]
    command: TenantCommand,
}

#[derive(Subcommand)]
enum TenantCommand {
    /// List the IDs of all tenants that have a config
    List,
    /// Print a tenant's config
    Get { tenant: String },
    /// Create or replace a tenant's config from a JSON file (`-`: standard input)
    Put { tenant: String, file: PathBuf },
    /// Delete a tenant's config
    Delete { tenant: String },
    /// Encrypt the secrets of stored configs with `secrets.key`: plaintext ones, and ones sealed with one of
    /// `secrets.old_keys`
    Seal {
        #[arg(required_unless_present = "all")]
        tenants: Vec<String>,
        /// Seal the secrets of every tenant
        #[arg(long, conflicts_with = "tenants")]
        all: bool,
    },
}

/// Runs `resullm tenant …`.
pub(super) fn tenant(path: Option<&PathBuf>, asked: TenantArguments) -> ExitCode {
    let TenantArguments { way, command } = asked;
    let call = match command {
        TenantCommand::List => {
            let list = AdminCall::of_operator(Method::GET, "/admin/tenants".to_owned());
            Ok(list.in_form(AnswerForm::Json))
        }
        TenantCommand::Get { tenant } => {
            Ok(one(Method::GET, &tenant, "").in_form(AnswerForm::Config))
        }
        TenantCommand::Delete { tenant } => Ok(one(Method::DELETE, &tenant, "")),
        TenantCommand::Put { tenant, file } => written(&file).map(|body| AdminCall {
            body,
            ..one(Method::PUT, &tenant, "")
        }),
        TenantCommand::Seal { tenants, .. } => return seal(path, &way, tenants),
    };
    ask(path, &way, call)
}

/// Returns a call of `/admin/tenants/{tenant}`.
fn one(method: Method, tenant: &str, below: &str) -> AdminCall {
    let path = format!("/admin/tenants/{}{below}", encoded(tenant));
    AdminCall::of_operator(method, path).in_form(AnswerForm::Json)
}

/// Reads a config from a JSON file, or from standard input if the name is `-`, and returns the request's body.
fn written(file: &Path) -> Result<String, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("Cannot read {}: {error}", file.display());
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| cannot(&error))?;
    } else {
        text = std::fs::read_to_string(file).map_err(|error| cannot(&error))?;
    }
    let config: &RawValue = serde_json::from_str(&text).map_err(|error| cannot(&error))?;
    let body = serde_json::to_string(&api::Config { config });
    body.map_err(|error| format!("Cannot write the request: {error}"))
}

/// Seals the tenants one by one and continues after a failure. An empty `tenants` means all tenants.
fn seal(path: Option<&PathBuf>, way: &AskOptions, tenants: Vec<String>) -> ExitCode {
    let sealed = load(path).and_then(|settings| {
        runtime()?.block_on(async {
            let desk = Desk::open(settings, way.gateway.as_deref()).await?;
            let sealed = seal_each(&desk, tenants).await;
            desk.close().await;
            sealed
        })
    });
    let told = match sealed {
        Ok(told) => told,
        Err(why) => return fail(&why),
    };
    let printed = told.iter().map(|(tenant, told)| match told {
        Ok(text) => print(text),
        Err(why) => fail(&format!("Tenant {tenant} is as it was: {why}")),
    });
    let codes: Vec<ExitCode> = printed.collect();
    let failed = codes.contains(&ExitCode::FAILURE);
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Tenants with what was told of each.
type Sealed = Vec<(String, Result<String, String>)>;

async fn seal_each(desk: &Desk, mut tenants: Vec<String>) -> Result<Sealed, String> {
    if tenants.is_empty() {
        tenants = all(desk).await?;
    }
    let mut told = Vec::new();
    for tenant in tenants {
        let answered = desk.ask(one(Method::POST, &tenant, "/seal")).await;
        let sealed = answered.and_then(|answered| {
            if !answered.status.is_success() {
                return Err(refused(&answered, None, None));
            }
            let value: Value = serde_json::from_slice(&answered.body).unwrap_or_default();
            Ok(format!("{value:#}"))
        });
        told.push((tenant, sealed));
    }
    Ok(told)
}

/// Returns the IDs of all tenants, from `GET /admin/tenants`.
async fn all(desk: &Desk) -> Result<Vec<String>, String> {
    let list = AdminCall::of_operator(Method::GET, "/admin/tenants".to_owned());
    let answered = desk.ask(list).await?;
    if !answered.status.is_success() {
        return Err(refused(&answered, None, None));
    }
    let listed: Value = serde_json::from_slice(&answered.body).unwrap_or_default();
    let ids = listed.get("tenants").and_then(Value::as_array);
    let ids = ids.into_iter().flatten().filter_map(Value::as_str);
    Ok(ids.map(str::to_owned).collect())
}
