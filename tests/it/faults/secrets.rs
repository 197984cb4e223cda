//! Secrets never appear in logs, metrics or responses.
//!
//! Every secret carries a marker and is sent along every route, valid and malformed, at the highest log
//! level. Then logs, metrics, headers and bodies are searched for the marker and for every minted key.
//! Exceptions: a key for its owner, a config for its admin, a prompt and its answer for the caller.

use super::case;
use super::routes::{Operation, PROVIDER_CALLS, asking, form, operations};
use crate::harness::http::Response;
use crate::harness::{
    Client, Gateway, Provider, Redis, Script, Setup, Step, TempDir, eventually, free_port, resullm,
    sample,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const MARK: &str = "c4n4ry";
const ADMIN: &str = "c4n4ry-admin-token-0123456789";
const TENANT_ADMIN: &str = "c4n4ry-tenant-admin-0123456789";
const OPENAI_KEY: &str = "sk-c4n4ry-openai-0123456789";
const CLAUDE_KEY: &str = "sk-ant-c4n4ry-claude-0123456789";
const IN_QUERY: &str = "c4n4ry-in-the-query-0123456789";
const PROMPT: &str = "c4n4ry-prompt";
const ANSWER: &str = "c4n4ry-answer";

/// Log filter with the gateway and its libraries at `trace`.
const LOUDEST: &str = "trace,hyper=trace,hyper_util=trace,pingora=trace,pingora_core=trace,\
    pingora_proxy=trace,redis=trace,rustls=trace,tokio=trace,tokio_rustls=trace,mio=trace,redb=trace,\
    httparse=trace,saphyr_parser=trace,want=trace,serde_json=trace";

/// Everything seen so far is searched for these keys and the marker.
#[derive(Default)]
struct Watch {
    keys: Vec<String>,
    looked_at: usize,
    hits: BTreeSet<String>,
}

impl Watch {
    fn look(&mut self, what: &str, text: &str) {
        self.looked_at += 1;
        let lower = text.to_ascii_lowercase();
        let mut secrets = std::iter::once(MARK).chain(self.keys.iter().map(String::as_str));
        if secrets.any(|secret| lower.contains(secret)) {
            self.hits.insert(format!("{what}: {text}"));
        }
    }

    /// Number of searched texts, as the figure of the case.
    #[track_caller]
    fn figure(&self) -> String {
        let hits: Vec<&String> = self.hits.iter().take(30).collect();
        assert!(hits.is_empty(), "{} hits: {hits:#?}", self.hits.len());
        format!("0 hits in {} texts", self.looked_at)
    }

    /// Searches a response; `own` are secrets that its caller may see.
    fn look_at(&mut self, what: &str, answer: &Response, own: &[&str]) {
        for (name, value) in &answer.headers {
            self.look(&format!("a header of {what}"), &format!("{name}: {value}"));
        }
        let text = own
            .iter()
            .fold(answer.text(), |text, own| text.replace(own, "its own"));
        self.look(&format!("{what} {}", answer.status), &text);
    }
}

/// A provider that echoes the whole request, in the way the prompt asks for: `do-429`.
fn echo() -> Provider {
    Provider::start(|asked| {
        let text = asked.text();
        let headers: Vec<String> = asked
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let echo = format!("{} {} {text}", asked.path, headers.join(" "));
        let key = asked.header("authorization").or(asked.header("x-api-key"));
        let key = key.unwrap_or_default();
        let told = |script: Script| {
            ["openai-version", "retry-after", "x-echo", "set-cookie"]
                .iter()
                .fold(script, |script, name| script.header(name, key))
        };
        let wanted = text.split("do-").nth(1).unwrap_or_default();
        let wanted: String = wanted
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        let error =
            json!({"error": {"message": echo, "type": "echo", "param": null, "code": "echo"}});
        match wanted.as_str() {
            "event" => Script::sse([error.to_string(), "[DONE]".to_owned()]),
            "torn" => Script::sse([error.to_string()]).then(Step::Cut),
            "page" => told(
                Script::new()
                    .head(500, &[("content-type", "text/html")])
                    .bytes(echo),
            ),
            "stream" => told(Script::chat_stream(&[ANSWER, &echo], 3, 2)),
            "messages" => told(Script::message_stream(&[ANSWER, &echo], 3, 2)),
            "none" => Script::new(),
            status => match status.parse() {
                Ok(200) | Err(_) => told(Script::chat(&format!("{ANSWER} {echo}"), 3, 2)),
                Ok(status) => told(Script::json(status, &error)),
            },
        }
    })
}

fn config(provider: &Provider) -> Value {
    let mut config: Value = sample(provider)
        .set("auth.stripe.api_key", json!("sk_c4n4ry_stripe_0123456789"))
        .set("auth.google_oauth.client_id", json!("google-client"))
        .set("auth.google_oauth.client_secret", json!("c4n4ry-google"))
        .set("auth.apple_oauth.client_id", json!("apple-client"))
        .set("auth.apple_oauth.client_secret", json!("c4n4ry-apple"))
        .set("secrets_of_others", json!("c4n4ry-unknown-field"))
        .into();
    let url = |path: &str| provider.url(path);
    let of_query = format!("/v1/chat/completions?key={IN_QUERY}");
    config["providers"]["text"]["endpoints"] = json!({
        "openai": {"url": url("/v1/chat/completions"), "api_key": OPENAI_KEY, "default_model": "m"},
        "claude": {"url": url("/v1/messages"), "api_key": CLAUDE_KEY, "default_model": "c"},
        "query": {"url": url(&of_query), "api_key": OPENAI_KEY},
        "closed": {"url": format!("http://127.0.0.1:{}/x?key={IN_QUERY}", free_port()), "api_key": OPENAI_KEY},
        "nowhere": {"url": format!("https://nowhere.invalid/x?key={IN_QUERY}"), "api_key": OPENAI_KEY},
        "no_tls": {"url": url("/v1/chat/completions").replace("http:", "https:"), "api_key": OPENAI_KEY},
    });
    config
}

/// Malformed bodies, each wrong in another way.
fn wrong_bodies() -> Vec<String> {
    let nested = json!({"config": {
        "providers": {"text": {"default": "c4n4ry-default", "fallbacks": ["c4n4ry-fallback"], "endpoints": {
            "a": {"url": "https://user:c4n4ry-password@x.example/", "api_key": "c4n4ry key\n"},
            "b": {"url": "ftp://x.example/?c4n4ry", "api_key": ["c4n4ry"], "kind": "c4n4ry-kind"},
            "c": "c4n4ry-endpoint", "d": {"url": "c4n4ry", "max_output_tokens": "c4n4ry"},
        }, "rates": {"m": "c4n4ry-rate"}}},
        "user_groups": {"anonymous": {"tokens": "c4n4ry-tokens", "rate_limit": "c4n4ry"}},
        "auth": {"stripe": "c4n4ry-stripe", "google_oauth": {"client_id": ["c4n4ry"], "client_secret": {"a": "c4n4ry"}}},
        "caching": {"enabled": "c4n4ry"},
    }});
    let mut bodies = vec![
        String::new(),
        nested.to_string(),
        nested["config"].to_string(),
        "c4n4ry is no JSON".to_owned(),
        "\"c4n4ry is a string\"".to_owned(),
        "[\"c4n4ry\"]".to_owned(),
        "{\"config\": c4n4ry}".to_owned(),
        "{\"config\": {\"api_key\": \"c4n4ry".to_owned(),
        json!({"idToken": "c4n4ry.id.token"}).to_string(),
    ];
    for name in [
        "tokens",
        "id",
        "group",
        "userId",
        "expiresInSeconds",
        "config",
    ] {
        bodies.push(json!({name: ["c4n4ry"]}).to_string());
        bodies.push(json!({name: {"c": "c4n4ry"}}).to_string());
        if !["id", "group"].contains(&name) {
            bodies.push(json!({name: "c4n4ry secret"}).to_string());
        }
    }
    bodies
}

#[test]
fn secrets_appear_in_no_log_metric_or_response() {
    let redis = Redis::with(&["--requirepass", "c4n4ry-redis-password"]);
    for (store, format, layout) in [(None, "human", "key"), (Some(redis.url()), "json", "user")] {
        let name = store.as_ref().map_or("embedded", |_| "Redis");
        case(&format!("secrets: every way, {name}, log {format}"), || {
            everything_is_tried(store.as_deref(), format, layout, &redis).figure()
        });
    }
}

fn everything_is_tried(store: Option<&str>, format: &str, layout: &str, redis: &Redis) -> Watch {
    let provider = echo();
    let ops = format!("127.0.0.1:{}", free_port());
    let mut setup = Setup::new()
        .admin_token(ADMIN)
        .env("RUST_LOG", LOUDEST)
        .env("RUST_BACKTRACE", "full")
        .env("RESULLM__ACCOUNTS__FAILURES_PER_ADDRESS", "1000000")
        .tenant("abc", config(&provider))
        .yaml(&format!("server: {{ ops_listen: \"{ops}\" }}"))
        .yaml(&format!("log: {{ format: {format} }}"))
        .yaml("upstream: { connect_timeout: 200ms }")
        .yaml(&format!(
            "accounts: {{ layout: {layout}, mints_per_address: 100000 }}"
        ));
    if let Some(store) = store {
        setup = setup.store(store);
    }
    let gateway = Gateway::start(setup);
    let client = gateway.client();
    let mut watch = Watch::default();

    local_routes(&gateway, &provider, &mut watch);
    provider_calls(&client, &mut watch);
    let asked = provider.requests().len();
    assert!(asked > 200, "the provider was asked {asked} times");
    malformed(&gateway, &mut watch);

    let metrics = Client::new(ops.parse().unwrap()).get("/metrics");
    assert_eq!(metrics.status, 200);
    watch.look_at("metrics", &metrics, &[]);
    if store.is_some() {
        redis.cli(&["SET", "tenant:broken:config", r#"{"providers":"c4n4ry"}"#]);
        redis.cli(&["SET", "tenant:garbage:config", "c4n4ry is no JSON"]);
        redis.cli(&["SET", "apiKey:c4n4ry-damaged", r#"{"tokensLeft":"c4n4ry"}"#]);
        for (path, key) in [
            ("/broken/auth/me", "c4n4ry-key"),
            ("/garbage/v1/models", "c4n4ry-key"),
            ("/abc/auth/me", "c4n4ry-damaged"),
        ] {
            let answer = client.request("GET", path).bearer(key).send();
            watch.look_at(path, &answer, &[]);
        }
        redis.kill();
        for path in ["/abc/auth/me", "/abc/v1/models", "/readyz"] {
            let answer = client.request("GET", path).bearer("c4n4ry-lost").send();
            assert_eq!(answer.status, 503, "{path}");
            watch.look_at(path, &answer, &[]);
        }
    }
    gateway.signal("TERM");
    gateway.wait_exit(Duration::from_secs(60));
    for line in gateway.logs() {
        watch.look("the log", &line);
    }
    watch
}

/// Calls every local route with every credential, with valid and malformed bodies.
fn local_routes(gateway: &Gateway, provider: &Provider, watch: &mut Watch) {
    let client = gateway.client();
    let config = json!({"config": config(provider)});
    let admin = |method: &str, path: &str, body: &Value| {
        let answer = client.request(method, path).bearer(ADMIN).json(body).send();
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        answer
    };
    let bodies = wrong_bodies();
    for operation in operations(&client) {
        for credential in ["", ADMIN, TENANT_ADMIN, "key", "c4n4ry-unknown-key"] {
            // Restores what the last round may have deleted.
            admin("PUT", "/admin/tenants/spare", &config);
            admin(
                "PUT",
                "/admin/tenants/spare/tokens",
                &json!({"tokens": [TENANT_ADMIN]}),
            );
            let minted = admin("POST", "/spare/admin/keys", &json!({"tokens": 1000}));
            let key = minted.json()["apiKey"].as_str().unwrap().to_owned();
            watch.keys.push(key.clone());
            let credential = if credential == "key" {
                &key
            } else {
                credential
            };
            let path = operation.path("spare", &key);
            let good = match (operation.method.as_str(), operation.template.as_str()) {
                ("PUT", "/{tenant}/admin/config" | "/admin/tenants/{tenant}") => config.clone(),
                ("PUT", _) => json!({"tokens": [TENANT_ADMIN]}),
                ("POST", "/admin/tenants") => json!({"id": "spare", "config": config["config"]}),
                ("POST", path) if path.ends_with("/credit") => json!({"tokens": 1, "id": "c"}),
                ("PATCH", _) => json!({"group": "anonymous"}),
                (_, path) if path.contains("/v1/") => {
                    json!({"messages": [{"role": "user", "content": "do-400"}]})
                }
                _ => Value::Null,
            };
            let good = if good.is_null() {
                String::new()
            } else {
                good.to_string()
            };
            for body in
                std::iter::once(&good).chain(bodies.iter().filter(|body| takes(&operation, body)))
            {
                local_route(&client, &operation, &path, credential, body, watch);
            }
            let spelled = format!("{path}?key=c4n4ry-query&days=c4n4ry&limit=c4n4ry");
            local_route(&client, &operation, &spelled, credential, "", watch);
        }
    }
}

fn local_route(
    client: &Client,
    operation: &Operation,
    path: &str,
    credential: &str,
    body: &str,
    watch: &mut Watch,
) {
    let mut request = client
        .request(&operation.method, path)
        .header("cookie", "session=c4n4ry-cookie")
        .header("x-forwarded-for", "c4n4ry")
        .header("if-none-match", "c4n4ry")
        .body(body.as_bytes().to_vec());
    if !credential.is_empty() {
        request = request.bearer(credential);
    }
    let answer = request.send();
    // A minted key is returned to its owner.
    let given = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    let given = given["apiKey"].as_str().map(str::to_owned);
    let template = operation.template.as_str();
    let shows_config = answer.status == 200
        && operation.method == "GET"
        && ["/{tenant}/admin/config", "/admin/tenants/{tenant}"].contains(&template);
    if shows_config {
        assert!([ADMIN, TENANT_ADMIN].contains(&credential), "{template}");
    } else if operation.is_provider() {
        watch.look_at(template, &answer, &[ANSWER]);
    } else {
        let own = given.as_deref().unwrap_or("nothing of its own");
        watch.look_at(template, &answer, &[own]);
    }
    watch.keys.extend(given);
}

/// Whether this body is sent: provider calls with an object body would reach the provider, which echoes them
/// to their caller. `provider_calls` tests those.
fn takes(operation: &Operation, body: &str) -> bool {
    let is_object = serde_json::from_str::<Value>(body).is_ok_and(|body| body.is_object());
    operation.has_body && !(operation.is_provider() && is_object)
}

fn provider_calls(client: &Client, watch: &mut Watch) {
    let key = client.request("POST", "/abc/auth/anonymous").send().json();
    let key = key["apiKey"].as_str().unwrap().to_owned();
    watch.keys.push(key.clone());
    let ways = [
        "200", "400", "401", "402", "403", "404", "408", "409", "413", "422", "429", "500", "503",
        "529", "302", "event", "torn", "page", "stream", "messages", "none",
    ];
    for call in PROVIDER_CALLS {
        let path = format!("/abc/v1/{call}");
        for way in ways {
            let prompt = format!("{PROMPT} do-{way}");
            for stream in [false, true] {
                let request = client
                    .request("POST", &path)
                    .header("cookie", "session=c4n4ry-cookie")
                    .header("openai-organization", "c4n4ry-org")
                    .bearer(&key);
                let request = match form(call, &prompt) {
                    Some((kind, body)) => request.header("content-type", &kind).body(body),
                    None => request.json(&asking(call, &prompt, stream)),
                };
                let answer = request.try_send_streaming();
                // A cut stream is an error; its part is searched all the same.
                let Ok(mut answer) = answer else { continue };
                let (status, headers) = (answer.status, answer.headers.clone());
                let body: Vec<u8> = answer.by_ref().flat_map(|chunk| chunk.bytes).collect();
                let answer = Response {
                    status,
                    headers,
                    continued: false,
                    body,
                };
                let way = format!("{path} do-{way}");
                watch.look_at(&way, &answer, &[PROMPT, ANSWER]);
            }
        }
    }
    for endpoint in ["query", "closed", "nowhere", "no_tls"] {
        for way in ["200", "400", "stream", "none"] {
            let call = json!({
                "model": format!("{endpoint}/m"), "max_tokens": 20, "stream": way == "stream",
                "messages": [{"role": "user", "content": format!("{PROMPT} do-{way}")}],
            });
            let request = client
                .request("POST", "/abc/v1/chat/completions")
                .bearer(&key);
            let answer = request.json(&call).send();
            watch.look_at(endpoint, &answer, &[PROMPT, ANSWER]);
        }
    }
}

/// Sends malformed requests, and keys in the wrong places.
fn malformed(gateway: &Gateway, watch: &mut Watch) {
    let path = "/abc/v1/chat/completions";
    for bytes in [
        "GET /abc/c4n4ry HTTP/9\r\nHost: c4n4ry\r\n\r\n".to_owned(),
        "GET /c4n4ry%2f.. HTTP/1.1\r\nHost: c4n4ry\r\nAuthorization: Bearer c4n4ry\r\n\r\n"
            .to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer c4n4ry\r\n folded\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: c4n4ry\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: c4n4ry\r\n\r\n".to_owned(),
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer c4n4ry key\r\nContent-Length: 6\r\n\r\nc4n4ry"
        ),
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nc4n4ry\r\n"),
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 600\r\n\r\nc4n4ry"),
        "GET /abc/v1/models/x?key=c4n4ry HTTP/1.1\r\nHost: x\r\nX-Api-Key: c4n4ry\r\nConnection: close\r\n\r\n".to_owned(),
        "c4n4ry\r\n\r\n".to_owned(),
    ] {
        let answer =
            crate::harness::raw_for(gateway.addr(), bytes.as_bytes(), Duration::from_millis(100));
        watch.look(&bytes.replace(MARK, "…"), &String::from_utf8_lossy(&answer));
    }
}

/// Settings with secrets in wrong places: errors must name the place and omit the value.
const FAULTY: &[&str] = &[
    "admin: c4n4ry-token",
    "admin: { token: [c4n4ry-token] }",
    "admin: { token: c4n4ry }",
    "admin: { token: \"c4n4ry with spaces\" }",
    "admin: { tokens: c4n4ry-token-0123456789 }",
    "store: redis://user:c4n4ry@127.0.0.1:port",
    "store: redis://user:c4n4ry@127.0.0.1/x?y",
    "store: [redis://user:c4n4ry@127.0.0.1]",
    "store: http://user:c4n4ry@127.0.0.1",
    "store: redis+cluster://user:c4n4ry@",
    "store: redis+sentinel://user:c4n4ry@host",
    "store: \"redis://user:c4n4ry%zz@127.0.0.1\"",
    "store: { url: redis://:c4n4ry@127.0.0.1 }",
    "tenants: c4n4ry",
    "tenants: { abc: c4n4ry }",
    "tenants: { abc: { auth: c4n4ry } }",
    "tenants: { abc: { auth: { stripe: c4n4ry } } }",
    "tenants: { abc: { auth: { google_oauth: { client_id: a, client_secret: [c4n4ry] } } } }",
    "tenants: { abc: { providers: { text: { default: a, endpoints: { a: { url: \"https://u:c4n4ry@x/\", api_key: \"c4n4ry \\n\" } } } } } }",
    "tenants: { abc: { providers: { text: { default: c4n4ry, endpoints: { a: { url: c4n4ry } } } } } }",
    "tenants: { abc: { providers: { text: { default: a, endpoints: { a: { url: \"http://x/#c4n4ry\", api_key: {c4n4ry: 1} } } } } } }",
    "admin: { token: \"c4n4ry",
    "admin: { token: c4n4ry: c4n4ry }",
    "admin: { token: &c4n4ry }",
    "admin: { token: *c4n4ry }",
    "admin: { token: !c4n4ry x }",
    "admin: { token: ${c4n4ry }",
];

#[test]
fn secrets_appear_in_no_command_line_output() {
    case("secrets: check, a start that fails, commands", || {
        let mut watch = Watch::default();
        let mut look = |what: &str, output: &std::process::Output, own: &[&str]| {
            for text in [&output.stdout, &output.stderr] {
                let text = String::from_utf8_lossy(text).into_owned();
                let text = own.iter().fold(text, |text, own| text.replace(own, ""));
                watch.look(what, &text);
            }
        };
        let dir = TempDir::new();

        for text in FAULTY {
            let file = dir.write("gateway.yaml", text);
            let file = file.to_str().unwrap();
            for args in [&["--config", file, "check"][..], &["--config", file]] {
                let output = resullm(args, &[("PORT", "0")]);
                assert!(!output.status.success(), "{text}");
                look(text, &output, &[]);
            }
        }
        for (name, value) in [
            ("ADMIN_TOKEN", "c4n4ry"),
            ("ADMIN_TOKEN", "c4n4ry with spaces"),
            ("REDIS_URL", "redis://:c4n4ry@127.0.0.1:port"),
            ("REDIS_URL", "redis://:c4n4ry@127.0.0.1:1"),
            ("REDIS_URL", "redis://c4n4ry:c4n4ry@nowhere.invalid:1"),
            ("RESULLM__STORE", "c4n4ry"),
            ("RESULLM__ADMIN__TOKEN", "c4n4ry"),
        ] {
            let output = resullm(&[], &[(name, value), ("PORT", "0"), ("RUST_LOG", LOUDEST)]);
            assert!(!output.status.success(), "{name}={value}");
            look(name, &output, &[]);
        }
        let redis = Redis::with(&["--requirepass", "c4n4ry-redis-password"]);
        let wrong = format!("redis://:c4n4ry-wrong@127.0.0.1:{}", redis.port());
        let output = resullm(&[], &[("REDIS_URL", &wrong), ("RUST_LOG", LOUDEST)]);
        look("a wrong password", &output, &[]);
        commands(&redis, &dir, &mut look);
        watch.figure()
    });
}

fn commands(
    redis: &Redis,
    dir: &TempDir,
    look: &mut dyn FnMut(&str, &std::process::Output, &[&str]),
) {
    let url = redis.url();
    let env = [
        ("REDIS_URL", url.as_str()),
        ("ADMIN_TOKEN", ADMIN),
        ("RUST_LOG", LOUDEST),
    ];
    let provider = echo();
    let good = dir.write("good.json", &config(&provider).to_string());
    let good = good.to_str().unwrap();
    let mut run = |args: &[&str], own: &[&str]| {
        let output = resullm(args, &env);
        look(args[0], &output, own);
        output
    };
    assert!(run(&["tenant", "put", "abc", good], &[]).status.success());
    for body in wrong_bodies() {
        let file = dir.write("wrong.json", &body);
        run(&["tenant", "put", "abc", file.to_str().unwrap()], &[]);
    }
    assert!(run(&["tenant", "put", "abc", good], &[]).status.success());
    let minted = resullm(
        &[
            "key", "mint", "--tenant", "abc", "--tokens", "100", "--json",
        ],
        &env,
    );
    let minted: Value = serde_json::from_slice(&minted.stdout).unwrap();
    let key = minted["apiKey"].as_str().unwrap();
    for args in [
        &["tenant", "list"][..],
        &["key", "--tenant", "abc", "show", key],
        &["key", "--tenant", "abc", "credit", key, "5"],
        &["key", "--tenant", "abc", "show", "c4n4ry-unknown"],
        &["key", "--tenant", "abc", "show", "sk/c4n4ry"],
        &["key", "--tenant", "abc", "credit", "sk/c4n4ry", "1"],
        &["key", "--tenant", "abc", "revoke", "c4n4ry"],
        &["key", "--tenant", "abc", "revoke", key],
        &["key", "--tenant", "abc", "ledger", key],
        &["usage", "--tenant", "abc"],
        &["audit", "--tenant", "abc"],
        &["audit", "--all-tenants", "--json"],
        &["tenant", "get", "nobody"],
        &["tenant", "delete", "abc"],
        &["openapi"],
        &["schema"],
        &["schema", "tenant"],
    ] {
        run(args, &[]);
    }
}

/// Log lines of this process, where a test runs the gateway as a library.
struct Kept(Mutex<Vec<String>>);

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(record.args().to_string());
    }

    fn flush(&self) {}
}

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

#[test]
fn panic_message_is_not_logged() {
    case("secrets: a panic with a key in its words", || {
        log::set_logger(&KEPT).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        let words = "c4n4ry-key is not a char boundary of c4n4ry-prompt";
        let answer = crate::process::library::panicked(words);
        let mut watch = Watch::default();
        watch.look_at("a panic", &answer, &[]);
        let told = eventually(Duration::from_secs(5), "the log tells of a panic", || {
            let lines = KEPT.0.lock().unwrap_or_else(PoisonError::into_inner);
            let told = lines.iter().any(|line| line.starts_with("Panic"));
            told.then(|| lines.clone())
        });
        for line in &told {
            watch.look("the log", line);
        }
        watch.figure()
    });
}
