//! Serialises HTTP/1.1 heads and chunks into one buffer, so that they are sent in one write.
//!
//! This file must never write a header value that would not stay on its line.

use bytes::BytesMut;

/// Error of [`header`]: the value has a control character, such as a line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHeaderValue;

pub fn status_line(out: &mut BytesMut, status: http::StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    let reason = status.canonical_reason().unwrap_or("Unknown");
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a header line. `name` is not checked: it is a constant of ours or was parsed from a header.
pub fn header(out: &mut BytesMut, name: &str, value: &[u8]) -> Result<(), InvalidHeaderValue> {
    let fits = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if !value.iter().all(fits) {
        return Err(InvalidHeaderValue);
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes a header line whose value is a decimal number.
pub fn number(out: &mut BytesMut, name: &str, value: u64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a size in hex digits into the end of `digits`.
fn hex_size(digits: &mut [u8; 16], mut value: usize) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[value % 16];
        value /= 16;
        if value == 0 {
            return &digits[at..];
        }
    }
}

/// Writes one chunk. Empty `content` writes nothing, because a chunk of size 0 would end the body.
pub fn chunk(out: &mut BytesMut, content: &[u8]) {
    if content.is_empty() {
        return;
    }
    out.reserve(content.len() + 12);
    out.extend_from_slice(hex_size(&mut [0; 16], content.len()));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}

pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::body::{Decoder, Framing};
    use proptest::prelude::*;

    #[test]
    fn a_header_is_one_line_or_none() {
        let mut out = BytesMut::new();
        assert_eq!(header(&mut out, "x", b"a\r\ny: b"), Err(InvalidHeaderValue));
        assert!(out.is_empty());
        header(&mut out, "x", "ä".as_bytes()).unwrap();
        number(&mut out, "n", u64::MAX);
        number(&mut out, "n", 0);
        assert_eq!(
            out,
            "x: ä\r\nn: 18446744073709551615\r\nn: 0\r\n".as_bytes()
        );
    }

    proptest! {
        #[test]
        fn chunked_encoding_round_trips(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
        ) {
            let mut out = BytesMut::new();
            for content in &chunks {
                chunk(&mut out, content);
            }
            out.extend_from_slice(LAST_CHUNK);
            let mut read = BytesMut::new();
            let mut decoder = Decoder::new(Framing::Chunked);
            decoder.decode(&mut out, &mut read).unwrap();
            prop_assert!(decoder.is_done() && out.is_empty());
            prop_assert_eq!(read.to_vec(), chunks.concat());
        }
    }
}
