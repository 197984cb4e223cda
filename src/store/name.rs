//! Names of stored values (Redis keys), shared with every other program that reads the store.
//!
//! A name is built from validated parts only: no key, tenant or user ID can hold a brace, a colon or a space.
//! No two values can share a name, and no name can move to another Cluster slot.

use crate::rules::issued_key::KeyId;
use crate::rules::person;
use crate::rules::record::{self, Target};
use crate::rules::tenant::TenantId;
use std::fmt;

/// An API key as a client presents it: up to 128 letters, digits, `_`, `-` and `.`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyName(String);

impl KeyName {
    pub fn parse(key: &str) -> Option<KeyName> {
        is_plain(key).then(|| KeyName(key.to_owned()))
    }

    /// Draws a new key. `prefix` must be plain, such as `user_`.
    pub(crate) fn generate(prefix: &str) -> KeyName {
        KeyName(format!("{prefix}{}", uuid::Uuid::new_v4()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name `apiKey:<key>`, which holds the key's record or leads to its account.
    pub fn account(&self) -> AccountName {
        AccountName(format!("apiKey:{}", self.0))
    }

    /// Returns the ID that names the key without revealing it.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

/// Prints `KeyName(***)`: a key gives access to an account, so it is never printed.
impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyName(***)")
    }
}

/// Name of an account's record: `apiKey:<key>` or `user:<userId>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

impl AccountName {
    pub fn user(id: &str) -> Option<AccountName> {
        is_plain(id).then(|| AccountName(format!("user:{id}")))
    }

    /// Returns the name of a person's account.
    pub fn person(id: &person::PersonId) -> AccountName {
        AccountName(format!("user:{id}"))
    }

    /// Whether the account is a person's, which opens only to the keys that it lists.
    pub fn is_person(&self) -> bool {
        self.0.strip_prefix("user:").is_some_and(person::is_id)
    }

    /// Returns the account that a stored text leads to. `None`: it is a record, or leads nowhere.
    pub(crate) fn of_target(text: &str) -> Option<AccountName> {
        match record::target(text) {
            Target::Account(name) => AccountName::parse(&name),
            Target::Record => None,
        }
    }

    /// Parses a name written by [`AccountName::as_str`].
    pub fn parse(text: &str) -> Option<AccountName> {
        let (kind, part) = text.split_once(':')?;
        (matches!(kind, "apiKey" | "user") && is_plain(part)).then(|| AccountName(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns an ID for logs, 12 hex digits of the name's SHA-256, which does not reveal the key.
    pub fn id(&self) -> String {
        hashed(&self.0)
    }

    /// Returns the name of the books' hash. Its hash tag is the record's whole name, so both share a Cluster
    /// slot.
    pub fn books(&self) -> String {
        format!("{{{}}}:books", self.0)
    }

    /// Returns the name of the hash that lists the keys of a person's account, on the same slot.
    pub fn keys(&self) -> String {
        format!("{{{}}}:keys", self.0)
    }

    /// Returns the part of the name behind `user:` or `apiKey:`.
    pub fn part(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, part)| part)
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountName(***)")
    }
}

fn hashed(name: &str) -> String {
    KeyId::of_name(name).to_string()
}

/// Returns an ID for logs of any stored name: `tenant:` and `usage:` names as they are, accounts hashed.
pub fn id(name: &str) -> String {
    match name.split_once(':') {
        Some(("tenant" | "usage", _)) => name.to_owned(),
        Some(("ticket", _)) => format!("ticket {}", hashed(name)),
        _ => format!("account {}", hashed(name)),
    }
}

pub fn config(tenant: &TenantId) -> String {
    format!("tenant:{tenant}:config")
}

pub fn admins(tenant: &TenantId) -> String {
    format!("tenant:{tenant}:admins")
}

/// Returns the tenant ID in a config's name, `tenant:<id>:config`.
pub(crate) fn tenant_of_config(name: &str) -> Option<&str> {
    name.strip_prefix("tenant:")?.strip_suffix(":config")
}

/// Returns the name of a tenant's usage log.
pub fn usage(tenant: &TenantId) -> String {
    format!("usage:{tenant}")
}

/// Kind of a [`TicketName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketKind {
    /// A sign-in in the browser that is under way.
    SignIn,
    /// The code that a sign-in gave to an app.
    Code,
}

impl TicketKind {
    fn word(self) -> &'static str {
        match self {
            TicketKind::SignIn => "sign-in",
            TicketKind::Code => "code",
        }
    }
}

/// Name of a one-time thing, `ticket:<kind>:<hash>`: the hash of the secret that it is known by, so that a copy of
/// the store redeems nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketName(String);

impl TicketName {
    /// Returns the name of a secret.
    pub fn of(kind: TicketKind, secret: &str) -> TicketName {
        let hash = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
        let kind = kind.word();
        TicketName(format!("ticket:{kind}:{}", hex::encode(hash)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Prints `TicketName(***)`: whoever knows which tickets there are knows who signs in.
impl fmt::Debug for TicketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketName(***)")
    }
}

/// Returns a counter's name. The hash tag `{what}` puts all counters of one kind on one slot.
pub fn counter(what: &str, name: &str) -> String {
    format!("count:{{{what}}}:{name}")
}

/// Returns the name of the stream of keys that were revoked.
pub(crate) fn revoked() -> String {
    counter("revoked", "keys")
}

/// Encodes token hashes as a JSON array of strings.
pub(crate) fn hashes_text(hashes: &[String]) -> String {
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

    #[test]
    fn tickets_are_known_by_a_hash_of_their_secret() {
        let name = TicketName::of(TicketKind::Code, "s3cret");
        assert!(name.as_str().starts_with("ticket:code:") && !name.as_str().contains("s3cret"));
        assert_ne!(name, TicketName::of(TicketKind::SignIn, "s3cret"));
        assert_eq!(format!("{name:?}"), "TicketName(***)");
        assert!(id(name.as_str()).starts_with("ticket "));
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
