//! Other gateways and proxies: `peers/NAME.json` describes how to call one, `peers/NAME.sh` starts it.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::machine::{first_line, root};
use crate::{Outcome, fault};

/// Exit code of a peer's script if its program is not installed.
pub const NOT_INSTALLED: i32 = 3;

/// The content of `peers/NAME.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    #[serde(skip)]
    pub name: String,
    pub path: String,
    headers: BTreeMap<String, String>,
    pub model: String,
    pub features: String,
    /// Measured only with `--all`.
    pub slow: bool,
    /// Also listens with TLS and HTTP/2, on the ports in `HTTP2_PORT` and `TLS_PORT`.
    #[serde(default)]
    pub every_protocol: bool,
    version_command: Vec<String>,
}

/// Returns the peers that have both files, sorted by name.
pub fn find(dir: &Path) -> Outcome<Vec<Peer>> {
    let mut peers = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry?.path();
        let is_json = path.extension().is_some_and(|ending| ending == "json");
        if !is_json || !path.with_extension("sh").exists() {
            continue;
        }
        let mut peer: Peer = serde_json::from_slice(&fs::read(&path)?)
            .map_err(|error| fault(format!("{}: {error}", path.display())))?;
        let name = path.file_stem().unwrap_or_default();
        peer.name = name.to_string_lossy().into_owned();
        peers.push(peer);
    }
    peers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(peers)
}

impl Peer {
    pub fn headers(&self) -> Vec<String> {
        let pairs = self.headers.iter();
        pairs
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    pub fn version(&self, peers: &Path) -> String {
        let Some((program, arguments)) = self.version_command.split_first() else {
            return "?".to_owned();
        };
        // A path is relative to the project root. A bare name is searched in `PATH` and `/usr/sbin`, where
        // Debian installs servers.
        let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let mut command = match program.contains('/') {
            true => Command::new(peers.join("../..").join(program)),
            false => Command::new(program),
        };
        let line = first_line(
            command
                .args(arguments)
                .env("PATH", path)
                .current_dir(root()),
        );
        shortened(&line)
    }
}

/// Removes the text before `version:` and a trailing URL: `nginx version: nginx/1.22.1` gives `nginx/1.22.1`.
fn shortened(line: &str) -> String {
    let rest = line.rsplit("version:").next().unwrap_or(line);
    rest.split(" - http")
        .next()
        .unwrap_or(rest)
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_version_is_what_follows_the_word() {
        assert_eq!(shortened("nginx version: nginx/1.22.1"), "nginx/1.22.1");
        let haproxy = "HAProxy version 2.6.12-1 2023/12/16 - https://haproxy.org/";
        assert_eq!(shortened(haproxy), "HAProxy version 2.6.12-1 2023/12/16");
        assert_eq!(shortened("1.15.2"), "1.15.2");
    }
}
