//! Seeded mutations of bytes, without a fuzzer.

/// A portable random generator (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        high as usize % sides.max(1)
    }
}

/// Tokens of the parsed formats, and bytes that confuse parsers.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\t",
    b" ",
    b":",
    b";",
    b",",
    b"0",
    b"-1",
    b"+5",
    b"0x",
    b"%2f",
    b"%2e",
    b"%00",
    b"..",
    b"/",
    b"//",
    b"\\",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"1e309",
    b"18446744073709551616",
    b"9007199254740992",
    b"\xff",
    b"\xc3\xa4",
    b"\xe2\x80\xa8",
    b"HTTP/1.1",
    b"Host: x\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"chunked",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"data: ",
    b"data: [DONE]\n\n",
    b"event: ",
    b"\"usage\":",
    b"\"tokensLeft\":",
    b"\"model\":",
    b"\"max_tokens\":",
    b"\\u0061",
    b"127.0.0.1",
    b"::1",
    b"@",
    b"#",
    b"--b\r\n",
    b"content-disposition: form-data; name=\"model\"\r\n\r\n",
    b"${",
    b"- ",
    b"&a ",
    b"*a",
];

/// Applies one to four mutations.
pub fn mutated(seed: &[u8], others: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.throw(4) {
        let at = dice.throw(bytes.len() + 1);
        let end = (at + dice.throw(24)).min(bytes.len());
        match dice.throw(8) {
            0 if at < bytes.len() => bytes[at] = dice.throw(256) as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.throw(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => bytes.truncate(at),
            5 => {
                let other = &others[dice.throw(others.len())];
                let from = dice.throw(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = WORDS[dice.throw(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
    bytes
}
