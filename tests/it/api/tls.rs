//! TLS: certificates by SNI and their reload, client certificates, and the PROXY protocol of load balancers.

use crate::harness::doors::{LOOPBACK, start_tls};
use crate::harness::http2::Trust;
use crate::harness::process::program;
use crate::harness::project::{in_project, not_installed};
use crate::harness::{
    Authority, Doors, Gate, Gateway, Http2, Provider, Redis, Script, Setup, Step, TempDir,
    eventually, free_port, mint, resullm, sample,
};
use crate::process::stop::{KillOnDrop, successor};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A gateway with a plain and a TLS listener; returns the address of the latter.
fn start(setup: Setup, tls: &Value) -> (Gateway, SocketAddr) {
    start_tls(setup, tls, json!({}))
}

/// Connects over TLS and requests `/healthz`: the server's certificate and the status line.
fn hello(address: SocketAddr, name: &str, trust: &Trust<'_>) -> std::io::Result<(Vec<u8>, String)> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let talk = async {
        let mut stream = trust.connect(address, name).await?;
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let answer = String::from_utf8_lossy(&answer)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        Ok((shown, answer))
    };
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), talk)
            .await
            .unwrap()
    })
}

fn trusting(ca: &Path) -> Trust<'_> {
    Trust {
        ca: Some(ca),
        ..Trust::default()
    }
}

#[test]
fn tls_1_2_and_1_3_serve_http1_and_http2() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("server", LOOPBACK);
    let provider = Provider::start(|_| Script::chat("one", 9, 1));
    let setup = Setup::new().tenant("abc", sample(&provider));
    let (gateway, address) = start(setup, &json!({"cert": cert, "key": key}));
    let ca = authority.ca();

    let client = Http2::tls(address, "localhost", &ca);
    let body =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
    let answer = client.post("/abc/v1/chat/completions", &mint(&gateway, "abc"), &body);
    assert_eq!(answer.status, 200, "{}", answer.text());

    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let versions = [version];
        let trust = Trust {
            alpn: &[b"http/1.1"],
            versions: Some(&versions),
            ..trusting(&ca)
        };
        assert_eq!(
            hello(address, "localhost", &trust).unwrap().1,
            "HTTP/1.1 200 OK"
        );
    }
    // A `ClientHello` that offers TLS 1.1 at most.
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut hello = vec![0x16, 3, 1, 0, 47, 1, 0, 0, 43, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0]);
    socket.write_all(&hello).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert_eq!(answer.first(), Some(&0x15), "an alert: {answer:?}");
    // Plain text on the TLS port.
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(
        !String::from_utf8_lossy(&answer).contains("HTTP"),
        "{answer:?}"
    );
}

#[test]
fn a_certificate_is_chosen_by_name_and_followed_when_it_changes() {
    let authority = Authority::new();
    let ca = authority.ca();
    let files = TempDir::new();
    let put = |name: &str, names: &str, place: &str| {
        let (cert, key) = authority.issue(name, names);
        std::fs::copy(&key, files.file(&format!("{place}.key"))).unwrap();
        std::fs::copy(&cert, files.file(&format!("{place}.pem"))).unwrap();
    };
    put("usual", LOOPBACK, "usual");
    put("other", "DNS:other.example, DNS:*.wild.example", "other");
    let pair = |place: &str| json!({"cert": files.file(&format!("{place}.pem")), "key": files.file(&format!("{place}.key"))});
    let mut tls = pair("usual");
    tls["more"] = json!([pair("other")]);
    let setup = Setup::new().tenant("abc", json!({}));
    let (gateway, address) = start(setup, &tls);
    let shown = |name: &str| hello(address, name, &trusting(&ca)).map(|(shown, _)| shown);

    let usual = shown("localhost").unwrap();
    let other = shown("other.example").unwrap();
    assert_ne!(usual, other);
    assert_eq!(shown("a.wild.example").unwrap(), other);
    assert!(
        shown("unknown.example").is_err(),
        "the usual one is not for it"
    );

    put("renewed", LOOPBACK, "usual");
    eventually(Duration::from_secs(20), "the new one is shown", || {
        shown("localhost").ok().filter(|shown| *shown != usual)
    });
    assert_eq!(shown("other.example").unwrap(), other);

    let renewed = shown("localhost").unwrap();
    std::fs::write(files.file("usual.pem"), "nothing").unwrap();
    gateway.wait_log("the certificate before it stays");
    assert_eq!(shown("localhost").unwrap(), renewed);
}

#[test]
fn clients_must_show_a_certificate_where_the_operator_wants_it() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (cert, key) = authority.issue("server", LOOPBACK);
    let (own_cert, own_key) = authority.issue("client", "DNS:client.example");
    let (other_cert, other_key) = stranger.issue("client", "DNS:client.example");
    let ca = authority.ca();
    let tls = json!({"cert": cert, "key": key, "client_ca": ca});
    let (_gateway, address) = start(Setup::new().tenant("abc", json!({})), &tls);
    let with = |own| {
        let trust = Trust {
            own,
            ..trusting(&ca)
        };
        hello(address, "localhost", &trust)
    };

    assert_eq!(
        with(Some((&own_cert, &own_key))).unwrap().1,
        "HTTP/1.1 200 OK"
    );
    for refused in [None, Some((other_cert.as_path(), other_key.as_path()))] {
        assert!(!matches!(with(refused), Ok((_, line)) if !line.is_empty()));
    }
}

#[test]
fn a_file_that_cannot_be_used_is_an_error_at_the_start() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("server", LOOPBACK);
    let (_, other_key) = authority.issue("other", LOOPBACK);
    let missing = TempDir::new().file("missing.pem");

    for (cert, key, why) in [
        (&missing, &key, "Cannot read the certificate"),
        (&cert, &missing, "Cannot read the private key"),
        (&cert, &other_key, "cannot be used"),
        (&key, &key, "there is none in it"),
    ] {
        let listen =
            json!({"listen": [{"address": "127.0.0.1:0", "tls": {"cert": cert, "key": key}}]});
        let setup = Setup::new().yaml(&format!("server: {listen}"));
        let file = setup.write_config();
        let checked = resullm(&["--config", file.to_str().unwrap(), "check"], &[]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(!checked.status.success() && said.contains(why), "{said}");
        let (status, lines, _) = Gateway::run_to_end(setup);
        assert!(!status.success());
        assert!(
            lines.iter().any(|line| line.contains(why)),
            "{why}: {lines:?}"
        );
    }
}

/// A PROXY protocol v2 header for `192.0.2.<last>`.
fn preamble(last: u8) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend([203, 0, 113, last, 10, 0, 0, 1, 0x1f, 0x90, 0, 80]);
    bytes
}

fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn proxy_protocol_of_a_trusted_balancer_gives_the_address() {
    let server = json!({
        "listen": [{"address": "127.0.0.1:0", "proxy_protocol": true}],
        "trusted_proxies": ["127.0.0.1"],
    });
    let accounts = json!({"mints_per_address": 1});
    let setup = Setup::new()
        .tenant("abc", json!({"user_groups": {"anonymous": {"tokens": 5}}}))
        .yaml(&format!("server: {server}\naccounts: {accounts}"));
    let gateway = Gateway::start(setup);
    let mint = |preamble: &[u8]| {
        let request = "POST /abc/auth/anonymous HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let answer = say(gateway.addr(), &[preamble, request.as_bytes()].concat());
        answer.lines().next().unwrap_or_default().to_owned()
    };

    assert_eq!(mint(&preamble(7)), "HTTP/1.1 200 OK");
    assert_eq!(mint(&preamble(7)), "HTTP/1.1 429 Too Many Requests");
    assert_eq!(mint(&preamble(8)), "HTTP/1.1 200 OK", "another one");
    assert_eq!(mint(b""), "", "it must say so");

    let mut local = preamble(9);
    local[12] = 0x20;
    let health = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(say(gateway.addr(), &[&local, &health[..]].concat()).starts_with("HTTP/1.1 200"));
}

#[test]
fn proxy_protocol_of_an_untrusted_peer_is_refused() {
    let server = json!({
        "listen": [{"address": "127.0.0.1:0", "proxy_protocol": true}],
        "trusted_proxies": ["192.0.2.0/24"],
    });
    let setup = Setup::new().yaml(&format!("server: {server}"));
    let gateway = Gateway::start(setup.tenant("abc", json!({})));
    let health = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

    assert_eq!(
        say(gateway.addr(), &[&preamble(7), &health[..]].concat()),
        ""
    );
}

/// The old process finishes its open HTTP/2 streams; the successor accepts new connections meanwhile.
#[test]
fn handover_over_tls_finishes_streams() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("server", LOOPBACK);
    let gate = Gate::new();
    let held = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat_stream(&["one", "two"], 9, 2).after(2, Step::WaitUntilReleased(held.clone()))
    });
    let redis = Redis::start();
    // The successor must inherit the same address.
    let port = free_port();
    let listen = json!({"listen": [
        "127.0.0.1:0",
        {"address": format!("127.0.0.1:{port}"), "tls": {"cert": cert, "key": key}},
    ]});
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", sample(&provider));
    let gateway = Gateway::start(setup.yaml(&format!("server: {listen}")));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let (own, ca) = (mint(&gateway, "abc"), authority.ca());
    let client = Http2::tls(address, "localhost", &ca);
    let call = json!({"model": "m", "max_tokens": 20, "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    let bearer = format!("Bearer {own}");
    let headers = [("authorization", bearer.as_str())];
    let body = call.to_string().into_bytes();
    let begun = client.begin("POST", "/abc/v1/chat/completions", &headers, Some(body));
    let streaming = begun.unwrap().until("one");
    let over = AtomicBool::new(false);

    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answered = 0;
            while !over.load(Ordering::SeqCst) {
                let fresh = Http2::tls(address, "localhost", &ca);
                assert_eq!(fresh.get("/healthz").status, 200);
                answered += 1;
            }
            answered
        });
        gateway.signal("QUIT");
        let started = || successor(&gateway);
        let _heir = KillOnDrop(eventually(
            Duration::from_secs(10),
            "a successor is started",
            started,
        ));
        gateway.wait_log("Server shutting down");
        gate.open();
        let rest = streaming.rest().unwrap();
        assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
        assert!(gateway.wait_exit(Duration::from_secs(30)).success());
        // Only the successor accepts by now.
        std::thread::sleep(Duration::from_millis(300));
        over.store(true, Ordering::SeqCst);
        assert!(asking.join().unwrap() > 10);
    });
}

/// The official SDKs give the same results over TLS and HTTP/2 as without.
#[test]
fn sdks_are_served_over_tls() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("server", LOOPBACK);
    let endpoint = json!({"kind": "demo", "default_model": "demo-1"});
    let config = json!({
        "user_groups": {"anonymous": {"tokens": 100_000}},
        "providers": {"text": {"default": "demo", "endpoints": {"demo": endpoint}}},
    });
    let setup = Setup::new().tenant("demo", config);
    let (gateway, address) = start(setup, &json!({"cert": cert, "key": key}));
    let own = mint(&gateway, "demo");
    let facts = |program: PathBuf, script: &str| {
        let mut command = Command::new(program);
        command
            .arg(in_project("tests/sdk").join(script))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(
                "BASE_URL",
                format!("https://localhost:{}/demo", address.port()),
            )
            .env("API_KEY", &own)
            .env("CA", authority.ca())
            .env("NODE_EXTRA_CA_CERTS", authority.ca())
            .env("LIBRARIES", in_project(".tools/node"));
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {said}");
        serde_json::from_slice::<Value>(&output.stdout).expect("one line of JSON")
    };
    let python = in_project(".tools/python/bin/python");
    if !python.exists() {
        not_installed(&python);
    }
    let python = facts(python, "secure_calls.py");
    let node = facts("node".into(), "secure_calls.mjs");

    for told in [&python, &node] {
        for vendor in ["openai", "anthropic"] {
            let text = told[vendor].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{told}");
            assert_eq!(told[vendor], told[format!("{vendor}_streamed")], "{told}");
            assert_eq!(
                told[format!("{vendor}_raised")],
                "AuthenticationError",
                "{told}"
            );
        }
    }
    assert_eq!(python["protocols"], json!(["HTTP/2"]));

    let beside = node["side_by_side"].as_array().unwrap();
    assert_eq!(beside.len(), 8);
    assert!(
        beside
            .iter()
            .all(|each| each["status"] == 200 && each["text"] == node["openai"]),
        "{node}"
    );
}

/// A FIFO in place of the certificate file is not opened and blocks nothing.
#[test]
fn certificate_replaced_by_a_pipe_stays_in_use() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("server", LOOPBACK);
    let (gateway, address) = start(Setup::new(), &json!({"cert": cert, "key": key}));
    let ca = authority.ca();
    std::fs::remove_file(&cert).unwrap();

    let made = Command::new("mkfifo").arg(&cert).status().unwrap();
    assert!(made.success());
    gateway.wait_log("is not a regular file");
    assert_eq!(gateway.client().get("/healthz").status, 200);
    let said = hello(address, "localhost", &trusting(&ca)).unwrap();
    assert_eq!(said.1, "HTTP/1.1 200 OK");
    gateway.signal("TERM");
    assert!(gateway.wait_exit(Duration::from_secs(10)).success());
}

/// A connection over the limit gets a plain-text 503, except in the middle of a TLS handshake.
#[test]
fn rejected_connection_gets_a_503_where_it_can_be_read() {
    let authority = Authority::new();
    let (cert, key) = authority.issue("server", LOOPBACK);
    let listen = json!([
        {"address": "127.0.0.1:0"},
        {"address": "127.0.0.1:0", "tls": {"cert": cert, "key": key}},
        {"address": "[::1]:0", "proxy_protocol": true},
    ]);
    let server =
        json!({"listen": listen, "max_connections_per_address": 1, "trusted_proxies": ["::1"]});
    let gateway = Gateway::start(Setup::new().yaml(&format!("server: {server}")));
    let found = |scheme: &str, host: &str| {
        let line = gateway.wait_log(&format!("Listening on {scheme}://{host}"));
        let (_, address) = line.split_once("://").unwrap();
        address.trim().parse::<SocketAddr>().unwrap()
    };
    let (plain, secure) = (found("http", "127"), found("https", "127"));
    let proxied = found("http", "[");
    let _place = TcpStream::connect(plain).unwrap();

    eventually(Duration::from_secs(10), "the place is taken", || {
        say(plain, b"").starts_with("HTTP/1.1 503 ").then_some(())
    });
    assert_eq!(say(secure, b""), "");

    let mut other = TcpStream::connect(proxied).unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    other
        .write_all(&[&preamble(7)[..], request].concat())
        .unwrap();
    other.read_exact(&mut [0; 12]).unwrap();
    let refused = say(proxied, &preamble(7));
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
}

/// curl on every protocol, with a body longer than it sends without `100 Continue`.
#[test]
fn curl_is_served_on_every_protocol() {
    let provider = Provider::start(|_| Script::chat_stream(&["one ", "two"], 9, 2));
    let setup = Setup::new().tenant("abc", sample(&provider).tokens(10_000_000));
    let doors = Doors::start(setup, json!({}));
    let key = mint(&doors.gateway, "abc");
    let files = TempDir::new();
    let long = "word ".repeat(400_000);
    let call = json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": long}]});
    std::fs::write(files.file("call.json"), call.to_string()).unwrap();
    let plain = format!("http://localhost:{}", doors.gateway.port());
    let secure = format!("https://localhost:{}", doors.tls.port());

    for (address, option, spoken) in [
        (&plain, "--http1.0", "1.0"),
        (&plain, "--http1.1", "1.1"),
        (&plain, "--http2-prior-knowledge", "2"),
        // curl offers an upgrade to `h2c`, which the gateway may ignore.
        (&plain, "--http2", "1.1"),
        (&secure, "--http1.1", "1.1"),
        (&secure, "--http2", "2"),
        (&secure, "--tlsv1.3", "2"),
    ] {
        let ask = |key: &str| {
            let output = Command::new(program("curl"))
                .args([
                    "--silent",
                    "--show-error",
                    "--no-buffer",
                    "--max-time",
                    "30",
                    option,
                ])
                .arg("--cacert")
                .arg(&doors.ca)
                .args(["--write-out", "\n%{http_version} %{http_code}"])
                .args(["--header", &format!("authorization: Bearer {key}")])
                .args(["--header", "content-type: application/json"])
                .arg("--data-binary")
                .arg(format!("@{}", files.file("call.json").display()))
                .arg(format!("{address}/abc/v1/chat/completions"))
                .output()
                .expect("curl runs");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{option}: {said}");
            String::from_utf8(output.stdout).unwrap()
        };
        let answer = ask(&key);
        let (text, written) = answer.rsplit_once('\n').unwrap();
        let spoken = match option {
            // Servers answer an HTTP/1.0 request with an HTTP/1.1 status line.
            "--http1.0" => "1.1",
            _ => spoken,
        };
        assert_eq!(written, format!("{spoken} 200"), "{option}: {text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{option}: {text}");
        let refused = ask("temp_nobody");
        assert!(refused.contains("invalid_api_key"), "{option}: {refused}");
        assert!(refused.ends_with(" 401"), "{option}: {refused}");
    }
}
