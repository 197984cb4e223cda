//! Tenant configs, the command line and signals.

use super::hi;
use crate::harness::{Gateway, Provider, Redis, Script, Setup, chat, mint, sample};
use serde_json::json;
use std::time::Duration;

#[test]
fn group_name_that_breaks_a_record_is_refused() {
    let gateway = Gateway::start(Setup::new().tenant("abc", json!({})));
    for name in ["q\"x", "", "a b", "é", "a\\n"] {
        let body = json!({"config": {"user_groups": {name: {"tokens": 1}}}});
        let refused = gateway
            .client()
            .request("PUT", "/abc/admin/config")
            .bearer(gateway.admin_token())
            .json(&body)
            .send();
        assert_eq!(refused.status, 400, "{name:?}");
    }
}

#[test]
fn broken_tenant_config_has_an_api_shaped_error() {
    let redis = Redis::start();
    redis.cli(&["SET", "tenant:abc:config", r#"{"providers":3}"#]);
    let gateway = Gateway::start(Setup::new().store(&redis.url()));

    let answer = chat(&gateway, "abc", "temp_x", &hi());

    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (503, &json!("broken_config"))
    );
}

#[test]
fn tenant_get_output_can_be_put_back() {
    let redis = Redis::start();
    let text = "{\"a\": 1.50, \"user_groups\": {\"anonymous\": {\"tokens\": 5}}}";
    redis.cli(&["SET", "tenant:abc:config", text]);
    let url = redis.url();
    let env = [("REDIS_URL", url.as_str())];

    let read = crate::harness::resullm(&["tenant", "get", "abc"], &env);
    assert_eq!(String::from_utf8_lossy(&read.stdout).trim_end(), text);

    let dir = crate::harness::TempDir::new();
    let file = dir.write("c.json", text);
    assert!(
        crate::harness::resullm(&["tenant", "put", "abc", file.to_str().unwrap()], &env)
            .status
            .success()
    );
    assert_eq!(redis.cli(&["GET", "tenant:abc:config"]).text(), text);
}

#[test]
fn second_signal_ends_the_load_balancer_wait() {
    let provider = Provider::start(|_| Script::new().stall());
    let setup = Setup::new().tenant("abc", sample(&provider));
    let gateway = Gateway::start(setup.yaml("server: { drain_delay: 60s }"));
    let key = mint(&gateway, "abc");

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| chat(&gateway, "abc", &key, &hi()).status);
        provider.wait_requests(1);
        gateway.signal("TERM");
        gateway.wait_log("[INFO] Server shutting down");
        gateway.signal("TERM");
        assert_eq!(gateway.wait_exit(Duration::from_secs(20)).code(), Some(0));
        assert_eq!(waiting.join().unwrap(), 503);
    });
}

#[test]
fn admin_token_unfit_for_a_header_is_refused() {
    let gateway = Gateway::start(Setup::new().tenant("abc", json!({})));
    let set = |token: &str| {
        let request = gateway.client().request("PUT", "/admin/tenants/abc/tokens");
        request
            .bearer(gateway.admin_token())
            .json(&json!({"tokens": ["a-token-of-16-signs", token]}))
            .send()
    };
    let long = "x".repeat(1025);

    for token in [
        " ".repeat(16).as_str(),
        "\u{e4}bcdefghijklmnopq",
        " leading-blank-16",
        "trailing-blank-16 ",
        "a-blank inside-it",
        "a-tab\tinside-it-16",
        "a-line\ninside-it-16",
        "a-nul\u{0}inside-it-16",
        "short",
        long.as_str(),
    ] {
        let refused = set(token);
        assert_eq!(refused.status, 400, "{token:?}");
        assert!(
            refused.json()["error"]
                .as_str()
                .unwrap()
                .starts_with("tokens.1 must have 16 to 1024 visible ASCII")
        );
    }
    let sign = "!~#$%&'()*+,-./:;<=>?@[]^_`{|}\\\"";
    assert_eq!(set(sign).status, 200);

    let config = gateway
        .client()
        .request("GET", "/abc/admin/config")
        .bearer(sign)
        .send();
    assert_eq!(config.status, 200);
}

/// An address had ten thousand guesses a minute of admin tokens, as of keys.
#[test]
fn an_address_has_a_hundred_wrong_admin_tokens_a_minute() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let guess = |path: &str, token: &str| {
        let request = gateway.client().request("POST", path);
        request.bearer(token).json(&json!({})).send()
    };
    let paths = ["/abc/admin/keys", "/admin/tenants", "/abc/auth/sessions"];
    for _ in 0..100 {
        let request = gateway.client().request("POST", "/admin/tenants");
        assert_eq!(
            request.json(&json!({})).send().status,
            401,
            "no token is no guess"
        );
    }
    for at in 0..100 {
        assert_eq!(guess(paths[at % 3], &format!("a-guess-{at}")).status, 401);
    }
    for path in paths {
        let refused = guess(path, "another-guess");
        assert_eq!(refused.status, 429, "{path}: {}", refused.text());
        assert!(refused.header("retry-after").is_some());
        assert_eq!(guess(path, gateway.admin_token()).status, 429);
    }
    // Its keys still work.
    assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 200);
}
