//! A sealed secret: unreadable in the store, opened for its tenant and field alone.

use super::{
    API_KEY, CONFIG, KEY, OTHER, ask, config, hits, on_both, provider, put, refused, sealing,
    sent_key, stop, stored,
};
use crate::faults::case;
use crate::harness::{Gateway, Redis, Setup, eventually, resullm, sample};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn secrets_are_unreadable_in_the_store() {
    on_both(|setup, at_rest| {
        let provider = provider();
        let setup = sealing(setup, KEY).tenant("seeded", config(&provider, "canary-seeded"));
        let gateway = Gateway::start(setup.clone());
        let created = json!({"id": "created", "config": config(&provider, "canary-created")});
        assert_eq!(
            ask(&gateway, "POST", "/admin/tenants", &created).status,
            201
        );
        let replaced = json!({"config": config(&provider, "canary-replaced")});
        assert_eq!(
            ask(&gateway, "PUT", "/admin/tenants/replaced", &replaced).status,
            201
        );
        assert_eq!(put(&gateway, "replaced", &replaced["config"]).status, 200);
        let mut secrets = Vec::new();
        for tenant in ["seeded", "created", "replaced"] {
            let secret = format!("canary-{tenant}");
            assert_eq!(
                sent_key(&gateway, tenant, &provider),
                format!("Bearer {secret}")
            );
            let config = stored(&gateway, tenant);
            for pointer in [
                "/providers/text/endpoints/openai/api_key",
                "/auth/google_oauth/client_secret",
                "/auth/stripe/api_key",
            ] {
                let text = config.pointer(pointer).unwrap().as_str().unwrap();
                assert!(text.starts_with("sealed:v1:"), "{tenant} {pointer}: {text}");
            }
            assert_eq!(config["auth"]["google_oauth"]["client_id"], "google");
            secrets.push(secret);
        }
        stop(&gateway);
        // `resullm tenant put` seals like the gateway.
        let file = setup.path().join("config.json");
        std::fs::write(&file, config(&provider, "canary-put").to_string()).unwrap();
        let yaml = setup.write_config().display().to_string();
        let args = [
            "--config",
            &yaml,
            "tenant",
            "put",
            "by-hand",
            &file.display().to_string(),
        ];
        let output = resullm(&args, &[("SECRETS_KEY", KEY)]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        secrets.push("canary-put".to_owned());
        case("T20: secrets readable in what the store keeps", || {
            let at_rest = at_rest();
            assert!(
                hits(&at_rest, "sealed:v1:") >= 12,
                "the configs were looked at"
            );
            let found: usize = secrets.iter().map(|secret| hits(&at_rest, secret)).sum();
            assert_eq!(found, 0);
            format!("{found} of {} secrets", 3 * secrets.len())
        });
        let logs = gateway.logs().join("\n");
        assert!(
            !logs.contains("canary") && !logs.contains("sealed:v1"),
            "{logs}"
        );
        let gateway = Gateway::start(setup);
        assert_eq!(
            sent_key(&gateway, "by-hand", &provider),
            "Bearer canary-put"
        );
    });
}

#[test]
fn redacted_config_can_be_put_back_and_reseals_new_secrets_only() {
    on_both(|setup, _| {
        let provider = provider();
        let setup = sealing(setup, KEY).tenant("abc", config(&provider, "canary"));
        let gateway = Gateway::start(setup);
        let get = || ask(&gateway, "GET", CONFIG, &Value::Null);
        let first = get();
        let tag = first.header("etag").unwrap();
        let back = |tag: &str, body: &str| {
            let request = gateway
                .client()
                .request("PUT", CONFIG)
                .bearer(gateway.admin_token());
            request
                .header("if-match", tag)
                .body(body.as_bytes().to_vec())
                .send()
        };
        let again = back(tag, &first.text());
        assert_eq!((again.status, again.header("etag")), (200, Some(tag)));
        assert_eq!(
            (get().text(), get().header("etag")),
            (first.text(), Some(tag))
        );
        // Only the new secret is resealed; the others keep their text.
        let mut edited = first.json();
        edited["config"]["auth"]["stripe"]["api_key"] = json!("canary-2");
        let put = back(tag, &edited.to_string());
        assert_eq!(
            (put.status, put.header("etag")),
            (200, get().header("etag"))
        );
        assert_eq!(back(tag, &edited.to_string()).status, 412);
        let (before, after) = (&first.json()["config"], &get().json()["config"]);
        assert_eq!(before["providers"], after["providers"]);
        assert_eq!(
            before["auth"]["google_oauth"],
            after["auth"]["google_oauth"]
        );
        assert_ne!(before["auth"]["stripe"], after["auth"]["stripe"]);
        assert!(!after.to_string().contains("canary"));
        // A random nonce makes two seals of one secret differ.
        let texts = [0, 1].map(|_| {
            assert_eq!(back("*", &edited.to_string()).status, 200);
            get().json()["config"]["auth"]["stripe"]["api_key"].clone()
        });
        assert_ne!(texts[0], texts[1]);
        assert_eq!(sent_key(&gateway, "abc", &provider), "Bearer canary");
    });
}

#[test]
fn sealed_secret_opens_for_its_tenant_and_field_only() {
    on_both(|setup, _| {
        let provider = provider();
        let two = |key: &str| -> Value {
            let other = provider.url("/v1/chat/completions");
            sample(&provider)
                .endpoint("second", &other, "gpt-4o")
                .set(API_KEY, json!(format!("{key}-1")))
                .set(
                    "providers.text.endpoints.second.api_key",
                    json!(format!("{key}-2")),
                )
                .into()
        };
        let setup = sealing(setup, KEY)
            .tenant("abc", two("canary-abc"))
            .tenant("xyz", two("canary-xyz"));
        let gateway = Gateway::start(setup);
        let before = [stored(&gateway, "abc"), stored(&gateway, "xyz")];
        let endpoints = "/providers/text/endpoints";
        let key = |config: &Value, name: &str| {
            config
                .pointer(&format!("{endpoints}/{name}/api_key"))
                .unwrap()
                .clone()
        };
        let with = |config: &Value, name: &str, key: Value| {
            let mut config = config.clone();
            config.pointer_mut(endpoints).unwrap()[name]["api_key"] = key;
            config
        };
        case(
            "T20: a sealed secret in another tenant or field opens",
            || {
                let mut tried = 0;
                for name in ["openai", "second"] {
                    let stolen = with(&before[1], name, key(&before[0], name));
                    let (paths, text) = refused(&put(&gateway, "xyz", &stolen));
                    assert_eq!(paths, [format!("providers.text.endpoints.{name}.api_key")]);
                    let is_told = text.contains("does not open");
                    assert!(is_told && !text.contains("sealed:v1"), "{text}");
                    tried += 1;
                }
                let swapped = with(&before[0], "openai", key(&before[0], "second"));
                let swapped = with(&swapped, "second", key(&before[0], "openai"));
                assert_eq!(refused(&put(&gateway, "abc", &swapped)).0.len(), 2);
                tried += 2;
                let mut text = key(&before[0], "openai").as_str().unwrap().to_owned();
                let last = if text.ends_with('A') { "B" } else { "A" };
                text.replace_range(text.len() - 1.., last);
                assert_eq!(
                    refused(&put(
                        &gateway,
                        "abc",
                        &with(&before[0], "openai", json!(text))
                    ))
                    .0,
                    [API_KEY]
                );
                let foreign = json!({"id": "new", "config": before[0]});
                refused(&ask(&gateway, "POST", "/admin/tenants", &foreign));
                format!("0 of {}", tried + 2)
            },
        );
        assert_eq!(
            [stored(&gateway, "abc"), stored(&gateway, "xyz")],
            before,
            "nothing changed"
        );
        assert_eq!(sent_key(&gateway, "abc", &provider), "Bearer canary-abc-1");
    });
}

#[test]
fn unopenable_secret_leaves_the_last_good_config_in_service() {
    let redis = Redis::start();
    let provider = provider();
    let setup = sealing(Setup::new().store(&redis.url()), KEY)
        .tenant("abc", config(&provider, "canary-abc"))
        .tenant("xyz", config(&provider, "canary-xyz"));
    let gateway = Gateway::start(setup.clone());
    assert_eq!(sent_key(&gateway, "abc", &provider), "Bearer canary-abc");
    let foreign = redis.cli(&["GET", "tenant:xyz:config"]).text();
    let own = redis.cli(&["GET", "tenant:abc:config"]).text();
    redis.cli(&["SET", "tenant:abc:config", &foreign]);
    redis.cli(&["SET", "tenant:new:config", &foreign]);
    let line = gateway_line(&gateway, "abc", &foreign);
    assert!(
        line.contains("another tenant or field") && line.contains("auth.stripe.api_key"),
        "{line}"
    );
    assert_eq!(sent_key(&gateway, "abc", &provider), "Bearer canary-abc");
    assert_eq!(
        gateway
            .client()
            .request("POST", "/new/auth/anonymous")
            .send()
            .status,
        503
    );
    // Its admin repairs it.
    assert_eq!(
        put(&gateway, "new", &config(&provider, "canary-new")).status,
        200
    );
    assert_eq!(sent_key(&gateway, "new", &provider), "Bearer canary-new");
    redis.cli(&["SET", "tenant:abc:config", &own]);
    // Plain secrets that other programs wrote stay usable.
    redis.cli(&[
        "SET",
        "tenant:plain:config",
        &config(&provider, "canary-plain").to_string(),
    ]);
    assert_eq!(
        sent_key(&gateway, "plain", &provider),
        "Bearer canary-plain"
    );
    stop(&gateway);

    // Starts with another key, with none, and with the right one listed as an old key.
    let plain = Setup::new().store(&redis.url());
    for (setup, why) in [
        (
            sealing(plain.clone(), OTHER),
            "neither secrets.key nor one of secrets.old_keys",
        ),
        (plain.clone(), "secrets.key is not set"),
    ] {
        // A start whose keys open no stored config is refused, so the config comes after the start.
        redis.cli(&[
            "DEL",
            "tenant:abc:config",
            "tenant:new:config",
            "tenant:xyz:config",
        ]);
        let gateway = Gateway::start(setup);
        redis.cli(&["SET", "tenant:abc:config", &own]);
        for _ in 0..3 {
            let answer = gateway
                .client()
                .request("POST", "/abc/auth/anonymous")
                .send();
            assert_eq!(answer.status, 503, "{}", answer.text());
        }
        let line = gateway_line(&gateway, "abc", &own);
        assert!(line.contains(why), "{line}");
        let read: Value = serde_json::from_str(&own).unwrap();
        assert_eq!(
            stored(&gateway, "abc"),
            read,
            "its admin sees what is stored"
        );
        let (paths, text) = refused(&put(&gateway, "abc", &read));
        assert_eq!(paths.len(), 3);
        assert!(text.contains(why) && !text.contains("sealed:v1"), "{text}");
        assert_eq!(
            sent_key(&gateway, "plain", &provider),
            "Bearer canary-plain"
        );
    }
    let rotated = plain.yaml(&format!(
        "secrets: {{ key: \"{OTHER}\", old_keys: [\"{KEY}\"] }}"
    ));
    let gateway = Gateway::start(rotated);
    assert_eq!(sent_key(&gateway, "abc", &provider), "Bearer canary-abc");
}

/// The only log line about a tenant's config; asserts that it shows no secret, sealed or plain.
fn gateway_line(gateway: &Gateway, tenant: &str, config: &str) -> String {
    let start = format!("[ERROR] Tenant config for {tenant} cannot be used: ");
    let line = eventually(Duration::from_secs(5), "the config is read", || {
        gateway.client().get(&format!("/{tenant}"));
        gateway
            .logs()
            .into_iter()
            .find(|line| line.starts_with(&start))
    });
    assert_eq!(gateway.count_logs(&start), 1);
    assert!(line.contains(API_KEY), "{line}");
    let config: Value = serde_json::from_str(config).unwrap();
    let sealed = config["auth"]["stripe"]["api_key"].as_str().unwrap();
    assert!(
        !line.contains("canary") && !line.contains(&sealed[10..]),
        "{line}"
    );
    line
}

/// A wrong key would take every tenant down, while `/readyz` says that all is well.
#[test]
fn start_and_hand_over_with_a_wrong_key_are_refused() {
    on_both(|setup, _| {
        let provider = provider();
        let with = |key: &str| {
            setup
                .clone()
                .yaml("secrets: { key: \"${OWN}\" }")
                .env("OWN", key)
                .tenant("abc", config(&provider, "canary-abc"))
                .tenant("xyz", config(&provider, "canary-xyz"))
        };
        let why = "secrets.key opens none of the 2 sealed configs in the store (abc, xyz)";
        let gateway = Gateway::start(with(KEY));
        // The file names another variable now, as a bad edit of the operator would.
        let file = with(KEY).write_config();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("${OWN}", OTHER)).unwrap();

        gateway.signal("QUIT");

        gateway.wait_log(why);
        assert_eq!(sent_key(&gateway, "abc", &provider), "Bearer canary-abc");
        stop(&gateway);
        let yaml = file.display().to_string();
        let output = resullm(&["--config", &yaml], &[]);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(why), "{told}");
    });
}
