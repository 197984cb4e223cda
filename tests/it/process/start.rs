//! Settings, start, log lines and sockets of the process.

use crate::harness::{
    Gateway, Provider, Redis, RedisTls, Script, Sentinel, Setup, TempDir, free_port, mint, resullm,
    sample,
};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::Duration;

fn demo() -> Value {
    serde_json::json!({
        "user_groups": {"anonymous": {"tokens": 100}},
        "providers": {"text": {"default": "demo", "endpoints": {"demo": {"kind": "demo", "default_model": "demo-1"}}}},
    })
}

/// Asserts that the start fails within six seconds with exit code 1 and one line with this reason.
#[track_caller]
fn cannot_connect(url: &str, reason: &str) {
    let (status, logs, took) = Gateway::run_to_end(Setup::new().store(url));
    assert_eq!(status.code(), Some(1), "{logs:#?}");
    assert!(took < Duration::from_secs(6), "took {took:?}");
    let lines: Vec<_> = logs
        .iter()
        .filter(|line| line.starts_with("[ERROR]"))
        .collect();
    assert_eq!(lines.len(), 1, "{logs:#?}");
    assert!(
        lines[0].starts_with("[ERROR] Redis connection failed: "),
        "{lines:?}"
    );
    assert!(lines[0].contains(reason), "{lines:?}");
}

#[test]
fn a_refused_port_ends_the_start() {
    cannot_connect(&format!("redis://127.0.0.1:{}", free_port()), "refused");
}

#[test]
fn silent_store_address_ends_the_start() {
    // A listener that never accepts: connections and requests get no response.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    cannot_connect(&format!("redis://{}", silent.local_addr().unwrap()), "");
}

#[test]
fn a_wrong_password_ends_the_start() {
    let redis = Redis::with(&["--requirepass", "right"]);
    let url = format!("redis://:wrong@127.0.0.1:{}", redis.port());
    cannot_connect(&url, "assword");
}

#[test]
fn a_server_that_is_still_loading_ends_the_start() {
    let dir = TempDir::new();
    let redis = Redis::in_dir(
        dir,
        free_port(),
        &[
            "--enable-debug-command",
            "yes",
            "--key-load-delay",
            "20000",
            "--loading-process-events-interval-bytes",
            "1024",
        ],
    );
    for i in 0..2_000 {
        redis.cli(&["SET", &format!("filler:{i}"), &"x".repeat(200)]);
    }
    // `DEBUG RELOAD` reloads the data set with a delay, and the server answers LOADING meanwhile.
    let mut connection = redis.connect().unwrap();
    let reload = std::thread::spawn(move || connection.ask(&["DEBUG", "RELOAD"]));
    crate::harness::eventually(Duration::from_secs(10), "the server is loading", || {
        redis
            .try_cli(&["GET", "filler:1"])
            .ok()?
            .error()?
            .starts_with("LOADING")
            .then_some(())
    });
    cannot_connect(&redis.url(), "loading");
    drop(redis);
    let _ = reload.join();
}

#[test]
fn a_sentinel_that_does_not_know_the_service_ends_the_start() {
    let sentinel = Sentinel::start();
    let url = sentinel.url().replace("/main", "/other");
    cannot_connect(&url, "other");
}

#[test]
fn redis_over_tls_with_a_private_authority() {
    let redis = RedisTls::start();
    let ca = redis.ca_file();
    let trusting = Setup::new()
        .store(&redis.url())
        .tenant("demo", demo())
        .env("SSL_CERT_FILE", &ca.display().to_string());
    let gateway = Gateway::start(trusting);
    mint(&gateway, "demo");

    let (status, logs, _) = Gateway::run_to_end(Setup::new().store(&redis.url()));

    assert_eq!(status.code(), Some(1), "{logs:#?}");
    assert!(
        logs.iter()
            .any(|line| line.starts_with("[ERROR] Redis connection failed: ")),
        "{logs:#?}"
    );
}

#[test]
fn default_settings_write_the_sample_tenant_to_redis() {
    let redis = Redis::start();
    let empty = TempDir::new();
    // Started without a config file, with the default settings.
    let seeded = std::process::Command::new(env!("CARGO_BIN_EXE_resullm"))
        .current_dir(empty.path())
        .env_clear()
        .env("PORT", "0")
        .env("REDIS_URL", redis.url())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut seeded = seeded;
    let stored =
        crate::harness::eventually(Duration::from_secs(10), "tenant abc is written", || {
            let reply = redis.cli(&["GET", "tenant:abc:config"]);
            (!reply.is_nil()).then(|| reply.text())
        });
    seeded.kill().unwrap();
    seeded.wait().unwrap();

    let sample: Value =
        serde_json::from_str(include_str!("../../../src/settings/sample_tenant.json")).unwrap();

    assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), sample);
}

#[test]
fn seed_tenants_never_replace_stored_configs() {
    let redis = Redis::start();
    redis.cli(&["SET", "tenant:demo:config", "{\"user_groups\":{}}"]);
    let _gateway = Gateway::start(Setup::new().store(&redis.url()).tenant("demo", demo()));

    assert_eq!(
        redis.cli(&["GET", "tenant:demo:config"]).text(),
        "{\"user_groups\":{}}"
    );
}

#[test]
fn both_addresses_of_localhost_answer_and_root_says_so() {
    let gateway = Gateway::start(
        Setup::new()
            .tenant("demo", demo())
            .yaml("service: { name: Vibe }"),
    );
    for address in [
        format!("127.0.0.1:{}", gateway.port()),
        format!("[::1]:{}", gateway.port()),
    ] {
        let root = crate::harness::Client::new(address.parse().unwrap()).get("/");
        assert_eq!(
            (root.status, root.text().as_str()),
            (200, r#"{"message":"Vibe API is running"}"#)
        );
        assert_eq!(root.header("content-type"), Some("application/json"));
    }
    for path in ["/", "/demo"] {
        let head = gateway.client().request("HEAD", path).send();
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
}

#[test]
fn a_second_process_on_an_embedded_directory_says_so_and_ends() {
    let gateway = Gateway::start(Setup::new());
    let (status, logs, took) = Gateway::run_to_end(gateway.setup().clone());
    assert_eq!(status.code(), Some(1));
    assert!(took < Duration::from_secs(6));

    let line = logs
        .iter()
        .find(|line| line.starts_with("[ERROR] "))
        .unwrap();
    assert!(
        line.contains("in use by another process") && line.contains(&gateway.pid().to_string()),
        "{line}"
    );
    assert_eq!(gateway.client().get("/").status, 200);
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();

    let (status, logs, _) = Gateway::run_to_end(Setup::new().env("PORT", &port));

    assert_eq!(status.code(), Some(1));
    assert!(
        logs.iter()
            .any(|line| line.starts_with("[ERROR] Cannot listen on ") && line.contains(&port)),
        "{logs:#?}"
    );
}

#[test]
fn every_fault_of_the_settings_is_named_with_its_place() {
    let dir = TempDir::new();
    let file = dir.write("gateway.yaml", "server:\n  max_body: many\n  lissten: [x]\ntenants:\n  auth: {}\n  a:\n    user_groups:\n      anonymous:\n        tokens: -1\n");
    let path = file.display().to_string();
    let output = resullm(&["check", "--config", &path], &[]);

    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [":2:", ":3:", "lissten", "listen", ":5:", ":9:", "tokens"] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    assert_eq!(text.lines().count(), 4, "{text}");

    let (status, logs, _) = Gateway::run_to_end(Setup::new().yaml("nonsense: 1"));
    assert_eq!(status.code(), Some(1));
    assert!(
        logs.iter()
            .any(|line| line.starts_with("[ERROR] ") && line.contains("nonsense")),
        "{logs:#?}"
    );
}

/// What can be read and will hardly do what was meant is said by `check`, and logged at the start.
#[test]
fn doubtful_tenants_of_the_file_are_warned_about() {
    let dir = TempDir::new();
    let text = "store: embedded:./data
tenants:
  a:
    user_groups: {anonymous: {tokens: 5, max_concurent: 1}}
    providers:
      text:
        default: x
        fallbacks: [y]
        endpoints:
          x: {url: \"http://127.0.0.1:9/v1/chat/completions\"}
          y: {url: \"http://llm.example/v1/chat/completions\"}
";
    let file = dir.write("gateway.yaml", text).display().to_string();

    let output = resullm(&["check", "--config", &file], &[]);

    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    for part in [
        ":4:42: tenants.a.user_groups.anonymous.max_concurent: unknown setting (did you mean max_concurrent?)",
        ":10:15: tenants.a.providers.text.endpoints.x.url: leads to a private address",
        ":11:15: tenants.a.providers.text.endpoints.y.url: is not https",
        "egress.allow_private_networks",
    ] {
        assert!(told.contains(part), "{part} in:\n{told}");
    }
    let allowed = [("RESULLM__EGRESS__ALLOW_PRIVATE_NETWORKS", "true")];
    let output = resullm(&["check", "--config", &file], &allowed);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!told.contains("endpoints"), "{told}");
    let tenant = json!({"user_groups": {"anonymous": {"tokens": 5, "max_concurent": 1}}});
    let gateway = Gateway::start(Setup::new().tenant("a", tenant));
    gateway.wait_log("did you mean max_concurrent?");
}

#[test]
fn the_bundled_file_is_good_and_schemas_and_openapi_are_printed() {
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.yaml");
    let output = resullm(&["check", "--config", bundled], &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for args in [&["schema"][..], &["schema", "tenant"], &["openapi"]] {
        let output = resullm(args, &[]);
        assert!(output.status.success(), "{args:?}");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(value.is_object(), "{args:?}");
    }
    assert_eq!(resullm(&["nonsense"], &[]).status.code(), Some(2));
}

#[test]
fn json_log_format_writes_one_object_a_line() {
    let dir = TempDir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let setup = Setup::new()
        .dir(dir.path())
        .yaml("log: { format: json }")
        .env("PORT", &port);

    let (_, logs, _) = Gateway::run_to_end(setup);

    assert!(!logs.is_empty());
    for line in logs {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert!(
            line["ts"].is_string() && line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn metrics_have_a_listener_of_their_own() {
    let port = free_port();
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new()
        .tenant("abc", sample(&provider))
        .yaml(&format!("server: {{ ops_listen: \"127.0.0.1:{port}\" }}"));
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");

    let call = serde_json::json!({"messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(
        crate::harness::chat(&gateway, "abc", &key, &call).status,
        200
    );

    let ops = crate::harness::Client::new(format!("127.0.0.1:{port}").parse().unwrap());
    let metrics = ops.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.text().contains("resullm_tokens_charged_total 7\n"),
        "{}",
        metrics.text()
    );
    assert_eq!(ops.get("/readyz").status, 200);
    assert_eq!(ops.get("/healthz").status, 200);
    assert_eq!(ops.get("/").status, 404);
    assert_ne!(gateway.client().get("/metrics").status, 200);
}

#[test]
fn an_environment_reference_and_its_overrides_win_over_the_file() {
    let dir = TempDir::new();
    let setup = Setup::new()
        .dir(dir.path())
        .admin_token("${SECRET_OF_MINE}")
        .env("SECRET_OF_MINE", "from-the-environment");
    let gateway = Gateway::start(setup.clone().tenant("demo", demo()));
    let read = |gateway: &Gateway, token: &str| {
        gateway
            .client()
            .request("GET", "/demo/admin/config")
            .bearer(token)
            .send()
            .status
    };

    assert_eq!(read(&gateway, "from-the-environment"), 200);

    drop(gateway);
    let gateway = Gateway::start(
        setup
            .tenant("demo", demo())
            .env("ADMIN_TOKEN", "strongest-word"),
    );
    assert_eq!(read(&gateway, "from-the-environment"), 401);
    assert_eq!(read(&gateway, "strongest-word"), 200);
}
