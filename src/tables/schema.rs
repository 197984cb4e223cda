//! The JSON Schema (2020-12) of a table.
//!
//! In a schema of settings any value may also be `null` or a reference to the environment: it describes the file
//! before the references are replaced.

use super::page;
use super::reading::Source;
use super::row::{Table, Unknown};
use super::value_type::{AnyRow, with};
use super::yaml;
use serde_json::{Map, Value, json};

/// Returns the schema of an object with the rows of `T`.
pub fn of<T: Table>(source: Source) -> Value {
    let rows = T::rows();
    let properties: Map<String, Value> = rows
        .iter()
        .map(|row| (row.name().to_owned(), property(*row, source)))
        .collect();
    let required = rows.iter().filter(|row| row.is_required());
    let required: Vec<&str> = required.map(|row| row.name()).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if !T::ABOUT.is_empty() {
        schema["description"] = page::plain(T::ABOUT).into();
    }
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if T::UNKNOWN == Unknown::Refused {
        schema["additionalProperties"] = false.into();
    }
    match T::rule() {
        Some(rule) => with(schema, &rule),
        None => schema,
    }
}

/// Returns the schema of a whole document.
pub fn document<T: Table>(source: Source, title: &str) -> Value {
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
    });
    let mut schema = with(head, &of::<T>(source));
    if source == Source::Settings {
        schema["type"] = json!(["object", "null"]);
        schema["$defs"]["reference"] = json!({
            "description": "Taken from the environment: ${NAME} or ${NAME:-default}.",
            "type": "string",
            "pattern": "\\$\\{[A-Za-z0-9_]+(:-[^}]*)?\\}",
        });
    }
    schema
}

fn property(row: &dyn AnyRow, source: Source) -> Value {
    let mut schema = row.schema(source);
    if source == Source::Settings && row.traits().rows.is_none() {
        schema = json!({"anyOf": [schema, {"$ref": "#/$defs/reference"}]});
    }
    if !row.is_required() {
        schema = or_null(schema);
    }
    let mut property = with(json!({}), &schema);
    property["description"] = page::plain(row.about()).into();
    if let Some(default) = row.traits().default
        && let (Some(default), _) = yaml::parse(default, &|_| None)
    {
        property["default"] = default.json();
    }
    property
}

/// Returns a schema that allows `null` too.
fn or_null(mut schema: Value) -> Value {
    if let Value::Array(forms) = &mut schema["anyOf"] {
        forms.push(json!({"type": "null"}));
        return schema;
    }
    if let Value::Array(choices) = &mut schema["enum"] {
        choices.push(Value::Null);
    }
    if let Value::String(kind) = &schema["type"] {
        schema["type"] = json!([kind, "null"]);
    }
    let is_written = |(_, value): &(String, Value)| !value.is_null();
    match schema {
        Value::Object(members) => members.into_iter().filter(is_written).collect(),
        other => other,
    }
}
