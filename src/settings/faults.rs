//! Validation errors of the settings, collected so that all are reported at once.
//!
//! Printed one per line: place, path of the key, and what was expected. A fault must never contain a secret.

use super::resolved::LogFormat;
use std::fmt;

/// One validation error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `file:line:column`, `file` or `environment NAME`.
    pub place: Option<String>,
    /// Dotted path of the setting, such as `server.max_body`; empty if the fault concerns no setting.
    pub path: String,
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// All validation errors; never empty when returned as an `Err`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    pub all: Vec<Fault>,
    /// `log.format`, where it could be read: the format in which the faults are logged.
    pub log_format: LogFormat,
}

impl Faults {
    /// Adds a fault unless one with the same path and message exists: a bad `REDIS_URL` that the file also
    /// references as `${REDIS_URL}` is reported once.
    pub fn add(&mut self, fault: Fault) {
        let known = |other: &Fault| other.path == fault.path && other.message == fault.message;
        if fault.path.is_empty() || !self.all.iter().any(known) {
            self.all.push(fault);
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.all.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_shown_one_a_line() {
        let mut faults = Faults::default();
        for (place, path, message) in [
            (
                Some("gateway.yaml:12:3"),
                "server.max_body",
                "expected a size",
            ),
            (
                Some("environment PORT"),
                "server.max_body",
                "expected a size",
            ),
            (None, "", "nothing"),
        ] {
            faults.add(Fault {
                place: place.map(str::to_owned),
                path: path.to_owned(),
                message: message.to_owned(),
            });
        }
        assert_eq!(
            faults.to_string(),
            "gateway.yaml:12:3: server.max_body: expected a size\nnothing"
        );
    }
}
