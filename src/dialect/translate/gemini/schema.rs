//! Schemas in the words of OpenAPI, as `parameters` and `responseSchema` have them, written as JSON Schema.

use super::super::conversation::Json;
use super::super::fields::camel;
use serde_json::{Map, Value, json};

/// Members whose value is a schema.
const SCHEMA: &[&str] = &["items", "additionalProperties"];
/// Members whose value is a list of schemas.
const SCHEMAS: &[&str] = &["anyOf", "prefixItems"];
/// Members whose value is a map of schemas.
const NAMED_SCHEMAS: &[&str] = &["properties", "defs", "$defs"];
/// Members whose value is a whole number, which may be written as a string.
const WHOLE: &[&str] = &[
    "maxItems",
    "minItems",
    "maxLength",
    "minLength",
    "maxProperties",
    "minProperties",
];

/// Returns the JSON Schema of a schema. `None`: it is no object.
pub(super) fn json_schema(schema: &str) -> Option<Json> {
    match serde_json::from_str(schema).ok()? {
        Value::Object(schema) => Some(Json::from(&written(schema))),
        _ => None,
    }
}

fn written(schema: Map<String, Value>) -> Value {
    let mut whole = Map::new();
    let mut is_nullable = false;
    for (name, value) in schema {
        let name = camel(&name);
        match name.as_str() {
            "nullable" => is_nullable = value == true,
            "propertyOrdering" => {}
            "type" => {
                whole.insert(name, kind(value));
            }
            // A string that is one of a list; the list says it.
            "format" if value == "enum" => {}
            "example" => {
                whole.insert("examples".to_owned(), json!([value]));
            }
            "ref" => {
                whole.insert("$ref".to_owned(), value);
            }
            name if SCHEMA.contains(&name) => {
                whole.insert(name.to_owned(), of(value));
            }
            name if SCHEMAS.contains(&name) => {
                let schemas = match value {
                    Value::Array(list) => list.into_iter().map(of).collect(),
                    other => other,
                };
                whole.insert(name.to_owned(), schemas);
            }
            name if NAMED_SCHEMAS.contains(&name) => {
                let schemas = match value {
                    Value::Object(named) => named
                        .into_iter()
                        .map(|(name, schema)| (name, of(schema)))
                        .collect(),
                    other => other,
                };
                let name = if name == "defs" { "$defs" } else { name };
                whole.insert(name.to_owned(), schemas);
            }
            name if WHOLE.contains(&name) => {
                let number = value.as_str().and_then(|text| text.parse::<u64>().ok());
                whole.insert(name.to_owned(), number.map_or(value, Value::from));
            }
            _ => {
                whole.insert(name, value);
            }
        }
    }
    if is_nullable {
        allow_null(&mut whole);
    }
    whole.into()
}

fn of(schema: Value) -> Value {
    match schema {
        Value::Object(schema) => written(schema),
        other => other,
    }
}

/// Returns a type in lower case.
fn kind(kind: Value) -> Value {
    match kind {
        Value::String(kind) => kind.to_ascii_lowercase().into(),
        Value::Array(kinds) => kinds.into_iter().map(self::kind).collect(),
        other => other,
    }
}

fn allow_null(schema: &mut Map<String, Value>) {
    match schema.get_mut("type") {
        Some(Value::Array(kinds)) => kinds.push("null".into()),
        Some(kind) => *kind = json!([kind.take(), "null"]),
        None => {
            if let Some(Value::Array(schemas)) = schema.get_mut("anyOf") {
                schemas.push(json!({"type": "null"}));
            }
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_of_openapi_is_written_as_json_schema() {
        let schema = json!({
            "type": "OBJECT", "property_ordering": ["b", "a"], "required": ["a"],
            "properties": {
                "a": {"type": "STRING", "format": "enum", "enum": ["X"], "nullable": true},
                "type": {"type": "ARRAY", "min_items": "1", "items": {"anyOf": [{"type": "INTEGER"}], "nullable": true}},
                "max_items": {"type": "NUMBER", "example": 1.5, "default": {"type": "STRING"}},
                "self": {"ref": "#/$defs/d"},
            },
            "defs": {"d": {"type": "BOOLEAN"}},
        });
        let expected = json!({
            "type": "object", "required": ["a"],
            "properties": {
                "a": {"type": ["string", "null"], "enum": ["X", null]},
                "type": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
                "max_items": {"type": "number", "examples": [1.5], "default": {"type": "STRING"}},
                "self": {"$ref": "#/$defs/d"},
            },
            "$defs": {"d": {"type": "boolean"}},
        });
        let written = json_schema(&schema.to_string()).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(written.get()).unwrap(),
            expected
        );
        assert!(json_schema("[]").is_none());
    }
}
