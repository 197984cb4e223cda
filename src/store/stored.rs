//! One stored value: its text, its expiry and, for an account, its books.
//!
//! Both engines read and write stores in this form when they are copied. On the embedded store's disk it follows a checksum that is bound to its name. No byte of it may be used before the checksum is
//! verified.

use crate::rules::account::Books;
use crate::rules::amount::Millis;
use crate::rules::issued_key::IssuedKeys;
use crate::rules::payments::book::PaymentBook;
use crate::rules::posting::Sums;
use crate::store::checksum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const SUM: usize = size_of::<u64>();

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Millis>,
    #[serde(default, skip_serializing_if = "Books::is_empty")]
    pub books: Books,
    /// Keys of a person's account.
    #[serde(default, skip_serializing_if = "IssuedKeys::is_empty")]
    pub keys: IssuedKeys,
    /// Payments of a person's account.
    #[serde(default, skip_serializing_if = "PaymentBook::is_empty")]
    pub payments: PaymentBook,
    /// Number of the account's postings that stand beside it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub postings: u64,
    /// The account's ledger, in copies alone: on disk it stands beside the account.
    #[serde(skip)]
    pub(crate) ledger: StoredLedger,
}

/// Ledger of an account as copies carry it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredLedger {
    /// Texts of the postings that are kept whole, the oldest first.
    pub postings: Vec<String>,
    pub sums: Sums,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Everything in a store, by name.
pub(crate) type Things = BTreeMap<String, Stored>;

/// Prints `Stored(***)`: the text may be a record or a config.
impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stored(***)")
    }
}

/// Error: the bytes on disk are not those that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Altered;

impl Stored {
    pub fn text(text: &str) -> Stored {
        Stored {
            text: text.to_owned(),
            expires: None,
            books: Books::default(),
            keys: IssuedKeys::default(),
            payments: PaymentBook::default(),
            postings: 0,
            ledger: StoredLedger::default(),
        }
    }

    pub fn expired(&self, now: Millis) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub fn encode(&self, name: &str) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = Vec::with_capacity(SUM + 64 + self.text.len());
        bytes.extend_from_slice(&[0; SUM]);
        serde_json::to_writer(&mut bytes, self)?;
        seal(name, &mut bytes);
        Ok(bytes)
    }

    pub fn decode(name: &str, bytes: &[u8]) -> Result<Stored, Altered> {
        let bytes = opened(name, bytes).ok_or(Altered)?;
        serde_json::from_slice(bytes).map_err(|_| Altered)
    }

    pub fn is_whole(name: &str, bytes: &[u8]) -> bool {
        opened(name, bytes).is_some()
    }

    /// Converts a value of an earlier version, which has no checksum, to the present format.
    pub fn sealed(name: &str, bytes: &[u8]) -> Result<Vec<u8>, Altered> {
        serde_json::from_slice::<Stored>(bytes).map_err(|_| Altered)?;
        let mut sealed = [&[0; SUM], bytes].concat();
        seal(name, &mut sealed);
        Ok(sealed)
    }
}

fn opened<'a>(name: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, bytes) = bytes.split_first_chunk::<SUM>()?;
    (u64::from_le_bytes(*sum) == checksum::of(name.as_bytes(), bytes)).then_some(bytes)
}

fn seal(name: &str, bytes: &mut [u8]) {
    let sum = checksum::of(name.as_bytes(), &bytes[SUM..]);
    bytes[..SUM].copy_from_slice(&sum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn record_of_an_earlier_version_is_sealed_and_read() {
        let old = br#"{"text":"{\"tokensLeft\":5}"}"#;
        let sealed = Stored::sealed("apiKey:a", old).unwrap();
        let stored = Stored::decode("apiKey:a", &sealed).unwrap();
        assert_eq!(stored.text, "{\"tokensLeft\":5}");
        assert_eq!(stored.encode("apiKey:a").unwrap(), sealed);
        assert_eq!(Stored::decode("apiKey:b", &sealed), Err(Altered));
        // Neither format is ever taken for the other.
        assert_eq!(Stored::decode("apiKey:a", old), Err(Altered));
        assert_eq!(Stored::sealed("apiKey:a", &sealed), Err(Altered));
    }

    proptest! {
        #[test]
        fn no_byte_of_a_stored_thing_can_change_unseen(
            text in ".{0,80}",
            at: prop::sample::Index,
            flip in 1u8..=255,
        ) {
            let mut bytes = Stored::text(&text).encode("name").unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(Stored::decode("name", &bytes), Err(Altered));
        }
    }
}
