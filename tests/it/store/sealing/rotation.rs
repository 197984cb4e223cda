//! Key rotation: `resullm seal` replaces the sealing key under all configs.

use super::{
    API_KEY, CONFIG, KEY, OTHER, ask, config, hits, on_both, provider, sealing, sent_key, stop,
    stored,
};
use crate::harness::{Gateway, Redis, Setup, resullm};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn key_rotation_reseals_every_config() {
    on_both(|setup, at_rest| {
        let provider = provider();
        // Without a sealing key, configs are stored as plain text.
        let gateway = Gateway::start(setup.clone());
        assert_eq!(
            ask(
                &gateway,
                "PUT",
                "/admin/tenants/plain",
                &json!({"config": config(&provider, "canary-plain")})
            )
            .status,
            201
        );
        assert_eq!(stored(&gateway, "plain"), config(&provider, "canary-plain"));
        let without = ask(&gateway, "POST", "/admin/tenants/abc/seal", &Value::Null);
        assert_eq!(without.status, 409, "{}", without.text());
        stop(&gateway);
        let gateway = Gateway::start(
            sealing(setup.clone(), OTHER)
                .tenant("abc", config(&provider, "canary-abc"))
                .tenant("xyz", config(&provider, "canary-xyz")),
        );
        stop(&gateway);
        assert!(
            hits(&at_rest(), "canary-plain") > 0,
            "what is readable is found"
        );

        let both = setup
            .clone()
            .yaml("secrets: { key: \"${SECRETS_KEY}\", old_keys: [\"${OLD_KEY}\"] }")
            .env("SECRETS_KEY", KEY)
            .env("OLD_KEY", OTHER);
        let env = [("SECRETS_KEY", KEY), ("OLD_KEY", OTHER)];
        let yaml = both.write_config().display().to_string();
        let run = |args: &[&str]| {
            let output = resullm(&[&["--config", &yaml, "tenant"], args].concat(), &env);
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            (
                output.status.code(),
                text(output.stdout),
                text(output.stderr),
            )
        };
        assert_eq!(run(&["seal"]).0, Some(2));
        assert_eq!(run(&["seal", "--all", "abc"]).0, Some(2));
        let (code, told, _) = run(&["seal", "abc"]);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (code, told),
            (
                Some(0),
                json!({"id": "abc", "sealed": 0, "resealed": 3, "kept": 0})
            )
        );
        let (code, _, why) = run(&["seal", "nobody", "plain"]);
        assert_eq!(code, Some(1));
        assert!(
            why.contains("[ERROR] Tenant nobody is as it was: "),
            "{why}"
        );

        // A gateway with both keys serves during the rotation and can reseal too.
        let gateway = Gateway::start(both.clone());
        for (tenant, sealed) in [
            (
                "abc",
                json!({"id": "abc", "sealed": 0, "resealed": 0, "kept": 3}),
            ),
            (
                "plain",
                json!({"id": "plain", "sealed": 0, "resealed": 0, "kept": 3}),
            ),
        ] {
            let path = format!("/admin/tenants/{tenant}/seal");
            let before = stored(&gateway, tenant);
            assert_eq!(ask(&gateway, "POST", &path, &Value::Null).json(), sealed);
            assert_eq!(stored(&gateway, tenant), before);
            assert_eq!(
                sent_key(&gateway, tenant, &provider),
                format!("Bearer canary-{tenant}")
            );
        }
        let not_operator = gateway
            .client()
            .request("POST", "/admin/tenants/abc/seal")
            .send();
        assert_eq!(not_operator.status, 401);
        stop(&gateway);
        let (code, told, why) = run(&["seal", "--all"]);
        assert_eq!((code, why.as_str()), (Some(0), ""), "{told}");
        assert_eq!(told.matches("\"resealed\": 3").count(), 1, "{told}");
        assert_eq!(told.matches("\"kept\": 3").count(), 2, "{told}");

        let gateway = Gateway::start(sealing(setup, KEY));
        for tenant in ["abc", "xyz", "plain"] {
            assert_eq!(
                sent_key(&gateway, tenant, &provider),
                format!("Bearer canary-{tenant}")
            );
        }
        stop(&gateway);
        let at_rest = at_rest();
        for tenant in ["abc", "xyz"] {
            assert_eq!(hits(&at_rest, &format!("canary-{tenant}")), 0);
        }
    });
}

#[test]
fn reseal_names_the_config_it_cannot_open_and_goes_on() {
    let redis = Redis::start();
    let provider = provider();
    let setup =
        sealing(Setup::new().store(&redis.url()), KEY).tenant("abc", config(&provider, "canary"));
    stop(&Gateway::start(setup.clone()));
    let abc = redis.cli(&["GET", "tenant:abc:config"]).text();
    redis.cli(&["SET", "tenant:aaa:config", &abc]);
    redis.cli(&["SET", "tenant:nonsense:config", "not json"]);
    redis.cli(&[
        "SET",
        "tenant:plain:config",
        &config(&provider, "canary").to_string(),
    ]);
    let yaml = setup.write_config().display().to_string();
    let output = resullm(
        &["--config", &yaml, "tenant", "seal", "--all"],
        &[("SECRETS_KEY", KEY)],
    );
    let (told, why) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );

    assert_eq!(output.status.code(), Some(1));
    assert!(
        why.contains("Tenant aaa is as it was") && why.contains(API_KEY),
        "{why}"
    );
    assert!(
        why.contains("Tenant nonsense is as it was") && why.contains("not JSON"),
        "{why}"
    );
    assert!(
        told.contains("\"sealed\": 3") && !why.contains("sealed:v1"),
        "{told}{why}"
    );
    assert_eq!(redis.cli(&["GET", "tenant:aaa:config"]).text(), abc);
    assert_eq!(
        redis.cli(&["GET", "tenant:nonsense:config"]).text(),
        "not json"
    );
    assert!(
        !redis
            .cli(&["GET", "tenant:plain:config"])
            .text()
            .contains("canary")
    );
}

#[test]
fn reseal_loses_no_concurrent_edit() {
    let redis = Redis::start();
    let provider = provider();
    let with = |key: &str, old: &str| {
        let keys = format!("secrets: {{ key: \"{key}\", old_keys: [\"{old}\"] }}");
        let mut config = config(&provider, "canary");
        config["n"] = json!(0);
        Gateway::start(
            Setup::new()
                .store(&redis.url())
                .tenant("abc", config)
                .yaml(&keys),
        )
    };
    // Each gateway treats the other's key as the old one, so that there is always something to reseal.
    let gateways = [with(KEY, OTHER), with(OTHER, KEY)];

    std::thread::scope(|scope| {
        let editors: Vec<_> = gateways
            .iter()
            .map(|gateway| {
                scope.spawn(|| {
                    let mut written = 0;
                    while written < 20 {
                        let read = ask(gateway, "GET", CONFIG, &Value::Null);
                        let mut body = read.json();
                        body["config"]["n"] = json!(body["config"]["n"].as_u64().unwrap() + 1);
                        let put = gateway
                            .client()
                            .request("PUT", CONFIG)
                            .bearer(gateway.admin_token());
                        let put = put
                            .header("if-match", read.header("etag").unwrap())
                            .json(&body)
                            .send();
                        assert!(matches!(put.status, 200 | 412), "{}", put.text());
                        written += u64::from(put.status == 200);
                    }
                })
            })
            .collect();
        let mut resealed = 0;
        while !editors
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            for gateway in &gateways {
                let sealed = ask(gateway, "POST", "/admin/tenants/abc/seal", &Value::Null);
                assert!(matches!(sealed.status, 200 | 412), "{}", sealed.text());
                resealed += sealed.json()["resealed"].as_u64().unwrap_or_default();
            }
            // Leaves time for the editing threads.
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(resealed > 0);
    });
    assert_eq!(stored(&gateways[0], "abc")["n"], 40);
    assert_eq!(sent_key(&gateways[0], "abc", &provider), "Bearer canary");
}
