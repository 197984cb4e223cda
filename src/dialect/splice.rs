//! Edits a text in a few byte ranges. Every other byte must stay as received.

use std::ops::Range;

/// Replacements in a text, made together by [`Splice::apply`].
#[derive(Debug, Default)]
pub struct Splice {
    edits: Vec<(Range<usize>, String)>,
}

impl Splice {
    /// Replaces `range` with `text`. Ranges must not overlap; an empty range inserts.
    pub fn put(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.edits.push((range, text.into()));
    }

    /// Removes the elements of a list, or members of an object, that are marked `true`, with their commas. If
    /// all are removed, the bytes around them stay.
    pub fn cut(&mut self, elements: &[(Range<usize>, bool)]) {
        let mut kept_before = None;
        let mut at = 0;
        while at < elements.len() {
            let (range, is_cut) = &elements[at];
            if !is_cut {
                kept_before = Some(range.end);
                at += 1;
                continue;
            }
            let rest = &elements[at..];
            let run = rest.iter().take_while(|(_, is_cut)| *is_cut).count();
            let end = rest[run - 1].0.end;
            let next = rest.get(run).map(|(next, _)| next.start);
            let range = match kept_before {
                Some(before) => before..end,
                None => range.start..next.unwrap_or(end),
            };
            self.put(range, "");
            at += run;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    pub fn apply(mut self, source: &[u8]) -> Vec<u8> {
        self.edits
            .sort_by_key(|(range, _)| (range.start, range.end));
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

    #[test]
    fn elements_cut_from_a_list_take_their_commas() {
        let list = "[ a , b,c ,d ]";
        let elements = [2..3, 6..7, 8..9, 11..12];
        for (cut, left) in [
            ("a", "[ b,c ,d ]"),
            ("b", "[ a,c ,d ]"),
            ("d", "[ a , b,c ]"),
            ("ab", "[ c ,d ]"),
            ("bc", "[ a ,d ]"),
            ("cd", "[ a , b ]"),
            ("ad", "[ b,c ]"),
            ("bd", "[ a,c ]"),
            ("abcd", "[  ]"),
            ("", list),
        ] {
            let elements = elements
                .clone()
                .map(|range| (range.clone(), cut.contains(&list[range])));
            let mut splice = Splice::default();
            splice.cut(&elements);
            assert_eq!(splice.apply(list.as_bytes()), left.as_bytes(), "{cut}");
        }
    }
}
