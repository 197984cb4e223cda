//! Egress: addresses that a tenant's provider URL can and cannot reach.

use super::{case, many};
use crate::harness::dns::{Dns, Said};
use crate::harness::{
    Gateway, Provider, Script, Setup, chat, eventually, free_port, mint, sample_at,
};
use serde_json::json;
use std::net::{IpAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counts connections to a local port.
struct Trap {
    port: u16,
    connects: Arc<AtomicUsize>,
}

impl Trap {
    fn set(addresses: &[&str]) -> Trap {
        let port = free_port();
        let connects: Arc<AtomicUsize> = Arc::default();
        for address in addresses {
            let listener = TcpListener::bind((address.parse::<IpAddr>().unwrap(), port)).unwrap();
            let connects = connects.clone();
            std::thread::spawn(move || {
                for _ in listener.incoming().flatten() {
                    connects.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Trap { port, connects }
    }

    fn connects(&self) -> usize {
        self.connects.load(Ordering::SeqCst)
    }
}

fn addresses(texts: &[&str], ttl: u32) -> Said {
    Said::Addresses(
        texts.iter().map(|text| text.parse().unwrap()).collect(),
        ttl,
    )
}

fn asking(dns: &Dns) -> Setup {
    Setup::new()
        .env("RESULLM__EGRESS__NAMESERVERS", &dns.addr().to_string())
        .env("RESULLM__UPSTREAM__CONNECT_TIMEOUT", "2s")
}

fn call() -> serde_json::Value {
    json!({"messages": [], "max_tokens": 10})
}

#[test]
fn private_dns_answer_is_not_connected_to() {
    const INSIDE: &[(&str, &[&str])] = &[
        ("loopback", &["127.0.0.1"]),
        ("loopback-elsewhere", &["127.9.9.9"]),
        ("nothing", &["0.0.0.0"]),
        ("private", &["10.0.0.1", "172.16.0.1", "192.168.0.1"]),
        ("shared", &["100.64.0.1"]),
        ("metadata", &["169.254.169.254"]),
        ("loopback-six", &["::1"]),
        ("mapped", &["::ffff:127.0.0.1"]),
        ("compatible", &["::127.0.0.1"]),
        ("translated", &["64:ff9b::7f00:1"]),
        ("tunnelled", &["2002:7f00:1::"]),
        ("unique-local", &["fd00::1"]),
        ("link-local", &["fe80::1"]),
        ("several", &["127.0.0.1", "::1", "10.0.0.1"]),
    ];
    let dns = Dns::start(|name, _| match name.strip_suffix(".test") {
        Some("alias") => Said::Alias("localhost"),
        Some(label) => {
            let known = INSIDE.iter().find(|(name, _)| *name == label);
            known.map_or(Said::NoSuchName, |(_, list)| addresses(list, 0))
        }
        None => Said::NoSuchName,
    });
    let trap = Trap::set(&["127.0.0.1", "::1"]);
    let names = INSIDE
        .iter()
        .map(|(name, _)| *name)
        .chain(["alias", "unknown"]);
    let names: Vec<String> = names
        .map(|name| format!("{name}.test"))
        .chain(["localhost".to_owned(), "a.localhost".to_owned()])
        .collect();
    let mut setup = asking(&dns).allow_private(false);
    for (number, name) in names.iter().enumerate() {
        let url = format!("https://{name}:{}/v1/chat/completions", trap.port);
        setup = setup.tenant(&format!("t{number}"), sample_at(&url));
    }
    let gateway = Gateway::start(setup);
    case("egress: names that lead inside", || {
        for (number, name) in names.iter().enumerate() {
            let tenant = format!("t{number}");
            let key = mint(&gateway, &tenant);
            let answer = chat(&gateway, &tenant, &key, &call());
            assert_eq!(answer.status, 502, "{name}: {}", answer.text());
        }
        assert_eq!(trap.connects(), 0);
        format!("{} names, 0 connects to a trap on loopback", names.len())
    });
}

#[test]
fn plain_http_gets_a_key_only_where_the_operator_allows() {
    let trap = Trap::set(&["127.0.0.1"]);
    let url = format!("http://127.0.0.1:{}/v1/chat/completions", trap.port);
    let setup = Setup::new().allow_private(false);
    let gateway = Gateway::start(setup.tenant("abc", sample_at(&url)));
    let key = mint(&gateway, "abc");

    assert_eq!(chat(&gateway, "abc", &key, &call()).status, 502);
    gateway.wait_log("it needs https");
    assert_eq!(trap.connects(), 0);
}

#[test]
fn dns_lookup_is_shared_and_cached() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1).header("connection", "close"));
    let dns = Dns::start(|name, _| match name {
        "provider.test" => {
            // By now all calls wait for the DNS answer.
            std::thread::sleep(Duration::from_millis(300));
            addresses(&["127.0.0.1"], 60)
        }
        _ => Said::NoSuchName,
    });
    let port = provider.addr().port();
    let url = format!("http://provider.test:{port}/v1/chat/completions");
    let config = sample_at(&url).tokens(1_000_000);
    let gateway = Gateway::start(asking(&dns).tenant("abc", config));
    let key = mint(&gateway, "abc");
    case("egress: one name, asked for by many at once", || {
        let calls = many(30, 300);
        for _ in 0..2 {
            std::thread::scope(|scope| {
                for _ in 0..calls / 2 {
                    scope.spawn(|| {
                        assert_eq!(chat(&gateway, "abc", &key, &call()).status, 200);
                    });
                }
            });
        }

        let asked = dns.asked();
        // One query each for A and AAAA, and possibly a repeat of an empty one.
        assert!(asked.len() <= 4, "{asked:?}");
        format!("{calls} calls, {} questions", asked.len())
    });
}

#[test]
fn silent_name_server_delays_only_its_own_lookups() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let dns = Dns::start(|_, _| Said::Silence);
    let good = provider.url("/v1/chat/completions");
    let setup = asking(&dns)
        .tenant("bad", sample_at("http://silent.test/v1/chat/completions"))
        .tenant("good", sample_at(&good).rate_limit(1_000_000, 60));
    let gateway = Gateway::start(setup);
    let (bad, good) = (mint(&gateway, "bad"), mint(&gateway, "good"));
    case("egress: a name server that says nothing", || {
        std::thread::scope(|scope| {
            let begun = Instant::now();
            let waiting: Vec<_> = (0..many(8, 200))
                .map(|_| scope.spawn(|| chat(&gateway, "bad", &bad, &call()).status))
                .collect();
            let mut slowest = Duration::ZERO;
            while !waiting
                .iter()
                .all(std::thread::ScopedJoinHandle::is_finished)
            {
                let begun = Instant::now();
                assert_eq!(chat(&gateway, "good", &good, &call()).status, 200);
                slowest = slowest.max(begun.elapsed());
            }
            let took = begun.elapsed();
            for call in waiting {
                assert_eq!(call.join().unwrap(), 502);
            }
            assert!(took < Duration::from_secs(10), "{took:?}");
            format!(
                "refused after {took:?} with a patience of 2 s; another tenant's slowest call {slowest:?}"
            )
        })
    });
}

const INSIDE: &str = "RESULLM_TEST_INSIDE_A_NETWORK_OF_ITS_OWN";
/// A public address that a test in its own network namespace can bind.
const PUBLIC: &str = "8.8.4.4";

/// Runs a test of this binary again in a network namespace with only loopback and `PUBLIC`.
fn in_a_network_of_its_own(test: &str) {
    let bring_up = format!(
        "import fcntl,os,socket,struct,sys\n\
         s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         fcntl.ioctl(s,0x8914,struct.pack('16sh22x',b'lo',1|8|64))\n\
         fcntl.ioctl(s,0x8916,struct.pack('16sHH4s16x',b'lo:1',socket.AF_INET,0,socket.inet_aton('{PUBLIC}')))\n\
         fcntl.ioctl(s,0x8914,struct.pack('16sh22x',b'lo:1',1|8|64))\n\
         os.execv(sys.argv[1],sys.argv[1:])\n"
    );
    let this = std::env::current_exe().unwrap();
    let run = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "python3",
            "-c",
            &bring_up,
        ])
        .arg(this)
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare is there");
    let said =
        String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn dns_rebinding_reaches_no_private_address() {
    if std::env::var_os(INSIDE).is_none() {
        return in_a_network_of_its_own("faults::egress::dns_rebinding_reaches_no_private_address");
    }
    let dns = Dns::start(|name, before| match name {
        // The first answer (the check) is public, later ones (the connection) are loopback.
        "rebinding.test" if before == 0 => addresses(&[PUBLIC], 0),
        "rebinding.test" => addresses(&["127.0.0.1"], 0),
        "both.test" => addresses(&["127.0.0.1", PUBLIC], 0),
        _ => Said::NoSuchName,
    });
    case(
        "egress: a name that is public first and loopback then",
        || {
            // The same port on both addresses, so that connections are counted by address.
            let port = free_port();
            let count = |address: &str| {
                let listener = TcpListener::bind((address, port)).unwrap();
                let connects: Arc<AtomicUsize> = Arc::default();
                let counted = connects.clone();
                std::thread::spawn(move || {
                    for _ in listener.incoming().flatten() {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                });
                connects
            };
            let (public, inside) = (count(PUBLIC), count("127.0.0.1"));
            let url = |name: &str| format!("https://{name}:{port}/v1/chat/completions");
            let setup = asking(&dns)
                .allow_private(false)
                .tenant("abc", sample_at(&url("rebinding.test")))
                .tenant("both", sample_at(&url("both.test")));
            let gateway = Gateway::start(setup);
            let mut calls = 0;
            let mut ask = |tenant: &str, key: &str| {
                calls += 1;
                assert_eq!(chat(&gateway, tenant, key, &call()).status, 502);
            };
            let [abc, both] = ["abc", "both"].map(|tenant| mint(&gateway, tenant));
            for _ in 0..many(5, 100) {
                ask("both", &both);
            }
            // The DNS answer is cached for at least a second.
            let turned = "rebinding.test leads to a private address";
            eventually(Duration::from_secs(10), "the name has turned", || {
                ask("abc", &abc);
                (gateway.count_logs(turned) > 0).then_some(())
            });
            let (public, inside) = (public.load(Ordering::SeqCst), inside.load(Ordering::SeqCst));
            assert_eq!(inside, 0);
            assert!(public > 1, "{public}");
            format!("{calls} calls, {public} connects to the public address, {inside} inside")
        },
    );
}
