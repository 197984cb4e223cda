//! Fields of log lines: what a line is about, beside its sentence. JSON lines have them as members, human lines
//! as `key=value` behind the sentence.
//!
//! No field may ever hold a key, a token or a prompt.

use super::throttle::Throttle;
use log::kv::{Error, Key, Source, Value, VisitSource};
use log::{Level, Record};
use std::fmt;

/// A field that one line has beside those of [`About`].
pub type Field<'a> = (&'static str, Value<'a>);

/// What a line about a request is about. Fields that are `None` are left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    pub tenant: Option<&'a str>,
    /// ID of the request (`x-request-id`).
    pub request: Option<&'a str>,
    /// Hash of the account, as in usage records.
    pub account: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    pub model: Option<&'a str>,
    /// Error code of the gateway's answer.
    pub code: Option<&'a str>,
    pub status: Option<u16>,
}

/// All fields of one line.
struct Fields<'a> {
    about: About<'a>,
    more: &'a [Field<'a>],
    /// Lines of this kind that were left out before this one.
    left_out: u64,
}

impl Source for Fields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        let about = &self.about;
        let words = [
            ("tenant", about.tenant),
            ("request", about.request),
            ("account", about.account),
            ("endpoint", about.endpoint),
            ("model", about.model),
            ("code", about.code),
        ];
        for (name, word) in words {
            if let Some(word) = word {
                visitor.visit_pair(Key::from_str(name), Value::from(word))?;
            }
        }
        if let Some(status) = about.status {
            visitor.visit_pair(Key::from_str("status"), Value::from(status))?;
        }
        for (name, value) in self.more {
            visitor.visit_pair(Key::from_str(name), value.clone())?;
        }
        if self.left_out > 0 {
            visitor.visit_pair(Key::from_str("left_out"), Value::from(self.left_out))?;
        }
        Ok(())
    }
}

impl About<'_> {
    /// Writes a line with these fields and `more`. `target`: the caller's `module_path!()`. Nothing is formatted
    /// where the level is off.
    pub fn log(self, target: &str, level: Level, more: &[Field<'_>], line: fmt::Arguments<'_>) {
        self.write(target, level, more, 0, line);
    }

    /// Like [`About::log`], for lines of which an outage would bring thousands: one of a kind and second.
    pub fn log_throttled(
        self,
        kind: &Throttle,
        target: &str,
        level: Level,
        more: &[Field<'_>],
        line: fmt::Arguments<'_>,
    ) {
        if let Some(left_out) = kind.pass() {
            self.write(target, level, more, left_out, line);
        }
    }

    fn write(
        self,
        target: &str,
        level: Level,
        more: &[Field<'_>],
        left_out: u64,
        line: fmt::Arguments<'_>,
    ) {
        if !log::log_enabled!(target: target, level) {
            return;
        }
        let fields = Fields {
            about: self,
            more,
            left_out,
        };
        let mut record = Record::builder();
        record.target(target).level(level).key_values(&fields);
        log::logger().log(&record.args(line).build());
    }
}

/// [`About`] that outlives its request.
#[derive(Clone, Debug, Default)]
pub struct OwnedAbout {
    tenant: Option<String>,
    request: Option<String>,
    account: Option<String>,
    endpoint: Option<String>,
    model: Option<String>,
}

impl From<About<'_>> for OwnedAbout {
    fn from(about: About<'_>) -> OwnedAbout {
        let owned = |word: Option<&str>| word.map(str::to_owned);
        OwnedAbout {
            tenant: owned(about.tenant),
            request: owned(about.request),
            account: owned(about.account),
            endpoint: owned(about.endpoint),
            model: owned(about.model),
        }
    }
}

impl OwnedAbout {
    pub fn about(&self) -> About<'_> {
        About {
            tenant: self.tenant.as_deref(),
            request: self.request.as_deref(),
            account: self.account.as_deref(),
            endpoint: self.endpoint.as_deref(),
            model: self.model.as_deref(),
            ..About::default()
        }
    }
}
