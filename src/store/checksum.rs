//! A 64-bit XXH3 checksum over a value's bytes, seeded with its name.
//!
//! Detects a damaged value, and one stored under another's name. It must never be taken for a signature:
//! anyone who can write to the store can compute it too.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Returns the checksum of `bytes` stored under `name`.
pub fn of(name: &[u8], bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, xxh3_64(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn another_byte_or_another_name_is_another_number(
            bytes in proptest::collection::vec(any::<u8>(), 1..600),
            at: prop::sample::Index,
            flip in 1u8..=255,
        ) {
            let sum = of(b"name", &bytes);
            prop_assert_ne!(sum, of(b"game", &bytes));
            let mut other = bytes.clone();
            other[at.index(bytes.len())] ^= flip;
            prop_assert_ne!(sum, of(b"name", &other));
        }
    }
}
