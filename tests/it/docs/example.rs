//! Examples of settings and tenants' configs, checked by the gateway's own reader.
//!
//! A part of a config counts as one. Members that no schema names are faults here, although the gateway keeps them.

use crate::harness::{Authority, TempDir, resullm};
use regex::Regex;
use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Files of certificates that examples name.
const CERTIFICATE: &str = r"/etc/[\w./-]+\.(pem|crt)\b";
const KEY: &str = r"/etc/[\w./-]+\.key\b";

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let schema = resullm(&["schema", "tenant"], &[]);
    serde_json::from_slice(&schema.stdout).expect("the schema of a tenant's config")
});

/// Checks settings of the gateway.
pub fn settings(text: &str) -> Result<(), String> {
    let dir = TempDir::new();
    let mut text = text.to_owned();
    if Regex::new(CERTIFICATE).unwrap().is_match(&text) {
        let authority = Authority::new();
        let (certificate, key) = authority.issue("example", "DNS:localhost");
        for (pattern, file) in [(CERTIFICATE, &certificate), (KEY, &key)] {
            let to = dir.file(file.file_name().unwrap().to_str().unwrap());
            std::fs::copy(file, &to).unwrap();
            let to = to.display().to_string();
            text = Regex::new(pattern)
                .unwrap()
                .replace_all(&text, to)
                .into_owned();
        }
    }
    let file = dir.write("gateway.yaml", &text);
    let checked = resullm(&["--config", file.to_str().unwrap(), "check"], &[]);
    if checked.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&checked.stderr);
    let shown = said.replace(&format!("{}/", dir.path().display()), "");
    Err(format!("`resullm check` refuses these settings:\n{shown}"))
}

/// Checks a tenant's config, or members of one without the braces around them.
pub fn config(text: &str) -> Result<(), String> {
    let value = parsed(text)?;
    let mut strays = Vec::new();
    stray(&SCHEMA, &value, "", &mut strays);
    if !strays.is_empty() {
        let known = SCHEMA["properties"].as_object().map(Map::keys);
        let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
        return Err(format!(
            "no member of a tenant's config: {}; it has {}. (An output stands directly after its commands; a file's \
             name ends the line before it, as in \"This is `call.json`:\")",
            strays.join(", "),
            known.join(", ")
        ));
    }
    settings(&json!({"tenants": {"example": value}}).to_string())
}

/// Whether a file is a tenant's config: it has a member of one.
pub fn is_config(text: &str) -> bool {
    let known = |name: &String| SCHEMA["properties"].get(name).is_some();
    parsed(text).is_ok_and(|value| {
        value
            .as_object()
            .is_some_and(|members| members.keys().any(known))
    })
}

/// The JSON of an example, or of members without the braces around them.
pub fn parsed(text: &str) -> Result<Value, String> {
    let text = text.trim();
    let whole = match text.starts_with(['{', '[']) {
        true => text.to_owned(),
        false => format!("{{{text}}}"),
    };
    serde_json::from_str(&whole).map_err(|error| format!("this is no JSON: {error}"))
}

/// Parses YAML of any program.
pub fn yaml(text: &str) -> Result<(), String> {
    for event in Parser::new_from_str(text) {
        match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok(_) => {}
            Err(error) => return Err(format!("this is no YAML: {error}")),
        }
    }
    Ok(())
}

/// Paths of members that the schema does not name.
fn stray(schema: &Value, value: &Value, path: &str, strays: &mut Vec<String>) {
    let (named, other) = (&schema["properties"], &schema["additionalProperties"]);
    let Some(members) = value
        .as_object()
        .filter(|_| named.is_object() || other.is_object())
    else {
        return;
    };
    for (name, value) in members {
        let path = format!("{path}.{name}");
        let path = path.trim_start_matches('.');
        match named
            .get(name)
            .or_else(|| other.is_object().then_some(other))
        {
            Some(schema) => stray(schema, value, path, strays),
            None => strays.push(path.to_owned()),
        }
    }
}

#[test]
fn examples_are_held_to_the_gateways_own_reader() {
    assert_eq!(settings("server:\n  drain_timeout: 30s\n"), Ok(()));
    let refused = settings("server:\n  drain_timeout: 30\n").unwrap_err();
    assert!(refused.contains("gateway.yaml:2:"), "{refused}");
    let tls = "server:\n  listen:\n    - { address: 'localhost:3000', tls: { cert: /etc/x.pem, key: /etc/x.key } }\n";
    assert_eq!(settings(tls), Ok(()));

    assert_eq!(
        config(r#""cors": { "origins": ["https://app.example"] }"#),
        Ok(())
    );
    let refused = config(r#"{"user_groups": {"anonymous": {"tokens": -1}}}"#).unwrap_err();
    assert!(
        refused.contains("user_groups.anonymous.tokens"),
        "{refused}"
    );
    let stray = config(r#"{"user_groups": {"anonymous": {"tokens": 1, "token": 1}}}"#).unwrap_err();
    assert!(stray.contains("user_groups.anonymous.token;"), "{stray}");
    assert!(config("{").is_err());

    assert_eq!(yaml("a: [1, 2]\n"), Ok(()));
    assert!(yaml("a: [1, 2\n").is_err());
}
