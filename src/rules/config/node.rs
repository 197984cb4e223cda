//! [`Node`], a JSON value with its path, and the [`Fault`]s found while reading it.
//!
//! A message names what was expected and the type of the value. It must never repeat a string's text: the
//! value in the wrong place may be a secret.

use crate::nearest::nearest;
use crate::rules::price::Rate;
use serde::Serialize;
use serde_json::Value;
use std::ops::RangeInclusive;

/// Fault of a config at a `path` such as `user_groups.anonymous.tokens`. The path of the whole config is
/// empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub path: String,
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

pub(super) const NOT_A_LINE: &str = "must not have line ends or control characters";

#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Fault {
            path: path.into(),
            message: message.into(),
        });
    }

    pub(super) fn none_or<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self.0)
        }
    }
}

pub(super) struct Node<'v> {
    path: String,
    /// The path as a JSON pointer, with names unchanged.
    pointer: String,
    value: &'v Value,
}

/// Appends a name to a path. Names come from the tenant: they are cut to 64 characters and control characters
/// are escaped, so that a path stays one readable line.
pub(super) fn joined(path: &str, name: &str) -> String {
    let mut path = path.to_owned();
    if !path.is_empty() {
        path.push('.');
    }
    path.extend(name.chars().take(64).flat_map(char::escape_debug));
    path
}

/// Returns a name as a segment of a JSON pointer.
pub(super) fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl<'v> Node<'v> {
    pub(super) fn root(value: &'v Value) -> Node<'v> {
        Node {
            path: String::new(),
            pointer: String::new(),
            value,
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn pointer(&self) -> &str {
        &self.pointer
    }

    pub(super) fn value(&self) -> &'v Value {
        self.value
    }

    pub(super) fn child_path(&self, name: &str) -> String {
        joined(&self.path, name)
    }

    fn child(&self, name: &str, value: &'v Value) -> Node<'v> {
        Node {
            path: self.child_path(name),
            pointer: format!("{}{}", self.pointer, step(name)),
            value,
        }
    }

    /// Returns a field, if present; `null` counts as absent.
    pub(super) fn field(&self, name: &str) -> Option<Node<'v>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(self.child(name, value))
    }

    pub(super) fn required(&self, name: &str, faults: &mut Faults) -> Option<Node<'v>> {
        let field = self.field(name);
        // A value that is no object has that fault already.
        if field.is_none() && self.value.is_object() {
            faults.add(self.child_path(name), "is required");
        }
        field
    }

    /// Returns a field that is present and an object; a fault if it has another type.
    pub(super) fn section(&self, name: &str, faults: &mut Faults) -> Option<Node<'v>> {
        self.field(name).filter(|node| node.is_object(faults))
    }

    pub(super) fn is_map(&self) -> bool {
        self.value.is_object()
    }

    pub(super) fn is_object(&self, faults: &mut Faults) -> bool {
        let is = self.value.is_object();
        if !is {
            self.expected("an object", faults);
        }
        is
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'v str, Node<'v>)> {
        let fields = self.value.as_object().into_iter().flatten();
        fields.map(|(name, value)| (name.as_str(), self.child(name, value)))
    }

    /// Reports each field of an object that is not `known`. For objects in which every field has a meaning,
    /// so that an unknown one is a typo.
    pub(super) fn only(&self, known: &[&str], faults: &mut Faults) {
        for (name, node) in self.entries() {
            if known.contains(&name) {
                continue;
            }
            let hint = match nearest(name, known.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("there are: {}", known.join(", ")),
            };
            faults.add(node.path(), format!("unknown field ({hint})"));
        }
    }

    /// Reports each field whose name looks like a misspelt `known` one. For objects that may have other
    /// fields besides.
    pub(super) fn no_slips(&self, known: &[&str], faults: &mut Faults) {
        for (name, node) in self.entries() {
            let Some(meant) = nearest(name, known.iter().copied()) else {
                continue;
            };
            if meant != name {
                faults.add(
                    node.path(),
                    format!("unknown field (did you mean {meant}?)"),
                );
            }
        }
    }

    /// Returns the elements of a list; none if the list is absent.
    pub(super) fn elements(&self, name: &str, faults: &mut Faults) -> Vec<Node<'v>> {
        let Some(list) = self.field(name) else {
            return Vec::new();
        };
        let Value::Array(values) = list.value else {
            list.expected("a list", faults);
            return Vec::new();
        };
        let elements = values.iter().enumerate();
        elements
            .map(|(index, value)| list.child(&index.to_string(), value))
            .collect()
    }

    pub(super) fn text(&self, faults: &mut Faults) -> Option<String> {
        let text = self.value.as_str();
        if text.is_none() {
            self.expected("a string", faults);
        }
        text.map(str::to_owned)
    }

    /// Returns a string without control characters, which may be written to a header, a URL or a log line.
    pub(super) fn line(&self, faults: &mut Faults) -> Option<String> {
        let text = self.text(faults)?;
        if text.chars().any(char::is_control) {
            faults.add(self.path(), NOT_A_LINE);
            return None;
        }
        Some(text)
    }

    /// Returns such a string, if it is not empty.
    pub(super) fn words(&self, faults: &mut Faults) -> Option<String> {
        let text = self.line(faults)?;
        if text.is_empty() {
            faults.add(self.path(), "must not be empty");
            return None;
        }
        Some(text)
    }

    pub(super) fn yes(&self, faults: &mut Faults) -> Option<bool> {
        let truth = self.value.as_bool();
        if truth.is_none() {
            self.expected("true or false", faults);
        }
        truth
    }

    /// Returns a whole number in any JSON notation: `1000`, `1e3` and `1000.0` are the same.
    pub(super) fn whole(&self, range: RangeInclusive<u64>, faults: &mut Faults) -> Option<u64> {
        let number = self.value.as_u64().or_else(|| {
            let float = self.value.as_f64()?;
            // Every whole float up to 2^53 is exact; larger ones are out of every range here.
            let exact = float.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&float);
            exact.then_some(float as u64)
        });
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            let found = match self.value {
                Value::Number(number) => number.to_string(),
                _ => self.type_name().to_owned(),
            };
            faults.add(
                self.path(),
                format!("expected a whole number from {least} to {most}, not {found}"),
            );
        }
        number
    }

    /// Returns a price of a token in millionths of a token of the balance.
    pub(super) fn rate(&self, faults: &mut Faults) -> Option<u64> {
        let rate = self.value.as_f64().and_then(Rate::millionths);
        if rate.is_none() {
            self.expected("a rate from 0 to 1000000 with at most 6 decimals", faults);
        }
        rate
    }

    fn expected(&self, what: &str, faults: &mut Faults) {
        let message = format!("expected {what}, not {}", self.type_name());
        faults.add(self.path(), message);
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}
