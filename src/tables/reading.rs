//! [`Reading`]: the state of one reading of a config, with its faults and warnings.

use super::fault::{Fault, Faults};
use super::node::Node;
use super::secret::{Opener, Secret};
use crate::url::Origin;
use serde_json::Value;

/// Where the values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A YAML file and the environment: every scalar is a text, and messages quote it.
    Settings,
    /// JSON of a tenant: values have types, and messages never quote a string.
    Json,
}

impl Source {
    pub(super) fn object(self) -> &'static str {
        match self {
            Source::Settings => "a mapping",
            Source::Json => "an object",
        }
    }
}

/// Most warnings that are kept of one config.
const MAX_WARNINGS: usize = 20;

/// State of one reading: its faults and warnings so far.
pub struct Reading<'r> {
    source: Source,
    opener: Option<&'r dyn Opener>,
    /// Finds the path of a setting by its name, for one in the wrong section.
    elsewhere: fn(&str) -> Option<String>,
    pub faults: Faults,
    /// What can be read and will hardly do what was meant.
    pub warnings: Vec<Fault>,
}

impl<'r> Reading<'r> {
    pub fn of_settings(elsewhere: fn(&str) -> Option<String>) -> Reading<'static> {
        Reading {
            source: Source::Settings,
            opener: None,
            elsewhere,
            faults: Faults::default(),
            warnings: Vec::new(),
        }
    }

    pub fn of_json(opener: &'r dyn Opener) -> Reading<'r> {
        Reading {
            source: Source::Json,
            opener: Some(opener),
            elsewhere: |_| None,
            faults: Faults::default(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn elsewhere(&self, name: &str) -> Option<String> {
        (self.elsewhere)(name)
    }

    pub fn source(&self) -> Source {
        self.source
    }

    /// Adds a fault of a node.
    pub fn fault(&mut self, node: &Node<'_>, message: impl Into<String>) {
        self.fault_at(node.path(), message);
    }

    pub fn fault_at(&mut self, path: String, message: impl Into<String>) {
        self.faults.add(Fault::new(path, message));
    }

    pub fn warn(&mut self, path: String, message: impl Into<String>) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Fault::new(path, message));
        }
    }

    /// Adds the fault `expected …, not …`.
    pub fn expected(&mut self, node: &Node<'_>, what: &str) {
        let message = format!("expected {what}, not {}", self.shown(node));
        self.fault(node, message);
    }

    /// Adds the fault `expected …, not …`, which names the number.
    pub(super) fn expected_number(&mut self, node: &Node<'_>, what: &str) {
        match node.value() {
            Value::Number(number) => self.fault(node, format!("expected {what}, not {number}")),
            _ => self.expected(node, what),
        }
    }

    pub(super) fn open(&self, node: &Node<'_>, goes: Option<&Origin>) -> Result<Secret, String> {
        match self.opener {
            Some(opener) => opener.open(node, goes),
            None => Err("secrets of tenants do not stand in settings".to_owned()),
        }
    }

    /// Whether the value is an object; a fault if not.
    pub fn is_object(&mut self, node: &Node<'_>) -> bool {
        let is = node.value().is_object();
        if !is {
            // Not quoted: it may be a secret that was written one level too high.
            let message = format!(
                "expected {}, not {}",
                self.source.object(),
                node.type_name()
            );
            self.fault(node, message);
        }
        is
    }

    /// Returns a string, trimmed where it is a setting.
    pub fn text<'n>(&self, node: &Node<'n>) -> Option<&'n str> {
        let text = node.value().as_str()?;
        Some(match self.source {
            Source::Settings => text.trim(),
            Source::Json => text,
        })
    }

    /// Returns how a message names the value: settings are quoted, cut to 60 characters; of a tenant's config only
    /// the type is named.
    fn shown(&self, node: &Node<'_>) -> String {
        match (node.value(), self.source) {
            (Value::String(text), Source::Settings) => {
                let more = if text.chars().count() > 60 { "…" } else { "" };
                let start: String = text.chars().take(60).collect();
                format!("\"{}{more}\"", start.escape_debug())
            }
            (Value::Object(_), Source::Settings) => "a mapping".to_owned(),
            _ => node.type_name().to_owned(),
        }
    }
}
