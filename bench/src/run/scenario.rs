//! What is measured, as a table.

/// Whose keys the requests carry. All but the first are asked of ResuLLM only: the others have one
/// key or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    Hot,
    Hundred,
    Many,
    Unknown,
    Spent,
}

pub const HUNDRED: usize = 100;
pub const MANY: usize = 100_000;

#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    pub connections: usize,
    pub stream: bool,
    pub body_bytes: usize,
    pub keys: Keys,
    pub expect: u16,
}

const PLAIN: Scenario = Scenario {
    name: "",
    title: "",
    connections: 1,
    stream: false,
    body_bytes: 0,
    keys: Keys::Hot,
    expect: 200,
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

pub const ALL: [Scenario; 13] = [
    plain("plain-1", "1 connection", 1),
    plain("plain-16", "16 connections", 16),
    plain("plain-64", "64 connections", 64),
    plain("plain-256", "256 connections", 256),
    stream("stream-1", "1 connection", 1),
    stream("stream-16", "16 connections", 16),
    stream("stream-64", "64 connections", 64),
    body("body-64k", "64 KB", 64 * 1024),
    body("body-1m", "1 MB", 1024 * 1024),
    keyed("keys-100", "100 keys", Keys::Hundred, 200),
    keyed("keys-100k", "100,000 keys", Keys::Many, 200),
    keyed("refused-401", "401, an unknown key", Keys::Unknown, 401),
    keyed("refused-402", "402, a spent key", Keys::Spent, 402),
];

/// What the short form measures.
pub const SHORT: [&str; 6] = [
    "plain-1",
    "plain-16",
    "plain-64",
    "stream-1",
    "stream-16",
    "stream-64",
];

/// Streams that say one thing and then nothing.
pub const IDLE: [usize; 2] = [2_000, 10_000];

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
