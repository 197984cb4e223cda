//! Value types made of others: tables, lists, maps, alternatives.

use super::node::Node;
use super::reading::{Reading, Source};
use super::row::{Table, unknown};
use super::schema;
use super::value_type::ValueType;
use crate::nearest::nearest;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Rule for names in maps, which are written to headers, paths, records and logs.
const NAME_RULE: &str = "a name is 1 to 64 letters, digits, _, . and -";

/// An object that is read by its rows.
pub fn object<T: Table>() -> ValueType<T> {
    let mut object = ValueType::new(Value::Null, T::read);
    object.schema = Box::new(schema::of::<T>);
    object.traits.rows = Some(T::rows);
    object
}

/// Such an object; an absent one is read as one that has no fields, so each row has its default.
pub fn defaulted<T: Table>() -> ValueType<T> {
    let nothing = Value::Object(serde_json::Map::new());
    let mut object = object();
    object.absent = Some(Box::new(move |_, reading| {
        T::read(&Node::root(&nothing), reading)
    }));
    object
}

/// A section of the gateway's file.
pub fn section<T: Table>() -> ValueType<T> {
    let mut section = defaulted();
    section.traits.is_section = true;
    section
}

/// A list of at least `least` items. In settings it may also be a text with commas.
pub fn list<T: 'static>(item: ValueType<T>, least: usize) -> ValueType<Vec<T>> {
    let ValueType {
        read,
        schema: of_item,
        traits,
        ..
    } = item;
    let mut list = ValueType::new(Value::Null, move |node, reading| {
        let texts: Value = match node.value() {
            Value::Array(_) => Value::Null,
            Value::String(text) if reading.source() == Source::Settings => {
                text.split(',').map(str::trim).collect()
            }
            _ => {
                reading.fault(node, format!("expected a list, not {}", node.type_name()));
                return None;
            }
        };
        let items = match &texts {
            Value::Array(_) => &node.with(&texts),
            _ => node,
        };
        let read: Vec<Option<T>> = items.elements().map(|item| read(&item, reading)).collect();
        if read.len() < least {
            reading.fault(node, format!("expected a list of at least {least}"));
            return None;
        }
        read.into_iter().collect()
    });
    list.schema = Box::new(move |source| {
        let mut schema = json!({"type": "array", "items": of_item(source)});
        if least > 0 {
            schema["minItems"] = least.into();
        }
        schema
    });
    list.traits.is_list = true;
    list.traits.rows = traits.rows;
    list
}

/// An object from names of the writer's own to values. The names must be fit for headers and logs.
pub fn by_name<T: 'static>(value: ValueType<T>) -> ValueType<Vec<(String, T)>> {
    let names = json!({"propertyNames": {"pattern": "^[A-Za-z0-9_.-]{1,64}$"}});
    entries(value, |node, reading| {
        let name = node.name();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
            reading.fault(node, NAME_RULE);
        }
    })
    .with_schema(names)
}

/// An object from any names to values; with `known`, from those names only.
pub fn map<T: 'static>(
    value: ValueType<T>,
    known: Option<&'static [&'static str]>,
) -> ValueType<BTreeMap<String, T>> {
    let map = entries(value, move |node, reading| {
        if let Some(known) = known.filter(|known| !known.contains(&node.name())) {
            let meant = nearest(node.name(), known.iter().copied());
            reading.fault(node, unknown(meant, known));
        }
    });
    let map = map.map(|entries| entries.into_iter().collect());
    match known {
        Some(known) => map.with_schema(json!({"propertyNames": {"enum": known}})),
        None => map,
    }
}

fn entries<T: 'static>(
    value: ValueType<T>,
    check: impl Fn(&Node<'_>, &mut Reading<'_>) + Send + Sync + 'static,
) -> ValueType<Vec<(String, T)>> {
    let ValueType {
        read,
        schema: of_value,
        traits,
        ..
    } = value;
    let mut map = ValueType::new(Value::Null, move |node, reading| {
        if !reading.is_object(node) {
            return None;
        }
        let mut entries = Vec::new();
        let mut is_whole = true;
        for entry in node.entries() {
            check(&entry, reading);
            match read(&entry, reading) {
                Some(value) => entries.push((entry.name().to_owned(), value)),
                None => is_whole = false,
            }
        }
        is_whole.then_some(entries)
    });
    map.schema =
        Box::new(move |source| json!({"type": "object", "additionalProperties": of_value(source)}));
    map.traits.rows = traits.rows;
    map.traits.is_map = true;
    map
}

/// A number is read as the first type, anything else as the second.
pub fn number_or<T: 'static>(number: ValueType<T>, other: ValueType<T>) -> ValueType<T> {
    let (of_number, of_other) = (number.schema, other.schema);
    let (read_number, read_other) = (number.read, other.read);
    let mut either = ValueType::new(
        Value::Null,
        move |node: &Node<'_>, reading: &mut Reading<'_>| match node.value() {
            Value::Number(_) => read_number(node, reading),
            _ => read_other(node, reading),
        },
    );
    either.schema = Box::new(move |source| json!({"anyOf": [of_other(source), of_number(source)]}));
    either
}

/// An object is read as the first type, anything else as the second.
pub fn either<T: 'static>(object: ValueType<T>, other: ValueType<T>) -> ValueType<T> {
    let (of_object, of_other) = (object.schema, other.schema);
    let (read_object, read_other) = (object.read, other.read);
    let mut either = ValueType::new(
        Value::Null,
        move |node: &Node<'_>, reading: &mut Reading<'_>| match node.value() {
            Value::Object(_) => read_object(node, reading),
            _ => read_other(node, reading),
        },
    );
    either.schema = Box::new(move |source| json!({"anyOf": [of_other(source), of_object(source)]}));
    either.traits.rows = object.traits.rows;
    either
}
