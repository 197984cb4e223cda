//! Settings: what the operator wrote, in a file and in the environment, resolved into what it means,
//! with every fault reported at once and with its place. After this nobody validates again, and
//! nothing outside this folder reads the environment.
//!
//! ```text
//! text ─ references, yaml ─► located tree ─ keys, forms ─► meant::Settings, or Faults
//! ```
//!
//! The strongest word wins: PORT, HOST, REDIS_URL, ADMIN_TOKEN and RUST_LOG, then RESULLM__SECTION__KEY,
//! then the file, then the defaults. A word that was overruled is still checked.

mod faults;
mod forms;
mod keys;
mod meant;
mod references;
mod schema;
mod store_url;
mod yaml;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use faults::{Fault, Faults};
pub use meant::{
    Accounts, Admin, Approval, Bounds, Certificate, Egress, HostName, Layout, Listener, Log,
    LogFormat, Orphans, PublicUrl, Redis, RedisKind, SealKey, Secret, Secrets, Server, Service,
    Settings, Store, Tls, Upstream, Usage,
};
pub use schema::gateway_schema;

use crate::nearest::nearest;
use keys::{ENV_PREFIX, Key, SECTIONS, keys};
use references::Env;
use yaml::{Kind, Node, Place, joined};

/// Read when no file is named and it is there.
const USUAL_FILE: &str = "gateway.yaml";

const SAMPLE_TENANT_ID: &str = "abc";
const SAMPLE_TENANT: &str = include_str!("sample_tenant.json");

/// The rules for tenants, which are not settings' own.
pub struct Checks<'a> {
    /// The message if this may not be the ID of a tenant.
    pub tenant_id: &'a dyn Fn(&str) -> Result<(), String>,
    /// What is wrong with this tenant's config.
    pub tenant_config: &'a dyn Fn(&str, &Value, &Secrets) -> Vec<Wrong>,
}

/// Path within a config, and message.
pub type Wrong = (String, String);

/// Settings from the process: the file named (it must exist), else `./gateway.yaml` if it is there,
/// else the defaults; and the process's environment.
pub fn load_from_process(path: Option<&Path>, checks: &Checks) -> Result<Settings, Faults> {
    let usual = Path::new(USUAL_FILE);
    let path = path.or_else(|| usual.exists().then_some(usual));
    // What is not Unicode becomes unreadable characters, and then a fault where it is used.
    let env = |name: &str| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
    let names: Vec<String> = std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    let mut settings = load(path, &env, &names, checks)?;
    settings.notify = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
    Ok(settings)
}

/// Settings from a file, or from the defaults without one, and from an environment of which
/// `env_names` are all the names.
pub fn load(
    path: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
    env_names: &[String],
    checks: &Checks,
) -> Result<Settings, Faults> {
    let mut reading = Reading::from_defaults();
    match path {
        Some(path) => reading.file(path, env, checks),
        None => reading.sample_tenant(),
    }
    reading.end(env, env_names, checks)
}

/// The same from a file's text, under the name that its faults are told with.
pub fn load_text(
    file: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    env_names: &[String],
    checks: &Checks,
) -> Result<Settings, Faults> {
    let mut reading = Reading::from_defaults();
    reading.settings.source = Some(file.to_owned());
    reading.text(text, env, checks);
    reading.end(env, env_names, checks)
}

impl Default for Settings {
    /// What holds without a file and without an environment.
    fn default() -> Settings {
        let mut reading = Reading::from_defaults();
        reading.sample_tenant();
        reading.settings
    }
}

struct Reading {
    keys: Vec<Key>,
    settings: Settings,
    faults: Faults,
    found: Vec<Located>,
    /// Where each of the settings' tenants is written, to be checked when all settings are known.
    written: Vec<(Place, Node)>,
}

/// Something wrong in the file, before the file's name is put to it.
type Located = (Place, String, String);

impl Reading {
    fn from_defaults() -> Reading {
        let mut reading = Reading {
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

    /// The environment has the last word.
    fn end(mut self, env: Env, env_names: &[String], checks: &Checks) -> Result<Settings, Faults> {
        // Set to nothing is not set: that is how a shell or a compose file switches a variable off.
        let env = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        self.environment(&env, env_names);
        self.approvals(&env);
        self.configs(checks);
        self.finish()
    }

    /// Everything that is wrong: the file's faults in their order, then the environment's.
    fn finish(mut self) -> Result<Settings, Faults> {
        let file = self.settings.source.as_deref().map(Path::display);
        self.found.sort_by_key(|(place, ..)| *place);
        let mut faults = Faults::default();
        for (place, path, message) in self.found {
            let file = file.as_ref().map(ToString::to_string).unwrap_or_default();
            let place = format!("{file}:{}:{}", place.line, place.column);
            faults.add(fault(&place, &path, message));
        }
        self.faults
            .0
            .into_iter()
            .for_each(|fault| faults.add(fault));
        if faults.0.is_empty() {
            Ok(self.settings)
        } else {
            Err(faults)
        }
    }

    fn mapping(&mut self, prefix: &str, node: &Node, place: Place, checks: &Checks) {
        let Kind::Map(entries) = &node.kind else {
            // Not repeated: a token written one level too high is a secret all the same.
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
                // Left empty: whatever holds without it.
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

    fn unknown(&self, prefix: &str, name: &str) -> String {
        let tops = SECTIONS.iter().map(|(section, _)| *section);
        let siblings = self.keys.iter().filter_map(|key| {
            let (section, name) = key.path.split_once('.').unwrap_or(("", key.path));
            (section == prefix).then_some(name)
        });
        let tops = tops.chain(["tenants"]).filter(|_| prefix.is_empty());
        // The right name in the wrong section is the other common slip.
        let elsewhere = || {
            let namesake = |key: &&Key| key.path.rsplit('.').next() == Some(name);
            self.keys.iter().find(namesake).map(|key| key.path)
        };
        let meant = nearest(name, siblings.chain(tops)).or_else(elsewhere);
        unknown_message(&format!("unknown key \"{name}\""), meant)
    }

    fn tenants(&mut self, node: &Node, place: Place, checks: &Checks) {
        let Kind::Map(entries) = &node.kind else {
            let message = "expected a mapping of tenant IDs to configs".to_owned();
            self.found.push((place, "tenants".to_owned(), message));
            return;
        };
        for (id, node) in entries {
            let path = joined("tenants", &id.name);
            if let Err(message) = (checks.tenant_id)(&id.name) {
                self.found.push((id.place, path.clone(), message));
            }
            if !matches!(node.kind, Kind::Map(_)) {
                let message = "expected a tenant config, which is a mapping".to_owned();
                self.found.push((id.place, path, message));
                continue;
            }
            self.settings.tenants.push((id.name.clone(), node.json()));
            self.written.push((id.place, node.clone()));
        }
    }

    fn configs(&mut self, checks: &Checks) {
        for ((id, config), (place, node)) in self.settings.tenants.iter().zip(&self.written) {
            for (within, message) in (checks.tenant_config)(id, config, &self.settings.secrets) {
                let place = node.place_of(&within).unwrap_or(*place);
                let path = joined(&joined("tenants", id), &within);
                self.found.push((place, path, message));
            }
        }
    }

    /// Takes the values of the variables that configs may name. What guards the gateway itself is not
    /// among them, under whatever name.
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
            let bytes = forms::key_bytes(value.trim());
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

    /// PORT replaces the port of the first address without TLS that clients connect to, HOST the host of all.
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
            if !forms::is_host(&host) {
                let message = format!("expected a host name or an IP address, not \"{text}\"");
                self.faults.add(in_environment("HOST", listen, message));
                return None;
            }
            Some(host)
        });
        let mut port = port;
        let mut listeners: Vec<Listener> = Vec::new();
        for listener in &self.settings.server.listen {
            let Some((old_host, old_port)) = forms::host_and_port(&listener.address) else {
                continue;
            };
            let host = host.as_deref().unwrap_or(old_host);
            let port = port.take_if(|_| listener.tls.is_none());
            let address = format!("{host}:{}", port.unwrap_or(old_port));
            let listener = Listener {
                address,
                ..listener.clone()
            };
            // Two entries that differed only in what was replaced are one now.
            if !listeners.contains(&listener) {
                listeners.push(listener);
            }
        }
        self.settings.server.listen = listeners;
    }
}

/// A variable's value as it would stand in the file; only for lists may it be YAML.
fn node_of(key: &Key, value: &str) -> Node {
    let flow = key.list && value.trim().starts_with('[') && value.trim().ends_with(']');
    let parsed = match yaml::parse(value.trim(), &|_| None) {
        (Some(node), flaws) if flow && flaws.is_empty() => Some(node),
        _ => None,
    };
    parsed.unwrap_or_else(|| Node::plain(value))
}

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
