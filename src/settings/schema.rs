//! The JSON Schema of `gateway.yaml`, generated from the table in `keys.rs`, for editors and `resullm
//! schema`.
//!
//! The schema describes the file before resolution: any value may also be absent, `null` or an environment reference.
//! `$defs.tenant` is any object here; callers that know tenant configs replace it.

use serde_json::{Map, Value, json};

use super::{
    keys::{Key, SECTIONS, keys},
    yaml,
};

/// Returns the schema.
pub fn gateway_schema() -> Value {
    let keys = keys();
    let mut properties = Map::new();
    for key in &keys {
        let (section, name) = key.path.split_once('.').unwrap_or(("", key.path));
        let parent = if section.is_empty() {
            Some(&mut properties)
        } else {
            let entry = properties
                .entry(section)
                .or_insert_with(|| section_schema(section));
            entry["properties"].as_object_mut()
        };
        if let Some(parent) = parent {
            parent.insert(name.to_owned(), key_schema(key));
        }
    }
    properties.insert("tenants".to_owned(), tenants_schema());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ResuLLM gateway settings",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
        "$defs": {
            "reference": {
                "description": "Taken from the environment: ${NAME} or ${NAME:-default}.",
                "type": "string",
                "pattern": "\\$\\{[A-Za-z0-9_]+(:-[^}]*)?\\}",
            },
            "tenant": {"type": "object"},
        },
    })
}

fn section_schema(section: &str) -> Value {
    let about = SECTIONS.iter().find(|(name, _)| *name == section);
    json!({
        "description": about.map_or("", |(_, about)| *about),
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {},
    })
}

/// Schema of one setting: its form, a reference, or `null`.
fn key_schema(key: &Key) -> Value {
    let mut schema = json!({
        "description": key.about,
        "anyOf": [key.schema, {"$ref": "#/$defs/reference"}, {"type": "null"}],
    });
    if let (Some(default), _) = yaml::parse(key.default, &|_| None) {
        schema["default"] = default.json();
    }
    schema
}

fn tenants_schema() -> Value {
    json!({
        "description": "Configs by tenant ID, written to the store at start where the tenant is absent.",
        "type": ["object", "null"],
        "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"},
        "additionalProperties": {"$ref": "#/$defs/tenant"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described_with_its_default() {
        let schema = gateway_schema();
        for key in keys() {
            let pointer = format!("/properties/{}", key.path.replace('.', "/properties/"));
            let described = schema.pointer(&pointer).unwrap();
            assert_eq!(described["description"], key.about);
            assert_eq!(
                described.get("default").is_some(),
                !key.default.is_empty(),
                "{pointer}"
            );
        }
        assert_eq!(
            schema["properties"]["server"]["properties"]["listen"]["default"],
            json!(["localhost:3000"])
        );
    }

    #[test]
    fn unknown_keys_are_refused_at_every_level() {
        let schema = gateway_schema();
        assert_eq!(schema["additionalProperties"], false);
        for (section, _) in SECTIONS {
            assert_eq!(schema["properties"][section]["additionalProperties"], false);
        }
    }
}
