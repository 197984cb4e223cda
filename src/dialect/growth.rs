//! Number of bytes by which Unicode normalisation may lengthen a character.
//!
//! NFC and NFKC make some characters longer: U+FDFA becomes four words. The growth of every character is
//! computed once and looked up from then on.

use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, decompose_compatible};

const BLOCK: usize = 256;
const SIGNS: usize = 0x11_0000;

/// Growth in bytes of every character, by blocks of 256. Most blocks are all zero and share `blocks[0]`.
struct Table {
    places: Vec<u16>,
    blocks: Vec<[u8; BLOCK]>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

impl Table {
    fn new() -> Table {
        let mut blocks = vec![[0; BLOCK]];
        let places = (0..SIGNS / BLOCK)
            .map(|place| {
                let mut block = [0; BLOCK];
                for (offset, bytes) in block.iter_mut().enumerate() {
                    let sign = u32::try_from(place * BLOCK + offset).ok();
                    let sign = sign.and_then(char::from_u32);
                    *bytes = sign.map_or(0, worked_out);
                }
                if block == [0; BLOCK] {
                    return 0;
                }
                blocks.push(block);
                u16::try_from(blocks.len() - 1).unwrap_or_default()
            })
            .collect();
        Table { places, blocks }
    }
}

/// Computes `TABLE` ahead of the first text that needs it.
pub fn prepare() {
    LazyLock::force(&TABLE);
}

/// Returns an upper bound of the bytes that NFC or NFKC adds to a character.
pub fn of(sign: char) -> u64 {
    let sign = sign as usize;
    let place = TABLE.places[sign / BLOCK];
    TABLE.blocks[usize::from(place)][sign % BLOCK].into()
}

/// Lowest `canonical_combining_class` of marks that compose with letters and may separate others from them.
const FIRST_ATTACHED_CLASS: u8 = 200;
/// Upper bound of the bytes that such a mark adds to the characters that it separates.
const LONGEST_REORDERING: u64 = 3;

fn worked_out(sign: char) -> u8 {
    let alone = normal_bytes(sign).saturating_sub(sign.len_utf8() as u64);
    let growth = match canonical_combining_class(sign) {
        FIRST_ATTACHED_CLASS.. => alone + LONGEST_REORDERING,
        _ => alone,
    };
    u8::try_from(growth).unwrap_or(u8::MAX)
}

/// Returns the bytes of a character's longer form, of NFC and NFKC.
fn normal_bytes(sign: char) -> u64 {
    let mut is_itself = true;
    decompose_compatible(sign, |part| is_itself &= part == sign);
    if is_itself {
        return sign.len_utf8() as u64;
    }
    let bytes =
        |form: &mut dyn Iterator<Item = char>| form.map(|sign| sign.len_utf8() as u64).sum::<u64>();
    let one = || std::iter::once(sign);
    bytes(&mut one().nfkc()).max(bytes(&mut one().nfc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_of_every_character_what_its_forms_are() {
        for sign in ('\0'..=char::MAX).step_by(1) {
            let longest = sign.nfkc().map(char::len_utf8).sum::<usize>();
            let longest = longest.max(sign.nfc().map(char::len_utf8).sum());
            let growth = of(sign);
            assert!(growth < u64::from(u8::MAX), "{sign:?}");
            assert!(
                sign.len_utf8() as u64 + growth >= longest as u64,
                "{sign:?}"
            );
        }
    }

    #[test]
    fn common_scripts_do_not_grow() {
        for sign in "aé你す가п😀א".chars() {
            assert_eq!(of(sign), 0, "{sign:?}");
        }
        assert_eq!((of('\u{FDFA}'), of('\u{1D160}')), (30, 8));
    }
}
