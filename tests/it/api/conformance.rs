//! The OpenAPI document and the gateway agree on random input: Schemathesis asks every operation that the document
//! describes, and compares each answer with it.
//!
//! Inputs are the same in each run. A failure shows the request as a curl line.

use crate::harness::issuer::Issuer;
use crate::harness::project::{in_project, not_installed};
use crate::harness::{Gateway, TempDir, run, sample_at};
use crate::sign_in::{self, signing_in_to};
use serde_json::json;
use std::process::Command;
use std::time::Duration;

const PROGRAM: &str = ".tools/conformance/bin/schemathesis";
/// Checks of every answer. Others, such as that each deviation from a schema is refused, would be wrong of provider calls,
/// whose bodies are the provider's.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
    response_headers_conformance,allow_header_conformance";
const MAX_EXAMPLES: &str = "10";
const LIMIT: Duration = Duration::from_secs(300);

/// Operations after which a key opens nothing, so that all other answers would be 401.
const ENDING: [&str; 3] = ["deleteAccount", "revokeOwnKey", "rollOwnKey"];

/// A gateway with all kinds of sign-in and of payment. Tenant `spare` may be broken.
fn start(issuer: &Issuer) -> Gateway {
    let config = signing_in_to(sample_at("https://provider.example/v1"), issuer)
        .set("auth.stripe", json!({"kind": "demo"}))
        .set("user_groups.google_logged_in.tokens", json!(1_000_000))
        .set("providers.text.default", json!("demo"))
        .set(
            "providers.text.endpoints",
            json!({"demo": {"kind": "demo", "default_model": "demo-1"}}),
        );
    let group = json!({"user_groups": {"anonymous": {"tokens": 1}}});
    let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let setup = sign_in::setup(issuer)
        .tenant("abc", config)
        .tenant("spare", group)
        .yaml(&format!("secrets: {{ key: \"{key}\" }}"))
        .env("RESULLM__SERVER__PUBLIC_URL", "https://gateway.example");
    Gateway::start(setup)
}

/// A key that manages its account.
fn sign_in(gateway: &Gateway, issuer: &Issuer, subject: &str) -> String {
    let token = json!({"idToken": issuer.token(subject)});
    let request = gateway.client().request("POST", "/abc/auth/google");
    let signed_in = request.json(&token).send().json();
    signed_in["apiKey"].as_str().unwrap().to_owned()
}

/// Values in paths that random ones would never be. What replaces or removes a whole tenant does so to `spare`.
fn settings(minted: &str) -> String {
    format!(
        r#"
[parameters]
tenant = "abc"
name = "own"
model = "demo-1"

[[operations]]
include-operation-id = ["showKey", "moveKey", "creditKey"]
parameters = {{ key = "{minted}" }}

[[operations]]
include-path-regex = "^/admin/tenants"
parameters = {{ tenant = "spare" }}

[[operations]]
include-operation-id = "replaceConfig"
parameters = {{ tenant = "spare" }}
"#
    )
}

/// Asks the operations that the words choose, with a credential, and returns the number of requests.
#[track_caller]
fn assert_conforms(gateway: &Gateway, credential: &str, chosen: &[&str]) -> u64 {
    let program = in_project(PROGRAM);
    if !program.exists() {
        not_installed(&program);
    }
    let client = gateway.client();
    let minted = client.request("POST", "/abc/admin/keys");
    let minted = minted.bearer(gateway.admin_token()).send().json();
    let dir = TempDir::new();
    let document = dir.write("openapi.json", &client.get("/openapi.json").text());
    let settings = dir.write(
        "schemathesis.toml",
        &settings(minted["apiKey"].as_str().unwrap()),
    );

    let mut command = Command::new(program);
    command
        .current_dir(dir.path())
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", dir.path())
        .arg("--no-color")
        .arg("--config-file")
        .arg(settings)
        .arg("run")
        .arg(document)
        .args(["--url", &format!("http://{}", gateway.addr())])
        .args(["-H", &format!("Authorization: Bearer {credential}")])
        .args(["--checks", CHECKS, "--max-examples", MAX_EXAMPLES])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-redirects", "0", "--warnings", "off"])
        .args(["--generation-deterministic", "--continue-on-failure"])
        .args(chosen);
    let output = run(&mut command, LIMIT);

    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let asked = said.split(" generated, ").next().unwrap();
    let asked = asked.rsplit(' ').next().unwrap();
    asked.parse().unwrap_or_else(|_| panic!("{said}"))
}

#[test]
fn random_requests_of_admins_are_answered_as_documented() {
    let issuer = Issuer::start();
    let gateway = start(&issuer);

    let chosen = ["--include-tag", "admin", "--include-tag", "operator"];
    let asked = assert_conforms(&gateway, gateway.admin_token(), &chosen);

    assert!(asked > 1_000, "{asked}");
}

#[test]
fn random_requests_of_users_are_answered_as_documented() {
    let issuer = Issuer::start();
    let gateway = start(&issuer);
    let key = sign_in(&gateway, &issuer, "somebody");
    let tags = ["service", "auth", "provider"].map(|tag| ["--include-tag", tag]);
    let ending = ENDING.map(|id| ["--exclude-operation-id", id]);

    let asked = assert_conforms(&gateway, &key, &[tags, ending].concat().concat());

    assert!(asked > 500, "{asked}");
    let me = gateway.client().request("GET", "/abc/auth/me");
    assert_eq!(
        me.bearer(&key).send().status,
        200,
        "the key was good to the end"
    );
    let leaver = sign_in(&gateway, &issuer, "leaver");
    let ending = ENDING.map(|id| ["--include-operation-id", id]);
    let asked = assert_conforms(&gateway, &leaver, &ending.concat());
    assert!(asked > 20, "{asked}");
}
