//! Where a config's secrets stand, and what may stand there: the secret itself, the secret sealed, or
//! the name of one that the operator keeps in the environment.
//!
//! The schema is the table of places: what it marks as a secret is sealed before it is stored, and the
//! reader takes a `Key` from no other place. A message must never repeat what stands there.

use super::key::Key;
use super::node::{Fault, Node};
use super::schema::schema;
use super::url::Origin;
use crate::json;
use crate::rules::seal::{self, Nonce, Place, SealKey};
use crate::rules::tenant::TenantId;
use serde_json::Value;
use std::ops::Range;
use std::sync::LazyLock;

/// What opens and fills the secrets of configs: the operator's keys, and the variables of the
/// environment that configs may name.
#[derive(Default)]
pub struct Keyring {
    pub present: Option<SealKey>,
    /// They open, and never seal.
    pub old: Vec<SealKey>,
    pub approved: Vec<Approved>,
}

impl Keyring {
    fn keys(&self) -> impl Iterator<Item = &SealKey> {
        self.present.iter().chain(&self.old)
    }
}

/// A variable of the operator's environment, and where its value may go.
pub struct Approved {
    pub name: String,
    pub origin: Origin,
    /// Empty: every tenant may name it.
    pub tenants: Vec<TenantId>,
    pub value: Key,
}

/// Whose config is read, and what its secrets are read with.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    pub tenant: &'a TenantId,
    pub keyring: &'a Keyring,
}

impl Owner<'_> {
    /// What a field means that goes to this origin and nowhere else; or why it means nothing.
    pub(super) fn secret(&self, node: &Node<'_>, goes: Option<&Origin>) -> Result<Key, String> {
        debug_assert!(
            is_secret(node.pointer()),
            "{}: schema.rs does not mark it as a secret, so it would be stored unsealed",
            node.pointer()
        );
        match node.value() {
            Value::String(text) if seal::is_sealed(text) => {
                let place = Place {
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

    /// Whether there is no such variable, or one for others, or for elsewhere, is not the tenant's to know.
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

/// Every secret place as the names on the way to it; `None` stands for any name.
type Way = Vec<Option<String>>;

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

/// How far the names, which are those of a JSON pointer, are on the way to a secret.
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
    /// The name as messages say it.
    path: String,
    place: Range<usize>,
}

/// Every text that stands in a secret place, also where JSON readers see only a later one of the same
/// name. The text must be JSON.
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

/// A config's text after sealing, and how many secrets were what before.
#[derive(Default)]
pub struct Sealed {
    pub text: String,
    /// They were readable.
    pub fresh: u64,
    /// They were sealed with an old key.
    pub again: u64,
    /// They were sealed with the present key already.
    pub kept: u64,
}

/// Seals what is readable. `again`: also what is sealed with an old key, which must open for that.
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
        // Not to be read as a text, so not to be read as a secret either.
        let Ok(written) = serde_json::from_str::<String>(&text[secret.place.clone()]) else {
            continue;
        };
        let place = Place {
            tenant: owner.tenant,
            field: &secret.pointer,
        };
        let is_sealed = seal::is_sealed(&written);
        let plain = if is_sealed && (!again || key.is_of(&written)) {
            sealed.kept += 1;
            // What says it is of the present key must open too, or nobody would hear of it.
            let opened = again.then(|| seal::open(owner.keyring.keys(), place, &written));
            opened.and_then(Result::err).map(Err)
        } else if is_sealed {
            sealed.again += 1;
            Some(seal::open(owner.keyring.keys(), place, &written))
        } else {
            // An empty text keeps nothing secret, and means that there is none.
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
