//! Admin API: a tenant's config through its admin tokens, and all tenants through the operator's token.

use crate::harness::{Gateway, Redis, Setup, mint};
use serde_json::{Value, json};

/// Unknown members, nulls, empty lists, unsorted lists and members, unusual number formats.
const ODD: &str = r#"{"z":[3,1,2,[]],"user_groups":{"anonymous":{"tokens":5,"note":null}},"a":{"x":1.50,"e":1e3},"empty":{},"u":"\u00e9 é","providers":null}"#;

fn on_both(test: impl Fn(Gateway)) {
    let redis = Redis::start();
    test(Gateway::start(
        Setup::new().tenant("abc", json!({"seeded": true})),
    ));
    test(Gateway::start(
        Setup::new()
            .store(&redis.url())
            .tenant("abc", json!({"seeded": true})),
    ));
}

#[test]
fn config_is_read_back_byte_for_byte() {
    on_both(|gateway| {
        let put = |body: &str| {
            gateway
                .client()
                .request("PUT", "/abc/admin/config")
                .bearer(gateway.admin_token())
                .body(body.as_bytes().to_vec())
                .send()
        };
        let get = || {
            gateway
                .client()
                .request("GET", "/abc/admin/config")
                .bearer(gateway.admin_token())
                .send()
        };
        let answer = put(&format!("{{ \"config\" : {ODD} }}"));
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, r#"{"success":true}"#)
        );
        let got = get();
        assert_eq!(got.text(), format!("{{\"config\":{ODD}}}"));
        assert_eq!(got.header("etag"), answer.header("etag"));
        // The body of `GET` is accepted by `PUT`.
        assert_eq!(put(&got.text()).status, 200);
        assert_eq!(get().text(), got.text());
    });
}

#[test]
fn an_invalid_config_names_every_field_and_changes_nothing() {
    on_both(|gateway| {
        let token = gateway.admin_token().to_owned();
        let client = gateway.client();
        let before = client
            .request("GET", "/abc/admin/config")
            .bearer(&token)
            .send();
        let bad = json!({"config": {
            "user_groups": {"anonymous": {"tokens": "many"}},
            "providers": {"text": {"default": "nobody", "endpoints": {"a": {"url": "ftp://x"}}}},
        }});
        for (method, path) in [("PUT", "/abc/admin/config"), ("PUT", "/admin/tenants/abc")] {
            let refused = client
                .request(method, path)
                .bearer(&token)
                .json(&bad)
                .send();
            assert_eq!(
                (refused.status, &refused.json()["error"]),
                (400, &json!("Invalid tenant config"))
            );
            let paths: Vec<String> = refused.json()["details"]
                .as_array()
                .unwrap()
                .iter()
                .map(|d| d["path"].as_str().unwrap().to_owned())
                .collect();
            for path in [
                "user_groups.anonymous.tokens",
                "providers.text.default",
                "providers.text.endpoints.a.url",
            ] {
                assert!(
                    paths.iter().any(|listed| listed == path),
                    "{path} in {paths:?}"
                );
            }
        }
        for body in [
            "",
            "{}",
            "nonsense",
            "[]",
            r#"{"config":[]}"#,
            r#"{"config":null}"#,
            r#"{"config":{}"#,
        ] {
            let refused = client
                .request("PUT", "/abc/admin/config")
                .bearer(&token)
                .body(body.as_bytes().to_vec())
                .send();
            assert_eq!(refused.status, 400, "{body}: {}", refused.text());
            assert!(refused.json()["error"].is_string());
        }
        let after = client
            .request("GET", "/abc/admin/config")
            .bearer(&token)
            .send();
        assert_eq!(
            (after.text(), after.header("etag")),
            (before.text(), before.header("etag"))
        );
    });
}

#[test]
fn edit_of_a_changed_config_is_refused() {
    on_both(|gateway| {
        let token = gateway.admin_token().to_owned();
        let client = gateway.client();
        let tag = || {
            client
                .request("GET", "/abc/admin/config")
                .bearer(&token)
                .send()
                .header("etag")
                .unwrap()
                .to_owned()
        };
        let put = |tag: &str, n: u64| {
            client
                .request("PUT", "/abc/admin/config")
                .bearer(&token)
                .header("if-match", tag)
                .json(&json!({"config": {"n": n}}))
                .send()
                .status
        };
        let first = tag();
        assert_eq!(put(&first, 1), 200);
        assert_eq!(put(&first, 2), 412);
        assert_eq!(put("\"other\"", 2), 412);
        assert_eq!(put("*", 3), 200);
        assert_eq!(put(&format!("\"x\", {}", tag()), 4), 200);
        let stored = client
            .request("GET", "/abc/admin/config")
            .bearer(&token)
            .send();
        assert_eq!(stored.text(), r#"{"config":{"n":4}}"#);
    });
}

#[test]
fn concurrent_conditional_writes_lose_no_edit() {
    let redis = Redis::start();
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", json!({"n": 0}));
    let gateways = [Gateway::start(setup.clone()), Gateway::start(setup)];
    let writers: Vec<_> = (0..8)
        .map(|i| {
            let gateway = &gateways[i % 2];
            let (client, token) = (gateway.client(), gateway.admin_token().to_owned());
            std::thread::spawn(move || {
                let mut written = 0;
                while written < 10 {
                    let read = client
                        .request("GET", "/abc/admin/config")
                        .bearer(&token)
                        .send();
                    let n = read.json()["config"]["n"].as_u64().unwrap();
                    let body = json!({"config": {"n": n + 1}});
                    let tag = read.header("etag").unwrap();
                    let put = client
                        .request("PUT", "/abc/admin/config")
                        .bearer(&token)
                        .header("if-match", tag)
                        .json(&body)
                        .send();
                    assert!(matches!(put.status, 200 | 412), "{}", put.text());
                    written += u64::from(put.status == 200);
                }
            })
        })
        .collect();
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());

    assert_eq!(
        redis.cli(&["GET", "tenant:abc:config"]).text(),
        r#"{"n":80}"#
    );
}

#[test]
fn only_admins_administer() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let config = json!({"user_groups": {"anonymous": {"tokens": 5}}});
        let gateway = Gateway::start(setup.tenant("abc", config.clone()).tenant("other", config));
        let client = gateway.client();
        let user = mint(&gateway, "abc");
        let routes = [
            ("GET", "/abc/admin/config"),
            ("PUT", "/abc/admin/config"),
            ("POST", "/abc/admin/keys"),
            ("GET", "/admin/tenants"),
            ("POST", "/admin/tenants"),
            ("GET", "/admin/tenants/abc"),
            ("PUT", "/admin/tenants/abc"),
            ("DELETE", "/admin/tenants/abc"),
            ("PUT", "/admin/tenants/abc/tokens"),
        ];
        for (method, path) in routes {
            for token in [
                "wrong",
                user.as_str(),
                "admin-token-for-test",
                "admin-token-for-tests-",
            ] {
                let refused = client
                    .request(method, path)
                    .bearer(token)
                    .json(&json!({}))
                    .send();
                assert_eq!(
                    (refused.status, refused.text().as_str()),
                    (401, r#"{"error":"Unauthorized"}"#),
                    "{method} {path}"
                );
                assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
            }
            assert_eq!(
                client.request(method, path).json(&json!({})).send().status,
                401
            );
            assert_eq!(
                client
                    .request(method, path)
                    .header("x-api-key", gateway.admin_token())
                    .json(&json!({}))
                    .send()
                    .status,
                401
            );
        }
        // A tenant's own admin token is valid for that tenant alone, never on the operator's routes.
        let own = "token-of-tenant-abc";
        let appoint = |tokens: Value| {
            client
                .request("PUT", "/admin/tenants/abc/tokens")
                .bearer(gateway.admin_token())
                .json(&json!({"tokens": tokens}))
                .send()
        };
        assert_eq!(
            appoint(json!([own])).json(),
            json!({"success": true, "count": 1})
        );
        let with = |path: &str| client.request("GET", path).bearer(own).send().status;
        assert_eq!(
            (
                with("/abc/admin/config"),
                with("/other/admin/config"),
                with("/admin/tenants")
            ),
            (200, 401, 401)
        );
        assert_eq!(appoint(json!(["short"])).status, 400);
        assert_eq!(with("/abc/admin/config"), 200);
        assert_eq!(appoint(json!([])).status, 200);
        assert_eq!(with("/abc/admin/config"), 401);
        assert_eq!(
            redis
                .cli(&["KEYS", "tenant:*:admins"])
                .list()
                .iter()
                .filter(|key| redis.cli(&["GET", &key.text()]).text().contains(own))
                .count(),
            0
        );
    }
}

#[test]
fn admin_api_without_an_operator_token_refuses_everyone() {
    let gateway = Gateway::start(Setup::new().admin_token("").tenant("abc", json!({})));
    gateway.wait_log("[WARN] admin.token is not set");
    for token in ["", "x", "null"] {
        assert_eq!(
            gateway
                .client()
                .request("GET", "/abc/admin/config")
                .bearer(token)
                .send()
                .status,
            401
        );
    }
    assert_eq!(gateway.client().get("/admin/tenants").status, 401);
}

#[test]
fn operator_lists_creates_replaces_and_deletes_tenants() {
    on_both(|gateway| {
        let client = gateway.client();
        let ask = |method: &str, path: &str, body: Value| {
            client
                .request(method, path)
                .bearer(gateway.admin_token())
                .json(&body)
                .send()
        };
        assert_eq!(
            ask("GET", "/admin/tenants", Value::Null).json(),
            json!({"tenants": ["abc"]})
        );
        assert_eq!(client.get("/xyz").status, 400);
        let create = json!({"id": "xyz", "config": {"a": 1}});
        assert_eq!(ask("POST", "/admin/tenants", create.clone()).status, 201);
        assert_eq!(ask("POST", "/admin/tenants", create).status, 409);
        assert_eq!(client.get("/xyz").status, 200);
        for bad in ["admin", "v1", "-a", "a/b", "", &"a".repeat(64)] {
            assert_eq!(
                ask("POST", "/admin/tenants", json!({"id": bad, "config": {}})).status,
                400,
                "{bad}"
            );
        }
        assert_eq!(
            ask("GET", "/admin/tenants/xyz", Value::Null).text(),
            r#"{"config":{"a":1}}"#
        );
        assert_eq!(
            ask("PUT", "/admin/tenants/xyz", json!({"config": {"a": 2}})).status,
            200
        );
        assert_eq!(
            ask("PUT", "/admin/tenants/new", json!({"config": {}})).status,
            201
        );
        assert_eq!(
            ask("GET", "/admin/tenants", Value::Null).json(),
            json!({"tenants": ["abc", "new", "xyz"]})
        );
        assert_eq!(ask("DELETE", "/admin/tenants/xyz", Value::Null).status, 200);
        assert_eq!(ask("DELETE", "/admin/tenants/xyz", Value::Null).status, 404);
        assert_eq!(ask("GET", "/admin/tenants/xyz", Value::Null).status, 404);
        assert_eq!(client.get("/xyz").status, 400);
        let other = client
            .request("PATCH", "/admin/tenants")
            .bearer(gateway.admin_token())
            .send();
        assert_eq!(
            (other.status, other.header("allow")),
            (405, Some("GET, POST"))
        );
    });
}
