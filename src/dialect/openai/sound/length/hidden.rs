//! Compressed sound in the samples of a WAV, which ffmpeg looks for and decodes in their place. It
//! must never call honest samples compressed, whatever they are.

use super::bytes::be;

/// IEC 61937, where AC-3, DTS or AAC go as samples of 16 bits.
const BURST: u32 = 0x72f8_1f4e;

/// DTS in words of 16 and 14 bits, either byte first, where a sample begins.
const DTS: [u32; 4] = [0x7ffe_8001, 0xfe7f_0180, 0x1fff_e800, 0xff1f_00e8];

const DTS_LEAST: usize = 4;

/// AC-3 and E-AC-3. Chance brings one of two bytes in 65,536.
const AC_3: [u32; 2] = [0x0b77, 0x770b];
const AC_3_APART_BYTES: usize = 8_192;
const AC_3_LEAST: usize = 7;

/// AAC in LATM, and the frames in a row that are no chance.
const LATM_SYNC: u32 = 0x2b7;
const LATM_CHAIN: usize = 4;

/// The first bytes of all of them.
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
        if aligned && word == BURST || dts >= DTS_LEAST || latm {
            return true;
        }
        at += 1;
    }
    ac_3 >= AC_3_LEAST.max(samples.len() / AC_3_APART_BYTES)
}

/// Frames of AAC in LATM, each of three bytes and what their last thirteen bits say.
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
