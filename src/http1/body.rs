//! Decodes HTTP/1.1 message bodies: finds the end of a body and removes its chunk framing.
//!
//! Pure and incremental. A [`Decoder`] must never consume bytes behind the end of the body: they may be the
//! next request.

use bytes::{Buf, BytesMut};

/// Framing of a message body: how its end is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    /// The body ends when the connection closes. Allowed for responses only.
    UntilClose,
}

/// Longest chunk-size line or trailer line in bytes, chunk extensions included.
const MAX_LINE_BYTES: usize = 4 << 10;
/// Maximum size of all trailers of a body, in bytes.
const MAX_TRAILER_BYTES: usize = 16 << 10;

/// Decodes one body incrementally: moves its content out of the read buffer as the bytes arrive.
#[derive(Clone, Debug)]
pub struct Decoder(DecoderState);

#[derive(Clone, Debug)]
enum DecoderState {
    Length(u64),
    UntilClose,
    /// Expects a chunk-size line.
    Size,
    /// Inside a chunk, with this many bytes of content left.
    Data(u64),
    /// Expects the CR LF behind a chunk's content.
    DataEnd,
    Trailers {
        read: usize,
    },
    Done,
}

/// Error: the framing is malformed, so nothing that follows on the connection can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unframed;

impl Decoder {
    pub fn new(framing: Framing) -> Decoder {
        Decoder(match framing {
            Framing::Length(0) => DecoderState::Done,
            Framing::Length(length) => DecoderState::Length(length),
            Framing::Chunked => DecoderState::Size,
            Framing::UntilClose => DecoderState::UntilClose,
        })
    }

    pub fn is_done(&self) -> bool {
        matches!(self.0, DecoderState::Done)
    }

    /// Whether the end of the connection is the end of the body ([`Framing::UntilClose`]).
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.0, DecoderState::UntilClose)
    }

    /// Returns the number of body bytes still to come. `None`: unknown, for a chunked body or
    /// [`Framing::UntilClose`].
    pub fn remaining(&self) -> Option<u64> {
        match self.0 {
            DecoderState::Length(length) => Some(length),
            DecoderState::Done => Some(0),
            _ => None,
        }
    }

    /// Marks `bytes` of a body with `Content-Length` as read without this decoder.
    pub fn skip(&mut self, bytes: u64) {
        if let DecoderState::Length(length) = self.0 {
            self.0 = match length.saturating_sub(bytes) {
                0 => DecoderState::Done,
                rest => DecoderState::Length(rest),
            };
        }
    }

    /// Moves content from `input` to the end of `output`. Returns when `input` is used up or the body is
    /// complete; bytes behind the body stay in `input`.
    pub fn decode(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<(), Unframed> {
        loop {
            match &mut self.0 {
                DecoderState::Done => return Ok(()),
                DecoderState::UntilClose => {
                    give(input, output, u64::MAX);
                    return Ok(());
                }
                DecoderState::Length(length) => {
                    *length -= give(input, output, *length);
                    if *length > 0 {
                        return Ok(());
                    }
                    self.0 = DecoderState::Done;
                }
                DecoderState::Data(length) => {
                    *length -= give(input, output, *length);
                    if *length > 0 {
                        return Ok(());
                    }
                    self.0 = DecoderState::DataEnd;
                }
                DecoderState::DataEnd => {
                    if input.len() < 2 {
                        return whole(b"\r\n".starts_with(input));
                    }
                    whole(input.starts_with(b"\r\n"))?;
                    input.advance(2);
                    self.0 = DecoderState::Size;
                }
                DecoderState::Size => {
                    let Some(line) = line(input)? else {
                        return Ok(());
                    };
                    let size = chunk_size(&input[..line])?;
                    input.advance(line + 2);
                    self.0 = match size {
                        0 => DecoderState::Trailers { read: 0 },
                        size => DecoderState::Data(size),
                    };
                }
                DecoderState::Trailers { read } => {
                    let Some(line) = line(input)? else {
                        return Ok(());
                    };
                    input.advance(line + 2);
                    *read += line + 2;
                    whole(*read <= MAX_TRAILER_BYTES)?;
                    if line == 0 {
                        self.0 = DecoderState::Done;
                    }
                }
            }
        }
    }
}

fn whole(is_right: bool) -> Result<(), Unframed> {
    if is_right { Ok(()) } else { Err(Unframed) }
}

fn give(input: &mut BytesMut, output: &mut BytesMut, most: u64) -> u64 {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    if output.is_empty() && length == input.len() {
        // The whole buffer: move it without copying.
        output.unsplit(input.split());
    } else {
        output.extend_from_slice(&input[..length]);
        input.advance(length);
    }
    length as u64
}

/// Returns the length of the next line without its CR LF. `None`: the line is incomplete. Control characters
/// are an error, because parsers disagree about which of them end a line.
fn line(input: &[u8]) -> Result<Option<usize>, Unframed> {
    let Some(at) = memchr::memchr(b'\n', input) else {
        return whole(input.len() <= MAX_LINE_BYTES).map(|()| None);
    };
    whole(at > 0 && at <= MAX_LINE_BYTES && input[at - 1] == b'\r')?;
    let fits = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    whole(input[..at - 1].iter().all(fits))?;
    Ok(Some(at - 1))
}

/// Parses a chunk's hexadecimal size. Chunk extensions behind it are ignored: nobody uses them.
fn chunk_size(line: &[u8]) -> Result<u64, Unframed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let digits = digits.count();
    // At most 15 digits: no body is larger, and a larger size could overflow.
    whole((1..=15).contains(&digits))?;
    let rest = line[digits..].trim_ascii_start();
    whole(rest.is_empty() || rest[0] == b';')?;
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| Unframed)?;
    u64::from_str_radix(text, 16).map_err(|_| Unframed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>, bool), Unframed> {
        let mut decoder = Decoder::new(framing);
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            decoder.decode(&mut input, &mut output)?;
        }
        Ok((output.to_vec(), input.to_vec(), decoder.is_done()))
    }

    #[test]
    fn bytes_behind_a_body_stay_in_the_buffer() {
        let chunked = b"5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\nGET /";
        let (content, rest, done) = decode(Framing::Chunked, &[chunked]).unwrap();
        assert_eq!(
            (&content[..], &rest[..], done),
            (&b"hello"[..], &b"GET /"[..], true)
        );
        let (content, rest, done) = decode(Framing::Length(3), &[b"he", b"llo"]).unwrap();
        assert_eq!(
            (&content[..], &rest[..], done),
            (&b"hel"[..], &b"lo"[..], true)
        );
    }

    #[test]
    fn framing_that_two_readers_could_read_differently_is_refused() {
        for wrong in [
            &b"5\nhello\r\n"[..],
            b"5\r\nhelloX\r\n",
            b"-5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"\r\nhello\r\n",
            b"5 5\r\nhello\r\n",
            b"fffffffffffffffff\r\nhello",
            b"5\r\r\nhello\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"5\x0c\r\nhello\r\n",
            b"5;\0\r\nhello\r\n",
            b"0\r\nTrailer: \x0b\r\n\r\n",
            b"0\r\nTrailer: x\n\r\n",
        ] {
            assert!(decode(Framing::Chunked, &[wrong]).is_err(), "{wrong:?}");
        }
        let endless = vec![b'1'; MAX_LINE_BYTES + 1];
        assert!(decode(Framing::Chunked, &[&endless]).is_err());
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_body(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in proptest::collection::vec(1usize..9, 1..80),
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\nnext");
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            let (content, behind, done) = decode(Framing::Chunked, &pieces).unwrap();
            prop_assert_eq!(content, chunks.concat());
            prop_assert_eq!(&behind[..], b"next");
            prop_assert!(done);
        }

        #[test]
        fn no_bytes_make_it_panic_or_give_more_than_it_got(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..10),
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let given: usize = pieces.iter().map(|piece| piece.len()).sum();
            for framing in [Framing::Chunked, Framing::UntilClose, Framing::Length(7)] {
                if let Ok((content, rest, _)) = decode(framing, &pieces) {
                    prop_assert!(content.len() + rest.len() <= given);
                }
            }
        }
    }
}
