//! `deploy/compose.yaml` against the Dockerfile, the settings, and a real Redis.

use super::{image_of, only, stages};
use crate::harness::project::in_project;
use crate::harness::{Redis, TempDir, resullm};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};
use std::fs;
use std::process::Command;

const COMPOSE: &str = "deploy/compose.yaml";

/// YAML of one document without anchors; plain scalars stay texts, except true and false.
fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(in_project(path)).unwrap();
    let mut events = Parser::new_from_str(&text).map(|event| match event {
        Ok((event, _)) => event,
        Err(error) => panic!("{path}: {error}"),
    });
    loop {
        let event = events.next().expect("a document");
        if !matches!(event, Event::StreamStart | Event::DocumentStart(_)) {
            return node(event, &mut events);
        }
    }
}

fn node<'e>(event: Event<'e>, events: &mut impl Iterator<Item = Event<'e>>) -> Value {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) if text == "true" => Value::Bool(true),
        Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() => Value::Null,
        Event::Scalar(text, ..) => Value::String(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match events.next().expect("the list's end") {
                    Event::SequenceEnd => return Value::Array(list),
                    event => list.push(node(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut members = Map::new();
            loop {
                match events.next().expect("the mapping's end") {
                    Event::MappingEnd => return Value::Object(members),
                    Event::Scalar(name, ..) => {
                        let value = events.next().expect("a value");
                        members.insert(name.into_owned(), node(value, events));
                    }
                    event => panic!("a name is expected: {event:?}"),
                }
            }
        }
        event => panic!("unexpected in this file: {event:?}"),
    }
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text is expected: {value}"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn seconds(duration: &str) -> u64 {
    duration
        .strip_suffix('s')
        .and_then(|digits| digits.parse().ok())
        .expect("a number of seconds")
}

#[test]
fn compose_runs_the_image_with_settings_that_the_gateway_takes() {
    let [_, stage] = stages();
    let compose = yaml(COMPOSE);
    let gateway = &compose["services"]["gateway"];
    let build = &gateway["build"];
    let context = in_project("deploy").join(text(&build["context"]));
    assert!(context.join(text(&build["dockerfile"])).is_file());
    assert!(text(&gateway["image"]).starts_with("resullm"));

    // What only the operator can say has no default: Compose refuses to start without it, or leaves it empty.
    let given = |value: &str| match value.strip_prefix("${") {
        Some(rest) if rest.ends_with(":-}") => String::new(),
        Some(rest) => {
            assert!(rest.contains(":?"), "{value}");
            "a-token-for-this-test".to_owned()
        }
        None => value.to_owned(),
    };
    let mut env: Vec<(String, String)> = image_of(&stage).env.into_iter().collect();
    let more = gateway["environment"].as_object().expect("variables");
    env.extend(
        more.iter()
            .map(|(name, value)| (name.clone(), given(text(value)))),
    );
    let env: Vec<(&str, &str)> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let config = in_project("gateway.yaml");
    let checked = resullm(&["--config", config.to_str().unwrap(), "check"], &env);
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    let services = compose["services"].as_object().expect("services");
    let store = env
        .iter()
        .rfind(|(name, _)| *name == "REDIS_URL")
        .expect("a store")
        .1;
    let host = store
        .trim_start_matches("redis://")
        .split(':')
        .next()
        .expect("a host");
    assert!(services.contains_key(host), "{store}");

    let port = &only(&stage, "EXPOSE").text;
    let ports = texts(&gateway["ports"]);
    assert!(
        ports
            .iter()
            .all(|one| one.starts_with("127.0.0.1:") && one.ends_with(&format!(":{port}"))),
        "{ports:?}"
    );
    let volume = &only(&stage, "VOLUME").text;
    for mounted in texts(&gateway["volumes"]) {
        let (name, target) = mounted.split_once(':').expect("a volume and its place");
        assert_eq!(target, volume);
        assert!(compose["volumes"].get(name).is_some(), "{name}");
    }
    let drain = yaml("gateway.yaml");
    let drain = seconds(text(&drain["server"]["drain_timeout"]));
    assert!(seconds(text(&gateway["stop_grace_period"])) > drain);
}

#[test]
fn redis_of_compose_loses_nothing_that_it_acknowledged() {
    let compose = yaml(COMPOSE);
    let service = &compose["services"]["redis"];
    let words = texts(&service["command"]);
    let ["redis-server", arguments @ ..] = &words[..] else {
        panic!("{words:?}");
    };
    let redis = Redis::with(arguments);

    for (setting, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
    ] {
        let reply = redis.cli(&["CONFIG", "GET", setting]);
        assert_eq!(reply.list()[1].text(), value, "{setting}");
    }
    let health = texts(&service["healthcheck"]["test"]);
    let ["CMD-SHELL", script] = health[..] else {
        panic!("{health:?}");
    };
    // The shell of the container finds this program and this port.
    let dir = TempDir::new();
    let said = dir.write("said", "");
    let script = script
        .replace("$$", "$")
        .replace("redis-cli ping", "cat said");
    let check = || {
        Command::new("sh")
            .args(["-c", &script])
            .current_dir(dir.path())
            .status()
            .unwrap()
    };
    fs::write(&said, redis.cli(&["PING"]).text()).unwrap();
    assert!(check().success(), "{script}");
    fs::write(&said, "LOADING Redis is loading the dataset in memory").unwrap();
    assert!(!check().success(), "{script}");
}
