//! The names under which things are stored, shared with every other program that reads them.
//!
//! A name is built from validated parts only: no key, tenant or user ID can hold a brace, a colon
//! or a space, so no two things ever share a name, and no name strays to another slot of a Cluster.

use crate::rules::tenant::TenantId;
use std::fmt;

/// A key as a client presents it: up to 128 letters, digits, `_`, `-` and `.`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyName(String);

impl KeyName {
    pub fn parse(key: &str) -> Option<KeyName> {
        is_plain(key).then(|| KeyName(key.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the key's record, or the ID of its user, is stored.
    pub fn account(&self) -> AccountName {
        AccountName(format!("apiKey:{}", self.0))
    }
}

/// A key opens an account; it is never printed.
impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyName(***)")
    }
}

/// Where an account's record is stored: `apiKey:<key>` or `user:<userId>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

impl AccountName {
    pub fn user(id: &str) -> Option<AccountName> {
        is_plain(id).then(|| AccountName(format!("user:{id}")))
    }

    /// As [`AccountName::as_str`] has written it.
    pub fn parse(text: &str) -> Option<AccountName> {
        let (kind, part) = text.split_once(':')?;
        (matches!(kind, "apiKey" | "user") && is_plain(part)).then(|| AccountName(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Names the account in logs without saying its key.
    pub fn id(&self) -> String {
        hashed(&self.0)
    }

    /// Beside the record and on the same slot: the record's whole name is the tag.
    pub fn books(&self) -> String {
        format!("{{{}}}:books", self.0)
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountName(***)")
    }
}

fn hashed(name: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    digest.as_ref()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Names anything that is stored in logs: an account by its ID, the rest as it is called.
pub fn id(name: &str) -> String {
    match name.split_once(':') {
        Some(("tenant" | "usage", _)) => name.to_owned(),
        _ => format!("account {}", hashed(name)),
    }
}

pub fn config(tenant: &TenantId) -> String {
    format!("tenant:{tenant}:config")
}

pub fn admins(tenant: &TenantId) -> String {
    format!("tenant:{tenant}:admins")
}

/// The tenant whose config is stored under this name.
pub fn tenant_of_config(name: &str) -> Option<&str> {
    name.strip_prefix("tenant:")?.strip_suffix(":config")
}

/// A tenant's usage log.
pub fn usage(tenant: &TenantId) -> String {
    format!("usage:{tenant}")
}

/// Counters of one thing share a slot.
pub fn counter(what: &str, name: &str) -> String {
    format!("count:{{{what}}}:{name}")
}

/// Hashes are kept as a JSON list of strings.
pub fn hashes_text(hashes: &[String]) -> String {
    serde_json::Value::from(hashes).to_string()
}

pub fn hashes(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}

fn is_plain(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !part.is_empty() && part.len() <= 128 && part.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn books_share_the_slot_of_their_record() {
        let key = KeyName::parse("temp_1").unwrap();
        assert_eq!(key.account().books(), "{apiKey:temp_1}:books");
        assert_eq!(
            format!("{key:?}{:?}", key.account()),
            "KeyName(***)AccountName(***)"
        );
    }

    proptest! {
        #[test]
        fn only_plain_keys_have_names(key in "\\PC{0,140}") {
            if let Some(name) = KeyName::parse(&key) {
                prop_assert_eq!(name.as_str(), key.as_str());
                let strange = ['{', '}', ':', '*', '?', ' ', '\'', '"'];
                prop_assert!(!key.contains(strange));
            }
        }
    }
}
