//! Loads the settings from `gateway.yaml` and the environment, and validates them.
//!
//! All faults are reported at once, each with its place. No later code validates a setting again, and no code
//! outside this folder reads the environment.
//!
//! ```text
//! text ─ references, yaml ─► located tree ─ keys, forms ─► resolved::Settings, or Faults
//! ```
//!
//! Precedence, highest first: `PORT`, `HOST`, `REDIS_URL`, `ADMIN_TOKEN` and `RUST_LOG`;
//! `RESULLM__SECTION__KEY`; the file; the defaults. An overridden value is validated too.

mod faults;
mod keys;
mod references;
mod resolved;
mod schema;
mod store_url;
mod value_types;
mod yaml;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use faults::{Fault, Faults};
pub use resolved::{
    Accounts, Admin, Approval, Bounds, Certificate, Egress, HostName, Layout, Listener, Log,
    LogFormat, Orphans, PublicUrl, Redis, RedisKind, SealKey, Secret, Secrets, Server, Service,
    Settings, Store, Tls, Upstream, Usage,
};
pub use schema::gateway_schema;

use crate::nearest::nearest;
use keys::{ENV_PREFIX, Key, SECTIONS, keys};
use references::Env;
use yaml::{NodeKind, Place, YamlNode, joined};

/// File that is read if none is named and this one exists.
const USUAL_FILE: &str = "gateway.yaml";

const SAMPLE_TENANT_ID: &str = "abc";
const SAMPLE_TENANT: &str = include_str!("sample_tenant.json");

/// Validators for tenants, passed in because this folder must not depend on `rules`.
pub struct Checks<'a> {
    /// Returns an error message if the text cannot be a tenant ID.
    pub tenant_id: &'a dyn Fn(&str) -> Result<(), String>,
    /// Returns the faults of a tenant's config, given its ID, the config and the `secrets` section.
    pub tenant_config: &'a dyn Fn(&str, &Value, &Secrets) -> Vec<Wrong>,
}

/// A fault of a tenant config: the path within the config, and the message.
pub type Wrong = (String, String);

/// Loads the settings of this process: the file at `path` (which must exist), else `./gateway.yaml` if it
/// exists, else the defaults; then the process's environment.
pub fn load_from_process(path: Option<&Path>, checks: &Checks) -> Result<Settings, Faults> {
    let usual = Path::new(USUAL_FILE);
    let path = path.or_else(|| usual.exists().then_some(usual));
    // Bytes that are not Unicode become replacement characters, which fail validation where the value is
    // used.
    let env = |name: &str| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
    let names: Vec<String> = std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    let mut settings = load(path, &env, &names, checks)?;
    settings.notify = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
    settings.log.journal = env("JOURNAL_STREAM");
    Ok(settings)
}

/// Loads settings from a file, or from the defaults if `path` is `None`, and from `env`, whose names are
/// `env_names`.
pub fn load(
    path: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
    env_names: &[String],
    checks: &Checks,
) -> Result<Settings, Faults> {
    let mut reading = Loader::from_defaults();
    match path {
        Some(path) => reading.file(path, env, checks),
        None => reading.sample_tenant(),
    }
    reading.end(env, env_names, checks)
}

/// Like [`load`], from the text of a file; `file` is the name used in faults.
pub fn load_text(
    file: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    env_names: &[String],
    checks: &Checks,
) -> Result<Settings, Faults> {
    let mut reading = Loader::from_defaults();
    reading.settings.source = Some(file.to_owned());
    reading.text(text, env, checks);
    reading.end(env, env_names, checks)
}

impl Default for Settings {
    /// The settings without a file and with an empty environment, sample tenant included.
    fn default() -> Settings {
        let mut reading = Loader::from_defaults();
        reading.sample_tenant();
        reading.settings
    }
}

/// State of loading: the settings filled so far and the faults found so far.
struct Loader {
    keys: Vec<Key>,
    settings: Settings,
    /// Faults of the environment and of the built-in defaults.
    faults: Faults,
    /// Faults of the file.
    found: Vec<Located>,
    /// Place and node of each entry of `tenants`, parallel to `settings.tenants`. Configs are validated last,
    /// because that needs the `secrets` section.
    written: Vec<(Place, YamlNode)>,
}

/// Fault of the file, without the file's name: place, path, message.
type Located = (Place, String, String);

impl Loader {
    /// Fills every setting with its default from the table in `keys.rs`.
    fn from_defaults() -> Loader {
        let mut reading = Loader {
            keys: keys(),
            settings: Settings::blank(),
            faults: Faults::default(),
            found: Vec::new(),
            written: Vec::new(),
        };
        for key in &reading.keys {
            let (Some(node), _) = yaml::parse(key.default, &|_| None) else {
                continue;
            };
            if let Err(message) = key.fill(&mut reading.settings, &node) {
                reading
                    .faults
                    .add(fault("built-in default", key.path, message));
            }
        }
        reading
    }

    /// Adds the sample tenant (`abc`), which exists only if no file was read.
    fn sample_tenant(&mut self) {
        #[expect(
            clippy::expect_used,
            reason = "the text is part of the program, and tested"
        )]
        let config = serde_json::from_str(SAMPLE_TENANT).expect("the sample tenant is JSON");
        self.settings.tenants = vec![(SAMPLE_TENANT_ID.to_owned(), config)];
    }

    fn file(&mut self, path: &Path, env: Env, checks: &Checks) {
        let file = path.display();
        self.settings.source = Some(path.to_owned());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot be read: {error}");
                self.faults.add(fault(&file.to_string(), "", message));
                return;
            }
        };
        self.text(&text, env, checks);
    }

    fn text(&mut self, text: &str, env: Env, checks: &Checks) {
        let (root, flaws) = yaml::parse(text, env);
        let flaws = flaws.into_iter();
        self.found
            .extend(flaws.map(|flaw| (flaw.place, flaw.path, flaw.message)));
        if let Some(root) = root.filter(|root| !root.is_unset()) {
            self.mapping("", &root, root.place, checks);
        }
    }

    /// Applies the environment, validates what depends on several settings, and returns the result.
    fn end(mut self, env: Env, env_names: &[String], checks: &Checks) -> Result<Settings, Faults> {
        // An empty variable counts as unset: shells and compose files disable a variable that way.
        let env = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        self.environment(&env, env_names);
        self.approvals(&env);
        self.configs(checks);
        self.finish()
    }

    /// Returns the settings, or all faults: those of the file sorted by place, then those of the environment.
    fn finish(mut self) -> Result<Settings, Faults> {
        let file = self.settings.source.as_deref().map(Path::display);
        self.found.sort_by_key(|(place, ..)| *place);
        let mut faults = Faults {
            log_format: self.settings.log.format,
            ..Faults::default()
        };
        for (place, path, message) in self.found {
            let file = file.as_ref().map(ToString::to_string).unwrap_or_default();
            let place = format!("{file}:{}:{}", place.line, place.column);
            faults.add(fault(&place, &path, message));
        }
        self.faults
            .all
            .into_iter()
            .for_each(|fault| faults.add(fault));
        if faults.all.is_empty() {
            Ok(self.settings)
        } else {
            Err(faults)
        }
    }

    /// Reads one mapping of the file: the root (`prefix` is empty) or a section.
    fn mapping(&mut self, prefix: &str, node: &YamlNode, place: Place, checks: &Checks) {
        let NodeKind::Map(entries) = &node.kind else {
            // The value is not quoted: it may be a token written one level too high.
            let message = "expected a mapping of settings".to_owned();
            self.found.push((place, prefix.to_owned(), message));
            return;
        };
        for (name, node) in entries {
            let path = joined(prefix, &name.name);
            let key = self.keys.iter().find(|key| key.path == path);
            let is_section = SECTIONS.iter().any(|(section, _)| *section == path);
            if key.is_none() && !is_section && path != "tenants" {
                let message = self.unknown(prefix, &name.name);
                self.found.push((name.place, path, message));
            } else if node.is_unset() {
                // Empty: the default stays.
            } else if let Some(key) = key {
                if let Err(message) = key.fill(&mut self.settings, node) {
                    self.found.push((name.place, path, message));
                }
            } else if is_section {
                self.mapping(&path, node, name.place, checks);
            } else {
                self.tenants(node, name.place, checks);
            }
        }
    }

    /// Returns the message for an unknown key, with a suggestion.
    fn unknown(&self, prefix: &str, name: &str) -> String {
        let tops = SECTIONS.iter().map(|(section, _)| *section);
        let siblings = self.keys.iter().filter_map(|key| {
            let (section, name) = key.path.split_once('.').unwrap_or(("", key.path));
            (section == prefix).then_some(name)
        });
        let tops = tops.chain(["tenants"]).filter(|_| prefix.is_empty());
        // The other common mistake is the right name in the wrong section.
        let elsewhere = || {
            let namesake = |key: &&Key| key.path.rsplit('.').next() == Some(name);
            self.keys.iter().find(namesake).map(|key| key.path)
        };
        let meant = nearest(name, siblings.chain(tops)).or_else(elsewhere);
        unknown_message(&format!("unknown key \"{name}\""), meant)
    }

    /// Reads the `tenants` mapping; `configs` validates the configs later.
    fn tenants(&mut self, node: &YamlNode, place: Place, checks: &Checks) {
        let NodeKind::Map(entries) = &node.kind else {
            let message = "expected a mapping of tenant IDs to configs".to_owned();
            self.found.push((place, "tenants".to_owned(), message));
            return;
        };
        for (id, node) in entries {
            let path = joined("tenants", &id.name);
            if let Err(message) = (checks.tenant_id)(&id.name) {
                self.found.push((id.place, path.clone(), message));
            }
            if !matches!(node.kind, NodeKind::Map(_)) {
                let message = "expected a tenant config, which is a mapping".to_owned();
                self.found.push((id.place, path, message));
                continue;
            }
            self.settings.tenants.push((id.name.clone(), node.json()));
            self.written.push((id.place, node.clone()));
        }
    }

    /// Validates every tenant config with [`Checks::tenant_config`].
    fn configs(&mut self, checks: &Checks) {
        for ((id, config), (place, node)) in self.settings.tenants.iter().zip(&self.written) {
            for (within, message) in (checks.tenant_config)(id, config, &self.settings.secrets) {
                let place = node.place_of(&within).unwrap_or(*place);
                let path = joined(&joined("tenants", id), &within);
                self.found.push((place, path, message));
            }
        }
    }

    /// Reads the variables that `secrets.env` approves. A variable whose value equals a secret of the gateway
    /// itself (`admin.token`, the Redis URL or password, a seal key) is a fault, whatever its name.
    fn approvals(&mut self, env: Env) {
        let own = ["PORT", "HOST"].into_iter();
        let own: Vec<&str> = own
            .chain(self.keys.iter().filter_map(|key| key.plain_env))
            .collect();
        let settings = &self.settings;
        let mut guards: Vec<&Secret> = settings.admin.token.iter().collect();
        if let Store::Redis(redis) = &settings.store {
            guards.push(&redis.url);
            guards.extend(&redis.password);
        }
        let keys = settings
            .secrets
            .key
            .iter()
            .chain(&settings.secrets.old_keys);
        let keys: Vec<&SealKey> = keys.collect();
        let is_guard = |value: &str| {
            let bytes = value_types::key_bytes(value.trim());
            guards.iter().any(|guard| guard.expose() == value)
                || keys.iter().any(|key| bytes == Some(key.0))
        };
        let mut values = Vec::new();
        for Approval { name, .. } in &settings.secrets.env {
            let value = env(name);
            let message = match &value {
                _ if own.contains(&name.as_str()) || name.starts_with(ENV_PREFIX) => {
                    Some("is a setting of the gateway, which no tenant config may name")
                }
                Some(value) if is_guard(value) => {
                    Some("guards the gateway itself, so no tenant config may name it")
                }
                Some(value) if !value.bytes().all(|c| c.is_ascii_graphic()) => {
                    Some("must hold visible ASCII characters only, without spaces or line ends")
                }
                _ => None,
            };
            if let Some(message) = message {
                let fault = in_environment(name, "secrets.env", format!("{name} {message}"));
                self.faults.add(fault);
            }
            values.push(value);
        }
        for (approval, value) in self.settings.secrets.env.iter_mut().zip(values) {
            approval.value = value.map(Secret::new);
        }
    }

    /// Applies `RESULLM__...` variables and those with a name of their own; reports unknown names.
    fn environment(&mut self, env: Env, env_names: &[String]) {
        for key in &self.keys {
            let plain = key.plain_env.map(str::to_owned);
            for name in [Some(key.env_name()), plain].into_iter().flatten() {
                let Some(value) = env(&name) else { continue };
                let filled = key.fill(&mut self.settings, &node_of(key, &value));
                if let Err(message) = filled {
                    self.faults.add(in_environment(&name, key.path, message));
                }
            }
        }
        self.unknown_names(env_names);
        self.port_and_host(env);
    }

    fn unknown_names(&mut self, env_names: &[String]) {
        let known: Vec<String> = self.keys.iter().map(Key::env_name).collect();
        let mut unknown: Vec<&String> = env_names
            .iter()
            .filter(|name| name.starts_with(ENV_PREFIX) && !known.contains(name))
            .collect();
        unknown.sort();
        for name in unknown {
            let meant = nearest(name, known.iter().map(String::as_str));
            let message = unknown_message("unknown setting", meant);
            self.faults.add(in_environment(name, "", message));
        }
    }

    /// Applies `PORT` to the first entry of `server.listen` without TLS, and `HOST` to all entries.
    fn port_and_host(&mut self, env: Env) {
        let listen = "server.listen";
        let port = env("PORT").and_then(|text| {
            let number = text.trim().parse::<u16>();
            if number.is_err() {
                let message = format!("expected a port number, not \"{text}\"");
                self.faults.add(in_environment("PORT", listen, message));
            }
            number.ok()
        });
        let host = env("HOST").and_then(|text| {
            let host = match text.trim() {
                bare if bare.contains(':') && !bare.starts_with('[') => format!("[{bare}]"),
                host => host.to_owned(),
            };
            if !value_types::is_host(&host) {
                let message = format!("expected a host name or an IP address, not \"{text}\"");
                self.faults.add(in_environment("HOST", listen, message));
                return None;
            }
            Some(host)
        });
        let mut port = port;
        let mut listeners: Vec<Listener> = Vec::new();
        for listener in &self.settings.server.listen {
            let Some((old_host, old_port)) = value_types::host_and_port(&listener.address) else {
                continue;
            };
            let host = host.as_deref().unwrap_or(old_host);
            let port = port.take_if(|_| listener.tls.is_none());
            let address = format!("{host}:{}", port.unwrap_or(old_port));
            let listener = Listener {
                address,
                ..listener.clone()
            };
            // Entries that are equal after the replacement are merged.
            if !listeners.contains(&listener) {
                listeners.push(listener);
            }
        }
        self.settings.server.listen = listeners;
    }
}

/// Returns the node for a variable's value: plain text. For list settings it may be a YAML list: `[a, b]`.
fn node_of(key: &Key, value: &str) -> YamlNode {
    let flow = key.list && value.trim().starts_with('[') && value.trim().ends_with(']');
    let parsed = match yaml::parse(value.trim(), &|_| None) {
        (Some(node), flaws) if flow && flaws.is_empty() => Some(node),
        _ => None,
    };
    parsed.unwrap_or_else(|| YamlNode::plain(value))
}

/// Appends the `did you mean` hint.
fn unknown_message(what: &str, meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("{what} (did you mean \"{meant}\"?)"),
        None => what.to_owned(),
    }
}

fn in_environment(name: &str, path: &str, message: String) -> Fault {
    fault(&format!("environment {name}"), path, message)
}

fn fault(place: &str, path: &str, message: String) -> Fault {
    Fault {
        place: Some(place.to_owned()),
        path: path.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests;
