//! Finds the known name closest to a misspelled one, for "did you mean" hints in error messages.
//!
//! [`nearest`] compares by edit distance (Levenshtein).

/// Returns the candidate with the smallest edit distance to `name`, or `None` if every candidate is too
/// different.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // At most 2 edits in a name of up to 8 bytes, 3 in a longer one: with more it is a different word.
    let slips = if name.len() > 8 { 3 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= slips && distance < candidate.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: the number of characters to substitute, insert or delete to turn `from` into `to`.
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
}
