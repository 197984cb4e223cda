//! What a sign-in opens: one account for each person, with linked identities, the balance of an earlier key, and an
//! end.

use super::flow::{Begun, VERIFIER, app_code, redeem, start_query};
use super::{KINDS, setup, sign_in, signing_in, signing_in_to, tenant};
use crate::harness::issuer::{CLIENT_ID, Issuer, TestKey};
use crate::harness::{
    Gate, Gateway, Provider, Redis, Response, Script, Step, chat, eventually, mint, sample,
    small_call,
};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

fn key_of(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["apiKey"].as_str().unwrap().to_owned()
}

fn ask(gateway: &Gateway, method: &str, path: &str, key: &str) -> Response {
    gateway.client().request(method, path).bearer(key).send()
}

fn left(gateway: &Gateway, key: &str) -> Value {
    ask(gateway, "GET", "/abc/auth/me", key).json()["tokensLeft"].take()
}

/// Signs in with a key, as an app does that has one already.
fn sign_in_with(gateway: &Gateway, kind: &str, token: &str, key: &str) -> Response {
    let request = gateway
        .client()
        .request("POST", &format!("/abc/auth/{kind}"));
    request.bearer(key).json(&json!({"idToken": token})).send()
}

#[test]
fn fifty_sign_ins_at_once_over_three_instances_open_one_account() {
    let (redis, issuer) = (Redis::start(), Issuer::start());
    let setup = setup(&issuer)
        .store(&redis.url())
        .tenant("abc", signing_in(&issuer));
    let gateways: Vec<Gateway> = (0..3).map(|_| Gateway::start(setup.clone())).collect();
    let token = issuer.token("somebody");

    let answers: Vec<Response> = std::thread::scope(|scope| {
        let one = |at: usize| {
            let (gateway, token) = (&gateways[at % 3], &token);
            scope.spawn(move || sign_in(gateway, "google", token))
        };
        let all: Vec<_> = (0..50).map(one).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });

    let created = answers
        .iter()
        .filter(|answer| answer.json()["created"] == true)
        .count();
    let people: HashSet<String> = answers
        .iter()
        .map(|answer| answer.json()["userId"].to_string())
        .collect();
    let keys: HashSet<String> = answers.iter().map(key_of).collect();
    assert_eq!((created, people.len(), keys.len()), (1, 1, 50));
    let live: Vec<&String> = keys
        .iter()
        .filter(|key| ask(&gateways[0], "GET", "/abc/auth/me", key).status == 200)
        .collect();
    assert_eq!(live.len(), 20, "the oldest keys of sign-ins have ended");
    for key in live {
        assert_eq!(left(&gateways[1], key), 1000);
    }
}

#[test]
fn one_subject_of_three_issuers_is_three_people_until_they_are_linked() {
    let redis = Redis::start();
    for store in [None, Some(redis.url())] {
        let issuer = Issuer::start();
        let mut setup = setup(&issuer).tenant("abc", signing_in(&issuer));
        if let Some(url) = &store {
            setup = setup.store(url);
        }
        let gateway = Gateway::start(setup);
        let subject = uuid::Uuid::new_v4().to_string();
        let google = sign_in(&gateway, "google", &issuer.token(&subject));
        let key = key_of(&google);
        let other = sign_in(&gateway, "oidc/own", &issuer.token(&subject));
        assert_ne!(google.json()["userId"], other.json()["userId"]);

        let linked = sign_in_with(&gateway, "apple", &issuer.token(&subject), &key);

        assert_eq!(
            linked.json()["userId"],
            google.json()["userId"],
            "{}",
            linked.text()
        );
        assert_eq!(
            (&linked.json()["created"], &linked.json()["carriedOver"]),
            (&json!(false), &json!(0))
        );
        let later = sign_in(&gateway, "apple", &issuer.token(&subject));
        assert_eq!(later.json()["userId"], google.json()["userId"]);
        let refused = sign_in_with(&gateway, "oidc/own", &issuer.token(&subject), &key);
        assert_eq!(refused.status, 409, "{}", refused.text());
        let theirs = sign_in_with(&gateway, "apple", &issuer.token(&subject), &key_of(&other));
        assert_eq!(theirs.status, 409, "{}", theirs.text());
        let unknown = sign_in_with(&gateway, "google", &issuer.token(&subject), "user_unknown");
        assert_eq!(unknown.status, 401);
        let exported = ask(&gateway, "GET", "/abc/auth/export", &key).json();
        assert_eq!(
            exported["identities"].as_array().unwrap().len(),
            1,
            "{exported}"
        );
        assert_eq!(exported["keys"].as_array().unwrap().len(), 3);
        assert!(
            !exported.to_string().contains(&subject),
            "what identities are derived from is not kept"
        );
    }
}

#[test]
fn balance_of_the_key_that_was_used_before_comes_along_once() {
    let issuer = Issuer::start();
    let gateway = Gateway::start(setup(&issuer).tenant("abc", signing_in(&issuer).tokens(100)));
    for (at, kind) in KINDS.into_iter().enumerate() {
        let subject = format!("s{at}");
        let (temp, later) = (mint(&gateway, "abc"), mint(&gateway, "abc"));

        let first = sign_in_with(&gateway, kind, &issuer.token(&subject), &temp);
        let second = sign_in_with(&gateway, kind, &issuer.token(&subject), &later);

        assert_eq!(
            (&first.json()["carriedOver"], &first.json()["tokensLeft"]),
            (&json!(100), &json!(1100)),
            "{kind}"
        );
        assert_eq!(
            (&second.json()["carriedOver"], &second.json()["tokensLeft"]),
            (&json!(0), &json!(1100)),
            "{kind}"
        );
        assert_eq!(ask(&gateway, "GET", "/abc/auth/me", &temp).status, 401);
        assert_eq!(left(&gateway, &later), 100);
    }
}

#[test]
fn carry_over_is_what_the_tenant_says() {
    for (rule, carried) in [
        (json!("none"), 0),
        (json!(30), 30),
        (json!(5000), 100),
        (json!("all"), 100),
    ] {
        let issuer = Issuer::start();
        let config = signing_in(&issuer)
            .tokens(100)
            .set("auth.carry_over", rule.clone());
        let gateway = Gateway::start(setup(&issuer).tenant("abc", config));
        let temp = mint(&gateway, "abc");
        let answer = sign_in_with(&gateway, "google", &issuer.token("s"), &temp);
        assert_eq!(answer.json()["carriedOver"], carried, "{rule}");
        let lives = ask(&gateway, "GET", "/abc/auth/me", &temp).status == 200;
        assert_eq!(lives, carried == 0, "{rule}");
    }
}

/// Deleting an account and signing in again is no way to more tokens, neither with the same ID token nor with another.
#[test]
fn deleted_account_is_gone_and_begins_with_no_more_than_it_had() {
    let redis = Redis::start();
    for store in [None, Some(redis.url())] {
        let issuer = Issuer::start();
        let mut setup = setup(&issuer).tenant("abc", signing_in(&issuer).tokens(100));
        if let Some(url) = &store {
            setup = setup.store(url);
        }
        let gateway = Gateway::start(setup);
        let subject = uuid::Uuid::new_v4().to_string();
        let token = issuer.token(&subject);
        let first = sign_in(&gateway, "google", &token);
        let key = key_of(&first);
        let made = gateway
            .client()
            .request("POST", "/abc/auth/keys")
            .bearer(&key)
            .json(&json!({}))
            .send();
        let made = made.json()["apiKey"].as_str().unwrap().to_owned();
        let user = first.json()["userId"].as_str().unwrap().to_owned();
        let path = format!("/abc/admin/users/{user}/export");
        assert_eq!(
            ask(&gateway, "GET", &path, gateway.admin_token()).json()["tokensLeft"],
            1000
        );

        assert_eq!(ask(&gateway, "DELETE", "/abc/auth/me", &made).status, 200);

        for key in [&key, &made] {
            assert_eq!(ask(&gateway, "GET", "/abc/auth/me", key).status, 401);
        }
        assert_eq!(
            ask(&gateway, "GET", &path, gateway.admin_token()).status,
            404
        );
        assert_eq!(
            sign_in(&gateway, "google", &token).status,
            401,
            "that token has created an account"
        );
        let temp = mint(&gateway, "abc");
        let mut claims = issuer.claims(&subject);
        claims["jti"] = json!("another");
        let again = sign_in_with(&gateway, "google", &TestKey::RsaOne.token(&claims), &temp);
        assert_eq!(
            (&again.json()["created"], &again.json()["carriedOver"]),
            (&json!(true), &json!(0)),
            "{}",
            again.text()
        );
        assert_eq!(again.json()["tokensLeft"], 1000, "nothing had been spent");
    }
}

#[test]
fn admin_deletes_a_user_by_the_apps_own_id() {
    let issuer = Issuer::start();
    let gateway = Gateway::start(setup(&issuer).tenant("abc", signing_in(&issuer)));
    let body = json!({"userId": "auth0|5f 7c"});
    let opened = gateway
        .client()
        .request("POST", "/abc/auth/sessions")
        .bearer(gateway.admin_token())
        .json(&body)
        .send();
    let key = key_of(&opened);
    let path = "/abc/admin/users/auth0%7C5f%207c";
    assert_eq!(ask(&gateway, "DELETE", path, &key).status, 401);
    assert_eq!(
        ask(&gateway, "DELETE", "/abc/auth/me", &key).status,
        403,
        "a session's key deletes nothing"
    );

    assert_eq!(
        ask(&gateway, "DELETE", path, gateway.admin_token()).status,
        200
    );

    assert_eq!(ask(&gateway, "GET", "/abc/auth/me", &key).status, 401);
    assert_eq!(
        ask(&gateway, "DELETE", path, gateway.admin_token()).status,
        404
    );
}

#[test]
fn apple_is_told_that_a_person_has_left() {
    let issuer = Issuer::start();
    issuer.set_secret(None);
    let client = json!({
        "client_id": CLIENT_ID, "team_id": "TEAM", "key_id": "KEY", "private_key": TestKey::P256Two.pem(),
        "redirect_uris": [super::APP],
    });
    let setup = setup(&issuer)
        .env("RESULLM__SERVER__PUBLIC_URL", "https://gateway.example")
        .env("SECRETS_KEY", &"5a".repeat(32))
        .tenant("abc", tenant().set("auth.apple_oauth", client));
    let gateway = Gateway::start(setup);
    let path = format!("/abc/auth/apple/start?{}", start_query(&[]));
    let begun = Begun::of(&gateway.client().get(&path), &issuer);
    let page = begun.at_issuer(&issuer);
    let back = gateway.client().request("POST", "/abc/auth/apple/callback");
    let back = back.header("cookie", &begun.cookie);
    let back = back.header("content-type", "application/x-www-form-urlencoded");
    let ended = back.body(page.body).send();
    let key = key_of(&redeem(&gateway, "abc", &app_code(&ended), VERIFIER));

    assert_eq!(ask(&gateway, "DELETE", "/abc/auth/me", &key).status, 200);

    assert_eq!(issuer.revoked(), ["r"], "{:?}", gateway.logs());
}

#[test]
fn an_account_has_at_most_twenty_further_identities() {
    let issuer = Issuer::start();
    let gateway = Gateway::start(setup(&issuer).tenant("abc", signing_in(&issuer)));
    // Each sign-in gives a key, and ends the oldest of more than twenty.
    let mut key = key_of(&sign_in(&gateway, "google", &issuer.token("first")));
    let mut link = |at: usize| {
        let token = issuer.token(&format!("further-{at}"));
        let linked = sign_in_with(&gateway, "oidc/own", &token, &key);
        if linked.status == 200 {
            key = key_of(&linked);
        }
        linked.status
    };
    for at in 0..20 {
        assert_eq!(link(at), 200, "{at}");
    }
    assert_eq!(link(20), 409);
    assert_eq!(link(3), 200, "one that is linked already");
}

/// What remains of a deleted account outlives a link of its identity to another one.
#[test]
fn linking_does_not_wash_a_deleted_account() {
    let redis = Redis::start();
    for store in [None, Some(redis.url())] {
        let issuer = Issuer::start();
        let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
        let mut setup = setup(&issuer).tenant("abc", signing_in_to(sample(&provider), &issuer));
        if let Some(url) = &store {
            setup = setup.store(url);
        }
        let gateway = Gateway::start(setup);
        let (one, two) = (
            uuid::Uuid::new_v4().to_string(),
            uuid::Uuid::new_v4().to_string(),
        );
        let mut tokens = 0;
        let mut token = |subject: &str| {
            tokens += 1;
            let mut claims = issuer.claims(subject);
            claims["jti"] = json!(tokens);
            TestKey::RsaOne.token(&claims)
        };
        let first = key_of(&sign_in(&gateway, "google", &token(&one)));
        assert_eq!(chat(&gateway, "abc", &first, &small_call()).status, 200);
        let used = |key: &str| {
            ask(&gateway, "GET", "/abc/auth/usage", key).json()["total"]["requests"].as_u64()
        };
        eventually(Duration::from_secs(10), "the call is recorded", || {
            (used(&first) == Some(1)).then_some(())
        });
        assert_eq!(ask(&gateway, "DELETE", "/abc/auth/me", &first).status, 200);
        let other = key_of(&sign_in(&gateway, "google", &token(&two)));
        let linked = sign_in_with(&gateway, "google", &token(&one), &other);
        assert_eq!(linked.status, 200, "{}", linked.text());
        assert_eq!(ask(&gateway, "DELETE", "/abc/auth/me", &other).status, 200);

        let again = sign_in(&gateway, "google", &token(&one));

        assert_eq!(again.json()["tokensLeft"], 993, "{}", again.text());
        assert_eq!(
            used(&key_of(&again)),
            Some(0),
            "the records have lost the name"
        );
    }
}

/// Deleting an account during a call gives nothing back of what the call holds.
#[test]
fn deletion_during_a_call_counts_what_it_holds_as_spent() {
    let redis = Redis::start();
    for store in [None, Some(redis.url())] {
        let issuer = Issuer::start();
        let gate = Gate::new();
        let held = gate.clone();
        let provider = Provider::start(move |_| {
            Script::chat("Hi", 3, 900).first(Step::WaitUntilReleased(held.clone()))
        });
        let mut setup = setup(&issuer).tenant("abc", signing_in_to(sample(&provider), &issuer));
        if let Some(url) = &store {
            setup = setup.store(url);
        }
        let gateway = Gateway::start(setup);
        let subject = uuid::Uuid::new_v4().to_string();
        let key = key_of(&sign_in(&gateway, "google", &issuer.token(&subject)));
        let call = json!({"max_tokens": 900, "messages": [{"role": "user", "content": "Hi"}]});

        std::thread::scope(|scope| {
            let under_way = scope.spawn(|| chat(&gateway, "abc", &key, &call).status);
            provider.wait_requests(1);
            assert_eq!(ask(&gateway, "DELETE", "/abc/auth/me", &key).status, 200);
            gate.open();
            under_way.join().unwrap();
        });

        let mut claims = issuer.claims(&subject);
        claims["jti"] = json!("another");
        let again = sign_in(&gateway, "google", &TestKey::RsaOne.token(&claims));
        let left = again.json()["tokensLeft"].as_u64().unwrap();
        assert!(left <= 100, "{}", again.text());
    }
}

/// A link that outlived its account locks nobody out.
#[test]
fn identity_that_leads_nowhere_founds_an_account_of_its_own() {
    let (redis, issuer) = (Redis::start(), Issuer::start());
    let setup = setup(&issuer)
        .store(&redis.url())
        .tenant("abc", signing_in(&issuer));
    let gateway = Gateway::start(setup);
    let identity = resullm::rules::person::PersonId::derive("abc", "google", &issuer.name(), "s");
    let nowhere = resullm::rules::person::PersonId::derive("abc", "google", &issuer.name(), "gone");
    redis.cli(&["SET", &format!("user:{identity}"), &nowhere.to_string()]);

    let answer = sign_in(&gateway, "google", &issuer.token("s"));

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["userId"], identity.to_string());
}
