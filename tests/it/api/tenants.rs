//! Tenants: resolved from the path, cached, and reloaded when the stored config changes.

use crate::harness::{Cluster, Gateway, Redis, Setup, eventually, mint};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const INVALID: &str = r#"{"error":"Invalid tenant ID"}"#;

fn config(tokens: u64) -> Value {
    json!({"user_groups": {"anonymous": {"tokens": tokens}}})
}

fn minted(gateway: &Gateway, tenant: &str) -> u64 {
    let response = gateway
        .client()
        .request("POST", &format!("/{tenant}/auth/anonymous"))
        .send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["tokensLeft"].as_u64().unwrap()
}

/// Tokens of a new anonymous key; `None` while the store is unreachable.
fn granted(gateway: &Gateway) -> Option<u64> {
    let response = gateway
        .client()
        .request("POST", "/abc/auth/anonymous")
        .send();
    assert!(matches!(response.status, 200 | 503), "{}", response.text());
    response.json()["tokensLeft"].as_u64()
}

fn on_both(test: impl Fn(&str, Setup)) {
    let redis = Redis::start();
    test("redis", Setup::new().store(&redis.url()));
    test("embedded", Setup::new());
}

#[test]
fn path_without_a_tenant_gets_the_documented_400() {
    on_both(|store, setup| {
        let gateway = Gateway::start(setup.tenant("abc", config(5)));
        let mut paths: Vec<String> = [
            "/nobody",
            "/nobody/v1/chat/completions",
            "/nobody/auth/anonymous",
            "/nobody/admin/config",
            "/v1/chat/completions",
            "/auth/anonymous",
            "/admin/config",
            "/-abc/v1",
            "/_abc",
            "/a.b",
            "//abc/auth/me",
            "/%61bc/auth/me",
            "/abc%2fauth/me",
            "/abc/../abc/auth/me",
            "/abc/%2e%2e/abc",
            "/abc/./auth/me",
            "/abc;x/auth/me",
            "/abc\\auth/me",
            "/abc%00/auth/me",
            "/abc/%zz",
            "/abc*",
            "/{abc}/auth/me",
            "/abc:config/auth/me",
        ]
        .map(str::to_owned)
        .to_vec();
        paths.push(format!("/{}", "a".repeat(64)));
        for path in paths {
            for method in ["GET", "POST", "PUT"] {
                let response = gateway.client().request(method, &path).send();
                // 405 for methods that a local route lacks is tested elsewhere.
                assert_eq!(
                    (response.status, response.text().as_str()),
                    (400, INVALID),
                    "{store}: {method} {path}"
                );
                assert_eq!(response.header("content-type"), Some("application/json"));
            }
        }
        for path in ["/abc", "/abc/"] {
            assert_eq!(gateway.client().get(path).status, 200, "{store}: {path}");
        }
        let raw = crate::harness::raw(
            gateway.addr(),
            b"GET /\xc3\xa4bc/auth/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert!(
            raw.starts_with(b"HTTP/1.1 400 "),
            "{}",
            String::from_utf8_lossy(&raw)
        );
    });
}

#[test]
fn path_without_a_tenant_belongs_to_the_default_tenant() {
    on_both(|_, setup| {
        let gateway = Gateway::start(setup.tenant("default", config(7)).tenant("abc", config(5)));
        let response = gateway.client().request("POST", "/auth/anonymous").send();
        assert_eq!(response.json()["tokensLeft"], 7);
        let key = response.json()["apiKey"].as_str().unwrap().to_owned();
        assert_eq!(
            gateway
                .client()
                .request("GET", "/default/auth/me")
                .bearer(&key)
                .send()
                .status,
            200
        );
        assert_eq!(
            gateway
                .client()
                .request("GET", "/auth/me")
                .bearer(&key)
                .send()
                .status,
            200
        );
        assert_eq!(
            gateway
                .client()
                .request("GET", "/abc/auth/me")
                .bearer(&key)
                .send()
                .status,
            401
        );
    });
}

#[test]
fn config_is_fetched_about_once_for_a_thousand_requests() {
    let redis = Redis::start();
    let setup = (0..5).fold(Setup::new().store(&redis.url()), |setup, i| {
        setup.tenant(&format!("t{i}"), config(5))
    });
    let gateway = Gateway::start(setup);
    let before = redis.calls("get");
    let clients: Vec<_> = (0..10)
        .map(|c| {
            let client = gateway.client();
            std::thread::spawn(move || {
                let mut connection = client.connect();
                for i in 0..100 {
                    assert_eq!(
                        connection
                            .request("GET", &format!("/t{}", (c + i) % 5))
                            .send()
                            .status,
                        200
                    );
                }
            })
        })
        .collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());

    let fetched = redis.calls("get") - before;

    assert!((5..=10).contains(&fetched), "{fetched} fetches");
    for i in 0..5 {
        assert_eq!(
            gateway.count_logs(&format!("[INFO] Loaded tenant config for t{i}")),
            1
        );
    }
    // Unknown tenant names cost at most one store read each.
    for _ in 0..20 {
        assert_eq!(gateway.client().get("/stranger").status, 400);
    }
    assert!(redis.calls("get") - before <= fetched + 1);
}

/// Asserts that a config change by another program reaches every gateway within a second.
#[track_caller]
fn follows(gateways: &[&Gateway], set: impl Fn(u64), values: std::ops::Range<u64>) {
    for value in values {
        set(value);
        let changed = Instant::now();
        for gateway in gateways {
            eventually(Duration::from_secs(1), "the change is in force", || {
                (granted(gateway) == Some(value)).then_some(())
            });
        }
        assert!(
            changed.elapsed() < Duration::from_secs(1),
            "{:?}",
            changed.elapsed()
        );
    }
}

#[test]
fn config_change_by_redis_cli_reaches_two_instances_in_a_second() {
    let redis = Redis::start();
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", config(1))
        .yaml("accounts: { mints_per_address: 100000 }");
    let (first, second) = (Gateway::start(setup.clone()), Gateway::start(setup));
    let both = [&first, &second];

    for gateway in both {
        assert_eq!(minted(gateway, "abc"), 1);
    }

    let set = |value: u64| {
        redis.cli(&["SET", "tenant:abc:config", &config(value).to_string()]);
    };
    follows(&both, set, 2..5);
    redis.kill_clients();
    follows(&both, set, 5..8);
    // The config changes while the gateways are disconnected.
    redis.kill_clients();
    set(8);
    for gateway in both {
        eventually(
            Duration::from_secs(2),
            "the missed change is in force",
            || (granted(gateway) == Some(8)).then_some(()),
        );
    }
    follows(&both, set, 9..12);
    // A tenant that was unknown until now, and one that is deleted.
    assert_eq!(first.client().get("/new").status, 400);

    redis.cli(&["SET", "tenant:new:config", "{}"]);
    eventually(Duration::from_secs(1), "the new tenant is known", || {
        (first.client().get("/new").status == 200).then_some(())
    });

    redis.cli(&["DEL", "tenant:new:config"]);
    eventually(Duration::from_secs(1), "the old tenant is gone", || {
        (first.client().get("/new").status == 400).then_some(())
    });
    redis.cli(&["FLUSHALL"]);
    for gateway in both {
        eventually(Duration::from_secs(1), "everything is gone", || {
            (gateway.client().get("/abc").status == 400).then_some(())
        });
    }
}

#[test]
fn config_change_is_in_force_after_a_redis_outage() {
    let redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", config(1))
        .yaml("accounts: { mints_per_address: 100000 }");
    let gateway = Gateway::start(setup);

    assert_eq!(minted(&gateway, "abc"), 1);

    redis.kill();
    let lost = || {
        (gateway
            .client()
            .request("POST", "/abc/auth/anonymous")
            .send()
            .status
            == 503)
            .then_some(())
    };
    eventually(Duration::from_secs(5), "the loss is noticed", lost);
    assert_eq!(gateway.client().get("/readyz").status, 503);
    assert_eq!(gateway.client().get("/healthz").status, 200);
    // The cached config still serves routes that need no store.
    assert_eq!(gateway.client().get("/abc").status, 200);

    redis.restart();
    let back = || (gateway.client().get("/readyz").status == 200).then_some(());
    eventually(Duration::from_secs(3), "the server is found again", back);

    let set = |value: u64| {
        redis.cli(&["SET", "tenant:abc:config", &config(value).to_string()]);
    };
    eventually(Duration::from_secs(3), "minting works", || {
        (gateway
            .client()
            .request("POST", "/abc/auth/anonymous")
            .send()
            .status
            == 200)
            .then_some(())
    });
    follows(&[&gateway], set, 2..5);
}

#[test]
fn config_change_on_a_cluster_is_in_force_within_a_second() {
    let cluster = Cluster::start();
    let setup = Setup::new()
        .store(&cluster.url())
        .tenant("abc", config(1))
        .yaml("accounts: { mints_per_address: 100000 }");
    let (first, second) = (Gateway::start(setup.clone()), Gateway::start(setup));

    assert_eq!(minted(&first, "abc"), 1);
    let set = |value: u64| {
        cluster.cli(&["SET", "tenant:abc:config", &config(value).to_string()]);
    };
    follows(&[&first, &second], set, 2..6);
}

#[test]
fn config_change_through_one_instance_reaches_the_other() {
    let redis = Redis::start();
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", config(1))
        .yaml("accounts: { mints_per_address: 100000 }");
    let (first, second) = (Gateway::start(setup.clone()), Gateway::start(setup));

    assert_eq!((minted(&first, "abc"), minted(&second, "abc")), (1, 1));
    let put = |value: u64| {
        let body = json!({"config": config(value)});
        let response = first
            .client()
            .request("PUT", "/abc/admin/config")
            .bearer(first.admin_token())
            .json(&body)
            .send();
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, r#"{"success":true}"#)
        );
        assert_eq!(
            minted(&first, "abc"),
            value,
            "at once on the instance that was asked"
        );
    };
    follows(&[&first, &second], put, 2..5);
}

#[test]
fn unusable_config_leaves_the_last_good_one_in_service() {
    let redis = Redis::start();
    let gateway = Gateway::start(Setup::new().store(&redis.url()).tenant("abc", config(1)));

    assert_eq!(minted(&gateway, "abc"), 1);

    redis.cli(&[
        "SET",
        "tenant:abc:config",
        r#"{"user_groups":{"anonymous":{"tokens":"many"}}}"#,
    ]);
    eventually(Duration::from_secs(2), "the config is read", || {
        minted(&gateway, "abc");
        (gateway.count_logs(
            "[ERROR] Tenant config for abc cannot be used: user_groups.anonymous.tokens",
        ) == 1)
            .then_some(())
    });
    assert_eq!(minted(&gateway, "abc"), 1);

    // A tenant whose config was never valid: only its admin routes work, and they can repair it.
    redis.cli(&["SET", "tenant:broken:config", "not json"]);
    let client = gateway.client();
    assert_eq!(
        client
            .request("POST", "/broken/auth/anonymous")
            .send()
            .status,
        503
    );

    let read = client
        .request("GET", "/broken/admin/config")
        .bearer(gateway.admin_token())
        .send();
    assert_eq!(
        (read.status, read.json()["config"].as_str()),
        (200, Some("not json"))
    );

    let body = json!({"config": config(3)});
    assert_eq!(
        client
            .request("PUT", "/broken/admin/config")
            .bearer(gateway.admin_token())
            .json(&body)
            .send()
            .status,
        200
    );
    assert_eq!(minted(&gateway, "broken"), 3);
    mint(&gateway, "broken");
}

#[test]
fn unknown_tenant_names_are_cached_in_bounded_number() {
    let gateway = Gateway::start(Setup::new().tenant("abc", config(1)));
    let mut connection = gateway.client().connect();

    for i in 0..30_000 {
        assert_eq!(
            connection
                .request("GET", &format!("/stranger-{i}"))
                .send()
                .status,
            400
        );
    }

    let memory = gateway.memory_kib();
    assert!(memory < 80 * 1024, "{memory} KiB");
    assert_eq!(gateway.client().get("/abc").status, 200);
}
