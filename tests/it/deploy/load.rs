//! One of two gateways ends under load: every call is answered, and no call is sent twice by the proxy.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::cases::Site;
use super::front::{Front, Kind};
use crate::harness::{Provider, Script, eventually, mint};

const CLIENTS: usize = 6;
/// Calls that are answered before the gateway ends, and after it.
const ANSWERS: usize = 150;
const MOST_CALLS_PER_CLIENT: usize = 2_000;
/// Below the thousand after which nginx closes a connection.
const CALLS_PER_CONNECTION: usize = 200;
/// Attempts at a call, and the pause before the second, which doubles: as the SDKs have it, and one attempt more.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const CHAT: &str = "/abc/v1/chat/completions";

/// What the clients count together.
#[derive(Default)]
struct Counts {
    attempts: AtomicUsize,
    answered: AtomicUsize,
    /// Attempts that the proxy answered itself, because their gateway had ended.
    failed: AtomicUsize,
    stopped: AtomicBool,
}

/// Sends calls until it is stopped. As the SDKs do, it repeats one that got a 502; each attempt has a text of its own.
fn client(front: &Front, key: &str, counts: &Counts) {
    let mut connection = front.http2();
    for call in 1..=MOST_CALLS_PER_CLIENT {
        if counts.stopped.load(Ordering::Acquire) {
            return;
        }
        if call % CALLS_PER_CONNECTION == 0 {
            connection = front.http2();
        }
        let mut statuses = Vec::new();
        for attempt in 0..ATTEMPTS {
            let number = counts.attempts.fetch_add(1, Ordering::AcqRel);
            let text = format!("attempt-{number}");
            let call = json!({"messages": [{"role": "user", "content": text}], "max_tokens": 2});
            let reply = connection.post(CHAT, key, &call);
            statuses.push(reply.status);
            match reply.status {
                200 => break,
                502 => counts.failed.fetch_add(1, Ordering::AcqRel),
                other => panic!("{other}: {}", reply.text()),
            };
            thread::sleep(FIRST_PAUSE * 2_u32.pow(attempt));
        }
        assert_eq!(statuses.last(), Some(&200), "{statuses:?}");
        counts.answered.fetch_add(1, Ordering::AcqRel);
    }
}

/// How often the provider was asked each text.
fn asked(provider: &Provider) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for request in provider.requests() {
        let text = request.json()["messages"][0]["content"].to_string();
        *asked.entry(text).or_default() += 1;
    }
    asked
}

/// Ends the first gateway under load; returns how many attempts failed.
fn failed_attempts(kind: Kind, end: impl FnOnce(&Site)) -> usize {
    let provider = Provider::start(|_| Script::chat("ok", 5, 1).first(pause()));
    let site = Site::start(kind, provider, drain_delay(kind));
    let key = mint(&site.gateways[1], "abc");
    let counts = Counts::default();
    let answered = || counts.answered.load(Ordering::Acquire);
    let wait_for = |count: usize| {
        eventually(Duration::from_secs(60), "calls are answered", || {
            (answered() >= count).then_some(())
        });
    };

    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| client(&site.front, &key, &counts)))
            .collect();
        wait_for(ANSWERS);
        end(&site);
        wait_for(answered() + ANSWERS);
        counts.stopped.store(true, Ordering::Release);
        for client in clients {
            client.join().expect("every call is answered");
        }
    });

    assert!(!site.gateways[0].is_alive() && site.gateways[1].is_alive());
    assert!(site.redis.is_alive());
    let twice: Vec<_> = asked(&site.provider)
        .into_iter()
        .filter(|(_, times)| *times != 1)
        .collect();
    assert!(twice.is_empty(), "sent twice: {twice:?}");
    counts.failed.into_inner()
}

/// A provider that takes a moment, so that calls are in flight when their gateway ends.
fn pause() -> crate::harness::Step {
    crate::harness::Step::Sleep(Duration::from_millis(3))
}

/// What deploy/README.md recommends: Caddy asks `/readyz` meanwhile, nginx does not.
fn drain_delay(kind: Kind) -> &'static str {
    match kind {
        Kind::Caddy => "server: { drain_delay: 5s }",
        Kind::Nginx => "",
    }
}

fn stop(site: &Site) {
    site.gateways[0].signal("TERM");
    site.gateways[0].wait_exit(Duration::from_secs(20));
}

fn kill(site: &Site) {
    site.gateways[0].kill9();
}

#[test]
fn a_gateway_that_stops_behind_nginx_costs_hardly_a_call() {
    let failed = failed_attempts(Kind::Nginx, stop);
    // A call that comes in the moment of the stop may find its connection closed.
    assert!(failed <= 2, "{failed}");
}

#[test]
fn a_gateway_that_stops_behind_caddy_costs_no_call() {
    assert_eq!(failed_attempts(Kind::Caddy, stop), 0);
}

/// A call that a killed gateway had may have reached its provider, so only the client may repeat it.
#[test]
fn calls_of_a_killed_gateway_behind_nginx_are_answered_when_repeated() {
    let failed = failed_attempts(Kind::Nginx, kill);
    assert!(failed <= CLIENTS, "{failed}");
}

#[test]
fn calls_of_a_killed_gateway_behind_caddy_are_answered_when_repeated() {
    let failed = failed_attempts(Kind::Caddy, kill);
    // Caddy 2.6 answers 502 until it has found out by /readyz.
    assert!(failed <= CLIENTS * 3, "{failed}");
}
