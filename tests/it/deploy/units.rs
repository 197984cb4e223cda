//! The systemd units: what they promise, whether systemd can read them, and where the two differ.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::process::program;
use crate::harness::project::in_project;
use crate::harness::{Setup, TempDir, resullm, run};

const SINGLE: &str = "resullm.service";
const TEMPLATE: &str = "resullm@.service";
const INSTALLED: &str = "/usr/local/bin/resullm";
/// Keys of systemd 254, which older ones ignore with a line in their log.
const NEW_KEYS: [&str; 2] = ["RestartSteps", "RestartMaxDelaySec"];

/// Settings of a unit as (section, key, value), in their order.
fn settings(unit: &str) -> Vec<(String, String, String)> {
    let text = fs::read_to_string(in_project(&format!("deploy/{unit}"))).unwrap();
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            settings.push((section.clone(), key.to_owned(), value.to_owned()));
        }
    }
    settings
}

/// Values of one key, such as `Service.Restart`.
fn values(unit: &str, path: &str) -> Vec<String> {
    let all = settings(unit).into_iter();
    let found = all.filter(|(section, key, _)| format!("{section}.{key}") == path);
    found.map(|(_, _, value)| value).collect()
}

fn seconds(unit: &str, path: &str) -> u64 {
    match values(unit, path).as_slice() {
        [value] => value
            .parse()
            .unwrap_or_else(|_| panic!("{unit} {path}: {value}")),
        others => panic!("{unit} {path}: {others:?}"),
    }
}

#[test]
fn a_unit_outlives_any_number_of_failed_starts() {
    for unit in [SINGLE, TEMPLATE] {
        assert_eq!(seconds(unit, "Unit.StartLimitIntervalSec"), 0, "{unit}");
        assert_eq!(values(unit, "Service.Restart"), ["on-failure"], "{unit}");
        let (first, last) = (
            seconds(unit, "Service.RestartSec"),
            seconds(unit, "Service.RestartMaxDelaySec"),
        );
        assert!(
            first >= 1 && last > first && last <= 60,
            "{unit}: {first} {last}"
        );
        assert!(seconds(unit, "Service.RestartSteps") > 1, "{unit}");
    }
}

#[test]
fn a_stop_waits_longer_than_the_drain() {
    let schema = resullm(&["schema"], &[]);
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    let drain = &schema["properties"]["server"]["properties"]["drain_timeout"]["default"];
    let drain = drain.as_str().and_then(|text| text.strip_suffix('s'));
    let drain: u64 = drain.unwrap().parse().unwrap();
    for unit in [SINGLE, TEMPLATE] {
        assert!(seconds(unit, "Service.TimeoutStopSec") > drain, "{unit}");
    }
}

#[test]
fn systemd_reads_both_units() {
    let dir = TempDir::new();
    let program = program("systemd-analyze");
    for unit in [SINGLE, TEMPLATE] {
        let text = fs::read_to_string(in_project(&format!("deploy/{unit}"))).unwrap();
        assert!(text.contains(INSTALLED), "{unit}");
        let file = dir.write(
            unit,
            &text.replace(INSTALLED, env!("CARGO_BIN_EXE_resullm")),
        );

        let told = verified(&program, &file);

        let faults: Vec<&str> = told.lines().filter(|line| !is_a_new_key(line)).collect();
        assert!(faults.is_empty(), "{unit}: {faults:?}");
    }
    // Faults are told in text alone, so the text of one is worth a look.
    let broken = dir.write(
        "broken.service",
        "[Service]\nExecStart=/bin/true\nRestartSec=soon\n",
    );
    let told = verified(&program, &broken);
    assert!(
        told.contains("RestartSec") || told.contains("soon"),
        "{told}"
    );
}

fn verified(program: &Path, unit: &Path) -> String {
    let mut command = Command::new(program);
    command.args(["verify", "--man=no"]).arg(unit);
    let output = run(&mut command, Duration::from_secs(30));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    told
}

fn is_a_new_key(line: &str) -> bool {
    let is_unknown = line.contains("Unknown key");
    is_unknown
        && NEW_KEYS
            .iter()
            .any(|key| line.contains(&format!("'{key}'")))
}

#[test]
fn the_template_differs_in_ports_and_directories_alone() {
    let (single, template) = (settings(SINGLE), settings(TEMPLATE));
    let only = |these: &[(String, String, String)], others: &[(String, String, String)]| {
        let lines = these.iter().filter(|line| !others.contains(line));
        lines
            .map(|(_, key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        only(&single, &template),
        [
            "Description=ResuLLM, a gateway for LLM providers",
            "StateDirectory=resullm",
            "WorkingDirectory=/var/lib/resullm",
        ]
    );
    assert_eq!(
        only(&template, &single),
        [
            "Description=ResuLLM, a gateway for LLM providers, on port %i",
            "Environment=PORT=%i",
            "Environment=RESULLM__SERVER__OPS_LISTEN=localhost:1%i",
            "EnvironmentFile=-/etc/resullm/env.%i",
            "StateDirectory=resullm-%i",
            "WorkingDirectory=/var/lib/resullm-%i",
        ]
    );
}

#[test]
fn settings_of_an_instance_are_valid() {
    let setup = Setup::new().yaml("server: { ops_listen: \"localhost:9090\" }");
    let config = setup.write_config();
    let environment = values(TEMPLATE, "Service.Environment");
    let environment: Vec<(String, String)> = environment
        .iter()
        .map(|line| line.replace("%i", "3001"))
        .filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect();
    assert_eq!(environment.len(), 2);
    let pairs = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));

    let checked = resullm(
        &["check", "--config", &config.display().to_string()],
        &pairs.collect::<Vec<_>>(),
    );

    assert!(checked.status.success(), "{checked:?}");
}
