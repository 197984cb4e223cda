//! Keys of a person's account ([`IssuedKey`]): what each may do, and until when.
//!
//! The account lists its keys; what is stored under a key's own name only leads to the account. A key that the
//! account does not list opens nothing. The key itself must never stand here in readable form: a key is known by its
//! [`KeyId`] and its first characters.

use super::amount::{Millis, Tokens};
use super::{hashed_name, neighbours};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Names a key without revealing it: 48 bits of the SHA-256 of its stored name, in hex digits outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(u64);

impl KeyId {
    const BYTES: usize = 6;

    pub fn of(key: &str) -> KeyId {
        KeyId::of_name(&format!("apiKey:{key}"))
    }

    /// Returns the ID of what the store has under a name. The hashed name of a key has the key's ID.
    pub fn of_name(name: &str) -> KeyId {
        let hashed = name.strip_prefix("apiKey:").and_then(hashed_name::id);
        if let Some(id) = hashed.and_then(KeyId::parse) {
            return id;
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
        let first = digest.as_ref().iter().take(KeyId::BYTES);
        KeyId(first.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Parses what `Display` writes.
    pub fn parse(text: &str) -> Option<KeyId> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if text.len() != 2 * KeyId::BYTES || !text.bytes().all(is_hex) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(KeyId)
    }

    /// Returns the number of the shard of the lists that the ID stands in: its first digit.
    pub fn shard(self) -> u8 {
        (self.0 >> 44) as u8 & 0xf
    }

    /// Returns the ID as the store's scripts write it, a whole number below 2^48.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// Way in which a key was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeySource {
    /// A sign-in with an identity.
    SignIn,
    /// The app's backend, for one of its users.
    Session,
    /// The person itself, or an admin for it.
    Made,
}

/// Keys of an account by their IDs.
pub type IssuedKeys = BTreeMap<KeyId, IssuedKey>;

/// A key of a person's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedKey {
    pub source: KeySource,
    /// Name that the person gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// First characters of the key, for lists.
    pub start: String,
    /// Name under which the store leads from the key to the account.
    pub entry: String,
    pub created: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Millis>,
    /// The only models that the key may ask for. `None`: all of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The only networks that the key may be used from. `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// Most tokens that the key may spend of the account's. `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_max: Option<Tokens>,
    /// Whether the account began with this key, so that a repeated command gives the same answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub founded: bool,
    /// Day of its latest use, counted from 1970-01-01. `None`: never used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

impl KeySource {
    /// Most keys of this source in one account.
    pub fn most(self) -> usize {
        match self {
            KeySource::SignIn => 20,
            KeySource::Session => 50,
            KeySource::Made => 100,
        }
    }

    /// Whether the oldest key of this source ends when there would be too many. Keys that a person made end only by
    /// its own will.
    pub fn rotates(self) -> bool {
        self != KeySource::Made
    }
}

impl IssuedKey {
    pub fn id(&self) -> KeyId {
        KeyId::of_name(&self.entry)
    }

    pub(crate) fn is_expired(&self, now: Millis) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether the key may be used from an address.
    pub fn is_for(&self, address: IpAddr) -> bool {
        let Some(allowed) = &self.addresses else {
            return true;
        };
        let networks: Vec<_> = allowed
            .iter()
            .filter_map(|text| neighbours::parse(text))
            .collect();
        neighbours::is_within(address, &networks)
    }

    /// Whether the key may manage its account: mint, list and revoke keys, link, pay, delete. Keys of sessions and
    /// bounded keys may not, else they could free themselves of their bounds.
    pub fn may_manage(&self) -> bool {
        let is_bounded =
            self.models.is_some() || self.addresses.is_some() || self.tokens_max.is_some();
        self.source != KeySource::Session && !is_bounded
    }
}

/// Removes the keys that have expired, and the oldest of `source` where there would be too many with one more.
/// Returns the removed ones, oldest first. `None`: there are too many, and none may be removed.
pub(crate) fn make_room(
    keys: &mut IssuedKeys,
    source: KeySource,
    now: Millis,
) -> Option<Vec<(KeyId, IssuedKey)>> {
    let mut live: Vec<(Millis, KeyId)> = keys
        .iter()
        .filter(|(_, key)| key.source == source && !key.is_expired(now))
        .map(|(id, key)| (key.created, *id))
        .collect();
    let excess = (live.len() + 1).saturating_sub(source.most());
    if excess > 0 && !source.rotates() {
        return None;
    }
    live.sort();
    let expired = keys.iter().filter(|(_, key)| key.is_expired(now));
    let expired: Vec<KeyId> = expired.map(|(id, _)| *id).collect();
    let oldest = live.into_iter().map(|(_, id)| id).take(excess);
    let gone = expired.into_iter().chain(oldest);
    Some(gone.filter_map(|id| keys.remove_entry(&id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(source: KeySource, created: u64, expires: Option<u64>) -> IssuedKey {
        IssuedKey {
            source,
            name: None,
            start: "user_1".to_owned(),
            entry: "apiKey:user_1".to_owned(),
            created: Millis(created),
            expires: expires.map(Millis),
            models: None,
            addresses: None,
            tokens_max: None,
            founded: false,
            used: None,
        }
    }

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id = KeyId::of("user_1");
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        assert!(id.number() < 1 << 48);
        for wrong in [
            "",
            "00000000000",
            "00000000000G",
            "+0000000000f",
            "0000000000000",
        ] {
            assert_eq!(KeyId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_oldest_sign_in_ends_when_there_are_too_many() {
        let mut keys: IssuedKeys = (0..20)
            .map(|at| (KeyId(at), key(KeySource::SignIn, 100 - at, None)))
            .collect();
        keys.insert(KeyId(50), key(KeySource::Made, 1, None));

        let removed = make_room(&mut keys, KeySource::SignIn, Millis(1_000)).unwrap();

        assert_eq!(removed.len(), 1);
        assert_eq!(removed[0].1.created, Millis(100 - 19));
        assert!(keys.contains_key(&KeyId(50)));
    }

    #[test]
    fn made_keys_are_bounded_and_none_of_them_ends_for_another() {
        let mut keys: IssuedKeys = (0..100)
            .map(|at| (KeyId(at), key(KeySource::Made, at, Some(2_000))))
            .collect();

        assert_eq!(make_room(&mut keys, KeySource::Made, Millis(1_999)), None);
        let removed = make_room(&mut keys, KeySource::Made, Millis(2_000)).unwrap();

        assert_eq!((removed.len(), keys.len()), (100, 0));
    }

    #[test]
    fn bounded_keys_and_those_of_sessions_manage_nothing() {
        assert!(key(KeySource::SignIn, 0, None).may_manage());
        assert!(key(KeySource::Made, 0, None).may_manage());
        assert!(!key(KeySource::Session, 0, None).may_manage());
        let bounded = IssuedKey {
            tokens_max: Some(Tokens::MAX),
            ..key(KeySource::Made, 0, None)
        };
        assert!(!bounded.may_manage());
    }
}
