//! Result of reading one container. Must keep apart what is counted, what is declared and what is estimated.

use super::time::Time;

/// Length of a recording, as the reader of its container found it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// Upper bound of the frames that were found.
    pub most: Time,
    /// Whether a decoder can get nothing but those frames, so that `most` bounds the file.
    pub bounded: bool,
    /// Whether the container is unknown. Then the file is bounded by `MIN_BYTES_PER_SECOND`: a decoder that
    /// accepts it is assumed to be an ordinary one.
    pub unknown: bool,
    /// Duration that the header declares, whatever the frames hold.
    pub declared: Time,
    /// Estimate: the duration of an ordinary file of this format. `None`: there is none but `most`.
    pub likely: Option<Time>,
}

impl Measured {
    /// Known container without any bound: the file counts as `LONGEST_SECONDS`.
    pub(crate) const UNBOUNDED: Measured = Measured {
        most: Time::ZERO,
        bounded: false,
        unknown: false,
        declared: Time::ZERO,
        likely: None,
    };

    /// Unknown container, bounded by its size alone.
    pub const UNKNOWN: Measured = Measured {
        unknown: true,
        ..Measured::UNBOUNDED
    };

    /// Returns the reading of a file whose every frame was found, with a total of exactly `time`.
    pub fn exact(time: Time) -> Measured {
        Measured {
            most: time,
            bounded: true,
            unknown: false,
            declared: Time::ZERO,
            likely: (time > Time::ZERO).then_some(time),
        }
    }

    /// Returns the reading of a file whose every frame was found, with a total of at most `most`.
    pub fn at_most(most: Time, likely: Option<Time>) -> Measured {
        Measured {
            most,
            likely,
            ..Measured::exact(most)
        }
    }

    /// Adds the duration that the header declares.
    pub(crate) fn declared(self, declared: Time) -> Measured {
        Measured { declared, ..self }
    }
}
