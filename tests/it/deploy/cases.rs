//! Calls through either proxy: plain, streamed, long, refused, and from whom.

use std::time::Duration;

use serde_json::{Value, json};

use super::front::{ADMIN, Front, Kind};
use crate::harness::setup::ADMIN_TOKEN;
use crate::harness::{
    Gate, Gateway, Provider, Redis, Script, Setup, balance, eventually, mint, sample,
};

const CHAT: &str = "/abc/v1/chat/completions";
const USER: &str = "127.0.0.2";

/// Two gateways on one Redis behind a proxy, and the provider behind them.
pub struct Site {
    pub front: Front,
    pub gateways: [Gateway; 2],
    pub provider: Provider,
    pub redis: Redis,
}

impl Site {
    pub fn start(kind: Kind, provider: Provider, yaml: &str) -> Site {
        let redis = Redis::start();
        let gateway = || {
            let tenant = sample(&provider)
                .tokens(1_000_000_000)
                .rate_limit(1_000_000, 60);
            let setup = Setup::new()
                .store(&redis.url())
                .env("RESULLM__SERVER__TRUSTED_PROXIES", "127.0.0.1")
                .yaml(yaml)
                .tenant("abc", tenant);
            Gateway::start(setup)
        };
        let gateways = [gateway(), gateway()];
        let front = Front::start(kind, [&gateways[0], &gateways[1]]);
        Site {
            front,
            gateways,
            provider,
            redis,
        }
    }
}

fn call(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}], "max_tokens": 5})
}

fn streamed() -> Value {
    json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stream": true})
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}")
}

/// Answers `ok`; a stream stops after its first text until the gate is open.
fn provider(gate: &Gate) -> Provider {
    let gate = gate.clone();
    Provider::start(move |request| {
        if request.json()["stream"] == true {
            let held = crate::harness::Step::WaitUntilReleased(gate.clone());
            return Script::chat_stream(&["first ", "second"], 7, 2).after(2, held);
        }
        Script::chat("ok", 7, 2)
    })
}

fn calls_pass_through(kind: Kind) {
    let gate = Gate::new();
    let site = Site::start(kind, provider(&gate), "");
    let gateway = &site.gateways[0];
    let key = mint(gateway, "abc");
    let client = site.front.http2();

    let plain = client.post(CHAT, &key, &call("Hi"));
    assert_eq!(plain.status, 200, "{}", plain.text());
    assert_eq!(plain.json()["usage"]["total_tokens"], 9);

    // The first text arrives while the provider still holds back the second.
    let headers = [("authorization", format!("Bearer {key}"))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let body = streamed().to_string().into_bytes();
    let begun = client.begin("POST", CHAT, &headers, Some(body));
    let stream = begun.expect("it is sent").until("first ");
    gate.open();
    let rest = stream.rest().expect("the whole stream");
    assert!(rest.contains("second") && rest.contains("[DONE]"), "{rest}");

    let long = "word ".repeat(420_000);
    let long = client.post(CHAT, &key, &call(&long));
    assert_eq!(long.status, 200, "{}", long.text());
    let sent = site.provider.requests().pop().expect("a request");
    assert!(sent.body.len() > 2 << 20, "{}", sent.body.len());

    // HTTP/1.1, for clients that speak no HTTP/2.
    let body = call("Hi").to_string();
    let more = ["--http1.1", "-H", &bearer(&key), "-d", &body];
    let old = site.front.curl(USER, CHAT, &more);
    assert_eq!(
        (old.status, &old.json()["usage"]["total_tokens"]),
        (200, &json!(9))
    );

    let left = || {
        let (left, free) = balance(gateway, &key);
        (left == free).then_some(left)
    };
    let left = eventually(Duration::from_secs(10), "all is settled", left);
    assert_eq!(1_000_000_000 - left, 4 * 9);
}

#[test]
fn calls_streams_and_long_bodies_pass_nginx() {
    calls_pass_through(Kind::Nginx);
}

#[test]
fn calls_streams_and_long_bodies_pass_caddy() {
    calls_pass_through(Kind::Caddy);
}

/// A refusal of the gateway reaches a client that still sends its body.
fn refusals_are_the_gateways_own(kind: Kind) {
    let yaml = "server: { max_body: 1MiB }";
    let site = Site::start(kind, provider(&Gate::new()), yaml);
    let key = mint(&site.gateways[0], "abc");
    let client = site.front.http2();

    let long = call(&"word ".repeat(420_000));
    let refused = client.post(CHAT, &key, &long);
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], "body_too_large");
    let unknown = client.post(CHAT, "temp_nobody", &call("Hi"));
    assert_eq!(unknown.json()["error"]["code"], "invalid_api_key");
    assert!(site.provider.requests().is_empty());
}

#[test]
fn refusals_behind_nginx_are_the_gateways_own() {
    refusals_are_the_gateways_own(Kind::Nginx);
}

#[test]
fn refusals_behind_caddy_are_the_gateways_own() {
    refusals_are_the_gateways_own(Kind::Caddy);
}

const ADMIN_PATHS: &[&str] = &[
    "/admin/tenants",
    "/admin/tenants/",
    "//admin/tenants",
    "/%61dmin/tenants",
    "/admin%2ftenants",
    "/x/../admin/tenants",
    "/abc/admin/config",
    "/abc//admin/config",
    "/abc/%61dmin/config",
    "/abc/v1/../admin/config",
    "/admin/config",
    "/abc/admin/config?x=/v1/models",
];

fn admin_routes_are_fenced(kind: Kind) {
    let site = Site::start(kind, provider(&Gate::new()), "");
    let token = bearer(ADMIN_TOKEN);

    for path in ADMIN_PATHS {
        for protocol in ["--http1.1", "--http2"] {
            // With the right token, and an address that a client may write itself.
            let more = [protocol, "-H", &token, "-H", "x-forwarded-for: 127.0.0.9"];
            let refused = site.front.curl(USER, path, &more);
            assert_eq!(refused.status, 403, "{protocol} {path}: {refused:?}");
            assert_eq!(
                refused.json()["error"],
                "The admin API is not served to this address",
                "{protocol} {path}"
            );
        }
    }
    for path in ["/admin/tenants", "/abc/admin/config"] {
        let served = site.front.curl(ADMIN, path, &["-H", &token]);
        assert_eq!(served.status, 200, "{path}: {served:?}");
        let unnamed = site.front.curl(ADMIN, path, &[]);
        assert_eq!(unnamed.status, 401, "{path}: {unnamed:?}");
    }
    assert_eq!(site.front.curl(ADMIN, "/metrics", &[]).status, 404);
    assert_eq!(site.front.curl(USER, "/abc", &[]).status, 200);
}

#[test]
fn admin_routes_are_fenced_by_nginx() {
    admin_routes_are_fenced(Kind::Nginx);
}

#[test]
fn admin_routes_are_fenced_by_caddy() {
    admin_routes_are_fenced(Kind::Caddy);
}

/// Limits go by the address that connects to the proxy, not by the proxy's or by what a client writes.
fn clients_are_told_apart(kind: Kind) {
    let yaml = "accounts: { mints_per_address: 2 }";
    let site = Site::start(kind, provider(&Gate::new()), yaml);
    let asks = |from: &str, claimed: &str| {
        let claimed = format!("x-forwarded-for: {claimed}");
        let more = ["-X", "POST", "-H", &claimed];
        site.front.curl(from, "/abc/auth/anonymous", &more).status
    };

    let statuses = ["203.0.113.1", "203.0.113.2", "203.0.113.3"].map(|claimed| asks(USER, claimed));
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(asks("127.0.0.3", "203.0.113.1"), 200);
}

#[test]
fn clients_are_told_apart_behind_nginx() {
    clients_are_told_apart(Kind::Nginx);
}

#[test]
fn clients_are_told_apart_behind_caddy() {
    clients_are_told_apart(Kind::Caddy);
}

/// A WebSocket is refused with what clients fall back on.
fn a_websocket_is_told_to_use_post(kind: Kind) {
    let site = Site::start(kind, provider(&Gate::new()), "");
    let key = mint(&site.gateways[0], "abc");
    let more = [
        "--http1.1",
        "-H",
        &bearer(&key),
        "-H",
        "connection: upgrade",
        "-H",
        "upgrade: websocket",
        "-H",
        "sec-websocket-version: 13",
        "-H",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let refused = site.front.curl(USER, "/abc/v1/responses", &more);
    assert_eq!(refused.status, 426, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "websocket_not_served");
}

#[test]
fn a_websocket_behind_nginx_is_told_to_use_post() {
    a_websocket_is_told_to_use_post(Kind::Nginx);
}

#[test]
fn a_websocket_behind_caddy_is_told_to_use_post() {
    a_websocket_is_told_to_use_post(Kind::Caddy);
}
