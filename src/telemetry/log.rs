//! The logger behind the `log` crate: `[LEVEL] sentence` (`log.format: human`) or one JSON object a line
//! (`json`).
//!
//! Errors and warnings go to standard error, the rest to standard output. Log lines of dependencies are
//! dropped unless `log.level` names their target: the gateway handles what they report, or nobody can act on
//! it.

use crate::settings::{Log, LogFormat};
use log::{Level, LevelFilter, Metadata, Record};
use std::io::Write;
use std::time::SystemTime;

/// Target of this crate's log lines.
const OUR_TARGET: &str = "resullm";

struct Logger {
    format: LogFormat,
    /// Target prefix and maximum level, longest prefix first; the first match applies.
    levels: Vec<(String, LevelFilter)>,
}

/// Installs the logger and the panic hook. Calls after the first in a process have no effect.
pub fn start(settings: &Log) {
    let levels = levels(&settings.level);
    let most = levels
        .iter()
        .map(|(_, level)| *level)
        .max()
        .unwrap_or(LevelFilter::Off);
    let logger = Logger {
        format: settings.format,
        levels,
    };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(most);
        super::panics::follow();
    }
}

/// Parses `log.level`: `info`, or `warn,resullm=debug,hyper=trace`. A level without a target is for
/// `resullm`.
fn levels(text: &str) -> Vec<(String, LevelFilter)> {
    let mut levels: Vec<(String, LevelFilter)> = text
        .split(',')
        .filter_map(|directive| {
            let (target, level) = directive
                .trim()
                .rsplit_once('=')
                .unwrap_or((OUR_TARGET, directive.trim()));
            Some((target.trim().to_owned(), level.trim().parse().ok()?))
        })
        .collect();
    levels.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
    levels
}

/// Whether a target belongs to a library that logs request heads, keys included, at `debug` or `trace`. Those
/// levels are never written for them, whatever `log.level` says.
fn quotes_requests(target: &str) -> bool {
    ["pingora", "h2", "rustls"]
        .iter()
        .any(|name| target.starts_with(name))
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let fits = |target: &str| {
            let rest = metadata.target().strip_prefix(target);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        if metadata.level() > Level::Info && quotes_requests(metadata.target()) {
            return false;
        }
        let level = self.levels.iter().find(|(target, _)| fits(target));
        level.is_some_and(|(_, level)| metadata.level() <= *level)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Escape line breaks, so that a record is always one line.
        let message = record
            .args()
            .to_string()
            .replace('\n', "\\n")
            .replace('\r', "\\r");
        let line = match self.format {
            LogFormat::Human => format!("[{}] {message}\n", record.level()),
            LogFormat::Json => {
                let now = SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default();
                let fields = serde_json::json!({
                    "ts": crate::rules::date::rfc3339(now.into()),
                    "level": record.level().as_str().to_ascii_lowercase(),
                    "target": record.target(),
                    "message": message,
                });
                format!("{fields}\n")
            }
        };
        // Ignore a closed output: it must not fail a request.
        let _ = if record.level() <= Level::Warn {
            std::io::stderr().lock().write_all(line.as_bytes())
        } else {
            std::io::stdout().lock().write_all(line.as_bytes())
        };
    }

    fn flush(&self) {
        let _ = std::io::stdout().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Log;

    #[test]
    fn level_without_a_target_covers_this_crate_only() {
        let logger = Logger {
            format: LogFormat::Human,
            levels: levels("info,hyper=trace, resullm::store=debug"),
        };
        let shown = |target, level| {
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        assert!(shown("resullm", Level::Info));
        assert!(!shown("resullm::proxy", Level::Debug));
        assert!(shown("resullm::store::redis", Level::Debug));
        assert!(shown("hyper::client", Level::Trace));
        assert!(!shown("hyperion", Level::Error));
        assert!(!shown("pingora_core", Level::Error));
    }
}
