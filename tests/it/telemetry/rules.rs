//! The alerts in deploy/: Prometheus' own checker reads them, and they name what a gateway has.

use super::{scrape, setup};
use crate::harness::process::program;
use crate::harness::{Gateway, Provider, Script, chat, mint, sample, small_call};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const RULES: &str = "deploy/prometheus-rules.yaml";
const PAGE: &str = "docs/operations.md";

fn text_of(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).unwrap()
}

/// Words of a text that begin so.
fn words<'a>(text: &'a str, start: &str) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(start)).collect()
}

#[test]
fn alerts_are_valid_and_name_metrics_that_exist() {
    let checked = Command::new(program("promtool"))
        .args(["check", "rules"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(RULES))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{told}");

    let gateway = Gateway::start(setup());
    let text = scrape(&gateway).0;
    let rules = text_of(RULES);
    let exprs: String = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', '-']))
        .collect();
    let unknown: Vec<&str> = words(&exprs, "resullm_")
        .into_iter()
        .filter(|name| {
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            !text.contains(&format!("# TYPE {family} "))
        })
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn alerts_and_the_page_of_metrics_name_the_same() {
    let (rules, page) = (text_of(RULES), text_of(PAGE));

    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: BTreeSet<&str> = alerts.collect();
    let named = words(&page, "Resullm");

    assert!(alerts.len() > 10);
    let unknown: Vec<_> = named.difference(&alerts).collect();
    assert!(unknown.is_empty(), "in the page alone: {unknown:?}");
    // Prometheus itself says whether a gateway answers.
    let untold: Vec<_> = alerts
        .difference(&named)
        .filter(|name| **name != "ResullmDown")
        .collect();
    assert!(untold.is_empty(), "in the rules alone: {untold:?}");
    for line in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook: "))
    {
        assert!(!text_of(line).is_empty());
    }
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let provider = Provider::start(|_| Script::chat("x", 3, 3));
    let gateway = Gateway::start(setup().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
    super::wait_sum(&gateway, "resullm_provider_answers_total", &[], 1.0);

    let mut checker = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = scrape(&gateway).0;
    checker
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let checked = checker.wait_with_output().unwrap();

    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{told}\n{text}");
}
