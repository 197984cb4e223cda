//! Events for the app: what it is told, how it can trust it, and what happens when it does not answer.

use super::shop::{FREE, Shop, basic, small, spend};
use crate::harness::provider::Received;
use crate::harness::{Gateway, Provider, Redis, Response, Script, eventually, sample_at};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

fn app() -> Provider {
    Provider::start(|_| Script::json(200, &json!({})))
}

/// A tenant that sells and tells.
fn telling(shop: &Shop, app: &Provider) -> crate::harness::Sample {
    let events = json!({"url": app.url("/events"), "secrets": [SECRET]});
    shop.tenant().set("events", events)
}

fn events(app: &Provider) -> Vec<Value> {
    app.requests().iter().map(Received::json).collect()
}

/// Waits until the app has heard of so many events of a type, and returns them.
fn heard(app: &Provider, kind: &str, count: usize) -> Vec<Value> {
    eventually(Duration::from_secs(15), kind, || {
        let all = events(app);
        let of: Vec<Value> = all
            .into_iter()
            .filter(|event| event["type"] == kind)
            .collect();
        (of.len() >= count).then_some(of)
    })
}

/// Whether one of the signatures was made with a secret over what was received.
fn is_signed(received: &Received, secret: &str) -> bool {
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let header = |name: &str| received.header(name).unwrap().to_owned();
    let text = format!(
        "{}.{}.{}",
        header("webhook-id"),
        header("webhook-timestamp"),
        received.text()
    );
    let own = format!("v1,{}", STANDARD.encode(hmac::sign(&key, text.as_bytes())));
    header("webhook-signature")
        .split(' ')
        .any(|signature| signature == own)
}

#[test]
fn an_app_is_told_of_people_payments_and_plans() {
    let (shop, app) = (Shop::open(), app());
    let gateway = Gateway::start(shop.setup().tenant("abc", telling(&shop, &app)));
    let key = shop.sign_in(&gateway, "ann");
    let account = crate::harness::me(&gateway, &key)["userId"].clone();
    let created = heard(&app, "user.created", 1).remove(0);
    assert_eq!(created["tenant"], "abc");
    let data = &created["data"];
    assert_eq!(
        (&data["account"], &data["tokensLeft"]),
        (&account, &json!(FREE))
    );
    assert_eq!(data["group"], "google_logged_in");

    shop.buy(&gateway, &key, &small());
    shop.buy(&gateway, &key, &basic());
    shop.tell(&gateway);
    shop.tell(&gateway);
    let received = heard(&app, "payment.received", 2);
    let of = |kind: &str| {
        received
            .iter()
            .find(|event| event["data"]["payment"] == kind)
            .unwrap()
    };
    assert_eq!(of("topUp")["data"]["tokens"], 3_000);
    assert_eq!(of("invoice")["data"]["tokens"], 5_000);
    assert_eq!(of("invoice")["data"]["account"], account);
    let changed = heard(&app, "plan.changed", 1).remove(0);
    let data = &changed["data"];
    assert_eq!(
        (&data["group"], &data["groupBefore"]),
        (&json!("stripe_basic"), &json!("google_logged_in"))
    );

    for request in app.requests() {
        assert!(is_signed(&request, SECRET), "{}", request.text());
        assert_eq!(request.header("content-type"), Some("application/json"));
    }
    // What is told twice has the same ID.
    let mut ids: Vec<(Value, String)> = app
        .requests()
        .iter()
        .map(|request| {
            (
                request.json()["data"]["object"].clone(),
                request.header("webhook-id").unwrap().to_owned(),
            )
        })
        .filter(|(object, _)| !object.is_null())
        .collect();
    ids.sort_by(|one, other| one.1.cmp(&other.1));
    ids.dedup();
    assert_eq!(ids.len(), 2, "{ids:?}");
}

#[test]
fn a_low_balance_is_told_at_each_threshold_once_also_of_a_busy_key() {
    let redis = Redis::start();
    for store in [None, Some(redis.url())] {
        let (shop, app) = (Shop::open(), app());
        let mut setup = shop.setup().tenant("abc", telling(&shop, &app));
        if let Some(store) = store {
            setup = setup.store(&store);
        }
        let gateway = Gateway::start(setup);
        let key = shop.sign_in(&gateway, "ann");
        for _ in 0..11 {
            spend(&gateway, &key, 50);
        }
        let low = heard(&app, "balance.low", 1);
        assert_eq!(low[0]["data"]["percent"], 50);
        for _ in 0..6 {
            spend(&gateway, &key, 50);
        }
        let low = heard(&app, "balance.low", 2);
        let percents: Vec<&Value> = low.iter().map(|event| &event["data"]["percent"]).collect();
        assert_eq!(percents, [50, 80], "{low:?}");
        assert_eq!(low[1]["data"]["group"], "google_logged_in");
        assert!(
            low[1]["data"]["account"]
                .as_str()
                .unwrap()
                .starts_with("p_")
        );
        assert!(low[1]["data"]["tokensLeft"].as_u64().unwrap() <= 200);
    }
}

#[test]
fn a_spent_key_is_told_once_a_day() {
    let (shop, app) = (Shop::open(), app());
    let gateway = Gateway::start(shop.setup().tenant("abc", telling(&shop, &app)));
    let session = gateway
        .client()
        .request("POST", "/abc/auth/sessions")
        .bearer(gateway.admin_token());
    let session = session
        .json(&json!({"userId": "u1", "tokens": 30}))
        .send()
        .json();
    let key = session["apiKey"].as_str().unwrap();
    let call = |most: u64| -> Response {
        let call = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": most});
        crate::harness::chat(&gateway, "abc", key, &call)
    };
    assert_eq!(call(16).status, 200);
    for _ in 0..3 {
        let refused = call(16);
        assert_eq!(
            (refused.status, refused.json()["error"]["code"].clone()),
            (402, json!("key_limit"))
        );
    }
    let spent = heard(&app, "key.spent", 1);
    assert_eq!(spent.len(), 1);
    assert_eq!(spent[0]["data"]["account"], session["account"]);
    assert!(spent[0]["data"]["keyId"].as_str().unwrap().len() == 12);
    assert_eq!(heard(&app, "user.created", 1)[0]["data"]["userId"], "u1");
}

#[test]
fn an_event_is_tried_again_with_the_same_id_and_both_secrets() {
    let shop = Shop::open();
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let app = Provider::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Script::json(500, &json!({})),
        _ => Script::json(204, &json!({})),
    });
    let events = json!({"url": app.url("/events"), "secrets": [SECRET, NEXT_SECRET], "types": ["user.created"]});
    let gateway = Gateway::start(
        shop.setup()
            .tenant("abc", shop.tenant().set("events", events)),
    );
    let key = shop.sign_in(&gateway, "ann");
    shop.buy(&gateway, &key, &small());
    shop.tell(&gateway);

    let requests = app.wait_requests(2);
    assert_eq!(requests.len(), 2, "only the wanted type is sent");
    assert_eq!(
        requests[0].header("webhook-id"),
        requests[1].header("webhook-id")
    );
    assert_eq!(requests[0].text(), requests[1].text());
    for request in &requests {
        assert!(is_signed(request, SECRET) && is_signed(request, NEXT_SECRET));
    }
}

#[test]
fn an_app_that_is_gone_or_elsewhere_is_given_up() {
    let shop = Shop::open();
    let app = Provider::start(|_| Script::json(410, &json!({})));
    let gateway = Gateway::start(shop.setup().tenant("abc", telling(&shop, &app)));
    shop.sign_in(&gateway, "ann");
    gateway.wait_log("the app answered 410");
    assert_eq!(app.requests().len(), 1);

    // An address inside is not asked where the operator does not allow it.
    let events = json!({"url": app.url("/events"), "secrets": [SECRET]});
    let config = sample_at("https://p.example/v1/chat/completions").set("events", events);
    let setup = crate::harness::Setup::new()
        .allow_private(false)
        .tenant("abc", config);
    let gateway = Gateway::start(setup);
    let session = gateway
        .client()
        .request("POST", "/abc/auth/sessions")
        .bearer(gateway.admin_token());
    let session = session
        .json(&json!({"userId": "u1", "group": "anonymous"}))
        .send();
    assert_eq!(session.status, 200, "{}", session.text());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(app.requests().len(), 1);
}

#[test]
fn secrets_of_events_must_be_long_and_of_their_form() {
    let shop = Shop::open();
    let gateway = shop.gateway();
    for (secrets, words) in [
        (json!([]), "must name 1 to 4 secrets"),
        (
            json!(["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]),
            "expected whsec_",
        ),
        (json!(["whsec_c2hvcnQ="]), "24 to 64 bytes"),
    ] {
        let config = shop.tenant().set(
            "events",
            json!({"url": "https://a.example/", "secrets": secrets}),
        );
        let put = gateway
            .client()
            .request("PUT", "/abc/admin/config")
            .bearer(gateway.admin_token());
        let put = put.json(&json!({"config": Value::from(config)})).send();
        assert_eq!(put.status, 400);
        assert!(put.text().contains(words), "{}", put.text());
    }
}
