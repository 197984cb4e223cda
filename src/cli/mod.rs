//! The `resullm` command line: serves, checks settings, maintains an embedded store, and administers tenants
//! and keys.
//!
//! `tenant` and `key` commands call the same admin routes that the gateway serves over HTTP, in this process
//! and without a socket (`LocalAdmin`). They never write to the store by another path.

use crate::api;
use crate::dial::dialer::Dialer;
use crate::fetch::Fetcher;
use crate::issuers::verify::Issuers;
use crate::local::billing::tenant_account::Billing;
use crate::local::dispatch::{self, Scope};
use crate::local::route::{self, Resolved};
use crate::local::{Local, Request, openapi};
use crate::outbox::sending::Outbox;
use crate::rules::config;
use crate::rules::tenant::TenantId;
use crate::serve::build::{Deps, create_app};
use crate::serve::sockets::Sockets;
use crate::serve::{handover, life, limits, recover, tls};
use crate::settings::{self, KeyNaming, LogFormat, Settings, Unusable};
use crate::store::carries::Carries;
use crate::store::config_secrets::ConfigSecrets;
use crate::store::embedded::maintenance;
use crate::store::journal::{self, Journal};
use crate::store::leases::Leases;
use crate::store::name::KeyNames;
use crate::store::replay::Replay;
use crate::store::revocations::Revocations;
use crate::store::tenants::{self, Lookup, Tenants};
use crate::store::{AccountSettings, Clock, LogBounds, Store, copy, open};
use crate::stripe::stand_in::NoStandIn;
use crate::tables::Secret;
use crate::telemetry;
use crate::telemetry::metrics::{Metrics, Process};
use crate::telemetry::series::Families;
use bytes::Bytes;
use clap::{Parser, Subcommand};
use http::{HeaderMap, HeaderValue, Method, header};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

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
    /// Tenants: list, get, put, delete
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Keys: mint, show, credit, revoke
    #[command(subcommand)]
    Key(KeyCommand),
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

#[derive(Subcommand)]
enum KeyCommand {
    /// Mint a key
    Mint {
        tenant: String,
        /// The user group whose limits apply to the key
        #[arg(long, default_value = "anonymous")]
        group: String,
        /// The key's balance in tokens (default: the group's `tokens`)
        #[arg(long)]
        tokens: Option<u64>,
        /// Seconds until it expires (default: never)
        #[arg(long)]
        expires_in: Option<u64>,
        /// The ID of the user that the key belongs to
        #[arg(long)]
        user: Option<String>,
    },
    /// Show a key's balance, group and expiry
    Show { tenant: String, key: String },
    /// Add tokens to a key's balance
    Credit {
        tenant: String,
        key: String,
        tokens: u64,
        /// Idempotency ID: a credit repeated with the same ID is applied once
        #[arg(long)]
        id: Option<String>,
    },
    /// Revoke a key
    Revoke { tenant: String, key: String },
}

#[derive(Subcommand)]
enum StoreCommand {
    #[command(flatten)]
    Embedded(EmbeddedCommand),
    /// Copy everything into an empty store, in the layout and with the names of keys that the settings say. FROM and TO are
    /// written like the setting `store`; the word `store` is that setting, and `file:PATH` is what a file says. The same
    /// Redis twice: names of keys are hashed in place, while gateways serve
    Copy { from: String, to: String },
}

#[derive(Subcommand)]
enum EmbeddedCommand {
    /// Read the whole store and report damage
    Check,
    /// Write a backup of the store to one new file
    Backup { file: PathBuf },
    /// Restore a backup into a directory that is empty or does not exist
    Restore { file: PathBuf },
}

/// A request to the admin routes, built from a `tenant` or `key` command.
struct AdminCall {
    /// HTTP method of the route.
    method: Method,
    /// `None`: a global route (`/admin/tenants...`); `Some`: a route below that tenant.
    tenant: Option<String>,
    path: String,
    body: String,
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
    match arguments.command {
        Some(Command::Purge) => purge(arguments.config.as_ref()),
        Some(Command::Openapi) => print(openapi::text()),
        Some(Command::Schema { of }) => print(&schema(&of)),
        Some(Command::Check) => check(arguments.config.as_ref()),
        Some(Command::Tenant(command)) => tenant(arguments.config.as_ref(), command),
        Some(Command::Key(command)) => match asked_of_keys(command) {
            Ok(asked) => ask(arguments.config.as_ref(), asked),
            Err(error) => fail(&error),
        },
        Some(Command::Store(StoreCommand::Embedded(command))) => {
            maintain_store(arguments.config.as_ref(), &command)
        }
        Some(Command::Store(StoreCommand::Copy { from, to })) => {
            copy_store(arguments.config.as_ref(), &from, &to)
        }
        None => {
            let errors_as = arguments.log_errors_as.as_deref();
            serve(arguments.config.as_ref(), arguments.take_over, errors_as)
        }
    }
}

fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints `[ERROR] ` lines to standard error; used before [`telemetry::log::start`] and by commands that do
/// not log.
fn fail(text: &str) -> ExitCode {
    let mut err = std::io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(err, "[ERROR] {line}");
    }
    ExitCode::FAILURE
}

fn schema(of: &str) -> String {
    let schema = match of {
        "tenant" => config::schema(),
        _ => settings::gateway_schema(&config::schema()),
    };
    format!("{schema:#}")
}

/// Like [`load_located`], with all faults as one text.
fn load(path: Option<&PathBuf>) -> Result<Settings, String> {
    load_located(path).map_err(|unusable| unusable.to_string())
}

/// Loads and validates the settings, tenant configs included; the error holds one line for each fault.
fn load_located(path: Option<&PathBuf>) -> Result<Settings, Unusable> {
    settings::load_from_process(path.map(PathBuf::as_path))
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

/// Passes `settings` through if every certificate and key of `server.listen` can be loaded.
fn with_certificates(settings: Settings) -> Result<Settings, String> {
    for listener in &settings.server.listen {
        if let Some(tls) = &listener.tls {
            tls::load(tls)?;
        }
    }
    Ok(settings)
}

/// Maps `accounts` and `usage` settings to the store's options.
fn keeping(settings: &Settings) -> AccountSettings {
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

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    // Connections are served by the threads of `serve::workers`; this thread runs accepting and background
    // tasks.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| format!("Cannot start the runtime: {error}"))
}

fn serve(path: Option<&PathBuf>, take_over: bool, errors_as: Option<&str>) -> ExitCode {
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

/// Runs `resullm store ...` on the embedded store; `check` prints the contents even if it found damage.
fn maintain_store(path: Option<&PathBuf>, command: &EmbeddedCommand) -> ExitCode {
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
fn copy_store(path: Option<&PathBuf>, from: &str, to: &str) -> ExitCode {
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

fn tenant(path: Option<&PathBuf>, command: TenantCommand) -> ExitCode {
    let asked = |method, below: &str, body| AdminCall {
        method,
        tenant: None,
        path: format!("/admin/tenants{below}"),
        body,
    };
    let one = |method, tenant: &str| asked(method, &format!("/{tenant}"), String::new());
    let asked = match command {
        TenantCommand::List => asked(Method::GET, "", String::new()),
        TenantCommand::Get { tenant } => one(Method::GET, &tenant),
        TenantCommand::Delete { tenant } => one(Method::DELETE, &tenant),
        TenantCommand::Put { tenant, file } => match written(&file) {
            Ok(body) => AdminCall {
                body,
                ..one(Method::PUT, &tenant)
            },
            Err(error) => return fail(&error),
        },
        TenantCommand::Seal { tenants, .. } => return seal(path, tenants),
    };
    ask(path, asked)
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
    request(&api::Config { config })
}

/// Writes the body of a request.
fn request(body: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(body).map_err(|error| format!("Cannot write the request: {error}"))
}

/// Maps a `resullm key ...` command to its admin route.
fn asked_of_keys(command: KeyCommand) -> Result<AdminCall, String> {
    let (method, tenant, below, body) = match command {
        KeyCommand::Mint {
            tenant,
            group,
            tokens,
            expires_in,
            user,
        } => {
            let mint = api::Mint {
                group: Some(group),
                tokens,
                expires_in_seconds: expires_in,
                user_id: user,
            };
            (Method::POST, tenant, String::new(), request(&mint)?)
        }
        KeyCommand::Show { tenant, key } => (Method::GET, tenant, format!("/{key}"), String::new()),
        KeyCommand::Credit {
            tenant,
            key,
            tokens,
            id,
        } => {
            let comment = None;
            let credit = request(&api::Credit {
                tokens,
                id,
                comment,
            })?;
            (Method::POST, tenant, format!("/{key}/credit"), credit)
        }
        KeyCommand::Revoke { tenant, key } => {
            (Method::DELETE, tenant, format!("/{key}"), String::new())
        }
    };
    Ok(AdminCall {
        method,
        tenant: Some(tenant),
        path: format!("/admin/keys{below}"),
        body,
    })
}

/// Runs one request against the admin routes and prints the response.
fn ask(path: Option<&PathBuf>, asked: AdminCall) -> ExitCode {
    let answered = load(path).and_then(|settings| {
        runtime()?.block_on(async {
            let desk = LocalAdmin::open(settings).await?;
            let answered = desk.ask(asked).await;
            desk.local.store.close().await;
            answered
        })
    });
    match answered {
        Ok((true, text)) => print(&text),
        Ok((false, text)) | Err(text) => fail(&text),
    }
}

/// Runs `resullm purge`.
fn purge(path: Option<&PathBuf>) -> ExitCode {
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

/// Seals the tenants one by one and continues after a failure. An empty `tenants` means all tenants.
fn seal(path: Option<&PathBuf>, tenants: Vec<String>) -> ExitCode {
    let sealed = load(path).and_then(|settings| {
        runtime()?.block_on(async {
            let desk = LocalAdmin::open(settings).await?;
            let tenants = if tenants.is_empty() {
                let all = desk.local.store.tenants().await;
                let all = all.map_err(|error| error.to_string())?;
                all.iter().map(ToString::to_string).collect()
            } else {
                tenants
            };
            let mut told = Vec::new();
            for tenant in tenants {
                let asked = AdminCall {
                    method: Method::POST,
                    tenant: None,
                    path: format!("/admin/tenants/{tenant}/seal"),
                    body: String::new(),
                };
                let answered = desk.ask(asked).await;
                told.push((tenant, answered.unwrap_or_else(|error| (false, error))));
            }
            desk.local.store.close().await;
            Ok(told)
        })
    });
    match sealed {
        Ok(told) => told
            .iter()
            .fold(ExitCode::SUCCESS, |code, (tenant, told)| match told {
                (true, text) => {
                    print(text);
                    code
                }
                (false, why) => fail(&format!("Tenant {tenant} is as it was: {why}")),
            }),
        Err(text) => fail(&text),
    }
}

/// Calls the admin routes in this process, without a socket, with a random `admin.token` known only here.
struct LocalAdmin {
    local: Local,
    token: String,
}

impl LocalAdmin {
    async fn open(mut settings: Settings) -> Result<LocalAdmin, String> {
        let token = uuid::Uuid::new_v4().to_string();
        settings.admin.token = Some(Secret::new(token.clone()));
        let store: Arc<dyn Store> = open::open(&settings.store, keeping(&settings)).await?;
        let secrets = ConfigSecrets::new(&settings.secrets);
        let dialer = Arc::new(Dialer::new(&settings.egress));
        let leases = Leases::new(
            store.clone(),
            Arc::new(Journal::none()),
            Replay::new(store.clone(), Box::new(|_, _, _| {})),
            settings.accounts.hold_ttl,
        );
        let fetcher = Arc::new(Fetcher::new(dialer));
        let metrics = Arc::new(Metrics::new(&Process {
            store: settings.store.kind(),
            store_time: None,
        }));
        let tenants = Arc::new(Tenants::new(store.clone(), secrets, Families::default()));
        let local = Local {
            issuers: Arc::new(Issuers::new(fetcher.clone())),
            billing: Arc::new(Billing::new(
                fetcher.clone(),
                settings.billing.stripe_url.clone(),
                Arc::new(NoStandIn),
            )),
            outbox: Outbox::new(fetcher, tenants.clone(), store.clone(), metrics.clone()),
            metrics,
            revocations: Revocations::new(store.clone(), leases.clone()),
            leases,
            settings: Arc::new(settings),
            tenants,
            carries: Carries::new(store.clone()),
            store,
            draining: Arc::default(),
        };
        Ok(LocalAdmin { local, token })
    }

    /// Calls the route; returns whether it succeeded, and the text to print.
    async fn ask(&self, asked: AdminCall) -> Result<(bool, String), String> {
        let at = match &asked.tenant {
            None => Scope::Global,
            Some(id) => {
                let unknown = || format!("There is no tenant {id}");
                let id = TenantId::parse(id).ok_or_else(unknown)?;
                let found = self.local.tenants.find(&id).await;
                match found.map_err(|error| error.to_string())? {
                    Lookup::Known(tenant) => Scope::Tenant(tenant),
                    Lookup::Unknown => return Err(unknown()),
                    Lookup::Unusable => Scope::Unusable(id),
                }
            }
        };
        let found = match asked.tenant {
            None => route::global(&asked.method, &asked.path),
            Some(_) => route::of_tenant(&asked.method, &asked.path),
        };
        let Resolved::Here(matched) = found else {
            // The name is not quoted: it may be another provider's API key.
            return Err("That is no name that a tenant or key can have".to_owned());
        };
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token))
            .map_err(|error| error.to_string())?;
        headers.insert(header::AUTHORIZATION, bearer);
        let request = Request {
            method: &asked.method,
            query: "",
            headers: &headers,
            body: Bytes::from(asked.body),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            id: "command-line",
            asked: None,
            is_https: false,
        };
        let answer = dispatch::answer(&self.local, &matched, at, request)
            .await
            .unwrap_or_else(super::local::answer::Refusal::into_answer);
        let done = answer.status().is_success();
        Ok((done, told(done, matched.route, answer.body())))
    }
}

/// Text to print for a response body: a stored config verbatim (it can be `put` again), an error as its
/// `error` sentence and `details`, anything else as indented JSON.
fn told(done: bool, route: route::LocalRoute, body: &[u8]) -> String {
    if !done {
        return refused(body);
    }
    if let (route::LocalRoute::TenantRead, Ok(read)) = (
        route,
        serde_json::from_slice::<api::Config<&RawValue>>(body),
    ) {
        return read.config.get().to_owned();
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => format!("{value:#}"),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

/// Text to print for an error: its sentence, and a line for each fault of a config.
fn refused(body: &[u8]) -> String {
    if let Ok(api::InvalidConfig { error, details }) = serde_json::from_slice(body) {
        let faults = details.iter();
        let faults =
            faults.map(|api::ConfigFault { path, message }| format!("\n{path}: {message}"));
        return error + &faults.collect::<String>();
    }
    match serde_json::from_slice(body) {
        Ok(api::Error { error }) => error,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}
