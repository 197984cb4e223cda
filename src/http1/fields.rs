//! Header fields of one HTTP/1.1 head, kept as byte ranges of the head instead of copies.
//!
//! A head has about ten headers and each is looked up once, so a linear search costs less than a hash table.

use bytes::Bytes;
use std::ops::Range;

/// Header fields in the order of their head. Names are compared without case.
#[derive(Clone, Default)]
pub struct Fields {
    head: Bytes,
    /// Ranges of each header's name and value in `head`.
    lines: Vec<(Range<u32>, Range<u32>)>,
}

/// Prints only the number of headers, because `Authorization` and `Cookie` are among them.
impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fields({})", self.lines.len())
    }
}

impl Fields {
    /// All ranges in `lines` must lie within `head`.
    pub(super) fn new(head: Bytes, lines: Vec<(Range<u32>, Range<u32>)>) -> Fields {
        Fields { head, lines }
    }

    fn part(&self, range: &Range<u32>) -> &[u8] {
        &self.head[range.start as usize..range.end as usize]
    }

    /// Returns every value of the header `name`, in order.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.lines
            .iter()
            .filter(move |(line, _)| {
                line.len() == name.len() && self.part(line).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(|(_, value)| self.part(value))
    }

    /// Returns the first value of the header `name`, if it is UTF-8.
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

    /// Returns the comma-separated elements of all values of the header `name`, trimmed.
    pub fn words(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
    }
}
