//! Parses HTTP/1.1 heads: bytes to a [`Request`] or a [`Response`].
//!
//! A request comes from an untrusted client and must have exactly one meaning: lines end with CR LF, a body
//! has one framing, `Host` appears once. Anything else is refused, because a proxy in front could read it as
//! another request. A response comes from a provider, so harmless deviations are accepted.

use super::body::Framing;
use super::fields::Fields;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use memchr::memmem::Finder;
use std::ops::Range;
use std::sync::LazyLock;

/// Maximum size of a head in bytes, cookies included. No SDK sends as much.
pub const MAX_HEAD_BYTES: usize = 64 << 10;
const MAX_REQUEST_HEADERS: usize = 100;
static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
/// Maximum number of response headers: providers behind several proxies send more than clients do.
const MAX_RESPONSE_HEADERS: usize = 256;

/// Parsed head of a request.
pub struct Request {
    pub method: Method,
    /// Request target as sent: a path with its query, an absolute URL, or `*`.
    pub target: Bytes,
    /// Whether the version is HTTP/1.1 and not HTTP/1.0.
    pub is_current: bool,
    pub fields: Fields,
    pub framing: Framing,
    /// Whether the client wants to keep the connection alive, by its `Connection` header or its version.
    pub keeps: bool,
    /// Whether the client sent `Expect: 100-continue` and waits for `100 Continue` before its body.
    pub expects: bool,
}

/// Reason to refuse a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not HTTP, or HTTP with more than one meaning (400). The text is for the client.
    Bad(&'static str),
    TooLarge,
    UnknownCoding,
    UnknownExpectation,
}

/// Omits [`Request::target`], because a path may contain an API key.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({} {:?})", self.method, self.framing)
    }
}

impl Request {
    /// Returns a stand-in for a request whose head could not be read.
    pub fn nothing() -> Request {
        Request {
            method: Method::GET,
            target: Bytes::from_static(b"/"),
            is_current: true,
            fields: Fields::default(),
            framing: Framing::Length(0),
            keeps: false,
            expects: false,
        }
    }

    /// Returns the path as sent, without the scheme and host before it and the query behind it.
    pub fn path(&self) -> &[u8] {
        let whole = until(&self.target, b'?');
        // The absolute form begins with a host, which `addressed` has compared with `Host`.
        match after_scheme(whole) {
            Some(rest) => match rest.iter().position(|byte| *byte == b'/') {
                Some(slash) => &rest[slash..],
                None => b"/",
            },
            None => whole,
        }
    }

    pub fn query(&self) -> Option<&str> {
        let path = until(&self.target, b'?').len();
        std::str::from_utf8(self.target.get(path + 1..)?).ok()
    }

    /// Returns the headers as a [`HeaderMap`], for callers that look up many.
    pub fn headers(&self) -> HeaderMap {
        let line = |(name, value)| {
            let name = HeaderName::from_bytes(name).ok()?;
            Some((name, HeaderValue::from_bytes(value).ok()?))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in self.fields.iter().filter_map(line) {
            headers.append(name, value);
        }
        headers
    }
}

fn until(bytes: &[u8], end: u8) -> &[u8] {
    let at = bytes.iter().position(|byte| *byte == end);
    &bytes[..at.unwrap_or(bytes.len())]
}

/// Returns the offset behind the empty line that ends a head. `None`: the head is incomplete. The first
/// `searched` bytes were searched before.
fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3).min(bytes.len());
    EMPTY_LINE.find(&bytes[from..]).map(|at| from + at + 4)
}

/// Whether every LF follows a CR, and every CR is followed by an LF.
fn has_whole_lines(head: &[u8], searched: usize) -> bool {
    let from = searched.saturating_sub(1).min(head.len());
    memchr::memchr2_iter(b'\r', b'\n', &head[from..]).all(|at| match head[from + at] {
        b'\n' => from + at > 0 && head[from + at - 1] == b'\r',
        _ => head.get(from + at + 1) == Some(&b'\n'),
    })
}

/// Takes the next request's head from `buffer`. `None`: it is incomplete. The first `searched` bytes were
/// searched before.
pub fn take_request(buffer: &mut BytesMut, searched: usize) -> Result<Option<Request>, Refused> {
    // Empty lines before a request are skipped, as every server does.
    while buffer.starts_with(b"\r\n") {
        buffer.advance(2);
    }
    let Some(end) = end(buffer, searched) else {
        // Do not wait for what cannot become a head: lone LFs never end in CR LF CR LF.
        if !has_whole_lines(buffer.strip_suffix(b"\r").unwrap_or(buffer), searched) {
            return Err(Refused::Bad("Lines must end with CR LF"));
        }
        return if buffer.len() > MAX_HEAD_BYTES {
            Err(Refused::TooLarge)
        } else {
            Ok(None)
        };
    };
    if end > MAX_HEAD_BYTES {
        return Err(Refused::TooLarge);
    }
    if !has_whole_lines(&buffer[..end], searched) {
        return Err(Refused::Bad("Lines must end with CR LF"));
    }
    let head = buffer.split_to(end).freeze();
    request(&head).map(Some)
}

fn request(head: &Bytes) -> Result<Request, Refused> {
    let mut space = [httparse::EMPTY_HEADER; MAX_REQUEST_HEADERS];
    let mut parsed = httparse::Request::new(&mut space);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLarge),
        _ => return Err(Refused::Bad("This is not an HTTP request")),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refused::Bad("This is not an HTTP request"));
    };
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Refused::Bad("This is not an HTTP request"))?;
    let fields = Fields::new(head.clone(), places(head, parsed.headers));
    let is_current = version == 1;
    addressed(&fields, target.as_bytes(), &method, is_current)?;
    Ok(Request {
        method,
        target: head.slice_ref(target.as_bytes()),
        is_current,
        framing: framing(&fields, is_current)?,
        keeps: keeps(&fields, is_current),
        // HTTP/1.0 does not define `Expect`.
        expects: is_current && fields.has("expect"),
        fields,
    })
}

/// Headers that must not repeat, because some readers take the first and some the last. The second text is
/// the refusal's message.
const SINGLE_HEADERS: [(&str, &str); 3] = [
    (
        "authorization",
        "The Authorization header is there more than once",
    ),
    ("x-api-key", "The x-api-key header is there more than once"),
    (
        "content-type",
        "The Content-Type header is there more than once",
    ),
];

/// Checks that the request names its host once and has a target of this host. Refuses a repeated header of
/// `SINGLE_HEADERS`, and any `Expect` but `100-continue`.
fn addressed(
    fields: &Fields,
    target: &[u8],
    method: &Method,
    is_current: bool,
) -> Result<(), Refused> {
    let mut hosts = fields.all("host");
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if is_current => return Err(Refused::Bad("The Host header is missing")),
        (_, Some(_)) => {
            return Err(Refused::Bad("The Host header is there more than once"));
        }
        (host, None) => host,
    };
    if !host.is_none_or(is_host) {
        return Err(Refused::Bad("The Host header is no host"));
    }
    if !is_target(target, method, host) {
        return Err(Refused::Bad("The request's target is not a path here"));
    }
    for (name, why) in SINGLE_HEADERS {
        if fields.all(name).nth(1).is_some() {
            return Err(Refused::Bad(why));
        }
    }
    let mut expectations = fields.all("expect");
    if expectations.any(|expected| !expected.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refused::UnknownExpectation);
    }
    Ok(())
}

/// Whether bytes may be the value of a `Host` header: no path, no user, no list. It may be empty.
fn is_host(host: &[u8]) -> bool {
    host.iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte))
}

/// Whether a target is a path, an absolute URL of the same `host`, or `*` for `OPTIONS`.
fn is_target(target: &[u8], method: &Method, host: Option<&[u8]>) -> bool {
    if target.contains(&b'#') {
        return false;
    }
    match after_scheme(target) {
        Some(rest) => {
            let named = rest.split(|byte| b"/?".contains(byte)).next();
            let named = named.unwrap_or_default();
            is_host(named) && host.is_none_or(|host| host.eq_ignore_ascii_case(named))
        }
        None => target.starts_with(b"/") || (target == b"*" && method == Method::OPTIONS),
    }
}

/// Returns the part of an absolute-form target behind `http://` or `https://`.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"]
        .iter()
        .find_map(|scheme| target.strip_prefix(*scheme))
}

/// Returns the ranges of each header's name and value in `head`.
fn places(head: &[u8], lines: &[httparse::Header<'_>]) -> Vec<(Range<u32>, Range<u32>)> {
    let base = head.as_ptr() as usize;
    // A head is at most `MAX_HEAD_BYTES` bytes, so every offset fits in `u32`.
    let place = |part: &[u8]| {
        let start = (part.as_ptr() as usize - base) as u32;
        start..start + part.len() as u32
    };
    let places = |line: &httparse::Header<'_>| (place(line.name.as_bytes()), place(line.value));
    lines.iter().map(places).collect()
}

/// Whether the connection is kept alive: as the `Connection` header says, else as the version does.
fn keeps(fields: &Fields, is_current: bool) -> bool {
    let mut said = is_current;
    for word in fields.words("connection") {
        if word.eq_ignore_ascii_case(b"close") {
            return false;
        }
        said |= word.eq_ignore_ascii_case(b"keep-alive");
    }
    said
}

/// Returns the framing of a request's body. `Content-Length` beside `Transfer-Encoding` is refused.
fn framing(fields: &Fields, is_current: bool) -> Result<Framing, Refused> {
    let mut codings = fields.all("transfer-encoding");
    let mut lengths = fields.all("content-length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => Err(Refused::Bad("A body has a length or is chunked, not both")),
        (None, Some(length)) => {
            if lengths.next().is_some() {
                return Err(Refused::Bad("Content-Length is there more than once"));
            }
            length_of(length)
                .map(Framing::Length)
                .ok_or(Refused::Bad("Content-Length is not a number"))
        }
        (Some(coding), None) => {
            if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(Refused::UnknownCoding);
            }
            if !is_current {
                return Err(Refused::Bad("HTTP/1.0 has no chunks"));
            }
            Ok(Framing::Chunked)
        }
    }
}

/// Parses a `Content-Length`: at most 18 digits and nothing else, no sign, no space, no list.
fn length_of(text: &[u8]) -> Option<u64> {
    let fits = !text.is_empty() && text.len() <= 18 && text.iter().all(u8::is_ascii_digit);
    fits.then(|| {
        text.iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    })
}

/// Parsed head of a provider's response.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub framing: Framing,
    /// Whether another request may follow on the connection.
    pub keeps: bool,
    pub fields: Fields,
}

/// Takes a response's head from `buffer`. `None`: it is incomplete. The error is a phrase about the provider,
/// such as "did not answer in HTTP".
pub fn take_response(
    buffer: &mut BytesMut,
    searched: usize,
) -> Result<Option<Response>, &'static str> {
    // Empty lines before a response are skipped too; behind its first line, an empty line ends the head.
    while let Some(b'\r' | b'\n') = buffer.first() {
        match end_of_line(buffer, 0) {
            Some(after) => buffer.advance(after),
            None if buffer.len() < 2 => return Ok(None),
            None => return Err("did not answer in HTTP"),
        }
    }
    match end_of_answer(buffer, searched) {
        Some(end) if end <= MAX_HEAD_BYTES => response(buffer, end).map(Some),
        None if buffer.len() <= MAX_HEAD_BYTES => Ok(None),
        _ => Err("answered with too large a head"),
    }
}

/// Returns the offset behind the empty line that ends a response's head. Some servers end every line with LF
/// alone, and some only a few lines.
fn end_of_answer(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3).min(bytes.len());
    let mut lines = memchr::memchr_iter(b'\n', &bytes[from..]);
    lines.find_map(|at| end_of_line(bytes, from + at + 1))
}

/// Returns the offset behind the line end that stands at `at`.
fn end_of_line(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at..)? {
        [b'\n', ..] => Some(at + 1),
        [b'\r', b'\n', ..] => Some(at + 2),
        _ => None,
    }
}

fn response(buffer: &mut BytesMut, end: usize) -> Result<Response, &'static str> {
    let mut space = [httparse::EMPTY_HEADER; MAX_RESPONSE_HEADERS];
    let mut parsed = httparse::Response::new(&mut space);
    let Ok(httparse::Status::Complete(length)) = parsed.parse(&buffer[..end]) else {
        return Err("did not answer in HTTP");
    };
    let lines = places(buffer, parsed.headers);
    let is_current = parsed.version == Some(1);
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or("did not answer in HTTP")?;
    let mut response = Response {
        status,
        framing: Framing::UntilClose,
        keeps: is_current,
        fields: Fields::new(buffer.split_to(length).freeze(), lines),
    };
    let mut said = response.fields.words("connection");
    let closes = said.any(|word| word.eq_ignore_ascii_case(b"close"));
    drop(said);
    response.keeps &= !closes;
    response.framing = response_framing(&response)?;
    response.keeps &= response.framing != Framing::UntilClose;
    Ok(response)
}

fn response_framing(response: &Response) -> Result<Framing, &'static str> {
    let status = response.status;
    if status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        return Ok(Framing::Length(0));
    }
    let mut codings = response.fields.words("transfer-encoding").peekable();
    if codings.peek().is_some() {
        // Metering needs uncompressed bytes, so every transfer coding but `chunked` and `identity` is
        // refused.
        let mut is_chunked = false;
        for coding in codings {
            match coding {
                b"" => {}
                _ if coding.eq_ignore_ascii_case(b"identity") => {}
                _ if coding.eq_ignore_ascii_case(b"chunked") && !is_chunked => is_chunked = true,
                _ => return Err("answered in a transfer coding that nobody asked for"),
            }
        }
        return Ok(if is_chunked {
            Framing::Chunked
        } else {
            Framing::UntilClose
        });
    }
    let mut length = None;
    for value in response.fields.all("content-length") {
        let value = length_of(value).ok_or("answered with a length that is none")?;
        if length.is_some_and(|length| length != value) {
            return Err("answered with two lengths");
        }
        length = Some(value);
    }
    Ok(length.map_or(Framing::UntilClose, Framing::Length))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
