//! HTTP requests of clients and responses of providers: the result is independent of read boundaries.

use super::cut;
use super::reader::{self, Message};
use bytes::BytesMut;
use resullm::http1::body::{Decoder, Framing};
use resullm::http1::head::{Request, take_request, take_response};
use resullm::http1::write;

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Incomplete: the number of body bytes so far, if a body has begun.
    Open(Option<usize>),
    Closed,
    Refused,
}

/// Parses pieces like a connection does.
fn read(pieces: &[&[u8]]) -> (Vec<Message>, End) {
    let mut messages = Vec::new();
    let mut buffer = BytesMut::new();
    let mut searched = 0;
    let mut under_way: Option<(Request, Decoder, BytesMut)> = None;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            if let Some((request, decoder, body)) = &mut under_way {
                if decoder.decode(&mut buffer, body).is_err() {
                    return (messages, End::Refused);
                }
                if !decoder.is_done() {
                    break;
                }
                let message = message(request, body);
                let keeps = message.keeps;
                messages.push(message);
                under_way = None;
                if !keeps {
                    return (messages, End::Closed);
                }
            }
            match take_request(&mut buffer, searched) {
                Err(_) => return (messages, End::Refused),
                Ok(None) => {
                    searched = buffer.len();
                    break;
                }
                Ok(Some(request)) => {
                    searched = 0;
                    let decoder = Decoder::new(request.framing);
                    under_way = Some((request, decoder, BytesMut::new()));
                }
            }
        }
    }
    let end = under_way.map(|(_, _, body)| body.len());
    (messages, End::Open(end))
}

fn message(request: &Request, body: &[u8]) -> Message {
    let fields = request.fields.iter();
    Message {
        method: request.method.as_str().as_bytes().to_vec(),
        target: request.target.to_vec(),
        is_current: request.is_current,
        fields: fields
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
        is_chunked: request.framing == Framing::Chunked,
        keeps: request.keeps,
        body: body.to_vec(),
    }
}

fn written(message: &Message) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.extend_from_slice(&message.method);
    out.extend_from_slice(b" ");
    out.extend_from_slice(&message.target);
    let version: &[u8] = if message.is_current {
        b" HTTP/1.1\r\n"
    } else {
        b" HTTP/1.0\r\n"
    };
    out.extend_from_slice(version);
    for (name, value) in &message.fields {
        let name = std::str::from_utf8(name).unwrap();
        write::header(&mut out, name, value).unwrap();
    }
    out.extend_from_slice(b"\r\n");
    if message.is_chunked {
        for piece in message.body.chunks(7) {
            write::chunk(&mut out, piece);
        }
        out.extend_from_slice(write::LAST_CHUNK);
    } else {
        out.extend_from_slice(&message.body);
    }
    out.to_vec()
}

/// Pipelined requests.
pub fn request(bytes: &[u8]) {
    let (pieces, whole) = cut(bytes);
    let (messages, end) = read(&[whole]);
    assert_eq!(
        (&messages, &end),
        (&read(&pieces).0, &read(&pieces).1),
        "cut in pieces"
    );
    assert_eq!(messages, reader::messages(whole), "the other reader's");
    let again: Vec<u8> = messages.iter().flat_map(written).collect();
    let closes = messages.iter().any(|message| !message.keeps);
    let end = if closes { End::Closed } else { End::Open(None) };
    assert_eq!(read(&[&again]), (messages.clone(), end), "written again");
    for message in &messages {
        facts(message);
    }
}

/// Queries on a parsed request, which must not panic.
fn facts(message: &Message) {
    let mut bytes = BytesMut::from(written(message).as_slice());
    let request = take_request(&mut bytes, 0).unwrap().unwrap();
    let path = request.path();
    assert!(!path.contains(&b'?'));
    let in_target = memchr::memmem::find(&request.target, path).is_some();
    assert!(path == b"/" || in_target);
    if let Some(query) = request.query() {
        assert!(request.target.ends_with(query.as_bytes()));
    }
    assert_eq!(request.headers().len(), message.fields.len());
}

/// A provider's response.
pub fn answer(bytes: &[u8]) {
    let (pieces, whole) = cut(bytes);
    let (one, two) = (read_answer(&[whole]), read_answer(&pieces));
    assert_eq!(one, two, "cut in pieces");
    if let Some((_, body, _)) = one {
        assert!(body.len() <= whole.len());
    }
}

/// Status, body so far, and whether it is complete. `None`: malformed or incomplete head.
fn read_answer(pieces: &[&[u8]]) -> Option<(u16, Vec<u8>, bool)> {
    let mut buffer = BytesMut::new();
    let mut searched = 0;
    let mut body = BytesMut::new();
    let mut under_way: Option<(u16, Decoder)> = None;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if under_way.is_none() {
            let Some(head) = take_response(&mut buffer, searched).ok()? else {
                searched = buffer.len();
                continue;
            };
            under_way = Some((head.status.as_u16(), Decoder::new(head.framing)));
        }
        if let Some((_, decoder)) = &mut under_way {
            decoder.decode(&mut buffer, &mut body).ok()?;
        }
    }
    let (status, decoder) = under_way?;
    Some((status, body.to_vec(), decoder.is_done()))
}
