//! [`Node`]: a value of a config with its way from the root.
//!
//! The path of a fault is written only when there is one. A message must never repeat a string of a tenant's
//! config: the value in the wrong place may be a secret.

use serde_json::Value;

/// Names in a path are cut to this many characters.
const LONGEST_NAME: usize = 64;

/// Step of a JSON pointer to an item of a list.
pub(crate) const ANY_ITEM: &str = "-";

/// A value, and the object or list it stands in.
#[derive(Clone, Copy)]
pub struct Node<'n> {
    parent: Option<&'n Node<'n>>,
    step: Step<'n>,
    value: &'n Value,
}

#[derive(Clone, Copy)]
enum Step<'n> {
    Root,
    Name(&'n str),
    Index(usize),
}

/// Appends a name to a path. Names may come from a tenant: they are cut to 64 characters and control characters
/// are escaped, so that a path stays one readable line.
pub(crate) fn joined(path: &str, name: &str) -> String {
    let mut path = path.to_owned();
    if !path.is_empty() && !name.is_empty() {
        path.push('.');
    }
    let name = name.chars().take(LONGEST_NAME);
    path.extend(name.flat_map(char::escape_debug));
    path
}

/// Returns a name as a segment of a JSON pointer.
pub(crate) fn pointer_step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl<'n> Node<'n> {
    pub fn root(value: &'n Value) -> Node<'n> {
        Node {
            parent: None,
            step: Step::Root,
            value,
        }
    }

    pub fn value(&self) -> &'n Value {
        self.value
    }

    /// Returns the name under which the value stands in its object.
    pub fn name(&self) -> &'n str {
        match self.step {
            Step::Name(name) => name,
            Step::Root | Step::Index(_) => "",
        }
    }

    /// Returns the object that the value stands in, itself or its list.
    pub(crate) fn object(&self) -> Option<&'n Node<'n>> {
        let parent = self.parent?;
        match parent.value {
            Value::Array(_) => parent.parent,
            _ => Some(parent),
        }
    }

    /// Returns the path for messages, such as `user_groups.anonymous.tokens`; empty for the root.
    pub fn path(&self) -> String {
        let parent = self.parent.map(Node::path).unwrap_or_default();
        match self.step {
            Step::Root => parent,
            Step::Name(name) => joined(&parent, name),
            Step::Index(index) => joined(&parent, &index.to_string()),
        }
    }

    /// Returns the JSON pointer, with names unchanged. All items of a list have the same one, [`ANY_ITEM`] in place of
    /// the index: a secret must open wherever in its list it stands.
    pub fn pointer(&self) -> String {
        let parent = self.parent.map(Node::pointer).unwrap_or_default();
        match self.step {
            Step::Root => parent,
            Step::Name(name) => parent + &pointer_step(name),
            Step::Index(_) => format!("{parent}/{ANY_ITEM}"),
        }
    }

    /// Returns the JSON pointer with the index of each item, which no other value of the config has.
    pub(crate) fn exact_pointer(&self) -> String {
        let parent = self.parent.map(Node::exact_pointer).unwrap_or_default();
        match self.step {
            Step::Root => parent,
            Step::Name(name) => parent + &pointer_step(name),
            Step::Index(index) => format!("{parent}/{index}"),
        }
    }

    pub fn child_path(&self, name: &str) -> String {
        joined(&self.path(), name)
    }

    fn child<'c>(&'c self, step: Step<'c>, value: &'c Value) -> Node<'c> {
        Node {
            parent: Some(self),
            step,
            value,
        }
    }

    /// Returns a node at the same place with another value.
    pub(super) fn with<'c>(&'c self, value: &'c Value) -> Node<'c> {
        Node { value, ..*self }
    }

    /// Returns a field, if present; `null` counts as absent.
    pub fn field<'c>(&'c self, name: &'c str) -> Option<Node<'c>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(self.child(Step::Name(name), value))
    }

    pub fn entries(&self) -> impl Iterator<Item = Node<'_>> {
        let fields = self.value.as_object().into_iter().flatten();
        fields.map(|(name, value)| self.child(Step::Name(name), value))
    }

    pub fn elements(&self) -> impl Iterator<Item = Node<'_>> {
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items.map(|(index, value)| self.child(Step::Index(index), value))
    }

    pub fn type_name(&self) -> &'static str {
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
