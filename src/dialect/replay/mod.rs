//! How answers of a call are kept by a cache, and given again as JSON or as a stream.

/// How answers of one call are kept, and given again.
pub trait Replay: Sync {
    /// Whether a whole answer may be given to others again.
    fn judge(&self, answer: &[u8]) -> Verdict;
    /// Puts the events of a finished stream together to the whole answer. `None`: something in it is not understood.
    fn assemble(&self, stream: &[u8]) -> Option<Vec<u8>>;
    /// Writes a whole answer as a stream. `None`: something in it is not understood.
    fn stream(&self, answer: &[u8], wants_usage: bool) -> Option<Vec<u8>>;
}

/// Whether an answer may be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Whole,
    CallsTools,
    Truncated,
    Refused,
    Unfit,
}
