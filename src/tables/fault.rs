//! Validation errors of a config, collected so that all are reported at once.
//!
//! Printed one per line: place, path, and what was expected. A fault must never contain a secret.

use serde::Serialize;

use std::fmt;

/// One validation error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// `file:line:column`, `file` or `environment NAME`.
    #[serde(skip)]
    pub place: Option<String>,
    /// Dotted path of the setting, such as `server.max_body`; empty if the fault concerns no setting.
    pub path: String,
    pub message: String,
}

impl Fault {
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault {
            place: None,
            path: path.into(),
            message: message.into(),
        }
    }

    pub fn at(mut self, place: impl Into<String>) -> Fault {
        self.place = Some(place.into());
        self
    }
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

/// Most faults that are kept of one config: its writer needs no more, and a hostile one must not fill the memory.
const MAX_FAULTS: usize = 100;

/// All validation errors, up to [`MAX_FAULTS`]; never empty when returned as an `Err`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Adds a fault unless one with the same path and message exists: a bad `REDIS_URL` that the file also
    /// references as `${REDIS_URL}` is reported once.
    pub fn add(&mut self, fault: Fault) {
        if self.0.len() >= MAX_FAULTS {
            return;
        }
        let known = |other: &Fault| other.path == fault.path && other.message == fault.message;
        if fault.path.is_empty() || !self.0.iter().any(known) {
            self.0.push(fault);
        }
    }
}

impl Faults {
    /// Returns all faults in one line, for the log.
    pub fn in_line(&self) -> String {
        let faults: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        faults.join("; ")
    }

    /// Returns a value, or the faults if there are some.
    pub fn none_or<T>(self, value: Option<T>) -> Result<T, Faults> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl std::ops::Deref for Faults {
    type Target = [Fault];

    fn deref(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
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
