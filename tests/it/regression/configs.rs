//! Configs of hostile admins, keys of careless operators, and stops with connections on their way.

use crate::harness::{
    Gateway, Provider, Redis, Response, Script, Setup, chat, mint, resullm, sample,
};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn put(gateway: &Gateway, config: &str) -> Response {
    let request = gateway.client().request("PUT", "/abc/admin/config");
    let request = request.bearer(gateway.admin_token());
    request.body(format!("{{\"config\":{config}}}")).send()
}

/// A hundred thousand faults took two minutes of a worker, and their answer could fill the memory.
#[test]
fn faults_of_a_config_are_bounded() {
    let gateway = Gateway::start(Setup::new().tenant("abc", json!({})));
    let many = vec!["0"; 100_000].join(",");
    let names = (0..6_000).map(|n| format!("\"{n:063}\":{{\"kind\":\"demo\"}}"));
    let endpoints = names.collect::<Vec<_>>().join(",");
    let unknown = vec!["\"x\""; 1_500].join(",");
    let text = |endpoints: &str, fallbacks: &str| {
        format!(
            r#"{{"providers":{{"text":{{"default":"x","endpoints":{{{endpoints}}},"fallbacks":[{fallbacks}]}}}}}}"#
        )
    };
    for config in [
        text(r#""x":{"kind":"demo"}"#, &many),
        text(&endpoints, &unknown),
    ] {
        let refused = put(&gateway, &config);

        assert_eq!(refused.status, 400);
        let details = refused.json()["details"].as_array().unwrap().len();
        assert_eq!(details, 100);
        assert!(refused.body.len() < 200_000, "{} bytes", refused.body.len());
    }
}

/// A sealed text that no key opens, hidden by a later member of the same name, was stored, and no start would have
/// it.
#[test]
fn sealed_text_in_a_hidden_member_must_open() {
    let setup = Setup::new().env("RESULLM__SECRETS__KEY", KEY);
    let gateway = Gateway::start(setup.tenant("abc", json!({})));
    let endpoint = r#"{"kind":"demo","api_key":"sealed:v1:00000000:AAAA","api_key":null}"#;
    let config =
        format!(r#"{{"providers":{{"text":{{"default":"x","endpoints":{{"x":{endpoint}}}}}}}}}"#);

    let refused = put(&gateway, &config);

    assert_eq!(refused.status, 400, "{}", refused.text());
    let path = &refused.json()["details"][0]["path"];
    assert_eq!(path, "providers.text.endpoints.x.api_key");
}

/// The new tenant's secret was sealed with the wrong key first, which then opened something.
#[test]
fn wrong_key_seals_no_new_tenant() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let with = |key: &str| {
        let setup = Setup::new().store(&redis.url());
        let setup = setup.env("RESULLM__SECRETS__KEY", key);
        setup.tenant("abc", sample(&provider))
    };
    drop(Gateway::start(with(KEY)));

    let (status, logs, _) = Gateway::run_to_end(with(OTHER).tenant("new", sample(&provider)));

    assert_eq!(status.code(), Some(1), "{logs:#?}");
    assert!(redis.cli(&["KEYS", "tenant:new:*"]).list().is_empty());
}

/// The new process found the address in use when the embedded store of the old one was closed already.
#[test]
fn hand_over_to_an_address_in_use_leaves_the_old_process() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = gateway.setup().path().join("gateway.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let port = taken.local_addr().unwrap().port();
    let ops = format!("server: {{ ops_listen: \"127.0.0.1:{port}\" }}\n");
    std::fs::write(&file, text + &ops).unwrap();

    gateway.signal("QUIT");

    gateway.wait_log("Hand-over failed");
    let call = json!({"messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
}

/// Connections in the backlog were reset, and new ones closed before their first request was read.
#[test]
fn connections_on_their_way_at_a_stop_are_answered() {
    const CLIENTS: usize = 300;
    let gateway = Gateway::start(Setup::new().tenant("abc", json!({})));
    gateway.signal("STOP");
    let clients = (0..CLIENTS).map(|_| {
        let mut client = TcpStream::connect(gateway.addr()).unwrap();
        let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write_all(request.as_bytes()).unwrap();
        client
    });
    let clients: Vec<TcpStream> = clients.collect();
    gateway.signal("TERM");
    gateway.signal("CONT");

    let answered = clients.into_iter().filter_map(|mut client| {
        client
            .set_read_timeout(Some(Duration::from_secs(20)))
            .ok()?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    });

    assert_eq!(answered.count(), CLIENTS);
    gateway.wait_exit(Duration::from_secs(20));
}

/// A value where a mapping is expected may be a token that was written one level too high, or in place of a file's
/// name. A pipe in place of a file was waited for.
#[test]
fn misplaced_secrets_are_not_printed() {
    let dir = crate::harness::TempDir::new();
    let pipe = dir.file("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for (text, said) in [
        ("admin: c4n4ry-token\n".to_owned(), "expected a mapping"),
        ("secrets: c4n4ry-token\n".to_owned(), "expected a mapping"),
        (
            "server: {public_url: \"https://user:c4n4ry@h/\"}\n".to_owned(),
            "expected an address",
        ),
        ("admin: {token_file: c4n4ry}\n".to_owned(), "cannot be read"),
        (
            format!("admin: {{token_file: {}}}\n", pipe.display()),
            "not a regular file",
        ),
    ] {
        let file = dir.write("gateway.yaml", &text).display().to_string();
        let asked = Instant::now();

        let output = resullm(&["check", "--config", &file], &[]);

        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(said), "{told}");
        assert!(!told.contains("c4n4ry"), "{told}");
        assert!(asked.elapsed() < Duration::from_secs(10));
    }
    let listed = [("RESULLM__ADMIN__OLD_TOKENS", "[tok-aaaa1, !tok-bbbb2]")];
    let output = resullm(&["check"], &listed);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("expected a list such as"), "{told}");
}
