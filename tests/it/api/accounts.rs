//! Keys through the account and admin routes: mint, show, rate limit, expiry, and the stored record layouts.

use crate::harness::{Gateway, Redis, Setup, mint, resullm};
use serde_json::{Value, json};

fn config() -> Value {
    json!({"user_groups": {
        "anonymous": {"tokens": 100, "rate_limit": 10, "rate_limit_window": 60},
        "paid": {"tokens": 5000},
    }})
}

fn me(gateway: &Gateway, tenant: &str, key: &str) -> crate::harness::http::Response {
    gateway
        .client()
        .request("GET", &format!("/{tenant}/auth/me"))
        .bearer(key)
        .send()
}

#[test]
fn anonymous_key_has_its_groups_balance_for_a_day() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let gateway = Gateway::start(setup.tenant("abc", config()));
        let response = gateway
            .client()
            .request("POST", "/abc/auth/anonymous")
            .send();
        assert_eq!(
            (response.status, response.header("content-type")),
            (200, Some("application/json"))
        );
        let minted = response.json();
        let key = minted["apiKey"].as_str().unwrap();
        let id: uuid::Uuid = key.strip_prefix("temp_").unwrap().parse().unwrap();
        assert_eq!(id.get_version_num(), 4);
        assert_eq!(minted["tokensLeft"], 100);
        assert_eq!(
            (
                &minted["group"],
                &minted["rateLimit"],
                &minted["rateLimitWindow"]
            ),
            (&json!("anonymous"), &json!(10), &json!(60))
        );
        let shown = me(&gateway, "abc", key).json();
        assert_eq!(
            (
                &shown["tokensLeft"],
                &shown["tokensFree"],
                &shown["requestsRemaining"]
            ),
            (&json!(100), &json!(100), &json!(10))
        );
        assert!(shown["expiresAt"].is_string());
        for name in ["x-api-key", "api-key"] {
            let shown = gateway
                .client()
                .request("GET", "/abc/auth/me")
                .header(name, key)
                .send();
            assert_eq!(shown.status, 200, "{name}");
        }
        for wrong in ["temp_unknown", "", "' OR '1'='1", "{x}"] {
            assert_eq!(me(&gateway, "abc", wrong).status, 401, "{wrong}");
        }
    }
}

#[test]
fn records_use_the_configured_layout_and_read_both() {
    let redis = Redis::start();
    let setup = Setup::new().store(&redis.url()).tenant("abc", config());
    let by_key = Gateway::start(setup.clone());
    let by_user = Gateway::start(setup.yaml("accounts: { layout: user }"));
    let (one, two) = (mint(&by_key, "abc"), mint(&by_user, "abc"));

    let record: Value =
        serde_json::from_str(&redis.cli(&["GET", &format!("apiKey:{one}")]).text()).unwrap();
    assert_eq!(
        (
            &record["userId"],
            &record["tokensLeft"],
            &record["tenantId"],
            &record["group"]
        ),
        (
            &Value::Null,
            &json!(100),
            &json!("abc"),
            &json!("anonymous")
        )
    );
    let created = record["createdAt"].as_str().unwrap();
    assert!(
        created.len() == 24 && created.ends_with('Z') && created.starts_with("20"),
        "{created}"
    );

    let user = redis.cli(&["GET", &format!("apiKey:{two}")]).text();
    let record: Value =
        serde_json::from_str(&redis.cli(&["GET", &format!("user:{user}")]).text()).unwrap();
    assert_eq!(
        (
            &record["tokensLeft"],
            &record["tenantId"],
            record.get("userId")
        ),
        (&json!(100), &json!("abc"), None)
    );

    for name in [
        format!("apiKey:{one}"),
        format!("apiKey:{two}"),
        format!("user:{user}"),
    ] {
        let life = redis.cli(&["TTL", &name]).int();
        assert!((86_300..=86_400).contains(&life), "{life}");
    }
    for gateway in [&by_key, &by_user] {
        for key in [&one, &two] {
            assert_eq!(me(gateway, "abc", key).json()["tokensLeft"], 100);
        }
    }
}

#[test]
fn records_of_older_servers_work() {
    let redis = Redis::start();
    let gateway = Gateway::start(
        Setup::new()
            .store(&redis.url())
            .tenant("abc", config())
            .tenant("other", config()),
    );
    redis.cli(&[
        "SET",
        "apiKey:temp_old",
        r#"{"userId":null,"createdAt":"x","tokensLeft":9007199254740991}"#,
    ]);
    redis.cli(&["SET", "apiKey:plain-uuid", "u1"]);
    redis.cli(&["SET", "user:u1", r#"{"createdAt":"x","tokensLeft":42}"#]);

    let old = me(&gateway, "abc", "temp_old").json();
    assert_eq!(
        (&old["tokensLeft"], &old["group"]),
        (&json!(9_007_199_254_740_991_u64), &json!("anonymous"))
    );
    assert_eq!(me(&gateway, "abc", "plain-uuid").json()["tokensLeft"], 42);
    // `auth/me` does not bind a key to a tenant; the first call does.
    assert_eq!(me(&gateway, "other", "temp_old").status, 200);

    let damaged = r#"{"tokensLeft":"lots"}"#;
    redis.cli(&["SET", "apiKey:temp_damaged", damaged]);
    let answer = me(&gateway, "abc", "temp_damaged");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (500, r#"{"error":"Internal Server Error"}"#)
    );
    let logged = gateway.wait_log("[ERROR] A record is damaged");
    assert!(!logged.contains("temp_damaged"), "{logged}");
    assert_eq!(redis.cli(&["GET", "apiKey:temp_damaged"]).text(), damaged);
}

#[test]
fn a_key_of_one_tenant_is_unknown_to_every_other() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let gateway = Gateway::start(setup.tenant("abc", config()).tenant("other", config()));
        let key = mint(&gateway, "abc");
        let call = json!({"messages": []});
        let body = |tenant: &str, key: &str| {
            let shown = me(&gateway, tenant, key);
            let sent = crate::harness::chat(&gateway, tenant, key, &call);
            (shown.status, shown.text(), sent.status)
        };
        assert_eq!(
            body("other", &key),
            body("other", "temp_00000000-0000-4000-8000-000000000000")
        );
        assert_eq!(body("other", &key).0, 401);
    }
}

#[test]
fn mints_of_one_address_are_limited() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let yaml = "accounts: { mints_per_address: 3, mint_window: 1h }\nserver: { trusted_proxies: [127.0.0.1] }";
        let setup = setup.tenant("abc", config()).yaml(yaml);
        let gateway = Gateway::start(setup);
        let mint_as = |address: &str| {
            gateway
                .client()
                .request("POST", "/abc/auth/anonymous")
                .header("x-forwarded-for", address)
                .send()
        };
        for _ in 0..3 {
            assert_eq!(mint_as("192.0.2.1").status, 200);
        }
        let limited = mint_as("192.0.2.1");
        assert_eq!(limited.status, 429);
        let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
        assert!((3_000..=3_960).contains(&wait), "{wait}");
        assert!(limited.json()["error"].is_string());
        assert_eq!(mint_as("192.0.2.2").status, 200);
        // All addresses of one /64 share the limit.
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"] {
            assert_eq!(mint_as(host).status, 200);
        }
        assert_eq!(mint_as("2001:db8::9").status, 429);
        assert_eq!(mint_as("2001:db8:0:1::9").status, 200);
    }
}

#[test]
fn forwarded_address_of_an_untrusted_peer_is_ignored() {
    let gateway = Gateway::start(
        Setup::new()
            .tenant("abc", config())
            .yaml("accounts: { mints_per_address: 2 }"),
    );
    let statuses: Vec<u16> = (0..4)
        .map(|i| {
            gateway
                .client()
                .request("POST", "/abc/auth/anonymous")
                .header("x-forwarded-for", &format!("192.0.2.{i}"))
                .send()
                .status
        })
        .collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn an_admin_mints_shows_credits_moves_and_revokes_keys() {
    let redis = Redis::start();
    for setup in [
        Setup::new(),
        Setup::new().store(&redis.url()),
        Setup::new().yaml("accounts: { layout: user }"),
    ] {
        let gateway = Gateway::start(setup.tenant("abc", config()));
        let ask = |method: &str, path: &str, body: Value| {
            gateway
                .client()
                .request(method, &format!("/abc/admin/keys{path}"))
                .bearer(gateway.admin_token())
                .json(&body)
                .send()
        };
        let minted = ask(
            "POST",
            "",
            json!({"group": "paid", "tokens": 70, "expiresInSeconds": 900, "userId": "u-7"}),
        );
        assert_eq!(minted.status, 201, "{}", minted.text());
        let key = minted.json()["apiKey"].as_str().unwrap().to_owned();
        assert!(key.starts_with("user_") && minted.json()["expiresAt"].is_string());
        let shown = ask("GET", &format!("/{key}"), Value::Null).json();
        assert_eq!(
            (&shown["tokensLeft"], &shown["group"]),
            (&json!(70), &json!("paid"))
        );
        assert!(!shown["keyId"].as_str().unwrap().contains(&key));
        for repeated in [false, true] {
            let credited = ask(
                "POST",
                &format!("/{key}/credit"),
                json!({"tokens": 30, "id": "invoice-1"}),
            );
            let credited = credited.json();
            assert_eq!(
                (&credited["tokensLeft"], &credited["repeated"]),
                (&json!(100), &json!(repeated))
            );
            assert_eq!(credited["account"], shown["account"]);
        }
        assert_eq!(
            ask("PATCH", &format!("/{key}"), json!({"group": "anonymous"})).status,
            200
        );
        assert_eq!(me(&gateway, "abc", &key).json()["rateLimit"], 10);
        for (method, path, body, part) in [
            (
                "POST",
                String::new(),
                json!({"group": "nobody"}),
                "there are: anonymous, paid",
            ),
            ("POST", String::new(), json!({"tokens": -1}), "line 1"),
            (
                "POST",
                String::new(),
                json!({"tokens": 9_007_199_254_740_992_u64}),
                "at most",
            ),
            (
                "POST",
                String::new(),
                json!({"colour": 1}),
                "unknown field, expected one of `group`",
            ),
            ("POST", String::new(), json!({"userId": "a b"}), "user ID"),
            ("PATCH", format!("/{key}"), json!({}), "group"),
            (
                "POST",
                format!("/{key}/credit"),
                json!({"tokens": 9_007_199_254_740_991_u64}),
                "at most",
            ),
        ] {
            let refused = ask(method, &path, body);
            assert_eq!(refused.status, 400);
            assert!(
                refused.json()["error"].as_str().unwrap().contains(part),
                "{}",
                refused.text()
            );
        }
        assert_eq!(ask("DELETE", &format!("/{key}"), Value::Null).status, 200);
        assert_eq!(ask("GET", &format!("/{key}"), Value::Null).status, 404);
        assert_eq!(me(&gateway, "abc", &key).status, 401);
        let without = gateway
            .client()
            .request("POST", "/abc/admin/keys")
            .json(&json!({}))
            .send();
        assert_eq!(without.status, 401);
    }
}

#[test]
fn command_line_manages_keys_like_the_admin_api() {
    let redis = Redis::start();
    let env = [("REDIS_URL", redis.url())];
    let env: Vec<(&str, &str)> = env
        .iter()
        .map(|(name, url)| (*name, url.as_str()))
        .collect();
    let dir = crate::harness::TempDir::new();
    let file = dir.write("t.json", &config().to_string());
    let run = |args: &[&str]| {
        let output = resullm(args, &env);
        let text = String::from_utf8_lossy(if output.status.success() {
            &output.stdout
        } else {
            &output.stderr
        })
        .into_owned();
        (output.status.code(), text)
    };
    let done = |args: &[&str]| {
        let (code, text) = run(args);
        assert_eq!(code, Some(0), "{args:?}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    done(&["tenant", "put", "abc", file.to_str().unwrap()]);

    assert_eq!(done(&["tenant", "list"]), json!({"tenants": ["abc"]}));
    assert_eq!(done(&["tenant", "get", "abc"]), config());

    let of_key = |args: &[&str]| done(&[&["key", "--tenant", "abc", "--json"], args].concat());
    let key = of_key(&["mint", "--group", "paid", "--tokens", "12"])["apiKey"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(of_key(&["show", &key])["tokensLeft"], 12);
    assert_eq!(
        of_key(&["credit", &key, "8", "--id", "c1"])["tokensLeft"],
        20
    );

    of_key(&["revoke", &key]);
    for wrong in [
        &["key", "show", &key, "--tenant", "abc"][..],
        &["key", "mint", "--tenant", "nobody"],
        &["tenant", "get", "nobody"],
        &["key", "mint", "--tenant", "abc", "--group", "x"],
    ] {
        let (code, text) = run(wrong);
        assert_eq!(code, Some(1), "{wrong:?}");
        assert!(text.starts_with("[ERROR]"), "{text}");
    }
    done(&["tenant", "delete", "abc"]);
    assert_eq!(done(&["tenant", "list"]), json!({"tenants": []}));
}
