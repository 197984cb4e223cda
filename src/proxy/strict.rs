//! Lets through only requests that mean one thing to everyone who reads them.

use super::error::GatewayError;
use http::{HeaderMap, Method, Version, header};
use pingora::protocols::http::ServerSession;

/// Beyond any SDK's headers, cookies included.
const LONGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 100;

/// Method and raw path.
pub fn target(session: &ServerSession) -> Result<(Method, String), GatewayError> {
    let request = session.req_header();
    let bad = |text: &str| Err(GatewayError::BadRequest(text.to_owned()));
    // The library keeps one of two framings and forgets the other, so the bytes themselves are asked.
    if let Some(session) = session.as_http1() {
        let raw = session.get_headers_raw_bytes();
        if raw.len() > LONGEST_HEAD || request.headers.len() > MOST_HEADERS {
            return Err(GatewayError::HeadTooLarge);
        }
        if has_header(&raw, b"content-length") && has_header(&raw, b"transfer-encoding") {
            return bad("A body has a length or is chunked, not both");
        }
        if request.version == Version::HTTP_11 && !request.headers.contains_key(header::HOST) {
            return bad("The Host header is missing");
        }
    }
    if !is_only_chunked(&request.headers) {
        return Err(GatewayError::UnknownCoding);
    }
    if request.method == Method::TRACE || request.method == Method::CONNECT {
        return Err(GatewayError::OtherMethods(
            "GET, HEAD, POST, PUT, PATCH, DELETE".to_owned(),
        ));
    }
    let raw = request.raw_path();
    let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    let path = std::str::from_utf8(path).map_err(|_| GatewayError::InvalidTenant)?;
    // The absolute form names a host first, which means nothing here.
    let path = match path
        .strip_prefix("http://")
        .or_else(|| path.strip_prefix("https://"))
    {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => path,
    };
    Ok((request.method.clone(), path.to_owned()))
}

fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    codings.all(|coding| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    })
}

fn has_header(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|byte| *byte == b'\n').any(|line| {
        line.iter()
            .position(|byte| *byte == b':')
            .is_some_and(|colon| line[..colon].trim_ascii().eq_ignore_ascii_case(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_seen_however_it_is_written() {
        let raw = b"POST / HTTP/1.1\r\nHost: x\r\ncontent-LENGTH : 5\r\nx: Transfer-Encoding: chunked\r\n\r\n";
        assert!(has_header(raw, b"content-length"));
        assert!(!has_header(raw, b"transfer-encoding"));
    }
}
