//! Malformed HTTP/2 frames and floods of valid ones: memory stays bounded and other clients are served.

use crate::harness::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RESET, Raw,
    SETTINGS, WINDOW_UPDATE, call_headers, frame, headers, literal,
};
use crate::harness::{
    Gateway, Http2, Provider, Script, Setup, Step, balance, eventually, mint, sample,
};
use serde_json::json;
use std::time::{Duration, Instant};

const HEALTH: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/healthz"),
    (":authority", "a"),
];

fn start() -> (Provider, Gateway) {
    start_with("")
}

fn start_with(yaml: &str) -> (Provider, Gateway) {
    let provider =
        Provider::start(|_| Script::chat_stream(&["one", "two"], 9, 2).after(2, Step::Stall));
    let config = sample(&provider)
        .server("openai", "openai")
        .tokens(10_000_000);
    let gateway = Gateway::start(Setup::new().tenant("abc", config).yaml(yaml));
    (provider, gateway)
}

/// Asserts that another client is served and that memory has grown by little.
#[track_caller]
fn is_well(gateway: &Gateway, before_kib: u64) {
    assert_eq!(gateway.client().get("/healthz").status, 200);
    assert_eq!(Http2::plain(gateway.addr()).get("/healthz").status, 200);
    let now = gateway.memory_kib();
    assert!(
        now < before_kib + (96 << 10),
        "{before_kib} KiB before, {now} KiB now"
    );
}

#[test]
fn protocol_errors_end_the_stream_or_the_connection() {
    let (_provider, gateway) = start();
    let before = gateway.memory_kib();
    let health = headers(HEALTH);
    let open = END_STREAM | END_HEADERS;
    let with = |extra: &[(&str, &str)]| [health.clone(), headers(extra)].concat();
    let alone = |flags: u8, block: &[u8]| frame(HEADERS, flags, 1, block);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a stream of the server's", frame(HEADERS, open, 2, &health)),
        (
            "a stream that goes back",
            [
                frame(HEADERS, open, 5, &health),
                frame(HEADERS, open, 3, &health),
            ]
            .concat(),
        ),
        ("headers of no stream", frame(HEADERS, open, 0, &health)),
        ("data of no stream", frame(DATA, 0, 0, b"x")),
        ("data of a stream that is not open", frame(DATA, 0, 1, b"x")),
        ("a reset of no stream", frame(RESET, 0, 0, &[0; 4])),
        (
            "a reset of a stream that is not open",
            frame(RESET, 0, 9, &[0; 4]),
        ),
        ("a reset of the wrong length", frame(RESET, 0, 1, &[0; 3])),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[])),
        (
            "settings of the wrong length",
            frame(SETTINGS, 0, 0, &[0; 5]),
        ),
        (
            "an acknowledgement with settings",
            frame(SETTINGS, 1, 0, &[0; 6]),
        ),
        (
            "a window beyond its bound",
            frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        ),
        (
            "a frame size below its bound",
            frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        ),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8])),
        ("a ping of the wrong length", frame(PING, 0, 0, &[0; 7])),
        (
            "a window that grows by nothing",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        ),
        (
            "a window that grows beyond its bound",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        (
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &health),
        ),
        (
            "another frame between headers",
            [alone(END_STREAM, &health), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        (
            "a promise of the client's",
            frame(5, END_HEADERS, 1, &[0, 0, 0, 2]),
        ),
        (
            "a frame that is too long",
            frame(DATA, 0, 1, &vec![0; 1 << 20]),
        ),
        (
            "padding longer than its frame",
            frame(HEADERS, open | 8, 1, &[200, 0x82]),
        ),
        (
            "compression that cannot be undone",
            alone(open, &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ),
        ("an index of no table", alone(open, &[0xbf])),
        (
            "a table larger than allowed",
            alone(open, &[0x3f, 0xff, 0xff, 0x7f]),
        ),
        ("a name in upper case", alone(open, &with(&[("X-Up", "a")]))),
        (
            "a header of the connection",
            alone(open, &with(&[("connection", "close")])),
        ),
        (
            "a transfer coding",
            alone(open, &with(&[("transfer-encoding", "chunked")])),
        ),
        (
            "te other than trailers",
            alone(open, &with(&[("te", "gzip")])),
        ),
        (
            "a pseudo header that is unknown",
            alone(open, &with(&[(":odd", "a")])),
        ),
        (
            "a pseudo header of answers",
            alone(open, &with(&[(":status", "200")])),
        ),
        (
            "a pseudo header behind others",
            alone(
                open,
                &headers(&[
                    ("a", "b"),
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":path", "/healthz"),
                    (":authority", "a"),
                ]),
            ),
        ),
        ("two paths", alone(open, &with(&[(":path", "/")]))),
        (
            "no path",
            alone(
                open,
                &headers(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]),
            ),
        ),
        (
            "an empty path",
            alone(
                open,
                &headers(&[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":path", ""),
                    (":authority", "a"),
                ]),
            ),
        ),
        (
            "a line feed in a path",
            alone(
                open,
                &headers(&[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":path", "/a\nb: c"),
                    (":authority", "a"),
                ]),
            ),
        ),
        (
            "a line feed in a header",
            alone(open, &with(&[("x", "a\r\nb: c")])),
        ),
        (
            "a host that is another",
            alone(open, &with(&[("host", "b")])),
        ),
        (
            "two lengths",
            alone(
                END_HEADERS,
                &with(&[("content-length", "3"), ("content-length", "4")]),
            ),
        ),
        (
            "a body longer than its length",
            [
                alone(END_HEADERS, &with(&[("content-length", "3")])),
                frame(DATA, END_STREAM, 1, b"four"),
            ]
            .concat(),
        ),
        (
            "a body shorter than its length",
            [
                alone(END_HEADERS, &with(&[("content-length", "9")])),
                frame(DATA, END_STREAM, 1, b"four"),
            ]
            .concat(),
        ),
        (
            "no method",
            alone(
                open,
                &headers(&[
                    (":scheme", "http"),
                    (":path", "/healthz"),
                    (":authority", "a"),
                ]),
            ),
        ),
        (
            "an extended connect",
            alone(
                open,
                &headers(&[
                    (":method", "CONNECT"),
                    (":protocol", "websocket"),
                    (":scheme", "http"),
                    (":path", "/abc/v1/realtime"),
                    (":authority", "a"),
                ]),
            ),
        ),
    ];

    for (what, bytes) in &cases {
        let mut raw = Raw::open(&gateway);
        raw.write(bytes);
        let begun = Instant::now();
        let ended = |raw: &mut Raw| {
            !raw.take()
                || raw
                    .frames()
                    .iter()
                    .any(|(kind, _, stream, payload)| match *kind {
                        GOAWAY | RESET => true,
                        // First byte of the header block: a literal status (400) or one outside HPACK's
                        // static table, never 200.
                        HEADERS => *stream == 1 && payload.first() != Some(&0x88),
                        _ => false,
                    })
        };
        while !ended(&mut raw) {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{what}: {:?}",
                raw.frames()
            );
        }
    }
    is_well(&gateway, before);
}

#[test]
fn incomplete_preface_has_the_timeout_of_a_head() {
    let setup = Setup::new()
        .tenant("abc", json!({}))
        .yaml("server: {header_timeout: 1s}");
    let gateway = Gateway::start(setup);

    for half in [&PREFACE[..1], &PREFACE[..18], &PREFACE[..23]] {
        let mut raw = Raw::silent(&gateway);
        raw.write(half);
        assert!(raw.ends_within(Duration::from_secs(10)), "{half:?}");
        while raw.take() {}
        let said = String::from_utf8_lossy(&raw.read).into_owned();
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    }

    let mut raw = Raw::silent(&gateway);
    raw.write(b"PRI * HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(raw.ends_within(Duration::from_secs(10)));
    let said = String::from_utf8_lossy(&raw.read).into_owned();
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
}

#[test]
fn streams_opened_and_reset_end_their_connection() {
    let (_provider, gateway) = start();
    let before = gateway.memory_kib();
    let mut raw = Raw::open(&gateway);
    let block = headers(HEALTH);
    let begun = Instant::now();
    let mut stream = 1;
    while begun.elapsed() < Duration::from_secs(20) {
        let mut burst = Vec::new();
        for _ in 0..500 {
            burst.extend(frame(HEADERS, END_HEADERS, stream, &block));
            burst.extend(frame(RESET, 0, stream, &8u32.to_be_bytes()));
            stream += 2;
        }
        if !raw.write(&burst) {
            break;
        }
    }

    assert!(
        raw.ends_within(Duration::from_secs(10)),
        "after {} streams",
        stream / 2
    );
    is_well(&gateway, before);
}

/// Each call is authenticated, admitted and forwarded before its `RST_STREAM` arrives.
#[test]
fn calls_reset_one_after_another_end_their_connection() {
    let (_provider, gateway) = start_with("upstream: {drain: 1s}");
    let key = mint(&gateway, "abc");
    let mut raw = Raw::open(&gateway);
    let body = json!({"model": "gpt-4o", "max_tokens": 20, "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    let block = call_headers(&key);
    let mut stream = 1;

    let ended = (0..600).any(|_| {
        raw.write(&frame(HEADERS, END_HEADERS, stream, &block));
        raw.write(&frame(
            DATA,
            END_STREAM,
            stream,
            body.to_string().as_bytes(),
        ));
        let wanted = stream;
        let begun = Instant::now();
        while !raw.has(|(kind, _, of, _)| *kind == HEADERS && *of == wanted) {
            if raw.ends_within(Duration::from_millis(1))
                || begun.elapsed() > Duration::from_secs(10)
            {
                break;
            }
        }
        raw.write(&frame(RESET, 0, stream, &8u32.to_be_bytes()));
        stream += 2;
        raw.ends_within(Duration::from_millis(1))
    });
    assert!(ended, "after {} calls", stream / 2);

    gateway.signal("TERM");
    assert!(gateway.wait_exit(Duration::from_secs(15)).success());
    assert_eq!(gateway.count_logs("still in flight"), 0);
}

#[test]
fn endless_headers_are_not_buffered() {
    let (_provider, gateway) = start();
    let before = gateway.memory_kib();
    let mut raw = Raw::open(&gateway);
    raw.write(&frame(HEADERS, 0, 1, &headers(HEALTH)));
    let more: Vec<u8> = (0..60)
        .flat_map(|_| literal("x", &"y".repeat(120)))
        .collect();
    let begun = Instant::now();

    while raw.write(&frame(CONTINUATION, 0, 1, &more)) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it is still read"
        );
        if raw.frames().iter().any(|(kind, ..)| *kind == GOAWAY) {
            break;
        }
        raw.take();
    }
    is_well(&gateway, before);
}

#[test]
fn floods_of_allowed_frames_delay_no_other_connection() {
    let (_provider, gateway) = start();
    let before = gateway.memory_kib();
    let floods = [
        ("pings", frame(PING, 0, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())),
        ("unknown frames", frame(0xbb, 0, 0, &[0; 8])),
        ("priorities", frame(2, 0, 1, &[0, 0, 0, 0, 1])),
    ];

    for (what, flood) in floods {
        let mut raw = Raw::open(&gateway);
        let burst: Vec<u8> = flood
            .iter()
            .copied()
            .cycle()
            .take(flood.len() * 2_000)
            .collect();
        let begun = Instant::now();
        let mut slowest = Duration::ZERO;
        while begun.elapsed() < Duration::from_secs(2) && raw.write(&burst) {
            let asked = Instant::now();
            assert_eq!(gateway.client().get("/healthz").status, 200, "{what}");
            slowest = slowest.max(asked.elapsed());
            raw.take();
            raw.read.clear();
        }
        assert!(slowest < Duration::from_secs(5), "{what}: {slowest:?}");
    }
    // The client reads none of the responses.
    let mut raw = Raw::open(&gateway);
    raw.socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let pings: Vec<u8> = frame(PING, 0, 0, &[0; 8]).repeat(10_000);
    for _ in 0..200 {
        if !raw.write(&pings) {
            break;
        }
    }
    is_well(&gateway, before);
}

#[test]
fn client_without_a_window_ends_its_stream_and_pays() {
    let provider = Provider::start(|_| Script::chat_stream(&["one", "two"], 9, 2));
    let config = sample(&provider).tokens(1_000);
    let setup = Setup::new()
        .tenant("abc", config)
        .yaml("accounts: {hold_ttl: 5s}");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let mut raw = Raw::silent(&gateway);
    raw.write(&[PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat());
    let block = call_headers(&key);
    let body = json!({"model": "m", "max_tokens": 20, "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    raw.write(&frame(HEADERS, END_HEADERS, 1, &block));
    raw.write(&frame(DATA, END_STREAM, 1, body.to_string().as_bytes()));

    eventually(Duration::from_secs(30), "it is settled", || {
        (balance(&gateway, &key) == (989, 989)).then_some(())
    });
    eventually(Duration::from_secs(10), "its stream is reset", || {
        raw.has(|(kind, _, stream, _)| *kind == RESET && *stream == 1)
            .then_some(())
    });
}

/// An incomplete head, an incomplete frame and a bare preface each get the head timeout, whatever else is
/// open.
#[test]
fn incomplete_head_times_out_beside_an_open_stream() {
    let (_provider, gateway) = start_with("server: { header_timeout: 2s }");
    let key = mint(&gateway, "abc");
    let block = headers(HEALTH);
    let half = frame(HEADERS, 0, 3, &block[..20]);
    let begins = [
        ("nothing", Vec::new()),
        ("half a frame", half[..15].to_vec()),
        ("a block without its end", half.clone()),
        ("half a ping", frame(PING, 0, 0, &[0; 8])[..12].to_vec()),
    ];

    for (what, begin) in begins {
        let mut raw = Raw::open(&gateway);
        let body = json!({"model": "m", "max_tokens": 20, "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
        if !begin.is_empty() {
            raw.write(&frame(HEADERS, END_HEADERS, 1, &call_headers(&key)));
            raw.write(&frame(DATA, END_STREAM, 1, body.to_string().as_bytes()));
            eventually(Duration::from_secs(10), "a stream is under way", || {
                raw.has(|(kind, _, stream, _)| *kind == DATA && *stream == 1)
                    .then_some(())
            });
        }
        raw.write(&begin);
        assert!(raw.ends_within(Duration::from_secs(10)), "{what}");
    }
}

/// Frames without a request are read in turns with other work; too many of them close the connection.
#[test]
fn flood_of_frames_without_requests_ends_its_connection() {
    let (_provider, gateway) = start();
    for (what, idle) in [
        ("priorities", frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())),
        ("unknown frames", frame(0xbb, 0, 0, &[0; 8])),
    ] {
        let mut raw = Raw::open(&gateway);
        let burst = idle.repeat(1_000);
        let begun = Instant::now();
        while raw.write(&burst) && begun.elapsed() < Duration::from_secs(20) {
            if raw.socket.take_error().is_ok() && raw.has(|(kind, ..)| *kind == GOAWAY) {
                break;
            }
        }
        assert!(raw.ends_within(Duration::from_secs(5)), "{what}");
    }
}

/// A body of one-byte `DATA` frames delays only its own stream.
#[test]
fn body_in_tiny_frames_is_served_beside_others() {
    let provider = Provider::start(|_| Script::chat("one", 9, 1));
    let config = sample(&provider).tokens(1_000_000);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let text = "word ".repeat(500);
    let body =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]});
    let mut raw = Raw::open(&gateway);
    for stream in [1, 3] {
        let mut whole = frame(HEADERS, END_HEADERS, stream, &call_headers(&key));
        for byte in body.to_string().as_bytes() {
            whole.extend(frame(DATA, 0, stream, &[*byte]));
        }
        whole.extend(frame(DATA, END_STREAM, stream, &[]));
        raw.write(&whole);
    }
    for answered in [1, 3] {
        eventually(Duration::from_secs(10), "both are answered", || {
            raw.has(|(kind, flags, stream, _)| {
                *kind == DATA && *stream == answered && flags & END_STREAM != 0
            })
            .then_some(())
        });
    }

    assert_eq!(provider.requests().len(), 2);
}
