//! Ends of the answers in a stream: a provider that has no event for the end of a stream says why each answer ended.

/// Places of the answers that were shown, and of those that have given the reason of their end.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    shown: Vec<u64>,
    ended: Vec<u64>,
}

/// Most answers that are told apart, more than any call has.
const MAX_ANSWERS: usize = 128;

impl Ends {
    pub(crate) fn see(&mut self, place: u64, has_ended: bool) {
        add(&mut self.shown, place);
        if has_ended {
            add(&mut self.ended, place);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Whether this number of answers, and all that were shown, have ended.
    pub(crate) fn are_all(&self, answers: u64) -> bool {
        let ended = self.ended.len();
        ended > 0 && ended >= self.shown.len() && ended as u64 >= answers
    }
}

fn add(places: &mut Vec<u64>, place: u64) {
    if !places.contains(&place) && places.len() < MAX_ANSWERS {
        places.push(place);
    }
}

/// Whether a reason, as it is written in JSON, says that an answer has ended.
pub(crate) fn is_reason(value: &[u8]) -> bool {
    let unspecified = [&b"\"\""[..], b"\"null\"", b"\"FINISH_REASON_UNSPECIFIED\""];
    value.starts_with(b"\"") && !unspecified.contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_ended_when_each_of_its_answers_has() {
        let mut ends = Ends::default();
        assert!(ends.is_empty() && !ends.are_all(1));
        ends.see(0, true);
        assert!(ends.are_all(1) && !ends.are_all(2));
        ends.see(1, false);
        assert!(!ends.are_all(1));
        ends.see(1, true);
        ends.see(1, false);
        assert!(ends.are_all(2));
        assert!(is_reason(b"\"stop\"") && !is_reason(b"null") && !is_reason(b"\"\""));
    }
}
