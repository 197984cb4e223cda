//! Faults: what is wrong with the settings, all of it at once, one line each with its place, the path
//! of the key and what was expected. A fault never repeats a secret.

use std::fmt;

/// One thing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `file:line:column`, `file` or `environment NAME`.
    pub place: Option<String>,
    /// The dotted path of the setting; empty where the fault belongs to none.
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

/// Everything wrong; never empty when returned as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Adds a fault, once: a value that the file takes from the environment and the environment
    /// gives again is wrong in one way, not two.
    pub fn add(&mut self, fault: Fault) {
        let known = |other: &Fault| other.path == fault.path && other.message == fault.message;
        if fault.path.is_empty() || !self.0.iter().any(known) {
            self.0.push(fault);
        }
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

/// The candidate that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Two slips in a short name, three in a longer one; more is another word.
    let slips = if name.len() > 8 { 3 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= slips && distance < candidate.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters must be changed, put in or left out to make one name of the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in to.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_edits() {
        let cases = [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("foo", "form", 2),
            ("kitten", "sitting", 3),
            ("listen", "lsiten", 2),
        ];
        for (from, to, edits) in cases {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        assert_eq!(nearest("lisen", ["name", "listen"]), Some("listen"));
        assert_eq!(nearest("foo", ["form", "x"]), Some("form"));
        assert_eq!(nearest("certificates", ["listen", "store"]), None);
        assert_eq!(nearest("ab", ["xy"]), None);
    }

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
