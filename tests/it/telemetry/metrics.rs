//! Metrics after scripted failures of providers, stores and configs.

use super::{SOON, scrape, setup, wait_sum};
use crate::harness::{
    Gateway, Provider, Redis, Script, Step, chat, chat_streaming, eventually, mint, sample,
    small_call,
};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};

const ANSWERS: &str = "resullm_provider_answers_total";
const ERRORS: &str = "resullm_errors_total";
const CUT: &str = "resullm_truncated_streams_total";

/// A provider that fails in the way that the prompt names.
fn failing() -> Provider {
    let error = json!({"error": {"message": "no", "type": "t", "param": null, "code": "c"}});
    Provider::start(move |asked| {
        let text = asked.text();
        let wanted = text.split("do-").nth(1).unwrap_or_default();
        match wanted.split('"').next().unwrap_or_default() {
            "cut" => Script::new().cut(),
            "torn" => Script::chat_stream(&["a", "b", "c"], 3, 3).after(2, Step::Cut),
            "unfinished" => {
                Script::sse(["{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}"])
            }
            "silent" => Script::new().stall(),
            "nonsense" => Script::new().head(204, &[]),
            status => match status.parse() {
                Ok(status) => Script::json(status, &error),
                Err(_) => Script::chat("x", 3, 3),
            },
        }
    })
}

/// Address of a server that closes each connection at once.
fn hangs_up() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().take(3).for_each(drop));
    address
}

fn asks(what: &str) -> Value {
    json!({"messages": [{"role": "user", "content": format!("do-{what}")}], "max_tokens": 3})
}

fn streams(what: &str) -> Value {
    let mut call = asks(what);
    call["stream"] = json!(true);
    call
}

#[test]
fn calls_of_providers_are_told_apart_by_tenant_endpoint_and_outcome() {
    let provider = failing();
    let port = provider.addr().port().to_string();
    let closed = provider.url("/x").replace(&port, "1");
    let tls = format!("https://{}/v1/chat/completions", hangs_up());
    let config = sample(&provider)
        .endpoint("closed", &closed, "m")
        .endpoint("tls", &tls, "m");
    let setup = setup()
        .tenant("abc", config.clone())
        .tenant("other", config)
        .yaml("upstream: { first_byte_timeout: 300ms, drain: 100ms, connect_timeout: 2s }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");

    let cases = [
        ("nothing", "2xx", 200),
        ("404", "4xx", 404),
        ("401", "401", 502),
        ("429", "429", 429),
        ("500", "5xx", 500),
        ("503", "5xx", 503),
        ("cut", "broken", 502),
        ("silent", "timed_out", 504),
        ("nonsense", "invalid", 502),
    ];
    for (what, _, status) in cases {
        let answer = chat(&gateway, "abc", &key, &asks(what));
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
    for (_, outcome, _) in cases {
        let same = cases
            .iter()
            .filter(|(_, other, _)| *other == outcome)
            .count();
        let outcome = format!("outcome=\"{outcome}\"");
        let labels = ["tenant=\"abc\"", "endpoint=\"openai\"", &outcome];
        wait_sum(&gateway, ANSWERS, &labels, same as f64);
    }

    for (endpoint, outcome) in [("closed", "connect_failed"), ("tls", "tls_failed")] {
        let mut call = asks("nothing");
        call["model"] = json!(format!("{endpoint}/m"));
        assert_eq!(chat(&gateway, "abc", &key, &call).status, 502);
        let labels = [
            format!("endpoint=\"{endpoint}\""),
            format!("outcome=\"{outcome}\""),
        ];
        wait_sum(&gateway, ANSWERS, &[&labels[0], &labels[1]], 1.0);
    }

    // Our own errors are those that no provider answered, and its 429, which gets our words.
    let ours = [
        ("provider_refused", 502, 1.0),
        ("provider_timeout", 504, 1.0),
        ("provider_failed", 502, 4.0),
        ("provider_rate_limited", 429, 1.0),
    ];
    for (code, status, count) in ours {
        let labels = [format!("code=\"{code}\""), format!("status=\"{status}\"")];
        wait_sum(
            &gateway,
            ERRORS,
            &["tenant=\"abc\"", &labels[0], &labels[1]],
            count,
        );
    }
    let all = scrape(&gateway);
    assert!((all.sum(ERRORS, &["tenant=\"abc\""]) - 7.0).abs() < 1e-9);
    assert!(all.sum(ANSWERS, &["tenant=\"other\""]).abs() < 1e-9);
    // Heads came for six statuses and the nonsense.
    let heads = all.sum(
        "resullm_provider_first_byte_seconds_count",
        &["endpoint=\"openai\""],
    );
    assert!((heads - 7.0).abs() < 1e-9, "{heads}");
}

#[test]
fn streams_that_break_off_are_counted_however_they_end() {
    let provider = failing();
    let gateway = Gateway::start(setup().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");

    for what in ["torn", "torn", "unfinished"] {
        let answer = chat_streaming(&gateway, "abc", &key, &streams(what));
        let answer = answer.into_response().unwrap();
        assert_eq!(answer.status, 200);
        assert!(
            answer.text().contains("provider_failed"),
            "{}",
            answer.text()
        );
    }

    wait_sum(&gateway, CUT, &[], 3.0);
    wait_sum(&gateway, ANSWERS, &["outcome=\"broken\""], 3.0);
    wait_sum(
        &gateway,
        ERRORS,
        &["code=\"provider_failed\"", "status=\"502\""],
        3.0,
    );
}

/// Both were counted as overruns, what no balance covered twice.
#[test]
fn overrun_is_what_was_not_charged_and_what_a_hold_missed_has_a_name_of_its_own() {
    const OVERRUN: &str = "resullm_tokens_overrun_total";
    const BEYOND: &str = "resullm_tokens_beyond_hold_total";
    let provider = Provider::start(|_| Script::chat("x", 9_000, 10));
    let setup = setup()
        .tenant("poor", sample(&provider).tokens(100))
        .tenant("rich", sample(&provider).tokens(20_000));
    let gateway = Gateway::start(setup);
    let call = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20});

    let rich = mint(&gateway, "rich");
    assert_eq!(chat(&gateway, "rich", &rich, &call).status, 200);
    wait_sum(&gateway, "resullm_tokens_charged_total", &[], 9_010.0);
    let missed = scrape(&gateway).sum(BEYOND, &[]);
    assert!(missed > 8_900.0 && missed < 9_010.0, "{missed}");
    wait_sum(&gateway, OVERRUN, &[], 0.0);

    let poor = mint(&gateway, "poor");
    assert_eq!(chat(&gateway, "poor", &poor, &call).status, 200);
    wait_sum(&gateway, OVERRUN, &[], 8_910.0);
    wait_sum(&gateway, "resullm_tokens_charged_total", &[], 9_110.0);
    wait_sum(&gateway, BEYOND, &[], 2.0 * missed);
    let shown = gateway
        .client()
        .request("GET", &format!("/poor/admin/keys/{poor}"))
        .bearer(gateway.admin_token())
        .send();
    assert_eq!(shown.json()["overrun"], 8_910);
}

#[test]
fn refusals_are_counted_by_code_and_a_client_cannot_invent_labels() {
    let provider = failing();
    let gateway = Gateway::start(setup().tenant("abc", sample(&provider).tokens(0)));
    let key = mint(&gateway, "abc");
    let client = gateway.client();

    assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 402);
    assert_eq!(
        chat(&gateway, "abc", "temp_nobody", &small_call()).status,
        401
    );
    for number in 0..50 {
        let path = format!("/invented-{number}/v1/chat/completions");
        assert_eq!(client.request("POST", &path).send().status, 400);
        let path = format!("/abc/invented-{number}");
        assert_eq!(client.request("GET", &path).send().status, 404);
    }
    let admin = client.request("GET", "/abc/admin/usage");
    assert_eq!(admin.bearer("wrong-admin-token").send().status, 401);

    let of = |tenant: &str, code: &str, status: u16, count: u32| {
        let labels = [
            format!("tenant=\"{tenant}\""),
            format!("code=\"{code}\""),
            format!("status=\"{status}\""),
        ];
        let labels = labels.each_ref().map(String::as_str);
        wait_sum(&gateway, ERRORS, &labels, f64::from(count));
    };
    of("abc", "insufficient_tokens", 402, 1);
    of("abc", "invalid_api_key", 401, 1);
    of("abc", "unauthorized", 401, 1);
    of("abc", "not_found", 404, 50);
    of("", "invalid_tenant", 400, 50);
    assert!(!scrape(&gateway).0.contains("invented"));
}

#[test]
fn ten_thousand_endpoints_of_a_hostile_tenant_take_few_series_and_little_memory() {
    let provider = failing();
    let gateway = Gateway::start(
        setup()
            .tenant("abc", sample(&provider))
            .tenant("hostile", sample(&provider)),
    );
    let before = gateway.memory_kib();
    let url = provider.url("/v1/chat/completions");
    // An admin may change the config again and again, with new names each time.
    for round in 0..5 {
        let endpoints: serde_json::Map<String, Value> = (0..2_000)
            .map(|number| {
                let endpoint = json!({"url": url, "default_model": "m", "api_key": "k"});
                (format!("r{round}-{number:05}-{}", "x".repeat(50)), endpoint)
            })
            .collect();
        let first = endpoints.keys().next().unwrap().clone();
        let mut config: Value = sample(&provider).into();
        config["providers"]["text"] = json!({"default": first, "endpoints": endpoints});
        let put = gateway
            .client()
            .request("PUT", "/admin/tenants/hostile")
            .bearer(gateway.admin_token())
            .json(&json!({"config": config}))
            .send();
        assert_eq!(put.status, 200, "{}", put.text());
        let key = mint(&gateway, "hostile");
        for number in (0..2_000).step_by(40) {
            let name = endpoints.keys().nth(number).unwrap();
            let mut call = asks("500");
            call["model"] = json!(format!("{name}/m"));
            assert_eq!(chat(&gateway, "hostile", &key, &call).status, 500);
        }
    }
    let key = mint(&gateway, "abc");
    assert_eq!(chat(&gateway, "abc", &key, &asks("nothing")).status, 200);

    let all = eventually(SOON, "all calls are counted", || {
        let all = scrape(&gateway);
        (all.sum(ANSWERS, &["tenant=\"hostile\""]) > 0.0
            && all.sum(ANSWERS, &["tenant=\"abc\"", "endpoint=\"openai\""]) > 0.0)
            .then_some(all)
    });
    let rows = all
        .0
        .lines()
        .filter(|line| line.contains("tenant=\"hostile\""));
    assert!(rows.clone().count() < 250, "{}", rows.count());
    assert!(all.0.lines().all(|line| line.len() < 300));
    let grown = gateway.memory_kib().saturating_sub(before);
    assert!(grown < 100 * 1024, "{grown} KiB");
}

#[test]
fn series_of_a_removed_tenant_go_away() {
    let provider = failing();
    let gateway = Gateway::start(setup().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");
    chat(&gateway, "abc", &key, &asks("500"));
    wait_sum(&gateway, ANSWERS, &["tenant=\"abc\""], 1.0);

    let deleted = gateway
        .client()
        .request("DELETE", "/admin/tenants/abc")
        .bearer(gateway.admin_token())
        .send();
    assert_eq!(deleted.status, 200);

    // Nobody asks for the tenant any more: the periodic sweep finds out.
    eventually(3 * SOON, "its series are gone", || {
        (!scrape(&gateway).0.contains("tenant=\"abc\"")).then_some(())
    });
}

#[test]
fn unusable_configs_are_a_gauge() {
    const UNUSABLE: &str = "resullm_unusable_tenant_configs";
    let redis = Redis::start();
    let provider = failing();
    let gateway = Gateway::start(setup().store(&redis.url()).tenant("abc", sample(&provider)));
    mint(&gateway, "abc");
    wait_sum(&gateway, UNUSABLE, &[], 0.0);

    redis.cli(&["SET", "tenant:abc:config", "not json"]);
    redis.cli(&["SET", "tenant:broken:config", "not json"]);
    let broken = gateway.client().request("GET", "/broken/v1/models").send();
    assert_eq!(broken.status, 503);

    wait_sum(&gateway, UNUSABLE, &["calls=\"refused\""], 1.0);
    // Read again without a request for it.
    eventually(3 * SOON, "the previous config is in force", || {
        let all = scrape(&gateway);
        (all.sum(UNUSABLE, &["calls=\"served_by_previous\""]) > 0.0).then_some(())
    });
    wait_sum(
        &gateway,
        ERRORS,
        &["tenant=\"broken\"", "code=\"broken_config\""],
        1.0,
    );
    mint(&gateway, "abc");
}

#[test]
fn what_waits_for_a_lost_store_is_a_gauge_and_returns_to_nothing() {
    let redis = Redis::start();
    let gate = crate::harness::Gate::new();
    let held = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat("x", 3, 3).first(Step::WaitUntilReleased(held.clone()))
    });
    let setup = setup().store(&redis.url()).tenant("abc", sample(&provider));
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let up = scrape(&gateway);
    assert!(up.sum("resullm_build_info", &["store=\"redis\""]) > 0.0);
    assert!(up.sum("resullm_store_seconds_count", &[]) > 0.0);
    assert!(up.sum("process_start_time_seconds", &[]) > 1.7e9);

    std::thread::scope(|scope| {
        let call = scope.spawn(|| chat(&gateway, "abc", &key, &small_call()).status);
        provider.wait_requests(1);
        wait_sum(&gateway, "resullm_journal_open", &[], 1.0);
        redis.pause();
        gate.open();
        assert_eq!(call.join().unwrap(), 200);
    });
    wait_sum(&gateway, "resullm_settlements_pending", &[], 1.0);
    wait_sum(&gateway, "resullm_usage_records_pending", &[], 1.0);
    assert!(scrape(&gateway).sum("resullm_journal_open", &[]) > 0.0);

    redis.resume();
    for name in [
        "settlements_pending",
        "usage_records_pending",
        "journal_open",
    ] {
        wait_sum(&gateway, &format!("resullm_{name}"), &[], 0.0);
    }
}

#[test]
fn leases_and_the_embedded_store_have_their_figures() {
    let provider = failing();
    let gateway = Gateway::start(setup().tenant("abc", sample(&provider).rate_limit(100_000, 60)));
    let key = mint(&gateway, "abc");

    eventually(SOON, "a busy key has a lease", || {
        assert_eq!(chat(&gateway, "abc", &key, &asks("nothing")).status, 200);
        (scrape(&gateway).sum("resullm_leases", &[]) > 0.0).then_some(())
    });

    let all = scrape(&gateway);
    assert!(all.sum("resullm_build_info", &["store=\"embedded\""]) > 0.0);
    assert!(all.sum("resullm_store_seconds_count", &[]) > 0.0);
}
