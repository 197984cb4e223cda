//! Sealing of secrets in tenant configs: encryption with `secrets.key`, bound to the secret's place.
//!
//! AES-256-GCM. Tenant and field are authenticated with the text, so a sealed text that is moved elsewhere
//! does not open.
//! A nonce must be random and used once; like the time, it comes in as an argument.
//! Opened texts and keys must never be printed; errors say what went wrong without the text.

use super::tenant::TenantId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hmac;

/// Prefix of sealed texts. A text with this prefix is never taken as a plain secret.
const MARK: &str = "sealed:";
/// Version of the format behind the prefix.
const FORM: &str = "v1";

pub type Nonce = [u8; NONCE_LEN];

/// AES-256 key, with the ID that sealed texts carry: the first 4 bytes of a hash of the key, in hex.
pub struct SealKey {
    id: String,
    key: LessSafeKey,
    /// Secret from which [`MaskKey`](super::config::MaskKey) is derived.
    masks: hmac::Key,
}

impl SealKey {
    pub fn new(bytes: &[u8; 32]) -> SealKey {
        #[expect(clippy::expect_used, reason = "AES-256 takes any 32 bytes")]
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("a key of 32 bytes");
        let hash = digest(&SHA256, &[b"resullm seal key\0".as_slice(), bytes].concat());
        SealKey {
            id: hex::encode(&hash.as_ref()[..4]),
            key: LessSafeKey::new(key),
            masks: hmac::Key::new(
                hmac::HMAC_SHA256,
                digest(&SHA256, &[b"resullm masks\0".as_slice(), bytes].concat()).as_ref(),
            ),
        }
    }

    /// Returns the secret from which [`MaskKey`](super::config::MaskKey) is derived.
    pub fn masks(&self) -> &hmac::Key {
        &self.masks
    }

    /// Whether a sealed text carries the ID of this key.
    pub fn is_of(&self, sealed: &str) -> bool {
        parts(sealed).is_some_and(|(id, _)| id == self.id)
    }

    /// Encrypts a text for a place. The result is `sealed:v1:<key ID>:<base64 of nonce and ciphertext>`.
    pub(crate) fn seal(&self, nonce: Nonce, place: SealContext<'_>, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        let unique = ring::aead::Nonce::assume_unique_for_key(nonce);
        #[expect(clippy::expect_used, reason = "a config is far from 64 GiB")]
        self.key
            .seal_in_place_append_tag(unique, place.bytes(), &mut bytes)
            .expect("a text that is short enough");
        let whole = URL_SAFE_NO_PAD.encode([nonce.as_slice(), &bytes].concat());
        format!("{MARK}{FORM}:{}:{whole}", self.id)
    }

    fn open(&self, place: SealContext<'_>, bytes: &[u8]) -> Option<String> {
        let (nonce, rest) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let nonce = ring::aead::Nonce::assume_unique_for_key(*nonce);
        let mut rest = rest.to_vec();
        let text = self
            .key
            .open_in_place(nonce, place.bytes(), &mut rest)
            .ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

/// SealContext that a sealed text is bound to.
#[derive(Clone, Copy)]
pub(crate) struct SealContext<'a> {
    pub tenant: &'a TenantId,
    /// JSON pointer to the field, which is unambiguous whatever characters the names have.
    pub field: &'a str,
}

impl SealContext<'_> {
    /// Returns the additional authenticated data. Tenant IDs have no zero byte, so two places never give the
    /// same bytes.
    fn bytes(&self) -> Aad<Vec<u8>> {
        let (tenant, field) = (self.tenant, self.field);
        Aad::from(format!("resullm {FORM}\0{tenant}\0{field}").into_bytes())
    }
}

/// Reason that a sealed text does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    NoKeys,
    /// The prefix is there, but the rest is no known version of the format.
    OtherForm,
    OtherKey,
    MovedOrDamaged,
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Closed::NoKeys => {
                "is sealed, and the gateway has no key to open it: secrets.key is not set"
            }
            Closed::OtherForm => {
                "begins with sealed: and is no sealed text that this gateway knows"
            }
            Closed::OtherKey => {
                "is sealed with a key that is neither secrets.key nor one of secrets.old_keys"
            }
            Closed::MovedOrDamaged => {
                "does not open: it was sealed for another tenant or field, or it is damaged"
            }
        })
    }
}

pub fn is_sealed(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Opens a sealed text with the key whose ID it carries.
pub(crate) fn open<'k>(
    keys: impl IntoIterator<Item = &'k SealKey>,
    place: SealContext<'_>,
    sealed: &str,
) -> Result<String, Closed> {
    let mut keys = keys.into_iter().peekable();
    if keys.peek().is_none() {
        return Err(Closed::NoKeys);
    }
    let (_, text) = parts(sealed).ok_or(Closed::OtherForm)?;
    let mut named = keys.filter(|key| key.is_of(sealed)).peekable();
    if named.peek().is_none() {
        return Err(Closed::OtherKey);
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Closed::MovedOrDamaged)?;
    named
        .find_map(|key| key.open(place, &bytes))
        .ok_or(Closed::MovedOrDamaged)
}

/// Splits a sealed text into the ID of its key and the base64.
fn parts(sealed: &str) -> Option<(&str, &str)> {
    let rest = sealed.strip_prefix(MARK)?.strip_prefix(FORM)?;
    rest.strip_prefix(':')?.split_once(':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    #[test]
    fn a_key_is_named_by_a_hash_and_not_by_itself() {
        let sealed = SealKey::new(&[7; 32]).seal([1; 12], place(&tenant("abc"), "/a"), "sk-1");
        assert!(sealed.starts_with("sealed:v1:"), "{sealed}");
        assert!(!sealed.contains("07070707"));
        assert!(is_sealed(&sealed) && !is_sealed("sk-1"));
        let again = SealKey::new(&[7; 32]);
        assert!(again.is_of(&sealed) && !SealKey::new(&[8; 32]).is_of(&sealed));
    }

    #[test]
    fn unopenable_seal_says_why() {
        let (key, other) = (SealKey::new(&[7; 32]), SealKey::new(&[8; 32]));
        let (abc, xyz) = (tenant("abc"), tenant("xyz"));
        let sealed = key.seal([1; 12], place(&abc, "/a"), "sk-1");
        let cases = [
            (vec![], &abc, "/a", sealed.as_str(), Err(Closed::NoKeys)),
            (vec![&other], &abc, "/a", &sealed, Err(Closed::OtherKey)),
            (vec![&key], &abc, "/b", &sealed, Err(Closed::MovedOrDamaged)),
            (vec![&key], &xyz, "/a", &sealed, Err(Closed::MovedOrDamaged)),
            (
                vec![&key],
                &abc,
                "/a",
                &sealed[..40],
                Err(Closed::MovedOrDamaged),
            ),
            (
                vec![&key],
                &abc,
                "/a",
                "sealed:v9:0:0",
                Err(Closed::OtherForm),
            ),
            (vec![&key], &abc, "/a", "sealed:v1:", Err(Closed::OtherForm)),
            (
                vec![&other, &key],
                &abc,
                "/a",
                &sealed,
                Ok("sk-1".to_owned()),
            ),
        ];
        for (keys, tenant, field, text, expected) in cases {
            let opened = open(keys.iter().copied(), place(tenant, field), text);
            assert_eq!(opened, expected, "{field} {text}");
        }
        for why in [
            Closed::NoKeys,
            Closed::OtherForm,
            Closed::OtherKey,
            Closed::MovedOrDamaged,
        ] {
            assert!(!why.to_string().contains(&sealed[12..]));
        }
    }

    fn place<'a>(tenant: &'a TenantId, field: &'a str) -> SealContext<'a> {
        SealContext { tenant, field }
    }

    proptest! {
        #[test]
        fn seal_opens_in_its_place_only_and_unmodified(
            bytes: [u8; 32], nonce: [u8; 12], text in "\\PC{0,60}", bit in 0..8usize, at: prop::sample::Index,
        ) {
            let (key, abc) = (SealKey::new(&bytes), tenant("abc"));
            let sealed = key.seal(nonce, place(&abc, "/a/b"), &text);
            prop_assert_eq!(open([&key], place(&abc, "/a/b"), &sealed), Ok(text));
            prop_assert!(open([&key], place(&abc, "/a"), &sealed).is_err());
            prop_assert!(open([&key], place(&tenant("abd"), "/a/b"), &sealed).is_err());
            let mut flipped = sealed.into_bytes();
            let at = at.index(flipped.len());
            flipped[at] ^= 1 << bit;
            if let Ok(flipped) = String::from_utf8(flipped) {
                prop_assert!(open([&key], place(&abc, "/a/b"), &flipped).is_err());
            }
        }

        #[test]
        fn any_text_is_opened_or_not_without_panic(text in "(sealed:)?(v1:)?\\PC{0,60}") {
            let _ = open([&SealKey::new(&[7; 32])], place(&tenant("abc"), "/a"), &text);
        }
    }
}
