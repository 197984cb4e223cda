//! The stand-in for Stripe over real sockets: what the payment tests rely on.
//!
//! Sums and shapes have their tests beside the code; here are the server, delivery, and each act once.

use crate::harness::http::Response;
use crate::harness::{Client, eventually, within};
use async_trait::async_trait;
use resullm::demo::stripe::{
    ApiShape, Deliver, GiveUp, Interval, Proration, Receipt, ReceivedCall, SignedEvent, StandIn,
    StripeAccount, StripeError, UnixClock, system_clock,
};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const KEY: &str = "sk_test_stand_in";
const SECRET: &str = "whsec_stand_in";
const NOW: u64 = 1_780_272_000;
const PATIENCE: Duration = Duration::from_secs(20);
const PLUS: &str = "price_plus_1000_month";
const PRO: &str = "price_pro_3000_month";

/// A webhook that refuses its first event.
#[derive(Default)]
struct Webhook {
    received: Mutex<Vec<SignedEvent>>,
    refused: AtomicU64,
}

#[async_trait]
impl Deliver for Webhook {
    async fn deliver(&self, event: SignedEvent) -> bool {
        if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            return false;
        }
        self.received.lock().unwrap().push(event);
        true
    }
}

struct World {
    stand_in: Arc<StandIn>,
    account: Arc<StripeAccount>,
    webhook: Arc<Webhook>,
    client: Client,
    now: Arc<AtomicU64>,
    /// Last, because the others' tasks run in it.
    _runtime: Runtime,
}

fn world() -> World {
    let runtime = Runtime::new().unwrap();
    let now = Arc::new(AtomicU64::new(NOW));
    let read = Arc::clone(&now);
    let clock: UnixClock = Arc::new(move || read.load(Ordering::Relaxed));
    let webhook = Arc::new(Webhook::default());
    let destination = Arc::clone(&webhook) as Arc<dyn Deliver>;
    let stand_in = runtime
        .block_on(StandIn::start(clock, destination))
        .unwrap();
    let account = stand_in.account(KEY).unwrap();
    account.set_webhook_secrets(&[SECRET]);
    World {
        client: Client::new(stand_in.address()),
        stand_in,
        account,
        webhook,
        now,
        _runtime: runtime,
    }
}

impl World {
    fn post(&self, path: &str, form: &str) -> Response {
        let request = self.client.request("POST", path).bearer(KEY);
        request.body(form.as_bytes()).send()
    }

    fn get(&self, path: &str) -> Value {
        self.client.request("GET", path).bearer(KEY).send().json()
    }

    /// The new session.
    fn session(&self, mode: &str, price: &str, more: &str) -> Value {
        let form = format!(
            "mode={mode}&line_items[0][price]={price}&line_items[0][quantity]=1&\
             success_url=https://app.example/{{CHECKOUT_SESSION_ID}}&{more}"
        );
        self.post("/v1/checkout/sessions", &form).json()
    }

    fn subscription(&self, more: &str) -> String {
        let session = self.session("subscription", PLUS, more);
        let receipt = self.account.pay(session["id"].as_str().unwrap());
        receipt.unwrap().subscription.unwrap()
    }

    fn payment(&self) -> String {
        let session = self.session("payment", "price_pack_1000", "");
        let receipt: Receipt = self.account.pay(session["id"].as_str().unwrap()).unwrap();
        receipt.payment_intent.unwrap()
    }

    fn status(&self, subscription: &str) -> String {
        let found = self.get(&format!("/v1/subscriptions/{subscription}"));
        found["status"].as_str().unwrap().to_owned()
    }
}

fn status_of<T>(refused: Result<T, StripeError>) -> Option<u16> {
    refused.err().map(|error| error.status)
}

#[test]
fn a_clicked_payment_reaches_the_webhook_signed_and_again_where_it_was_refused() {
    let world = world();
    let session = world.session("payment", "price_pack_500", "metadata[tenant]=t");
    let id = session["id"].as_str().unwrap();
    let origin = format!("http://{}", world.stand_in.address());
    let page = session["url"]
        .as_str()
        .unwrap()
        .strip_prefix(&origin)
        .unwrap();

    let shown = world.client.get(page);
    let paid = world.client.request("POST", page).send();

    assert_eq!(shown.status, 200);
    assert!(
        shown
            .header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    assert_eq!(
        (paid.status, paid.header("location")),
        (303, Some(&*format!("https://app.example/{id}")))
    );
    let received = eventually(PATIENCE, "all events, the refused one too", || {
        let received = world.webhook.received.lock().unwrap();
        (received.len() == 3).then(|| received.clone())
    });
    let kinds = received.iter().map(|event| event.kind.as_str());
    let kinds: Vec<&str> = kinds.collect();
    assert_eq!(
        kinds,
        [
            "payment_intent.succeeded",
            "charge.succeeded",
            "checkout.session.completed"
        ]
    );
    for event in &received {
        assert_eq!(event.key, KEY);
        assert_eq!(event.signature, world.account.sign(&event.body, NOW));
    }
    world.now.fetch_add(60, Ordering::Relaxed);
    let again = world.account.events();
    assert!(
        again[0]
            .signature
            .starts_with(&format!("t={},v1=", NOW + 60))
    );
    assert_eq!(again[0].id, received[2].id);
}

#[test]
fn held_events_are_recorded_only() {
    let world = world();
    world.account.hold_events(true);

    world.payment();

    assert_eq!(world.account.events().len(), 3);
    let delivered = || (!world.webhook.received.lock().unwrap().is_empty()).then_some(());
    assert_eq!(within(Duration::from_millis(700), delivered), None);
    let forged = world.account.forge("invoice.paid", json!({ "id": "in_1" }));
    assert_eq!(forged.kind, "invoice.paid");
}

#[test]
fn calls_need_a_known_key_and_fail_on_demand() {
    let world = world();
    let call = |key: &str| {
        world
            .client
            .request("GET", "/v1/invoices")
            .bearer(key)
            .send()
    };
    assert_eq!(world.client.get("/v1/invoices").status, 401);
    assert_eq!(
        call("sk_test_other").json()["error"]["type"],
        "invalid_request_error"
    );
    assert_eq!(call("sk_test_other").status, 401);
    assert_eq!(
        call(KEY).json(),
        json!({ "object": "list", "data": [], "has_more": false, "url": "/v1/invoices" })
    );

    world.account.fail_next(1, 500);
    assert_eq!((call(KEY).status, call(KEY).status), (500, 200));

    world
        .account
        .pause_before_answer(Duration::from_millis(200));
    let begun = Instant::now();
    call(KEY);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    let calls: Vec<ReceivedCall> = world.account.calls();
    let statuses: Vec<u16> = calls.iter().map(|call| call.status).collect();
    assert_eq!(statuses, [200, 500, 200, 200]);
    assert_eq!(
        world
            .post("/v1/checkout/sessions", &"x".repeat(70_000))
            .status,
        413
    );
}

#[test]
fn subscriptions_live_as_the_test_says() {
    let world = world();
    let account = &world.account;
    account.hold_events(true);
    account.set_shape(ApiShape::Before);
    account.add_price("price_gold", 9_900, "usd", Interval::Year);

    let trial = world.subscription("subscription_data[trial_period_days]=3");
    assert_eq!(world.status(&trial), "trialing");
    account.trial_ends(&trial).unwrap();
    account.renew(&trial).unwrap();
    account.renew_unpaid(&trial).unwrap();
    account.retry_payment(&trial).unwrap();
    account.pause(&trial).unwrap();
    account.resume(&trial).unwrap();
    account
        .change_plan(&trial, "price_gold", Proration::AlwaysInvoice)
        .unwrap();
    account
        .change_plan(&trial, PRO, Proration::CreateProrations)
        .unwrap();
    account.discount(&trial, 20).unwrap();
    account.set_itemized_prorations(true);
    account.set_minimum_charge(50);
    account.set_card_declines(true);
    account.renew(&trial).unwrap();
    account.set_card_declines(false);
    account.cancel(&trial, true).unwrap();
    assert_eq!(world.status(&trial), "canceled");
    assert_eq!(status_of(account.renew(&trial)), Some(400));

    let ending = world.subscription("");
    account.cancel_at_period_end(&ending).unwrap();
    account.reach_period_end(&ending).unwrap();
    assert_eq!(world.status(&ending), "canceled");

    let unpaid = world.subscription("");
    account.renew_unpaid(&unpaid).unwrap();
    account.give_up(&unpaid, GiveUp::Unpaid).unwrap();
    assert_eq!(world.status(&unpaid), "unpaid");
}

#[test]
fn payments_come_late_and_go_back() {
    let world = world();
    let account = &world.account;
    account.hold_events(true);

    for arrives in [true, false] {
        let session = world.session("payment", "price_pack_700", "");
        let id = session["id"].as_str().unwrap();
        account.pay_later(id).unwrap();
        let settled = if arrives {
            account.pay_later_succeeds(id)
        } else {
            account.pay_later_fails(id)
        };
        settled.unwrap();
    }
    let session = world.session("payment", "price_pack_700", "");
    let id = session["id"].as_str().unwrap();
    account.expire(id).unwrap();
    assert_eq!(status_of(account.pay(id)), Some(400));

    let payment = world.payment();
    let refund = account.refund(&payment, 300).unwrap();
    account.fail_refund(&refund).unwrap();
    account.dispute_inquiry(&payment).unwrap();
    let dispute = account.dispute(&payment).unwrap();
    account.win_dispute(&dispute).unwrap();
    let dispute = account.dispute_part(&payment, 100).unwrap();
    account.lose_dispute(&dispute).unwrap();
    let shown = world.get(&format!("/v1/disputes/{dispute}"));
    assert_eq!(shown["balance_transactions"][0]["amount"], -100);

    let dashboard = account.dashboard_url();
    let path = dashboard
        .split_once("//")
        .unwrap()
        .1
        .split_once('/')
        .unwrap()
        .1;
    assert!(world.client.get(&format!("/{path}")).status == 200);
}

#[test]
fn the_clock_of_the_machine_is_for_those_who_try() {
    let runtime = Runtime::new().unwrap();
    let clock = system_clock();
    let before = clock();

    let stand_in = runtime.block_on(StandIn::start(clock, Arc::new(Webhook::default())));
    let account = stand_in.unwrap().account("rk_live_1").unwrap();
    account.set_webhook_secrets(&[SECRET, "whsec_next"]);
    let event: Value = serde_json::from_slice(&account.forge("x", json!({})).body).unwrap();

    assert!(event["created"].as_u64().unwrap() >= before);
    assert_eq!(event["livemode"], true);
    assert_eq!(account.sign(b"{}", 5).matches(",v1=").count(), 2);
}
