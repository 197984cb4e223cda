//! Tests of [`take_request`] and [`take_response`]: accepted heads, and requests refused as ambiguous.

use super::*;
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<Option<Request>, Refused> {
    take_request(&mut BytesMut::from(bytes), 0)
}

fn is_bad(bytes: &[u8]) -> bool {
    matches!(read(bytes), Err(Refused::Bad(_)))
}

#[test]
fn a_request_is_read_and_what_follows_it_stays() {
    let mut buffer = BytesMut::from(
        &b"\r\nPOST /abc/v1/x?beta=true HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: foo, Close\r\n\r\nhello"[..],
    );
    let request = take_request(&mut buffer, 0).unwrap().unwrap();
    assert_eq!(request.method, Method::POST);
    assert_eq!(
        (request.path(), request.query()),
        (&b"/abc/v1/x"[..], Some("beta=true"))
    );
    assert_eq!(request.framing, Framing::Length(5));
    assert!(request.is_current && !request.keeps && !request.expects);
    assert_eq!(&buffer[..], b"hello");
}

#[test]
fn the_absolute_form_means_its_path() {
    for (target, path) in [
        ("http://x/a/b?c", &b"/a/b"[..]),
        ("https://x", b"/"),
        ("http://x?x", b"/"),
        ("/http://x", b"/http://x"),
        ("*", b"*"),
    ] {
        let text = format!("OPTIONS {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(
            read(text.as_bytes()).unwrap().unwrap().path(),
            path,
            "{target}"
        );
    }
}

#[test]
fn a_request_with_two_meanings_is_refused() {
    for lines in [
        "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "Host: x\r\nContent-Length: 5\r\nContent-Length: 5",
        "Host: x\r\nContent-Length: 5, 5",
        "Host: x\r\nContent-Length: +5",
        "Host: x\r\nContent-Length: ",
        "Host: x\r\nContent-Length: 0x5",
        "Host: x\r\nContent-Length: 99999999999999999999",
        "Host: x\r\nContent-Length : 5",
        "Host: x\r\n folded: 5",
        "Host: x\r\nHost: y",
        "Host: x\nContent-Length: 5",
        "Host: x\r\nx: a\rb",
        "Host: x\r\nx: a\0b",
        "",
    ] {
        let text = format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n");
        assert!(is_bad(text.as_bytes()), "{lines:?}");
    }
    for coding in [
        "gzip, chunked",
        "xchunked",
        "chunked, chunked",
        "identity",
        "chunked\r\nTransfer-Encoding: chunked",
        "",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert_eq!(
            read(text.as_bytes()).unwrap_err(),
            Refused::UnknownCoding,
            "{coding:?}"
        );
    }
    assert!(is_bad(
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET /\tHTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / HTTP/1.1 ",
    ] {
        assert!(
            is_bad(format!("{line}\r\nHost: x\r\n\r\n").as_bytes()),
            "{line:?}"
        );
    }
    assert!(
        is_bad(b"GET / HTTP/1.1\nHost: x\n\n"),
        "a bare line feed ends nothing"
    );
}

#[test]
fn a_request_says_plainly_whom_it_is_for() {
    let asked = |target: &str, host: &str| {
        let text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        read(text.as_bytes()).map(|request| request.unwrap().path().to_owned())
    };
    for (target, host, path) in [
        ("/a?b", "x", "/a"),
        ("/", "", "/"),
        ("/", "[::1]:80", "/"),
        ("http://X/a?b", "x", "/a"),
        ("https://x:1", "x:1", "/"),
    ] {
        assert_eq!(asked(target, host).unwrap(), path.as_bytes(), "{target}");
    }
    for (target, host) in [
        ("/", "a b"),
        ("/", "a, b"),
        ("/", "a/b"),
        ("/", "a@b"),
        ("a", "x"),
        ("*", "x"),
        ("/a#b", "x"),
        ("http://y/a", "x"),
        ("http://a@x/a", "x"),
        ("ftp://x/a", "x"),
        ("x:443", "x"),
    ] {
        assert!(
            matches!(asked(target, host), Err(Refused::Bad(_))),
            "{target} {host}"
        );
    }
    let miracle = b"GET / HTTP/1.1\r\nHost: x\r\nExpect: a miracle\r\n\r\n";
    assert_eq!(read(miracle).unwrap_err(), Refused::UnknownExpectation);
}

#[test]
fn ambiguous_headers_may_stand_only_once() {
    for name in ["Authorization", "x-api-key", "content-type"] {
        let once = format!("GET / HTTP/1.1\r\nHost: x\r\n{name}: a\r\n");
        assert!(read(format!("{once}\r\n").as_bytes()).is_ok(), "{name}");
        assert!(
            is_bad(format!("{once}{name}: a\r\n\r\n").as_bytes()),
            "{name}"
        );
    }
}

#[test]
fn an_old_client_does_not_wait_to_be_told() {
    let expects = |version: &str| {
        let text = format!("GET / HTTP/{version}\r\nHost: x\r\nExpect: 100-continue\r\n\r\n");
        read(text.as_bytes()).unwrap().unwrap().expects
    };
    assert!(expects("1.1") && !expects("1.0"));
}

#[test]
fn oversized_head_is_refused_before_it_is_complete() {
    let mut long = b"GET / HTTP/1.1\r\nHost: x\r\nx: ".to_vec();
    long.resize(MAX_HEAD_BYTES + 1, b'a');
    assert_eq!(read(&long).unwrap_err(), Refused::TooLarge);
    let many = "x: y\r\n".repeat(MAX_REQUEST_HEADERS);
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    assert_eq!(read(many.as_bytes()).unwrap_err(), Refused::TooLarge);
}

#[test]
fn an_older_client_needs_no_host_and_is_kept_only_if_it_asks() {
    let request = |text: &[u8]| read(text).unwrap().unwrap();
    assert!(!request(b"GET / HTTP/1.0\r\n\r\n").keeps);
    assert!(request(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keeps);
    assert!(request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").keeps);
}

#[test]
fn an_answer_is_framed_as_it_says() {
    for (lines, framing, keeps) in [
        ("content-length: 5", Framing::Length(5), true),
        (
            "Content-Length: 5\r\ncontent-length: 5",
            Framing::Length(5),
            true,
        ),
        (
            "transfer-encoding: identity, Chunked",
            Framing::Chunked,
            true,
        ),
        ("transfer-encoding: identity", Framing::UntilClose, false),
        (
            "transfer-encoding: chunked\r\ncontent-length: 7",
            Framing::Chunked,
            true,
        ),
        ("x: y", Framing::UntilClose, false),
        (
            "content-length: 0\r\nconnection: x, close",
            Framing::Length(0),
            false,
        ),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nrest");
        let mut buffer = BytesMut::from(text.as_bytes());
        let response = take_response(&mut buffer, 0).unwrap().unwrap();
        assert_eq!(
            (response.framing, response.keeps),
            (framing, keeps),
            "{lines}"
        );
        assert_eq!(&buffer[..], b"rest");
    }
    for wrong in [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: deflate",
        "content-length: x",
        "content-length: 5\r\ncontent-length: 6",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{wrong}\r\n\r\n");
        assert!(take_response(&mut BytesMut::from(text.as_bytes()), 0).is_err());
    }
    let mut lenient = BytesMut::from(&b"HTTP/1.0 204 x\nA: b\n\nmore"[..]);
    let response = take_response(&mut lenient, 0).unwrap().unwrap();
    assert_eq!(
        (response.framing, response.fields.get("a")),
        (Framing::Length(0), Some("b"))
    );
}

#[test]
fn response_head_ends_at_its_first_empty_line() {
    for text in [
        "HTTP/1.1 200 OK\r\nA: b\n\r\nrest",
        "HTTP/1.1 200 OK\nA: b\r\n\nrest",
        "\r\n\nHTTP/1.1 200 OK\nA: b\n\nrest",
    ] {
        let mut buffer = BytesMut::new();
        let (mut searched, mut found) = (0, None);
        for byte in text.bytes() {
            buffer.extend_from_slice(&[byte]);
            if found.is_none() {
                found = take_response(&mut buffer, searched).unwrap();
                searched = buffer.len();
            }
        }
        assert_eq!(found.unwrap().fields.get("a"), Some("b"), "{text:?}");
        assert_eq!(&buffer[..], b"rest");
    }
}

proptest! {
    #[test]
    fn a_head_is_the_same_however_it_arrives(cuts in proptest::collection::vec(1usize..20, 1..40)) {
        let whole = b"POST /abc/v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Length: 2\r\n\r\n{}";
        let mut buffer = BytesMut::new();
        let (mut rest, mut searched) = (&whole[..], 0);
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            buffer.extend_from_slice(piece);
            rest = after;
            if let Some(request) = take_request(&mut buffer, searched).unwrap() {
                prop_assert_eq!(request.path(), b"/abc/v1/chat/completions");
                prop_assert_eq!(request.fields.iter().count(), 3);
                return Ok(());
            }
            searched = buffer.len();
            prop_assert!(!rest.is_empty());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = take_response(&mut BytesMut::from(&bytes[..]), 0);
    }

    #[test]
    fn request_like_text_never_panics(text in "(GET|POST) /[a-z?]{0,8} HTTP/1.[01]\r\n([A-Za-z-]{1,8}: ?[ -~]{0,12}\r\n){0,6}\r\n") {
        let _ = read(text.as_bytes());
    }
}
