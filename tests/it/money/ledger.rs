//! The ledger of an account adds up: what the provider counted, what was charged, what the ledger and the usage log say
//! is one number, also after Redis was lost and after kill -9.

use crate::harness::{
    CHAT_PATH, Client, Gate, Gateway, Provider, Redis, Script, Setup, Step, TempDir, balance, chat,
    chat_streaming, eventually, mint, sample, small_call,
};
use resullm::rules::issued_key::KeyId;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const GRANT: u64 = 1_000_000;
const PROMPT: u64 = 3;
const ANSWER: u64 = 4;
const COST: u64 = PROMPT + ANSWER;

/// Reads an account's whole ledger, page by page.
#[track_caller]
fn ledger(gateway: &Gateway, of: &str) -> Value {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/abc/admin/{of}/ledger?limit=400{cursor}");
        let request = gateway.client().request("GET", &path);
        let page = request.bearer(gateway.admin_token()).send();
        assert_eq!(page.status, 200, "{}", page.text());
        let mut page = page.json();
        all.extend(page["postings"].as_array().unwrap().clone());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                page["postings"] = all.into();
                return page;
            }
        }
    }
}

fn amounts(rows: &Value) -> i64 {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["amount"].as_i64().unwrap()).sum()
}

/// Asserts that the ledger adds up to the balance, and each posting to the one before it.
#[track_caller]
fn assert_adds_up(ledger: &Value) {
    let sum = amounts(&ledger["postings"]) + amounts(&ledger["folded"]);
    assert_eq!(sum, ledger["tokensLeft"].as_i64().unwrap(), "{ledger:#}");
    let postings = ledger["postings"].as_array().unwrap();
    for pair in postings.windows(2) {
        let left = |row: &Value| row["tokensLeft"].as_i64().unwrap();
        let change = left(&pair[0]) - left(&pair[1]);
        assert_eq!(change, pair[0]["amount"].as_i64().unwrap(), "{pair:#?}");
        assert!(pair[0]["number"].as_u64() > pair[1]["number"].as_u64());
    }
}

fn reasons(ledger: &Value) -> Vec<&str> {
    let postings = ledger["postings"].as_array().unwrap().iter();
    postings
        .map(|posting| posting["reason"].as_str().unwrap())
        .collect()
}

/// Sum of the postings with a reason, those that were folded included.
fn of_reason(ledger: &Value, reason: &str) -> i64 {
    let rows = ["postings", "folded"].map(|rows| ledger[rows].as_array().unwrap());
    let rows = rows.into_iter().flatten();
    let rows = rows.filter(|row| row["reason"] == reason);
    rows.map(|row| row["amount"].as_i64().unwrap()).sum()
}

/// Returns the usage of tenant `abc`, once all records are written.
#[track_caller]
fn usage(gateway: &Gateway, requests: u64) -> Value {
    eventually(Duration::from_secs(20), "all usage records", || {
        let request = gateway
            .client()
            .request("GET", "/abc/admin/usage?limit=10000");
        let usage = request.bearer(gateway.admin_token()).send().json();
        (usage["total"]["requests"].as_u64()? >= requests).then_some(usage)
    })
}

fn adjust(gateway: &Gateway, key: &str, how: &str, body: &Value) -> (u16, Value) {
    let path = format!("/abc/admin/keys/{key}/{how}");
    let request = gateway.client().request("POST", &path);
    let answer = request.bearer(gateway.admin_token()).json(body).send();
    (answer.status, answer.json())
}

fn setups(redis: &Redis) -> [Setup; 2] {
    [Setup::new(), Setup::new().store(&redis.url())]
}

#[test]
fn every_change_of_a_balance_is_a_posting_with_its_reason() {
    let redis = Redis::start();
    for setup in setups(&redis) {
        let provider = Provider::start(|_| Script::chat("Hi", PROMPT, ANSWER));
        let rates = json!({"*": {"input": 1, "output": 2.5}});
        let config = sample(&provider)
            .tokens(1_000)
            .set("providers.text.rates", rates);
        let gateway = Gateway::start(setup.tenant("abc", config));
        let key = mint(&gateway, "abc");
        let untouched = ledger(&gateway, &format!("keys/{key}"));
        assert_adds_up(&untouched);
        assert_eq!(reasons(&untouched), ["opened"]);

        let mut call = small_call();
        call["model"] = json!("a \"quoted\" model");
        let answer = chat(&gateway, "abc", &key, &call);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let request = answer.header("x-request-id").unwrap().to_owned();
        let credit = json!({"tokens": 500, "id": "ticket \"17\"", "comment": "was charged twice"});
        for _ in 0..2 {
            assert_eq!(adjust(&gateway, &key, "credit", &credit).0, 200);
        }
        let debit = json!({"tokens": 100});
        let (status, debited) = adjust(&gateway, &key, "debit", &debit);
        assert_eq!((status, debited["tokensLeft"].as_u64()), (200, Some(1_387)));
        let (status, refused) = adjust(&gateway, &key, "debit", &json!({"tokens": 1_388}));
        assert_eq!(status, 409, "{refused}");
        let why = refused["error"].as_str().unwrap();
        assert!(why.contains("1387 tokens are free"), "{why}");

        let read = ledger(&gateway, &format!("keys/{key}"));
        assert_adds_up(&read);
        assert_eq!(reasons(&read), ["debited", "credited", "settled", "opened"]);
        let [debited, credited, settled, _] = &read["postings"].as_array().unwrap()[..] else {
            unreachable!();
        };
        assert_eq!(debited["detail"], json!({"by": "operator"}));
        assert_eq!(credited["id"], "ticket \"17\"");
        let expected = json!({"by": "operator", "comment": "was charged twice"});
        assert_eq!(credited["detail"], expected);
        assert_eq!(settled["amount"], -13);
        let detail = &settled["detail"];
        assert_eq!(detail["requestId"], request);
        assert_eq!(detail["model"], "a \"quoted\" model");
        assert_eq!(detail["rate"], json!({"input": 1, "output": 2.5}));
        assert_eq!(
            (&detail["tokensIn"], &detail["tokensOut"]),
            (&json!(3), &json!(4))
        );
        let usage = usage(&gateway, 1);
        assert_eq!(usage["events"][0]["id"], settled["id"]);
        assert_eq!(usage["events"][0]["cost"], 13);
        assert_eq!(usage["byModel"]["a \"quoted\" model"]["requests"], 1);
    }
}

#[test]
fn a_balance_that_another_program_writes_is_a_posting_of_its_own() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", PROMPT, ANSWER));
    let config = sample(&provider).tokens(1_000);
    let gateway = Gateway::start(Setup::new().store(&redis.url()).tenant("abc", config));
    let key = mint(&gateway, "abc");
    assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);

    let record = redis.cli(&["GET", &format!("apiKey:{key}")]).text();
    let record = record.replace("\"tokensLeft\":993", "\"tokensLeft\":5000");
    redis.cli(&["SET", &format!("apiKey:{key}"), &record, "KEEPTTL"]);
    let of = format!("keys/{key}");
    let seen = ledger(&gateway, &of);
    assert_adds_up(&seen);
    assert_eq!(reasons(&seen), ["outside", "settled", "opened"]);
    assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);

    let posted = ledger(&gateway, &of);
    assert_adds_up(&posted);
    assert_eq!(
        reasons(&posted),
        ["settled", "outside", "settled", "opened"]
    );
    assert_eq!(posted["postings"][1]["amount"], 4_007);
    let postings = format!("{{apiKey:{key}}}:postings");
    let life = |name: &str| redis.cli(&["PTTL", name]).int();
    let lives = [life(&postings), life(&format!("apiKey:{key}"))];
    assert!(
        lives[0] > 0 && lives[0].abs_diff(lives[1]) < 5_000,
        "{lives:?}"
    );
}

/// Calls on connections of their own until they are told to stop; counts the answers with status 200.
struct Load {
    workers: Vec<std::thread::JoinHandle<u64>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(client: Client, key: &str, threads: usize, pause: Duration) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..threads).map(|_| {
            let (client, key, stop) = (client, key.to_owned(), stop.clone());
            std::thread::spawn(move || {
                let mut connection = client.connect();
                let mut answered = 0;
                while !stop.load(Ordering::SeqCst) {
                    std::thread::sleep(pause);
                    let request = connection.request("POST", CHAT_PATH).bearer(&key);
                    match request.json(&small_call()).try_send() {
                        Ok(answer) => answered += u64::from(answer.status == 200),
                        // The gateway was killed.
                        Err(_) => break,
                    }
                }
                answered
            })
        });
        Load {
            workers: workers.collect(),
            stop,
        }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let workers = self.workers.into_iter();
        workers.map(|worker| worker.join().unwrap()).sum()
    }
}

/// A provider that counts what it serves.
fn counting() -> (Provider, Arc<AtomicU64>) {
    let served = Arc::new(AtomicU64::new(0));
    let counter = served.clone();
    let provider = Provider::start(move |_| {
        counter.fetch_add(COST, Ordering::SeqCst);
        Script::chat("Hi", PROMPT, ANSWER)
    });
    (provider, served)
}

#[test]
fn a_busy_keys_ledger_is_folded_and_keeps_its_sum() {
    let redis = Redis::start();
    for setup in setups(&redis) {
        let (provider, served) = counting();
        let config = sample(&provider).tokens(GRANT);
        let gateway = Gateway::start(setup.tenant("abc", config));
        let key = mint(&gateway, "abc");
        let load = Load::start(gateway.client(), &key, 8, Duration::ZERO);
        eventually(Duration::from_secs(60), "2,500 calls", || {
            (served.load(Ordering::SeqCst) > 2_500 * COST).then_some(())
        });
        load.end();
        let (left, free) = eventually(Duration::from_secs(10), "every lease is given back", || {
            let (left, free) = balance(&gateway, &key);
            (left == free).then_some((left, free))
        });
        assert_eq!((GRANT - left, left), (served.load(Ordering::SeqCst), free));

        let read = ledger(&gateway, &format!("keys/{key}"));
        assert_adds_up(&read);
        let whole = read["postings"].as_array().unwrap().len();
        assert!((1_000..=1_200).contains(&whole), "{whole}");
        let folded = read["folded"].as_array().unwrap();
        let opened = folded.iter().find(|sum| sum["reason"] == "opened").unwrap();
        assert_eq!(
            (&opened["count"], &opened["amount"]),
            (&json!(1), &json!(GRANT))
        );
        assert_eq!(
            of_reason(&read, "settled"),
            -i64::try_from(GRANT - left).unwrap()
        );
        let usage = usage(&gateway, served.load(Ordering::SeqCst) / COST);
        assert_eq!(usage["total"]["cost"].as_u64(), Some(GRANT - left));
    }
}

#[test]
fn nothing_is_lost_of_ledger_and_usage_while_redis_is_away() {
    let redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let served = Arc::new(AtomicU64::new(0));
    let gate = Gate::new();
    let (counter, hold) = (served.clone(), gate.clone());
    let provider = Provider::start(move |request| {
        counter.fetch_add(COST, Ordering::SeqCst);
        match request.json()["stream"].as_bool() {
            Some(true) => Script::chat_stream(&["one ", "two "], PROMPT, ANSWER)
                .after(2, Step::WaitUntilReleased(hold.clone())),
            _ => Script::chat("Hi", PROMPT, ANSWER),
        }
    });
    let config = sample(&provider).tokens(GRANT);
    let gateway = Gateway::start(Setup::new().store(&redis.url()).tenant("abc", config));
    let key = mint(&gateway, "abc");
    let mut call = small_call();
    call["stream"] = json!(true);
    let streams: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = chat_streaming(&gateway, "abc", &key, &call);
            stream.wait_for("one ");
            stream
        })
        .collect();
    let load = Load::start(gateway.client(), &key, 4, Duration::from_millis(2));
    eventually(Duration::from_secs(30), "a lease is used", || {
        (served.load(Ordering::SeqCst) > 500 * COST).then_some(())
    });

    redis.kill();
    gate.open();
    for stream in streams {
        assert!(stream.into_response().unwrap().text().contains("[DONE]"));
    }
    // Longer than the two and a half seconds after which records were once given up.
    gateway.wait_log("Usage records cannot be written: ");
    std::thread::sleep(Duration::from_secs(5));
    redis.restart();
    eventually(Duration::from_secs(20), "Redis is back", || {
        let status = chat(&gateway, "abc", &key, &small_call()).status;
        (status == 200).then_some(())
    });
    load.end();

    let (left, _) = eventually(Duration::from_secs(20), "every lease is given back", || {
        let (left, free) = balance(&gateway, &key);
        (left == free).then_some((left, free))
    });
    let served = served.load(Ordering::SeqCst);
    assert_eq!(GRANT - left, served, "charged and served");
    let read = ledger(&gateway, &format!("keys/{key}"));
    assert_adds_up(&read);
    assert_eq!(of_reason(&read, "settled").unsigned_abs(), served);
    let usage = usage(&gateway, served / COST);
    assert_eq!(usage["total"]["cost"], served, "usage and served");
    assert_eq!(gateway.count_logs("none of the outage are lost"), 1);
}

#[test]
fn nothing_is_lost_of_ledger_and_usage_by_kill_9() {
    let redis = Redis::start();
    let dir = TempDir::new();
    let embedded = format!("embedded:{}", dir.path().join("store").display());
    for url in [embedded, redis.url()] {
        let (provider, served) = counting();
        let config = sample(&provider).tokens(GRANT);
        let setup = Setup::new()
            .store(&url)
            .tenant("abc", config)
            .env("RESULLM__ACCOUNTS__HOLD_TTL", "6s");
        let mut key = String::new();
        let mut answered = 0;
        for round in 0..6 {
            let gateway = Gateway::start(setup.clone());
            if key.is_empty() {
                key = mint(&gateway, "abc");
            }
            let load = Load::start(gateway.client(), &key, 4, Duration::ZERO);
            std::thread::sleep(Duration::from_millis(500 + 130 * round));
            gateway.kill9();
            answered += load.end();
        }
        let gateway = Gateway::start(setup);
        // A hold of which a gateway died before it could note it expires.
        let (left, _) = eventually(Duration::from_secs(20), "nothing is held any more", || {
            let (left, free) = balance(&gateway, &key);
            (left == free).then_some((left, free))
        });
        let (charged, served) = (GRANT - left, served.load(Ordering::SeqCst));
        let read = ledger(&gateway, &format!("keys/{key}"));
        assert_adds_up(&read);
        let settled = of_reason(&read, "settled").unsigned_abs();
        assert_eq!(
            settled + of_reason(&read, "expired").unsigned_abs(),
            charged
        );
        assert!(
            settled >= answered * COST && settled <= served,
            "{settled} of {served}"
        );

        let usage = usage(&gateway, answered);
        assert_eq!(usage["total"]["cost"], settled, "{}", usage["total"]);
        let events = usage["events"].as_array().unwrap();
        let ids: HashSet<&str> = events
            .iter()
            .map(|event| event["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), events.len(), "a request has one record");
        assert!(events.iter().any(|event| event["recovered"] == true));
        let id = KeyId::of(&key).to_string();
        assert!(events.iter().all(|event| event["key"] == id), "{events:?}");
    }
}

#[test]
fn an_expired_hold_is_a_posting() {
    let redis = Redis::start();
    let provider = Provider::start(|_| {
        let chunk = json!({"choices": [{"index": 0, "delta": {"content": "0123456789"}}]});
        let head = Script::new().head(200, &[("content-type", "text/event-stream")]);
        head.bytes(format!("data: {chunk}\n\n")).stall()
    });
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", sample(&provider).tokens(1_000))
        .env("RESULLM__ACCOUNTS__HOLD_TTL", "6s");
    let gateway = Gateway::start(setup.clone());
    let key = mint(&gateway, "abc");
    let call = json!({"stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    let mut stream = chat_streaming(&gateway, "abc", &key, &call);
    stream.wait_for("0123456789");
    eventually(Duration::from_secs(10), "a heartbeat", || {
        let books = redis.cli(&["HGETALL", &format!("{{apiKey:{key}}}:books")]);
        let books = books.list();
        let hold = books
            .iter()
            .position(|field| field.text().starts_with("h:"))?;
        let known: u64 = books[hold + 1].text().split(':').nth(1)?.parse().ok()?;
        (known > 2).then_some(())
    });
    gateway.kill9();
    drop(stream);

    // Another machine, without the journal of the dead one.
    let other = Gateway::start(setup.env("RESULLM__ACCOUNTS__JOURNAL", "other-journal"));
    let read = eventually(Duration::from_secs(20), "the hold expires", || {
        let read = ledger(&other, &format!("keys/{key}"));
        (reasons(&read)[0] == "expired").then_some(read)
    });
    assert_adds_up(&read);
    let (left, _) = balance(&other, &key);
    assert!(left < 1_000, "{left}");
    assert_eq!(read["tokensLeft"].as_u64(), Some(left));
}

#[test]
fn the_ledger_of_a_person_is_found_by_user_and_goes_with_the_account() {
    let redis = Redis::start();
    for setup in setups(&redis) {
        let provider = Provider::start(|_| Script::chat("Hi", PROMPT, ANSWER));
        let config = sample(&provider).tokens(1_000);
        let gateway = Gateway::start(setup.tenant("abc", config));
        let session = || {
            let request = gateway.client().request("POST", "/abc/auth/sessions");
            let request = request.bearer(gateway.admin_token());
            let body = json!({"userId": "anna@example.com", "group": "anonymous"});
            let session = request.json(&body).send();
            assert_eq!(session.status, 200, "{}", session.text());
            session.json()["apiKey"].as_str().unwrap().to_owned()
        };
        let key = session();
        assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
        let read = ledger(&gateway, "users/anna%40example.com");
        assert_adds_up(&read);
        assert_eq!(reasons(&read), ["settled", "opened"]);
        assert_eq!(read, ledger(&gateway, &format!("keys/{key}")));

        let path = "/abc/admin/users/anna%40example.com";
        let ask = |method: &str, path: &str| {
            let request = gateway.client().request(method, path);
            request.bearer(gateway.admin_token()).send()
        };
        let export = ask("GET", &format!("{path}/export"));
        assert_eq!(export.json()["ledger"], read, "{}", export.text());
        assert_eq!(ask("DELETE", path).status, 200);
        assert_eq!(ask("GET", &format!("{path}/ledger")).status, 404);

        session();
        let anew = ledger(&gateway, "users/anna%40example.com");
        assert_adds_up(&anew);
        assert_eq!(reasons(&anew), ["opened"]);
        assert_eq!(anew["tokensLeft"], 993);
    }
}
