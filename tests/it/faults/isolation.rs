//! Tenants do not see each other, and no client writes in a provider's or a proxy's name.

use super::routes::{Operation, PROVIDER_CALLS, asking, face, form, operations};
use super::{case, many};
use crate::fuzz::{Dice, mutated};
use crate::harness::http::Response;
use crate::harness::sample::PROVIDER_KEY;
use crate::harness::{Client, Gateway, Provider, Redis, Script, Setup, mint, raw_for, sample};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const KEY_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];
const ADMIN_OF_ABC: &str = "admin-of-abc-0123456789";
const ADMIN_OF_OTHER: &str = "admin-of-other-0123456789";

fn with(name: &str, key: &str) -> (String, String) {
    let bearer = name == "authorization";
    let value = if bearer {
        format!("Bearer {key}")
    } else {
        key.to_owned()
    };
    (name.to_owned(), value)
}

fn operator(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Response {
    let request = gateway.client().request(method, path);
    let answer = request.bearer(gateway.admin_token()).json(body).send();
    assert!(answer.status < 300, "{method} {path}: {}", answer.text());
    answer
}

/// Two tenants with admins of their own.
fn two_tenants(setup: Setup, of_abc: &Provider, of_other: &Provider) -> Gateway {
    let marked = |provider: &Provider, note: &str| sample(provider).set("note", json!(note));
    let gateway = Gateway::start(
        setup
            .tenant("abc", marked(of_abc, "data-of-abc"))
            .tenant("other", marked(of_other, "data-of-other")),
    );
    for (tenant, token) in [("abc", ADMIN_OF_ABC), ("other", ADMIN_OF_OTHER)] {
        let path = format!("/admin/tenants/{tenant}/tokens");
        operator(&gateway, "PUT", &path, &json!({"tokens": [token]}));
    }
    gateway
}

#[test]
fn what_belongs_to_another_tenant_is_as_unknown_as_what_does_not_exist() {
    let redis = [Redis::start(), Redis::start()];
    for (at, layout) in ["key", "user"].into_iter().enumerate() {
        for store in [None, Some(redis[at].url())] {
            let name = store.as_ref().map_or("embedded", |_| "Redis");
            case(
                &format!("isolation: another tenant's keys and tokens, {name}, layout {layout}"),
                || {
                    let yaml =
                        format!("accounts: {{ layout: {layout}, mints_per_address: 100000 }}");
                    let setup = Setup::new().yaml(&yaml);
                    let setup = store.iter().fold(setup, |setup, url| setup.store(url));
                    let compared = others_are_unknown(setup);
                    format!("{compared} answers equal byte for byte")
                },
            );
        }
    }
}

fn others_are_unknown(setup: Setup) -> usize {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = two_tenants(setup, &provider, &provider);
    let client = gateway.client();
    let theirs = mint(&gateway, "abc");
    // Not only anonymous ones, and not only such as are drawn at random.
    let of_user = json!({"tokens": 500, "userId": "someone"});
    let of_user = operator(&gateway, "POST", "/abc/admin/keys", &of_user).json();
    let of_user = of_user["apiKey"].as_str().unwrap().to_owned();
    let before = worth(&client, &theirs);
    let unknown = format!("temp_{}", "0f0e0d0c-0b0a-4908-8706-050403020100");
    let mut compared = 0;
    let mut same = |what: String, a: Response, b: Response| {
        let given = |answer: &Response| {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            body.get("apiKey").is_some()
        };
        // A key that is given to anyone who asks is another one each time.
        if !(given(&a) && given(&b)) {
            assert_eq!(face(&a), face(&b), "{what}");
        }
        compared += 1;
    };

    for operation in operations(&client) {
        let body = json!({"tokens": 1, "group": "anonymous", "messages": []});
        let ask = |path: &str, headers: &[(String, String)]| {
            ask(&client, &operation, path, headers, &body)
        };
        let path = operation.path("other", "temp_nobody");
        for name in KEY_HEADERS {
            for theirs in [&theirs, &of_user] {
                let (a, b) = (with(name, theirs), with(name, &unknown));
                let what = format!("{} {path} with a key in {name}", operation.method);
                let answer = ask(&path, &[a]);
                if operation.is_users || operation.is_admins {
                    assert_eq!(answer.status, 401, "{what}");
                }
                same(what, answer, ask(&path, &[b]));
            }
        }
        // Another tenant's admin, and a key in an admin's place.
        for token in [ADMIN_OF_ABC, &theirs] {
            let (a, b) = (
                with("authorization", token),
                with("authorization", "no-admin-at-all"),
            );
            let what = format!("{} {path} with another's token", operation.method);
            let answer = ask(&path, &[a]);
            if operation.is_admins {
                assert_eq!(answer.status, 401, "{what}");
            }
            same(what, answer, ask(&path, &[b]));
        }
        // A tenant's own admin asks for the key of another.
        if operation.template.contains("{key}") {
            let own = [with("authorization", ADMIN_OF_OTHER)];
            for theirs in [&theirs, &of_user] {
                let what = format!("{} {path} of another's key", operation.method);
                let answer = ask(&operation.path("other", theirs), &own);
                assert_eq!(answer.status, 404, "{what}");
                same(what, answer, ask(&operation.path("other", &unknown), &own));
            }
        }
    }
    let calls = PROVIDER_CALLS.iter().map(|call| ("POST", *call));
    for (method, call) in calls.chain([("GET", "models"), ("GET", "models/gpt-4o")]) {
        let path = format!("/other/v1/{call}");
        for name in KEY_HEADERS {
            let ask = |key: &str| {
                let (name, value) = with(name, key);
                let request = client.request(method, &path).header(&name, &value);
                match form(call, "x") {
                    Some((kind, body)) => request.header("content-type", &kind).body(body).send(),
                    None => request.json(&asking(call, "x", false)).send(),
                }
            };
            for theirs in [&theirs, &of_user, &ADMIN_OF_OTHER.to_owned()] {
                let answer = ask(theirs);
                assert_eq!(answer.status, 401, "{path}");
                same(format!("{path} with {name}"), answer, ask(&unknown));
            }
        }
    }
    assert_eq!(provider.requests().len(), 0);
    assert_eq!(worth(&client, &theirs), before);
    compared
}

fn ask(
    client: &Client,
    operation: &Operation,
    path: &str,
    headers: &[(String, String)],
    body: &Value,
) -> Response {
    let request = client.request(&operation.method, path);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(name, value)
    });
    match operation.has_body {
        true => request.json(body).send(),
        false => request.send(),
    }
}

fn worth(client: &Client, key: &str) -> (u64, Value) {
    let me = client.request("GET", "/abc/auth/me").bearer(key).send();
    assert_eq!(me.status, 200, "{}", me.text());
    (
        me.json()["tokensLeft"].as_u64().unwrap(),
        me.json()["group"].clone(),
    )
}

#[test]
fn no_admin_route_answers_a_stranger_and_no_body_makes_one_fail() {
    case("admin: generated bodies with and without a token", || {
        let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
        let setup = Setup::new().yaml("accounts: { failures_per_address: 1000000 }");
        let gateway = two_tenants(setup, &provider, &provider);
        let client = gateway.client();
        let key = mint(&gateway, "abc");
        let config: Value = sample(&provider).into();
        let bodies: Vec<Vec<u8>> = [
            json!({"config": config}),
            json!({"id": "new", "config": config}),
            json!({"tokens": 5, "id": "once", "group": "anonymous", "userId": "u"}),
            json!({"tokens": ["0123456789abcdef"]}),
        ]
        .iter()
        .map(|body| body.to_string().into_bytes())
        .collect();
        let mut asked = 0;
        let operations = operations(&client);
        for operation in operations.iter().filter(|operation| operation.is_admins) {
            for number in 0..many(15, 1500) {
                let mut dice = Dice::new(number);
                let seed = &bodies[dice.throw(bodies.len())];
                let body = mutated(seed, &bodies, &mut dice);
                let path = operation.path("other", &key);
                for credential in ["", "nobody", &key, ADMIN_OF_ABC, gateway.admin_token()] {
                    // Whoever may delete everything has deleted it.
                    let is_operator = credential == gateway.admin_token();
                    if is_operator && operation.method == "DELETE" {
                        continue;
                    }
                    let request = client.request(&operation.method, &path);
                    let request = request.bearer(credential).body(body.clone());
                    let answer = request.send();
                    let what = || format!("{} {path} {}", operation.method, body.escape_ascii());
                    assert!(answer.status < 500, "{}: {}", what(), answer.text());
                    assert!(
                        is_operator || answer.status == 401,
                        "{} {}",
                        answer.status,
                        what()
                    );
                    asked += 1;
                }
            }
        }
        format!("{asked} requests, no 5xx, no stranger answered")
    });
}

/// `\xNN` is a byte.
fn bytes_of(line: &str) -> Vec<u8> {
    let mut parts = line.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

#[test]
fn no_spelling_of_a_path_leads_to_another_tenant() {
    case("isolation: spellings of paths", || {
        let of_abc = Provider::start(|_| Script::chat("answer-of-abc", 1, 1));
        let of_other = Provider::start(|_| Script::chat("answer-of-other", 1, 1));
        let gateway = two_tenants(Setup::new(), &of_abc, &of_other);
        let key = mint(&gateway, "abc");
        let lines = include_str!("paths.txt").lines();
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with("# ")).collect();
        assert!(lines.len() >= 80, "{}", lines.len());
        for line in &lines {
            ask_crookedly(&gateway, &key, line);
        }
        assert_eq!(of_other.requests().len(), 0);
        assert!(!of_abc.requests().is_empty(), "the straight one arrives");
        format!(
            "{} spellings, {} requests, 0 led to another tenant",
            lines.len(),
            5 * lines.len()
        )
    });
}

fn ask_crookedly(gateway: &Gateway, key: &str, line: &str) {
    for (method, route, credential, body) in [
        ("POST", "/v1/chat/completions", key, r#"{"messages":[]}"#),
        ("GET", "/v1/models", key, ""),
        ("GET", "/auth/me", key, ""),
        ("GET", "/admin/config", ADMIN_OF_ABC, ""),
        ("GET", "/admin/usage", ADMIN_OF_ABC, ""),
    ] {
        let mut bytes = format!("{method} ").into_bytes();
        bytes.extend(bytes_of(&line.replace("{r}", route)));
        let head = format!(
            " HTTP/1.1\r\nHost: other\r\nAuthorization: Bearer {credential}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        bytes.extend_from_slice(head.as_bytes());
        let mut connection = gateway.client().connect();
        connection.write(&bytes);
        let answer = connection.read_answer().unwrap();
        let text = answer.text();
        let is_theirs = text.contains("data-of-other") || text.contains("answer-of-other");
        assert!(!is_theirs && answer.status < 500, "{line}{route}: {text}");
    }
}

/// Four requests for keys, of which three are granted to one address: whether all four were, each line
/// of `forwarded` with the number of its request in place of `{i}`.
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
fn a_client_has_the_address_that_a_trusted_proxy_saw() {
    /// Who must be told apart (or not) by what stands in the header.
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
    /// Headers that some believe, and that are nobody's word here.
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
        // Budgets are each tenant's own, so each row has a tenant.
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

/// Everything a provider may be sent in a header's name.
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
fn a_provider_sees_one_credential_and_it_is_ours() {
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
            // The key in each place, beside something secret in each other place.
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
            // Each header that is ours, nominated as one to be removed on the way.
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
fn no_line_end_in_a_config_becomes_one_in_a_request() {
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
