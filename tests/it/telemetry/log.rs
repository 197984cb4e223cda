//! Log lines of a running gateway, as JSON and for people.

use super::{SOON, setup};
use crate::harness::{
    Gateway, Provider, Script, Setup, chat, eventually, mint, sample, small_call,
};
use serde_json::{Value, json};

fn in_json() -> Setup {
    setup().yaml("log: { format: json }")
}

/// All lines so far; each must be JSON.
#[track_caller]
fn lines(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.logs();
    let parsed = lines.iter().map(|line| match serde_json::from_str(line) {
        Ok(line) => line,
        Err(error) => panic!("{error}: {line}"),
    });
    parsed.collect()
}

/// Waits for a line whose message contains the text.
#[track_caller]
fn line(gateway: &Gateway, text: &str) -> Value {
    gateway.wait_log(text);
    let mut lines = lines(gateway).into_iter();
    lines
        .find(|line| {
            line["message"]
                .as_str()
                .is_some_and(|told| told.contains(text))
        })
        .unwrap()
}

fn cutting() -> Provider {
    Provider::start(|_| Script::new().cut())
}

#[test]
fn line_about_a_request_says_which_and_whose() {
    let provider = cutting();
    let gateway = Gateway::start(in_json().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");

    let answer = gateway
        .client()
        .request("POST", "/abc/v1/chat/completions")
        .bearer(&key)
        .header("x-request-id", "the-one")
        .json(&small_call())
        .send();

    assert_eq!(answer.status, 502);
    let told = line(&gateway, "Provider failed: ");
    assert_eq!(told["level"], "warn");
    assert_eq!(told["tenant"], "abc");
    assert_eq!(told["request"], "the-one");
    assert_eq!(told["endpoint"], "openai");
    assert_eq!(told["model"], "gpt-4o");
    assert_eq!(told["code"], "provider_failed");
    assert_eq!(told["status"], 502);
    assert_eq!(told["outcome"], "broken");
    assert_eq!(told["account"].as_str().map(str::len), Some(12));
}

#[test]
fn error_that_a_provider_answers_is_logged_without_its_text() {
    let error = json!({"error": {"message": "s3cret", "type": "t", "param": null, "code": "c"}});
    let provider = Provider::start(move |asked| {
        let status = ["503", "429", "404"];
        let status = status.iter().find(|status| asked.text().contains(**status));
        Script::json(status.unwrap().parse().unwrap(), &error)
    });
    let gateway = Gateway::start(in_json().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");

    for (status, outcome, level) in [
        (503, "5xx", "warn"),
        (429, "429", "warn"),
        (404, "4xx", "info"),
    ] {
        let call = json!({"messages": [{"role": "user", "content": status.to_string()}]});
        let answer = gateway
            .client()
            .request("POST", "/abc/v1/chat/completions")
            .bearer(&key)
            .header("x-request-id", &format!("the-{status}"))
            .json(&call)
            .send();

        assert_eq!(answer.status, status);
        let told = line(&gateway, &format!("Provider answered {status}"));
        assert_eq!(told["level"], level);
        assert_eq!(told["tenant"], "abc");
        assert_eq!(told["endpoint"], "openai");
        assert_eq!(told["request"], format!("the-{status}"));
        assert_eq!(told["status"], status);
        assert_eq!(told["outcome"], outcome);
        let code = (status == 429).then_some("provider_rate_limited");
        assert_eq!(told["code"].as_str(), code);
    }
    line(&gateway, "Requests that got 429 provider_rate_limited");
    assert!(!gateway.logs().join("\n").contains("s3cret"));
}

#[test]
fn connection_that_is_turned_away_is_logged_with_its_limit_and_address() {
    for (bounds, limit) in [
        (
            json!({"max_connections": 16, "max_connections_per_address": 16}),
            "server.max_connections are open",
        ),
        (
            json!({"max_connections_per_address": 16}),
            "server.max_connections_per_address open",
        ),
    ] {
        let gateway = Gateway::start(in_json().yaml(&format!("server: {bounds}")));
        let mut seated: Vec<_> = (0..16).map(|_| gateway.client().connect()).collect();
        for connection in &mut seated {
            assert_eq!(connection.request("GET", "/").send().status, 200);
        }

        for _ in 0..20 {
            let _ = gateway.client().request("GET", "/").try_send();
        }

        let told = line(&gateway, "A connection was turned away: ");
        assert!(told["message"].as_str().unwrap().contains(limit), "{told}");
        assert_eq!(
            (&told["level"], &told["address"]),
            (&json!("warn"), &json!("127.0.0.1"))
        );
        assert!(gateway.count_logs("A connection was turned away") < 10);
    }
}

#[test]
fn an_outage_brings_one_line_of_a_kind_and_second_and_counts_of_all() {
    const CALLS: u64 = 60;
    let provider = cutting();
    let gateway = Gateway::start(in_json().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    let begun = std::time::Instant::now();

    for _ in 0..CALLS {
        assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 502);
    }

    let seconds = begun.elapsed().as_secs();
    eventually(SOON, "all refusals are told", || {
        let lines = lines(&gateway);
        let refused = lines
            .iter()
            .filter(|line| line["code"] == "provider_failed");
        let counts = refused.clone().filter_map(|line| line["count"].as_u64());
        let of_abc = refused.filter(|line| line["count"].is_u64());
        assert!(
            of_abc
                .clone()
                .all(|line| line["tenant"] == "abc" && line["status"] == 502)
        );
        assert!(of_abc.count() as u64 <= seconds + 3);
        (counts.sum::<u64>() == CALLS).then_some(())
    });
    let lines = lines(&gateway);
    let is_failure = |line: &&Value| {
        let told = line["message"].as_str().unwrap_or_default();
        told.starts_with("Provider failed")
    };
    let failures: Vec<&Value> = lines.iter().filter(is_failure).collect();
    assert!(failures.len() as u64 <= seconds + 2, "{failures:#?}");
    let left_out = failures.iter().filter_map(|line| line["left_out"].as_u64());
    assert!(failures.len() as u64 + left_out.sum::<u64>() <= CALLS);
}

#[test]
fn changes_of_admins_are_logged_with_who_and_what() {
    let provider = cutting();
    let gateway = Gateway::start(in_json().tenant("abc", sample(&provider)));
    let client = gateway.client();
    let admin = |method: &str, path: &str, token: &str, body: &Value| {
        let answer = client.request(method, path).bearer(token).json(body).send();
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        answer
    };
    let operator = gateway.admin_token();
    let own = "token-of-the-tenant-admin";

    admin(
        "PUT",
        "/admin/tenants/abc/tokens",
        operator,
        &json!({"tokens": [{"token": own, "scope": "admin", "name": "console"}]}),
    );
    for tokens in [7, 8] {
        let config: Value = sample(&provider)
            .tokens(tokens)
            .set("user_groups.members.tokens", json!(5))
            .into();
        admin("PUT", "/abc/admin/config", own, &json!({"config": config}));
    }
    let minted = admin("POST", "/abc/admin/keys", own, &json!({"tokens": 3}));
    let key = minted.json()["apiKey"].as_str().unwrap().to_owned();
    let path = format!("/abc/admin/keys/{key}");
    admin(
        "POST",
        &format!("{path}/credit"),
        operator,
        &json!({"tokens": 4, "id": "ticket"}),
    );
    admin("PATCH", &path, own, &json!({"group": "members"}));
    admin("DELETE", &path, own, &json!({}));
    admin("DELETE", "/admin/tenants/abc", operator, &json!({}));

    let credited = line(&gateway, "An account was credited 4 tokens");
    let told = |text: &str| line(&gateway, text);
    assert_eq!(
        (&credited["by"], &credited["tokens"]),
        (&json!("operator"), &json!(4))
    );
    assert_eq!(credited["tenant"], "abc");
    for (text, by) in [
        ("The admin tokens of abc were replaced", "operator"),
        ("A key was minted", "console"),
        ("moved from group anonymous to members", "console"),
        ("A key was revoked", "console"),
        ("Tenant abc was deleted", "operator"),
    ] {
        let line = told(text);
        assert_eq!(
            (&line["by"], &line["level"]),
            (&json!(by), &json!("info")),
            "{line}"
        );
        assert_eq!(line["address"], "127.0.0.1");
        assert!(line["request"].is_string());
    }
    // One account throughout, and no key.
    for text in ["A key was minted", "moved from group", "A key was revoked"] {
        assert_eq!(told(text)["account"], credited["account"], "{text}");
    }
    let all = gateway.logs().join("\n");
    assert!(!all.contains(&key) && !all.contains(own));
    let lines = lines(&gateway);
    let puts: Vec<&Value> = lines
        .iter()
        .filter(|line| line["from"].is_string() && line["to"].is_string())
        .collect();
    let puts: Vec<&&Value> = puts
        .iter()
        .filter(|line| line["message"].as_str().unwrap().contains("config of abc"))
        .collect();
    assert_eq!(puts.len(), 2, "{lines:#?}");
    assert_eq!(puts[0]["to"], puts[1]["from"]);
    let loaded = told("Loaded tenant config for abc");
    assert_eq!(loaded["tenant"], "abc");
    assert!(loaded["version"].is_string());
}

#[test]
fn every_line_of_a_process_is_json_from_the_start_to_the_end() {
    let provider = cutting();
    let gateway = Gateway::start(in_json().tenant("abc", sample(&provider)));

    let start = line(&gateway, "ResuLLM ");
    gateway.signal("TERM");
    gateway.wait_exit(6 * SOON);

    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(start["store"], "embedded");
    assert!(start["config"].as_str().unwrap().ends_with("gateway.yaml"));
    assert_eq!(start["config_hash"].as_str().map(str::len), Some(12));
    assert!(lines(&gateway).len() > 3);
}

#[test]
fn failed_reload_speaks_json_too_and_says_that_the_new_process_exited() {
    let gateway = Gateway::start(in_json());
    let file = gateway.setup().path().join("gateway.yaml");
    std::fs::write(file, "lgo: { format: json }\n").unwrap();

    gateway.signal("QUIT");

    let why = line(&gateway, "gateway.yaml:1:1: lgo");
    assert_eq!(why["level"], "error");
    let told = line(&gateway, "Hand-over failed");
    let told = told["message"].as_str().unwrap();
    assert!(told.contains("the new process exited"), "{told}");
    assert_eq!(gateway.client().get("/").status, 200);
}

#[test]
fn settings_that_cannot_be_used_are_told_in_their_own_format() {
    let setup = Setup::new()
        .yaml("log: { format: json }")
        .yaml("nonsense: 1");
    let (status, told, _) = Gateway::run_to_end(setup);

    assert!(!status.success());
    let told: Value = serde_json::from_str(&told[0]).unwrap();
    assert!(told["message"].as_str().unwrap().contains("nonsense"));
}

#[test]
fn lines_for_people_end_with_fields_and_time_save_those_that_are_promised() {
    let provider = cutting();
    let gateway = Gateway::start(setup().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    chat(&gateway, "abc", &key, &small_call());

    let told = gateway.wait_log("[WARN] Provider failed: ");
    assert!(told.contains(" tenant=abc request="), "{told}");
    let (_, time) = told.rsplit_once(" time=").unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{told}");
    let promised = format!("[INFO] Listening on http://127.0.0.1:{}", gateway.port());
    assert!(gateway.logs().contains(&promised));
    assert!(
        gateway
            .logs()
            .contains(&"[INFO] Loaded tenant config for abc".to_owned())
    );
}

#[test]
fn access_log_has_a_line_for_each_request_and_no_path() {
    let provider = Provider::start(|_| Script::chat("x", 3, 4));
    let setup = setup()
        .tenant("abc", sample(&provider))
        .yaml("log: { format: json, access: true, level: info }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let client = gateway.client();

    assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
    assert_eq!(
        chat(&gateway, "abc", "temp_nobody", &small_call()).status,
        401
    );
    let shown = client.request("GET", &format!("/abc/admin/keys/{key}?secret=s3cret"));
    assert_eq!(shown.bearer(gateway.admin_token()).send().status, 200);
    // A base URL with the key in the place of the tenant.
    assert_eq!(client.get(&format!("/{key}/v1/models")).status, 400);

    let lines = eventually(SOON, "five lines", || {
        let lines = lines(&gateway).into_iter();
        let lines = lines.filter(|line| line["target"] == "resullm::access");
        let lines: Vec<Value> = lines.collect();
        (lines.len() >= 5).then_some(lines)
    });
    // A line follows its answer, so those of two connections may change places.
    let of = |method: &str, route: &str, status: u64| {
        let found = lines.iter().find(|line| {
            line["method"] == method && line["route"] == route && line["status"] == status
        });
        found.unwrap_or_else(|| panic!("{method} {route} {status}: {lines:#?}"))
    };
    of("POST", "/{tenant}/auth/anonymous", 200);
    of("GET", "/{tenant}/admin/keys/{key}", 200);
    let call = of("POST", "/{tenant}/v1/chat/completions", 200);
    assert_eq!(call["tokens"], 7);
    for (name, value) in [
        ("tenant", "abc"),
        ("endpoint", "openai"),
        ("model", "gpt-4o"),
    ] {
        assert_eq!(call[name], value);
    }
    assert!(call["ms"].is_u64() && call["account"].is_string() && call["request"].is_string());
    let refused = of("POST", "/{tenant}/v1/chat/completions", 401);
    assert_eq!(refused["code"], "invalid_api_key");
    let stray = of("GET", "-", 400);
    assert!(stray.get("tenant").is_none(), "{stray}");
    let all = gateway.logs().join("\n");
    assert!(!all.contains(&key) && !all.contains("s3cret"), "{all}");
}

#[test]
fn no_access_log_unless_it_is_switched_on() {
    let gateway = Gateway::start(in_json().env("RUST_LOG", "trace"));

    assert_eq!(gateway.client().get("/").status, 200);
    gateway.signal("TERM");
    gateway.wait_exit(6 * SOON);

    assert!(
        lines(&gateway)
            .iter()
            .all(|line| line["target"] != "resullm::access")
    );
}
