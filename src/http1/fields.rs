//! The headers of a head, left where they were read.
//!
//! There are about ten of them and each is asked for once: looking through them costs less than a table.

use bytes::Bytes;
use std::ops::Range;

#[derive(Clone, Default)]
pub struct Fields {
    head: Bytes,
    /// Names and values.
    lines: Vec<(Range<u32>, Range<u32>)>,
}

/// Keys and cookies are among them.
impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fields({})", self.lines.len())
    }
}

impl Fields {
    /// The places must lie in `head`.
    pub(super) fn new(head: Bytes, lines: Vec<(Range<u32>, Range<u32>)>) -> Fields {
        Fields { head, lines }
    }

    fn part(&self, range: &Range<u32>) -> &[u8] {
        &self.head[range.start as usize..range.end as usize]
    }

    /// Every value of that name, in order.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.lines
            .iter()
            .filter(move |(line, _)| {
                line.len() == name.len() && self.part(line).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(|(_, value)| self.part(value))
    }

    /// The first value of that name, if it is text.
    pub fn get(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.all(name).next()?).ok()
    }

    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines
            .iter()
            .map(|(name, value)| (self.part(name), self.part(value)))
    }

    /// The words of all values of that name, between their commas.
    pub fn words(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
    }
}
