//! Digests of lists of texts, by which the same list is known again.

use ring::digest::{Digest, SHA256, digest};

/// Returns the digest of a list. Each part is preceded by its length, so that no two lists are the same text.
pub(super) fn of_parts(parts: &[&str]) -> Digest {
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    digest(&SHA256, &text)
}

/// Returns the beginning of the digest of a list, as 32 hexadecimal digits.
pub fn short_name(parts: &[&str]) -> String {
    hex::encode(&of_parts(parts).as_ref()[..16])
}
