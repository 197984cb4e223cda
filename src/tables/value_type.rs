//! [`ValueType`]: how one kind of value is read, described and defaulted.

use super::node::Node;
use super::reading::{Reading, Source};
use super::yaml;
use serde_json::Value;

type Read<T> = Box<dyn Fn(&Node<'_>, &mut Reading<'_>) -> Option<T> + Send + Sync>;

/// A kind of value. `read` returns `None` if it has added a fault.
pub struct ValueType<T> {
    pub(super) read: Read<T>,
    pub(super) schema: Box<dyn Fn(Source) -> Value + Send + Sync>,
    /// Value of an absent field, given the object it would stand in. `None`: the field is required.
    pub(super) absent: Option<Read<T>>,
    pub(super) traits: Traits,
}

/// What the schema, the file and the reference say of a row besides its type.
#[derive(Clone, Copy, Default)]
pub struct Traits {
    /// Default, as YAML.
    pub default: Option<&'static str>,
    /// Value that the commented file shows where there is no default.
    pub shown: Option<&'static str>,
    /// Value that the bundled file has instead of the default.
    pub bundled: Option<&'static str>,
    /// Environment variable that overrides everything else, such as `REDIS_URL`.
    pub variable: Option<&'static str>,
    /// Name in the file, if it is not the field's.
    pub name: Option<&'static str>,
    /// A list: a text is split at commas.
    pub is_list: bool,
    /// Rows of an object, or of the objects in a map or list.
    pub rows: Option<fn() -> Vec<&'static dyn AnyRow>>,
    /// The rows are those of each entry, under a name of the writer's own.
    pub is_map: bool,
    /// A section of the gateway's file.
    pub is_section: bool,
}

impl<T: 'static> ValueType<T> {
    pub(super) fn new(
        schema: Value,
        read: impl Fn(&Node<'_>, &mut Reading<'_>) -> Option<T> + Send + Sync + 'static,
    ) -> ValueType<T> {
        ValueType {
            read: Box::new(read),
            schema: Box::new(move |_| schema.clone()),
            absent: None,
            traits: Traits::default(),
        }
    }

    /// Sets the default, written as in the file.
    pub fn default(mut self, default: &'static str) -> ValueType<T> {
        self.traits.default = Some(default);
        self
    }

    /// Sets the value of an absent field, computed from the object it would stand in.
    pub fn or_from(mut self, absent: fn(&Node<'_>) -> T) -> ValueType<T> {
        self.absent = Some(Box::new(move |node, _| Some(absent(node))));
        self
    }

    /// Makes the field optional.
    pub fn optional(self) -> ValueType<Option<T>> {
        let read = self.read;
        ValueType {
            read: Box::new(move |node, reading| read(node, reading).map(Some)),
            schema: self.schema,
            absent: Some(Box::new(|_, _| Some(None))),
            traits: self.traits,
        }
    }

    /// Turns the value into another.
    pub fn map<U: 'static>(self, meant: impl Fn(T) -> U + Send + Sync + 'static) -> ValueType<U> {
        let read = self.read;
        ValueType {
            read: Box::new(move |node, reading| read(node, reading).map(&meant)),
            schema: self.schema,
            absent: None,
            traits: self.traits,
        }
    }

    /// Adds a check; an error is a fault, and the value is kept.
    pub fn check<E: Into<String> + 'static>(self, check: fn(&T) -> Result<(), E>) -> ValueType<T> {
        let read = self.read;
        ValueType {
            read: Box::new(move |node, reading| {
                let value = read(node, reading)?;
                if let Err(message) = check(&value) {
                    reading.fault(node, message);
                }
                Some(value)
            }),
            ..self
        }
    }

    /// Adds members to the schema.
    pub fn with_schema(mut self, more: Value) -> ValueType<T> {
        let schema = self.schema;
        self.schema = Box::new(move |source| with(schema(source), &more));
        self
    }

    /// Leaves the rows of an object out of the reference, where another row of the same type has them.
    pub fn described_elsewhere(mut self) -> ValueType<T> {
        self.traits.rows = None;
        self
    }

    /// Names the environment variable that overrides everything else.
    pub fn variable(mut self, name: &'static str) -> ValueType<T> {
        self.traits.variable = Some(name);
        self
    }

    /// Sets the name in the file.
    pub fn named(mut self, name: &'static str) -> ValueType<T> {
        self.traits.name = Some(name);
        self
    }

    /// Sets the example that the commented file shows.
    pub fn shown(mut self, example: &'static str) -> ValueType<T> {
        self.traits.shown = Some(example);
        self
    }

    /// Sets the value that the bundled file has instead of the default.
    pub fn bundled(mut self, value: &'static str) -> ValueType<T> {
        self.traits.bundled = Some(value);
        self
    }

    /// Reads the default, if there is one.
    pub(super) fn read_default(
        &self,
        object: &Node<'_>,
        reading: &mut Reading<'_>,
    ) -> Option<Option<T>> {
        if let Some(absent) = &self.absent {
            return Some(absent(object, reading));
        }
        let default = self.traits.default?;
        let (node, _) = yaml::parse(default, &|_| None);
        let value = match (node, reading.source()) {
            (None, _) => Value::String(String::new()),
            (Some(node), Source::Settings) => node.texts(),
            (Some(node), Source::Json) => node.json(),
        };
        Some((self.read)(&Node::root(&value), reading))
    }
}

/// A row of any type, for what is written about it.
pub trait AnyRow: Sync {
    fn name(&self) -> &'static str;
    /// Lines of the description.
    fn about(&self) -> &'static [&'static str];
    fn traits(&self) -> &Traits;
    fn is_required(&self) -> bool;
    fn schema(&self, source: Source) -> Value;
}

/// Returns a schema with the members of another added.
pub(super) fn with(mut schema: Value, more: &Value) -> Value {
    if let (Value::Object(schema), Value::Object(more)) = (&mut schema, more) {
        let more = more
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        schema.extend(more);
    }
    schema
}
