//! Server versions with known vulnerabilities in the script engine.
//!
//! CVE-2025-49844 ("RediShell"), CVE-2025-46817, CVE-2025-46818 and CVE-2025-46819: a client that may run
//! scripts may run any code. Distributions backport fixes without a new version number, so this can only
//! judge what a server reports.

use redis::aio::MultiplexedConnection;

/// First fixed version of each line of releases. Lines that are not listed are too old to have one, or newer
/// than the vulnerabilities.
const FIRST_FIXED: [(&str, [u32; 3]); 8] = [
    ("redis", [6, 2, 20]),
    ("redis", [7, 2, 11]),
    ("redis", [7, 4, 6]),
    ("redis", [8, 0, 4]),
    ("redis", [8, 2, 2]),
    ("valkey", [7, 2, 11]),
    ("valkey", [8, 0, 6]),
    ("valkey", [8, 1, 4]),
];

/// Logs one warning if the server's version is vulnerable. A server that does not report its version is
/// skipped.
pub(crate) async fn warn_if_vulnerable(connection: &mut MultiplexedConnection) {
    // `HELLO` is allowed to every user, whatever the permissions are.
    let said = redis::cmd("HELLO").query_async(connection).await;
    let said: std::collections::HashMap<String, redis::Value> = said.unwrap_or_default();
    let word = |name: &str| {
        let value = said.get(name)?.clone();
        redis::from_redis_value::<String>(value).ok()
    };
    let (Some(server), Some(version)) = (word("server"), word("version")) else {
        return;
    };
    if is_vulnerable(&server, &version) {
        log::warn!(
            "The store reports version {version} of {server}: unless it was mended without a new number, its \
             script engine has known holes (CVE-2025-49844 and others)"
        );
    }
}

fn is_vulnerable(server: &str, version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (parts.next(), parts.next()) else {
        return false;
    };
    let patch = parts.next().flatten().unwrap_or(0);
    let lines = || FIRST_FIXED.iter().filter(|(name, _)| *name == server);
    let line = lines().find(|(_, mended)| mended[..2] == [major, minor]);
    match line {
        Some((_, mended)) => patch < mended[2],
        // Between two lines, or before the first.
        None => lines().any(|(_, mended)| [major, minor] < [mended[0], mended[1]]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mended_release_of_each_line_is_known() {
        for (server, version, holes) in [
            ("redis", "6.0.16", true),
            ("redis", "6.2.19", true),
            ("redis", "6.2.20", false),
            ("redis", "7.0.15", true),
            ("redis", "7.2.10", true),
            ("redis", "7.2.11", false),
            ("redis", "7.4.5", true),
            ("redis", "7.4.6", false),
            ("redis", "8.0.3", true),
            ("redis", "8.0.4", false),
            ("redis", "8.2.1", true),
            ("redis", "8.2.2", false),
            ("redis", "8.4.0", false),
            ("redis", "9.0.0", false),
            ("valkey", "7.2.10", true),
            ("valkey", "7.2.11", false),
            ("valkey", "8.0.5", true),
            ("valkey", "8.0.6", false),
            ("valkey", "8.1.3", true),
            ("valkey", "8.1.4", false),
            ("valkey", "9.0.0", false),
            ("something", "1.0.0", false),
            ("redis", "new", false),
        ] {
            assert_eq!(is_vulnerable(server, version), holes, "{server} {version}");
        }
    }
}
