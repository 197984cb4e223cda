//! A primary, a replica and three sentinels that fail over in about two seconds.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::dir::TempDir;
use super::net::free_port;
use super::redis::{REPLICATION, Redis, field_of, wait_info};
use super::resp::Reply;
use super::wait::eventually;

/// Service name of the pair.
const SERVICE: &str = "main";
const QUORUM: usize = 2;
/// One sentinel detects a dead primary later: if all three did at once, each would vote for itself
/// repeatedly. The third decides between the first two.
const DOWN_AFTER_MS: [u32; 3] = [1000, 1000, 2000];
/// Ping and INFO periods of the sentinels in milliseconds; the defaults are one to ten seconds. The ping
/// period has two bounds: a period of `down-after` or more would declare a newly promoted primary dead, and a
/// replica is eligible only if its INFO (once a second here) is younger than five periods. Needs Redis 7.
const PERIODS_MS: [&str; 8] = [
    "PING-PERIOD",
    "300",
    "INFO-PERIOD",
    "200",
    "ASK-PERIOD",
    "100",
    "PUBLISH-PERIOD",
    "200",
];
const START: Duration = Duration::from_secs(30);
/// Timeout of a failover: an undecided vote is repeated after twice `failover-timeout`, possibly more than
/// once.
const FAILOVER: Duration = Duration::from_secs(60);

pub struct Sentinel {
    sentinels: Vec<Redis>,
    servers: Vec<Redis>,
}

impl Sentinel {
    #[track_caller]
    pub fn start() -> Sentinel {
        // By default a primary waits five seconds for more replicas before it sends its data.
        let at_once = [&["--repl-diskless-sync-delay", "0"][..], &REPLICATION].concat();
        let primary = Redis::with(&at_once);
        let of_primary = format!("127.0.0.1 {}", primary.port());
        let replica = Redis::with(&[&at_once[..], &["--replicaof", &of_primary]].concat());
        wait_info(&replica, "master_link_status", "up");
        let started = Sentinel {
            sentinels: DOWN_AFTER_MS.map(|ms| sentinel(primary.port(), ms)).into(),
            servers: vec![primary, replica],
        };
        started.wait_complete(START);
        started
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port()))
            .collect();
        format!("redis+sentinel://{}/{SERVICE}", hosts.join(","))
    }

    /// Server that most sentinels name as the primary.
    #[track_caller]
    pub fn primary(&self) -> &Redis {
        eventually(START, "the sentinels agree on a primary", || {
            let named: Vec<u16> = self.sentinels.iter().filter_map(primary_port).collect();
            self.servers.iter().find(|server| {
                let votes = named.iter().filter(|port| **port == server.port());
                votes.count() >= QUORUM
            })
        })
    }

    /// Server that is not the primary, alive or dead.
    #[track_caller]
    pub fn other(&self) -> &Redis {
        let primary = self.primary().port();
        let other = self.servers.iter().find(|server| server.port() != primary);
        other.expect("two servers")
    }

    /// Disconnects the replica after it has received every write.
    #[track_caller]
    pub fn cut_replica(&self) {
        self.primary().cut_off(self.other());
    }

    /// Kills the primary and returns its port, before any failover.
    #[track_caller]
    pub fn kill_primary(&self) -> u16 {
        let primary = self.primary();
        primary.kill();
        primary.port()
    }

    /// Waits until the replica of `dead` accepts writes and the sentinels name it.
    #[track_caller]
    pub fn wait_failover(&self, dead: u16) -> &Redis {
        eventually(FAILOVER, "a replica was promoted", || {
            let promoted = self.servers.iter().find(|server| server.port() != dead)?;
            let agreed = self
                .sentinels
                .iter()
                .all(|sentinel| primary_port(sentinel) == Some(promoted.port()));
            (agreed && promoted.info("role")? == "master").then_some(promoted)
        })
    }

    /// Restarts the dead server and waits until it follows the new primary.
    #[track_caller]
    pub fn revive(&self, dead: u16) {
        let server = self.servers.iter().find(|server| server.port() == dead);
        server.expect("a port of this pair").restart();
        self.wait_complete(FAILOVER);
    }

    /// Waits until a replica is in sync and every sentinel sees it and its two peers.
    #[track_caller]
    fn wait_complete(&self, timeout: Duration) {
        eventually(
            timeout,
            "primary, replica and sentinels are complete",
            || {
                let other = self.other();
                let follows = other.info("role")? == "slave"
                    && other.info("master_link_status")? == "up"
                    && other.info("master_port")? == self.primary().port().to_string();
                let seen = self.sentinels.iter().all(sees_all);
                (follows && seen).then_some(())
            },
        );
    }
}

fn sentinel(primary: u16, down_after_ms: u32) -> Redis {
    let dir = TempDir::new();
    let config = dir.write(
        "sentinel.conf",
        &format!(
            "sentinel monitor {SERVICE} {} {primary} {QUORUM}\n\
             sentinel down-after-milliseconds {SERVICE} {down_after_ms}\n\
             sentinel failover-timeout {SERVICE} 2000\n\
             sentinel parallel-syncs {SERVICE} 1\n",
            Ipv4Addr::LOCALHOST
        ),
    );
    let config = config.to_string_lossy().into_owned();
    let sentinel = Redis::in_dir(dir, free_port(), &[&config, "--sentinel"]);
    sentinel.cli(&[&["SENTINEL", "DEBUG"], &PERIODS_MS[..]].concat());
    sentinel
}

fn primary_port(sentinel: &Redis) -> Option<u16> {
    let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE];
    match sentinel.try_cli(&asked).ok()? {
        Reply::List(address) => address.get(1)?.text().parse().ok(),
        _ => None,
    }
}

fn sees_all(sentinel: &Redis) -> bool {
    let Ok(Reply::Bulk(text)) = sentinel.try_cli(&["INFO", "sentinel"]) else {
        return false;
    };
    let text = String::from_utf8_lossy(&text);
    // master0:name=main,status=ok,address=…,slaves=1,sentinels=3
    field_of(&text, "master0").is_some_and(|line| {
        let parts: Vec<&str> = line.split(',').collect();
        ["status=ok", "slaves=1", "sentinels=3"]
            .iter()
            .all(|part| parts.contains(part))
    })
}
