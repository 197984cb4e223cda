//! The name of a person's account, derived from who the person is.
//!
//! It needs no table and no secret, so finding an account and creating it is one step on one name, however many
//! instances try at once. Tenants never share a person, and what it is derived from cannot be read from it.

use crate::rules::digest;
use std::fmt;

/// Characters behind `p_`: 130 bits.
const LENGTH: usize = 26;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Name of a person's account: `p_` and 26 characters of base32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonId(String);

impl PersonId {
    /// Derives the name from the tenant, the kind of identity (`google`, `oidc:<name>`, `app`), its issuer and its
    /// subject there.
    pub fn derive(tenant: &str, kind: &str, issuer: &str, subject: &str) -> PersonId {
        let digest = digest::of_parts(&[tenant, kind, issuer, subject]);
        let mut id = String::from("p_");
        let mut bits = (0u32, 0u32);
        for byte in digest.as_ref() {
            bits = (bits.0 << 8 | u32::from(*byte), bits.1 + 8);
            while bits.1 >= 5 && id.len() < 2 + LENGTH {
                bits.1 -= 5;
                let index = (bits.0 >> bits.1) & 31;
                id.push(char::from(ALPHABET[index as usize]));
                bits.0 &= (1 << bits.1) - 1;
            }
        }
        PersonId(id)
    }
}

/// Whether a user ID has the form of a derived name.
pub fn is_id(text: &str) -> bool {
    let of_person =
        |rest: &str| rest.len() == LENGTH && rest.bytes().all(|byte| ALPHABET.contains(&byte));
    text.strip_prefix("p_").is_some_and(of_person)
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_derived_name_never_changes() {
        let id = PersonId::derive("abc", "google", "https://accounts.google.com", "1234");
        assert_eq!(id.to_string(), "p_xmk6bc7xhhfrfbpzygz6tmavyb");
    }

    proptest! {
        #[test]
        fn different_people_have_different_names(
            one in proptest::array::uniform4(".{0,6}"),
            other in proptest::array::uniform4(".{0,6}"),
        ) {
            let id = |[tenant, kind, issuer, subject]: &[String; 4]| PersonId::derive(tenant, kind, issuer, subject);
            prop_assert_eq!(one == other, id(&one) == id(&other));
            prop_assert!(is_id(&id(&one).to_string()));
        }
    }
}
