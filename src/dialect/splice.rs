//! Changes a text in a few places and leaves every other byte as it came.

use std::ops::Range;

#[derive(Debug, Default)]
pub struct Splice {
    edits: Vec<(Range<usize>, String)>,
}

impl Splice {
    /// Puts `text` where `range` is. Ranges must not overlap; an empty one inserts.
    pub fn put(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.edits.push((range, text.into()));
    }

    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    pub fn apply(mut self, source: &[u8]) -> Vec<u8> {
        self.edits.sort_by_key(|(range, _)| range.start);
        let grown: usize = self.edits.iter().map(|(_, text)| text.len()).sum();
        let mut out = Vec::with_capacity(source.len() + grown);
        let mut at = 0;
        for (range, text) in &self.edits {
            out.extend_from_slice(&source[at..range.start]);
            out.extend_from_slice(text.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(&source[at..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_else_leaves_as_it_came() {
        let mut splice = Splice::default();
        splice.put(4..5, "XYZ");
        splice.put(1..1, "-");
        assert_eq!(splice.apply(b"abcdefg"), b"a-bcdXYZfg");
        assert_eq!(Splice::default().apply(b"abc"), b"abc");
    }
}
