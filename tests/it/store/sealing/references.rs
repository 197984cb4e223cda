//! References to the operator's own secrets: named in a config, bound to one host, never shown.

use super::{
    API_KEY, KEY, ask, hits, on_both, provider, put, refused, sealing, sent_key, stop, stored,
};
use crate::faults::case;
use crate::harness::{
    Gateway, Provider, Redis, Script, Setup, TempDir, eventually, resullm, sample,
};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn operator_secret_is_sent_to_its_host_only() {
    on_both(|setup, at_rest| {
        let (provider, trap) = (provider(), provider_elsewhere());
        let reference = |url: &str, name: &str| -> Value {
            let config = sample(&provider).set("providers.text.endpoints.openai.url", json!(url));
            config.set(API_KEY, json!({"env": name})).into()
        };
        let url = provider.url("/v1/chat/completions");
        let good = reference(&url, "OPERATORS_KEY");
        let host = provider.addr();
        let approved = format!(
            "secrets: {{ key: \"{KEY}\", env: [\"OPERATORS_KEY=http://{host}\", \"ABCS_KEY=http://{host} for abc\", \
             \"UNSET_KEY=http://{host}\"] }}"
        );
        let setup = setup
            .yaml(&approved)
            .env("OPERATORS_KEY", "canary-operator")
            .env("ABCS_KEY", "canary-of-abc")
            .env("UNAPPROVED_KEY", "canary-unapproved")
            .tenant("abc", good.clone());
        let gateway = Gateway::start(setup);
        gateway.wait_log("[WARN] secrets.env approves UNSET_KEY, which is not set");
        assert_eq!(
            sent_key(&gateway, "abc", &provider),
            "Bearer canary-operator"
        );
        assert_eq!(stored(&gateway, "abc"), good, "a name is no secret");
        assert_eq!(
            put(&gateway, "abc", &reference(&url, "ABCS_KEY")).status,
            200
        );
        assert_eq!(sent_key(&gateway, "abc", &provider), "Bearer canary-of-abc");
        assert_eq!(put(&gateway, "abc", &good).status, 200);

        case(
            "T8: an operator's key at a host that a tenant chose",
            || {
                let elsewhere = trap.url("/v1/chat/completions");
                let port = host.port();
                let mut messages = Vec::new();
                for (tenant, url, name) in [
                    ("abc", elsewhere.as_str(), "OPERATORS_KEY"),
                    ("abc", &format!("https://{host}/"), "OPERATORS_KEY"),
                    ("abc", &format!("http://localhost:{port}/"), "OPERATORS_KEY"),
                    (
                        "abc",
                        "https://api.openai.com/v1/chat/completions",
                        "OPERATORS_KEY",
                    ),
                    ("abc", &url, "UNAPPROVED_KEY"),
                    ("abc", &url, "UNSET_KEY"),
                    ("abc", &url, "NO_SUCH_KEY"),
                    ("abc", &url, "ADMIN_TOKEN"),
                    ("abc", &url, "PATH"),
                    ("abc", &url, "RESULLM__SECRETS__KEY"),
                    ("xyz", &url, "ABCS_KEY"),
                ] {
                    let body = json!({"config": reference(url, name)});
                    let answer = ask(&gateway, "PUT", &format!("/admin/tenants/{tenant}"), &body);
                    let (paths, text) = refused(&answer);
                    assert_eq!(paths, [API_KEY], "{url} {name}");
                    messages.push(text);
                }
                let tried = messages.len();
                messages.dedup();
                assert_eq!(
                    messages.len(),
                    1,
                    "nothing tells one from another: {messages:?}"
                );
                assert_eq!(stored(&gateway, "abc"), good, "nothing changed");
                assert!(trap.requests().is_empty());
                format!("0 of {tried}")
            },
        );
        stop(&gateway);
        let at_rest = at_rest();
        assert_eq!(hits(&at_rest, "canary"), 0);
        assert!(!gateway.logs().join("\n").contains("canary"));
    });
}

fn provider_elsewhere() -> Provider {
    Provider::start(|_| Script::chat("Thank you", 1, 1))
}

#[test]
fn secret_name_stored_for_another_host_is_never_sent() {
    let redis = Redis::start();
    let (provider, trap) = (provider(), provider_elsewhere());
    let host = provider.addr();
    let named: Value = sample(&provider)
        .set(API_KEY, json!({"env": "OPERATORS_KEY"}))
        .into();
    let setup = Setup::new()
        .store(&redis.url())
        .yaml(&format!(
            "secrets: {{ env: [\"OPERATORS_KEY=http://{host}\"] }}"
        ))
        .env("OPERATORS_KEY", "canary-operator")
        .tenant("abc", named.clone());
    let gateway = Gateway::start(setup);

    assert_eq!(
        sent_key(&gateway, "abc", &provider),
        "Bearer canary-operator"
    );

    let mut stray = named;
    stray["providers"]["text"]["endpoints"]["openai"]["url"] =
        json!(trap.url("/v1/chat/completions"));
    for tenant in ["abc", "new"] {
        redis.cli(&[
            "SET",
            &format!("tenant:{tenant}:config"),
            &stray.to_string(),
        ]);
    }
    for tenant in ["abc", "new"] {
        let start = format!("[ERROR] Tenant config for {tenant} cannot be used: {API_KEY}: ");
        eventually(Duration::from_secs(5), "the config is read", || {
            gateway.client().get(&format!("/{tenant}"));
            (gateway.count_logs(&start) == 1).then_some(())
        });
    }
    assert_eq!(
        sent_key(&gateway, "abc", &provider),
        "Bearer canary-operator"
    );
    assert_eq!(
        gateway
            .client()
            .request("POST", "/new/auth/anonymous")
            .send()
            .status,
        503
    );
    assert!(trap.requests().is_empty());
}

#[test]
fn seal_key_and_secret_name_faults_show_no_value() {
    let dir = TempDir::new();
    let text = format!(
        "secrets:\n  key: s3cret-and-short\n  old_keys: [\"{KEY}\", \"{}\"]\n  env: [sk-s3cret]\n",
        &KEY[2..]
    );
    let bad = dir.write("bad.yaml", &text);
    let seeds = dir.write(
        "seeds.yaml",
        "tenants:\n  abc:\n    providers:\n      text:\n        default: a\n        endpoints:\n          a:\n            \
         url: https://evil.example/v1\n            api_key: { env: MINE }\nsecrets: { env: [MINE=api.openai.com] }\n",
    );
    let guards = dir.write(
        "guards.yaml",
        "secrets: { key: \"${SECRETS_KEY}\", env: [SECRETS_KEY=evil.example] }\n",
    );
    let env = [("MINE", "s3cret-of-mine"), ("SECRETS_KEY", KEY)];
    let mut told = Vec::new();

    for (file, places) in [
        (
            bad,
            &[
                ":2:3: secrets.key: ",
                ":3:82: secrets.old_keys.1: ",
                ":4:9: secrets.env.0: ",
            ][..],
        ),
        (
            seeds,
            &[":9:13: tenants.abc.providers.text.endpoints.a.api_key: "],
        ),
        (
            guards,
            &["environment SECRETS_KEY: secrets.env: SECRETS_KEY is a setting of the gateway"],
        ),
    ] {
        let output = resullm(&["check", "--config", &file.display().to_string()], &env);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), text.lines().count()),
            (Some(1), places.len()),
            "{text}"
        );
        for place in places {
            assert!(text.contains(place), "{place} in {text}");
        }
        told.push(text);
    }

    let told = told.join("\n");
    assert!(
        !told.contains("s3cret") && !told.contains(&KEY[2..]),
        "{told}"
    );
    let (status, logs, _) = Gateway::run_to_end(sealing(Setup::new(), "s3cret"));
    assert_eq!(status.code(), Some(1));

    let logs = logs.join("\n");
    assert!(
        logs.contains("secrets.key") && !logs.contains("s3cret"),
        "{logs}"
    );
}
