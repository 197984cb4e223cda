//! The secrets of a config: the fields that hold them, and their three forms. A secret is written plainly,
//! sealed, or as `env` with the name of a variable of the operator.
//!
//! The schema says which fields are secrets: a field that it marks is sealed before it is stored, and the
//! reader takes a [`Secret`] from no other field.
//! A message must never repeat a field's value.

use super::tenant::TenantConfig;
use crate::host_port::HostPort;
use crate::json;
use crate::rules::seal::{self, Nonce, SealContext, SealKey};
use crate::rules::tenant::TenantId;
use crate::tables::{
    ANY_ITEM, Fault, Faults, Node, Opener, Secret, Source, ValueType, is_secret as marks_secret,
    joined, parsed, pointer_step, schema,
};
use crate::url::Origin;
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::LazyLock;

/// Keys and variables with which the secrets of configs are opened: `secrets.key`, `secrets.old_keys` and
/// `secrets.env`.
#[derive(Default)]
pub struct Keyring {
    pub present: Option<SealKey>,
    /// Keys that only open, and never seal.
    pub old: Vec<SealKey>,
    pub approved: Vec<Approval>,
}

impl Keyring {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SealKey> {
        self.present.iter().chain(&self.old)
    }
}

/// A variable of the operator's environment that configs may name, and the origin its value may be sent to: one
/// entry of `secrets.env`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub name: String,
    pub origin: Origin,
    /// Tenants that may name it; empty: all.
    pub tenants: Vec<TenantId>,
    /// `None`: the variable is not set.
    pub value: Option<Secret>,
}

const APPROVED: &str = "expected NAME=host, where host is as in https://host:port (https and 443 unless \
    written), and for some tenants only: NAME=host for TENANT TENANT";

/// An entry of `secrets.env`: `NAME=host` or `NAME=host for TENANT TENANT`. The error never quotes the value,
/// because a secret may have been written in place of the name.
pub fn approval() -> ValueType<Approval> {
    let schema = json!({"type": "string", "pattern":
        "^[A-Za-z_][A-Za-z0-9_]*=(https?://)?[^\\s/]+( +for( +[A-Za-z0-9][A-Za-z0-9_-]{0,62})+)?$"});
    parsed(schema, |text| {
        Approval::parse(text).ok_or_else(|| APPROVED.to_owned())
    })
}

impl Approval {
    /// Parses an entry; the value is filled in later.
    fn parse(text: &str) -> Option<Approval> {
        let (name, rest) = text.split_once('=')?;
        let first = name.bytes().next()?;
        let is_name = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if !is_name || first.is_ascii_digit() {
            return None;
        }
        let mut words = rest.split_whitespace();
        let (https, place) = match words.next()? {
            place if place.starts_with("http://") => (false, &place[7..]),
            place => (true, place.strip_prefix("https://").unwrap_or(place)),
        };
        let place = HostPort::parse(place)
            .ok()
            .filter(|place| place.port != Some(0))?;
        let tenants: Vec<TenantId> = match words.next() {
            None => Vec::new(),
            Some("for") => words.map(TenantId::parse).collect::<Option<_>>()?,
            Some(_) => return None,
        };
        let is_whole = rest.split_whitespace().count() != 2;
        is_whole.then(|| Approval {
            name: name.to_owned(),
            origin: Origin {
                https,
                port: place.port_or(if https { 443 } else { 80 }),
                host: place.host,
            },
            tenants,
            value: None,
        })
    }
}

/// Tenant whose config is read, and the keys and variables for its secrets.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    pub tenant: &'a TenantId,
    pub keyring: &'a Keyring,
}

impl Opener for Owner<'_> {
    fn open(&self, node: &Node<'_>, goes: Option<&Origin>) -> Result<Secret, String> {
        let pointer = node.pointer();
        debug_assert!(
            is_secret(&pointer),
            "{pointer}: it would be stored unsealed"
        );
        match node.value() {
            Value::String(text) if seal::is_sealed(text) => {
                let place = SealContext {
                    tenant: self.tenant,
                    field: &pointer,
                };
                let opened = seal::open(self.keyring.keys(), place, text);
                opened.map(Secret::new).map_err(|why| why.to_string())
            }
            Value::String(text) if is_mask(text) => Err("is a mask, and no secret".to_owned()),
            Value::String(text) => Ok(Secret::new(text.clone())),
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
}

impl Owner<'_> {
    /// Returns the value of an approved variable. An unknown variable, one for other tenants and one for
    /// another origin look the same, so that a tenant learns nothing about the operator's variables.
    fn named(&self, name: &str, goes: Option<&Origin>) -> Option<Secret> {
        let goes = goes?;
        let fits = |one: &&Approval| {
            let whose = one.tenants.is_empty() || one.tenants.contains(self.tenant);
            one.name == name && one.origin == *goes && whose
        };
        let approved = self.keyring.approved.iter().find(fits)?;
        approved.value.clone()
    }
}

/// Path of a secret field as member names from the root; `None` stands for any name.
type Way = Vec<Option<String>>;

/// Paths of all secret fields, from the schema.
static WAYS: LazyLock<Vec<Way>> = LazyLock::new(|| {
    let mut ways = Vec::new();
    let schema = schema::of::<TenantConfig>(Source::Json);
    find_ways(&schema, &mut Vec::new(), &mut ways);
    ways
});

fn find_ways(schema: &Value, way: &mut Way, found: &mut Vec<Way>) {
    if marks_secret(schema) {
        found.push(way.clone());
        return;
    }
    for part in schema["anyOf"].as_array().into_iter().flatten() {
        find_ways(part, way, found);
    }
    let named = schema["properties"].as_object().into_iter().flatten();
    let named = named.map(|(name, part)| (Some(name.clone()), part));
    let any = schema.get("additionalProperties").map(|part| (None, part));
    let items = schema.get("items");
    let items = items.map(|part| (Some(ANY_ITEM.to_owned()), part));
    for (name, part) in named.chain(any).chain(items) {
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

pub(super) fn is_secret(pointer: &str) -> bool {
    on_the_way(pointer, |names, way| names == way)
}

/// Whether the schema of [`TenantConfig`] knows a field, and not as a secret.
pub(super) fn is_known(pointer: &str) -> bool {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schema::of::<TenantConfig>(Source::Json));
    let names: Vec<&str> = pointer.split('/').skip(1).collect();
    describes(&SCHEMA, &names)
}

fn describes(schema: &Value, names: &[&str]) -> bool {
    let [name, rest @ ..] = names else {
        let says = ["type", "enum", "anyOf"]
            .iter()
            .any(|word| !schema[word].is_null());
        return says && !marks_secret(schema);
    };
    let mut forms = schema["anyOf"].as_array().into_iter().flatten();
    let part = schema["properties"].get(name);
    let part = part.or(Some(&schema["items"]).filter(|_| *name == ANY_ITEM));
    let part = part.filter(|part| part.is_object());
    let part = part.or(schema
        .get("additionalProperties")
        .filter(|part| part.is_object()));
    part.is_some_and(|part| describes(part, rest)) || forms.any(|form| describes(form, names))
}

/// A secret in a config's text.
pub struct Found {
    pub(super) pointer: String,
    /// The `pointer` with the index of each item of a list.
    pub(super) exact: String,
    /// The path for messages; see [`Fault`].
    pub(super) path: String,
    pub(super) place: Range<usize>,
}

impl Found {
    /// Returns the secret as it is written. `None`: the string cannot be parsed, and is not read as a secret either.
    pub(super) fn written(&self, text: &str) -> Option<String> {
        serde_json::from_str(&text[self.place.clone()]).ok()
    }
}

/// Beginning of what stands for a secret where a config is shown, `masked:v1:…`. No text that begins so is a secret.
pub(super) const MASK: &str = "masked:";
/// Stands for a value in the place of a secret that is none.
pub(super) const HIDDEN: &str = "***";

/// Whether a text begins with [`MASK`] or is [`HIDDEN`]: it stands for a secret and is none.
pub(super) fn is_mask(text: &str) -> bool {
    text.starts_with(MASK) || text == HIDDEN
}

/// Way to a value in a config's text: its pointer, the same with the indices of items, the path for messages.
#[derive(Clone, Default)]
pub(super) struct Trail {
    pub pointer: String,
    pub exact: String,
    pub path: String,
}

/// Returns every string in a secret field. Repeated members are all included, although JSON readers see only
/// the last one. The text must be JSON.
pub fn secrets_in(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    look_into(
        text,
        0..text.len(),
        &Trail::default(),
        &mut |trail, place| {
            if is_secret(&trail.pointer) && text[place.clone()].starts_with('"') {
                found.push(Found {
                    pointer: trail.pointer,
                    exact: trail.exact,
                    path: trail.path,
                    place,
                });
            }
        },
    );
    found
}

/// Calls `each` with every value that stands where a secret does, or where something stands that has secrets in it and
/// is neither an object nor a list.
pub(super) fn look_into(
    text: &str,
    at: Range<usize>,
    trail: &Trail,
    each: &mut impl FnMut(Trail, Range<usize>),
) {
    for (step, name, value) in parts(&text[at.clone()]) {
        let value = at.start + value.start..at.start + value.end;
        let trail = Trail {
            pointer: format!("{}{step}", trail.pointer),
            exact: format!("{}{}", trail.exact, pointer_step(&name)),
            path: joined(&trail.path, &name),
        };
        let is_inner = on_the_way(&trail.pointer, |names, way| names < way);
        match is_inner && text[value.clone()].starts_with(['{', '[']) {
            true => look_into(text, value, &trail, each),
            false if is_inner || is_secret(&trail.pointer) => each(trail, value),
            false => {}
        }
    }
}

/// Returns the members of an object, or the items of a list: the step of the pointer, the name for messages, the place.
fn parts(text: &str) -> Vec<(String, String, Range<usize>)> {
    if let Some((members, _)) = json::members(text) {
        let members = members.into_iter().filter_map(|member| {
            let name: String = serde_json::from_str(&format!("\"{}\"", member.name)).ok()?;
            Some((pointer_step(&name), name, member.value))
        });
        return members.collect();
    }
    json::element_places(text)
        .into_iter()
        .enumerate()
        .map(|(index, place)| (pointer_step(ANY_ITEM), index.to_string(), place))
        .collect()
}

/// Tries to open every sealed text of a config, also in members that a later one of the same name hides. Returns a
/// fault for each that stays closed.
pub fn try_sealed(text: &str, owner: Owner<'_>) -> Vec<Result<(), Fault>> {
    let secrets = secrets_in(text).into_iter();
    let tries = secrets.filter_map(|secret| {
        let written: String = serde_json::from_str(&text[secret.place]).ok()?;
        let place = SealContext {
            tenant: owner.tenant,
            field: &secret.pointer,
        };
        let opened =
            seal::is_sealed(&written).then(|| seal::open(owner.keyring.keys(), place, &written))?;
        Some(
            opened
                .map(drop)
                .map_err(|why| Fault::new(secret.path, why.to_string())),
        )
    });
    tries.collect()
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
) -> Result<Sealed, Faults> {
    let (mut sealed, mut faults) = (Sealed::default(), Faults::default());
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
            Some(Err(why)) => faults.add(Fault::new(secret.path, why.to_string())),
        }
    }
    sealed.text.push_str(&text[copied..]);
    faults.none_or(Some(sealed))
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
