//! Configs with masks, and configs that were replaced: no secret goes where it was not stored for.

use crate::harness::http::Response;
use crate::harness::{Gateway, Provider, Redis, Script, Setup, chat, mint, sample};
use serde_json::{Value, json};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const CONFIG: &str = "/abc/admin/config";
const HISTORY: &str = "/abc/admin/config/history";
const API_KEY: &str = "providers.text.endpoints.openai.api_key";

/// Runs a test on both engines, with and without `secrets.key`.
fn on_all(test: impl Fn(Setup, bool)) {
    for is_sealed in [false, true] {
        let redis = Redis::start();
        for setup in [Setup::new(), Setup::new().store(&redis.url())] {
            test(
                if is_sealed {
                    setup.env("SECRETS_KEY", KEY)
                } else {
                    setup
                },
                is_sealed,
            );
        }
    }
}

fn provider() -> Provider {
    Provider::start(|_| Script::chat("Hello", 3, 4))
}

fn config(provider: &Provider, key: &str) -> Value {
    sample(provider)
        .set(API_KEY, json!(key))
        .set("auth.stripe.api_key", json!(format!("{key}-stripe")))
        .into()
}

fn ask(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Response {
    let request = gateway
        .client()
        .request(method, path)
        .bearer(gateway.admin_token());
    match body {
        Value::Null => request.send(),
        body => request.json(body).send(),
    }
}

fn put(gateway: &Gateway, config: &Value) -> Response {
    ask(gateway, "PUT", CONFIG, &json!({"config": config}))
}

fn shown(gateway: &Gateway) -> Value {
    let shown = ask(
        gateway,
        "GET",
        "/abc/admin/config?redact=true",
        &Value::Null,
    );
    assert_eq!(shown.status, 200, "{}", shown.text());
    shown.json()["config"].clone()
}

/// Key that the provider receives with a chat call.
fn sent_key(gateway: &Gateway, provider: &Provider) -> String {
    let call = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let answer = chat(gateway, "abc", &mint(gateway, "abc"), &call);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = provider.requests().pop().unwrap();
    sent.header("authorization").unwrap().to_owned()
}

#[track_caller]
fn refused_at(answer: &Response, paths: &[&str]) {
    assert_eq!(answer.status, 400, "{}", answer.text());
    let details = answer.json()["details"].as_array().unwrap().clone();
    let found: Vec<&str> = details
        .iter()
        .map(|fault| fault["path"].as_str().unwrap())
        .collect();
    assert_eq!(found, paths, "{}", answer.text());
    let again = |fault: &Value| {
        fault["message"]
            .as_str()
            .unwrap()
            .contains("enter the secret again")
    };
    assert!(details.iter().all(again), "{}", answer.text());
}

#[test]
fn masked_config_is_put_back_and_changes_what_was_edited() {
    on_all(|setup, _| {
        let provider = provider();
        let setup = setup.tenant("abc", config(&provider, "sk-first"));
        let gateway = Gateway::start(setup.clone());
        let whole = ask(&gateway, "GET", CONFIG, &Value::Null);
        let masked = shown(&gateway);
        assert!(!masked.to_string().contains("sk-first"), "{masked}");

        // Nothing edited: byte for byte what was stored.
        let path = "/abc/admin/config?redact=true";
        let text = ask(&gateway, "GET", path, &Value::Null).text();
        let request = gateway
            .client()
            .request("PUT", CONFIG)
            .bearer(gateway.admin_token());
        let request = request.header("if-match", whole.header("etag").unwrap());
        assert_eq!(request.body(text.into_bytes()).send().status, 200);
        assert_eq!(
            ask(&gateway, "GET", CONFIG, &Value::Null).text(),
            whole.text()
        );

        // Masks are the same after a restart and on another instance.
        gateway.signal("TERM");
        gateway.wait_exit(std::time::Duration::from_secs(20));
        let gateway = Gateway::start(setup.clone());
        assert_eq!(shown(&gateway), masked);

        let mut edited = masked.clone();
        edited["user_groups"]["anonymous"]["tokens"] = json!(77);
        edited["auth"]["stripe"]["api_key"] = json!("sk-new-stripe");
        assert_eq!(put(&gateway, &edited).status, 200);
        let after = shown(&gateway);
        assert_eq!(after["user_groups"]["anonymous"]["tokens"], 77);
        assert_eq!(after["providers"], masked["providers"]);
        assert_ne!(after["auth"], masked["auth"]);
        assert_eq!(sent_key(&gateway, &provider), "Bearer sk-first");
    });
}

#[test]
fn mask_or_sealed_text_is_sent_to_no_new_host() {
    on_all(|setup, _| {
        let (provider, thief) = (provider(), provider());
        let gateway = Gateway::start(setup.tenant("abc", config(&provider, "sk-first")));
        let evil = thief.url("/v1/chat/completions");
        let plain_is_shown = !ask(&gateway, "GET", CONFIG, &Value::Null)
            .text()
            .contains("sealed:");
        let whole = ask(&gateway, "GET", CONFIG, &Value::Null).json()["config"].clone();
        let forms = match plain_is_shown {
            true => vec![shown(&gateway)],
            false => vec![shown(&gateway), whole],
        };
        let before = ask(&gateway, "GET", CONFIG, &Value::Null).text();
        for form in forms {
            let mut moved = form.clone();
            moved["providers"]["text"]["endpoints"]["openai"]["url"] = json!(evil);
            refused_at(&put(&gateway, &moved), &[API_KEY]);
            // A second endpoint with the secret of the first: by value, and by a list.
            let secret = form["providers"]["text"]["endpoints"]["openai"]["api_key"].clone();
            if secret.as_str().unwrap().starts_with("masked:") {
                let mut second = form.clone();
                second["providers"]["text"]["endpoints"]["b"] =
                    json!({"url": evil, "api_keys": [secret]});
                refused_at(
                    &put(&gateway, &second),
                    &["providers.text.endpoints.b.api_keys.0"],
                );
            }
            // Members of one name: the reader sees the last URL.
            let doubled = form.to_string();
            let at = doubled.find("\"api_key\":").unwrap();
            let doubled = format!("{}\"url\":\"{evil}\",{}", &doubled[..at], &doubled[at..]);
            let doubled = doubled.replacen(
                &format!("\"url\":\"{}\"", provider.url("/v1/chat/completions")),
                "\"note\":1",
                1,
            );
            for body in [
                doubled,
                form.to_string().replacen(
                    "\"endpoints\":{\"openai\":{",
                    &format!("\"endpoints\":{{\"openai\":{{\"url\":\"{evil}\",\"api_key\":{secret}}},\"openai\":{{"),
                    1,
                ),
            ] {
                let request = gateway.client().request("PUT", CONFIG).bearer(gateway.admin_token());
                let answer = request.body(format!("{{\"config\":{body}}}").into_bytes()).send();
                assert!(answer.status == 400, "{} {body}", answer.text());
            }
        }
        // To another tenant of the gateway a mask means nothing.
        let other = json!({"id": "other", "config": shown(&gateway)});
        assert_eq!(ask(&gateway, "POST", "/admin/tenants", &other).status, 400);
        let path = "/admin/tenants/other";
        let other = json!({"config": shown(&gateway)});
        assert_eq!(ask(&gateway, "PUT", path, &other).status, 400);
        assert_eq!(ask(&gateway, "GET", CONFIG, &Value::Null).text(), before);
        assert_eq!(thief.requests().len(), 0);
        assert_eq!(sent_key(&gateway, &provider), "Bearer sk-first");
    });
}

#[test]
fn secret_of_a_former_host_does_not_come_along() {
    let (first, second) = (provider(), provider());
    on_all(|setup, is_sealed| {
        let gateway = Gateway::start(setup.tenant("abc", config(&first, "sk-first")));
        let mask = shown(&gateway)["providers"]["text"]["endpoints"]["openai"]["api_key"].clone();
        assert_eq!(put(&gateway, &config(&second, "sk-second")).status, 200);
        // The mask of the former secret, for the present host.
        let mut mixed = shown(&gateway);
        mixed["providers"]["text"]["endpoints"]["openai"]["api_key"] = mask.clone();
        refused_at(&put(&gateway, &mixed), &[API_KEY]);
        // For its own host it is taken from the history, where that has it.
        mixed["providers"]["text"]["endpoints"]["openai"]["url"] =
            json!(first.url("/v1/chat/completions"));
        let back = put(&gateway, &mixed);
        if is_sealed {
            assert_eq!(back.status, 200, "{}", back.text());
            assert_eq!(sent_key(&gateway, &first), "Bearer sk-first");
        } else {
            refused_at(&back, &[API_KEY]);
        }
    });
}

#[test]
fn sealed_text_of_a_deleted_tenant_is_the_operators_to_bring_back() {
    let provider = provider();
    let setup = Setup::new()
        .env("SECRETS_KEY", KEY)
        .tenant("abc", config(&provider, "sk-first"));
    let gateway = Gateway::start(setup);
    let whole = ask(&gateway, "GET", CONFIG, &Value::Null).json()["config"].clone();
    for number in 0..25 {
        let mut other = config(&provider, "sk-other");
        other["user_groups"]["anonymous"]["tokens"] = json!(number);
        assert_eq!(put(&gateway, &other).status, 200);
    }
    // It stands nowhere any more, whoever has noted it.
    refused_at(&put(&gateway, &whole), &["auth.stripe.api_key", API_KEY]);
    assert_eq!(
        ask(&gateway, "DELETE", "/admin/tenants/abc", &Value::Null).status,
        200
    );
    let made = json!({"id": "abc", "config": whole});
    assert_eq!(ask(&gateway, "POST", "/admin/tenants", &made).status, 201);
    let history = ask(&gateway, "GET", HISTORY, &Value::Null);
    assert_eq!(
        history.json(),
        json!({"configs": []}),
        "it went with the tenant"
    );
    assert_eq!(sent_key(&gateway, &provider), "Bearer sk-first");
    assert_eq!(
        ask(&gateway, "DELETE", "/admin/tenants/abc", &Value::Null).status,
        200
    );
    assert_eq!(
        ask(
            &gateway,
            "PUT",
            "/admin/tenants/abc",
            &json!({"config": whole})
        )
        .status,
        201
    );
}

#[test]
fn former_configs_are_listed_shown_and_put_back() {
    on_all(|setup, is_sealed| {
        let provider = provider();
        let gateway = Gateway::start(setup.tenant("abc", config(&provider, "sk-first")));
        let first = ask(&gateway, "GET", CONFIG, &Value::Null).text();
        let mut second = shown(&gateway);
        second["user_groups"]["anonymous"]["tokens"] = json!(77);
        assert_eq!(put(&gateway, &second).status, 200);

        let listed = ask(&gateway, "GET", HISTORY, &Value::Null).json();
        assert_eq!(listed["configs"].as_array().unwrap().len(), 1);
        assert_eq!(listed["configs"][0]["version"], 1);
        assert_eq!(listed["configs"][0]["replacedBy"], "operator");
        let one = ask(&gateway, "GET", "/abc/admin/config/history/1", &Value::Null);
        assert!(
            !one.text().contains("sk-first") && !one.text().contains("sealed:"),
            "{}",
            one.text()
        );
        assert!(one.text().contains("masked:v1:"));

        // With a tag that is no longer right, then as it is.
        let restore = "/abc/admin/config/history/1/restore";
        let request = gateway
            .client()
            .request("POST", restore)
            .bearer(gateway.admin_token());
        assert_eq!(request.header("if-match", "\"other\"").send().status, 412);
        assert_eq!(ask(&gateway, "POST", restore, &Value::Null).status, 200);
        assert_eq!(ask(&gateway, "GET", CONFIG, &Value::Null).text(), first);
        assert_eq!(sent_key(&gateway, &provider), "Bearer sk-first");

        // A secret that was replaced since comes back only where it was kept sealed.
        assert_eq!(put(&gateway, &config(&provider, "sk-third")).status, 200);
        let restored = ask(&gateway, "POST", restore, &Value::Null);
        if is_sealed {
            assert_eq!(restored.status, 200, "{}", restored.text());
            assert_eq!(sent_key(&gateway, &provider), "Bearer sk-first");
        } else {
            refused_at(&restored, &["auth.stripe.api_key", API_KEY]);
            assert_eq!(sent_key(&gateway, &provider), "Bearer sk-third");
        }
        for version in ["0", "99", "x", "-1"] {
            for (method, end) in [("GET", ""), ("POST", "/restore")] {
                let path = format!("{HISTORY}/{version}{end}");
                assert_eq!(
                    ask(&gateway, method, &path, &Value::Null).status,
                    404,
                    "{path}"
                );
            }
        }
    });
}

#[test]
fn history_is_bounded_and_repairs_a_tenant() {
    let redis = Redis::start();
    let provider = provider();
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", config(&provider, "sk-0"));
    let gateway = Gateway::start(setup.clone());
    for number in 0..25 {
        let mut next = shown(&gateway);
        next["user_groups"]["anonymous"]["tokens"] = json!(number);
        assert_eq!(put(&gateway, &next).status, 200);
    }
    let listed = ask(&gateway, "GET", HISTORY, &Value::Null).json();
    let configs = listed["configs"].as_array().unwrap();
    assert_eq!((configs.len(), &configs[0]["version"]), (20, &json!(25)));
    let kept = redis.cli(&["GET", "tenant:abc:history"]).text();
    assert!(
        !kept.contains("sk-0"),
        "plain secrets outlive their rotation"
    );

    // Another program breaks the config; the next gateway has no good one.
    redis.cli(&[
        "SET",
        "tenant:abc:config",
        r#"{"user_groups":{"anonymous":{"tokens":-1}}}"#,
    ]);
    gateway.signal("TERM");
    gateway.wait_exit(std::time::Duration::from_secs(20));
    let gateway = Gateway::start(setup);
    assert_eq!(
        ask(&gateway, "GET", "/abc/admin/usage", &Value::Null).status,
        503
    );
    let restore = "/abc/admin/config/history/25/restore";
    // Its secrets are kept nowhere: without secrets.key nothing seals them.
    refused_at(
        &ask(&gateway, "POST", restore, &Value::Null),
        &["auth.stripe.api_key", API_KEY],
    );
    let mut whole = ask(
        &gateway,
        "GET",
        "/abc/admin/config/history/25",
        &Value::Null,
    )
    .json()["config"]
        .clone();
    whole["auth"]["stripe"]["api_key"] = json!("sk-0-stripe");
    whole["providers"]["text"]["endpoints"]["openai"]["api_key"] = json!("sk-0");
    assert_eq!(put(&gateway, &whole).status, 200);
    assert_eq!(
        ask(&gateway, "GET", "/abc/admin/usage", &Value::Null).status,
        200
    );
}

#[test]
fn former_configs_outlive_a_change_of_the_seal_key() {
    let other = "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100";
    let redis = Redis::start();
    let provider = provider();
    let setup = Setup::new().store(&redis.url());
    let gateway = Gateway::start(
        setup
            .clone()
            .env("SECRETS_KEY", KEY)
            .tenant("abc", config(&provider, "sk-first")),
    );
    assert_eq!(put(&gateway, &config(&provider, "sk-second")).status, 200);
    drop(gateway);
    let both = setup.clone().env("SECRETS_KEY", other).yaml(&format!(
        "secrets: {{ key: \"{other}\", old_keys: [\"{KEY}\"] }}"
    ));
    let gateway = Gateway::start(both);
    let sealed = ask(&gateway, "POST", "/admin/tenants/abc/seal", &Value::Null);
    assert_eq!(sealed.status, 200, "{}", sealed.text());
    drop(gateway);
    let gateway = Gateway::start(setup.env("SECRETS_KEY", other));
    let restored = ask(
        &gateway,
        "POST",
        "/abc/admin/config/history/1/restore",
        &Value::Null,
    );
    assert_eq!(restored.status, 200, "{}", restored.text());
    assert_eq!(sent_key(&gateway, &provider), "Bearer sk-first");
}

#[test]
fn admins_who_replace_a_config_at_once_keep_every_version() {
    on_all(|setup, _| {
        let config = |tokens: usize| json!({"user_groups": {"anonymous": {"tokens": tokens}}});
        let gateway = Gateway::start(setup.tenant("abc", config(1_000)));
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..6)
                .map(|number| {
                    let gateway = &gateway;
                    scope.spawn(move || put(gateway, &config(number)).status)
                })
                .collect();
            asked
                .into_iter()
                .map(|asked| asked.join().unwrap())
                .collect()
        });
        let stored = statuses.iter().filter(|status| **status == 200).count();
        assert!(
            statuses.iter().all(|status| matches!(status, 200 | 412)),
            "{statuses:?}"
        );
        let listed = ask(&gateway, "GET", HISTORY, &Value::Null).json();
        let mut seen: Vec<u64> = listed["configs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|former| {
                let path = format!("{HISTORY}/{}", former["version"]);
                let former = ask(&gateway, "GET", &path, &Value::Null).json();
                former["config"]["user_groups"]["anonymous"]["tokens"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        seen.push(
            shown(&gateway)["user_groups"]["anonymous"]["tokens"]
                .as_u64()
                .unwrap(),
        );
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), stored + 1, "{seen:?} {statuses:?}");
    });
}
