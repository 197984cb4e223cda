//! Settings from the environment: `RESULLM__SECTION__KEY`, the variables with names of their own, and the values of
//! those that `secrets.env` approves.

use super::table::{Settings, Store};
use super::values::Listener;
use crate::host_port::HostPort;
use crate::nearest::nearest;
use crate::tables::page::{VARIABLE_PREFIX, variable_of};
use crate::tables::yaml;
use crate::tables::{
    AnyRow, Env, Fault, Faults, Node, Reading, Secret, Table, bytes_of_hex_or_base64,
};
use serde_json::{Value, json};

/// The environment, and the faults found in it so far.
pub(super) struct Variables<'e> {
    env: Env<'e>,
    /// Whether a setting was taken from a variable.
    pub are_set: bool,
    pub faults: Faults,
}

/// Returns every setting with its path, such as `server.max_body`.
pub(super) fn paths() -> Vec<(String, &'static dyn AnyRow)> {
    let mut paths = Vec::new();
    paths_of(&Settings::rows(), "", &mut paths);
    paths
}

fn paths_of(
    rows: &[&'static dyn AnyRow],
    above: &str,
    paths: &mut Vec<(String, &'static dyn AnyRow)>,
) {
    for row in rows {
        let path = format!("{above}{}", row.name());
        match row.traits().rows.filter(|_| row.traits().is_section) {
            None => paths.push((path, *row)),
            Some(rows) => paths_of(&rows(), &format!("{path}."), paths),
        }
    }
}

/// Starts a reading of settings. A name in the wrong section is looked for in the others.
pub(super) fn reading() -> Reading<'static> {
    Reading::of_settings(|name| {
        let namesake = |path: &String| path.rsplit('.').next() == Some(name);
        paths().into_iter().map(|(path, _)| path).find(namesake)
    })
}

impl<'e> Variables<'e> {
    pub fn new(env: Env<'e>) -> Variables<'e> {
        Variables {
            env,
            are_set: false,
            faults: Faults::default(),
        }
    }

    fn fault(&mut self, name: &str, path: &str, message: String) {
        let fault = Fault::new(path, message);
        self.faults.add(fault.at(format!("environment {name}")));
    }

    /// Returns the tree with the variables' values in it. Each is validated, also one that another overrides.
    pub fn over(&mut self, mut tree: Value) -> Value {
        for (path, row) in paths() {
            let plain = row.traits().variable.map(str::to_owned);
            for name in [Some(variable_of(&path)), plain].into_iter().flatten() {
                let Some(value) = (self.env)(&name) else {
                    continue;
                };
                let value = match value_of(row, &value) {
                    Ok(value) => value,
                    Err(message) => {
                        self.fault(&name, &path, message);
                        continue;
                    }
                };
                put(&mut tree, &path, value);
                self.are_set = true;
                let mut reading = reading();
                let _ = Settings::read(&Node::root(&tree), &mut reading);
                for fault in reading.faults.0 {
                    if fault.path == path || fault.path.starts_with(&format!("{path}.")) {
                        self.fault(&name, &path, fault.message);
                    }
                }
            }
        }
        tree
    }

    /// Reports names with the prefix that are no setting.
    pub fn check_names(&mut self, env_names: &[String]) {
        let known: Vec<String> = paths().iter().map(|(path, _)| variable_of(path)).collect();
        let is_unknown =
            |name: &&String| name.starts_with(VARIABLE_PREFIX) && !known.contains(name);
        let mut unknown: Vec<&String> = env_names.iter().filter(is_unknown).collect();
        unknown.sort();
        for name in unknown {
            let message = match nearest(name, known.iter().map(String::as_str)) {
                Some(meant) => format!("unknown setting (did you mean {meant}?)"),
                None => "unknown setting".to_owned(),
            };
            self.fault(name, "", message);
        }
    }

    /// Applies `PORT` to the first listener without TLS, and `HOST` to all.
    pub fn listeners(&mut self, listen: &mut Vec<Listener>) {
        let mut port = (self.env)("PORT").and_then(|text| self.port(&text));
        let host = (self.env)("HOST").and_then(|text| self.host(&text));
        let mut replaced: Vec<Listener> = Vec::new();
        for mut listener in std::mem::take(listen) {
            let port = port.take_if(|_| listener.tls.is_none());
            listener.address = HostPort {
                host: host.clone().unwrap_or(listener.address.host),
                port: port.or(listener.address.port),
            };
            // Entries that are equal after the replacement are merged.
            if !replaced.contains(&listener) {
                replaced.push(listener);
            }
        }
        *listen = replaced;
    }

    fn port(&mut self, text: &str) -> Option<u16> {
        let number = text.trim().parse();
        if number.is_err() {
            let message = format!("expected a port number, not {text:?}");
            self.fault("PORT", "server.listen", message);
        }
        number.ok()
    }

    fn host(&mut self, text: &str) -> Option<String> {
        let host = text.trim();
        let host = match host.contains(':') && !host.starts_with('[') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        match HostPort::parse(&host) {
            Ok(HostPort { host, port: None }) => Some(host),
            _ => {
                let message = format!("expected a host name or an IP address, not {text:?}");
                self.fault("HOST", "server.listen", message);
                None
            }
        }
    }

    /// Reads the variables that `secrets.env` approves. A variable whose value equals a secret of the gateway
    /// itself (`admin.token`, the Redis URL or password, a seal key) is a fault, whatever its name.
    pub(super) fn approvals(&mut self, settings: &mut Settings) {
        let plain = paths()
            .into_iter()
            .filter_map(|(_, row)| row.traits().variable);
        let own: Vec<&str> = ["PORT", "HOST"].into_iter().chain(plain).collect();
        let mut values = Vec::new();
        for approval in &settings.secrets.env {
            let name = &approval.name;
            let value = (self.env)(name);
            let message = match &value {
                _ if own.contains(&name.as_str()) || name.starts_with(VARIABLE_PREFIX) => {
                    Some("is a setting of the gateway, which no tenant config may name")
                }
                Some(value) if is_guard(settings, value) => {
                    Some("guards the gateway itself, so no tenant config may name it")
                }
                Some(value) if !value.bytes().all(|c| c.is_ascii_graphic()) => {
                    Some("must hold visible ASCII characters only, without spaces or line ends")
                }
                _ => None,
            };
            if let Some(message) = message {
                self.fault(name, "secrets.env", format!("{name} {message}"));
            }
            values.push(value);
        }
        for (approval, value) in settings.secrets.env.iter_mut().zip(values) {
            approval.value = value.map(Secret::new);
        }
    }
}

/// Whether a value is a secret of the gateway itself.
fn is_guard(settings: &Settings, value: &str) -> bool {
    let store = match &settings.store {
        Store::Redis(redis) => Some(redis),
        Store::Embedded(_) => None,
    };
    let url = store.iter().map(|redis| &redis.url);
    let password = store.iter().filter_map(|redis| redis.password.as_ref());
    let mut guards = settings.admin.tokens().chain(url).chain(password);
    let secrets = &settings.secrets;
    let bytes = bytes_of_hex_or_base64(value.trim());
    let keys = secrets.key.iter().chain(&secrets.old_keys);
    let mut keys = keys.chain(&settings.accounts.key_secret);
    guards.any(|guard| guard.expose() == value) || keys.any(|key| bytes == Some(key.0))
}

/// Returns a variable's value for the tree: a text. For lists it may be a YAML list: `[a, b]`.
fn value_of(row: &dyn AnyRow, value: &str) -> Result<Value, String> {
    let text = value.trim();
    if !(row.traits().is_list && text.starts_with('[') && text.ends_with(']')) {
        return Ok(Value::String(text.to_owned()));
    }
    match yaml::parse(text, &|_| None) {
        (Some(node), flaws) if flaws.is_empty() => Ok(node.texts()),
        _ => Err("expected a list such as [a, b], or texts with commas between them".to_owned()),
    }
}

/// Puts a value at a path. A section that is no mapping is a fault already.
fn put(tree: &mut Value, path: &str, value: Value) {
    let (sections, name) = match path.rsplit_once('.') {
        Some((sections, name)) => (Some(sections), name),
        None => (None, path),
    };
    let mut parent = tree;
    for section in sections
        .into_iter()
        .flat_map(|sections| sections.split('.'))
    {
        let Value::Object(entries) = parent else {
            return;
        };
        let entry = entries.entry(section).or_insert(Value::Null);
        if entry.is_null() {
            *entry = json!({});
        }
        parent = entry;
    }
    if let Value::Object(parent) = parent {
        parent.insert(name.to_owned(), value);
    }
}
