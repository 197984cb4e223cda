//! The table of scenarios ([`ALL`]), and the idle stream scenarios ([`IDLE`]).

use serde::{Deserialize, Serialize};

use super::chart::thousands;
use crate::load::Protocol;

/// Keys that the requests carry. All but `Hot` are measured with ResuLLM only: the other contenders have one
/// key or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// One key with a large balance.
    Hot,
    /// [`HUNDRED`] keys, each request with a random one.
    Hundred,
    /// [`MANY`] keys.
    Many,
    /// A key that does not exist (401).
    Unknown,
    /// A key whose balance is spent (402).
    Spent,
    /// A key of a tenant that keeps answers: all requests are equal, so all but the first are hits.
    Kept,
    /// [`HUNDRED`] keys of a tenant of two endpoints, one of which is dead.
    Beside,
}

impl Keys {
    /// Tenant of the keys, as their paths begin.
    pub fn tenant(self) -> &'static str {
        match self {
            Keys::Kept => "kept",
            Keys::Beside => "beside",
            _ => "bench",
        }
    }
}

pub const HUNDRED: usize = 100;
pub const MANY: usize = 100_000;

/// Load of one measurement, and the expected status.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    pub protocol: Protocol,
    pub connections: usize,
    pub stream: bool,
    pub body_bytes: usize,
    pub keys: Keys,
    pub expect: u16,
    /// A second accepted status.
    pub or: Option<u16>,
}

const PLAIN: Scenario = Scenario {
    name: "",
    title: "",
    protocol: Protocol::Http1,
    connections: 1,
    stream: false,
    body_bytes: 0,
    keys: Keys::Hot,
    expect: 200,
    or: None,
};

const fn plain(name: &'static str, title: &'static str, connections: usize) -> Scenario {
    Scenario {
        name,
        title,
        connections,
        ..PLAIN
    }
}

const fn stream(name: &'static str, title: &'static str, connections: usize) -> Scenario {
    Scenario {
        stream: true,
        ..plain(name, title, connections)
    }
}

const fn body(name: &'static str, title: &'static str, body_bytes: usize) -> Scenario {
    Scenario {
        body_bytes,
        ..plain(name, title, 16)
    }
}

const fn keyed(name: &'static str, title: &'static str, keys: Keys, expect: u16) -> Scenario {
    Scenario {
        keys,
        expect,
        ..plain(name, title, 64)
    }
}

const fn kept(name: &'static str, title: &'static str, stream: bool) -> Scenario {
    Scenario {
        keys: Keys::Kept,
        stream,
        ..plain(name, title, 16)
    }
}

const fn over(protocol: Protocol, scenario: Scenario) -> Scenario {
    Scenario {
        protocol,
        ..scenario
    }
}

const HTTP1_TLS: Protocol = Protocol::Http1Tls;
const HTTP2: Protocol = Protocol::Http2;
const HTTP2_TLS: Protocol = Protocol::Http2Tls;

pub const ALL: [Scenario; 22] = [
    plain("plain-1", "1 connection", 1),
    plain("plain-16", "16 connections", 16),
    plain("plain-64", "64 connections", 64),
    plain("plain-256", "256 connections", 256),
    stream("stream-1", "1 connection", 1),
    stream("stream-16", "16 connections", 16),
    stream("stream-64", "64 connections", 64),
    over(HTTP1_TLS, plain("tls-plain", "Plain answers", 16)),
    over(HTTP1_TLS, stream("tls-stream", "Streams", 16)),
    over(HTTP2, plain("h2-plain", "Plain answers, no TLS", 2)),
    over(HTTP2, stream("h2-stream", "Streams, no TLS", 2)),
    over(HTTP2_TLS, plain("h2-tls-plain", "Plain answers, TLS", 2)),
    over(HTTP2_TLS, stream("h2-tls-stream", "Streams, TLS", 2)),
    body("body-64k", "64 KB", 64 * 1024),
    body("body-1m", "1 MB", 1024 * 1024),
    keyed("keys-100", "100 keys", Keys::Hundred, 200),
    keyed("keys-100k", "100,000 keys", Keys::Many, 200),
    kept("kept-plain", "Plain answers", false),
    kept("kept-stream", "Streams", true),
    Scenario {
        keys: Keys::Beside,
        ..plain("beside-dead", "One of two endpoints dead", 64)
    },
    keyed("refused-401", "401, an unknown key", Keys::Unknown, 401),
    Scenario {
        or: Some(429),
        ..keyed(
            "refused-402",
            "402, then 429: a spent key that asks on",
            Keys::Spent,
            402,
        )
    },
];

/// Scenarios of `--short`.
pub const SHORT: [&str; 10] = [
    "plain-1",
    "plain-16",
    "plain-64",
    "stream-1",
    "stream-16",
    "stream-64",
    "kept-plain",
    "kept-stream",
    "keys-100",
    "beside-dead",
];

/// Idle streams: they send one event and then nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    pub streams: usize,
    /// 100 streams per HTTP/2 connection instead of one per HTTP/1.1 connection.
    #[serde(default)]
    pub http2: bool,
}

impl Silent {
    pub fn protocol(self) -> Protocol {
        match self.http2 {
            true => Protocol::Http2,
            false => Protocol::Http1,
        }
    }

    pub fn title(self) -> String {
        let streams = thousands(self.streams as f64);
        match self.http2 {
            true => format!("{streams} idle streams of HTTP/2"),
            false => format!("{streams} idle streams"),
        }
    }
}

const fn silent(streams: usize, http2: bool) -> Silent {
    Silent { streams, http2 }
}

pub const MOST_SILENT: Silent = silent(10_000, false);
pub const MOST_SILENT_HTTP2: Silent = silent(10_000, true);
pub const IDLE: [Silent; 3] = [silent(2_000, false), MOST_SILENT, MOST_SILENT_HTTP2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_names_scenarios_that_exist() {
        for name in SHORT {
            assert!(ALL.iter().any(|scenario| scenario.name == name), "{name}");
        }
    }
}
