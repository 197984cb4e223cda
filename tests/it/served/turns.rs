//! What a model does with a call, whoever serves it: how much it thinks and says, and how it ends.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Whole,
    /// The connection is cut after so many words; with nought of them before a byte.
    BreaksOff(u64),
    /// Nothing more comes after so many words.
    Stalls(u64),
    /// The server says that it has failed, after so many words.
    Fails(u64),
    /// All is generated, and the server cannot read it.
    Unparsed,
}

#[derive(Debug)]
pub struct Turn {
    pub name: &'static str,
    pub thoughts: u64,
    pub words: u64,
    pub arguments: u64,
    pub ending: Ending,
    /// Bytes beside every word that are no part of it.
    pub padding: usize,
}

const SHORT: Turn = Turn {
    name: "short",
    thoughts: 8,
    words: 6,
    arguments: 0,
    ending: Ending::Whole,
    padding: 0,
};

pub static TURNS: &[Turn] = &[
    SHORT,
    Turn {
        name: "tool",
        words: 2,
        arguments: 8,
        ..SHORT
    },
    // More than any hold here pays for.
    Turn {
        name: "long",
        thoughts: 100,
        words: 5_000,
        ..SHORT
    },
    Turn {
        name: "thinks long",
        thoughts: 5_000,
        words: 5_000,
        ..SHORT
    },
    // More than any connection keeps for a client that reads nothing.
    Turn {
        name: "wide",
        words: 1_000,
        padding: 16_000,
        ..SHORT
    },
    Turn {
        name: "breaks off at once",
        ending: Ending::BreaksOff(0),
        ..SHORT
    },
    Turn {
        name: "breaks off",
        thoughts: 20,
        ending: Ending::BreaksOff(3),
        ..SHORT
    },
    Turn {
        name: "stalls",
        thoughts: 20,
        ending: Ending::Stalls(3),
        ..SHORT
    },
    Turn {
        name: "fails",
        ending: Ending::Fails(3),
        thoughts: 20,
        ..SHORT
    },
    Turn {
        name: "unparsed",
        ending: Ending::Unparsed,
        words: 60,
        ..SHORT
    },
];

#[track_caller]
pub fn turn(name: &str) -> &'static Turn {
    let mut turns = TURNS.iter();
    turns.find(|turn| turn.name == name).expect("a turn")
}
