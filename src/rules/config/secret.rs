//! The secrets of a config: the fields that hold them, and their three forms. A secret is written plainly,
//! sealed, or as `env` with the name of a variable of the operator.
//!
//! The schema is the table of secret fields: a field that it marks is sealed before it is stored, and the
//! reader takes a [`Key`] from no other field.
//! A message must never repeat a field's value.

use super::key::Key;
use super::node::{Fault, Node};
use super::schema::schema;
use super::url::Origin;
use crate::json;
use crate::rules::seal::{self, Nonce, SealContext, SealKey};
use crate::rules::tenant::TenantId;
use serde_json::Value;
use std::ops::Range;
use std::sync::LazyLock;

/// Keys and variables with which the secrets of configs are opened: `secrets.key`, `secrets.old_keys` and
/// `secrets.env`.
#[derive(Default)]
pub struct Keyring {
    pub present: Option<SealKey>,
    /// Keys that only open, and never seal.
    pub old: Vec<SealKey>,
    pub approved: Vec<Approved>,
}

impl Keyring {
    fn keys(&self) -> impl Iterator<Item = &SealKey> {
        self.present.iter().chain(&self.old)
    }
}

/// A variable of the operator's environment that configs may name, and the origin its value may be sent to.
pub struct Approved {
    pub name: String,
    pub origin: Origin,
    /// Tenants that may name it; empty: all.
    pub tenants: Vec<TenantId>,
    pub value: Key,
}

/// Tenant whose config is read, and the keys and variables for its secrets.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    pub tenant: &'a TenantId,
    pub keyring: &'a Keyring,
}

impl Owner<'_> {
    /// Returns the secret that a field holds or names. `goes`: the only origin it is sent to. The error is
    /// the message of a [`Fault`].
    pub(super) fn secret(&self, node: &Node<'_>, goes: Option<&Origin>) -> Result<Key, String> {
        debug_assert!(
            is_secret(node.pointer()),
            "{}: schema.rs does not mark it as a secret, so it would be stored unsealed",
            node.pointer()
        );
        match node.value() {
            Value::String(text) if seal::is_sealed(text) => {
                let place = SealContext {
                    tenant: self.tenant,
                    field: node.pointer(),
                };
                let opened = seal::open(self.keyring.keys(), place, text);
                opened.map(Key::new).map_err(|why| why.to_string())
            }
            Value::String(text) => Ok(Key::new(text.clone())),
            Value::Object(fields) => match fields.get("env").and_then(Value::as_str) {
                Some(name) if fields.len() == 1 => self.named(name, goes).ok_or_else(|| {
                    "names no variable that the operator lets this tenant send there".to_owned()
                }),
                _ => Err(
                    r#"expected a string, or {"env": …} with the name of a variable"#.to_owned(),
                ),
            },
            _ => Err(format!("expected a string, not {}", node.type_name())),
        }
    }

    /// Returns the value of an approved variable. An unknown variable, one for other tenants and one for
    /// another origin look the same, so that a tenant learns nothing about the operator's variables.
    fn named(&self, name: &str, goes: Option<&Origin>) -> Option<Key> {
        let goes = goes?;
        let fits = |one: &&Approved| {
            let whose = one.tenants.is_empty() || one.tenants.contains(self.tenant);
            one.name == name && one.origin == *goes && whose
        };
        let approved = self.keyring.approved.iter().find(fits)?;
        Some(approved.value.clone())
    }
}

/// Path of a secret field as member names from the root; `None` stands for any name.
type Way = Vec<Option<String>>;

/// Paths of all secret fields, from the schema.
static WAYS: LazyLock<Vec<Way>> = LazyLock::new(|| {
    let mut ways = Vec::new();
    find_ways(&schema(), &mut Vec::new(), &mut ways);
    ways
});

fn find_ways(schema: &Value, way: &mut Way, found: &mut Vec<Way>) {
    if super::schema::is_secret(schema) {
        found.push(way.clone());
    }
    let named = schema["properties"].as_object().into_iter().flatten();
    let named = named.map(|(name, part)| (Some(name.clone()), part));
    let any = schema.get("additionalProperties").map(|part| (None, part));
    for (name, part) in named.chain(any) {
        way.push(name);
        find_ways(part, way, found);
        way.pop();
    }
}

/// Whether the names of a JSON pointer match the beginning of a secret field's path, or all of it. `enough`
/// compares the number of names with the length of the path.
fn on_the_way(pointer: &str, enough: impl Fn(usize, usize) -> bool) -> bool {
    let names: Vec<&str> = pointer.split('/').skip(1).collect();
    WAYS.iter().any(|way| {
        let steps = way.iter().zip(&names);
        let mut fits = steps.map(|(step, name)| step.as_ref().is_none_or(|step| step == name));
        enough(names.len(), way.len()) && fits.all(|fits| fits)
    })
}

fn is_secret(pointer: &str) -> bool {
    on_the_way(pointer, |names, way| names == way)
}

/// A secret in a config's text.
pub struct Found {
    pointer: String,
    /// The path for messages; see [`Fault`].
    path: String,
    place: Range<usize>,
}

/// Returns every string in a secret field. Repeated members are all included, although JSON readers see only
/// the last one. The text must be JSON.
pub fn secrets_in(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    look_into(text, 0..text.len(), "", "", &mut found);
    found
}

fn look_into(text: &str, at: Range<usize>, pointer: &str, path: &str, found: &mut Vec<Found>) {
    let Some((members, _)) = json::members(&text[at.clone()]) else {
        return;
    };
    for member in members {
        let value = at.start + member.value.start..at.start + member.value.end;
        let Ok(name) = serde_json::from_str::<String>(&format!("\"{}\"", member.name)) else {
            continue;
        };
        let pointer = format!("{pointer}{}", super::node::step(&name));
        let path = super::node::joined(path, &name);
        if is_secret(&pointer) && text[value.clone()].starts_with('"') {
            found.push(Found {
                pointer,
                path,
                place: value,
            });
        } else if on_the_way(&pointer, |names, way| names < way) {
            look_into(text, value, &pointer, &path, found);
        }
    }
}

/// Text of a config after sealing, and the number of its secrets by their former state.
#[derive(Default)]
pub struct Sealed {
    pub text: String,
    /// Secrets that were plain.
    pub fresh: u64,
    /// Secrets that were sealed with an old key.
    pub again: u64,
    /// Secrets that were sealed with the present key already.
    pub kept: u64,
}

/// Seals the plain secrets of a config. `again`: also seals those of an old key again, which must open for
/// that.
pub fn seal_text(
    text: &str,
    owner: Owner<'_>,
    again: bool,
    secrets: impl IntoIterator<Item = (Found, Nonce)>,
) -> Result<Sealed, Vec<Fault>> {
    let (mut sealed, mut faults) = (Sealed::default(), Vec::new());
    let mut copied = 0;
    for (secret, nonce) in secrets {
        let Some(key) = &owner.keyring.present else {
            break;
        };
        // A string that cannot be parsed is not read as a secret either.
        let Ok(written) = serde_json::from_str::<String>(&text[secret.place.clone()]) else {
            continue;
        };
        let place = SealContext {
            tenant: owner.tenant,
            field: &secret.pointer,
        };
        let is_sealed = seal::is_sealed(&written);
        let plain = if is_sealed && (!again || key.is_of(&written)) {
            sealed.kept += 1;
            // A secret that carries the ID of the present key must open too, or damage would go unnoticed.
            let opened = again.then(|| seal::open(owner.keyring.keys(), place, &written));
            opened.and_then(Result::err).map(Err)
        } else if is_sealed {
            sealed.again += 1;
            Some(seal::open(owner.keyring.keys(), place, &written))
        } else {
            // An empty string counts as no secret.
            let hides = !written.is_empty();
            sealed.fresh += u64::from(hides);
            hides.then_some(Ok(written))
        };
        match plain {
            None => {}
            Some(Ok(plain)) => {
                sealed.text.push_str(&text[copied..secret.place.start]);
                let closed = key.seal(nonce, place, &plain);
                sealed.text.push_str(&format!("\"{closed}\""));
                copied = secret.place.end;
            }
            Some(Err(why)) => faults.push(Fault {
                path: secret.path,
                message: why.to_string(),
            }),
        }
    }
    sealed.text.push_str(&text[copied..]);
    if faults.is_empty() {
        Ok(sealed)
    } else {
        Err(faults)
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
