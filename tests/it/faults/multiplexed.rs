//! Slow or greedy HTTP/2 clients beside others on the same and on other connections.

use super::{case, many};
use crate::harness::frames::{DATA, END_HEADERS, HEADERS, Raw, call_headers, frame};
use crate::harness::{
    CHAT_PATH, Doors, Gateway, Http2, Provider, Script, Setup, balance, eventually, mint, sample,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn doors(server: Value) -> (Provider, Doors, String) {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider)
        .tokens(100_000_000)
        .rate_limit(1_000_000, 60);
    let doors = Doors::start(Setup::new().tenant("abc", config), server);
    let key = mint(&doors.gateway, "abc");
    (provider, doors, key)
}

fn clients(doors: &Doors) -> [(&'static str, Http2); 2] {
    [
        ("plain", Http2::plain(doors.gateway.addr())),
        ("over TLS", Http2::tls(doors.tls, "localhost", &doors.ca)),
    ]
}

fn small() -> Value {
    json!({"messages": [], "max_tokens": 10})
}

#[test]
fn slow_body_of_a_stream_times_out_and_delays_no_other() {
    let (provider, doors, key) = doors(json!({}));
    std::thread::scope(|scope| {
        for (way, client) in clients(&doors) {
            let key = &key;
            scope.spawn(move || {
                case(
                    &format!("slow: a body of a byte now and then on HTTP/2, {way}"),
                    || {
                        let mut slow = client.half(CHAT_PATH, key, &[], b"{".to_vec());
                        assert_eq!(client.post(CHAT_PATH, key, &small()).status, 200);
                        let begun = Instant::now();
                        let status = slow.dribble(b" ", Duration::from_millis(250)).unwrap();
                        assert_eq!(status, 408);
                        assert_eq!(client.post(CHAT_PATH, key, &small()).status, 200);
                        format!("refused after {:?}", begun.elapsed())
                    },
                );
            });
        }
    });
    assert_eq!(provider.requests().len(), 4);
}

#[test]
fn body_memory_is_bounded_over_all_streams() {
    let (_provider, doors, key) = doors(json!({"max_buffered": "16MiB"}));
    for (way, client) in clients(&doors) {
        case(
            &format!("greedy: half bodies of 8 MiB on one connection of HTTP/2, {way}"),
            || {
                let before = doors.gateway.memory_kib();
                let length = [("content-length", "8388608")];
                let mut greedy: Vec<_> = (0..12)
                    .map(|_| client.half(CHAT_PATH, &key, &length, vec![b' '; 4 << 20]))
                    .collect();
                let mut refused = 0;
                eventually(Duration::from_secs(20), "there is no room", || {
                    greedy.retain_mut(|begun| {
                        let status = begun.status_now();
                        refused += usize::from(status == Some(503));
                        status.is_none()
                    });
                    (greedy.len() <= 4).then_some(())
                });
                let grown = doors.gateway.memory_kib().saturating_sub(before) >> 10;
                assert!(grown < 64, "{grown} MiB");
                assert!(refused >= 8, "{refused}");
                assert_eq!(client.post(CHAT_PATH, &key, &small()).status, 200);
                drop(greedy);
                eventually(Duration::from_secs(8), "there is room again", || {
                    let call = format!("{{\"messages\":[]}}{}", " ".repeat(8 << 20));
                    let bearer = format!("Bearer {key}");
                    let headers = [("authorization", bearer.as_str())];
                    let answer = client.send("POST", CHAT_PATH, &headers, Some(call.into()));
                    (answer.status == 200).then_some(())
                });
                format!("{refused} refused, {grown} MiB more")
            },
        );
    }
}

#[test]
fn ten_thousand_streams_use_bounded_memory() {
    const CONNECTIONS: u32 = 100;
    const STREAMS: u32 = 100;
    let most = json!({"max_connections": 20_000, "max_connections_per_address": 20_000});
    let (provider, doors, key) = doors(most);
    let gateway = &doors.gateway;
    case("slow: 10,000 streams of HTTP/2 with half a body", || {
        serve(gateway, &key);
        let before = gateway.memory_kib();
        let block = call_headers(&key);
        let mut open = Vec::new();

        for _ in 0..CONNECTIONS {
            let mut raw = Raw::open(gateway);
            for number in 0..STREAMS {
                let stream = 2 * number + 1;
                let mut both = frame(HEADERS, END_HEADERS, stream, &block);
                both.extend(frame(DATA, 0, stream, &[b' '; 100]));
                assert!(raw.write(&both));
            }
            open.push(raw);
        }

        let begun = Instant::now();
        serve(gateway, &key);
        let took = begun.elapsed();
        let grown = gateway.memory_kib().saturating_sub(before);
        let each = grown / u64::from(CONNECTIONS * STREAMS);
        assert!(each < 64, "{each} KiB each");
        // Each stream gets a timeout response.
        let wait = Duration::from_secs(many(40, 60));
        for raw in &mut open {
            eventually(wait, "each stream is answered", || {
                raw.has(|(kind, _, stream, _)| *kind == HEADERS && *stream == 2 * STREAMS - 1)
                    .then_some(())
            });
        }
        serve(gateway, &key);
        drop(open);
        format!("{each} KiB each, three others were served within {took:?}")
    });

    assert_eq!(provider.requests().len(), 9);
    assert_eq!(balance(gateway, &key).0, 100_000_000 - 2 * 9);
}

/// Makes three unrelated calls, on each protocol.
#[track_caller]
fn serve(gateway: &Gateway, key: &str) {
    let fresh = Http2::plain(gateway.addr());
    assert_eq!(fresh.post(CHAT_PATH, key, &small()).status, 200);
    assert_eq!(fresh.post(CHAT_PATH, key, &small()).status, 200);
    let client = gateway.client();
    let answer = client
        .request("POST", CHAT_PATH)
        .bearer(key)
        .json(&small())
        .send();
    assert_eq!(answer.status, 200);
}
