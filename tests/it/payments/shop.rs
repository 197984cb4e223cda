//! [`Shop`]: a tenant that sells, its people, and a stand-in for Stripe whose clock and events the test controls.

use crate::harness::issuer::{Issuer, TestKey};
use crate::harness::{
    Client, Gateway, Provider, Response, Sample, Script, Setup, chat, me, sample, spent,
};
use crate::sign_in::{setup, signing_in_to};
use async_trait::async_trait;
use resullm::demo::stripe::{ApiShape, Deliver, SignedEvent, StandIn, StripeAccount};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

pub const KEY: &str = "sk_test_shop";
pub const SECRET: &str = "whsec_shop";
pub const BASIC: &str = "price_basic_999_month";
pub const PREMIUM: &str = "price_premium_2999_month";
pub const SMALL: &str = "price_small_500";
/// Page that the tenant allows.
pub const PAGE: &str = "https://app.example/paid?session={CHECKOUT_SESSION_ID}";
/// Tokens that the provider counts for a prompt.
const PROMPT: u64 = 10;
/// Tokens that a person begins with.
pub const FREE: u64 = 1_000;

/// Where events go by themselves: to one gateway's webhook, or nowhere.
#[derive(Default)]
struct Post {
    to: Mutex<Option<(SocketAddr, String)>>,
}

#[async_trait]
impl Deliver for Post {
    async fn deliver(&self, event: SignedEvent) -> bool {
        let to = self.to.lock().unwrap().clone();
        let Some((address, path)) = to else {
            return false;
        };
        let sent = tokio::task::spawn_blocking(move || send(&Client::new(address), &path, &event));
        sent.await.is_ok_and(|answer| answer.status == 200)
    }
}

/// Sends an event to a webhook as Stripe does.
pub fn send(client: &Client, path: &str, event: &SignedEvent) -> Response {
    let request = client.request("POST", path);
    let request = request.header("stripe-signature", &event.signature);
    let request = request.header("content-type", "application/json; charset=utf-8");
    request.body(event.body.to_vec()).send()
}

/// Stripe, and the issuer of the people's sign-in. Gateways are started beside it.
pub struct Shop {
    /// Runs the stand-in.
    _runtime: Runtime,
    pub issuer: Issuer,
    stand_in: Arc<StandIn>,
    pub stripe: Arc<StripeAccount>,
    post: Arc<Post>,
    provider: Provider,
    /// Seconds by which Stripe's clock is ahead.
    ahead: Arc<AtomicU64>,
}

impl Shop {
    /// Opens a shop whose events the test sends itself.
    pub fn open() -> Shop {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let post = Arc::new(Post::default());
        let ahead = Arc::new(AtomicU64::new(0));
        let offset = ahead.clone();
        let system = resullm::demo::stripe::system_clock();
        let clock = Arc::new(move || system() + offset.load(Ordering::SeqCst));
        let stand_in = runtime
            .block_on(StandIn::start(clock, post.clone()))
            .unwrap();
        let stripe = stand_in.account(KEY).unwrap();
        stripe.set_webhook_secrets(&[SECRET]);
        stripe.hold_events(true);
        Shop {
            _runtime: runtime,
            issuer: Issuer::start(),
            stand_in,
            stripe,
            post,
            provider: Provider::start(|call| {
                let most = call.json()["max_tokens"].as_u64().unwrap_or(1);
                Script::chat("spent", PROMPT, most)
            }),
            ahead,
        }
    }

    /// Lets events arrive by themselves at a gateway's webhook.
    pub fn deliver_to(&self, gateway: &Gateway) {
        let to = (gateway.addr(), "/abc/billing/stripe".to_owned());
        *self.post.to.lock().unwrap() = Some(to);
        self.stripe.hold_events(false);
    }

    /// Another Stripe account.
    pub fn account(&self, key: &str) -> Arc<StripeAccount> {
        let account = self.stand_in.account(key).unwrap();
        account.set_webhook_secrets(&[SECRET]);
        account.hold_events(true);
        account
    }

    /// Moves Stripe's clock on. Signatures of its events are made by the machine's clock all the same.
    pub fn wait_days(&self, days: u64) {
        self.ahead.fetch_add(days * 86_400, Ordering::SeqCst);
    }

    /// A tenant that sells two plans and a top-up.
    pub fn tenant(&self) -> Sample {
        selling(signing_in_to(sample(&self.provider), &self.issuer))
    }

    /// Settings of a gateway that takes the stand-in for Stripe.
    pub fn setup(&self) -> Setup {
        let url = format!("http://{}", self.stand_in.address());
        setup(&self.issuer).env("RESULLM__BILLING__STRIPE_URL", &url)
    }

    /// Starts a gateway with the tenant `abc`.
    pub fn gateway(&self) -> Gateway {
        self.gateway_on(None, self.tenant())
    }

    /// Likewise on a store (`None`: the embedded one), with a config of the tenant.
    pub fn gateway_on(&self, store: Option<&str>, config: Sample) -> Gateway {
        let setup = self.setup().tenant("abc", config);
        Gateway::start(match store {
            Some(url) => setup.store(url),
            None => setup,
        })
    }

    /// Signs somebody in, and returns the key.
    pub fn sign_in(&self, gateway: &Gateway, who: &str) -> String {
        // A token creates an account once, and two of one second are the same.
        let mut claims = self.issuer.claims(who);
        claims["jti"] = json!(uuid::Uuid::new_v4().to_string());
        let token = TestKey::RsaOne.token(&claims);
        let request = gateway.client().request("POST", "/abc/auth/google");
        let answer = request.json(&json!({"idToken": token})).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["apiKey"].as_str().unwrap().to_owned()
    }

    /// Begins a payment, and returns the session.
    pub fn check_out(&self, gateway: &Gateway, key: &str, item: &Value) -> String {
        let answer = checkout(gateway, key, item);
        assert_eq!(answer.status, 200, "{}", answer.text());
        session(&answer)
    }

    /// Buys something and returns the session. Its events wait to be sent.
    pub fn buy(&self, gateway: &Gateway, key: &str, item: &Value) -> String {
        let session = self.check_out(gateway, key, item);
        self.stripe.pay(&session).unwrap();
        session
    }

    /// Buys a plan, tells the gateway, and returns the subscription.
    pub fn subscribe(&self, gateway: &Gateway, key: &str, plan: &Value) -> String {
        let session = self.check_out(gateway, key, plan);
        let paid = self.stripe.pay(&session).unwrap();
        self.tell(gateway);
        paid.subscription.unwrap()
    }

    /// Sends all events of Stripe's so far, in order, signed now.
    pub fn tell(&self, gateway: &Gateway) {
        for event in self.events() {
            let answer = send(&gateway.client(), "/abc/billing/stripe", &event);
            assert_eq!(answer.status, 200, "{}: {}", event.kind, answer.text());
        }
    }

    /// All events of Stripe's so far, signed by the machine's clock.
    pub fn events(&self) -> Vec<SignedEvent> {
        let mut events = self.stripe.events();
        for event in &mut events {
            event.signature = self.sign(&event.body);
        }
        events
    }

    /// First event of a kind so far, signed by the machine's clock.
    pub fn event(&self, kind: &str) -> SignedEvent {
        let mut events = self.events().into_iter();
        events.find(|event| event.kind == kind).unwrap()
    }

    /// The event with its text changed, signed as a webhook of the same Stripe account signs it.
    pub fn altered(&self, event: &SignedEvent, alter: impl FnOnce(&mut Value)) -> SignedEvent {
        let mut whole: Value = serde_json::from_slice(&event.body).unwrap();
        alter(&mut whole);
        let body = whole.to_string();
        SignedEvent {
            signature: self.sign(body.as_bytes()),
            body: body.into(),
            ..event.clone()
        }
    }

    pub fn sign(&self, body: &[u8]) -> String {
        self.stripe.sign(body, crate::harness::issuer::now())
    }

    pub fn set_shape(&self, shape: ApiShape) {
        self.stripe.set_shape(shape);
    }

    /// Payment intents of Stripe's events so far, oldest first.
    pub fn intents(&self) -> Vec<String> {
        let events = self.stripe.events();
        let paid = events
            .iter()
            .filter(|event| event.kind == "payment_intent.succeeded");
        paid.map(|event| object(event)["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Object that an event is about.
pub fn object(event: &SignedEvent) -> Value {
    let event: Value = serde_json::from_slice(&event.body).unwrap();
    event["data"]["object"].clone()
}

/// Adds what is for sale to a tenant.
pub fn selling(config: Sample) -> Sample {
    config
        .set("auth.stripe.api_key", json!(KEY))
        .set("auth.stripe.webhook_secrets", json!([SECRET]))
        .set(
            "auth.stripe.top_ups",
            json!({"small": {"price": SMALL, "tokens": 3_000}}),
        )
        .set(
            "user_groups.stripe_basic",
            json!({"tokens": 5_000, "stripe_price": BASIC}),
        )
        .set(
            "user_groups.stripe_premium",
            json!({"tokens": 20_000, "stripe_price": PREMIUM}),
        )
        .set("cors.origins", json!(["https://app.example"]))
}

/// Asks for a checkout of an item.
pub fn checkout(gateway: &Gateway, key: &str, item: &Value) -> Response {
    let mut body = item.clone();
    if body.get("successUrl").is_none() {
        body["successUrl"] = json!(PAGE);
    }
    let request = gateway.client().request("POST", "/abc/billing/checkout");
    request.bearer(key).json(&body).send()
}

/// Session that an answer's page is of.
pub fn session(answer: &Response) -> String {
    let url = answer.json()["url"].as_str().unwrap().to_owned();
    url.rsplit_once('/').unwrap().1.to_owned()
}

pub fn basic() -> Value {
    json!({"group": "stripe_basic"})
}

pub fn premium() -> Value {
    json!({"group": "stripe_premium"})
}

pub fn small() -> Value {
    json!({"topUp": "small"})
}

/// Spends tokens of a key's balance with a call.
pub fn spend(gateway: &Gateway, key: &str, tokens: u64) {
    let (before, _) = state(gateway, key);
    let call =
        json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": tokens - PROMPT});
    let answer = chat(gateway, "abc", key, &call);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(spent(gateway, key, before), tokens);
}

/// Balance and group of a key's account.
pub fn state(gateway: &Gateway, key: &str) -> (u64, String) {
    let me = me(gateway, key);
    let group = me["group"].as_str().unwrap().to_owned();
    (me["tokensLeft"].as_u64().unwrap(), group)
}

/// Asserts balance and group of a key's account.
pub fn assert_state(gateway: &Gateway, key: &str, tokens: u64, group: &str) {
    assert_eq!(state(gateway, key), (tokens, group.to_owned()));
}

/// Payments of the one account that has bought, as an admin sees them.
pub fn payments(gateway: &Gateway, key: &str) -> Value {
    let user = me(gateway, key)["userId"].as_str().unwrap().to_owned();
    let path = format!("/abc/admin/users/{user}/payments");
    let request = gateway.client().request("GET", &path);
    let answer = request.bearer(gateway.admin_token()).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}
