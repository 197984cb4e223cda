//! Tests of one account without sockets: its API, its billing, its pages.

mod api_tests;
mod billing_tests;
mod pages_tests;
mod reversal_tests;

use super::account::StripeAccount;
use super::api::{self, ApiRequest};
use super::data::AccountData;
use super::events::Signer;
use super::shape::ApiShape;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PLUS: &str = "price_plus_1000_month";
const PRO: &str = "price_pro_3000_month";
const YEARLY: &str = "price_pro_12000_year";
const DAY: u64 = 86_400;
/// 2026-06-01 00:00:00 UTC: the start of a month of 30 days.
const FIRST_OF_JUNE: u64 = 1_780_272_000;

/// An account with a clock that the test sets.
struct World {
    account: Arc<StripeAccount>,
    now: Arc<AtomicU64>,
}

fn world() -> World {
    let now = Arc::new(AtomicU64::new(FIRST_OF_JUNE));
    let read = Arc::clone(&now);
    let clock: super::UnixClock = Arc::new(move || read.load(Ordering::Relaxed));
    let signer = Arc::new(Signer::new("sk_test_1", Arc::clone(&clock)));
    // Without its receiver the channel drops events; they are recorded all the same.
    let (waiting, _) = tokio::sync::mpsc::channel(1);
    let data = AccountData::new(false, clock, waiting, Arc::default());
    let origin = "http://127.0.0.1:1".to_owned();
    let account = StripeAccount::new("sk_test_1", origin, "door".to_owned(), signer, data);
    World {
        account: Arc::new(account),
        now,
    }
}

impl World {
    fn after_days(&self, days: u64) {
        self.now
            .store(FIRST_OF_JUNE + days * DAY, Ordering::Relaxed);
    }

    /// Status and body of a call, with a key and a version where they are not empty.
    fn call(&self, line: &str, parameters: &str, key: &str, version: &str) -> (u16, Value) {
        let (method, path) = line.split_once(' ').unwrap();
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let answer = api::answer(
            &self.account,
            ApiRequest {
                method,
                path,
                query: parameters,
                idempotency_key: some(key),
                version: some(version),
                body: parameters.as_bytes(),
            },
        );
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    fn get(&self, path: &str, query: &str) -> Value {
        let (status, body) = self.call(&format!("GET {path}"), query, "", "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn post(&self, path: &str, form: &str) -> Value {
        let (status, body) = self.call(&format!("POST {path}"), form, "", "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Id of a new session that sells one price.
    fn session(&self, mode: &str, price: &str, more: &str) -> String {
        let form = format!(
            "mode={mode}&line_items[0][price]={price}&line_items[0][quantity]=1&\
             success_url=https://app.example/paid?s={{CHECKOUT_SESSION_ID}}&{more}"
        );
        text(&self.post("/v1/checkout/sessions", &form)["id"])
    }

    /// Id of a new subscription, paid by card.
    fn subscription(&self, price: &str, more: &str) -> String {
        let session = self.session("subscription", price, more);
        self.account.pay(&session).unwrap().subscription.unwrap()
    }

    /// Types of the events after the first `seen`.
    fn kinds(&self, seen: usize) -> Vec<String> {
        let events = self.account.events();
        events
            .into_iter()
            .skip(seen)
            .map(|event| event.kind)
            .collect()
    }

    /// Body of the last event of a type.
    fn last(&self, kind: &str) -> Value {
        let events = self.account.events();
        let found = events.iter().rfind(|event| event.kind == kind);
        serde_json::from_slice(&found.unwrap().body).unwrap()
    }

    /// All invoices, newest first.
    fn invoices(&self) -> Vec<Value> {
        let listed = self.get("/v1/invoices", "limit=100");
        listed["data"].as_array().unwrap().clone()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn both_shapes() -> [ApiShape; 2] {
    [ApiShape::Before, ApiShape::Basil]
}
