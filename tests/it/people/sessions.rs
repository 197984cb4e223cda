//! `auth/sessions`: the app's backend takes keys for its users.

use super::{config, key_of, me, post, session};
use crate::harness::{Gateway, Provider, Redis, Script, Setup, chat, small_call};
use resullm::rules::person::PersonId;
use serde_json::json;
use std::collections::HashSet;

fn answering() -> Provider {
    Provider::start(|_| Script::chat("Hi", 3, 4))
}

#[test]
fn same_user_is_same_account_whatever_it_is_called() {
    let (redis, provider) = (Redis::start(), answering());
    for setup in [
        Setup::new(),
        Setup::new().store(&redis.url()),
        Setup::new().yaml("accounts: { layout: user }"),
    ] {
        let gateway = Gateway::start(
            setup
                .tenant("abc", config(&provider))
                .tenant("other", config(&provider)),
        );
        for user in ["auth0|5f7c", "a@b.example", "p_x", "用户", "x:{y}\n"] {
            let first = session(&gateway, &json!({"userId": user}));
            let second = session(&gateway, &json!({"userId": user, "group": "paid"}));
            assert_eq!(first.status, 200, "{}", first.text());
            assert_eq!(
                (&first.json()["tokensLeft"], &first.json()["created"]),
                (&json!(1000), &json!(true))
            );
            assert_eq!(
                (&second.json()["tokensLeft"], &second.json()["created"]),
                (&json!(1000), &json!(false))
            );
            assert_eq!(
                (&second.json()["group"], &second.json()["userId"]),
                (&json!("paid"), &json!(user))
            );
            assert_eq!(first.header("cache-control"), Some("no-store"));

            let one = chat(&gateway, "abc", &key_of(&first), &small_call());
            let two = chat(&gateway, "abc", &key_of(&second), &small_call());
            assert_eq!((one.status, two.status), (200, 200));
            let left = me(&gateway, &key_of(&first)).json();
            assert_eq!(left["tokensLeft"], 1000 - 14, "{left}");
            assert_eq!(
                (&left["userId"], &left["group"]),
                (&json!(user), &json!("paid"))
            );
            let elsewhere = chat(&gateway, "other", &key_of(&first), &small_call());
            assert_eq!(elsewhere.status, 401);
        }
        let other = post(
            &gateway,
            "/other/auth/sessions",
            gateway.admin_token(),
            &json!({"userId": "auth0|5f7c"}),
        );
        assert_eq!(other.json()["created"], true, "tenants share no people");
    }
}

#[test]
fn fifty_sessions_at_once_over_three_instances_make_one_account() {
    let (redis, provider) = (Redis::start(), answering());
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", config(&provider));
    let gateways: Vec<Gateway> = (0..3).map(|_| Gateway::start(setup.clone())).collect();

    let answers: Vec<_> = std::thread::scope(|scope| {
        let open = |at: usize| {
            let gateway = &gateways[at % 3];
            scope.spawn(move || session(gateway, &json!({"userId": "u1"})))
        };
        let all: Vec<_> = (0..50).map(open).collect();
        all.into_iter().map(|open| open.join().unwrap()).collect()
    });

    let created = answers
        .iter()
        .filter(|answer| answer.json()["created"] == true);
    assert_eq!(created.count(), 1);
    let keys: HashSet<String> = answers.iter().map(key_of).collect();
    assert_eq!(keys.len(), 50);
    for key in &keys {
        assert_eq!(me(&gateways[0], key).json()["tokensLeft"], 1000);
    }
}

#[test]
fn session_keys_end_with_their_bounds_and_manage_nothing() {
    let provider = answering();
    let gateway = Gateway::start(Setup::new().tenant("abc", config(&provider)));
    let bounded = session(
        &gateway,
        &json!({"userId": "u", "tokens": 40, "models": ["gpt-4o"], "ttl": "15m"}),
    );
    let key = key_of(&bounded);

    let mut spent = 0;
    let mut last = chat(&gateway, "abc", &key, &small_call());
    while last.status == 200 {
        spent += 7;
        last = chat(&gateway, "abc", &key, &small_call());
    }

    assert_eq!(last.status, 402, "{}", last.text());
    assert_eq!(last.json()["error"]["code"], "key_limit");
    assert!(spent <= 40, "{spent}");
    let shown = me(&gateway, &key).json();
    assert_eq!(
        (&shown["tokensMax"], &shown["tokensSpent"]),
        (&json!(40), &json!(spent))
    );
    assert_eq!(shown["tokensLeft"], 1000 - spent);
    let mut call = small_call();
    call["model"] = json!("gpt-4o-mini");
    let fresh = key_of(&session(
        &gateway,
        &json!({"userId": "u", "models": ["gpt-4o"]}),
    ));
    let refused = chat(&gateway, "abc", &fresh, &call);
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (403, &json!("model_not_allowed"))
    );
    for (method, path) in [
        ("GET", "/abc/auth/keys"),
        ("POST", "/abc/auth/keys"),
        ("DELETE", "/abc/auth/keys/000000000000"),
        ("POST", "/abc/auth/keys/000000000000/roll"),
    ] {
        let answer = gateway.client().request(method, path).bearer(&fresh).send();
        assert_eq!(answer.status, 403, "{method} {path}");
    }
    assert_eq!(
        gateway
            .client()
            .request("GET", "/abc/auth/usage")
            .bearer(&fresh)
            .send()
            .status,
        200
    );
}

#[test]
fn session_needs_its_own_scope_or_an_admin() {
    let provider = answering();
    let gateway = Gateway::start(Setup::new().tenant("abc", config(&provider)));
    let tokens = json!({"tokens": ["an-admin-token-of-abc", {"token": "backend-token-of-abc", "scope": "sessions"}]});
    let client = gateway.client();
    let set = client
        .request("PUT", "/admin/tenants/abc/tokens")
        .bearer(gateway.admin_token())
        .json(&tokens)
        .send();
    assert_eq!(set.status, 200, "{}", set.text());
    let body = json!({"userId": "u"});
    for (token, sessions, config) in [
        ("an-admin-token-of-abc", 200, 200),
        ("backend-token-of-abc", 200, 403),
        ("sessions:backend-token-of-abc", 401, 401),
        ("nobody", 401, 401),
    ] {
        assert_eq!(
            post(&gateway, "/abc/auth/sessions", token, &body).status,
            sessions,
            "{token}"
        );
        let read = client
            .request("GET", "/abc/admin/config")
            .bearer(token)
            .send();
        assert_eq!(read.status, config, "{token}");
        let keys = client
            .request("POST", "/abc/admin/keys")
            .bearer(token)
            .json(&json!({}))
            .send();
        assert_eq!(
            keys.status,
            if config == 200 { 201 } else { config },
            "{token}"
        );
    }
    for wrong in [
        json!({}),
        json!({"userId": ""}),
        json!({"userId": "x".repeat(256)}),
        json!({"userId": PersonId::derive("abc", "app", "", "alice").to_string()}),
        json!({"userId": "u", "ttl": "soon"}),
        json!({"userId": "u", "ttl": "0s"}),
        json!({"userId": "u", "ttl": "99999d"}),
        json!({"userId": "u", "tokens": 9_007_199_254_740_992_u64}),
        json!({"userId": "u", "models": []}),
        json!({"userId": "u", "carryOver": "{}"}),
        json!({"userId": "u", "more": 1}),
    ] {
        let answer = session(&gateway, &wrong);
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }
    assert_eq!(
        session(&gateway, &json!({"userId": "u", "group": "none"})).status,
        403
    );
}

#[test]
fn user_id_of_a_derived_name_cannot_be_minted_by_hand() {
    let provider = answering();
    let setup = Setup::new()
        .yaml("accounts: { layout: user }")
        .tenant("abc", config(&provider));
    let gateway = Gateway::start(setup);
    let key = key_of(&session(&gateway, &json!({"userId": "u"})));
    // What the answer of a key in layout `user` shows is the app's own ID; the derived name is guessed here.
    let derived = resullm::rules::person::PersonId::derive("abc", "app", "", "u").to_string();
    let minted = post(
        &gateway,
        "/abc/admin/keys",
        gateway.admin_token(),
        &json!({"userId": derived}),
    );
    assert_eq!(minted.status, 400, "{}", minted.text());
    assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
}
