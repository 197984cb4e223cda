//! Prices by model, and the usage log: its sums, filters, rows and tables.

use crate::harness::http::Response;
use crate::harness::{
    Gateway, Provider, Redis, Script, Setup, chat, eventually, me, mint, sample, small_call,
};
use resullm::rules::amount::Millis;
use resullm::rules::date::rfc3339;
use resullm::rules::issued_key::KeyId;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn ask(gateway: &Gateway, query: &str) -> Response {
    let path = format!("/abc/admin/usage{query}");
    let request = gateway.client().request("GET", &path);
    request.bearer(gateway.admin_token()).send()
}

#[track_caller]
fn usage(gateway: &Gateway, query: &str) -> Value {
    let answer = ask(gateway, query);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// A moment as records have it, in this time from now.
fn in_time(ahead: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    rfc3339(Millis::from(now + ahead))
}

/// Opens a session as the app's backend, and returns its key.
fn key_of_user(gateway: &Gateway, user: &str) -> String {
    let request = gateway.client().request("POST", "/abc/auth/sessions");
    let request = request.bearer(gateway.admin_token());
    let answer = request.json(&json!({"userId": user})).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["apiKey"].as_str().unwrap().to_owned()
}

/// Four records: of two keys of one person, of an anonymous key, and of an earlier version, which noted no key.
fn four_records(gateway: &Gateway, redis: &Redis) -> [String; 3] {
    let old = json!({
        "time": in_time(Duration::ZERO), "tenant": "abc", "account": "aaaaaaaaaaaa", "group": "anonymous",
        "endpoint": "openai", "model": "gpt-4o", "call": "chat/completions", "requestId": "r", "tokensIn": 3,
        "tokensOut": 4, "tokensCached": 0, "reported": true, "cost": 7, "status": 200, "latencyMs": 5,
    });
    redis.cli(&["XADD", "usage:abc", "*", "e", &old.to_string()]);
    let keys = [
        key_of_user(gateway, "u"),
        key_of_user(gateway, "u"),
        mint(gateway, "abc"),
    ];
    for (key, model) in keys.iter().zip(["vendor/a b", "=1+1", "=1+1"]) {
        let mut call = small_call();
        call["model"] = json!(model);
        let answer = chat(gateway, "abc", key, &call);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    eventually(Duration::from_secs(5), "four records", || {
        (usage(gateway, "")["total"]["requests"] == 4).then_some(())
    });
    keys.map(|key| KeyId::of(&key).to_string())
}

#[test]
fn usage_is_summed_filtered_and_combined_by_every_name() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let config = sample(&provider).set("user_groups.google_logged_in", json!({"tokens": 1000}));
    let gateway = Gateway::start(Setup::new().store(&redis.url()).tenant("abc", config));
    let ids = four_records(&gateway, &redis);

    let seen = usage(&gateway, "?limit=1");
    let requests = |table: &str, name: &str| seen[table][name]["requests"].as_u64().unwrap_or(0);
    for id in &ids {
        assert_eq!(requests("byKey", id), 1, "{seen:#}");
    }
    assert_eq!(requests("byKey", "-"), 1);
    assert_eq!(requests("byGroup", "anonymous"), 2);
    assert_eq!(requests("byGroup", "google_logged_in"), 2);
    assert_eq!(requests("byEndpoint", "openai"), 4);
    assert_eq!(seen["byAccount"].as_object().unwrap().len(), 3);
    assert_eq!(seen["events"].as_array().unwrap().len(), 1);
    assert!(seen.get("rows").is_none() && seen.get("incomplete").is_none());

    let (one, tomorrow) = (&ids[0], in_time(Duration::from_secs(86_400)));
    for (query, expected) in [
        ("model=vendor%2Fa+b".to_owned(), 1),
        ("model=vendor/a%20b&limit=0".to_owned(), 1),
        ("model=%3D1%2B1".to_owned(), 2),
        (format!("key={one}"), 1),
        ("key=-".to_owned(), 1),
        ("group=anonymous".to_owned(), 2),
        ("group=anonymous&model=gpt-4o".to_owned(), 1),
        ("endpoint=openai".to_owned(), 4),
        ("endpoint=other".to_owned(), 0),
        ("since=1970-01-01".to_owned(), 4),
        (format!("since=1970-01-01&until={tomorrow}"), 4),
        (format!("since={tomorrow}"), 0),
        ("until=2020-01-01&days=366".to_owned(), 0),
    ] {
        let seen = usage(&gateway, &format!("?{query}"));
        assert_eq!(seen["total"]["requests"], expected, "{query}");
    }

    let rows = usage(&gateway, "?by=model,group")["rows"].clone();
    let row = |model: &str, group: &str| {
        json!({"model": model, "group": group, "requests": 1, "tokensIn": 3, "tokensOut": 4, "tokensCached": 0,
            "cost": 7})
    };
    let expected = [
        row("=1+1", "anonymous"),
        row("=1+1", "google_logged_in"),
        row("gpt-4o", "anonymous"),
        row("vendor/a b", "google_logged_in"),
    ];
    assert_eq!(rows, json!(expected));
}

#[test]
fn usage_is_a_table_without_formulas_where_that_is_asked_for() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let prices = json!({"currency": "EUR", "models": {"vendor/a b": {"input": 1, "output": 2}}});
    let config = sample(&provider)
        .set("user_groups.google_logged_in", json!({"tokens": 1000}))
        .set("prices", prices);
    let gateway = Gateway::start(Setup::new().store(&redis.url()).tenant("abc", config));
    let ids = four_records(&gateway, &redis);

    let table = ask(&gateway, "?by=model,key&format=csv");

    assert_eq!(table.status, 200, "{}", table.text());
    assert_eq!(
        table.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    assert_eq!(
        table.header("content-disposition"),
        Some("attachment; filename=\"usage-abc.csv\"")
    );
    let mut formulas = [&ids[1], &ids[2]];
    formulas.sort();
    let expected = [
        "model,key,requests,tokensIn,tokensOut,tokensCached,cost,amountEUR".to_owned(),
        format!("'=1+1,{},1,3,4,0,7,", formulas[0]),
        format!("'=1+1,{},1,3,4,0,7,", formulas[1]),
        "gpt-4o,,1,3,4,0,7,".to_owned(),
        format!("vendor/a b,{},1,3,4,0,7,0.000011", ids[0]),
        String::new(),
    ];
    assert_eq!(table.text(), expected.join("\r\n"));
    let whole = ask(&gateway, "?format=csv&group=nobody").text();
    assert_eq!(
        whole,
        "day,model,group,endpoint,key,account,requests,tokensIn,tokensOut,tokensCached,cost\r\n"
    );
}

#[test]
fn sums_say_that_they_lack_what_the_log_has_lost_and_tables_are_refused() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let setup = setup.env("RESULLM__USAGE__RECORDS", "2");
        let gateway = Gateway::start(setup.tenant("abc", sample(&provider)));
        let key = mint(&gateway, "abc");
        assert!(usage(&gateway, "").get("incomplete").is_none());
        for _ in 0..4 {
            assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
        }

        eventually(Duration::from_secs(5), "a full log", || {
            (usage(&gateway, "")["incomplete"] == true).then_some(())
        });

        let table = ask(&gateway, "?format=csv");
        let why = table.json()["error"].as_str().unwrap().to_owned();
        assert!(
            table.status == 400 && why.contains("would lack requests before 20"),
            "{why}"
        );
        let request = gateway.client().request("GET", "/abc/auth/usage");
        assert_eq!(request.bearer(&key).send().json()["incomplete"], true);
        let later = in_time(Duration::from_secs(60));
        let table = ask(&gateway, &format!("?format=csv&by=day&since={later}"));
        assert_eq!(
            (table.status, table.text().lines().count()),
            (200, 1),
            "{}",
            table.text()
        );
        assert!(
            usage(&gateway, &format!("?since={later}"))
                .get("incomplete")
                .is_none()
        );
    }
}

#[test]
fn queries_that_mean_nothing_are_refused_with_what_and_where() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let key = mint(&gateway, "abc");

    for (query, why) in [
        (
            "since=2026-01-01&days=1".to_owned(),
            "days and since exclude each other",
        ),
        ("since=soon".to_owned(), "since must be a moment"),
        (
            "since=2026-01-02&until=2026-01-01".to_owned(),
            "until must be later",
        ),
        (format!("key={key}"), "key must be the ID of a key"),
        ("by=day,colour".to_owned(), "by must be some of day, model"),
        ("format=xls".to_owned(), "format must be json or csv"),
        ("model=%ff".to_owned(), "model is not percent-encoded UTF-8"),
        ("limit=1&limit=2".to_owned(), "limit is there twice"),
    ] {
        let answer = ask(&gateway, &format!("?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        let told = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(told.starts_with(why), "{query}: {told}");
        assert!(!told.contains(&key), "{told}");
    }
    let own = gateway.client().request("GET", "/abc/auth/usage?limit=5");
    assert_eq!(own.bearer(&key).send().status, 400);
}

#[test]
fn settled_request_leaves_one_record_at_its_models_rate() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let provider = Provider::start(|request| {
            if request.json()["model"] == "refused" {
                return Script::json(400, &json!({"error": {"message": "no"}}));
            }
            Script::chat("Hi", 9, 5)
        });
        let config = sample(&provider).tokens(10_000).set(
            "providers.text.rates",
            json!({"dear": {"input": 1.5, "output": 10}, "*": 0.1}),
        );
        let gateway = Gateway::start(setup.clone().tenant("abc", config.clone()));
        let (first, second) = (mint(&gateway, "abc"), mint(&gateway, "abc"));
        let ask = |key: &str, model: &str| {
            chat(
                &gateway,
                "abc",
                key,
                &json!({"model": model, "messages": [], "max_tokens": 50}),
            )
            .status
        };
        // 9 x 1.5 + 5 x 10, and (9 + 5) x 0.1, each rounded up.
        assert_eq!(
            (
                ask(&first, "dear"),
                ask(&first, "other"),
                ask(&second, "refused")
            ),
            (200, 200, 400)
        );
        let left = |key: &str| me(&gateway, key)["tokensLeft"].as_u64();
        assert_eq!(
            (left(&first), left(&second)),
            (Some(10_000 - 64 - 2), Some(10_000))
        );

        let seen = eventually(Duration::from_secs(5), "three records", || {
            let seen = usage(&gateway, "");
            (seen["total"]["requests"] == 3).then_some(seen)
        });
        assert_eq!(
            seen["total"],
            json!({"requests": 3, "tokensIn": 18, "tokensOut": 10, "tokensCached": 0, "cost": 66})
        );
        assert_eq!(seen["byModel"]["dear"]["cost"], 64);
        assert_eq!(seen["byAccount"].as_object().unwrap().len(), 2);
        assert_eq!(seen["byDay"].as_object().unwrap().len(), 1);
        // Records of two threads may be logged in either order.
        let mut events = seen["events"].as_array().unwrap().iter();
        let refused = events.find(|event| event["model"] == "refused").unwrap();
        assert_eq!(
            (
                &refused["model"],
                &refused["status"],
                &refused["cost"],
                &refused["endpoint"]
            ),
            (&json!("refused"), &json!(400), &json!(0), &json!("openai"))
        );
        assert!(!seen.to_string().contains(&first), "no key in a record");
        let account = refused["account"].as_str().unwrap().to_owned();
        assert_eq!(
            usage(&gateway, &format!("?account={account}&limit=0"))["total"]["requests"],
            1
        );
        for (query, status) in [("?days=0", 400), ("?colour=red", 400)] {
            let path = format!("/abc/admin/usage{query}");
            assert_eq!(
                gateway
                    .client()
                    .request("GET", &path)
                    .bearer(gateway.admin_token())
                    .send()
                    .status,
                status
            );
        }
        assert_eq!(
            gateway
                .client()
                .request("GET", "/abc/admin/usage")
                .bearer(&first)
                .send()
                .status,
            401
        );
        // Shutdown flushes all records, and the next process reads them.
        assert_eq!(ask(&first, "other"), 200);
        gateway.signal("TERM");
        gateway.wait_exit(Duration::from_secs(10));
        let gateway = Gateway::start(setup.tenant("abc", config));
        assert_eq!(usage(&gateway, "")["total"]["requests"], 4);
    }
}

#[test]
fn expensive_model_is_held_and_limited_at_its_rate() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider)
        .tokens(1_000)
        .set("providers.text.rates", json!({"dear": 10, "free": 0}));
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let sent = |model: &str| {
        let call = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
        provider.requests().pop().unwrap().json()
    };

    // 1000 tokens less 10 prompt bytes at rate 10 leave 900, enough for 90 output tokens.
    assert_eq!(sent("dear")["max_tokens"], 90);
    assert_eq!(sent("free").get("max_tokens"), None);
    let me = me(&gateway, &key);
    assert_eq!(me["tokensLeft"], 980);
}

#[test]
fn calls_cost_money_where_the_tenant_has_prices() {
    let provider = Provider::start(|request| {
        let call = request.json();
        match (call["model"].as_str(), call["stream"] == true) {
            (Some("silent"), _) => Script::json(
                200,
                &json!({"choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hi"}}]}),
            ),
            (_, true) => Script::chat_stream(&["Hi"], 9, 5),
            _ => Script::chat("Hi", 9, 5),
        }
    });
    let prices = json!({"currency": "EUR", "models": {"dear": {"input": 2.5, "output": 10, "cache_read": 1.25},
        "silent": {"input": 1, "output": 1}}});
    let config = sample(&provider)
        .tokens(100_000)
        .caching(20)
        .set("prices", prices);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let ask = |model: &str, stream: bool| {
        let call = json!({"model": model, "messages": [], "max_tokens": 50, "stream": stream});
        let request = gateway.client().request("POST", "/abc/v1/chat/completions");
        let answer = request
            .bearer(&key)
            .json(&call)
            .header("x-resullm-cost", "1")
            .send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    };
    // 9 x 2.5 + 5 x 10 millionths.
    let first = ask("dear-2026-01-01", false);
    assert_eq!(
        first.header("x-resullm-cost"),
        Some("14; amount=0.0000725; currency=EUR")
    );
    let hit = ask("dear-2026-01-01", false);
    assert_eq!(
        hit.header("x-resullm-cost"),
        Some("3; amount=0.0000145; currency=EUR")
    );
    let stream = ask("dear", true);
    assert_eq!(stream.header("x-resullm-cost"), None);
    let text = stream.text();
    let told = ": x-resullm-cost: 14; amount=0.0000725; currency=EUR\n\n";
    assert!(
        text.contains(told) && text.ends_with("data: [DONE]\n\n"),
        "{text}"
    );
    assert_eq!(ask("priceless", false).header("x-resullm-cost"), Some("14"));
    let silent = ask("silent", false);
    assert!(!silent.header("x-resullm-cost").unwrap().contains("amount"));
    let unasked = chat(
        &gateway,
        "abc",
        &key,
        &json!({"model": "dear", "messages": []}),
    );
    assert_eq!(unasked.header("x-resullm-cost"), None);

    let seen = eventually(Duration::from_secs(5), "six records", || {
        let seen = usage(&gateway, "");
        (seen["total"]["requests"] == 6).then_some(seen)
    });
    assert_eq!(seen["total"]["amounts"], json!({"EUR": 0.000232}));
    assert_eq!(seen["byModel"]["priceless"].get("amounts"), None);
    let priced = seen["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["currency"] == "EUR");
    assert_eq!(priced.count(), 4);
    let request = gateway
        .client()
        .request("GET", "/abc/auth/usage")
        .bearer(&key);
    assert_eq!(
        request.send().json()["total"]["amounts"],
        json!({"EUR": 0.000232})
    );
}
