//! The log of changes: who changed what, on every admin route, and no secret in it.

use crate::harness::http::Response;
use crate::harness::{Gateway, Redis, Setup, eventually, mint};
use serde_json::{Value, json};
use std::time::Duration;

const SEAL_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Stands in every secret of these tests.
const MARK: &str = "c4n4ry";

fn config(tokens: u64, key: &str) -> Value {
    let url = format!("https://a.example/v1/chat/completions?key={key}-of-the-query");
    json!({
        "user_groups": {"anonymous": {"tokens": tokens}, "members": {"tokens": 9}},
        "providers": {"text": {"default": "a", "endpoints": {
            "a": {"url": url, "api_key": key, "api_keys": [format!("{key}-2")], "own": format!("{key}-3")},
        }}},
        "auth": {"stripe": {"api_key": format!("{key}-stripe"), "webhook_secrets": [format!("whsec_{key}")]}},
        "of_others": {"token": format!("{key}-unknown"), "number": tokens},
    })
}

fn on_both(test: impl Fn(Setup)) {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        test(setup);
    }
}

fn ask(gateway: &Gateway, token: &str, method: &str, path: &str, body: &Value) -> Response {
    let request = gateway.client().request(method, path).bearer(token);
    match body {
        Value::Null => request.send(),
        body => request.json(body).send(),
    }
}

fn changes(gateway: &Gateway, path: &str) -> Vec<Value> {
    let listed = ask(gateway, gateway.admin_token(), "GET", path, &Value::Null);
    assert_eq!(listed.status, 200, "{}", listed.text());
    listed.json()["changes"].as_array().unwrap().clone()
}

/// Asks every admin route that changes something, and returns the keys and tokens that were made.
fn tour(gateway: &Gateway) -> Vec<String> {
    let operator = gateway.admin_token().to_owned();
    let send = |token: &str, method: &str, path: &str, body: &Value| {
        let answer = ask(gateway, token, method, path, body);
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        answer
    };
    let new = json!({"name": "boss", "scope": "admin"});
    let made = send(&operator, "POST", "/abc/admin/tokens", &new).json();
    let boss = made["token"].as_str().unwrap().to_owned();
    let put = json!({"config": config(7, "c4n4ry-second")});
    send(&boss, "PUT", "/abc/admin/config", &put);
    send(
        &boss,
        "POST",
        "/abc/admin/config/history/1/restore",
        &Value::Null,
    );
    send(&operator, "POST", "/admin/tenants/abc/seal", &Value::Null);
    let minted = send(
        &boss,
        "POST",
        "/abc/admin/keys",
        &json!({"tokens": 50, "userId": "u1"}),
    )
    .json();
    let key = minted["apiKey"].as_str().unwrap().to_owned();
    let path = format!("/abc/admin/keys/{key}");
    let credit = json!({"tokens": 5, "id": "order-1"});
    send(&boss, "POST", &format!("{path}/credit"), &credit);
    send(&boss, "POST", &format!("{path}/credit"), &credit);
    let debit = json!({"tokens": 2, "id": "order-2", "comment": "twice"});
    send(&boss, "POST", &format!("{path}/debit"), &debit);
    send(&boss, "PATCH", &path, &json!({"group": "members"}));
    for suspended in [true, false] {
        let call = json!({"suspended": suspended});
        send(&boss, "POST", &format!("{path}/suspend"), &call);
    }
    let rolled = send(&boss, "POST", &format!("{path}/roll"), &Value::Null).json();
    let path = format!("/abc/admin/keys/{}", rolled["id"].as_str().unwrap());
    send(&boss, "DELETE", &path, &Value::Null);
    let session = json!({"userId": "user-1", "group": "members"});
    let opened = send(&boss, "POST", "/abc/auth/sessions", &session).json();
    send(&boss, "DELETE", "/abc/admin/users/user-1", &Value::Null);
    let reader = json!({"name": "reader", "scope": "read"});
    let reader = send(&boss, "POST", "/abc/admin/tokens", &reader).json();
    send(&boss, "DELETE", "/abc/admin/tokens/reader", &Value::Null);
    let new = json!({"id": "new", "config": config(1, "c4n4ry-new")});
    send(&operator, "POST", "/admin/tenants", &new);
    let tokens = json!({"tokens": ["c4n4ry-token-0123456789", {"token": "c4n4ry-reader-0123456789", "scope": "read", "name": "r"}]});
    send(&operator, "PUT", "/admin/tenants/new/tokens", &tokens);
    send(
        &operator,
        "PUT",
        "/admin/tenants/new",
        &json!({"config": {}}),
    );
    send(&operator, "DELETE", "/admin/tenants/new", &Value::Null);
    // Refused ones, which change nothing.
    for (method, path, body, status) in [
        (
            "PUT",
            "/abc/admin/config",
            json!({"config": {"user_groups": 5}}),
            400,
        ),
        (
            "POST",
            "/abc/admin/tokens",
            json!({"name": "boss", "scope": "read"}),
            409,
        ),
        ("DELETE", "/abc/admin/tokens/nobody", Value::Null, 404),
        ("DELETE", "/abc/admin/users/nobody", Value::Null, 404),
        ("DELETE", "/admin/tenants/nobody", Value::Null, 404),
    ] {
        assert_eq!(
            ask(gateway, &operator, method, path, &body).status,
            status,
            "{path}"
        );
    }
    let texts = [&opened["apiKey"], &reader["token"], &rolled["apiKey"]]
        .map(|text| text.as_str().unwrap().to_owned());
    [vec![boss, key, operator], texts.to_vec()].concat()
}

#[test]
fn every_change_is_told_and_no_secret_with_it() {
    on_both(|setup| {
        let setup = setup
            .env("SECRETS_KEY", SEAL_KEY)
            .tenant("abc", config(5, "c4n4ry-first"));
        let gateway = Gateway::start(setup);
        let secrets = tour(&gateway);

        let of_abc = changes(&gateway, "/abc/admin/audit?limit=200");
        let of_operator = changes(&gateway, "/admin/audit?limit=200");

        let actions = |changes: &[Value]| -> Vec<String> {
            let action = |change: &Value| change["action"].as_str().unwrap().to_owned();
            changes.iter().rev().map(action).collect()
        };
        assert_eq!(
            actions(&of_abc),
            [
                "token.made",
                "config.replaced",
                "config.restored",
                "config.sealed",
                "key.minted",
                "key.credited",
                "key.credited",
                "key.debited",
                "key.moved",
                "account.suspended",
                "account.resumed",
                "key.rolled",
                "key.revoked",
                "user.deleted",
                "token.made",
                "token.deleted",
            ]
        );
        assert_eq!(
            actions(&of_operator),
            [
                "token.made",
                "config.sealed",
                "tenant.created",
                "tokens.set",
                "config.replaced",
                "tenant.deleted"
            ]
        );
        let text = json!([of_abc, of_operator]).to_string();
        for secret in secrets
            .iter()
            .map(String::as_str)
            .chain([MARK, "sealed:v1"])
        {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        for change in of_abc.iter().chain(&of_operator) {
            assert_eq!(change["outcome"], "done", "{change}");
            assert_eq!(change["address"], "127.0.0.1", "{change}");
            assert!(
                !change["requestId"].as_str().unwrap().is_empty(),
                "{change}"
            );
        }
        let replaced = &of_abc[14];
        assert_eq!(
            (&replaced["by"], &replaced["scope"]),
            (&json!("boss"), &json!("admin"))
        );
        assert_eq!(replaced["before"]["user_groups.anonymous.tokens"], 5);
        assert_eq!(replaced["after"]["user_groups.anonymous.tokens"], 7);
        let at = "providers.text.endpoints.a.api_key";
        assert!(
            replaced["after"][at]
                .as_str()
                .unwrap()
                .starts_with("masked:v1:"),
            "{replaced}"
        );
        let credited = &of_abc[10];
        assert_eq!(credited["before"], json!({"tokensLeft": 50}));
        assert_eq!(
            credited["after"],
            json!({"credited": 5, "tokensLeft": 55, "repeated": false})
        );
        assert_eq!(of_abc[9]["after"]["repeated"], true);
        let before = json!({"group": "anonymous", "tokensLeft": 53});
        assert_eq!(of_abc[7]["before"], before);
        let set = of_operator[2]["after"]["tokens"].as_object().unwrap();
        assert_eq!((set.len(), &set["r"]), (2, &json!("read")), "{set:?}");

        let logs = gateway.logs().join("\n");
        assert!(!logs.contains(MARK), "{logs}");
    });
}

#[test]
fn changes_are_found_by_kind_time_and_page() {
    on_both(|setup| {
        let gateway = Gateway::start(
            setup
                .tenant("abc", config(5, "k"))
                .tenant("other", config(5, "k")),
        );
        let operator = gateway.admin_token();
        for number in 0..7 {
            let tokens = json!({"tokens": number});
            assert_eq!(
                ask(&gateway, operator, "POST", "/abc/admin/keys", &tokens).status,
                201
            );
        }
        let reader = json!({"name": "reader", "scope": "read"});
        let reader = ask(&gateway, operator, "POST", "/abc/admin/tokens", &reader).json();
        let reader = reader["token"].as_str().unwrap();
        let page = |path: &str| ask(&gateway, reader, "GET", path, &Value::Null);

        let mut seen = Vec::new();
        let mut path = "/abc/admin/audit?action=key.minted&limit=3".to_owned();
        loop {
            let listed = page(&path).json();
            let tokens = listed["changes"].as_array().unwrap().clone();
            seen.extend(
                tokens
                    .iter()
                    .map(|change| change["after"]["tokens"].as_u64().unwrap()),
            );
            let Some(cursor) = listed["cursor"].as_str() else {
                break;
            };
            path = format!("/abc/admin/audit?action=key.minted&limit=3&cursor={cursor}");
        }
        assert_eq!(seen, [6, 5, 4, 3, 2, 1, 0]);
        let newest = changes(&gateway, "/abc/admin/audit?limit=1")[0]["time"].clone();
        let newest = newest.as_str().unwrap().to_owned();
        let count = |query: &str| {
            let listed = page(&format!("/abc/admin/audit?{query}"));
            assert_eq!(listed.status, 200, "{}", listed.text());
            listed.json()["changes"].as_array().unwrap().len()
        };
        assert_eq!(count(&format!("since={newest}")), 1);
        assert_eq!(count(&format!("until={newest}")), 7);
        assert_eq!(count("until=2020-01-01"), 0);
        assert_eq!(count("action=nothing"), 0);

        // A cursor that is made up leads to the own list only, or nowhere.
        let listed = changes(&gateway, "/abc/admin/audit?limit=2");
        let id = listed[1]["id"].as_str().unwrap();
        assert!(changes(&gateway, &format!("/other/admin/audit?cursor={id}")).is_empty());
        for cursor in [
            "x",
            "../other",
            "9999999999999-x",
            "%00",
            "usage:other.audit",
        ] {
            let refused = page(&format!("/abc/admin/audit?cursor={cursor}"));
            assert_eq!(refused.status, 400, "{cursor}: {}", refused.text());
        }
        for query in ["limit=0", "limit=1000", "since=yesterday", "what=x"] {
            assert_eq!(
                page(&format!("/abc/admin/audit?{query}")).status,
                400,
                "{query}"
            );
        }
    });
}

#[test]
fn a_tenant_made_anew_does_not_see_the_changes_of_the_former_one() {
    let gateway = Gateway::start(Setup::new().tenant("abc", config(5, "k")));
    let operator = gateway.admin_token();
    let make = || {
        let new = json!({"id": "again", "config": {}});
        assert_eq!(
            ask(&gateway, operator, "POST", "/admin/tenants", &new).status,
            201
        );
        let new = json!({"name": "boss", "scope": "admin"});
        let made = ask(&gateway, operator, "POST", "/again/admin/tokens", &new);
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["token"].as_str().unwrap().to_owned()
    };
    let former = make();
    assert_eq!(
        ask(
            &gateway,
            operator,
            "DELETE",
            "/admin/tenants/again",
            &Value::Null
        )
        .status,
        200
    );
    let present = make();
    let listed = ask(
        &gateway,
        &present,
        "GET",
        "/again/admin/audit",
        &Value::Null,
    )
    .json();
    let actions: Vec<&str> = listed["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["token.made", "tenant.created"]);
    assert_eq!(
        changes(&gateway, "/again/admin/audit").len(),
        5,
        "the operator sees all"
    );
    let stranger = ask(&gateway, &former, "GET", "/again/admin/audit", &Value::Null);
    assert_eq!(stranger.status, 401);
}

#[test]
fn a_change_that_cannot_be_noted_is_not_made() {
    let redis = Redis::start();
    let gateway = Gateway::start(
        Setup::new()
            .store(&redis.url())
            .tenant("abc", config(5, "k")),
    );
    let operator = gateway.admin_token();
    let key = mint(&gateway, "abc");
    // A log that is no stream takes no record.
    redis.cli(&["SET", "usage:abc.audit", "in the way"]);
    let credit = json!({"tokens": 5, "id": "one"});
    let path = format!("/abc/admin/keys/{key}/credit");
    for (method, path, body) in [
        ("POST", path.as_str(), credit.clone()),
        ("PUT", "/abc/admin/config", json!({"config": {}})),
        (
            "POST",
            "/abc/admin/tokens",
            json!({"name": "x", "scope": "read"}),
        ),
        ("POST", "/abc/admin/keys", json!({})),
        ("DELETE", "/admin/tenants/abc", Value::Null),
    ] {
        let refused = ask(&gateway, operator, method, path, &body);
        assert!(
            refused.status == 503,
            "{method} {path}: {} {}",
            refused.status,
            refused.text()
        );
    }
    redis.cli(&["DEL", "usage:abc.audit"]);
    let me = ask(&gateway, &key, "GET", "/abc/auth/me", &Value::Null).json();
    assert_eq!(me["tokensLeft"], 5);
    eventually(Duration::from_secs(5), "changes are made again", || {
        let credited = ask(&gateway, operator, "POST", &path, &credit);
        (credited.status == 200).then_some(())
    });
    let me = ask(&gateway, &key, "GET", "/abc/auth/me", &Value::Null).json();
    assert_eq!(me["tokensLeft"], 10);
    let listed = changes(&gateway, "/abc/admin/audit?action=key.credited");
    assert_eq!(listed.len(), 1, "{listed:?}");
}
