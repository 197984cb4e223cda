//! Headers: client addresses from trusted proxies, credentials towards providers, line ends in configs.

use super::{KEY_HEADERS, bytes_of};
use crate::faults::case;
use crate::harness::sample::PROVIDER_KEY;
use crate::harness::{Client, Gateway, Provider, Script, Setup, mint, raw_for, sample};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Mints four times where three per address are allowed, with each line of `forwarded` (`{i}` is the
/// request's number) as header `name`. Whether all four succeeded.
fn is_free(client: &Client, tenant: &str, name: &str, forwarded: &[&str]) -> bool {
    let statuses: Vec<u8> = (1..=4)
        .map(|i| {
            let mut bytes = format!("POST /{tenant}/auth/anonymous HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n").into_bytes();
            for line in forwarded {
                bytes.extend_from_slice(format!("{name}: ").as_bytes());
                bytes.extend(bytes_of(&line.replace("{i}", &i.to_string())));
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"\r\n");
            raw_for(client.addr(), &bytes, Duration::from_secs(5))[9]
        })
        .collect();
    assert_eq!(&statuses[..3], b"222", "{name}: {forwarded:?}");
    statuses[3] == b'2'
}

#[test]
fn client_address_is_the_one_a_trusted_proxy_saw() {
    /// Header lines of a trusted proxy, and whether they distinguish clients.
    const BEHIND_A_PROXY: &[(&[&str], bool)] = &[
        (&["203.0.113.{i}"], true),
        (&["2001:db8:{i}::1"], true),
        (&["198.51.100.7, 203.0.113.{i}"], true),
        (&["198.51.100.7", "203.0.113.{i}"], true),
        (&["203.0.113.{i}, 127.0.0.9"], true),
        (&["203.0.113.{i}", "127.0.0.9, 127.0.0.8"], true),
        (&["198.51.100.{i}, 203.0.113.9"], false),
        (&["198.51.100.{i}", "203.0.113.9"], false),
        (&["198.51.100.{i}, 203.0.113.9, 127.0.0.9"], false),
        (&["198.51.100.{i}", "203.0.113.9", "127.0.0.9"], false),
        (&["198.51.100.{i}", "\\xff, 203.0.113.9"], false),
        (&["198.51.100.{i}", "\\xff"], false),
        (&["198.51.100.{i}, \\xff, 203.0.113.9"], false),
        (&["\\xff198.51.100.{i}"], false),
        (&["203.0.113.{i}, nonsense"], false),
        (&["203.0.113.{i},"], false),
        (&["203.0.113.{i}", ""], false),
        (&["nonsense-{i}"], false),
        (&["203.0.113.9:100{i}"], false),
        (&["[2001:db8::{i}]"], false),
        (&["\"203.0.113.{i}\""], false),
        (&["203.0.113.00{i}"], false),
        (&["2001:db8:1:2::{i}"], false),
        (&["2001:db8:1:2:{i}::1"], false),
        (&["unknown, _hidden{i}"], false),
        (&["127.0.0.{i}"], true),
    ];
    /// Forwarding headers that other servers trust and the gateway ignores.
    const NOT_BELIEVED: &[&str] = &[
        "x-real-ip",
        "forwarded",
        "x-client-ip",
        "cf-connecting-ip",
        "true-client-ip",
        "x-forwarded",
        "forwarded-for",
        "x-originating-ip",
        "x-cluster-client-ip",
        "x-forwarded-for ",
        "x_forwarded_for",
        "x-forwarded-host",
    ];
    let groups = json!({"user_groups": {"anonymous": {"tokens": 1}}});
    let start = |trusted: &str| {
        // Mint limits are per tenant, so each row has its own tenant.
        let setup = (0..100).fold(Setup::new(), |setup, at| {
            setup.tenant(&format!("r{at}"), groups.clone())
        });
        Gateway::start(
            setup
                .yaml("accounts: { mints_per_address: 3 }")
                .yaml(&format!("server: {{ trusted_proxies: [{trusted}] }}")),
        )
    };
    case(
        "addresses: x-forwarded-for from nobody who is trusted",
        || {
            let gateway = start("");
            let lines = BEHIND_A_PROXY
                .iter()
                .map(|(lines, _)| ("x-forwarded-for", *lines));
            let names = NOT_BELIEVED
                .iter()
                .map(|name| (*name, &["203.0.113.{i}"][..]));
            let rows: Vec<_> = lines
                .chain(names.filter(|(name, _)| !name.contains(' ')))
                .collect();
            for (at, (name, lines)) in rows.iter().enumerate() {
                let free = is_free(&gateway.client(), &format!("r{at}"), name, lines);
                assert!(!free, "{name}: {lines:?}");
            }
            format!("{} spellings, 0 believed", rows.len())
        },
    );
    case("addresses: x-forwarded-for through a trusted proxy", || {
        let gateway = start("127.0.0.0/8, \"::1\"");
        let client = gateway.client();

        for (at, (lines, is_told_apart)) in BEHIND_A_PROXY.iter().enumerate() {
            let free = is_free(&client, &format!("r{at}"), "x-forwarded-for", lines);
            assert_eq!(free, *is_told_apart, "{lines:?}");
        }
        for (at, name) in NOT_BELIEVED
            .iter()
            .enumerate()
            .filter(|(_, name)| !name.contains(' '))
        {
            let free = is_free(&client, &format!("r{}", at + 50), name, &["203.0.113.{i}"]);
            assert!(!free, "{name}");
        }
        format!("{} spellings", BEHIND_A_PROXY.len() + NOT_BELIEVED.len())
    });
}

/// All header names that a provider may receive.
const SENT: &[&str] = &[
    "host",
    "accept",
    "user-agent",
    "openai-beta",
    "idempotency-key",
    "anthropic-version",
    "anthropic-beta",
    "accept-encoding",
    "content-type",
    "content-length",
    "authorization",
    "x-api-key",
];

#[test]
fn provider_sees_the_gateways_credential_only() {
    case(
        "credentials: spellings of keys, and headers nominated for removal",
        || {
            let provider = Provider::start(|asked| match asked.path.ends_with("messages") {
                true => Script::message("Hi", 1, 1).header("set-cookie", "provider=1"),
                false => Script::chat("Hi", 1, 1).header("set-cookie", "provider=1"),
            });
            let config =
                sample(&provider).endpoint("claude", &provider.url("/v1/messages"), "claude");
            let gateway = Gateway::start(Setup::new().tenant("abc", config));
            let key = mint(&gateway, "abc");
            let mut rows: Vec<Vec<(String, String)>> = Vec::new();
            let row = |headers: &[(&str, &str)]| -> Vec<(String, String)> {
                headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect()
            };
            // The key in each key header, with other secrets in the remaining ones.
            let bearer = format!("Bearer {key}");
            for (name, value) in [
                ("Authorization", bearer.as_str()),
                ("AUTHORIZATION", &format!("bearer   {key}")),
                ("authorization", &format!("BEARER {key} ")),
                ("x-api-key", &key),
                ("X-API-KEY", &key),
                ("Api-Key", &key),
                ("x-goog-api-key", &key),
            ] {
                for other in [
                    "Authorization",
                    "x-api-key",
                    "X-Api-Key",
                    "api-key",
                    "x-goog-api-key",
                    "cookie",
                    "Cookie2",
                    "proxy-authorization",
                    "openai-organization",
                    "openai-project",
                    "x-amz-security-token",
                    "ocp-apim-subscription-key",
                    "x-auth-token",
                    "anthropic-api-key",
                    "authorization2",
                    "x-forwarded-for",
                    "x-forwarded-authorization",
                    "forwarded",
                    "via",
                    "te",
                    "trailer",
                    "keep-alive",
                    "proxy-connection",
                    "x-resullm-endpoint",
                    "referer",
                    "origin",
                ] {
                    let secret = if other.eq_ignore_ascii_case("authorization") {
                        "Basic client-secret"
                    } else {
                        "client-secret"
                    };
                    if !other.eq_ignore_ascii_case(name) {
                        rows.push(row(&[(name, value), (other, secret)]));
                        rows.push(row(&[(other, secret), (name, value)]));
                    }
                }
            }
            // Each header of the gateway's own, listed in the client's `Connection` header.
            let nominated =
                SENT.iter()
                    .chain(&["close", "keep-alive", "upgrade", "te", "x-request-id"]);
            for name in nominated {
                rows.push(row(&[("authorization", &bearer), ("connection", name)]));
                rows.push(row(&[
                    ("authorization", &bearer),
                    (
                        "Connection",
                        &format!("keep-alive, {}", name.to_uppercase()),
                    ),
                ]));
            }
            rows.push(row(&[
                ("authorization", &bearer),
                ("connection", &SENT.join(", ")),
            ]));
            rows.push(row(&[
                ("authorization", &bearer),
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
            ]));
            rows.push(row(&[
                ("authorization", &bearer),
                ("te", "trailers, chunked"),
                ("connection", "te"),
            ]));
            for headers in &rows {
                for (path, ours) in [
                    (
                        "/abc/v1/chat/completions",
                        ("authorization", format!("Bearer {PROVIDER_KEY}")),
                    ),
                    ("/abc/v1/messages", ("x-api-key", PROVIDER_KEY.to_owned())),
                ] {
                    let request = gateway.client().request("POST", path);
                    let request = headers.iter().fold(request, |request, (name, value)| {
                        request.header(name, value)
                    });
                    let answer = request
                        .json(&json!({"max_tokens": 20, "messages": []}))
                        .send();
                    assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
                    assert_eq!(answer.header("set-cookie"), None);
                    let seen = provider.requests().pop().unwrap();
                    let names: BTreeSet<String> = seen
                        .headers
                        .iter()
                        .map(|(name, _)| name.to_ascii_lowercase())
                        .collect();
                    let strange = names.iter().find(|name| !SENT.contains(&name.as_str()));
                    assert_eq!(strange, None, "{headers:?}");
                    let credentials: Vec<_> = seen
                        .headers
                        .iter()
                        .filter(|(name, _)| {
                            KEY_HEADERS.contains(&name.to_ascii_lowercase().as_str())
                        })
                        .map(|(name, value)| (name.as_str(), value.as_str()))
                        .collect();
                    assert_eq!(credentials, [(ours.0, ours.1.as_str())], "{headers:?}");
                    for wanted in ["host", "accept-encoding", "content-type", "content-length"] {
                        assert!(names.contains(wanted), "{wanted} is missing: {headers:?}");
                    }
                    assert!(ours.0 == "authorization" || names.contains("anthropic-version"));
                    let leaked = seen
                        .headers
                        .iter()
                        .find(|(_, value)| value.contains("client-secret") || value.contains(&key));
                    assert_eq!(leaked, None, "{headers:?}");
                }
            }
            format!(
                "{} sets of headers to two kinds of provider, one credential each",
                rows.len()
            )
        },
    );
}

#[test]
fn line_end_in_a_config_injects_no_header() {
    case("configs: line ends and control characters", || {
        let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
        let mut good: Value = sample(&provider).into();
        good["auth"] = json!({
            "stripe": {"api_key": "sk"},
            "google_oauth": {"client_id": "a", "client_secret": "b"},
            "apple_oauth": {"client_id": "a", "client_secret": "b"},
        });
        good["providers"]["realtime"] = json!({"default": "r", "endpoints": {"r": {
            "model": "m", "voice": "v", "encoding": "e", "api_key": "k",
        }}});
        good["providers"]["text"]["endpoints"]["openai"]["models"] = json!(["m"]);
        let gateway = Gateway::start(Setup::new().tenant("abc", good.clone()));
        let config = |method: &str| {
            gateway
                .client()
                .request(method, "/abc/admin/config")
                .bearer(gateway.admin_token())
        };
        let before = config("GET").send();
        let mut refused = 0;

        for path in [
            "providers.text.default",
            "providers.text.endpoints.openai.url",
            "providers.text.endpoints.openai.api_key",
            "providers.text.endpoints.openai.kind",
            "providers.text.endpoints.openai.default_model",
            "providers.text.endpoints.openai.models.0",
            "providers.realtime.default",
            "providers.realtime.endpoints.r.model",
            "providers.realtime.endpoints.r.voice",
            "providers.realtime.endpoints.r.encoding",
            "providers.realtime.endpoints.r.api_key",
            "auth.stripe.api_key",
            "auth.google_oauth.client_id",
            "auth.google_oauth.client_secret",
            "auth.apple_oauth.client_id",
            "auth.apple_oauth.client_secret",
        ] {
            let pointer = format!("/{}", path.replace('.', "/"));
            let value = good.pointer(&pointer);
            let value = value.and_then(Value::as_str).unwrap_or("openai").to_owned();
            for bad in [
                "\r\n",
                "\n",
                "\r",
                "\0",
                "\r\nx-evil: 1",
                "\u{1b}[2J",
                "\u{7f}",
                "\n\n",
                "\u{85}",
            ] {
                for text in [
                    format!("{value}{bad}"),
                    format!("{bad}{value}"),
                    format!("{value}{bad}{value}"),
                ] {
                    let mut config_with = good.clone();
                    match config_with.pointer_mut(&pointer) {
                        Some(place) => *place = json!(text),
                        None => {
                            config_with["providers"]["text"]["endpoints"]["openai"]["kind"] =
                                json!(text);
                        }
                    }
                    let answer = config("PUT").json(&json!({"config": config_with})).send();
                    assert_eq!(answer.status, 400, "{path}: {text:?}");
                    let details = answer.json()["details"].clone();
                    let named = details
                        .as_array()
                        .unwrap()
                        .iter()
                        .any(|fault| fault["path"] == path);
                    assert!(named, "{path}: {details}");
                    refused += 1;
                }
            }
        }
        for pointer in [
            "/providers/text/endpoints",
            "/providers/realtime/endpoints",
            "/user_groups",
        ] {
            for bad in ["a\r\nb", "a\0", "\n"] {
                let mut config_with = good.clone();
                let names = config_with.pointer_mut(pointer).unwrap();
                names[bad] = names.as_object().unwrap().values().next().unwrap().clone();
                let answer = config("PUT").json(&json!({"config": config_with})).send();
                assert_eq!(answer.status, 400, "{pointer}: {bad:?}");
                refused += 1;
            }
        }

        let after = config("GET").send();
        assert_eq!(
            (after.text(), after.header("etag")),
            (before.text(), before.header("etag"))
        );
        format!("{refused} configs refused with their places, nothing changed")
    });
}
