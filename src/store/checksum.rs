//! Is what is read what was written? A number over a thing's bytes, bound to its name.
//!
//! It tells a damaged thing, and one that stands in another's place, from a good one. It must never be
//! taken for a signature: who can write to the store can write its checksums too.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

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
