//! `resullm store copy`: another store, another layout, hashed names of keys; with every key, balance and bound as it was,
//! and while gateways serve where that can be.

use crate::harness::{
    Cluster, Gate, Gateway, Provider, Redis, Reply, Sample, Script, Setup, Step, TempDir, chat,
    eventually, me, mint, resullm, sample, small_call,
};
use resullm::store::name::{KeyName, KeyNames};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const OTHER_SECRET: &str = "1f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f1";

fn config(provider: &Provider) -> Sample {
    sample(provider)
        .tokens(100)
        .set("user_groups.google_logged_in", json!({"tokens": 1000}))
        .set("user_groups.paid", json!({"tokens": 5000}))
}

fn hashed(setup: Setup) -> Setup {
    setup
        .env("KEY_SECRET", SECRET)
        .env("RESULLM__ACCOUNTS__KEY_NAMES", "hashed")
}

fn post(gateway: &Gateway, path: &str, key: &str, body: &Value) -> Value {
    let request = gateway.client().request("POST", path);
    let answer = request.bearer(key).json(body).send();
    assert!(answer.status < 300, "{path}: {}", answer.text());
    answer.json()
}

fn key_in(answer: &Value) -> String {
    answer["apiKey"].as_str().unwrap().to_owned()
}

/// Runs the command, and returns what it prints.
#[track_caller]
fn copy(from: &str, to: &str, env: &[(&str, &str)]) -> Value {
    match try_copy(from, to, env) {
        Ok(told) => told,
        Err(why) => panic!("{why}"),
    }
}

fn try_copy(from: &str, to: &str, env: &[(&str, &str)]) -> Result<Value, String> {
    let output = resullm(&["store", "copy", from, to], env);
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

const HASHED: [(&str, &str); 2] = [
    ("KEY_SECRET", SECRET),
    ("RESULLM__ACCOUNTS__KEY_NAMES", "hashed"),
];
const BY_USER: (&str, &str) = ("RESULLM__ACCOUNTS__LAYOUT", "user");

/// Keys of every kind, with a call of each.
struct People {
    keys: BTreeMap<&'static str, String>,
}

impl People {
    fn arrive(gateway: &Gateway) -> People {
        let admin = gateway.admin_token();
        let session = |body: Value| post(gateway, "/abc/auth/sessions", admin, &body);
        let mut keys = BTreeMap::new();
        keys.insert("anonymous", mint(gateway, "abc"));
        let paid = json!({"group": "paid", "userId": "anna"});
        keys.insert(
            "paid",
            key_in(&post(gateway, "/abc/admin/keys", admin, &paid)),
        );
        let temp = mint(gateway, "abc");
        chat(gateway, "abc", &temp, &small_call());
        let person = json!({"userId": "a person", "carryOver": temp});
        keys.insert("person", key_in(&session(person)));
        let bounded = json!({"userId": "a person", "tokens": 20, "ttl": "2h"});
        keys.insert("bounded", key_in(&session(bounded)));
        for key in keys.values() {
            assert_eq!(chat(gateway, "abc", key, &small_call()).status, 200);
        }
        let credit = json!({"tokens": 40, "id": "payment-1"});
        let path = format!("/abc/admin/keys/{}/credit", keys["anonymous"]);
        post(gateway, &path, admin, &credit);
        keys.insert("gone", temp);
        People { keys }
    }

    /// What each key is told about itself. `None`: it is unknown.
    fn seen(&self, gateway: &Gateway) -> BTreeMap<&'static str, Option<Value>> {
        let seen = |key: &String| {
            let client = gateway.client();
            let answer = client.request("GET", "/abc/auth/me").bearer(key).send();
            (answer.status == 200).then(|| {
                let mut me = answer.json();
                let me = me.as_object_mut().unwrap();
                for counts_down in ["expiresAt", "resetSeconds", "requestsRemaining"] {
                    me.remove(counts_down);
                }
                Value::from(me.clone())
            })
        };
        let keys = self.keys.iter();
        keys.map(|(who, key)| (*who, seen(key))).collect()
    }

    /// How much an anonymous key and a person have used, as they are shown it, as soon as that are so many calls.
    fn usage(&self, gateway: &Gateway, calls: [u64; 2]) -> Vec<Value> {
        // Records come a moment after the answers.
        let used = |(who, calls): (&str, u64)| {
            eventually(Duration::from_secs(10), "every call is recorded", || {
                let client = gateway.client();
                let request = client.request("GET", "/abc/auth/usage");
                let usage = request.bearer(&self.keys[who]).send().json();
                (usage["total"]["requests"] == calls).then_some(usage)
            })
        };
        std::iter::zip(["anonymous", "person"], calls)
            .map(used)
            .collect()
    }

    /// Calls with every key, until the bounded one has reached its bound.
    fn go_on(&self, gateway: &Gateway) {
        for who in ["anonymous", "paid", "person", "bounded"] {
            let answer = chat(gateway, "abc", &self.keys[who], &small_call());
            assert_eq!(answer.status, 200, "{who}: {}", answer.text());
        }
        let spent = chat(gateway, "abc", &self.keys["bounded"], &small_call());
        assert_eq!(
            (spent.status, spent.json()["error"]["code"].as_str()),
            (402, Some("key_limit"))
        );
        let gone = chat(gateway, "abc", &self.keys["gone"], &small_call());
        assert_eq!(gone.status, 401);
        // A credit that was applied before counts once.
        let path = format!("/abc/admin/keys/{}/credit", self.keys["anonymous"]);
        let credit = json!({"tokens": 40, "id": "payment-1"});
        let left = me(gateway, &self.keys["anonymous"])["tokensLeft"].clone();
        post(gateway, &path, gateway.admin_token(), &credit);
        assert_eq!(me(gateway, &self.keys["anonymous"])["tokensLeft"], left);
    }
}

/// Everything in a Redis server, as text.
fn dump(redis: &Redis) -> String {
    let mut text = String::new();
    for name in names(redis) {
        let kind = redis.cli(&["TYPE", &name]).text();
        let command: &[&str] = match kind.as_str() {
            "string" => &["GET", &name],
            "hash" => &["HGETALL", &name],
            "stream" => &["XRANGE", &name, "-", "+"],
            "list" => &["LRANGE", &name, "0", "-1"],
            "zset" => &["ZRANGE", &name, "0", "-1"],
            other => panic!("{name} is a {other}"),
        };
        text.push_str(&format!("{name} {:?}\n", words(&redis.cli(command))));
    }
    text
}

fn words(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::List(replies) => replies.iter().flat_map(words).collect(),
        Reply::Int(number) => vec![number.to_string()],
        Reply::Nil => Vec::new(),
        text => vec![text.text()],
    }
}

fn names(redis: &Redis) -> Vec<String> {
    let mut names = words(&redis.cli(&["KEYS", "*"]));
    names.sort();
    names
}

fn stop(gateway: Gateway) {
    gateway.signal("TERM");
    assert!(gateway.wait_exit(Duration::from_secs(20)).success());
}

/// Replaces the config and makes an admin token. Returns what is kept of that.
fn administer(gateway: &Gateway) -> Vec<Value> {
    let admin = gateway.admin_token();
    let token = json!({"name": "reader", "scope": "read"});
    post(gateway, "/abc/admin/tokens", admin, &token);
    let client = gateway.client();
    let read = client
        .request("GET", "/abc/admin/config")
        .bearer(admin)
        .send();
    let put = client.request("PUT", "/abc/admin/config").bearer(admin);
    assert_eq!(put.json(&read.json()).send().status, 200);
    kept(gateway)
}

/// Lists of what is kept of changes.
fn kept(gateway: &Gateway) -> Vec<Value> {
    let lists = ["config/history", "tokens", "audit"].into_iter();
    lists
        .map(|list| {
            let path = format!("/abc/admin/{list}");
            let request = gateway.client().request("GET", &path);
            request.bearer(gateway.admin_token()).send().json()
        })
        .collect()
}

#[test]
fn a_store_moves_to_redis_under_hashed_names_and_back_with_everything_in_it() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (home, back, redis) = (TempDir::new(), TempDir::new(), Redis::start());
    let (from, to) = (
        format!("embedded:{}", home.path().join("store").display()),
        format!("embedded:{}", back.path().join("store").display()),
    );
    let gateway = Gateway::start(Setup::new().store(&from).tenant("abc", config(&provider)));
    let people = People::arrive(&gateway);
    let (seen, used) = (people.seen(&gateway), people.usage(&gateway, [1, 2]));
    assert_eq!(seen["bounded"].as_ref().unwrap()["tokensMax"], 20);
    assert!(seen["gone"].is_none());
    let administered = administer(&gateway);
    stop(gateway);

    let told = copy(&from, &redis.url(), &HASHED);

    let contents = &told["contents"];
    assert_eq!(contents["tokensLeft"], 133 + 4993 + 1093 - 14, "{told}");
    assert_eq!(
        (&contents["tenants"], &contents["keysOfUsers"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(contents["usageRecords"], 5);
    // A key and a credit, each before and after; a config and a token, which the operator's log has too.
    assert_eq!(contents["auditRecords"], 2 * 2 + 2 * 4);
    let dumped = dump(&redis);
    for (who, key) in &people.keys {
        assert!(
            !dumped.contains(key.as_str()),
            "the copy has the key of {who}:\n{dumped}"
        );
    }
    // A gateway without the secret does not start; and who has the store and no scruples opens nothing.
    let without = try_copy(&redis.url(), &to, &[]).unwrap_err();
    assert!(
        without.contains("accounts.key_secret is not that one"),
        "{without}"
    );
    let (status, lines, _) = Gateway::run_to_end(Setup::new().store(&redis.url()));
    assert!(!status.success());
    assert!(
        lines
            .iter()
            .any(|line| line.contains("accounts.key_secret is not set")),
        "{lines:?}"
    );
    let noted = redis.cli(&["GETDEL", "keys:secret"]).text();
    let stranger = Gateway::start(Setup::new().store(&redis.url()));
    assert!(people.seen(&stranger).values().all(Option::is_none));
    stop(stranger);
    redis.cli(&["SET", "keys:secret", &noted]);
    let mistaken = Setup::new()
        .store(&redis.url())
        .env("RESULLM__ACCOUNTS__KEY_NAMES", "hashed")
        .env("KEY_SECRET", OTHER_SECRET);
    let (status, lines, _) = Gateway::run_to_end(mistaken);
    assert!(!status.success());
    assert!(
        lines
            .iter()
            .any(|line| line.contains("accounts.key_secret is not the one")),
        "{lines:?}"
    );

    let gateway = Gateway::start(hashed(Setup::new().store(&redis.url())));
    assert_eq!(people.seen(&gateway), seen);
    assert_eq!(people.usage(&gateway, [1, 2]), used);
    assert_eq!(kept(&gateway), administered);
    people.go_on(&gateway);
    // What comes later is hashed too.
    let late = mint(&gateway, "abc");
    let later = People::arrive(&gateway);
    assert!(!dump(&redis).contains(&late) && !dump(&redis).contains(&later.keys["paid"]));
    let (seen, used) = (people.seen(&gateway), people.usage(&gateway, [2, 6]));
    stop(gateway);

    let user = [HASHED[0], HASHED[1], BY_USER];
    let told = copy(&redis.url(), &to, &user);
    assert_eq!(told["contents"]["keysOfUsers"], json!(2 + 2 + 7), "{told}");
    let setup = Setup::new().store(&to).env(BY_USER.0, BY_USER.1);
    let gateway = Gateway::start(hashed(setup));
    assert_eq!(people.seen(&gateway), seen);
    // An account that gets another name begins a usage of its own; a person's has a label.
    assert_eq!(people.usage(&gateway, [0, 6])[1], used[1]);
}

#[test]
fn layouts_turn_into_each_other_and_every_key_goes_on() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (one, two, three) = (Redis::start(), Redis::start(), Redis::start());
    let gateway = Gateway::start(
        Setup::new()
            .store(&one.url())
            .tenant("abc", config(&provider)),
    );
    let people = People::arrive(&gateway);
    let seen = people.seen(&gateway);
    stop(gateway);

    copy(&one.url(), &two.url(), &[BY_USER]);
    copy(&two.url(), &three.url(), &[]);

    let record = |redis: &Redis, key: &str| {
        let text = redis.cli(&["GET", &format!("apiKey:{key}")]).text();
        serde_json::from_str::<Value>(&text)
    };
    let paid = people.keys["paid"].as_str();
    assert_eq!(two.cli(&["GET", &format!("apiKey:{paid}")]).text(), "anna");
    assert_eq!(record(&three, paid).unwrap()["tokensLeft"], 4993);
    let before = record(&one, people.keys["anonymous"].as_str()).unwrap();
    let after = record(&three, people.keys["anonymous"].as_str()).unwrap();
    assert_eq!(after["createdAt"], before["createdAt"]);
    for redis in [&two, &three] {
        let gateway = Gateway::start(Setup::new().store(&redis.url()));
        let left = |seen: BTreeMap<&'static str, Option<Value>>| -> Vec<Option<Value>> {
            let me = seen.into_values();
            me.map(|me| me.map(|me| me["tokensLeft"].clone())).collect()
        };
        assert_eq!(left(people.seen(&gateway)), left(seen.clone()));
        people.go_on(&gateway);
        stop(gateway);
    }
}

#[test]
fn a_copy_that_cannot_be_right_says_why_and_changes_nothing() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (redis, cluster) = (Redis::start(), Cluster::start());
    let home = TempDir::new();
    let store = format!("embedded:{}", home.path().join("store").display());
    let gateway = Gateway::start(Setup::new().store(&store).tenant("abc", config(&provider)));
    let key = mint(&gateway, "abc");

    let busy = try_copy(&store, &redis.url(), &[]).unwrap_err();
    assert!(busy.contains("in use by another process"), "{busy}");
    assert!(names(&redis).is_empty());
    stop(gateway);

    let same = try_copy(&store, &store, &HASHED).unwrap_err();
    assert!(same.contains("another directory"), "{same}");
    let clear = try_copy(&redis.url(), &redis.url(), &[]).unwrap_err();
    assert!(clear.contains("key_names: hashed"), "{clear}");
    let none = try_copy("redis:nowhere", &store, &[]).unwrap_err();
    assert!(
        none.starts_with("[ERROR] FROM: expected embedded:DIR"),
        "{none}"
    );
    let unset = try_copy(&store, "file:/not/there", &[]).unwrap_err();
    assert!(unset.contains("TO: its file cannot be read"), "{unset}");
    let secret = try_copy(&store, &redis.url(), &[HASHED[1]]).unwrap_err();
    assert!(
        secret.contains("accounts.key_names: hashed names need accounts.key_secret"),
        "{secret}"
    );
    let slots = try_copy(&cluster.url(), &cluster.url(), &HASHED).unwrap_err();
    assert!(
        slots.contains("in a Cluster a name cannot change in one step"),
        "{slots}"
    );

    copy(&store, &redis.url(), &[]);
    let (again, names_before) = (
        try_copy(&store, &redis.url(), &[]).unwrap_err(),
        names(&redis),
    );
    assert!(again.contains("a copy goes into an empty store"), "{again}");
    assert_eq!(names(&redis), names_before);

    // A record that no gateway could have written is not carried on.
    redis.cli(&["SET", "apiKey:broken", r#"{"tokensLeft":-1}"#]);
    let broken = try_copy(&redis.url(), &cluster.url(), &[]).unwrap_err();
    assert!(
        broken.contains("FROM is damaged; nothing was copied"),
        "{broken}"
    );
    redis.cli(&["DEL", "apiKey:broken"]);
    // Another program's list, and names that are no text.
    redis.cli(&["RPUSH", "apiKey:queue:1", "x"]);
    copy(&redis.url(), &cluster.url(), &[]);
    // A copy that was broken off leaves this.
    cluster
        .node_of("keys:copying")
        .cli(&["SET", "keys:copying", "under way"]);
    let (status, lines, _) = Gateway::run_to_end(Setup::new().store(&cluster.url()));
    assert!(!status.success());
    assert!(
        lines
            .iter()
            .any(|line| line.contains("or that was broken off")),
        "{lines:?}"
    );
    cluster
        .node_of("keys:copying")
        .cli(&["DEL", "keys:copying"]);
    let gateway = Gateway::start(Setup::new().store(&cluster.url()));
    assert_eq!(me(&gateway, &key)["tokensLeft"], 100);
}

/// Calls of keys of both layouts and of people, on three gateways, while the names turn.
#[test]
fn names_are_hashed_in_place_under_load_and_no_call_fails() {
    for layout in ["key", "user"] {
        let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
        let redis = Redis::start();
        let setup = || {
            hashed(Setup::new())
                .store(&redis.url())
                .env("RESULLM__ACCOUNTS__LAYOUT", layout)
                .tenant(
                    "abc",
                    config(&provider)
                        .tokens(1_000_000)
                        .set("user_groups.google_logged_in", json!({"tokens": 1_000_000})),
                )
        };
        // All keys are made with clear names.
        let before = Gateway::start(setup().env("RESULLM__ACCOUNTS__KEY_NAMES", "clear"));
        let session = |at: usize| {
            let body = json!({"userId": format!("u{at}"), "tokens": 500_000});
            key_in(&post(
                &before,
                "/abc/auth/sessions",
                before.admin_token(),
                &body,
            ))
        };
        let mut keys: Vec<String> = (0..4).map(session).collect();
        keys.extend((0..8).map(|_| mint(&before, "abc")));
        let gateways = [before, Gateway::start(setup()), Gateway::start(setup())];
        assert_eq!(words(&redis.cli(&["KEYS", "apiKey:~*"])).len(), 0);

        let (over, calls) = (AtomicBool::new(false), AtomicU64::new(0));
        let served: Vec<AtomicU64> = keys.iter().map(|_| AtomicU64::new(0)).collect();
        let told = std::thread::scope(|scope| {
            for worker in 0..12 {
                let (keys, gateways, over, calls, served) =
                    (&keys, &gateways, &over, &calls, &served);
                scope.spawn(move || {
                    let mut turn = worker;
                    while !over.load(Ordering::SeqCst) && turn < 60_000 {
                        let at = turn % keys.len();
                        let gateway = &gateways[turn / keys.len() % 3];
                        let answer = chat(gateway, "abc", &keys[at], &small_call());
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        served[at].fetch_add(7, Ordering::SeqCst);
                        calls.fetch_add(1, Ordering::SeqCst);
                        turn += 5;
                    }
                });
            }
            let wait_for = |many: u64| {
                let enough = calls.load(Ordering::SeqCst) + many;
                eventually(Duration::from_secs(60), "calls go on", || {
                    (calls.load(Ordering::SeqCst) >= enough).then_some(())
                });
            };
            wait_for(300);
            let told = copy(&redis.url(), &redis.url(), &HASHED);
            wait_for(300);
            over.store(true, Ordering::SeqCst);
            told
        });
        assert_eq!(
            (&told["hashed"], &told["stillClear"]),
            (&json!(12), &json!(0)),
            "{layout}"
        );
        let dumped = dump(&redis);
        for (at, key) in keys.iter().enumerate() {
            assert!(!dumped.contains(key.as_str()), "{layout}: {dumped}");
            let served = served[at].load(Ordering::SeqCst);
            assert_eq!(
                crate::harness::spent(&gateways[1], key, 1_000_000),
                served,
                "{layout}, key {at}"
            );
        }
        // A key is revoked, and another one rolled, whatever its name was.
        let admin = gateways[2].admin_token();
        let client = gateways[2].client();
        let path = format!("/abc/admin/keys/{}", keys[11]);
        assert_eq!(
            client.request("DELETE", &path).bearer(admin).send().status,
            200
        );
        assert_eq!(
            chat(&gateways[0], "abc", &keys[11], &small_call()).status,
            401
        );
        // What the first gateway still writes in clear is found by all, and hashed the next time.
        let late = mint(&gateways[0], "abc");
        for gateway in &gateways {
            assert_eq!(chat(gateway, "abc", &late, &small_call()).status, 200);
        }
        let told = copy(&redis.url(), &redis.url(), &HASHED);
        assert_eq!(
            (&told["hashed"], &told["stillClear"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(chat(&gateways[0], "abc", &late, &small_call()).status, 200);
    }
}

/// What a killed gateway has under way is settled in the new store, whatever became of its accounts' names there.
#[test]
fn journals_of_a_killed_gateway_are_settled_after_a_copy() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let by_key = ("RESULLM__ACCOUNTS__LAYOUT", "key");
    for (from, to, env) in [
        ("key", by_key, &HASHED[..]),
        ("key", BY_USER, &HASHED[..]),
        ("key", BY_USER, &[]),
        ("user", by_key, &HASHED[..]),
        ("user", by_key, &[]),
        ("user", BY_USER, &HASHED[..]),
    ] {
        let (home, one, two) = (TempDir::new(), Redis::start(), Redis::start());
        let setup = |redis: &Redis| {
            let config = config(&provider).tokens(1_000_000);
            let setup = Setup::new().dir(home.path()).store(&redis.url());
            setup.tenant("abc", config)
        };
        let gateway = Gateway::start(setup(&one).env("RESULLM__ACCOUNTS__LAYOUT", from));
        let key = mint(&gateway, "abc");
        let calls = 60;
        for _ in 0..calls {
            assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
        }
        gateway.kill9();
        drop(gateway);

        let env: Vec<_> = env.iter().copied().chain([to]).collect();
        copy(&one.url(), &two.url(), &env);

        let mut setup = setup(&two);
        for (name, value) in &env {
            setup = setup.env(name, value);
        }
        let gateway = Gateway::start(setup);
        let case = format!("{from} to {env:?}");
        eventually(Duration::from_secs(20), &case, || {
            (me(&gateway, &key)["tokensLeft"] == 1_000_000 - 7 * calls).then_some(())
        });
    }
}

/// A key that a gateway wrote in clear while names were hashed: the account that takes its balance over went on to look
/// for it under the hashed name, and took it for gone.
#[test]
fn a_balance_on_its_way_from_a_key_that_is_still_clear_arrives() {
    let gate = Gate::new();
    let held = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat("Hi", 1, 1).first(Step::WaitUntilReleased(held.clone()))
    });
    let redis = Redis::start();
    let setup = hashed(Setup::new()).env("RESULLM__ACCOUNTS__KEY_NAMES", "clear");
    let setup = setup.store(&redis.url()).tenant("abc", config(&provider));
    let gateway = Gateway::start(setup);
    let temp = mint(&gateway, "abc");
    let secret: [u8; 32] =
        std::array::from_fn(|at| u8::from_str_radix(&SECRET[2 * at..2 * at + 2], 16).unwrap());
    let taken = KeyNames::new(Some(&secret), true).of(&KeyName::parse(&temp).unwrap());
    std::thread::scope(|scope| {
        let call = scope.spawn(|| chat(&gateway, "abc", &temp, &small_call()).status);
        provider.wait_requests(1);
        let body = json!({"userId": "u", "carryOver": temp});
        let opened = post(&gateway, "/abc/auth/sessions", gateway.admin_token(), &body);
        assert!(opened["carriedOver"].as_u64().unwrap() < 100, "{opened}");
        // The name is taken, so that the key's cannot turn.
        redis.cli(&["SET", taken.as_str(), "something"]);
        assert_eq!(copy(&redis.url(), &redis.url(), &HASHED)["stillClear"], 1);
        redis.cli(&["DEL", taken.as_str()]);

        gate.open();
        assert_eq!(call.join().unwrap(), 200);
        let key = key_in(&opened);
        eventually(
            Duration::from_secs(20),
            "what the call did not use has come",
            || (me(&gateway, &key)["tokensLeft"] == 1_098).then_some(()),
        );
    });
}

/// A gateway in the first step of a change has the secret and names keys in clear: it notes the secret, so that no copy
/// with another one can put its keys out.
#[test]
fn names_are_hashed_with_the_secret_of_the_gateways_alone() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let redis = Redis::start();
    let setup = hashed(Setup::new()).env("RESULLM__ACCOUNTS__KEY_NAMES", "clear");
    let gateway = Gateway::start(setup.store(&redis.url()).tenant("abc", config(&provider)));
    let key = mint(&gateway, "abc");
    let wrong = [("KEY_SECRET", OTHER_SECRET), HASHED[1]];
    let refused = try_copy(&redis.url(), &redis.url(), &wrong).unwrap_err();
    assert!(
        refused.contains("accounts.key_secret is not the one"),
        "{refused}"
    );
    assert_eq!(me(&gateway, &key)["tokensLeft"], 100);
}

/// A key whose user was gone came to life again where another key's record named that user.
#[test]
fn a_key_that_leads_nowhere_leads_to_no_one_else_after_a_copy() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (one, two) = (Redis::start(), Redis::start());
    let gateway = Gateway::start(
        Setup::new()
            .store(&one.url())
            .tenant("abc", config(&provider)),
    );
    let people = People::arrive(&gateway);
    stop(gateway);
    one.cli(&["SET", "apiKey:user_old", "anna"]);
    copy(&one.url(), &two.url(), &[BY_USER]);
    let gateway = Gateway::start(Setup::new().store(&two.url()));
    assert_eq!(chat(&gateway, "abc", "user_old", &small_call()).status, 401);
    assert_eq!(me(&gateway, &people.keys["paid"])["tokensLeft"], 4993);
}

/// Usage records came with the age of the new settings counted from the end of the old one, and without an end.
#[test]
fn usage_records_keep_their_time_in_a_copy() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let (home, redis) = (TempDir::new(), Redis::start());
    let from = format!("embedded:{}", home.path().join("store").display());
    let gateway = Gateway::start(Setup::new().store(&from).tenant("abc", config(&provider)));
    let people = People::arrive(&gateway);
    people.usage(&gateway, [1, 2]);
    stop(gateway);
    copy(&from, &redis.url(), &[("RESULLM__RETENTION__USAGE", "1h")]);
    let life = redis.cli(&["PTTL", "usage:abc"]).int();
    assert!((1..=3_600_000).contains(&life), "{life}");
    let newest = redis.cli(&["XREVRANGE", "usage:abc", "+", "-", "COUNT", "1"]);
    let id = words(&newest)[0].clone();
    let record = &words(&newest)[2];
    let record: Value = serde_json::from_str(record).unwrap();
    let at: u64 = id.split('-').next().unwrap().parse().unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(u128::from(at) <= now.as_millis(), "{id} of {record}");
}
