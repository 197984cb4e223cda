//! What a replacement changes in a config, field by field, for the log of changes.
//!
//! No secret is in it: a secret is a mask, a URL is its origin alone, and the value of a field that the schema does not
//! know is hidden, because nobody can say what it is.

use super::masks::{MaskKey, mask_of};
use super::secret::{HIDDEN, Owner, is_known, is_secret};
use crate::tables::{ANY_ITEM, joined, pointer_step};
use crate::url::Url;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Most fields that [`Changes`] tell.
const MAX_FIELDS: usize = 40;
/// Characters of a text or a path that are told.
const MAX_CHARS: usize = 120;

/// Fields that differ: their values before and after, by their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub before: Map<String, Value>,
    pub after: Map<String, Value>,
    /// Number of further fields that differ.
    pub omitted: u64,
}

/// A value that has no parts.
#[derive(PartialEq)]
struct Leaf {
    pointer: String,
    path: String,
    value: Value,
}

/// Compares two configs. A text that is no JSON counts as an empty config.
pub fn changes(before: &str, after: &str, owner: Owner<'_>, key: &MaskKey) -> Changes {
    let (before, after) = (leaves(before), leaves(after));
    let mut changes = Changes::default();
    let all = before
        .keys()
        .chain(after.keys().filter(|exact| !before.contains_key(*exact)));
    for exact in all {
        let (old, new) = (before.get(exact), after.get(exact));
        if old == new {
            continue;
        }
        if changes.before.len().max(changes.after.len()) >= MAX_FIELDS {
            changes.omitted += 1;
            continue;
        }
        let sides = [(old, &mut changes.before), (new, &mut changes.after)];
        for (leaf, told) in sides {
            if let Some(leaf) = leaf {
                told.insert(cut(&leaf.path), shown(leaf, owner, key));
            }
        }
    }
    changes
}

fn leaves(text: &str) -> BTreeMap<String, Leaf> {
    let mut found = BTreeMap::new();
    let root = Leaf {
        pointer: String::new(),
        path: String::new(),
        value: serde_json::from_str(text).unwrap_or_default(),
    };
    if root
        .value
        .as_object()
        .is_some_and(|fields| !fields.is_empty())
    {
        collect(root, String::new(), &mut found);
    }
    found
}

fn collect(leaf: Leaf, exact: String, found: &mut BTreeMap<String, Leaf>) {
    let Leaf {
        pointer,
        path,
        value,
    } = leaf;
    let child = |step: &str, name: &str, value: Value| Leaf {
        pointer: format!("{pointer}{step}"),
        path: joined(&path, name),
        value,
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let step = pointer_step(&name);
                collect(child(&step, &name, value), format!("{exact}{step}"), found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, value) in items.into_iter().enumerate() {
                let step = pointer_step(ANY_ITEM);
                collect(
                    child(&step, &at.to_string(), value),
                    format!("{exact}/{at}"),
                    found,
                );
            }
        }
        value => {
            let leaf = Leaf {
                pointer,
                path,
                value,
            };
            found.insert(exact, leaf);
        }
    }
}

fn shown(leaf: &Leaf, owner: Owner<'_>, key: &MaskKey) -> Value {
    let hidden = || Value::from(HIDDEN);
    match &leaf.value {
        Value::String(secret) if is_secret(&leaf.pointer) => {
            mask_of(owner, key, &leaf.pointer, secret).into()
        }
        Value::Object(_) | Value::Array(_) | Value::Null => leaf.value.clone(),
        _ if !is_known(&leaf.pointer) => hidden(),
        Value::String(text) if text.contains("://") => origin(text).into(),
        Value::String(text) => cut(text).into(),
        other => other.clone(),
    }
}

/// Returns a URL as `https://host:443/…`, without its path and query, in which there may be a secret.
fn origin(text: &str) -> String {
    let Ok(url) = Url::parse(text) else {
        return HIDDEN.to_owned();
    };
    let scheme = if url.https { "https" } else { "http" };
    format!("{scheme}://{}:{}/…", url.host, url.port)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::config::Keyring;
    use crate::rules::tenant::TenantId;
    use ring::hmac;
    use serde_json::json;

    fn told(before: &Value, after: &Value) -> Changes {
        let (tenant, keyring) = (TenantId::default_tenant(), Keyring::default());
        let owner = Owner {
            tenant: &tenant,
            keyring: &keyring,
        };
        let key = MaskKey::derive(&hmac::Key::new(hmac::HMAC_SHA256, b"test"), &tenant);
        changes(&before.to_string(), &after.to_string(), owner, &key)
    }

    #[test]
    fn changes_name_fields_and_show_no_secret() {
        let config = |key: &str, tokens: u64| {
            json!({
                "user_groups": {"anonymous": {"tokens": tokens, "models": ["m"]}},
                "providers": {"text": {"default": "a", "endpoints": {"a": {
                    "url": format!("https://a.example/v1?key={key}"), "api_key": key, "note": key,
                    "api_keys": [key, {"env": "NAME"}],
                }}, "rates": {"m": 2.5}}},
                "own": {"field": key, "number": tokens},
                "auth": {"stripe": {"api_key": [key]}},
            })
        };

        let changes = told(&config("sk-old", 5), &config("sk-new", 7));

        let text = format!("{changes:?}");
        assert!(!text.contains("sk-"), "{text}");
        assert_eq!(changes.before["user_groups.anonymous.tokens"], 5);
        assert_eq!(changes.after["user_groups.anonymous.tokens"], 7);
        let at = "providers.text.endpoints.a";
        assert_eq!(
            changes.after[&format!("{at}.url")],
            "https://a.example:443/…"
        );
        assert_eq!(changes.after[&format!("{at}.note")], "***");
        assert_eq!(changes.after["own.number"], "***");
        let masks =
            [&changes.before, &changes.after].map(|side| side[&format!("{at}.api_key")].clone());
        assert!(masks[0] != masks[1] && masks[0].to_string().contains("masked:v1:"));
        assert!(
            !changes
                .before
                .contains_key("user_groups.anonymous.models.0")
        );
        assert_eq!(told(&config("a", 1), &config("a", 1)), Changes::default());
    }

    #[test]
    fn changes_are_bounded() {
        let groups = |tokens: u64| {
            let groups =
                (0..100).map(|n| (format!("{n}{}", "x".repeat(500)), json!({"tokens": tokens})));
            json!({"user_groups": groups.collect::<Map<_, _>>()})
        };
        let changes = told(&groups(1), &groups(2));
        assert_eq!(changes.omitted, 60);
        assert!(format!("{changes:?}").len() < 20_000);
        let gone = told(&json!({"user_groups": {"a": {"tokens": 1}}}), &json!({}));
        assert_eq!((gone.before.len(), gone.after.len()), (1, 0));
    }
}
