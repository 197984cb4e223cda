//! An admin finds keys and people, understands one, and moves, suspends and rolls: on both stores.

use crate::harness::http::Response;
use crate::harness::issuer::Issuer;
use crate::harness::{
    Gateway, Provider, Redis, Script, Setup, balance, chat, chat_streaming, eventually, mint,
    resullm, sample, sample_at,
};
use crate::sign_in;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

fn on_both(test: impl Fn(Setup, Option<&Redis>)) {
    test(Setup::new(), None);
    let redis = Redis::start();
    test(Setup::new().store(&redis.url()), Some(&redis));
}

fn config(provider: &Provider) -> Value {
    sample(provider)
        .tokens(1000)
        .set("user_groups.members", json!({"tokens": 5000}))
        .into()
}

fn provider() -> Provider {
    Provider::start(|_| Script::chat("Hello", 3, 4))
}

fn ask(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Response {
    let request = gateway.client().request(method, path);
    let request = request.bearer(gateway.admin_token());
    match body {
        Value::Null => request.send(),
        body => request.json(body).send(),
    }
}

#[track_caller]
fn done(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Value {
    let answer = ask(gateway, method, path, body);
    assert!(answer.status < 300, "{method} {path}: {}", answer.text());
    answer.json()
}

fn get(gateway: &Gateway, path: &str) -> Value {
    done(gateway, "GET", path, &Value::Null)
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

/// Opens an account of the app's user, and returns its key.
fn session(gateway: &Gateway, user: &str) -> String {
    let call = json!({"userId": user, "group": "members"});
    text(&done(gateway, "POST", "/abc/auth/sessions", &call)["apiKey"])
}

fn call() -> Value {
    json!({"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})
}

/// All entries of a list, page after page.
fn all(gateway: &Gateway, path: &str, list: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    for _ in 0..100 {
        let page = get(gateway, &format!("{path}{cursor}"));
        all.extend(page[list].as_array().unwrap().iter().cloned());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
    panic!("{path} has no end");
}

#[test]
fn keys_are_listed_page_after_page_and_found_by_their_ids() {
    on_both(|setup, _| {
        let provider = provider();
        let gateway = Gateway::start(
            setup
                .tenant("abc", config(&provider))
                .tenant("other", json!({})),
        );
        let mut ids = Vec::new();
        for number in 0..23 {
            let user = (number % 2 == 0).then(|| format!("u{}", number % 4));
            let group = if number % 3 == 0 {
                "members"
            } else {
                "anonymous"
            };
            let call = json!({"group": group, "userId": user, "tokens": number});
            let minted = done(&gateway, "POST", "/abc/admin/keys", &call);
            assert_eq!(minted["id"], minted["account"]);
            ids.push((text(&minted["id"]), text(&minted["apiKey"])));
        }
        let person = session(&gateway, "auth0|ann");

        let listed = all(&gateway, "/abc/admin/keys?limit=5", "keys");

        assert_eq!(listed.len(), 24);
        let found: BTreeSet<String> = listed.iter().map(|key| text(&key["id"])).collect();
        assert_eq!(found.len(), 24, "each once");
        assert!(ids.iter().all(|(id, _)| found.contains(id)));
        let times: Vec<&str> = listed
            .iter()
            .map(|key| key["createdAt"].as_str().unwrap())
            .collect();
        assert!(
            times.windows(2).all(|two| two[0] >= two[1]),
            "newest first: {times:?}"
        );
        let page = get(&gateway, "/abc/admin/keys?limit=5");
        assert_eq!(page["total"], 24);
        let whole = json!(listed).to_string();
        for (_, key) in &ids {
            assert!(!whole.contains(key.as_str()), "a list says no key");
        }
        let of_group = all(&gateway, "/abc/admin/keys?limit=3&group=members", "keys");
        assert_eq!(of_group.len(), 8 + 1);
        let of_user = all(&gateway, "/abc/admin/keys?limit=3&userId=u2", "keys");
        assert_eq!(of_user.len(), 6);
        assert!(of_user.iter().all(|key| key["userId"] == "u2"));
        let of_ann = all(&gateway, "/abc/admin/keys?userId=auth0%7Cann", "keys");
        assert_eq!(of_ann.len(), 1);
        assert!(all(&gateway, "/other/admin/keys?limit=9", "keys").is_empty());
        for query in [
            "limit=0",
            "limit=201",
            "cursor=x",
            "cursor=1-zz",
            "order=asc",
            "suspended=2",
        ] {
            let refused = ask(
                &gateway,
                "GET",
                &format!("/abc/admin/keys?{query}"),
                &Value::Null,
            );
            assert_eq!(refused.status, 400, "{query}");
        }
        // A cursor that is made up leads to another place of the same list.
        let made_up = get(
            &gateway,
            "/abc/admin/keys?cursor=9999999999999-ffffffffffff",
        );
        assert_eq!(made_up["keys"].as_array().unwrap().len(), 24);

        // Each route of a key takes its ID.
        let (id, key) = &ids[7];
        let path = format!("/abc/admin/keys/{id}");
        let shown = get(&gateway, &path);
        assert_eq!(
            (&shown["id"], &shown["tokensLeft"]),
            (&json!(id), &json!(7))
        );
        assert_eq!(shown, get(&gateway, &format!("/abc/admin/keys/{key}")));
        let credited = done(
            &gateway,
            "POST",
            &format!("{path}/credit"),
            &json!({"tokens": 5}),
        );
        assert_eq!(
            (&credited["tokensLeft"], &credited["account"]),
            (&json!(12), &json!(id))
        );
        assert_eq!(
            get(&gateway, &format!("{path}/ledger"))["postings"][0]["amount"],
            5
        );
        assert_eq!(
            ask(
                &gateway,
                "GET",
                &format!("/other/admin/keys/{id}"),
                &Value::Null
            )
            .status,
            404
        );
        assert_eq!(
            ask(
                &gateway,
                "GET",
                "/abc/admin/keys/0123456789ab",
                &Value::Null
            )
            .status,
            404
        );
        let of_ann = text(&of_ann[0]["id"]);
        let anns = get(&gateway, &format!("/abc/admin/keys/{of_ann}"));
        assert_eq!(anns["userId"], "auth0|ann");
        done(&gateway, "DELETE", &path, &Value::Null);
        assert_eq!(ask(&gateway, "GET", &path, &Value::Null).status, 404);
        done(
            &gateway,
            "DELETE",
            &format!("/abc/admin/keys/{of_ann}"),
            &Value::Null,
        );
        assert_eq!(chat(&gateway, "abc", &person, &call()).status, 401);
        assert_eq!(get(&gateway, "/abc/admin/keys")["total"], 22);
    });
}

#[test]
fn a_person_is_listed_shown_credited_and_suspended_by_each_of_their_names() {
    on_both(|setup, _| {
        let provider = provider();
        let gateway = Gateway::start(setup.tenant("abc", config(&provider)));
        let users = ["ann", "auth0|bob", "cid@c.example"];
        let keys = users.map(|user| session(&gateway, user));
        let again = session(&gateway, "ann");
        assert_eq!(chat(&gateway, "abc", &keys[0], &call()).status, 200);

        let listed = all(&gateway, "/abc/admin/users?limit=2", "users");
        assert_eq!(listed.len(), 3);
        let ann = listed.iter().find(|user| user["userId"] == "ann").unwrap();
        let names = [text(&ann["account"]), text(&ann["id"]), "ann".to_owned()];
        let mut shown = Vec::new();
        for name in &names {
            let details = eventually(Duration::from_secs(5), "the request is listed", || {
                let details = get(&gateway, &format!("/abc/admin/users/{name}"));
                (details["requests"].as_array()?.len() == 1).then_some(details)
            });
            assert_eq!(details["keys"].as_array().unwrap().len(), 2);
            assert_eq!(details["tokensLeft"], 5000 - 7);
            assert_eq!(details["requests"][0]["account"], ann["id"]);
            shown.push(details);
        }
        assert_eq!((&shown[0], &shown[1]), (&shown[1], &shown[2]));
        let whole = json!(shown).to_string();
        assert!(!whole.contains(keys[0].as_str()) && !whole.contains(again.as_str()));
        // What usage records call the account is a name that a route takes.
        let usage = get(&gateway, "/abc/admin/usage");
        assert_eq!(usage["events"][0]["account"], ann["id"]);

        let bob = "/abc/admin/users/auth0%7Cbob";
        let credit = json!({"tokens": 10, "id": "ticket-1", "comment": "was cut off"});
        assert_eq!(
            done(&gateway, "POST", &format!("{bob}/credit"), &credit)["tokensLeft"],
            5010
        );
        assert_eq!(
            done(&gateway, "POST", &format!("{bob}/credit"), &credit)["repeated"],
            true
        );
        let debit = json!({"tokens": 4, "id": "ticket-2"});
        assert_eq!(
            done(&gateway, "POST", &format!("{bob}/debit"), &debit)["tokensLeft"],
            5006
        );
        let ledger = get(&gateway, &format!("{bob}/ledger"));
        assert_eq!(ledger["postings"][0]["reason"], "debited");

        for key in [&keys[0], &again] {
            assert_eq!(chat(&gateway, "abc", key, &call()).status, 200);
        }
        let path = format!("/abc/admin/users/{}/suspend", names[1]);
        done(&gateway, "POST", &path, &json!({"suspended": true}));
        for key in [&keys[0], &again] {
            let refused = chat(&gateway, "abc", key, &call());
            assert_eq!(refused.status, 403, "{}", refused.text());
            assert_eq!(refused.json()["error"]["code"], "account_blocked");
        }
        assert_eq!(
            chat(&gateway, "abc", &keys[1], &call()).status,
            200,
            "others go on"
        );
        let suspended = all(&gateway, "/abc/admin/users?suspended=true", "users");
        assert_eq!(suspended.len(), 1);
        let held = text(
            &done(
                &gateway,
                "POST",
                "/abc/auth/sessions",
                &json!({"userId": "ann"}),
            )["apiKey"],
        );
        assert_eq!(
            chat(&gateway, "abc", &held, &call()).status,
            403,
            "a new key does not help"
        );
        done(&gateway, "POST", &path, &json!({"suspended": false}));
        for key in [&keys[0], &again, &held] {
            assert_eq!(chat(&gateway, "abc", key, &call()).status, 200);
        }

        done(&gateway, "DELETE", "/abc/admin/users/ann", &Value::Null);
        assert_eq!(
            ask(&gateway, "GET", "/abc/admin/users/ann", &Value::Null).status,
            404
        );
        let left = get(&gateway, "/abc/admin/users");
        assert_eq!(
            (&left["total"], left["users"].as_array().unwrap().len()),
            (&json!(2), 2)
        );
        for wrong in [
            "nobody",
            "p_0000000000000000000000000000000000000000000000000000",
        ] {
            let path = format!("/abc/admin/users/{wrong}");
            assert_eq!(
                ask(&gateway, "GET", &path, &Value::Null).status,
                404,
                "{wrong}"
            );
        }
    });
}

#[test]
fn a_trial_becomes_a_member_in_one_step() {
    on_both(|setup, redis| {
        let provider = provider();
        let gateway = Gateway::start(setup.tenant("abc", config(&provider)));
        let key = mint(&gateway, "abc");
        assert_eq!(chat(&gateway, "abc", &key, &call()).status, 200);
        let path = format!("/abc/admin/keys/{key}");
        assert!(get(&gateway, &path)["expiresAt"].is_string());

        let change = json!({
            "group": "members", "userId": "u-1", "expiresInSeconds": null, "tokens": 4000, "id": "upgrade-1",
        });
        let moved = done(&gateway, "PATCH", &path, &change);

        assert_eq!(
            (&moved["tokensLeft"], &moved["repeated"]),
            (&json!(4993), &json!(false))
        );
        let again = done(&gateway, "PATCH", &path, &change);
        assert_eq!(
            (&again["tokensLeft"], &again["repeated"]),
            (&json!(4993), &json!(true))
        );
        let shown = get(&gateway, &path);
        assert_eq!(
            (&shown["group"], &shown["userId"]),
            (&json!("members"), &json!("u-1"))
        );
        assert!(shown["expiresAt"].is_null());
        let ledger = get(&gateway, &format!("{path}/ledger"));
        assert_eq!(
            (
                &ledger["postings"][0]["reason"],
                &ledger["postings"][0]["amount"]
            ),
            (&json!("credited"), &json!(4000))
        );
        assert_eq!(chat(&gateway, "abc", &key, &call()).status, 200);
        if let Some(redis) = redis {
            let record: Value =
                serde_json::from_str(&redis.cli(&["GET", &format!("apiKey:{key}")]).text())
                    .unwrap();
            assert_eq!(
                (&record["userId"], &record["group"]),
                (&json!("u-1"), &json!("members"))
            );
            for name in [
                format!("apiKey:{key}"),
                format!("{{apiKey:{key}}}:books"),
                format!("{{apiKey:{key}}}:postings"),
            ] {
                assert_eq!(redis.cli(&["TTL", &name]).int(), -1, "{name}");
            }
        }
        let change = json!({"userId": null, "expiresInSeconds": 3600});
        done(&gateway, "PATCH", &path, &change);
        let shown = get(&gateway, &path);
        assert!(shown["userId"].is_null() && shown["expiresAt"].is_string());

        // What is refused changes nothing.
        for (refused, status) in [
            (json!({}), 400),
            (json!({"group": "nobody", "tokens": 5}), 400),
            (
                json!({"group": "anonymous", "tokens": 9_007_199_254_740_991u64}),
                400,
            ),
            (json!({"expiresInSeconds": 0}), 400),
            (json!({"userId": "a b"}), 400),
            (json!({"id": "x"}), 400),
            (json!({"color": "red"}), 400),
        ] {
            assert_eq!(
                ask(&gateway, "PATCH", &path, &refused).status,
                status,
                "{refused}"
            );
        }
        assert_eq!(get(&gateway, &path)["group"], "members");
        let person = session(&gateway, "ann");
        let path = format!("/abc/admin/keys/{person}");
        assert_eq!(
            ask(&gateway, "PATCH", &path, &json!({"userId": "u"})).status,
            400
        );
        let moved = done(
            &gateway,
            "PATCH",
            &path,
            &json!({"group": "anonymous", "tokens": 1}),
        );
        assert_eq!(moved["tokensLeft"], 5001);
    });
}

#[test]
fn suspension_ends_what_is_in_flight_on_every_instance_and_resuming_is_at_once() {
    let redis = Redis::start();
    let provider = Provider::start(|request| match request.text().contains("slow") {
        true => Script::new()
            .head(200, &[("content-type", "text/event-stream")])
            .bytes(format!(
                "data: {}\n\n",
                json!({"choices": [{"index": 0, "delta": {"content": "one "}}]})
            ))
            .stall(),
        false => Script::chat("Hello", 3, 4),
    });
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", config(&provider));
    let (one, two) = (Gateway::start(setup.clone()), Gateway::start(setup));
    let key = mint(&one, "abc");
    for gateway in [&one, &two, &one, &two] {
        assert_eq!(chat(gateway, "abc", &key, &call()).status, 200);
    }
    let slow = json!({"model": "gpt-4o", "stream": true, "max_tokens": 9, "messages": [{"role": "user", "content": "slow"}]});
    let mut stream = chat_streaming(&two, "abc", &key, &slow);
    stream.wait_for("one");

    let path = format!("/abc/admin/keys/{key}/suspend");
    done(&one, "POST", &path, &json!({"suspended": true}));

    let rest = stream.into_response().unwrap().text();
    assert!(rest.contains("suspended"), "{rest}");
    eventually(Duration::from_secs(5), "no instance serves it", || {
        let statuses = [&one, &two].map(|gateway| chat(gateway, "abc", &key, &call()).status);
        (statuses == [403, 403]).then_some(())
    });
    assert_eq!(mint(&one, "abc").len(), key.len());
    done(&two, "POST", &path, &json!({"suspended": false}));
    for gateway in [&one, &two, &one, &two] {
        assert_eq!(chat(gateway, "abc", &key, &call()).status, 200);
    }
    // A suspended trial takes its balance nowhere.
    done(&one, "POST", &path, &json!({"suspended": true}));
    let carry = json!({"userId": "ann", "group": "members", "carryOver": key});
    let opened = done(&one, "POST", "/abc/auth/sessions", &carry);
    assert_eq!(opened["carriedOver"], 0);
}

#[test]
fn a_rolled_key_keeps_its_account_and_the_old_one_opens_nothing() {
    on_both(|setup, _| {
        let provider = provider();
        let gateway = Gateway::start(setup.tenant("abc", config(&provider)));
        let first = mint(&gateway, "abc");
        assert_eq!(chat(&gateway, "abc", &first, &call()).status, 200);
        let account = text(&get(&gateway, &format!("/abc/admin/keys/{first}"))["account"]);

        let mut keys = vec![first.clone()];
        for _ in 0..2 {
            let path = format!("/abc/admin/keys/{}/roll", keys.last().unwrap());
            let rolled = done(&gateway, "POST", &path, &Value::Null);
            assert_eq!(rolled["account"], account.as_str());
            keys.push(text(&rolled["apiKey"]));
        }

        let last = keys.pop().unwrap();
        for old in &keys {
            assert_eq!(chat(&gateway, "abc", old, &call()).status, 401, "{old}");
            let path = format!("/abc/admin/keys/{old}");
            assert_eq!(ask(&gateway, "GET", &path, &Value::Null).status, 404);
        }
        assert_eq!(balance(&gateway, &last), (993, 993));
        assert_eq!(chat(&gateway, "abc", &last, &call()).status, 200);
        let shown = get(&gateway, &format!("/abc/admin/keys/{last}"));
        assert_eq!(
            (&shown["account"], &shown["tokensLeft"]),
            (&json!(account), &json!(986))
        );
        assert!(
            shown["expiresAt"].is_string(),
            "it ends when the first one would have"
        );
        let ledger = get(&gateway, &format!("/abc/admin/keys/{last}/ledger"));
        assert_eq!(ledger["tokensLeft"], 986);
        let listed = all(&gateway, "/abc/admin/keys?limit=9", "keys");
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["id"], shown["id"]);
        // Its own holder cannot be fooled by the first key: it opens nothing even where another program asks.
        done(
            &gateway,
            "DELETE",
            &format!("/abc/admin/keys/{last}"),
            &Value::Null,
        );
        for key in keys.iter().chain([&last]) {
            assert_eq!(chat(&gateway, "abc", key, &call()).status, 401);
        }
        assert!(all(&gateway, "/abc/admin/keys?limit=9", "keys").is_empty());

        let person = session(&gateway, "ann");
        let rolled = done(
            &gateway,
            "POST",
            &format!("/abc/admin/keys/{person}/roll"),
            &Value::Null,
        );
        assert_eq!(chat(&gateway, "abc", &person, &call()).status, 401);
        assert_eq!(
            chat(&gateway, "abc", rolled["apiKey"].as_str().unwrap(), &call()).status,
            200
        );
    });
}

#[test]
fn lists_follow_what_other_programs_do_and_are_made_anew_while_gateways_serve() {
    let redis = Redis::start();
    let provider = provider();
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", config(&provider));
    let gateway = Gateway::start(setup.clone());
    eventually(
        Duration::from_secs(10),
        "the lists of an empty store are made",
        || (!redis.cli(&["GET", "index:whole"]).is_nil()).then_some(()),
    );
    let record = r#"{"userId":"theirs","createdAt":"2026-01-02T03:04:05Z","tokensLeft":50,"tenantId":"abc","group":"members"}"#;
    redis.cli(&["SET", "apiKey:user_theirs", record]);
    assert!(all(&gateway, "/abc/admin/keys?limit=9", "keys").is_empty());

    // A gateway that sees it first enters it.
    assert_eq!(chat(&gateway, "abc", "user_theirs", &call()).status, 200);
    let listed = eventually(Duration::from_secs(5), "it is entered", || {
        let listed = all(&gateway, "/abc/admin/keys?limit=9", "keys");
        (listed.len() == 1).then_some(listed)
    });
    assert_eq!(listed[0]["userId"], "theirs");
    let id = text(&listed[0]["id"]);
    assert_eq!(
        get(&gateway, &format!("/abc/admin/keys/{id}"))["tokensLeft"],
        43
    );
    // One that they spoil hides no other.
    redis.cli(&["SET", "apiKey:user_theirs", "{\"tokensLeft\":\"none\"}"]);
    assert!(all(&gateway, "/abc/admin/keys?limit=9", "keys").is_empty());
    // One that they delete is skipped, and its entry is struck.
    redis.cli(&["DEL", "apiKey:user_theirs"]);
    assert!(all(&gateway, "/abc/admin/keys?limit=9", "keys").is_empty());
    assert_eq!(get(&gateway, "/abc/admin/keys")["total"], 0);

    // The lists are lost, and made anew while keys come and go.
    let kept: Vec<String> = (0..40).map(|_| mint(&gateway, "abc")).collect();
    let people = ["ann", "bob"].map(|user| session(&gateway, user));
    for shard in "0123456789abcdef".chars() {
        redis.cli(&["DEL", &format!("index:abc:{shard}")]);
    }
    assert_eq!(get(&gateway, "/abc/admin/keys")["total"], 0);
    let (during, gone) = std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let (mut during, mut gone) = (Vec::new(), 0);
            for number in 0..40 {
                let key = mint(&gateway, "abc");
                match number % 4 {
                    0 => {
                        done(
                            &gateway,
                            "DELETE",
                            &format!("/abc/admin/keys/{key}"),
                            &Value::Null,
                        );
                        gone += 1;
                    }
                    _ => during.push(key),
                }
            }
            (during, gone)
        });
        for _ in 0..2 {
            let made = resullm(&["store", "index"], &[("RESULLM__STORE", &redis.url())]);
            assert!(made.status.success(), "{made:?}");
        }
        busy.join().unwrap()
    });
    assert_eq!(gone, 10);
    let listed = all(&gateway, "/abc/admin/keys?limit=7", "keys");
    let ids: BTreeSet<String> = listed.iter().map(|key| text(&key["id"])).collect();
    assert_eq!(ids.len(), listed.len(), "nothing stands twice");
    assert_eq!(listed.len(), kept.len() + during.len() + people.len());
    assert_eq!(all(&gateway, "/abc/admin/users?limit=1", "users").len(), 2);
    let totals = get(&gateway, "/admin/tenants?totals=true");
    assert_eq!(totals["totals"][0]["keys"], listed.len());
    assert_eq!(totals["totals"][0]["users"], 2);
    assert_eq!(totals["totals"][0]["usage"]["requests"], 1);
}

#[test]
fn lists_of_a_store_that_an_older_version_filled_are_whole_after_the_start() {
    let redis = Redis::start();
    let provider = provider();
    let record = |number: u32| {
        format!(
            r#"{{"userId":null,"createdAt":"2026-01-02T03:04:{number:02}Z","tokensLeft":5,"tenantId":"abc","group":"members"}}"#
        )
    };
    for number in 0..30 {
        redis.cli(&["SET", &format!("apiKey:user_{number}"), &record(number)]);
    }
    let gateway = Gateway::start(
        Setup::new()
            .store(&redis.url())
            .tenant("abc", config(&provider)),
    );

    eventually(Duration::from_secs(10), "all are entered", || {
        (all(&gateway, "/abc/admin/keys?limit=50", "keys").len() == 30).then_some(())
    });
}

/// A person who could leave would come back to an account that is not suspended.
#[test]
fn a_suspended_person_neither_leaves_nor_makes_keys() {
    let issuer = Issuer::start();
    let config = sign_in::signing_in_to(sample_at("https://provider.example/v1"), &issuer);
    let gateway = Gateway::start(sign_in::setup(&issuer).tenant("abc", config));
    let token = json!({"idToken": issuer.token("somebody")});
    let request = gateway.client().request("POST", "/abc/auth/google");
    let signed_in = request.json(&token).send().json();
    let (key, user) = (text(&signed_in["apiKey"]), text(&signed_in["userId"]));
    let path = format!("/abc/admin/users/{user}/suspend");
    let own = |method: &str, path: &str| {
        let request = gateway.client().request(method, path).bearer(&key);
        request.send().status
    };

    done(&gateway, "POST", &path, &json!({"suspended": true}));

    assert_eq!(own("DELETE", "/abc/auth/me"), 403);
    assert_eq!(own("GET", "/abc/auth/keys"), 403);
    done(&gateway, "POST", &path, &json!({"suspended": false}));
    assert_eq!(own("GET", "/abc/auth/keys"), 200);
    assert_eq!(own("DELETE", "/abc/auth/me"), 200);
}

/// A user's name in `accounts.layout: user` has no list of its keys: those that stayed would open the next account.
#[test]
fn accounts_named_by_users_are_neither_deleted_nor_rolled() {
    let provider = provider();
    let setup = Setup::new().yaml("accounts: { layout: user }");
    let gateway = Gateway::start(setup.tenant("abc", config(&provider)));
    let minted = done(
        &gateway,
        "POST",
        "/abc/admin/keys",
        &json!({"userId": "bob"}),
    );
    let path = format!("/abc/admin/keys/{}", text(&minted["id"]));

    let rolled = ask(&gateway, "POST", &format!("{path}/roll"), &Value::Null);
    let deleted = ask(&gateway, "DELETE", "/abc/admin/users/bob", &Value::Null);

    assert_eq!((rolled.status, deleted.status), (409, 404));
    assert_eq!(get(&gateway, "/abc/admin/users/bob")["account"], "bob");
    let key = text(&minted["apiKey"]);
    assert_eq!(chat(&gateway, "abc", &key, &call()).status, 200);
}
