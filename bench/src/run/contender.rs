//! The contenders: no proxy, other gateways, a bare pingora-proxy, ResuLLM. Starts each and builds its
//! arguments.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::certificate::Certificate;
use super::child::{Running, free_port};
use super::client::{ask, request};
use super::gateway::{self, Gateway, Store};
use super::machine::first_line;
use super::peer::{NOT_INSTALLED, Peer};
use super::scenario::Keys;
use crate::load::Protocol;
use crate::{Outcome, fault};

/// Deadline for a contender to listen and answer: LiteLLM imports for a long time.
const START: Duration = Duration::from_secs(90);
const PLAIN_PATH: &str = "/v1/chat/completions";

/// Environment of a run: provider port, directories, certificate.
pub struct Site {
    pub provider: u16,
    pub dir: PathBuf,
    pub peers: PathBuf,
    pub certificate: Certificate,
}

/// Ports of a contender.
#[derive(Clone, Copy, Debug)]
struct Doors {
    http1: u16,
    http2: Option<u16>,
    /// HTTP/1.1 and HTTP/2, selected by ALPN.
    tls: Option<u16>,
}

impl Doors {
    fn one(port: u16) -> Doors {
        Doors {
            http1: port,
            http2: None,
            tls: None,
        }
    }

    fn of(self, protocol: Protocol) -> Option<u16> {
        match protocol {
            Protocol::Http1 => Some(self.http1),
            Protocol::Http2 => self.http2,
            Protocol::Http1Tls | Protocol::Http2Tls => self.tls,
        }
    }
}

/// Kind of contender.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The provider itself, without a proxy.
    Direct,
    Peer(Peer),
    Bare,
    Gateway(Store),
}

/// Description of a contender in the results.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct About {
    pub name: String,
    pub version: String,
    pub features: String,
    /// Reason why it was not measured, if so.
    pub missing: Option<String>,
    pub peak_kb: Option<u64>,
    pub redis_peak_kb: Option<u64>,
}

/// A contender that answers requests.
pub struct Contender {
    pub about: About,
    pub process: Option<Process>,
    doors: Doors,
    certificate: PathBuf,
    path: String,
    headers: Vec<String>,
    model: String,
}

pub enum Process {
    Plain(Running),
    Gateway(Box<Gateway>),
}

impl Process {
    pub fn running(&mut self) -> &mut Running {
        match self {
            Process::Plain(running) => running,
            Process::Gateway(gateway) => &mut gateway.running,
        }
    }
}

pub enum Started {
    Running(Box<Contender>),
    NotInstalled(String),
}

impl Kind {
    pub fn name(&self) -> &str {
        match self {
            Kind::Direct => "direct",
            Kind::Peer(peer) => &peer.name,
            Kind::Bare => "pingora",
            Kind::Gateway(Store::Embedded) => "resullm-embedded",
            Kind::Gateway(Store::Redis) => "resullm-redis",
        }
    }

    /// Describes the contender without starting it.
    pub fn about(&self, site: &Site) -> About {
        let (version, features) = match self {
            Kind::Direct => (String::new(), "Nothing in between.".to_owned()),
            Kind::Peer(peer) => (
                peer.version(&site.peers),
                peer.features.trim_end_matches('.').to_owned() + ".",
            ),
            Kind::Bare => (
                format!("pingora-proxy {}", pingora_version()),
                "Its proxy service with default settings and nothing in it.".to_owned(),
            ),
            Kind::Gateway(store) => (own_version(*store), own_features(*store)),
        };
        About {
            name: self.name().to_owned(),
            version,
            features,
            ..About::default()
        }
    }

    /// Starts the contender. `label` names its log and directory, and differs between starts.
    pub fn start(&self, site: &Site, label: &str) -> Outcome<Started> {
        let mut contender = Contender {
            about: self.about(site),
            process: None,
            doors: Doors::one(site.provider),
            certificate: site.certificate.chain.clone(),
            path: PLAIN_PATH.to_owned(),
            headers: Vec::new(),
            model: "gpt-4o-mini".to_owned(),
        };
        let log = site.dir.join(format!("{label}.log"));
        let mut command = match self {
            Kind::Direct => return Ok(Started::Running(Box::new(contender))),
            Kind::Gateway(store) => {
                let dir = site.dir.join(label);
                let gateway = gateway::start(*store, site, &dir)?;
                contender.doors = Doors {
                    http1: gateway.port,
                    http2: Some(gateway.port),
                    tls: Some(gateway.tls_port),
                };
                contender.path = gateway::PATH.to_owned();
                contender.process = Some(Process::Gateway(Box::new(gateway)));
                contender.wait_answer()?;
                return Ok(Started::Running(Box::new(contender)));
            }
            Kind::Peer(peer) => {
                contender.path.clone_from(&peer.path);
                contender.model.clone_from(&peer.model);
                contender.headers = peer.headers();
                Command::new(site.peers.join(format!("{}.sh", peer.name)))
            }
            Kind::Bare => Command::new(env::current_exe()?),
        };
        contender.doors = Doors::one(free_port()?);
        let (provider, port) = (site.provider.to_string(), contender.doors.http1.to_string());
        match self {
            Kind::Bare => command.args(["bare", "--port", &port, "--provider", &provider]),
            _ => command
                .args([&provider, &port])
                .env("TMPDIR", &site.dir)
                .current_dir(&site.dir),
        };
        if matches!(self, Kind::Peer(peer) if peer.every_protocol) {
            let (http2, tls) = (free_port()?, free_port()?);
            contender.doors.http2 = Some(http2);
            contender.doors.tls = Some(tls);
            command
                .env("HTTP2_PORT", http2.to_string())
                .env("TLS_PORT", tls.to_string())
                .env("CERTIFICATE", &site.certificate.chain)
                .env("CERTIFICATE_KEY", &site.certificate.key);
        }
        let mut running = Running::spawn(self.name(), &mut command, &log)?;
        match running.wait_port(contender.doors.http1, START)? {
            None => {}
            Some(NOT_INSTALLED) => {
                let text = fs::read_to_string(&log).unwrap_or_default();
                return Ok(Started::NotInstalled(text.trim().to_owned()));
            }
            Some(code) => {
                let text = fs::read_to_string(&log).unwrap_or_default();
                return Err(fault(format!("ended with {code}: {}", text.trim())));
            }
        }
        contender.process = Some(Process::Plain(running));
        contender.wait_answer()?;
        Ok(Started::Running(Box::new(contender)))
    }
}

impl Contender {
    pub fn gateway(&mut self) -> Option<&mut Gateway> {
        match &mut self.process {
            Some(Process::Gateway(gateway)) => Some(gateway),
            _ => None,
        }
    }

    pub fn pid(&mut self) -> Option<u32> {
        Some(self.process.as_mut()?.running().pid())
    }

    pub fn redis_pid(&mut self) -> Option<u32> {
        Some(self.gateway()?.redis.as_ref()?.running.pid())
    }

    pub fn serves(&self, protocol: Protocol) -> bool {
        self.doors.of(protocol).is_some()
    }

    /// Returns the arguments of `bench load` and `bench hold` for this contender.
    pub fn arguments(&mut self, keys: Keys, protocol: Protocol) -> Vec<String> {
        let port = self.doors.of(protocol).unwrap_or(self.doors.http1);
        let path = match self.gateway() {
            Some(_) => format!("/{}/{}", keys.tenant(), gateway::CALL),
            None => self.path.clone(),
        };
        let mut arguments = vec![
            "--url".to_owned(),
            format!("{}://127.0.0.1:{port}{path}", protocol.scheme()),
            "--protocol".to_owned(),
            protocol.to_string(),
            "--trust".to_owned(),
            self.certificate.to_string_lossy().into_owned(),
            "--model".to_owned(),
            self.model.clone(),
        ];
        for header in &self.headers {
            arguments.extend(["--header".to_owned(), header.clone()]);
        }
        if let Some(gateway) = self.gateway() {
            arguments.extend(gateway.arguments(keys));
        }
        arguments
    }

    /// Waits for a 200: a gateway may listen before it can serve.
    fn wait_answer(&mut self) -> Outcome<()> {
        // ResuLLM is ready as soon as it listens, and a probe would need a key.
        if self.gateway().is_some() {
            return Ok(());
        }
        let body = json!({
            "model": self.model, "messages": [{ "role": "user", "content": "Hello" }],
        })
        .to_string();
        let mut probe = request("POST", &self.path, "", &body);
        let at = probe.windows(4).position(|four| four == b"\r\n\r\n");
        for header in &self.headers {
            let line = format!("\r\n{header}").into_bytes();
            probe.splice(at.unwrap_or(0)..at.unwrap_or(0), line);
        }
        let begun = Instant::now();
        loop {
            let what = match ask(self.doors.http1, probe.clone()) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
                Err(error) => error.to_string(),
            };
            if begun.elapsed() > START {
                return Err(fault(format!("no answer: {what}")));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn own_version(store: Store) -> String {
    let ours = first_line(Command::new(gateway::program()).arg("--version"));
    match store {
        Store::Embedded => ours,
        Store::Redis => {
            let redis = first_line(Command::new("redis-server").arg("--version"));
            let version = redis
                .split_whitespace()
                .find_map(|word| word.strip_prefix("v="));
            format!("{ours}, Redis {}", version.unwrap_or("?"))
        }
    }
}

fn own_features(store: Store) -> String {
    let place = match store {
        Store::Embedded => "on its own disk",
        Store::Redis => "in Redis with an append-only file",
    };
    format!(
        "Everything that is on by default: key check, rate limit per key, balance held before and settled after each call, usage log, journal; books {place}."
    )
}

/// Returns the version of `pingora-proxy` in `Cargo.lock`.
fn pingora_version() -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let mut lines = lock
        .lines()
        .skip_while(|line| *line != "name = \"pingora-proxy\"");
    lines
        .nth(1)
        .and_then(|line| line.split('"').nth(1))
        .unwrap_or("?")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lock_file_says_which_pingora_is_measured() {
        assert!(super::pingora_version().starts_with("0.9"));
    }
}
