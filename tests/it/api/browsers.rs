//! CORS, host checks and content types: what pages of allowed and of foreign origins can do.

use crate::harness::{CHAT_PATH, Gateway, Redis, Response, Setup, eventually, mint, raw_for};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const APP: &str = "https://app.example";
const EVIL: &str = "https://evil.example";

fn config(cors: &Value, tokens: u64) -> Value {
    json!({
        "user_groups": {"anonymous": {"tokens": tokens}},
        "providers": {"text": {"default": "demo", "endpoints": {
            "demo": {"kind": "demo", "default_model": "demo-1"}
        }}},
        "cors": cors,
    })
}

fn start(origins: &[&str]) -> Gateway {
    Gateway::start(Setup::new().tenant("abc", config(&json!({"origins": origins}), 100_000)))
}

/// Default of `server.hosts`, which the other tests open to all.
fn by_default(setup: Setup) -> Setup {
    setup.env("RESULLM__SERVER__HOSTS", "")
}

fn preflight(gateway: &Gateway, path: &str, origin: &str) -> Response {
    let request = gateway.client().request("OPTIONS", path);
    request
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type,x-stainless-os",
        )
        .send()
}

fn has_cors(answer: &Response) -> bool {
    let mut names = answer
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase());
    names.any(|name| name.starts_with("access-control-"))
}

/// Runs `browser_calls.mjs` as a page of `origin` and returns what it printed.
fn page(gateway: &Gateway, call: &str, key: &str, origin: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("node");
    command
        .arg(root.join("tests/sdk/browser_calls.mjs"))
        .arg(call)
        .env_clear()
        .env("BASE_URL", format!("http://{}/abc/v1", gateway.addr()))
        .env("API_KEY", key)
        .env("ORIGIN", origin)
        .stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    let output = command
        .output()
        .expect("node runs; `make tools` installs the SDKs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}

#[test]
fn browser_page_of_an_allowed_origin_calls_through_the_sdk() {
    let gateway = start(&[APP]);
    let key = mint(&gateway, "abc");

    let chat = page(&gateway, "chat", &key, APP);
    let stream = page(&gateway, "stream", &key, APP);
    let me = page(&gateway, "me", &key, APP);

    assert!(
        chat["answer"]["text"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{chat}"
    );
    assert!(
        chat["answer"]["request_id"].is_string() && chat["answer"]["left"].is_string(),
        "{chat}"
    );
    assert_eq!(
        chat["preflights"],
        json!([{"status": 204, "max_age": "600"}])
    );
    assert!(
        stream["answer"]["text"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{stream}"
    );
    assert_eq!(me["answer"]["status"], 200);
}

#[test]
fn allowed_origin_reads_the_reason_of_a_refusal() {
    let poor = config(&json!({"origins": ["*"]}), 1);
    let gateway = Gateway::start(Setup::new().tenant("abc", poor));
    let key = mint(&gateway, "abc");

    let spent = page(&gateway, "chat", &key, EVIL);
    let unknown = page(&gateway, "stream", "temp_nobody", EVIL);

    assert_eq!(
        (&spent["refusal"]["status"], &spent["refusal"]["code"]),
        (&json!(402), &json!("insufficient_tokens"))
    );
    assert_eq!(
        (&unknown["refusal"]["status"], &unknown["refusal"]["name"]),
        (&json!(401), &json!("AuthenticationError"))
    );
}

#[test]
fn other_origin_reads_nothing() {
    let gateway = start(&[APP]);
    let key = mint(&gateway, "abc");
    for origin in [
        EVIL,
        "null",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:8443",
    ] {
        let refused = page(&gateway, "chat", &key, origin);
        let why = refused["refusal"]["why"].as_str().unwrap();
        assert!(why.contains("Failed to fetch"), "{origin}: {refused}");
    }
}

#[test]
fn preflight_is_answered_without_authentication() {
    let gateway = start(&[APP, "http://localhost:5173"]);
    for path in [
        CHAT_PATH,
        "/abc/messages",
        "/abc/v1/models",
        "/abc/v1/files",
        "/abc/auth/anonymous",
        "/abc/auth/me",
        "/abc",
    ] {
        let answer = preflight(&gateway, path, APP);
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (204, None),
            "{path}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some("authorization,content-type,x-stainless-os")
        );
        assert!(
            answer
                .header("access-control-allow-methods")
                .unwrap()
                .contains("POST")
        );
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
        assert_eq!(answer.header("vary"), Some("origin"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }

    let refused = preflight(&gateway, CHAT_PATH, EVIL);
    assert_eq!(
        (refused.status, has_cors(&refused)),
        (403, false),
        "{}",
        refused.text()
    );
    assert_eq!(refused.header("vary"), Some("origin"));

    let unknown = preflight(&gateway, "/nobody/v1/chat/completions", APP);
    assert_eq!((unknown.status, has_cors(&unknown)), (400, false));
    assert_eq!(unknown.text(), r#"{"error":"Invalid tenant ID"}"#);
}

#[test]
fn cors_covers_only_the_routes_that_pages_call() {
    let gateway = start(&["*"]);
    for path in [
        "/abc/admin/config",
        "/abc/admin/keys",
        "/abc/admin/usage",
        "/abc/auth/sessions",
        "/abc/billing/stripe",
        "/admin/tenants",
        "/",
        "/healthz",
        "/openapi.json",
        "/docs",
        "/abc/nothing",
    ] {
        let asked = preflight(&gateway, path, APP);
        assert!(
            asked.status >= 400 && !has_cors(&asked),
            "{path}: {}",
            asked.status
        );
        let got = gateway
            .client()
            .request("GET", path)
            .header("origin", APP)
            .bearer(gateway.admin_token())
            .send();
        assert!(!has_cors(&got), "{path}");
    }
}

#[test]
fn no_cors_setting_sends_no_cors_header() {
    let gateway = Gateway::start(Setup::new().tenant("abc", config(&Value::Null, 1_000)));
    let key = mint(&gateway, "abc");

    assert_eq!(preflight(&gateway, CHAT_PATH, APP).status, 405);
    for (method, path) in [
        ("GET", "/abc/auth/me"),
        ("GET", "/abc/v1/models"),
        ("OPTIONS", CHAT_PATH),
        ("POST", CHAT_PATH),
    ] {
        let request = gateway.client().request(method, path);
        let answer = request.header("origin", APP).bearer(&key).send();
        assert!(
            !has_cors(&answer) && answer.header("vary").is_none(),
            "{path}"
        );
    }
}

#[test]
fn every_refusal_has_cors_headers() {
    let redis = Redis::start();
    let limited = json!({
        "user_groups": {"anonymous": {"tokens": 100_000, "rate_limit": 1, "rate_limit_window": 60}},
        "providers": {"text": {"default": "demo", "endpoints": {"demo": {"kind": "demo", "default_model": "demo-1"}}}},
        "cors": {"origins": [APP]},
    });
    let setup = Setup::new().store(&redis.url()).tenant("abc", limited);
    let gateway = Gateway::start(setup.env("RESULLM__ACCOUNTS__FAILURES_PER_ADDRESS", "3"));
    let key = mint(&gateway, "abc");
    let call = |key: &str, body: &Value| {
        let request = gateway.client().request("POST", CHAT_PATH);
        request.header("origin", APP).bearer(key).json(body).send()
    };
    let hi = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20});
    let mut answers = vec![call(&key, &hi), call(&key, &hi), call(&key, &json!([]))];
    redis.pause();
    answers.push(call(&key, &hi));
    redis.resume();

    eventually(Duration::from_secs(10), "the store is back", || {
        (gateway.client().get("/readyz").status == 200).then_some(())
    });

    // A wrong key is counted just after its answer, so the fourth may still be in time.
    for _ in 0..20 {
        answers.push(call("temp_nobody", &hi));
        if answers.last().is_some_and(|answer| answer.status == 429) {
            break;
        }
    }
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    for status in [200, 429, 400, 503, 401] {
        assert!(statuses.contains(&status), "{status} in {statuses:?}");
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    for answer in &answers {
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(APP),
            "{}",
            answer.text()
        );
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("x-resullm-tokens-left") && exposed.contains("retry-after"));
        assert_eq!(answer.header("vary"), Some("origin"));
    }
}

#[test]
fn foreign_origin_mints_no_key() {
    let gateway = start(&[APP]);
    let own = format!("http://{}", gateway.addr());
    let post = |origins: &[&str]| {
        let mut request = gateway.client().request("POST", "/abc/auth/anonymous");
        for origin in origins {
            request = request.header("origin", origin);
        }
        request
            .header("content-type", "text/plain")
            .body("x")
            .send()
    };

    for welcome in [
        &[][..],
        &[APP],
        &[own.as_str()],
        &["HTTPS://APP.example:443"],
    ] {
        assert_eq!(post(welcome).status, 200, "{welcome:?}");
    }
    for stranger in [
        &[EVIL][..],
        &["null"],
        &[""],
        &[APP, EVIL],
        &["http://127.0.0.1:1"],
        &["https://app.example/"],
    ] {
        let refused = post(stranger);
        assert_eq!(refused.status, 403, "{stranger:?}");
        assert!(
            refused.json()["error"]
                .as_str()
                .unwrap()
                .contains("cors.origins")
        );
    }

    let open = start(&["*"]);
    let request = open.client().request("POST", "/abc/auth/anonymous");
    assert_eq!(request.header("origin", EVIL).send().status, 200);
}

#[test]
fn no_response_is_sniffed_as_html() {
    let gateway = start(&[]);
    let key = mint(&gateway, "abc");
    let hi = json!({"messages": [{"role": "user", "content": "Hi"}], "stream": true});
    let client = gateway.client();

    let stream = client
        .request("POST", CHAT_PATH)
        .bearer(&key)
        .json(&hi)
        .send();
    assert!(stream.text().contains("[DONE]"));

    let answers = [
        stream,
        client.get("/"),
        client.get("/healthz"),
        client.get("/nobody"),
        client.get("/abc/auth/me"),
    ];
    for answer in answers {
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{}",
            answer.text()
        );
    }
    let wrong = raw_for(gateway.addr(), b"nonsense\r\n\r\n", Duration::from_secs(3));
    assert!(String::from_utf8_lossy(&wrong).contains("x-content-type-options: nosniff"));
}

/// Status of a `GET` with this `Host` header.
fn asked(gateway: &Gateway, path: &str, host: &str) -> u16 {
    gateway
        .client()
        .request("GET", path)
        .header("host", host)
        .send()
        .status
}

#[test]
fn loopback_gateway_refuses_foreign_host_names() {
    let gateway = Gateway::start(by_default(
        Setup::new().tenant("abc", config(&Value::Null, 100)),
    ));
    let port = gateway.port();

    for host in [
        "localhost",
        "LOCALHOST.",
        "app.localhost:80",
        "127.0.0.1",
        "127.8.8.8:1",
        "[::1]",
        "[0:0::1]:3000",
        "[::ffff:127.0.0.1]",
    ] {
        assert_eq!(asked(&gateway, "/abc", host), 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
        "0.0.0.0",
        "",
        "::1",
        "a:b:c",
    ] {
        for path in [
            "/",
            "/abc",
            "/abc/admin/config",
            "/openapi.json",
            "/docs",
            "/nobody",
            "/admin/tenants",
        ] {
            assert_eq!(asked(&gateway, path, host), 421, "{host} {path}");
        }
        for probe in ["/healthz", "/readyz"] {
            assert_eq!(asked(&gateway, probe, host), 200, "{host} {probe}");
        }
    }

    let evil = format!("evil.example:{port}");
    let refused = gateway
        .client()
        .request("POST", "/abc/auth/anonymous")
        .header("host", &evil)
        .send();
    assert_eq!(refused.status, 421);
    assert!(
        refused.json()["error"]
            .as_str()
            .unwrap()
            .contains("server.hosts")
    );

    let refused = gateway
        .client()
        .request("POST", CHAT_PATH)
        .header("host", &evil)
        .send();
    assert_eq!(refused.json()["error"]["code"], "misdirected_request");

    let absolute =
        format!("GET http://{evil}/abc HTTP/1.1\r\nHost: {evil}\r\nConnection: close\r\n\r\n");
    let answer = raw_for(gateway.addr(), absolute.as_bytes(), Duration::from_secs(3));
    assert!(answer.starts_with(b"HTTP/1.1 421 "));

    let old = raw_for(
        gateway.addr(),
        b"GET /abc HTTP/1.0\r\n\r\n",
        Duration::from_secs(3),
    );
    assert!(
        old.starts_with(b"HTTP/1.1 200 "),
        "no browser sends HTTP/1.0"
    );
}

#[test]
fn gateway_answers_to_its_configured_host_names() {
    let yaml = "server: { public_url: 'https://gw.example/llm/', hosts: [a.example, '*.b.example', '[::1]'] }";
    let gateway = Gateway::start(
        by_default(Setup::new().tenant("abc", config(&Value::Null, 100))).yaml(yaml),
    );

    for host in [
        "a.example",
        "A.Example.:8443",
        "x.y.b.example",
        "[0::1]:3000",
        "gw.example",
    ] {
        assert_eq!(asked(&gateway, "/abc", host), 200, "{host}");
    }
    for host in ["localhost", "b.example", "x.a.example", "127.0.0.1"] {
        assert_eq!(asked(&gateway, "/abc", host), 421, "{host}");
        assert_eq!(asked(&gateway, "/healthz", host), 200, "{host}");
    }

    let get = |path: &str| {
        gateway
            .client()
            .request("GET", path)
            .header("host", "gw.example")
            .send()
    };
    assert_eq!(
        get("/openapi.json").json()["servers"][0]["url"],
        "https://gw.example/llm"
    );

    let mint = |origin: &str| {
        let request = gateway.client().request("POST", "/abc/auth/anonymous");
        request
            .header("host", "a.example")
            .header("origin", origin)
            .send()
            .status
    };
    assert_eq!(
        (
            mint("https://gw.example"),
            mint("https://a.example"),
            mint(EVIL)
        ),
        (200, 200, 403)
    );
}

#[test]
fn forwarded_host_of_a_trusted_proxy_is_the_host() {
    let yaml = "server: { trusted_proxies: [127.0.0.1], hosts: [gw.example] }";
    let gateway = Gateway::start(
        by_default(Setup::new().tenant("abc", config(&Value::Null, 100))).yaml(yaml),
    );
    let status = |host: &str, forwarded: &str| {
        let request = gateway.client().request("GET", "/abc").header("host", host);
        request.header("x-forwarded-host", forwarded).send().status
    };

    assert_eq!(status("10.0.0.7:3000", "gw.example"), 200);
    assert_eq!(status("gw.example", "evil.example"), 421);
    assert_eq!(status("10.0.0.7", "gw.example, evil.example"), 421);
}
