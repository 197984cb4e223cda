//! Behaviour of a model in a call: reasoning, output, and its end.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Whole,
    /// The connection breaks after this many words; 0: before the first byte.
    BreaksOff(u64),
    /// The stream stalls after this many words.
    Stalls(u64),
    /// The server reports a failure after this many words.
    Fails(u64),
    /// Everything is generated, but the server cannot parse it.
    Unparsed,
}

#[derive(Debug)]
pub struct Turn {
    pub name: &'static str,
    pub thoughts: u64,
    pub words: u64,
    pub arguments: u64,
    /// Name of the tool that is called.
    pub tool: &'static str,
    pub ending: Ending,
    /// Extra bytes per event that are not part of the text.
    pub padding: usize,
}

const SHORT: Turn = Turn {
    name: "short",
    thoughts: 8,
    words: 6,
    arguments: 0,
    tool: "",
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
    Turn {
        name: "named tool",
        words: 2,
        arguments: 8,
        tool: "f",
        ..SHORT
    },
    // More than any hold in these tests.
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
    // More than connections buffer for a client that stops reading.
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
