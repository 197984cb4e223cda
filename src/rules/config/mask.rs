//! Masks of secrets: a config is shown with masks, and a config that is written with masks keeps what was there.
//!
//! A mask, or a sealed text, is taken only where its secret goes to the very origin that it was stored with: else
//! whoever may write a config, and not see its secrets, could have them sent to a host of their own.

use super::secret::{Found, Owner, secrets_in};
use super::tenant::TenantConfig;
use crate::rules::seal;
use crate::rules::tenant::TenantId;
use crate::tables::{Fault, Faults, Node, Opener, Reading, Secret, Table};
use crate::url::Origin;
use ring::hmac;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Beginning of a mask; 8 hex digits follow.
const MASK: &str = "masked:v1:";
const ENTER_AGAIN: &str = "was entered for another scheme, host or port than it would be sent to now; enter the secret again";

/// Key of the masks. They are short, so that nobody can test a guess of a secret on one, and depend on the tenant.
pub struct MaskKey(hmac::Key);

impl MaskKey {
    /// `material`: a secret of the operator's that all gateways of a store share.
    pub fn new(material: &[u8]) -> MaskKey {
        let derived = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, material),
            b"resullm masks of secrets",
        );
        MaskKey(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    fn mask(&self, tenant: &TenantId, secret: &str) -> String {
        let text = [tenant.as_str(), "\0", secret].concat();
        let tag = hmac::sign(&self.0, text.as_bytes());
        format!("{MASK}{}", hex::encode(&tag.as_ref()[..4]))
    }
}

/// A secret as it stands in a config: [`Found`], with where it goes.
struct Placed {
    found: Found,
    /// Text in the config, which may be sealed.
    written: String,
    /// Origin that it is sent to; `None`: not known.
    goes: Option<Origin>,
}

/// Returns the secrets of a config with where each goes.
fn placed(text: &str) -> Vec<Placed> {
    let goes = origins(text);
    let secrets = secrets_in(text).into_iter();
    secrets
        .filter_map(|found| {
            let written = serde_json::from_str(&text[found.place.clone()]).ok()?;
            let goes = goes.get(&found.pointer).cloned().flatten();
            Some(Placed {
                found,
                written,
                goes,
            })
        })
        .collect()
}

/// Returns where the secrets of a config go, by their pointers. The reader itself says so: this is an [`Opener`] that notes.
fn origins(text: &str) -> BTreeMap<String, Option<Origin>> {
    struct Noting(RefCell<BTreeMap<String, Option<Origin>>>);

    impl Opener for Noting {
        fn open(&self, node: &Node<'_>, goes: Option<&Origin>) -> Result<Secret, String> {
            self.0.borrow_mut().insert(node.pointer(), goes.cloned());
            Ok(Secret::new(""))
        }
    }

    let noting = Noting(RefCell::default());
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        // What is wrong with it, whoever validates it will say.
        TenantConfig::read(&Node::root(&value), &mut Reading::of_json(&noting));
    }
    noting.0.into_inner()
}

/// Returns the text of a config with a mask (`masked:v1:…`) for each secret. The text must be JSON.
pub fn masked(text: &str, owner: Owner<'_>, key: &MaskKey) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for found in secrets_in(text) {
        let Ok(written) = serde_json::from_str::<String>(&text[found.place.clone()]) else {
            continue;
        };
        // An empty string counts as no secret.
        if !written.is_empty() {
            out.push_str(&text[copied..found.place.start]);
            let mask = key.mask(owner.tenant, &owner.plain(&found.pointer, &written));
            out.push_str(&format!("\"{mask}\""));
            copied = found.place.end;
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// Whether a config has masks or sealed texts, which stand for secrets of the config before it.
pub fn refers_to_stored(text: &str) -> bool {
    let secrets = placed(text);
    let mut secrets = secrets.iter();
    secrets.any(|one| one.written.starts_with(MASK) || seal::is_sealed(&one.written))
}

/// Returns the text of a new config with the secrets that its masks stand for. `stored`: configs that they may be from,
/// the present one first. Without any, sealed texts are taken as they are.
pub fn unmasked(
    text: &str,
    stored: &[&str],
    owner: Owner<'_>,
    key: &MaskKey,
) -> Result<String, Faults> {
    let known: Vec<(Placed, String)> = stored
        .iter()
        .flat_map(|text| placed(text))
        .map(|one| {
            let plain = owner.plain(&one.found.pointer, &one.written);
            (one, plain)
        })
        .collect();
    let (mut out, mut copied, mut faults) =
        (String::with_capacity(text.len()), 0, Faults::default());
    for new in placed(text) {
        let is_mask = new.written.starts_with(MASK);
        if !is_mask && (!seal::is_sealed(&new.written) || stored.is_empty()) {
            continue;
        }
        let meant = |(one, plain): &&(Placed, String)| match is_mask {
            true => key.mask(owner.tenant, plain) == new.written,
            false => one.written == new.written,
        };
        let meant: Vec<&(Placed, String)> = known.iter().filter(meant).collect();
        let fits = meant.iter().filter(|(one, _)| one.goes == new.goes);
        // The one at the same place is taken as it is written there: sealed, if it was.
        let at_place = |(one, _): &&&(Placed, String)| one.found.pointer == new.found.pointer;
        let written = match (fits.clone().find(at_place), fits.clone().next()) {
            (Some((one, _)), _) => one.written.clone(),
            (None, Some((_, plain))) => plain.clone(),
            (None, None) => {
                let why = match meant.is_empty() {
                    true if is_mask => {
                        "this mask stands for no secret of the stored config; enter the secret"
                    }
                    true => "this sealed text is not in the stored config; enter the secret again",
                    false => ENTER_AGAIN,
                };
                faults.add(Fault::new(new.found.path, why));
                continue;
            }
        };
        if is_mask {
            out.push_str(&text[copied..new.found.place.start]);
            out.push_str(&Value::from(written).to_string());
            copied = new.found.place.end;
        }
    }
    out.push_str(&text[copied..]);
    faults.none_or(Some(out))
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
