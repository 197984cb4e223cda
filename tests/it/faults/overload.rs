//! Overload, and shutdown under load.

use super::{case, many};
use crate::harness::{
    CHAT_PATH, Client, Gate, Gateway, Provider, Redis, Response, Sample, Script, Setup, Step,
    balance, chat, eventually, mint, raw_for, sample,
};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[track_caller]
fn assert_overloaded(answer: &Response) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.json()["error"]["code"], "overloaded");
}

#[test]
fn in_flight_limit_spares_health_probes() {
    let gate = Gate::new();
    let hold = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat("Hi", 3, 4).first(Step::WaitUntilReleased(hold.clone()))
    });
    let setup = Setup::new()
        .tenant("abc", sample(&provider).tokens(1_000_000))
        .tenant("other", sample(&provider).tokens(1_000_000))
        .yaml("server: { max_requests: 9, max_requests_per_tenant: 8 }");
    let gateway = Gateway::start(setup);
    let (key, others) = (mint(&gateway, "abc"), mint(&gateway, "other"));
    let call = json!({"messages": [], "max_tokens": 10});
    case("overload: more requests in flight than are allowed", || {
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| chat(&gateway, "abc", &key, &call)))
                .collect();
            provider.wait_requests(8);
            assert_overloaded(&chat(&gateway, "abc", &key, &call));
            // The limit per tenant leaves room for the other; together they stay below `max_requests`. A
            // refused call's slot is free a moment after its response is read.
            let last = scope.spawn(|| {
                let asked = || Some(chat(&gateway, "other", &others, &call));
                let served = || asked().filter(|answer| answer.status != 503);
                eventually(Duration::from_secs(20), "there is a place", served)
            });
            provider.wait_requests(9);
            assert_overloaded(&chat(&gateway, "other", &others, &call));
            for path in ["/", "/healthz", "/readyz"] {
                assert_eq!(gateway.client().get(path).status, 200, "{path}");
            }
            gate.open();
            for answer in waiting {
                assert_eq!(answer.join().unwrap().status, 200);
            }
            assert_eq!(last.join().unwrap().status, 200);
        });
        assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
        assert_eq!(provider.requests().len(), 10);
        "8 of a tenant and 9 in all in flight, one more refused at once, probes answered".to_owned()
    });
}

#[test]
fn connections_are_bounded_in_all_and_from_one_address() {
    for (bounds, case_name) in [
        (
            "max_connections: 16, max_connections_per_address: 16",
            "in all",
        ),
        ("max_connections_per_address: 16", "from one address"),
    ] {
        let setup = Setup::new().yaml(&format!("server: {{ {bounds} }}"));
        let gateway = Gateway::start(setup);
        case(
            &format!("overload: more connections than there are places {case_name}"),
            || {
                let mut seated: Vec<_> = (0..16).map(|_| gateway.client().connect()).collect();
                for connection in &mut seated {
                    assert_eq!(connection.request("GET", "/").send().status, 200);
                }
                for _ in 0..many(20, 2_000) {
                    let text = raw_for(
                        gateway.addr(),
                        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                        Duration::from_secs(5),
                    );
                    let text = String::from_utf8_lossy(&text).into_owned();
                    assert!(
                        text.is_empty() || text.starts_with("HTTP/1.1 503 "),
                        "{text}"
                    );
                }
                let mut first = seated.pop().unwrap();
                assert_eq!(
                    first.request("GET", "/").send().status,
                    200,
                    "who has a place keeps it"
                );
                drop(first);
                eventually(Duration::from_secs(5), "a place is free", || {
                    let answer = gateway.client().request("GET", "/").try_send();
                    answer
                        .is_ok_and(|answer| answer.status == 200)
                        .then_some(())
                });
                "16 served, all others 503, a free place is given at once".to_owned()
            },
        );
    }
}

#[test]
fn trusted_proxy_may_use_every_connection() {
    let setup = Setup::new()
        .yaml("server: { max_connections_per_address: 1, trusted_proxies: [127.0.0.0/8] }");
    let gateway = Gateway::start(setup);
    let mut both = [gateway.client().connect(), gateway.client().connect()];

    for connection in &mut both {
        assert_eq!(connection.request("GET", "/").send().status, 200);
    }
}

/// Calls in a loop on its own connections and counts the responses.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    served: AtomicUsize,
    shed: AtomicUsize,
    others: Mutex<Vec<String>>,
    waits: Mutex<Vec<Duration>>,
}

impl Load {
    fn run(
        self: &Arc<Self>,
        client: &Client,
        key: &str,
        count: usize,
    ) -> Vec<std::thread::JoinHandle<()>> {
        let one = |_| {
            let (load, client, key) = (self.clone(), *client, key.to_owned());
            let body = move || {
                let call = json!({"messages": [], "max_tokens": 10});
                let mut connection = client.connect();
                while !load.stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let asked = connection
                        .request("POST", CHAT_PATH)
                        .bearer(&key)
                        .json(&call);
                    match asked.try_send() {
                        Ok(answer) if answer.status == 200 => {
                            load.served.fetch_add(1, Ordering::Relaxed);
                            load.waits.lock().unwrap().push(begun.elapsed());
                        }
                        Ok(answer) if answer.status == 503 => {
                            assert_eq!(answer.header("retry-after"), Some("1"));
                            load.shed.fetch_add(1, Ordering::Relaxed);
                            // Follows the `Retry-After` of the refusal.
                            std::thread::sleep(Duration::from_millis(100));
                        }
                        Ok(answer) => load.others.lock().unwrap().push(answer.text()),
                        Err(error) => {
                            load.others.lock().unwrap().push(error.to_string());
                            connection = client.connect();
                        }
                    }
                }
            };
            let small = std::thread::Builder::new().stack_size(256 << 10);
            small.spawn(body).unwrap()
        };
        (0..count).map(one).collect()
    }
}

/// Result of `count` callers over a span of time.
struct Seen {
    served: usize,
    shed: usize,
    p99: Duration,
    memory_kib: u64,
}

/// Runs `count` callers for `span`; only successes and refusals are allowed.
fn press(gateway: &Gateway, key: &str, count: usize, span: Duration) -> Seen {
    let load = Arc::new(Load::default());
    let threads = load.run(&gateway.client(), key, count);
    std::thread::sleep(span);
    let memory_kib = gateway.memory_kib();
    load.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    let others = load.others.lock().unwrap();
    assert!(others.is_empty(), "{} others: {}", others.len(), others[0]);
    let mut waits = load.waits.lock().unwrap().clone();
    waits.sort();
    Seen {
        served: load.served.load(Ordering::Relaxed),
        shed: load.shed.load(Ordering::Relaxed),
        p99: waits[waits.len() * 99 / 100],
        memory_kib,
    }
}

/// Repeats a request while it gets 503.
fn answered(gateway: &Gateway, method: &str, path: &str, key: Option<&str>) -> Value {
    eventually(Duration::from_secs(5), path, || {
        let request = gateway.client().request(method, path);
        let answer = match key {
            Some(key) => request.bearer(key).send(),
            None => request.send(),
        };
        (answer.status == 200).then(|| answer.json())
    })
}

/// Runs few callers and then many: the throughput and latency of both. Exactly the served calls are charged.
fn few_then_many(gateway: &Gateway, (few, many): (usize, usize), span: Duration) -> (Seen, String) {
    let minted = answered(gateway, "POST", "/abc/auth/anonymous", None);
    let (key, tokens) = (
        minted["apiKey"].as_str().unwrap(),
        minted["tokensLeft"].as_u64().unwrap(),
    );
    let peak = press(gateway, key, few, span);
    let crowd = press(gateway, key, many, span);
    let begun = Instant::now();
    eventually(Duration::from_secs(5), "it serves as before", || {
        let answer = chat(gateway, "abc", key, &json!({"messages": []}));
        (answer.status == 200).then_some(())
    });
    let recovered = begun.elapsed();
    let calls = (peak.served + crowd.served + 1) as u64;
    let left = answered(gateway, "GET", "/abc/auth/me", Some(key))["tokensLeft"].clone();
    assert_eq!(left, tokens - calls * 7);
    let grown = crowd.memory_kib.saturating_sub(peak.memory_kib) >> 10;
    assert!(grown < 256, "{grown} MiB");
    let figure = format!(
        "served {} ({}% of {}), shed {} (before: {}), p99 {:.1?} (before: {:.1?}), {grown} MiB more, recovered in {recovered:.1?}",
        crowd.served,
        crowd.served * 100 / peak.served.max(1),
        peak.served,
        crowd.shed,
        peak.shed,
        crowd.p99,
        peak.p99,
    );
    (crowd, figure)
}

fn endless(provider: &Provider) -> Sample {
    sample(provider)
        .tokens(9_000_000_000)
        .rate_limit(1_000_000_000, 60)
}

#[test]
fn overload_serves_or_refuses_and_charges_exactly() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new()
        .tenant("abc", endless(&provider))
        .env("RESULLM__SERVER__SHED_AFTER", many("15ms", "50ms"));
    let gateway = Gateway::start(setup);
    let span = Duration::from_secs(many(2, 60));
    case(
        "overload: far more callers than the gateway can serve",
        || few_then_many(&gateway, (16, many(200, 600)), span).1,
    );
}

#[test]
fn overloaded_gateway_sheds_part_of_the_calls() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new()
        .tenant("abc", endless(&provider))
        .env("RESULLM__SERVER__SHED_AFTER", "3ms");
    let gateway = Gateway::start(setup);
    let span = Duration::from_secs(many(2, 20));
    case("overload: a gateway that is soon said to be behind", || {
        let (crowd, figure) = few_then_many(&gateway, (16, many(300, 600)), span);
        assert!(crowd.shed > 0 && crowd.served > 0, "{figure}");
        figure
    });
}

/// The provider takes 100 ms a call, so that `max_requests` determines the throughput.
#[test]
fn overload_does_not_slow_admitted_calls() {
    const PLACES: usize = 64;
    let busiest = Arc::new(AtomicUsize::new(0));
    let (busy, most) = (AtomicUsize::new(0), busiest.clone());
    let provider = Provider::start(move |_| {
        let now = busy.fetch_add(1, Ordering::Relaxed) + 1;
        most.fetch_max(now, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
        busy.fetch_sub(1, Ordering::Relaxed);
        Script::chat("Hi", 3, 4)
    });
    let setup = Setup::new()
        .tenant("abc", endless(&provider))
        .yaml(&format!(
            "server: {{ max_requests: {PLACES}, max_requests_per_tenant: {PLACES} }}"
        ));
    let gateway = Gateway::start(setup);
    let span = Duration::from_secs(many(2, 60));
    case(
        "overload: three times the callers that there are places for",
        || {
            let (crowd, figure) = few_then_many(&gateway, (PLACES, 3 * PLACES), span);
            assert!(crowd.shed > 0, "nobody was turned away");
            let busiest = busiest.load(Ordering::Relaxed);
            assert!(busiest <= PLACES, "{busiest} at the provider at once");
            figure
        },
    );
}

/// A gateway whose `/readyz` is 200, as a load balancer chooses one.
fn ready(gateways: &[Client]) -> Option<&Client> {
    gateways.iter().find(|client| {
        client
            .request("GET", "/readyz")
            .try_send()
            .is_ok_and(|answer| answer.status == 200)
    })
}

#[test]
fn a_rolling_restart_cuts_no_stream_and_refuses_no_connection() {
    let redis = Redis::start();
    let provider = Provider::start(|_| {
        let words = ["word "; 20];
        let mut script = Script::chat_stream(&words, 10, 20);
        for at in (1..20).rev() {
            script = script.after(at, Step::Wait(Duration::from_millis(100)));
        }
        script
    });
    let config = sample(&provider)
        .tokens(100_000_000)
        .rate_limit(1_000_000, 60);
    let setup = |dir: Setup| {
        dir.store(&redis.url())
            .tenant("abc", config.clone())
            .yaml("server: { drain_delay: 1s, max_connections_per_address: 4000 }")
    };
    let mut gateways = [
        Gateway::start(setup(Setup::new())),
        Gateway::start(setup(Setup::new())),
    ];
    let key = mint(&gateways[0], "abc");
    let (streams, rounds) = (many(60, 200), many(1, 20));
    case(
        "drain: rolling restarts of two instances under streams",
        || {
            let clients = Mutex::new(gateways.iter().map(Gateway::client).collect::<Vec<_>>());
            let stop = AtomicBool::new(false);
            let (whole, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
            std::thread::scope(|scope| {
                for number in 0..streams {
                    let (clients, stop, whole, faults, key) =
                        (&clients, &stop, &whole, &faults, &key);
                    scope.spawn(move || {
                        while !stop.load(Ordering::Relaxed) {
                            let known = clients.lock().unwrap().clone();
                            // Half of the clients probe one gateway first, half the other.
                            let order: Vec<Client> = if number % 2 == 0 {
                                known
                            } else {
                                known.into_iter().rev().collect()
                            };
                            let Some(client) = ready(&order) else {
                                faults.lock().unwrap().push("nobody is ready".to_owned());
                                continue;
                            };
                            let call = json!({"stream": true, "messages": [], "max_tokens": 30});
                            match client
                                .request("POST", CHAT_PATH)
                                .bearer(key)
                                .json(&call)
                                .try_send()
                            {
                                Ok(answer)
                                    if answer.status == 200
                                        && answer.text().ends_with("data: [DONE]\n\n") =>
                                {
                                    whole.fetch_add(1, Ordering::Relaxed);
                                }
                                Ok(answer) => faults.lock().unwrap().push(answer.text()),
                                Err(error) => faults.lock().unwrap().push(error.to_string()),
                            }
                        }
                    });
                }
                for _ in 0..rounds {
                    for at in [0, 1] {
                        std::thread::sleep(Duration::from_millis(500));
                        gateways[at].signal("TERM");
                        assert_eq!(
                            gateways[at].wait_exit(Duration::from_secs(20)).code(),
                            Some(0)
                        );
                        gateways[at] = Gateway::start(setup(Setup::new()));
                        clients.lock().unwrap()[at] = gateways[at].client();
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
            let faults = faults.into_inner().unwrap();
            assert!(faults.is_empty(), "{} faults: {}", faults.len(), faults[0]);
            let whole = whole.into_inner();
            let (left, _) = balance(&gateways[0], &key);
            assert_eq!(left, 100_000_000 - 30 * whole as u64);
            format!(
                "{} restarts, {whole} streams whole and paid for, 0 cut, 0 refused",
                2 * rounds
            )
        },
    );
}
