//! Detects compressed sound in the samples of a WAV, which ffmpeg searches for and decodes in their place.
//! Must never call uncompressed samples compressed, whatever they are.

use super::bytes::be;

/// Sync word of IEC 61937, which carries AC-3, DTS or AAC in samples of 16 bits.
const IEC_61937_SYNC: u32 = 0x72f8_1f4e;

/// Sync words of DTS in words of 16 and 14 bits and in either byte order. They stand at the start of a
/// sample.
const DTS: [u32; 4] = [0x7ffe_8001, 0xfe7f_0180, 0x1fff_e800, 0xff1f_00e8];

/// Least number of `DTS` sync words that are no coincidence.
const MIN_DTS_SYNCS: usize = 4;

/// Sync words of AC-3 and E-AC-3 in either byte order. Any two bytes occur by chance once in 65,536.
const AC_3: [u32; 2] = [0x0b77, 0x770b];
/// Largest mean distance, in bytes, between the `AC_3` sync words of a compressed file.
const AC_3_APART_BYTES: usize = 8_192;
/// Least number of `AC_3` sync words that are no coincidence.
const MIN_AC_3_SYNCS: usize = 7;

/// Sync word of AAC in LATM, 11 bits.
const LATM_SYNC: u32 = 0x2b7;
/// Number of consecutive LATM frames that is no coincidence.
const LATM_CHAIN: usize = 4;

/// First bytes of all these sync words, as a lookup table.
const FIRST: [bool; 256] = {
    let mut first = [false; 256];
    let bytes: [u8; 8] = [0x72, 0x7f, 0xfe, 0x1f, 0xff, 0x0b, 0x77, 0x56];
    let mut at = 0;
    while at < bytes.len() {
        first[bytes[at] as usize] = true;
        at += 1;
    }
    first
};

/// Whether `samples` hold compressed sound.
pub fn is_in(samples: &[u8]) -> bool {
    let (mut at, mut ac_3, mut dts) = (0, 0, 0);
    let next = |at: usize| {
        samples
            .get(at..)?
            .iter()
            .position(|byte| FIRST[usize::from(*byte)])
    };
    while let Some(found) = next(at) {
        at += found;
        let word = match samples.get(at..at + 4) {
            Some(&[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
            _ => 0,
        };
        ac_3 += usize::from(AC_3.contains(&(word >> 16)));
        let latm = word >> 21 == LATM_SYNC && latm_chain(samples, at);
        let aligned = at % 2 == 0;
        dts += usize::from(aligned && DTS.contains(&word));
        if aligned && word == IEC_61937_SYNC || dts >= MIN_DTS_SYNCS || latm {
            return true;
        }
        at += 1;
    }
    ac_3 >= MIN_AC_3_SYNCS.max(samples.len() / AC_3_APART_BYTES)
}

/// Whether `LATM_CHAIN` LATM frames follow each other. The last 13 of their 24 header bits are their length.
fn latm_chain(samples: &[u8], mut at: usize) -> bool {
    const HEAD_BYTES: usize = 3;
    (0..LATM_CHAIN).all(|_| match be(samples, at, HEAD_BYTES) {
        Some(head) if head >> 13 == u64::from(LATM_SYNC) => {
            at += HEAD_BYTES + (head & 0x1fff) as usize;
            true
        }
        _ => false,
    })
}
