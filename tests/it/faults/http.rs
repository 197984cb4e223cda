//! Requests that are malformed, slow or oversized.

use super::{case, many};
use crate::harness::{
    CHAT_PATH, Doors, Gateway, Origin, Provider, Redis, Script, Setup, Step, balance, chat,
    eventually, mint, raw_for, sample, sample_at,
};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn slow_head_ends_at_its_deadline() {
    let deadline = json!({"header_timeout": many("2s", "10s")});
    let doors = Doors::start(Setup::new(), deadline);
    case("slow: a head of one byte every half second", || {
        let ways = doors.all();
        let connections: Vec<_> = (0..many(8, 500))
            .map(|number| {
                let mut socket = TcpStream::connect(ways[number % ways.len()].1).unwrap();
                let begun = b"GET / HTTP/1.1\r\nHost: x\r\nx: ";
                socket.write_all(begun).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket
            })
            .collect();
        let begun = Instant::now();
        let mut answers = vec![Vec::new(); connections.len()];
        let mut open: Vec<usize> = (0..connections.len()).collect();

        while !open.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(25), "still open");
            std::thread::sleep(Duration::from_millis(500));
            open.retain(|number| {
                let mut socket = &connections[*number];
                let _ = socket.write_all(b"y");
                let mut room = [0; 512];
                match socket.read(&mut room) {
                    Ok(0) => false,
                    Ok(length) => {
                        answers[*number].extend_from_slice(&room[..length]);
                        true
                    }
                    Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                }
            });
        }
        for answer in &answers {
            assert!(answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
        }
        format!("{} closed within {:?}", answers.len(), begun.elapsed())
    });
}

/// One file of `malformed/`: the expected answer, and the bytes to send.
struct Malformed {
    name: String,
    /// Allowed values for each response: `400|501`, or `200(m-1)` with the marker of its request.
    answers: Vec<String>,
    bytes: Vec<u8>,
}

fn malformed(key: &str) -> Vec<Malformed> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/faults/malformed");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let file = std::fs::read(&path).unwrap();
        let line = file.iter().position(|byte| *byte == b'\n').unwrap();
        let first = std::str::from_utf8(&file[..line]).unwrap();
        let answers = first.trim_start_matches('#').split_whitespace();
        Malformed {
            answers: answers.map(str::to_owned).collect(),
            bytes: with_key(&file[line + 1..], key),
            name,
        }
    };
    std::fs::read_dir(dir).unwrap().map(read).collect()
}

fn with_key(mut bytes: &[u8], key: &str) -> Vec<u8> {
    const PLACE: &[u8] = b"{KEY}";
    let mut whole = Vec::new();
    while !bytes.is_empty() {
        if let Some(rest) = bytes.strip_prefix(PLACE) {
            whole.extend_from_slice(key.as_bytes());
            bytes = rest;
        } else {
            whole.push(bytes[0]);
            bytes = &bytes[1..];
        }
    }
    whole
}

/// Responses on a connection as status and marker; HTTP/2 frames count as one `frames`.
fn answers(mut bytes: &[u8]) -> Vec<String> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        // An HTTP/2 server sends `SETTINGS` first.
        if bytes.first() == Some(&0) && bytes.get(3) == Some(&4) {
            answers.push("frames".to_owned());
            return answers;
        }
        let text = String::from_utf8_lossy(bytes);
        let (head, _) = text.split_once("\r\n\r\n").expect("a whole head");
        assert!(head.starts_with("HTTP/1.1 "), "{text}");
        let status = head[9..12].to_owned();
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        let end = head.len() + 4 + length;
        let body = String::from_utf8_lossy(&bytes[head.len() + 4..end]).into_owned();
        bytes = &bytes[end..];
        let marker = body.split("\"content\":\"").nth(1);
        let marker = marker.and_then(|rest| rest.split('"').next());
        match (status.as_str(), marker) {
            ("100", _) => {}
            (_, Some(marker)) => answers.push(format!("{status}({marker})")),
            _ => answers.push(status),
        }
    }
    answers
}

#[test]
fn malformed_requests_smuggle_no_second_request() {
    let origin = Origin::start();
    let sample = sample_at(&origin.url("/v1/chat/completions")).tokens(1_000_000);
    let setup = Setup::new()
        .tenant("abc", sample.clone())
        .tenant("evil", sample);
    let doors = Doors::start(setup, json!({"header_timeout": "2s"}));
    let key = mint(&doors.gateway, "abc");
    case("smuggling: malformed requests against a raw origin", || {
        let all = malformed(&key);
        let (count, mut forwarded, mut faults) = (2 * all.len(), 0, Vec::new());
        let mut outcomes = Vec::new();
        for some in all.chunks(24) {
            std::thread::scope(|scope| {
                let ways = doors.all();
                let pairs = some
                    .iter()
                    .flat_map(|one| ways.map(|(way, addr)| (one, way, addr)));
                let sent: Vec<_> = pairs
                    .map(|(one, way, addr)| {
                        let send = move || raw_for(addr, &one.bytes, Duration::from_secs(3));
                        (one, way, scope.spawn(send))
                    })
                    .collect();
                for (one, way, answer) in sent {
                    outcomes.push((one, way, answers(&answer.join().unwrap())));
                }
            });
        }
        for (one, way, answers) in outcomes {
            // With TLS, ALPN selects HTTP/2 before the first byte.
            let is_no_preface = way != "plain" && one.answers == ["frames"];
            let expected = match is_no_preface {
                true => &["400".to_owned()][..],
                false => &one.answers[..],
            };
            let fits = |(answer, may): (&String, &String)| may.split('|').any(|may| may == answer);
            if answers.len() != expected.len() || !answers.iter().zip(expected).all(fits) {
                faults.push(format!("{} {way}: {answers:?}, not {expected:?}", one.name));
            }
            forwarded += answers.iter().filter(|answer| answer.contains('(')).count();
        }

        assert!(faults.is_empty(), "{}", faults.join("\n"));

        let seen = origin.requests();
        let smuggled = |request: &&Vec<u8>| String::from_utf8_lossy(request).contains("SMUGGLED");
        assert_eq!(seen.iter().filter(smuggled).count(), 0);
        assert_eq!(seen.len(), forwarded, "each answer is of one request");
        format!("{count} sent, {forwarded} meant and forwarded, 0 smuggled, 0 mismatched")
    });
}

fn post(key: &str, framing: &str) -> Vec<u8> {
    format!(
        "POST {CHAT_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{framing}\r\n\r\n"
    )
    .into_bytes()
}

/// Writes `piece` at intervals until the other side closes; returns its response and the elapsed time.
fn dribble(mut socket: TcpStream, piece: &[u8], most: Duration) -> (String, Duration) {
    let begun = Instant::now();
    let pause = Duration::from_millis(250);
    socket.set_read_timeout(Some(pause)).unwrap();
    let mut answer = Vec::new();
    loop {
        assert!(begun.elapsed() < most, "still open after {most:?}");
        let _ = socket.write_all(piece);
        let mut room = [0; 2048];
        match socket.read(&mut room) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&room[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer, begun.elapsed())
}

#[test]
fn idle_connection_and_slow_body_time_out() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let setup = Setup::new().tenant("abc", sample(&provider).tokens(1000));
    let doors = Doors::start(setup, json!({"header_timeout": "2s"}));
    let (gateway, ways) = (&doors.gateway, doors.all());
    let key = mint(gateway, "abc");

    std::thread::scope(|scope| {
        for (way, addr) in ways {
            scope.spawn(move || {
                case(
                    &format!("slow: a connection that says nothing, {way}"),
                    || {
                        let socket = TcpStream::connect(addr).unwrap();
                        let (said, took) = dribble(socket, b"", Duration::from_secs(8));
                        assert_eq!(said, "");
                        format!("closed after {took:?}, asked to after 2 s")
                    },
                );
            });
        }
        let bodies = [
            ("with a length", "Content-Length: 1000", &b"x"[..]),
            ("in chunks", "Transfer-Encoding: chunked", b"1\r\nx\r\n"),
            (
                "in a chunk's extension",
                "Transfer-Encoding: chunked",
                b"1;x",
            ),
        ];
        for ((name, framing, piece), (way, addr)) in bodies
            .into_iter()
            .flat_map(|body| ways.map(|way| (body, way)))
        {
            let key = &key;
            scope.spawn(move || {
                case(
                    &format!("slow: a body of a byte now and then, {name}, {way}"),
                    || {
                        let mut socket = TcpStream::connect(addr).unwrap();
                        socket.write_all(&post(key, framing)).unwrap();
                        let (said, took) = dribble(socket, piece, Duration::from_secs(20));
                        let expected = if name.contains("extension") {
                            "HTTP/1.1 4"
                        } else {
                            "HTTP/1.1 408 "
                        };
                        assert!(said.starts_with(expected), "{said}");
                        format!("refused after {took:?}")
                    },
                );
            });
        }
    });
    assert_eq!(provider.requests().len(), 0);
    assert_eq!(balance(gateway, &key).0, 1000);
}

#[test]
fn provider_silence_outlasts_the_client_timeout() {
    let silence = Duration::from_secs(many(4, 95));
    let provider = Provider::start(move |_| {
        Script::chat_stream(&["one ", "two "], 10, 2).after(2, Step::Wait(silence))
    });
    let setup = Setup::new()
        .tenant("abc", sample(&provider).tokens(1000))
        .yaml("server: { header_timeout: 1s }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    case(
        "slow: a provider silent in the middle of its stream",
        || {
            let call = json!({"stream": true, "messages": []});
            let client = gateway.client().timeout(silence + Duration::from_secs(20));
            let answer = client
                .request("POST", CHAT_PATH)
                .bearer(&key)
                .json(&call)
                .send();
            assert!(
                answer.text().ends_with("data: [DONE]\n\n"),
                "{}",
                answer.text()
            );
            assert_eq!(balance(&gateway, &key).0, 988);
            format!("{silence:?}, and the stream was whole")
        },
    );
}

#[test]
fn client_that_does_not_read_times_out() {
    let provider = Provider::start(|_| {
        let word = "word ".repeat(2_000);
        let words: Vec<&str> = std::iter::repeat_n(word.as_str(), 3_000).collect();
        Script::chat_stream(&words, 10, 100_000)
    });
    let setup = Setup::new()
        .tenant(
            "abc",
            sample(&provider)
                .tokens(100_000_000)
                .server("openai", "openai"),
        )
        .yaml("accounts: { hold_ttl: 5s }");
    let doors = Doors::start(setup, json!({}));
    let (gateway, ways) = (&doors.gateway, doors.all());
    let key = mint(gateway, "abc");
    case(
        "slow: clients that read nothing of an endless stream",
        || {
            let call = json!({"model": "gpt-4o", "stream": true, "messages": []}).to_string();
            let request = [
                post(&key, &format!("Content-Length: {}", call.len())),
                call.into(),
            ];
            let before = gateway.memory_kib();
            let sockets: Vec<TcpStream> = (0..many(4, 16))
                .map(|number| {
                    let mut socket = TcpStream::connect(ways[number % ways.len()].1).unwrap();
                    socket.write_all(&request.concat()).unwrap();
                    socket
                })
                .collect();
            provider.wait_requests(sockets.len());
            let begun = Instant::now();
            for left in 0..sockets.len() {
                provider.wait_left(left);
            }
            let took = begun.elapsed();
            let grown = gateway.memory_kib().saturating_sub(before) >> 10;
            assert!(grown < 256, "{grown} MiB");
            assert!(
                balance(gateway, &key).0 < 100_000_000,
                "what was sent is paid for"
            );
            let count = sockets.len();
            format!("{count} given up within {took:?}, {grown} MiB more")
        },
    );
}

#[test]
fn body_memory_is_bounded_over_all_requests() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let setup = Setup::new().tenant("abc", sample(&provider).tokens(100_000_000));
    let doors = Doors::start(setup, json!({"max_buffered": "16MiB"}));
    let (gateway, ways) = (&doors.gateway, doors.all());
    let key = mint(gateway, "abc");
    let half = vec![b' '; 4 << 20];
    case(
        "greedy: half bodies of 8 MiB, room for 16 MiB in all",
        || {
            let before = gateway.memory_kib();
            let greedy: Vec<TcpStream> = (0..many(12, 64))
                .map(|number| {
                    let mut socket = TcpStream::connect(ways[number % ways.len()].1).unwrap();
                    socket
                        .write_all(&post(&key, "Content-Length: 8388608"))
                        .unwrap();
                    // The gateway may refuse and close before it has read everything.
                    let _ = socket.write_all(&half);
                    socket
                })
                .collect();
            let refused = || {
                let begins = |socket: &TcpStream| {
                    socket.set_nonblocking(true).unwrap();
                    let mut room = [0; 13];
                    let peeked = socket.peek(&mut room);
                    socket.set_nonblocking(false).unwrap();
                    peeked.is_ok_and(|length| room[..length] == *b"HTTP/1.1 503 ")
                };
                greedy.iter().filter(|socket| begins(socket)).count()
            };
            let refused = eventually(
                Duration::from_secs(8),
                "those beyond the room hear of it",
                || Some(refused()).filter(|refused| *refused + 4 >= greedy.len()),
            );
            let grown = gateway.memory_kib().saturating_sub(before) >> 10;
            assert!(grown < 64, "{grown} MiB");
            let small = chat(gateway, "abc", &key, &json!({"messages": []}));
            assert_eq!(small.status, 200, "what is small is served meanwhile");
            drop(greedy);
            eventually(Duration::from_secs(8), "there is room again", || {
                let padding = " ".repeat(8 << 20);
                let call = format!("{{\"messages\":[]}}{padding}");
                let client = gateway.client();
                let answer = client
                    .request("POST", CHAT_PATH)
                    .bearer(&key)
                    .body(call)
                    .send();
                (answer.status == 200).then_some(())
            });
            format!("{refused} refused, {grown} MiB more")
        },
    );
}

#[test]
fn deeply_nested_json_is_refused() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    case("greedy: JSON of a hundred thousand levels", || {
        let levels = 100_000;
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        let objects = ("{\"a\":".repeat(levels), "}".repeat(levels));
        let client = gateway.client();

        for body in [
            format!("{{\"messages\":{open}{close}}}"),
            format!("{{\"messages\":[],\"x\":{open}{close}}}"),
            format!("{{\"messages\":[],\"x\":{}1{}}}", objects.0, objects.1),
            format!("{{\"messages\":[],\"tools\":{open}"),
            open.clone(),
        ] {
            let answer = client
                .request("POST", CHAT_PATH)
                .bearer(&key)
                .body(body.clone())
                .send();
            assert_eq!(answer.status, 400, "{}", answer.text());
            let put = client
                .request("PUT", "/abc/admin/config")
                .bearer(gateway.admin_token())
                .body(body)
                .send();
            assert_eq!(put.status, 400, "{}", put.text());
        }
        assert_eq!(provider.requests().len(), 0);
        "400 each time, on either kind of route".to_owned()
    });
}

/// Slowest and median of a hundred requests of a healthy client.
fn healthy(gateway: &Gateway, key: &str) -> (Duration, Duration) {
    let mut connection = gateway.client().connect();
    let call = json!({"messages": [], "max_tokens": 10});
    let mut waits: Vec<Duration> = (0..500)
        .map(|_| {
            let begun = Instant::now();
            let asked = connection
                .request("POST", CHAT_PATH)
                .bearer(key)
                .json(&call);
            assert_eq!(asked.send().status, 200);
            begun.elapsed()
        })
        .collect();
    waits.sort();
    (waits[waits.len() / 2], waits[waits.len() * 99 / 100])
}

#[test]
fn many_slow_clients_do_not_slow_down_a_healthy_one() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider)
        .tokens(100_000_000)
        .rate_limit(1_000_000, 60);
    let setup = Setup::new().tenant("abc", config);
    let doors = Doors::start(setup, json!({"max_connections_per_address": 9000}));
    let (gateway, ways) = (&doors.gateway, doors.all());
    let key = mint(gateway, "abc");
    let count = many(300, 5_000);
    case(
        "slow: thousands of slow connections beside a healthy one",
        || {
            let (median, p99) = healthy(gateway, &key);
            let before = gateway.memory_kib();
            let begins = [
                b"GET / HTTP/1.1\r\nHost: x\r\nx: ".to_vec(),
                post(&key, "Content-Length: 100000"),
                post(&key, "Transfer-Encoding: chunked"),
                Vec::new(),
            ];
            let slow: Vec<TcpStream> = (0..count)
                .map(|number: usize| {
                    let way = ways[(number / begins.len()) % ways.len()];
                    let mut socket = TcpStream::connect(way.1).unwrap();
                    socket.write_all(&begins[number % begins.len()]).unwrap();
                    socket.set_nonblocking(true).unwrap();
                    socket
                })
                .collect();
            let (median_then, p99_then) = healthy(gateway, &key);
            let grown = gateway.memory_kib().saturating_sub(before) >> 10;
            assert!(grown < 256, "{grown} MiB");
            // They are closed at their deadline even while they send.
            let begun = Instant::now();
            let is_open = |mut socket: &TcpStream| {
                let mut room = [0; 512];
                loop {
                    match socket.read(&mut room) {
                        Ok(0) => return false,
                        Ok(_) => {}
                        Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
                    }
                }
            };
            eventually(Duration::from_secs(40), "slow clients are gone", || {
                std::thread::sleep(Duration::from_millis(200));
                (!slow.iter().any(is_open)).then_some(())
            });
            let gone = begun.elapsed();
            format!(
                "{count}: median {median:?} then {median_then:?}, p99 {p99:?} then {p99_then:?}, {grown} MiB more, \
             all gone after {gone:?}"
            )
        },
    );
}

#[test]
fn failed_sign_ins_block_an_address_before_any_lookup() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let guesses = many(200, 10_000);
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", sample(&provider))
        .env(
            "RESULLM__ACCOUNTS__FAILURES_PER_ADDRESS",
            &guesses.to_string(),
        )
        .yaml("server: { trusted_proxies: [127.0.0.1] }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    case("guessing: wrong keys from one address", || {
        let mut connection = gateway.client().connect();
        let mut ask = |number: usize, from: &str| {
            let (method, path) = match number % 4 {
                0 => ("GET", "/abc/auth/me"),
                1 => ("GET", "/abc/auth/usage"),
                2 => ("GET", "/abc/v1/models"),
                _ => ("POST", CHAT_PATH),
            };
            let request = connection
                .request(method, path)
                .header("x-forwarded-for", from)
                .bearer(&format!("temp_{number}"));
            request.json(&json!({"messages": []})).send()
        };

        for number in 0..guesses {
            assert_eq!(ask(number, "198.51.100.7").status, 401);
        }

        let looked_up = redis.calls("evalsha");
        for number in 0..20 {
            let refused = ask(number, "198.51.100.7");
            assert_eq!(refused.status, 429, "{}", refused.text());
            let wait = refused.header("retry-after").map(str::parse::<u64>);
            assert!(matches!(wait, Some(Ok(1..=60))));
        }
        assert_eq!(redis.calls("evalsha"), looked_up);
        assert_eq!(
            ask(0, "198.51.100.8").status,
            401,
            "neighbours are not meant"
        );
        let good = chat(&gateway, "abc", &key, &json!({"messages": []}));
        assert_eq!(good.status, 200);
        format!("{guesses} refused with 401, then 429 without asking the store")
    });
}
