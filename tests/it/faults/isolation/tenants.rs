//! Other tenants' accounts, admin routes and paths.

use super::{KEY_HEADERS, bytes_of, with};
use crate::faults::routes::{Operation, PROVIDER_CALLS, asking, face, form, operations};
use crate::faults::{case, many};
use crate::fuzz::{Dice, mutated};
use crate::harness::http::Response;
use crate::harness::{Client, Gateway, Provider, Redis, Script, Setup, mint, sample};
use serde_json::{Value, json};

const ADMIN_OF_ABC: &str = "admin-of-abc-0123456789";

const ADMIN_OF_OTHER: &str = "admin-of-other-0123456789";

fn operator(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Response {
    let request = gateway.client().request(method, path);
    let answer = request.bearer(gateway.admin_token()).json(body).send();
    assert!(answer.status < 300, "{method} {path}: {}", answer.text());
    answer
}

/// Two tenants with different admins.
fn two_tenants(setup: Setup, of_abc: &Provider, of_other: &Provider) -> Gateway {
    let marked = |provider: &Provider, note: &str| sample(provider).set("note", json!(note));
    let gateway = Gateway::start(
        setup
            .env("RESULLM__ACCOUNTS__FAILURES_PER_ADDRESS", "1000000")
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
fn other_tenants_data_looks_like_unknown_data() {
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
    // Also keys of users, which are not random.
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
        // Anonymous keys differ each time, so their values are not compared.
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
        // The other tenant's admin token, and a key in place of an admin token.
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
        // A tenant's own admin names a key of the other tenant.
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
fn admin_routes_refuse_strangers_and_survive_any_body() {
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
                    // The operator's token did delete everything.
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

#[test]
fn malformed_paths_reach_no_other_tenant() {
    case("isolation: spellings of paths", || {
        let of_abc = Provider::start(|_| Script::chat("answer-of-abc", 1, 1));
        let of_other = Provider::start(|_| Script::chat("answer-of-other", 1, 1));
        let gateway = two_tenants(Setup::new(), &of_abc, &of_other);
        let key = mint(&gateway, "abc");
        let lines = include_str!("../paths.txt").lines();

        let lines: Vec<&str> = lines.filter(|line| !line.starts_with("# ")).collect();
        assert!(lines.len() >= 80, "{}", lines.len());

        for line in &lines {
            ask_malformed(&gateway, &key, line);
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

fn ask_malformed(gateway: &Gateway, key: &str, line: &str) {
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
