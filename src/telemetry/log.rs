//! The logger behind the `log` crate: `[LEVEL] sentence key=value` (`log.format: human`) or one JSON object a
//! line (`json`), whose members are the fields.
//!
//! Human errors and warnings go to standard error, everything else to standard output. Log lines of dependencies
//! are dropped unless `log.level` names their target: the gateway handles what they report, or nobody can act on
//! it.

use crate::settings::{Log, LogFormat};
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Metadata, Record};
use serde_json::{Map, json};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::SystemTime;

/// Target of this crate's log lines.
const OUR_TARGET: &str = "resullm";
/// Target of the access log, which has a switch of its own (`log.access`).
pub const ACCESS: &str = "resullm::access";

/// Starts of human lines whose whole text is promised to scripts: no field and no time is appended to them.
const PROMISED: [&str; 5] = [
    "Loaded tenant config for ",
    "Listening on ",
    "Metrics on ",
    "Server shutting down",
    "Redis connection failed: ",
];

struct Logger {
    format: LogFormat,
    /// Whether human lines end with their time. The journal of systemd adds its own.
    has_time: bool,
    /// Target prefix and maximum level, longest prefix first; the first match applies.
    levels: Vec<(String, LevelFilter)>,
}

/// Installs the logger and the panic hook. Calls after the first in a process have no effect.
pub fn start(settings: &Log) {
    let mut levels = levels(&settings.level);
    let access = match settings.access {
        true => LevelFilter::Info,
        false => LevelFilter::Off,
    };
    levels.insert(0, (ACCESS.to_owned(), access));
    let most = levels
        .iter()
        .map(|(_, level)| *level)
        .max()
        .unwrap_or(LevelFilter::Off);
    let logger = Logger {
        format: settings.format,
        has_time: !is_journal(settings.journal.as_deref()),
        levels,
    };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(most);
        super::panics::follow();
    }
}

/// Writes error lines without a logger, for settings that could not be read.
pub fn write_errors(format: LogFormat, lines: &str) {
    for line in lines.lines() {
        let text = match format {
            LogFormat::Human => format!("[ERROR] {line}\n"),
            LogFormat::Json => {
                let fields = json!({
                    "ts": now(), "level": "error", "target": OUR_TARGET, "message": line,
                });
                format!("{fields}\n")
            }
        };
        write(format, Level::Error, &text);
    }
}

/// Whether standard error is the journal of systemd, by the device and inode in `JOURNAL_STREAM`.
fn is_journal(stream: Option<&str>) -> bool {
    let ours = rustix::fs::fstat(io::stderr());
    stream.is_some_and(|stream| {
        ours.is_ok_and(|ours| stream == format!("{}:{}", ours.st_dev, ours.st_ino))
    })
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

fn now() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    crate::rules::date::rfc3339(now.unwrap_or_default().into())
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
        let line = match self.format {
            LogFormat::Human => self.human(record),
            LogFormat::Json => json_line(record),
        };
        write(self.format, record.level(), &line);
    }

    fn flush(&self) {
        let _ = io::stdout().flush();
    }
}

impl Logger {
    fn human(&self, record: &Record<'_>) -> String {
        let mut line = record.args().to_string();
        if !PROMISED.iter().any(|start| line.starts_with(start)) {
            // Writing to a `String` cannot fail.
            let _ = record.key_values().visit(&mut HumanFields(&mut line));
            if self.has_time {
                let _ = write!(line, " time={}", now());
            }
        }
        // Escape line breaks, so that a record is always one line.
        let line = line.replace('\n', "\\n").replace('\r', "\\r");
        format!("[{}] {line}\n", record.level())
    }
}

/// Fields as ` key=value`, quoted where they would not be one word.
struct HumanFields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for HumanFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value.to_string();
        let is_word = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=';
        if !value.is_empty() && value.chars().all(is_word) {
            write!(self.0, " {key}={value}")?;
        } else {
            write!(self.0, " {key}={value:?}")?;
        }
        Ok(())
    }
}

/// Formats a record as one JSON object. Line breaks are escaped by JSON itself.
fn json_line(record: &Record<'_>) -> String {
    let mut members = Map::new();
    members.insert("ts".to_owned(), now().into());
    let level = record.level().as_str().to_ascii_lowercase();
    members.insert("level".to_owned(), level.into());
    members.insert("target".to_owned(), record.target().into());
    members.insert("message".to_owned(), record.args().to_string().into());
    // Filling a map cannot fail.
    let _ = record.key_values().visit(&mut JsonFields(&mut members));
    format!("{}\n", serde_json::Value::Object(members))
}

struct JsonFields<'a>(&'a mut Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for JsonFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = match (value.to_u64(), value.to_i64(), value.to_bool()) {
            (Some(number), ..) => number.into(),
            (_, Some(number), _) => number.into(),
            (.., Some(is_so)) => is_so.into(),
            _ => value.to_string().into(),
        };
        self.0.insert(key.to_string(), value);
        Ok(())
    }
}

/// Writes a finished line. JSON lines go one way, so that they stay in order.
fn write(format: LogFormat, level: Level, line: &str) {
    // A closed output is ignored: it must not fail a request.
    let _ = if format == LogFormat::Human && level <= Level::Warn {
        io::stderr().lock().write_all(line.as_bytes())
    } else {
        io::stdout().lock().write_all(line.as_bytes())
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Log;

    fn logger(format: LogFormat) -> Logger {
        Logger {
            format,
            has_time: false,
            levels: levels("info,hyper=trace, resullm::store=debug"),
        }
    }

    #[test]
    fn level_without_a_target_covers_this_crate_only() {
        let logger = logger(LogFormat::Human);
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

    fn lines(sentence: &str, fields: &[(&str, Value<'_>)]) -> (String, serde_json::Value) {
        let args = format_args!("{sentence}");
        let mut record = Record::builder();
        record
            .target("resullm")
            .level(Level::Info)
            .key_values(&fields);
        let record = record.args(args).build();
        let human = logger(LogFormat::Human).human(&record);
        let json = serde_json::from_str(&json_line(&record));
        (human, json.unwrap())
    }

    #[test]
    fn fields_are_members_or_words_behind_the_sentence() {
        let fields = [
            ("tenant", Value::from("t1")),
            ("tokens", Value::from(7_u64)),
            ("why", Value::from("a \"b\"\nc")),
            ("empty", Value::from("")),
        ];
        let (human, json) = lines("It\nhappened", &fields);
        let wanted = "[INFO] It\\nhappened tenant=t1 tokens=7 why=\"a \\\"b\\\"\\nc\" empty=\"\"\n";
        assert_eq!(human, wanted);
        assert_eq!(json["message"], "It\nhappened");
        assert_eq!(json["tenant"], "t1");
        assert_eq!(json["tokens"], 7);
        assert_eq!(json["why"], "a \"b\"\nc");
        assert_eq!(json["level"], "info");
    }

    #[test]
    fn promised_lines_stay_as_they_are() {
        let (human, json) = lines(
            "Loaded tenant config for t1",
            &[("tenant", Value::from("t1"))],
        );
        assert_eq!(human, "[INFO] Loaded tenant config for t1\n");
        assert_eq!(json["tenant"], "t1");
    }

    #[test]
    fn only_the_stream_that_systemd_names_is_its_journal() {
        assert!(!is_journal(None));
        assert!(!is_journal(Some("0:0")));
        let ours = rustix::fs::fstat(io::stderr()).unwrap();
        assert!(is_journal(Some(&format!(
            "{}:{}",
            ours.st_dev, ours.st_ino
        ))));
    }
}
