//! Secrets of tenant configs: sealed in the store, opened for their provider alone, and the operator's
//! own, which a config may name and never see.

use crate::faults::case;
use crate::harness::http::Response;
use crate::harness::{
    Gateway, Provider, Redis, Reply, Script, Setup, TempDir, chat, eventually, mint, resullm,
    sample,
};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const CONFIG: &str = "/abc/admin/config";
const API_KEY: &str = "providers.text.endpoints.openai.api_key";

fn provider() -> Provider {
    Provider::start(|_| Script::chat("Hello", 3, 4))
}

/// The provider sees this key, and a sign-in's secret is beside it.
fn config(provider: &Provider, key: &str) -> Value {
    sample(provider)
        .set(API_KEY, json!(key))
        .set("auth.google_oauth.client_id", json!("google"))
        .set(
            "auth.google_oauth.client_secret",
            json!(format!("{key}-google")),
        )
        .set("auth.stripe.api_key", json!(format!("{key}-stripe")))
        .into()
}

fn sealing(setup: Setup, key: &str) -> Setup {
    setup
        .yaml("secrets: { key: \"${SECRETS_KEY}\" }")
        .env("SECRETS_KEY", key)
}

/// Both stores, and what of each can be read by whoever gets hold of it.
fn on_both(test: impl Fn(Setup, &dyn Fn() -> Vec<u8>)) {
    let redis = Redis::start();
    test(Setup::new().store(&redis.url()), &|| dump(&redis));
    let dir = TempDir::new();
    test(Setup::new().dir(dir.path()), &|| files(&dir.file("data")));
}

fn dump(redis: &Redis) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in redis.cli(&["KEYS", "*"]).list() {
        let name = name.text();
        bytes.extend(name.as_bytes());
        if let Reply::Bulk(dumped) = redis.cli(&["DUMP", &name]) {
            bytes.extend(dumped);
        }
        if name.ends_with(":config") {
            bytes.extend(redis.cli(&["GET", &name]).text().into_bytes());
        }
    }
    // What is compressed in a dump is not in a snapshot that was told not to.
    redis.cli(&["CONFIG", "SET", "rdbcompression", "no"]);
    redis.cli(&["SAVE"]);
    let at = |name: &str| redis.cli(&["CONFIG", "GET", name]).list()[1].text();
    bytes.extend(std::fs::read(Path::new(&at("dir")).join(at("dbfilename"))).unwrap());
    bytes
}

fn files(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    bytes
}

fn hits(bytes: &[u8], secret: &str) -> usize {
    let secret = secret.as_bytes();
    bytes
        .windows(secret.len())
        .filter(|part| *part == secret)
        .count()
}

fn ask(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Response {
    let request = gateway
        .client()
        .request(method, path)
        .bearer(gateway.admin_token());
    if body.is_null() {
        return request.send();
    }
    request.json(body).send()
}

fn put(gateway: &Gateway, tenant: &str, config: &Value) -> Response {
    let path = format!("/{tenant}/admin/config");
    ask(gateway, "PUT", &path, &json!({"config": config}))
}

fn stored(gateway: &Gateway, tenant: &str) -> Value {
    let read = ask(
        gateway,
        "GET",
        &format!("/admin/tenants/{tenant}"),
        &Value::Null,
    );
    assert_eq!(read.status, 200, "{}", read.text());
    read.json()["config"].clone()
}

/// What the provider is sent as its key when someone chats.
fn sent_key(gateway: &Gateway, tenant: &str, provider: &Provider) -> String {
    let key = mint(gateway, tenant);
    let call = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let answer = chat(gateway, tenant, &key, &call);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = provider.requests().pop().unwrap();
    sent.header("authorization").unwrap().to_owned()
}

/// The faults' paths of a refused config, and its text.
fn refused(answer: &Response) -> (Vec<String>, String) {
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = answer.json();
    let details = answer["details"].as_array().unwrap();
    let path = |detail: &Value| detail["path"].as_str().unwrap().to_owned();
    (details.iter().map(path).collect(), answer.to_string())
}

fn stop(gateway: &Gateway) {
    gateway.signal("TERM");
    assert!(gateway.wait_exit(Duration::from_secs(20)).success());
}

#[test]
fn no_secret_is_readable_in_the_store_and_every_provider_gets_its_own() {
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
        // The command line writes as the gateway does.
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
fn what_was_read_can_be_put_back_and_only_what_is_new_is_sealed_anew() {
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
        // One secret is new: the others stay as they are.
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
        // The same secret never looks the same twice.
        let texts = [0, 1].map(|_| {
            assert_eq!(back("*", &edited.to_string()).status, 200);
            get().json()["config"]["auth"]["stripe"]["api_key"].clone()
        });
        assert_ne!(texts[0], texts[1]);
        assert_eq!(sent_key(&gateway, "abc", &provider), "Bearer canary");
    });
}

#[test]
fn a_sealed_secret_opens_for_its_tenant_and_its_field_alone() {
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
                    assert!(
                        text.contains("another tenant or field") && !text.contains("sealed:v1")
                    );
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
fn a_secret_that_cannot_be_opened_makes_its_config_unusable_and_the_last_good_one_serves_on() {
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
    // Its admin mends it.
    assert_eq!(
        put(&gateway, "new", &config(&provider, "canary-new")).status,
        200
    );
    assert_eq!(sent_key(&gateway, "new", &provider), "Bearer canary-new");
    redis.cli(&["SET", "tenant:abc:config", &own]);
    // Secrets of other programs, which know no key, work as they are.
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

    // Another key, none, and the right one among the old.
    let plain = Setup::new().store(&redis.url());
    for (setup, why) in [
        (
            sealing(plain.clone(), OTHER),
            "neither secrets.key nor one of secrets.old_keys",
        ),
        (plain.clone(), "secrets.key is not set"),
    ] {
        let gateway = Gateway::start(setup);
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

/// The one line about a tenant's config, which shows none of its secrets, sealed or not.
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

#[test]
fn a_new_key_takes_over_everything_and_the_old_one_can_go() {
    on_both(|setup, at_rest| {
        let provider = provider();
        let gateway = Gateway::start(
            sealing(setup.clone(), OTHER)
                .tenant("abc", config(&provider, "canary-abc"))
                .tenant("xyz", config(&provider, "canary-xyz")),
        );
        stop(&gateway);
        // Without a key, what is written is stored as it is.
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

        // A gateway on both keys serves meanwhile, and can do the same.
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
fn one_config_that_cannot_be_opened_is_named_and_the_others_are_sealed() {
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
fn sealing_anew_loses_no_edit_that_is_made_meanwhile() {
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
    // Each takes the other's key for the old one, so that there is always something to seal anew.
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
            // The editors want a turn.
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(resealed > 0);
    });
    assert_eq!(stored(&gateways[0], "abc")["n"], 40);
    assert_eq!(sent_key(&gateways[0], "abc", &provider), "Bearer canary");
}

#[test]
fn a_config_names_a_key_of_the_operators_for_its_host_alone() {
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
fn a_name_that_another_program_stored_for_another_host_is_reported_and_goes_nowhere() {
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
fn what_is_wrong_with_keys_and_names_is_told_with_its_place_and_never_shown() {
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
                ":3:3: secrets.old_keys: ",
                ":4:3: secrets.env: ",
            ][..],
        ),
        (
            seeds,
            &[":9:13: tenants.abc.providers.text.endpoints.a.api_key: "],
        ),
        (
            guards,
            &["environment SECRETS_KEY: secrets.env: SECRETS_KEY guards the gateway itself"],
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
