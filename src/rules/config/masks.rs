//! Masks: what stands for the secrets of a config where it is shown, and how a config with masks is stored again.
//!
//! A mask is `masked:v1:` and 8 hex digits of an HMAC of the secret, so one secret has one mask wherever it stands. A
//! mask and a sealed text are taken only for the destination that their secret was stored with: else whoever may write
//! a config, or edits one for an admin, could have the gateway send a secret that he cannot read to a host of his own.
//! Places are compared by exact pointers, never by the paths of messages, which are cut.

use super::secret::{
    HIDDEN, MASK, Owner, Trail, is_known, is_mask, is_secret, look_into, secrets_in,
};
use super::tenant::TenantConfig;
use crate::rules::seal::{self, SealContext};
use crate::rules::tenant::TenantId;
use crate::tables::{ANY_ITEM, Fault, Faults, Node, Opener, Reading, Secret, Table, pointer_step};
use crate::url::Origin;
use ring::hmac;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Version of the form behind [`MASK`].
const FORM: &str = "v1";
/// Bytes of the HMAC that a mask shows: enough to tell a tenant's secrets apart, and too few to tell that a guess is right.
const SHOWN_BYTES: usize = 4;

/// Key of the masks of one tenant. It is secret: with it, guesses of a secret could be tried against its mask. Each
/// tenant has its own, or an admin could try guesses of another tenant's secrets by storing them in the own config.
pub struct MaskKey(hmac::Key);

impl MaskKey {
    /// Returns a tenant's key, derived from a secret such as [`SealKey::masks`](seal::SealKey::masks).
    pub fn derive(secret: &hmac::Key, tenant: &TenantId) -> MaskKey {
        let derived = hmac::sign(secret, format!("resullm masks\0{tenant}").as_bytes());
        MaskKey(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    fn mask(&self, secret: &str) -> String {
        let tag = hmac::sign(&self.0, secret.as_bytes());
        format!("{MASK}{FORM}:{}", hex::encode(&tag.as_ref()[..SHOWN_BYTES]))
    }
}

/// Scheme, host and port that a secret is sent to. Where no origin is known, the field itself, with the URL beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Destination {
    Origin(Origin),
    Field { pointer: String, url: Option<Value> },
}

/// An [`Opener`] that notes the [`Destination`] of each secret, and opens nothing.
#[derive(Default)]
struct Destinations {
    /// Written text and destination of each secret that the reader sees, by its exact pointer.
    seen: RefCell<BTreeMap<String, (String, Destination)>>,
}

impl Destinations {
    /// Returns the destinations of a config's secrets, also of one with faults.
    fn of(config: &Value) -> Destinations {
        let destinations = Destinations::default();
        let mut reading = Reading::of_json(&destinations);
        TenantConfig::read(&Node::root(config), &mut reading);
        destinations
    }
}

impl Opener for Destinations {
    fn open(&self, node: &Node<'_>, goes: Option<&Origin>) -> Result<Secret, String> {
        let Value::String(text) = node.value() else {
            return Err(String::new());
        };
        let destination = match goes {
            Some(origin) => Destination::Origin(origin.clone()),
            None => Destination::Field {
                pointer: node.pointer(),
                url: node
                    .object()
                    .and_then(|object| object.value().get("url").cloned()),
            },
        };
        let seen = (text.clone(), destination);
        self.seen.borrow_mut().insert(node.exact_pointer(), seen);
        Ok(Secret::new(text.clone()))
    }
}

/// A secret in a config's text, with its destination. `None`: the reader does not see it, because a later member of the
/// same name hides it.
struct Located {
    pointer: String,
    path: String,
    place: Range<usize>,
    written: String,
    destination: Option<Destination>,
}

fn located(text: &str) -> Vec<Located> {
    let Ok(config) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let seen = Destinations::of(&config).seen.into_inner();
    let mut later = BTreeSet::new();
    let mut all = Vec::new();
    // JSON readers see the last of several members of one name.
    for found in secrets_in(text).into_iter().rev() {
        let Some(written) = found.written(text) else {
            continue;
        };
        let is_last = later.insert(found.exact.clone());
        let seen = seen
            .get(&found.exact)
            .filter(|(text, _)| is_last && *text == written);
        all.push(Located {
            destination: seen.map(|(_, destination)| destination.clone()),
            pointer: found.pointer,
            path: found.path,
            place: found.place,
            written,
        });
    }
    all.reverse();
    all
}

/// Opens a secret as it is written. `None`: it is sealed and does not open.
fn opened(owner: Owner<'_>, pointer: &str, written: &str) -> Option<String> {
    let place = SealContext {
        tenant: owner.tenant,
        field: pointer,
    };
    match seal::is_sealed(written) {
        true => seal::open(owner.keyring.keys(), place, written).ok(),
        false => Some(written.to_owned()),
    }
}

/// Returns the mask of a secret, `masked:v1:…`. One that does not open has the mask of its sealed text.
pub(super) fn mask_of(owner: Owner<'_>, key: &MaskKey, pointer: &str, written: &str) -> String {
    let plain = opened(owner, pointer, written);
    key.mask(plain.as_deref().unwrap_or(written))
}

/// Returns a config's text with a mask in place of each secret, of those too that no reader sees. What stands in the
/// place of a secret and is none is hidden: it may be one that was written wrongly.
pub fn masked(text: &str, owner: Owner<'_>, key: &MaskKey) -> String {
    if !text.trim_start().starts_with('{') {
        return format!("\"{HIDDEN}\"");
    }
    let mut shown = String::new();
    let mut copied = 0;
    look_into(
        text,
        0..text.len(),
        &Trail::default(),
        &mut |trail, place| {
            let written = &text[place.clone()];
            let as_string = serde_json::from_str::<String>(written).ok();
            let mask = match (is_secret(&trail.pointer), as_string) {
                (_, Some(secret)) if secret.is_empty() || is_mask(&secret) => return,
                (true, Some(secret)) => mask_of(owner, key, &trail.pointer, &secret),
                (true, None) if is_reference(written) => return,
                _ if written == "null" => return,
                _ => HIDDEN.to_owned(),
            };
            shown.push_str(&text[copied..place.start]);
            shown.push_str(&format!("\"{mask}\""));
            copied = place.end;
        },
    );
    shown + &text[copied..]
}

/// Returns a masked config as it is shown to those who may not store it: queries of URLs, in which some providers expect
/// their key, are hidden too, and so are the values of fields that the schema does not know.
pub fn for_readers(masked: &str) -> String {
    let mut config: Value = serde_json::from_str(masked).unwrap_or_default();
    hide(&mut config, "");
    config.to_string()
}

fn hide(value: &mut Value, pointer: &str) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                hide(value, &format!("{pointer}{}", pointer_step(name)));
            }
        }
        Value::Array(items) => {
            for item in items {
                hide(item, &format!("{pointer}{}", pointer_step(ANY_ITEM)));
            }
        }
        Value::Null => {}
        // Masked already.
        _ if is_secret(pointer) => {}
        Value::String(url) if is_known(pointer) => {
            if let Some((place, _)) = url
                .split_once('?')
                .filter(|(place, _)| place.contains("://"))
            {
                *url = format!("{place}?{HIDDEN}");
            }
        }
        _ if is_known(pointer) => {}
        unknown => *unknown = HIDDEN.into(),
    }
}

/// Whether a text is `{"env": NAME}`, once.
fn is_reference(written: &str) -> bool {
    let members = crate::json::members(written).map(|(members, _)| members.len());
    let value: Option<Value> = serde_json::from_str(written).ok();
    let name = value.as_ref().and_then(|value| value.get("env"));
    members == Some(1) && name.is_some_and(Value::is_string)
}

/// A secret that a tenant has had, with its [`Destination`].
struct KeptSecret {
    pointer: String,
    /// JSON text of `written`, as it is stored.
    raw: String,
    written: String,
    plain: Option<String>,
    mask: String,
    destination: Destination,
}

/// The secrets of a tenant's config, and of those before it, that masks and sealed texts may stand for.
#[derive(Default)]
pub struct KeptSecrets {
    kept: Vec<KeptSecret>,
}

impl KeptSecrets {
    /// Adds the secrets of a config. Those of the first that is added win.
    pub fn add(&mut self, text: &str, owner: Owner<'_>, key: &MaskKey) {
        let seen = located(text)
            .into_iter()
            .filter(|secret| !is_mask(&secret.written));
        self.kept.extend(seen.filter_map(|secret| {
            Some(KeptSecret {
                raw: text[secret.place].to_owned(),
                plain: opened(owner, &secret.pointer, &secret.written),
                mask: mask_of(owner, key, &secret.pointer, &secret.written),
                pointer: secret.pointer,
                written: secret.written,
                destination: secret.destination?,
            })
        }));
    }

    /// Returns the config with the secrets that its masks stand for. Those of the same field come as they are stored.
    pub fn unmask(&self, text: &str) -> Result<String, Faults> {
        let mut faults = Faults::default();
        let mut whole = String::new();
        let mut copied = 0;
        for secret in located(text)
            .iter()
            .filter(|secret| is_mask(&secret.written))
        {
            match self.stands_for(secret) {
                Ok(raw) => {
                    whole.push_str(&text[copied..secret.place.start]);
                    whole.push_str(&raw);
                    copied = secret.place.end;
                }
                Err(why) => faults.add(Fault::new(secret.path.clone(), why.to_owned())),
            }
        }
        whole.push_str(&text[copied..]);
        faults.none_or(Some(whole))
    }

    fn stands_for(&self, secret: &Located) -> Result<String, &'static str> {
        let destination = secret.destination.as_ref().ok_or(HIDDEN_BY_ANOTHER)?;
        let of_mask = self.kept.iter().filter(|kept| kept.mask == secret.written);
        if of_mask.clone().next().is_none() {
            return Err(NO_SECRET);
        }
        let fit: Vec<&KeptSecret> = of_mask
            .filter(|kept| kept.destination == *destination)
            .collect();
        let Some(first) = fit.first() else {
            return Err(OTHER_DESTINATION);
        };
        // Two secrets of one mask cannot be told apart.
        if fit.iter().any(|kept| kept.plain != first.plain) {
            return Err(NO_SECRET);
        }
        if let Some(same) = fit.iter().find(|kept| kept.pointer == secret.pointer) {
            return Ok(same.raw.clone());
        }
        let plain = first.plain.as_ref().ok_or(NO_SECRET)?;
        Ok(Value::from(plain.as_str()).to_string())
    }

    /// Checks that every sealed text of a config is one that the tenant has, in the field and for the destination that it
    /// was stored with.
    pub fn check_sealed(&self, text: &str) -> Result<(), Faults> {
        let mut faults = Faults::default();
        for secret in located(text)
            .into_iter()
            .filter(|secret| seal::is_sealed(&secret.written))
        {
            let is_it = |kept: &&KeptSecret| {
                kept.written == secret.written && kept.pointer == secret.pointer
            };
            let mut same = self.kept.iter().filter(is_it).peekable();
            let why = match &secret.destination {
                None => Some(HIDDEN_BY_ANOTHER),
                Some(_) if same.peek().is_none() => Some(NOT_OF_THE_TENANT),
                Some(goes) => {
                    (!same.any(|kept| kept.destination == *goes)).then_some(OTHER_DESTINATION)
                }
            };
            if let Some(why) = why {
                faults.add(Fault::new(secret.path, why.to_owned()));
            }
        }
        faults.none_or(Some(()))
    }
}

const NO_SECRET: &str = "is a mask of no secret that the config has: enter the secret again";
const OTHER_DESTINATION: &str =
    "was stored to be sent to another scheme, host or port: enter the secret again";
const NOT_OF_THE_TENANT: &str =
    "is sealed and stands neither in the present config nor in its history: enter the secret again";
const HIDDEN_BY_ANOTHER: &str =
    "stands in a member that another of the same name hides: enter the secret again";

#[cfg(test)]
#[path = "masks_tests.rs"]
mod tests;
