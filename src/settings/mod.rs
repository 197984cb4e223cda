//! Loads the settings from `gateway.yaml` and the environment, and validates them.
//!
//! All faults are reported at once, each with its place. No later code validates a setting again, and no code
//! outside this folder reads the environment.
//!
//! ```text
//! text ─ references, yaml ─► tree, places ─ table.rs ─► Settings, or Faults
//! ```
//!
//! Precedence, highest first: `PORT`, `HOST`, `REDIS_URL`, `ADMIN_TOKEN`, `SECRETS_KEY` and `RUST_LOG`;
//! `RESULLM__SECTION__KEY`; the file; the defaults. An overridden value is validated too.

mod environment;
mod files;
mod store_url;
mod table;
mod values;

use crate::host_port::HostPort;
use crate::rules::config::{self, Keyring, Owner};
use crate::rules::tenant::TenantId;
use crate::tables::yaml::{self, NodeKind, Place, YamlNode};
use crate::tables::{Env, Fault, Faults, Node, Source, Table, joined, page, schema};
use environment::{Variables, reading};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

pub use store_url::{Redis, RedisKind};
pub use table::{
    Accounts, Admin, AppleIssuer, Billing, Bounds, Cache, Egress, GoogleIssuer, Identity,
    KeyNaming, Layout, Log, LogFormat, Secrets, Seeds, Server, Service, Settings, Store, Upstream,
    Usage,
};
pub use values::{Certificate, HostName, Listener, PublicUrl, SealKey, Tls};

/// File that is read if none is named and this one exists.
const USUAL_FILE: &str = "gateway.yaml";

const SAMPLE_TENANT_ID: &str = "abc";
const SAMPLE_TENANT: &str = include_str!("sample_tenant.json");
/// What stands before and after the settings in the bundled file.
const BUNDLED_HEAD: &str = include_str!("bundled_head.yaml");
const BUNDLED_TENANTS: &str = include_str!("bundled_tenants.yaml");

/// Why settings cannot be used: all their faults.
#[derive(Debug)]
pub struct Unusable {
    pub faults: Faults,
    /// `log.format`, where it could be read: the format in which the faults are logged.
    pub log_format: LogFormat,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.faults.fmt(f)
    }
}

/// Loads the settings of this process: the file at `path` (which must exist), else `./gateway.yaml` if it
/// exists, else the defaults; then the process's environment.
pub fn load_from_process(path: Option<&Path>) -> Result<Settings, Unusable> {
    let usual = Path::new(USUAL_FILE);
    let path = path.or_else(|| usual.exists().then_some(usual));
    // Bytes that are not Unicode become replacement characters, which fail validation where the value is
    // used.
    let env = |name: &str| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
    let names: Vec<String> = std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    let mut settings = load(path, &env, &names)?;
    settings.notify = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
    settings.gateway = env("RESULLM_GATEWAY").filter(|address| !address.trim().is_empty());
    settings.log.journal = env("JOURNAL_STREAM");
    Ok(settings)
}

/// Returns the store that an argument names: the settings' own (`store`), one whose URL is in a file (`file:PATH`, so that
/// a password stands on no command line), or the one that is written there.
pub fn store_of(settings: &Settings, written: &str) -> Result<Store, String> {
    match written.strip_prefix("file:") {
        _ if written == "store" => Ok(settings.store.clone()),
        Some(path) => {
            let url = std::fs::read_to_string(path);
            let url = url.map_err(|error| format!("its file cannot be read: {error}"))?;
            store_url::parse(url.trim())
        }
        None => store_url::parse(written),
    }
}

/// Loads settings from a file, or from the defaults if `path` is `None`, and from `env`, whose names are
/// `env_names`.
pub fn load(path: Option<&Path>, env: Env<'_>, env_names: &[String]) -> Result<Settings, Unusable> {
    let Some(path) = path else {
        let mut settings = Document::default().settings(env, env_names)?;
        settings.tenants = sample_tenant();
        return Ok(settings);
    };
    match std::fs::read_to_string(path) {
        Ok(text) => load_text(path, &text, env, env_names),
        Err(error) => {
            let fault = Fault::new("", format!("cannot be read: {error}"));
            let mut faults = Faults::default();
            faults.add(fault.at(path.display().to_string()));
            let log_format = defaults::<Log>().format;
            Err(Unusable { faults, log_format })
        }
    }
}

/// Like [`load`], from the text of a file; `file` is the name used in faults.
pub fn load_text(
    file: &Path,
    text: &str,
    env: Env<'_>,
    env_names: &[String],
) -> Result<Settings, Unusable> {
    let mut settings = Document::read(file, text, env).settings(env, env_names)?;
    settings.source = Some(file.to_owned());
    Ok(settings)
}

impl Default for Settings {
    /// The settings without a file and with an empty environment, sample tenant included.
    fn default() -> Settings {
        let mut settings = defaults::<Settings>();
        settings.tenants = sample_tenant();
        settings
    }
}

impl Default for Server {
    fn default() -> Server {
        defaults()
    }
}

impl Default for Secrets {
    fn default() -> Secrets {
        defaults()
    }
}

fn defaults<T: Table>() -> T {
    let nothing = Value::Object(Map::new());
    let read = T::read(&Node::root(&nothing), &mut reading());
    #[expect(
        clippy::expect_used,
        reason = "defaults are part of the program, and tested"
    )]
    read.expect("every setting has a default")
}

/// Returns the sample tenant (`abc`), which exists only if no file was read.
fn sample_tenant() -> Seeds {
    #[expect(
        clippy::expect_used,
        reason = "the text is part of the program, and tested"
    )]
    let config = serde_json::from_str(SAMPLE_TENANT).expect("the sample tenant is JSON");
    Seeds(vec![(SAMPLE_TENANT_ID.to_owned(), config)])
}

/// Returns the JSON Schema of the settings file. `tenant` describes an entry of `tenants`.
pub fn gateway_schema(tenant: &Value) -> Value {
    let mut schema = schema::document::<Settings>(Source::Settings, "ResuLLM gateway settings");
    schema["properties"]["tenants"] = json!({
        "description": "Configs by tenant ID, written to the store at start where the tenant is absent.",
        "type": ["object", "null"],
        "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"},
        "additionalProperties": {"$ref": "#/$defs/tenant"},
    });
    schema["$defs"]["tenant"] = tenant.clone();
    schema
}

/// Returns the bundled settings file: every setting with its description and its default.
pub fn bundled_file() -> String {
    format!(
        "{BUNDLED_HEAD}\n{}{BUNDLED_TENANTS}",
        page::yaml_file(&Settings::rows())
    )
}

/// Returns the reference of all settings, as Markdown.
pub fn reference() -> String {
    page::reference(&Settings::rows(), Source::Settings)
}

/// A settings file as a tree of texts, with the places of its values.
#[derive(Default)]
struct Document {
    file: String,
    root: Option<YamlNode>,
    tree: Map<String, Value>,
    tenants: Vec<(Place, String, YamlNode)>,
    found: Vec<(Place, Fault)>,
    doubts: Vec<(Place, Fault)>,
}

impl Document {
    fn read(file: &Path, text: &str, env: Env<'_>) -> Document {
        let (root, flaws) = yaml::parse(text, env);
        let flaws = flaws.into_iter();
        let mut document = Document {
            file: file.display().to_string(),
            found: flaws
                .map(|flaw| (flaw.place, Fault::new(flaw.path, flaw.message)))
                .collect(),
            ..Document::default()
        };
        let Some(root) = root.filter(|root| !root.is_unset()) else {
            return document;
        };
        match (&root.kind, root.texts()) {
            (NodeKind::Map(entries), Value::Object(mut tree)) => {
                tree.remove("tenants");
                document.tree = tree;
                let tenants = entries.iter().find(|(key, _)| key.name == "tenants");
                if let Some((key, node)) = tenants {
                    document.read_tenants(key.place, node);
                }
            }
            // The value is not quoted: it may be a token written one level too high.
            _ => document.fault(root.place, "", "expected a mapping of settings"),
        }
        document.root = Some(root);
        document
    }

    fn fault(&mut self, place: Place, path: &str, message: &str) {
        self.found.push((place, Fault::new(path, message)));
    }

    fn read_tenants(&mut self, place: Place, node: &YamlNode) {
        let NodeKind::Map(entries) = &node.kind else {
            if !node.is_unset() {
                self.fault(
                    place,
                    "tenants",
                    "expected a mapping of tenant IDs to configs",
                );
            }
            return;
        };
        for (id, node) in entries {
            let path = joined("tenants", &id.name);
            if TenantId::parse(&id.name).is_none() {
                let message = format!(
                    "{:?} cannot be a tenant ID: 1 to 63 letters, digits, _ or -, not a route",
                    id.name
                );
                self.fault(id.place, &path, &message);
            }
            match node.kind {
                NodeKind::Map(_) => self.tenants.push((id.place, id.name.clone(), node.clone())),
                _ => self.fault(
                    id.place,
                    &path,
                    "expected a tenant config, which is a mapping",
                ),
            }
        }
    }

    /// Reads the file, then the environment over it, then what they name; returns the settings, or all faults:
    /// those of the file sorted by place, then those of the environment.
    fn settings(mut self, env: Env<'_>, env_names: &[String]) -> Result<Settings, Unusable> {
        // An empty variable counts as unset: shells and compose files disable a variable that way.
        let env = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        let tree = Value::Object(std::mem::take(&mut self.tree));
        let mut reading = reading();
        let mut settings = Settings::read(&Node::root(&tree), &mut reading);
        for fault in reading.faults.0 {
            let place = self
                .root
                .as_ref()
                .and_then(|root| root.place_of(&fault.path));
            self.found.push((place.unwrap_or(Place::START), fault));
        }
        let mut variables = Variables::new(&env);
        let overlaid = variables.over(tree);
        if variables.are_set {
            settings = Settings::read(&Node::root(&overlaid), &mut environment::reading());
        }
        variables.check_names(env_names);
        let keyring = match &mut settings {
            Some(settings) => {
                variables.listeners(&mut settings.server.listen);
                files::read(settings, &mut variables.faults);
                check_addresses(&settings.server, &mut variables.faults);
                settings.accounts.check(&mut variables.faults);
                variables.approvals(settings);
                let tenants = self.tenants.iter();
                settings.tenants = Seeds(
                    tenants
                        .map(|(_, id, node)| (id.clone(), node.json()))
                        .collect(),
                );
                settings.secrets.keyring()
            }
            None => {
                variables.listeners(&mut Vec::new());
                section::<Secrets>(&overlaid, "secrets").keyring()
            }
        };
        let allows_private = settings
            .as_ref()
            .is_none_or(|known| known.egress.allow_private_networks);
        self.check_tenants(&keyring, allows_private);
        let placed = |mut found: Vec<(Place, Fault)>| {
            found.sort_by_key(|(place, _)| *place);
            let found = found.into_iter().map(|(Place { line, column }, fault)| {
                fault.at(format!("{}:{line}:{column}", self.file))
            });
            found.collect::<Vec<Fault>>()
        };
        if let Some(settings) = &mut settings {
            settings.warnings = placed(self.doubts);
            settings.warnings.extend(size_doubt(&settings.server));
            settings.warnings.extend(age_doubt(settings));
        }
        let mut faults = Faults::default();
        placed(self.found)
            .into_iter()
            .for_each(|fault| faults.add(fault));
        variables
            .faults
            .0
            .into_iter()
            .for_each(|fault| faults.add(fault));
        let log_format = match &settings {
            Some(settings) => settings.log.format,
            None => section::<Log>(&overlaid, "log").format,
        };
        let settings = faults.none_or(settings);
        settings.map_err(|faults| Unusable { faults, log_format })
    }

    /// Validates every tenant's config.
    fn check_tenants(&mut self, keyring: &Keyring, allows_private: bool) {
        for (place, id, node) in &self.tenants {
            // An invalid ID is a fault of its own; the config's faults are reported too.
            let tenant = TenantId::parse(id).unwrap_or_else(TenantId::default_tenant);
            let owner = Owner {
                tenant: &tenant,
                keyring,
            };
            let placed = |fault: Fault| {
                let place = node.place_of(&fault.path).unwrap_or(*place);
                let path = format!("{}.{}", joined("tenants", id), fault.path);
                (place, Fault::new(path.trim_end_matches('.'), fault.message))
            };
            match config::read_for(owner, &node.json()) {
                Err(faults) => self.found.extend(faults.0.into_iter().map(placed)),
                Ok((config, mut warnings)) => {
                    warnings.extend(config::doubts(&config, allows_private));
                    self.doubts.extend(warnings.into_iter().map(placed));
                }
            }
        }
    }
}

/// Returns a warning if a setting stands under its former name.
fn age_doubt(settings: &Settings) -> Option<Fault> {
    let why = "is now called retention.usage, and counts instead of it while it is set";
    settings.usage.age.map(|_| Fault::new("usage.age", why))
}

/// Returns a warning if bodies that `server.max_body` allows can never be read. Without a place: either size may be a
/// default or a variable.
fn size_doubt(server: &Server) -> Option<Fault> {
    let message = "larger than server.max_buffered: a body that is larger than that gets 503 overloaded each time it is sent";
    (server.max_body > server.max_buffered).then(|| Fault::new("server.max_body", message))
}

/// Adds a fault for an address of `server.admin_listen` or `server.ops_listen` that another setting has, too.
fn check_addresses(server: &Server, faults: &mut Faults) {
    let public = server.listen.iter();
    let mut known: Vec<(&str, &HostPort)> = public.map(|at| ("listen", &at.address)).collect();
    let admin = server.admin_listen.iter();
    let admin = admin.map(|at| ("admin_listen", &at.address));
    let ops = server.ops_listen.iter().map(|at| ("ops_listen", at));
    for (name, address) in admin.chain(ops) {
        let mut taken = known.iter();
        if let Some((other, _)) = taken.find(|(_, other)| address.is_one_socket(other)) {
            let why = format!("{address} is taken by server.{other}: each needs a port of its own");
            faults.add(Fault::new(format!("server.{name}"), why));
        }
        known.push((name, address));
    }
}

/// Reads one section, or its defaults where it has faults.
fn section<T: Table>(tree: &Value, name: &str) -> T {
    let section = tree.get(name).filter(|section| section.is_object());
    let read = section.and_then(|section| T::read(&Node::root(section), &mut reading()));
    read.unwrap_or_else(defaults)
}

#[cfg(test)]
mod tests;
