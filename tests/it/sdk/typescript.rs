//! The client in `examples/typescript-client`: written from the document of a running gateway, checked by the compiler
//! and run.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::harness::project::{in_project, not_installed};
use crate::harness::{Gateway, Setup, TempDir, copy, run};

const EXAMPLE: &str = "examples/typescript-client";
const COMPILER: &str = ".tools/node/node_modules/typescript/bin/tsc";
const LIMIT: Duration = Duration::from_secs(120);

fn start() -> Gateway {
    let endpoint = json!({"kind": "demo", "default_model": "demo-1"});
    let config = json!({
        "user_groups": {"anonymous": {"tokens": 100}},
        "providers": {"text": {"default": "demo", "endpoints": {"demo": endpoint}}},
    });
    Gateway::start(Setup::new().tenant("demo", config))
}

/// Runs a program to its end, and returns its output.
#[track_caller]
fn output_of(command: &mut Command) -> String {
    let output = run(command, LIMIT);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{errors}");
    said
}

/// `UPDATE=1 cargo test --test it typescript` writes the client anew.
#[test]
fn typescript_client_is_what_the_generator_makes_of_the_document() {
    let gateway = start();
    let dir = TempDir::new();
    let document = dir.write(
        "openapi.json",
        &gateway.client().get("/openapi.json").text(),
    );
    let kept = in_project(EXAMPLE).join("client.ts");

    let written = dir.file("client.ts");
    let generator = in_project(EXAMPLE).join("generate.mjs");
    output_of(
        Command::new("node")
            .arg(generator)
            .args([&document, &written]),
    );

    if std::env::var_os("UPDATE").is_some() {
        fs::copy(&written, &kept).unwrap();
    }
    let read = |path| fs::read_to_string(path).unwrap();
    let (written, kept) = (read(&written), read(&kept));
    let mut lines = (1..).zip(written.lines().zip(kept.lines()));
    let different = lines.find(|(_, (one, other))| one != other);
    assert!(
        written == kept,
        "{EXAMPLE}/client.ts is of another document: UPDATE=1 writes it anew; {different:?}"
    );
}

#[test]
fn typescript_example_passes_the_compiler_and_runs() {
    let compiler = in_project(COMPILER);
    if !compiler.exists() {
        not_installed(&compiler);
    }
    let gateway = start();
    let dir = TempDir::new();
    let folder = dir.file("client");
    copy(&in_project(EXAMPLE), &folder);

    let mut compile = Command::new("node");
    output_of(compile.arg(compiler).arg("-p").arg(&folder));
    let mut example = Command::new("node");
    let said = output_of(
        example
            .arg(folder.join("out/example.js"))
            .env("GATEWAY", format!("http://{}", gateway.addr()))
            .env("ADMIN_TOKEN", gateway.admin_token()),
    );

    let page = fs::read_to_string(in_project(EXAMPLE).join("README.md")).unwrap();
    let (_, shown) = page.split_once("```text\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert_eq!(said, shown);
}
