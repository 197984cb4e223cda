//! Provider URLs in unusual spellings, and the addresses that they resolve to.

use super::case;
use crate::harness::{Gateway, Setup, chat, mint};
use serde_json::json;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// Counts connections on both loopback addresses.
struct Trap {
    port: u16,
    came: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    listening: Vec<JoinHandle<()>>,
}

impl Trap {
    fn set() -> Trap {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let (came, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        // Machines without IPv6 have only the IPv4 listener.
        let listeners = std::iter::once(first).chain(TcpListener::bind(("::1", port)));
        let listen = |listener: TcpListener| {
            let (came, over) = (came.clone(), over.clone());
            std::thread::spawn(move || {
                for _ in listener.incoming() {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    came.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let listening = listeners.map(listen).collect();
        Trap {
            port,
            came,
            over,
            listening,
        }
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for host in ["127.0.0.1", "::1"] {
            let _ = std::net::TcpStream::connect((host, self.port));
        }
        self.listening.drain(..).for_each(|listening| {
            let _ = listening.join();
        });
    }
}

#[test]
fn loopback_in_any_spelling_is_not_connected_to() {
    case("egress: spellings of loopback in provider URLs", || {
        let trap = Trap::set();
        let config = json!({"user_groups": {"anonymous": {"tokens": 100_000}}});
        let setup = Setup::new()
            .allow_private(false)
            .yaml("upstream: { connect_timeout: 200ms }");
        let gateway = Gateway::start(setup.tenant("abc", config));
        let key = mint(&gateway, "abc");
        let (mut refused, mut tried) = (0, 0);
        let urls = include_str!("urls.txt").lines();
        // Plain `http` is refused for any address, so each URL is tried with `https` too.
        let urls = urls
            .filter(|line| !line.starts_with("# "))
            .map(|line| line.replace("{p}", &trap.port.to_string()))
            .flat_map(|url| [url.replacen("http:", "https:", 1), url]);

        for url in urls {
            let config = json!({"config": {
                "user_groups": {"anonymous": {"tokens": 100_000}},
                "providers": {"text": {"default": "a", "endpoints": {
                    "a": {"url": url, "api_key": "sk-x", "default_model": "m"},
                }}},
            }});
            let put = gateway
                .client()
                .request("PUT", "/abc/admin/config")
                .bearer(gateway.admin_token())
                .json(&config)
                .send();
            if put.status == 400 {
                let path = &put.json()["details"][0]["path"];
                assert_eq!(path, "providers.text.endpoints.a.url", "{url}");
                refused += 1;
                continue;
            }
            assert_eq!(put.status, 200, "{url}: {}", put.text());
            let answer = chat(&gateway, "abc", &key, &json!({"messages": []}));
            assert_eq!(answer.status, 502, "{url}: {}", answer.text());
            tried += 1;
        }
        assert!(refused + tried >= 60 && tried >= 20, "{refused} {tried}");
        let came = trap.came.load(Ordering::SeqCst);
        assert_eq!(came, 0, "connections on loopback");
        format!("{refused} refused, {tried} called, {came} connections")
    });
}
