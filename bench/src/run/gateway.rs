//! ResuLLM under test: default features on, with a rate limit and balances that are enforced but never
//! reached.
//!
//! After each measurement its charges are compared with the tokens that the provider served
//! ([`Gateway::books`]).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::certificate::Certificate;
use super::child::{Running, free_port};
use super::client::{ask, ask_all, request};
use super::contender::Site;
use super::machine::root;
use super::redis::{self, Redis};
use super::scenario::{HUNDRED, Keys, MANY};
use crate::provider::Count;
use crate::{Outcome, fault};

/// Path of the calls, behind their tenant.
pub const CALL: &str = "v1/chat/completions";
/// Path of the tenant that is measured.
pub const PATH: &str = "/bench/v1/chat/completions";
/// Path of the tenant whose calls are refused.
pub const REFUSED_PATH: &str = "/refused/v1/chat/completions";
/// Share of its first price that an answer from the cache costs.
const FEE_PERCENT: u64 = 20;
const ADMIN: &str = "bench-admin-token";
/// Deadline for the gateway to listen.
const START: Duration = Duration::from_secs(20);
/// Deadline for the charges to match: the gateway settles after it has answered.
const SETTLE: Duration = Duration::from_secs(2);
/// Tokens of the single hot key ([`Keys::Hot`]).
const HOT: u64 = 9_000_000_000_000_000;
/// Tokens of each of many keys.
const EACH: u64 = 1_000_000_000_000;
/// Connections that read balances concurrently.
const READERS: usize = 64;
/// Connections that mint keys concurrently. The embedded store commits concurrent writes as a group, so many
/// are cheap.
const MINTERS: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Embedded,
    Redis,
}

/// A group of keys: tokens granted to them, and tokens that the provider served on them.
#[derive(Default)]
struct Ledger {
    keys: Vec<String>,
    granted: u64,
    served: u64,
}

pub struct Gateway {
    pub running: Running,
    pub redis: Option<Redis>,
    pub port: u16,
    pub tls_port: u16,
    dir: PathBuf,
    hot: Ledger,
    kept: Ledger,
    beside: Ledger,
    hundred: Ledger,
    many: Ledger,
    /// A key with 1 token, for [`Keys::Spent`].
    spent: String,
    /// Price in tokens of the answer that is kept.
    price: u64,
}

/// Tokens charged by the gateway, and tokens counted by the provider. They must be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Books {
    pub charged: u64,
    pub served: u64,
}

/// Returns the path of the binary under test: `RESULLM_BIN`, or `target/dist/resullm`.
pub fn program() -> PathBuf {
    match env::var_os("RESULLM_BIN") {
        Some(path) => path.into(),
        None => root().join("target/dist/resullm"),
    }
}

/// Starts the gateway, with a Redis server if `store` needs one, and mints the hot and the spent key.
pub fn start(store: Store, site: &Site, dir: &Path) -> Outcome<Gateway> {
    fs::create_dir_all(dir)?;
    let redis = match store {
        Store::Redis => Some(redis::start(dir)?),
        Store::Embedded => None,
    };
    let (port, tls_port) = (free_port()?, free_port()?);
    let url = match &redis {
        Some(redis) => format!("redis://127.0.0.1:{}", redis.port),
        None => format!("embedded:{}", dir.join("data").display()),
    };
    let config = dir.join("gateway.yaml");
    fs::write(
        &config,
        settings(site, (port, tls_port), free_port()?, &url),
    )?;
    let mut command = Command::new(program());
    command.arg("--config").arg(&config).current_dir(dir);
    for name in [
        "PORT",
        "HOST",
        "REDIS_URL",
        "ADMIN_TOKEN",
        "SECRETS_KEY",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    let log = dir.join("gateway.log");
    let mut running = Running::spawn("resullm", &mut command, &log)?;
    if let Some(code) = running.wait_port(port, START)? {
        let text = fs::read_to_string(&log).unwrap_or_default();
        return Err(fault(format!("resullm ended with {code}: {text}")));
    }
    let mut gateway = Gateway {
        running,
        redis,
        port,
        tls_port,
        dir: dir.to_owned(),
        hot: Ledger::default(),
        kept: Ledger::default(),
        beside: Ledger::default(),
        hundred: Ledger::default(),
        many: Ledger::default(),
        spent: String::new(),
        price: 0,
    };
    gateway.hot = gateway.mint("bench", 1, HOT)?;
    gateway.kept = gateway.mint("kept", 1, HOT)?;
    gateway.spent = gateway.mint("bench", 1, 1)?.keys.remove(0);
    Ok(gateway)
}

/// Returns the text of `gateway.yaml`. Values are written as JSON, which is valid YAML.
fn settings(site: &Site, (port, tls_port): (u16, u16), dead: u16, store: &str) -> String {
    let Certificate { chain, key } = &site.certificate;
    let provider = site.provider;
    let secure = json!({
        "address": format!("127.0.0.1:{tls_port}"),
        "tls": { "cert": chain, "key": key },
    });
    let tenant = json!({
        "user_groups": { "bench": {
            "tokens": HOT, "rate_limit": 1_000_000_000, "rate_limit_window": 60,
        } },
        "providers": { "text": { "default": "provider", "endpoints": { "provider": {
            "url": format!("http://127.0.0.1:{provider}/v1/chat/completions"),
            "api_key": "provider-key",
            "default_model": "gpt-4o-mini",
        } } } },
    });
    let mut kept = tenant.clone();
    kept["caching"] = json!({
        "enabled": true, "text_ttl": 86_400, "fee_percentage": FEE_PERCENT,
    });
    let mut beside = tenant.clone();
    let endpoints = &mut beside["providers"]["text"]["endpoints"];
    endpoints["dead"] = endpoints["provider"].clone();
    endpoints["dead"]["url"] = json!(format!("http://127.0.0.1:{dead}/v1/chat/completions"));
    for name in ["dead", "provider"] {
        endpoints[name]["models"] = json!(["gpt-4o-mini"]);
    }
    let tenants = json!({
        "bench": tenant, "refused": tenant, "kept": kept, "beside": beside,
    });
    let sections = [
        // All clients have the same address here.
        (
            "server",
            json!({
                "listen": [format!("127.0.0.1:{port}"), secure],
                "max_connections": 20_000,
                "max_connections_per_address": 20_000,
            }),
        ),
        ("store", json!(store)),
        // `refused-401` sends unknown keys on purpose, all from that one address.
        ("accounts", json!({ "failures_per_address": 1_000_000_000 })),
        ("admin", json!({ "token": ADMIN })),
        ("egress", json!({ "allow_private_networks": true })),
        ("tenants", tenants),
    ];
    sections
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect()
}

impl Gateway {
    fn mint(&self, tenant: &str, count: usize, tokens: u64) -> Outcome<Ledger> {
        let wanted = json!({ "group": "bench", "tokens": tokens }).to_string();
        let path = format!("/{tenant}/admin/keys");
        let one = request("POST", &path, ADMIN, &wanted);
        let mut keys = Vec::with_capacity(count);
        for answer in ask_all(self.port, vec![one; count], MINTERS)? {
            let key = answer.json(201)?["apiKey"].as_str().map(str::to_owned);
            keys.push(key.ok_or_else(|| fault("a minted key without its name"))?);
        }
        Ok(Ledger {
            granted: tokens * count as u64,
            keys,
            served: 0,
        })
    }

    /// Mints a key of the tenant `refused`.
    pub fn mint_refused(&self, tokens: u64) -> Outcome<String> {
        let wanted = json!({ "group": "bench", "tokens": tokens }).to_string();
        let answer = ask(
            self.port,
            request("POST", "/refused/admin/keys", ADMIN, &wanted),
        )?;
        let key = answer.json(201)?["apiKey"].as_str().map(str::to_owned);
        key.ok_or_else(|| fault("a minted key without its name"))
    }

    /// Writes key records directly to Redis, as the store contract allows other programs to do: faster than
    /// minting 100,000 keys.
    fn write(&self, port: u16, count: usize) -> Outcome<Ledger> {
        let record = json!({
            "userId": null, "createdAt": "2026-01-01T00:00:00.000Z",
            "tokensLeft": EACH, "tenantId": "bench", "group": "bench",
        })
        .to_string();
        let keys: Vec<String> = (0..count)
            .map(|number| format!("user_bench-{number:06}"))
            .collect();
        let pairs: Vec<_> = keys
            .iter()
            .map(|key| (format!("apiKey:{key}"), record.clone()))
            .collect();
        redis::set_all(port, &pairs)?;
        Ok(Ledger {
            granted: EACH * count as u64,
            keys,
            served: 0,
        })
    }

    /// Creates the keys before the first measurement that uses them.
    pub fn prepare(&mut self, keys: Keys) -> Outcome<()> {
        let made = match (keys, &self.redis) {
            (Keys::Beside, _) if self.beside.keys.is_empty() => {
                self.mint("beside", HUNDRED, EACH)?
            }
            (Keys::Hundred, _) if self.hundred.keys.is_empty() => {
                self.mint("bench", HUNDRED, EACH)?
            }
            (Keys::Many, None) if self.many.keys.is_empty() => self.mint("bench", MANY, EACH)?,
            (Keys::Many, Some(redis)) if self.many.keys.is_empty() => {
                self.write(redis.port, MANY)?
            }
            _ => return Ok(()),
        };
        fs::write(self.file(keys), made.keys.join("\n"))?;
        match keys {
            Keys::Many => self.many = made,
            Keys::Beside => self.beside = made,
            _ => self.hundred = made,
        }
        Ok(())
    }

    /// File with one key per line, for `bench load --keys`.
    fn file(&self, keys: Keys) -> PathBuf {
        self.dir.join(format!("keys-{keys:?}").to_lowercase())
    }

    /// Returns the key arguments of `bench load`.
    pub fn arguments(&self, keys: Keys) -> Vec<String> {
        let header = |key: &str| {
            vec![
                "--header".to_owned(),
                format!("authorization: Bearer {key}"),
            ]
        };
        match keys {
            Keys::Hot => header(&self.hot.keys[0]),
            Keys::Kept => header(&self.kept.keys[0]),
            Keys::Unknown => header("user_nobody-has-this-key"),
            Keys::Spent => header(&self.spent),
            Keys::Hundred | Keys::Beside | Keys::Many => {
                vec![
                    "--keys".to_owned(),
                    self.file(keys).to_string_lossy().into(),
                ]
            }
        }
    }

    fn ledger(&mut self, keys: Keys) -> &mut Ledger {
        match keys {
            Keys::Hundred => &mut self.hundred,
            Keys::Many => &mut self.many,
            Keys::Kept => &mut self.kept,
            Keys::Beside => &mut self.beside,
            Keys::Hot | Keys::Unknown | Keys::Spent => &mut self.hot,
        }
    }

    /// Adds tokens that the provider served on these keys, and the fees of the answers from the cache.
    pub fn served(&mut self, keys: Keys, provider: Count, answered: u64) {
        let mut fees = 0;
        if keys == Keys::Kept {
            if let Some(price) = provider.tokens.checked_div(provider.requests) {
                self.price = price;
            }
            let fee = (self.price * FEE_PERCENT).div_ceil(100);
            fees = fee * answered.saturating_sub(provider.requests);
        }
        self.ledger(keys).served += provider.tokens + fees;
    }

    /// Compares charges with served tokens; waits up to [`SETTLE`] for them to agree.
    pub fn books(&mut self, keys: Keys) -> Outcome<Books> {
        let begun = Instant::now();
        loop {
            let ledger = self.ledger(keys);
            let (granted, served) = (ledger.granted, ledger.served);
            let left = self.left(keys)?;
            let charged = granted.saturating_sub(left);
            if charged == served || begun.elapsed() > SETTLE {
                return Ok(Books { charged, served });
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the sum of the keys' balances, from `GET /auth/me`.
    fn left(&mut self, keys: Keys) -> Outcome<u64> {
        let port = self.port;
        let looks = self.ledger(keys).keys.iter();
        let path = format!("/{}/auth/me", keys.tenant());
        let looks = looks.map(|key| request("GET", &path, key, ""));
        let mut sum = 0;
        for answer in ask_all(port, looks.collect(), READERS)? {
            let left = answer.json(200)?["tokensLeft"].as_u64();
            sum += left.ok_or_else(|| fault("a balance that is no number"))?;
        }
        Ok(sum)
    }

    /// Whether the 100,000 keys of [`Keys::Many`] were used.
    pub fn used_many(&self) -> bool {
        !self.many.keys.is_empty()
    }
}

/// Returns the provider's count, from `GET /count`.
pub fn provider_count(port: u16) -> Outcome<Count> {
    let answer = ask(port, request("GET", "/count", "", ""))?;
    Ok(serde_json::from_value(answer.json(200)?)?)
}
