//! Config file, environment and directory of a gateway under test.
//!
//! Clones share one directory, so a gateway started from a clone finds an earlier one's data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::boot::another_boot;
use super::dir::TempDir;
use super::recorder::Recorder;
use super::small_disk::SmallDisk;

pub const ADMIN_TOKEN: &str = "admin-token-for-tests";

#[derive(Clone)]
#[must_use]
pub struct Setup {
    own_dir: Arc<TempDir>,
    dir: Option<PathBuf>,
    store: Option<String>,
    yaml: String,
    env: Vec<(String, String)>,
    admin_token: String,
    tenants: Map<String, Value>,
    allow_private: bool,
    disk: Option<Arc<SmallDisk>>,
    recorder: Option<Recorder>,
    another_boot: bool,
    clock: Option<String>,
}

impl Setup {
    pub fn new() -> Setup {
        Setup {
            own_dir: Arc::new(TempDir::new()),
            dir: None,
            store: None,
            yaml: String::new(),
            // Tests share few cores; their load must not count as the gateway's own lag.
            env: vec![
                ("RESULLM__SERVER__SHED_AFTER".to_owned(), "60s".to_owned()),
                // Tests use arbitrary `Host` headers.
                ("RESULLM__SERVER__HOSTS".to_owned(), "*".to_owned()),
            ],
            admin_token: ADMIN_TOKEN.to_owned(),
            tenants: Map::new(),
            allow_private: true,
            disk: None,
            recorder: None,
            another_boot: false,
            clock: None,
        }
    }

    /// Sets the store URL; by default an embedded store in its own directory.
    pub fn store(mut self, store: &str) -> Setup {
        self.store = Some(store.to_owned());
        self
    }

    /// Appends text to the config file, at its top level.
    pub fn yaml(mut self, text: &str) -> Setup {
        self.yaml += text;
        self.yaml += "\n";
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn admin_token(mut self, token: &str) -> Setup {
        self.admin_token = token.to_owned();
        self
    }

    pub fn tenant(mut self, id: &str, config: impl Into<Value>) -> Setup {
        self.tenants.insert(id.to_owned(), config.into());
        self
    }

    /// Whether tenants may use providers on private addresses, as every scripted provider is.
    pub fn allow_private(mut self, allowed: bool) -> Setup {
        self.allow_private = allowed;
        self
    }

    /// Uses a directory that outlives this setup and is not removed with it.
    pub fn dir(mut self, dir: &Path) -> Setup {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Runs the gateway in the mount namespace of this disk.
    pub fn on(mut self, disk: &Arc<SmallDisk>) -> Setup {
        self.disk = Some(disk.clone());
        self
    }

    /// Records the gateway's file operations.
    pub fn recorded(mut self, recorder: &Recorder) -> Setup {
        self.recorder = Some(recorder.clone());
        self
    }

    /// Gives the gateway another boot ID.
    pub fn in_another_boot(mut self) -> Setup {
        self.another_boot = true;
        self
    }

    /// Wrapper command of the gateway, if any.
    pub fn wrapper(&self) -> Option<Command> {
        let disk = self.disk.as_ref().map(|disk| disk.inside());
        let recorder = self.recorder.as_ref().map(Recorder::inside);
        let boot = self.another_boot.then(|| another_boot(self.path()));
        disk.or(recorder).or(boot)
    }

    /// Shifts the gateway's wall clock by `+1h` or `-1h`.
    pub fn clock(mut self, offset: &str) -> Setup {
        self.clock = Some(offset.to_owned());
        self
    }

    pub fn offset(&self) -> Option<&str> {
        self.clock.as_deref()
    }

    pub fn path(&self) -> &Path {
        self.dir.as_deref().unwrap_or(self.own_dir.path())
    }

    pub fn token(&self) -> &str {
        &self.admin_token
    }

    pub fn environment(&self) -> &[(String, String)] {
        &self.env
    }

    /// Writes `gateway.yaml` into the directory.
    pub fn write_config(&self) -> PathBuf {
        let store = match &self.store {
            Some(store) => store.clone(),
            None => format!("embedded:{}", self.path().join("data").display()),
        };
        // JSON is YAML, so values need no quoting.
        let sections = [
            ("store", json!(store)),
            ("admin", json!({"token": self.admin_token})),
            (
                "egress",
                json!({"allow_private_networks": self.allow_private}),
            ),
            ("tenants", Value::Object(self.tenants.clone())),
        ];
        let mut text = String::new();
        for (name, value) in sections {
            text += &format!("{name}: {value}\n");
        }
        text += &self.yaml;
        let path = self.path().join("gateway.yaml");
        fs::write(&path, text)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }
}
