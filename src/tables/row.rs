//! [`Row`]: one field of a [`Table`].

use super::node::Node;
use super::reading::{Reading, Source};
use super::value_type::{AnyRow, Traits, ValueType};
use crate::nearest::nearest;
use serde_json::Value;

/// A field: its name, its description and its type.
pub struct Row<T> {
    name: &'static str,
    about: &'static [&'static str],
    value: ValueType<T>,
}

/// What happens to fields that have no row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// They are faults.
    Refused,
    /// They are kept by who stores the text. One that looks like a known name is worth a warning.
    Kept,
    /// Likewise, but one that looks like a known name is a fault: it would change a price.
    KeptUnlessSlip,
}

/// A struct that is read by its rows. Implemented by [`table!`](super::table).
pub trait Table: Sized + 'static {
    const ABOUT: &'static [&'static str];
    const UNKNOWN: Unknown;

    fn rows() -> Vec<&'static dyn AnyRow>;

    /// Returns what the schema says of several fields together.
    fn rule() -> Option<Value>;

    /// Reads the struct. `None`: there are faults.
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self>;

    /// Looks for fields that have no row.
    fn check_names(node: &Node<'_>, reading: &mut Reading<'_>) {
        let known: Vec<&str> = Self::rows().iter().map(|row| row.name()).collect();
        for field in node.entries() {
            let name = field.name();
            if known.contains(&name) {
                continue;
            }
            let near = nearest(name, known.iter().copied()).map(str::to_owned);
            let meant = near.or_else(|| reading.elsewhere(name));
            let (path, is_slip) = (field.path(), meant.is_some());
            let message = unknown(meant.as_deref(), &known);
            match Self::UNKNOWN {
                Unknown::Refused => reading.fault_at(path, message),
                Unknown::KeptUnlessSlip if is_slip => reading.fault_at(path, message),
                Unknown::Kept if is_slip => reading.warn(path, message),
                Unknown::Kept | Unknown::KeptUnlessSlip => {}
            }
        }
    }
}

/// Returns the message about an unknown field.
pub(super) fn unknown(meant: Option<&str>, known: &[&str]) -> String {
    match meant {
        Some(meant) => format!("unknown setting (did you mean {meant}?)"),
        None => format!("unknown setting (there are: {})", known.join(", ")),
    }
}

impl<T: 'static> Row<T> {
    pub fn new(field: &'static str, about: &'static [&'static str], value: ValueType<T>) -> Row<T> {
        Row {
            name: value.traits.name.unwrap_or(field),
            about,
            value,
        }
    }

    /// Reads the field of an object. `None`: there is a fault.
    pub fn read(&self, object: &Node<'_>, reading: &mut Reading<'_>) -> Option<T> {
        if let Some(node) = object.field(self.name) {
            return (self.value.read)(&node, reading);
        }
        let default = self.value.read_default(object, reading);
        if default.is_none() {
            reading.fault_at(object.child_path(self.name), "is required");
        }
        default.flatten()
    }
}

impl<T: 'static> AnyRow for Row<T>
where
    Row<T>: Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static [&'static str] {
        self.about
    }

    fn traits(&self) -> &Traits {
        &self.value.traits
    }

    fn is_required(&self) -> bool {
        self.value.absent.is_none() && self.value.traits.default.is_none()
    }

    fn schema(&self, source: Source) -> Value {
        (self.value.schema)(source)
    }
}
