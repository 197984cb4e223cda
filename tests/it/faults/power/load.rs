//! Clients under whose load the power is lost: mints, credits, calls, streams and admin calls.

use crate::harness::Client;
use crate::harness::recorder::NAMED;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

pub(super) const COST: u64 = 7;
/// Upper bound of a stream's charge.
const STREAM: u64 = 40;

/// A request of a client, and its expected effect once it is answered.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Mint(String, u64),
    Credit(String, u64),
    Charge(String, u64),
    Regroup(String, &'static str),
    Revoke(String),
    Configure(u64),
}

/// Requests of one client in order, with their request numbers.
pub(super) type Asking = Vec<(usize, Asked)>;

/// Clients that send requests in a loop, each client one at a time.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) client: Client,
    pub(super) numbers: Arc<AtomicUsize>,
    pub(super) stop: Arc<AtomicBool>,
}

impl Load {
    /// Sends a request and records it. `None`: the gateway is gone.
    fn ask(
        &self,
        asked: &mut Asking,
        what: Option<Asked>,
        (method, path, token): (&str, &str, &str),
        body: &Value,
    ) -> Option<(usize, Value)> {
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        asked.extend(what.map(|what| (number, what)));
        if self.stop.load(Ordering::SeqCst) {
            return None;
        }
        let request = self.client.request(method, path).bearer(token);
        let request = request.header("x-request-id", &format!("{NAMED}{number}"));
        let answer = request.json(body).try_send().ok()?;
        match answer.status {
            200 | 201 => Some((
                number,
                serde_json::from_slice(&answer.body).unwrap_or_default(),
            )),
            // The gateway is shutting down.
            503 => None,
            status => panic!("{status}: {}", answer.text()),
        }
    }

    pub(super) fn mint(&self, asked: &mut Asking, tokens: u64) -> Option<String> {
        let route = (
            "POST",
            "/abc/admin/keys",
            crate::harness::setup::ADMIN_TOKEN,
        );
        let (number, answer) = self.ask(asked, None, route, &json!({"tokens": tokens}))?;
        let key = answer["apiKey"].as_str()?.to_owned();
        asked.push((number, Asked::Mint(key.clone(), tokens)));
        Some(key)
    }

    fn call(&self, asked: &mut Asking, key: &str, streams: bool) -> Option<()> {
        let route = ("POST", "/abc/v1/chat/completions", key);
        let messages = [json!({"role": "user", "content": "Hi"})];
        let call = json!({"messages": messages, "max_tokens": 20, "stream": streams});
        let cost = if streams { STREAM } else { COST };
        let charge = Asked::Charge(key.to_owned(), cost);
        self.ask(asked, Some(charge), route, &call).map(|_| ())
    }

    /// Leaves the disk to the other clients.
    fn pause(&self) {
        std::thread::sleep(Duration::from_millis(40));
    }

    /// Uses one key in a loop, so that it is leased.
    pub(super) fn often(&self, asked: &mut Asking, key: &str) -> Option<()> {
        loop {
            self.call(asked, key, false)?;
        }
    }

    /// Uses many keys twice each, so that every admission goes to the store.
    pub(super) fn seldom(&self, asked: &mut Asking) -> Option<()> {
        loop {
            let key = self.mint(asked, 100_000)?;
            self.call(asked, &key, false)?;
            self.call(asked, &key, false)?;
            self.pause();
        }
    }

    pub(super) fn stream(&self, asked: &mut Asking) -> Option<()> {
        loop {
            let key = self.mint(asked, 100_000)?;
            self.call(asked, &key, true)?;
            self.pause();
        }
    }

    pub(super) fn administer(&self, asked: &mut Asking, config: &Value, life: usize) -> Option<()> {
        let token = crate::harness::setup::ADMIN_TOKEN;
        for round in 0.. {
            let key = self.mint(asked, 1_000)?;
            let path = format!("/abc/admin/keys/{key}");
            let credit = Asked::Credit(key.clone(), 500);
            let body = json!({"tokens": 500, "id": "once"});
            let route = format!("{path}/credit");
            self.ask(asked, Some(credit), ("POST", &route, token), &body)?;
            self.ask(asked, None, ("POST", &route, token), &body)?;
            let moved = Asked::Regroup(key.clone(), "paid");
            self.ask(
                asked,
                Some(moved),
                ("PATCH", &path, token),
                &json!({"group": "paid"}),
            )?;
            if round % 2 == 0 {
                let revoked = Asked::Revoke(key.clone());
                self.ask(asked, Some(revoked), ("DELETE", &path, token), &json!({}))?;
            }
            let version = (life * 1_000 + round) as u64;
            let mut config = config.clone();
            config["version"] = json!(version);
            let body = json!({"config": config});
            let configured = Asked::Configure(version);
            self.ask(
                asked,
                Some(configured),
                ("PUT", "/abc/admin/config", token),
                &body,
            )?;
            self.pause();
        }
        None
    }
}
