//! Secrets in tenant configs: sealed in the store and opened only to be sent to their provider. Also
//! references to the operator's own secrets, which a config can name but not read.

mod references;
mod rotation;
mod secrets;

use crate::harness::http::Response;
use crate::harness::{Gateway, Provider, Redis, Reply, Script, Setup, TempDir, chat, mint, sample};
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

/// A config with this provider key, and with secrets of sign-in and billing beside it.
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
    setup.env("SECRETS_KEY", key)
}

/// Runs a test on both engines, with a function that dumps everything an intruder could read there.
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
    // RDB compression would hide text from the search, so it is switched off.
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

/// Key that the provider receives with a chat call.
fn sent_key(gateway: &Gateway, tenant: &str, provider: &Provider) -> String {
    let key = mint(gateway, tenant);
    let call = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let answer = chat(gateway, tenant, &key, &call);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = provider.requests().pop().unwrap();
    sent.header("authorization").unwrap().to_owned()
}

/// Paths of the faults in a 400 response, and its text.
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
