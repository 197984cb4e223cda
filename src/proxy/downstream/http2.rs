//! Parses HTTP/2 requests as strictly as HTTP/1.1 requests.
//!
//! The head is serialized as HTTP/1.1 and parsed by [`head::take_request`], so that neither protocol accepts
//! what the other refuses.
//! One exception: the `h2` crate drops a fragment (`#...`) of the path before it gets here; HTTP/1.1 refuses
//! it.

use crate::http1::head::{self, Refused, Request};
use crate::http1::write;
use bytes::BytesMut;
use http::header;
use pingora::protocols::http::ServerSession;

/// Initial capacity in bytes for a serialized head.
const TYPICAL_HEAD_BYTES: usize = 1 << 10;

/// Parses the head of an HTTP/2 request. A body without `content-length` counts as chunked.
pub fn request(session: &mut ServerSession) -> Result<Request, Refused> {
    const BAD: Refused = Refused::Bad("This is not an HTTP request");
    let has_body = !session.is_body_done();
    let asked = session.req_header();
    let mut text = BytesMut::with_capacity(TYPICAL_HEAD_BYTES);
    text.extend_from_slice(asked.method.as_str().as_bytes());
    text.extend_from_slice(b" ");
    let target = asked.uri.path_and_query();
    text.extend_from_slice(target.map_or("/", |target| target.as_str()).as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\n");
    let authority = asked.uri.authority();
    if let Some(authority) = authority {
        write::header(&mut text, "host", authority.as_str().as_bytes()).map_err(|_| BAD)?;
    }
    for (name, value) in &asked.headers {
        // Skipped: Pingora has checked that `host` equals `:authority`.
        if *name == header::HOST && authority.is_some() {
            continue;
        }
        write::header(&mut text, name.as_str(), value.as_bytes()).map_err(|_| BAD)?;
    }
    if has_body && !asked.headers.contains_key(header::CONTENT_LENGTH) {
        text.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    text.extend_from_slice(b"\r\n");
    match head::take_request(&mut text, 0)? {
        Some(request) if text.is_empty() => Ok(request),
        _ => Err(BAD),
    }
}
