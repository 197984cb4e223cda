//! Commands that the gateway sends: the ACL of `deploy/redis-acl.example`, scripts without a clock,
//! TLS at the wrong port, and the warning about old server versions.

use super::{Served, ask, call, metric, ready, setup};
use crate::faults::case;
use crate::harness::redis::wait_info;
use crate::harness::{
    CHAT_PATH, Cluster, Gate, Gateway, Redis, RedisTls, Response, Setup, TempDir, eventually, mint,
    resullm,
};
use crate::sign_in::flow::start_query;
use crate::store::contract::{keeping, open, runtime};
use resullm::rules::account::Orphans;
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::payments::book::{Paid, Pay};
use resullm::rules::person::PersonId;
use resullm::rules::tenant::TenantId;
use resullm::store::name::{AccountName, AnswerKey};
use resullm::store::{Clock, NewAnswer};
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

/// Runs everything that sends commands to the store.
fn tour(gateway: &Gateway, provider_gate: &Gate) -> String {
    provider_gate.open();
    let admin = |method: &str, path: &str, body: Option<Value>| {
        let client = gateway.client();
        let request = client.request(method, path).bearer(gateway.admin_token());
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send();
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        answer
    };
    let key = mint(gateway, "abc");
    for streamed in [false, true] {
        let mut call = call(&key);
        call["stream"] = json!(streamed);
        let request = gateway.client().request("POST", CHAT_PATH).bearer(&key);
        assert_eq!(request.json(&call).send().status, 200);
    }
    eventually(Duration::from_secs(10), "a lease is used", || {
        assert_eq!(ask(gateway.client(), &key).0, 200);
        let row = "resullm_admissions_total{from=\"lease\"}";
        (metric(gateway, row) > 3).then_some(())
    });
    let read = admin("GET", "/abc/admin/config", None);
    let tag = read.header("etag").unwrap().to_owned();
    let config = read.json();
    let path = "/abc/admin/config";
    let request = gateway.client().request("PUT", path);
    let request = request
        .bearer(gateway.admin_token())
        .header("if-match", &tag);
    assert_eq!(request.json(&config).send().status, 200);
    admin("PUT", path, Some(config.clone()));
    let minted = admin("POST", "/abc/admin/keys", Some(json!({"tokens": 500})));
    let other = minted.json()["apiKey"].as_str().unwrap().to_owned();
    let path = format!("/abc/admin/keys/{other}");
    admin("GET", &path, None);
    admin("PATCH", &path, Some(json!({"group": "anonymous"})));
    let credit = json!({"tokens": 5, "id": "order"});
    admin("POST", &format!("{path}/credit"), Some(credit));
    admin("GET", &format!("{path}/ledger"), None);
    for life in [json!(3600), Value::Null] {
        let change = json!({"expiresInSeconds": life});
        admin("PATCH", &path, Some(change));
    }
    let suspend = json!({"suspended": false});
    admin("POST", &format!("{path}/suspend"), Some(suspend));
    let rolled = admin("POST", &format!("{path}/roll"), None).json();
    admin("GET", "/abc/admin/keys?limit=2", None);
    let path = format!("/abc/admin/keys/{}", rolled["id"].as_str().unwrap());
    admin("DELETE", &path, None);
    admin("GET", "/abc/admin/users", None);
    admin("GET", "/admin/tenants?totals=true", None);
    let tenant = json!({"id": "other", "config": config["config"]});
    admin("POST", "/admin/tenants", Some(tenant));
    let tokens = json!({"tokens": ["a-token-of-their-own-long-enough"]});
    admin("PUT", "/admin/tenants/other/tokens", Some(tokens));
    admin("DELETE", "/admin/tenants/other", None);
    people(gateway, config, &admin);
    buy(gateway, &admin);
    eventually(Duration::from_secs(5), "usage is kept", || {
        let usage = admin("GET", "/abc/admin/usage", None).text();
        usage.contains("gpt-4o").then_some(())
    });
    assert_eq!(ready(gateway), 200);
    key
}

/// A session's user, who leaves again, and a sign-in that is begun.
fn people(
    gateway: &Gateway,
    mut config: Value,
    admin: &impl Fn(&str, &str, Option<Value>) -> Response,
) {
    config["config"]["user_groups"]["google_logged_in"] = json!({"tokens": 1000});
    config["config"]["auth"]["google_oauth"] = json!({
        "client_id": "c", "client_secret": "s", "redirect_uris": ["https://app.example/done"],
    });
    admin("PUT", "/abc/admin/config", Some(config));
    let temp = mint(gateway, "abc");
    for user in ["stays", "leaves"] {
        let session = json!({"userId": user, "carryOver": temp});
        let opened = admin("POST", "/abc/auth/sessions", Some(session)).json();
        let key = opened["apiKey"].as_str().unwrap();
        assert_eq!(ask(gateway.client(), key).0, 200);
    }
    admin("GET", "/abc/admin/users/leaves/export", None);
    admin("DELETE", "/abc/admin/users/leaves", None);
    let path = format!("/abc/auth/google/start?{}", start_query(&[]));
    let started = gateway.client().get(&path);
    assert_eq!(started.status, 302, "{}", started.text());
    let code = json!({"code": "c".repeat(43), "codeVerifier": "v".repeat(43)});
    let redeemed = gateway.client().request("POST", "/abc/auth/token");
    assert_eq!(redeemed.json(&code).send().status, 401);
}

/// Asks for the payments of somebody who has none, and for what Stripe has told.
fn buy(gateway: &Gateway, admin: &impl Fn(&str, &str, Option<Value>) -> Response) {
    let paid = admin("GET", "/abc/admin/users/stays/payments", None);
    assert_eq!(paid.json()["payments"], json!([]));
    assert_eq!(admin("GET", "/abc/admin/payments", None).status, 200);
    assert_eq!(ready(gateway), 200);
}

/// Notes a payment of somebody's.
fn purchase(url: &str) {
    runtime().block_on(async {
        let store = open(url, keeping(Orphans::Known, Clock::Store)).await;
        let account = AccountName::person(&PersonId::derive("abc", "app", "", "stays"));
        let group = "google_logged_in".to_owned();
        let pay = Pay {
            tenant: "abc".to_owned(),
            expected: 0,
            group_before: group.clone(),
            text: "{}".to_owned(),
            cause: "cs_1".into(),
            asked: Millis(1),
            gain: Tokens::new(5),
            back: (Tokens::ZERO, Tokens::ZERO),
            group: Some(group),
        };
        let paid = store.pay(&account, &pay).await.unwrap();
        assert!(matches!(paid, Some(Paid::Done { .. })), "{paid:?}");
        assert_eq!(store.payments(&account).await.unwrap().unwrap().version, 1);
    });
}

/// Keeps, gives and forgets cached answers, and leaves one.
fn cache(url: &str) {
    runtime().block_on(async {
        let store = open(url, keeping(Orphans::Known, Clock::Store)).await;
        let tenant = TenantId::parse("abc").unwrap();
        let keep = async |number: u8| {
            let answer = NewAnswer {
                owner: "p_one",
                bytes: "text".into(),
                life: Millis(60_000),
                // Two of three fit.
                most_bytes: 1_100,
                shelf: None,
            };
            let key = AnswerKey::new([number; 32]);
            assert!(store.keep_answer(&tenant, &key, &answer).await.unwrap());
        };
        for number in 1..=3 {
            keep(number).await;
        }
        let key = AnswerKey::new([3; 32]);
        let answer = store.cached_answer(&tenant, &key).await.unwrap();
        assert_eq!(answer.unwrap(), "text");
        assert_eq!(store.forget_answers_of(&tenant, "p_one").await.unwrap(), 2);
        keep(1).await;
        assert_eq!(store.forget_answers(&tenant).await.unwrap(), 1);
        keep(1).await;
    });
}

/// Runs a command on the store with hashed names of keys.
fn store(args: &[&str]) {
    let env = [
        ("KEY_SECRET", "5".repeat(64)),
        ("RESULLM__ACCOUNTS__KEY_NAMES", "hashed".to_owned()),
    ];
    let env: Vec<(&str, &str)> = env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let output = resullm(&[&["store"], args].concat(), &env);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {told}");
}

/// `ACL SETUSER` arguments of the example's user line, with a password.
fn acl() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis-acl.example");
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("user "));
    let words = line.unwrap().split_whitespace();
    words
        .map(|word| word.replace("CHANGE-ME", "secret"))
        .collect()
}

fn allow(redis: &Redis, words: &[String]) {
    let mut command = vec!["ACL", "SETUSER"];
    command.extend(words.iter().map(String::as_str));
    redis.cli(&command);
}

/// Names of the commands that the server ran since the last call, in lower case.
fn commands_run(redis: &Redis) -> Vec<String> {
    let stats = redis.cli(&["INFO", "commandstats"]).text();
    redis.cli(&["CONFIG", "RESETSTAT"]);
    let names = stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next());
    names.map(str::to_owned).collect()
}

#[test]
fn redis_acl_example_is_enough_and_minimal() {
    let redis = Redis::start();
    // A credit waits for a replica.
    let replica = Redis::with(&["--replicaof", &format!("127.0.0.1 {}", redis.port())]);
    wait_info(&replica, "master_link_status", "up");
    let cluster = Cluster::start();
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    case("redis: the permissions of deploy/redis-acl.example", || {
        let words = acl();
        allow(&redis, &words);
        let url = format!("redis://resullm:secret@127.0.0.1:{}/1", redis.port());
        redis.cli(&["CONFIG", "RESETSTAT"]);
        // Postings are folded after a second.
        let kept = setup(&url, &provider)
            .env("RESULLM__ACCOUNTS__CREDIT_REPLICAS", "1")
            .env("RESULLM__RETENTION__POSTINGS", "1s");
        let gateway = Gateway::start(kept);
        let key = tour(&gateway, &gate);
        cache(&url);
        purchase(&url);
        let mut run = commands_run(&redis);
        // Another program removed the record's expiry; its books must lose theirs too.
        let mut other = redis.connect().unwrap();
        other.ask(&["SELECT", "1"]).unwrap();
        other.ask(&["PERSIST", &format!("apiKey:{key}")]).unwrap();
        redis.cli(&["CONFIG", "RESETSTAT"]);
        thread::sleep(Duration::from_millis(1_100));
        assert_eq!(ask(gateway.client(), &key).0, 200);
        gateway.signal("TERM");
        assert_eq!(gateway.wait_exit(Duration::from_secs(10)).code(), Some(0));
        run.extend(commands_run(&redis));
        let users = setup(&url, &provider).env("RESULLM__ACCOUNTS__LAYOUT", "user");
        let gateway = Gateway::start(users);
        assert_eq!(ask(gateway.client(), &mint(&gateway, "abc")).0, 200);
        drop(gateway);
        // Names are hashed in place, and the store is moved away and back.
        redis.cli(&["CONFIG", "RESETSTAT"]);
        let dir = TempDir::new();
        let away = format!("embedded:{}", dir.path().join("store").display());
        store(&["copy", &url, &url]);
        store(&["copy", &url, &away]);
        store(&["copy", &away, &url.replace("/1", "/2")]);
        run.extend(commands_run(&redis));
        let names = other.ask(&["KEYS", "*"]).unwrap();
        let names: Vec<String> = names.list().iter().map(|name| name.text()).collect();

        for node in cluster.nodes() {
            allow(node, &words);
            node.cli(&["CONFIG", "RESETSTAT"]);
        }
        let hosts = cluster
            .url()
            .replace("cluster://", "cluster://resullm:secret@");
        let alone = setup(&hosts, &provider).env("RESULLM__ACCOUNTS__CREDIT_REPLICAS", "0");
        let gateway = Gateway::start(alone);
        tour(&gateway, &gate);
        cache(&hosts);
        purchase(&hosts);
        // A slot that is migrating between two servers.
        let name = "tenant:moving:config";
        let slot = cluster.nodes()[0].cli(&["CLUSTER", "KEYSLOT", name]).int();
        let slot = slot.to_string();
        let from = cluster.node_of(name);
        let to = cluster
            .nodes()
            .iter()
            .find(|node| node.port() != from.port());
        let to = to.unwrap();
        let id = |node: &Redis| node.cli(&["CLUSTER", "MYID"]).text();
        to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
        let minted = gateway.client().request("POST", "/moving/auth/anonymous");
        assert_eq!(minted.send().status, 400);
        for node in cluster.nodes() {
            run.extend(commands_run(node));
            assert!(node.cli(&["ACL", "LOG"]).list().is_empty());
        }
        let denied = redis.cli(&["ACL", "LOG"]);
        assert!(denied.list().is_empty(), "{denied:?}");

        let allowed: Vec<&str> = words
            .iter()
            .filter_map(|word| word.strip_prefix('+'))
            .collect();
        let idle: Vec<&&str> = allowed
            .iter()
            .filter(|name| !run.iter().any(|run| run == *name))
            .collect();
        assert!(idle.is_empty(), "nobody runs {idle:?}: {run:?}");
        let patterns: Vec<&str> = words
            .iter()
            .filter_map(|word| word.strip_prefix('~'))
            .collect();
        for pattern in &patterns {
            let prefix = pattern.trim_end_matches('*');
            let used = names.iter().any(|name| name.starts_with(prefix));
            assert!(used, "{pattern} of {names:?}");
        }
        assert!(words.iter().any(|word| word == "-@all"));
        format!(
            "{} commands and {} patterns, each used; nothing denied, on one server and on a cluster",
            allowed.len(),
            patterns.len()
        )
    });
}

#[test]
fn scripts_take_no_time_from_the_gateway() {
    let redis = Redis::start();
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    case("redis: whose clock decides", || {
        let mut monitor = redis.connect().unwrap();
        monitor.ask(&["MONITOR"]).unwrap();
        let gateway = Gateway::start(setup(&redis.url(), &provider));
        tour(&gateway, &gate);
        let key = mint(&gateway, "abc");

        assert_eq!(ask(gateway.client(), &key).0, 200);

        redis.cli(&["ECHO", "that was all"]);
        let mut scripts = 0;
        loop {
            let line = monitor.read().unwrap().text();
            if line.contains("that was all") {
                break;
            }
            let Some((_, words)) = line.split_once("] \"EVALSHA\" \"") else {
                continue;
            };
            // `EVALSHA` arguments: hash, number of keys, keys, arguments.
            let words: Vec<&str> = words.split("\" \"").collect();
            let names: usize = words[1].parse().unwrap();
            assert_eq!(words[2 + names], "", "{line}");
            scripts += 1;
        }
        assert!(scripts > 20, "{scripts}");
        format!("{scripts} scripts, each by the server's own clock")
    });
}

#[test]
fn tls_to_a_plain_port_and_back_end_the_start_at_once() {
    let (plain, tls) = (Redis::start(), RedisTls::start());
    for (name, url) in [
        (
            "redis: TLS at a port without it",
            format!("rediss://127.0.0.1:{}", plain.port()),
        ),
        (
            "redis: no TLS at a port with it",
            tls.url().replace("rediss", "redis"),
        ),
    ] {
        case(name, || {
            let (status, logs, took) = Gateway::run_to_end(Setup::new().store(&url));
            assert_eq!(status.code(), Some(1), "{logs:#?}");
            let errors = logs.iter().filter(|line| line.starts_with("[ERROR]"));
            let errors: Vec<_> = errors.collect();
            assert_eq!(errors.len(), 1, "{logs:#?}");
            assert!(
                errors[0].starts_with("[ERROR] Redis connection failed: "),
                "{errors:?}"
            );
            assert!(took < Duration::from_secs(6), "{took:?}");
            format!("exit 1 after {took:.1?}")
        });
    }
}

#[test]
fn vulnerable_redis_version_is_logged_once() {
    let redis = Redis::start();
    let gateway = Gateway::start(Setup::new().store(&redis.url()));
    let version = redis.info("redis_version").unwrap();
    let warnings = gateway.count_logs("[WARN] The store reports version");
    case("redis: a version with known holes", || {
        // Debian's packages have the fixes without a new version number.
        let wanted = if version.starts_with("7.0.") {
            1..=1
        } else {
            0..=1
        };
        assert!(wanted.contains(&warnings), "{warnings}");
        format!("{version}: {warnings} warning")
    });
}
