//! What one look at a container says about its length. It must keep apart what is counted, what is
//! declared and what is guessed.

use super::time::Time;

/// What a container says about its length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// The most that the frames found can hold.
    pub most: Time,
    /// Whether nothing but the frames found can be decoded.
    pub bounded: bool,
    /// Whether it is of no container that is known: a decoder that takes it is held to be an ordinary one.
    pub unknown: bool,
    /// What the head says, whatever the frames hold.
    pub declared: Time,
    /// What an honest file of this make lasts.
    pub likely: Option<Time>,
}

impl Reading {
    /// Nothing is known.
    pub const UNBOUNDED: Reading = Reading {
        most: Time::ZERO,
        bounded: false,
        unknown: false,
        declared: Time::ZERO,
        likely: None,
    };

    pub const UNKNOWN: Reading = Reading {
        unknown: true,
        ..Reading::UNBOUNDED
    };

    /// Every frame was found, and lasts exactly this.
    pub fn exact(time: Time) -> Reading {
        Reading {
            most: time,
            bounded: true,
            unknown: false,
            declared: Time::ZERO,
            likely: (time > Time::ZERO).then_some(time),
        }
    }

    /// Of the frames found, the most that they can hold.
    pub fn at_most(most: Time, likely: Option<Time>) -> Reading {
        Reading {
            most,
            likely,
            ..Reading::exact(most)
        }
    }

    pub fn declared(self, declared: Time) -> Reading {
        Reading { declared, ..self }
    }
}
