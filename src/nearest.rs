//! Finds the known name closest to a misspelled one, for "did you mean" hints in error messages.
//!
//! [`nearest`] compares by edit distance (Levenshtein).

use strsim::levenshtein;

/// Returns the candidate with the smallest edit distance to `name`, or `None` if every candidate is too
/// different.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // At most 2 edits in a name of up to 8 bytes, 3 in a longer one: with more it is a different word.
    let slips = if name.len() > 8 { 3 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (levenshtein(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= slips && distance < candidate.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        assert_eq!(nearest("lisen", ["name", "listen"]), Some("listen"));
        assert_eq!(nearest("foo", ["form", "x"]), Some("form"));
        assert_eq!(nearest("certificates", ["listen", "store"]), None);
        assert_eq!(nearest("ab", ["xy"]), None);
    }
}
