//! Picture of an answer, the same whatever API it is written in: whole ([`WholeReply`]), or as it comes ([`Piece`]).

use super::conversation::ContentPart;

/// Whole answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WholeReply {
    pub id: String,
    pub model: String,
    pub parts: Vec<ContentPart>,
    pub stop: Stop,
    /// `None`: the provider reports none.
    pub usage: Option<TokenCounts>,
}

impl WholeReply {
    pub(crate) fn calls_tools(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, ContentPart::Call(_)))
    }
}

/// Reason for the end of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The model had said what it wanted to say.
    End,
    /// The limit of the answer was reached.
    Limit,
    /// The model's context was full.
    Context,
    /// A stop sequence was generated; `None`: it is not known which.
    Sequence(Option<String>),
    /// The model waits for the results of tools.
    Calls,
    /// The provider or the model refused.
    Refused,
    /// The provider's own tools take long; the client is to send the turn again.
    Paused,
}

/// Tokens that a provider reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenCounts {
    /// All input, cached or not.
    pub input: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    /// All output, reasoning included.
    pub output: u64,
    pub reasoning: u64,
}

impl TokenCounts {
    pub(crate) fn uncached(&self) -> u64 {
        self.input
            .saturating_sub(self.cache_read)
            .saturating_sub(self.cache_write)
    }
}

/// Piece of an answer that is streamed. At most one part is open at a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Start {
        id: String,
        model: String,
        /// Input tokens, where they are known before the answer.
        usage: Option<TokenCounts>,
    },
    Open(Opened),
    /// More of the part that is open: text, or the JSON text of a call's input.
    More(String),
    /// Proof of the thinking that is open.
    Signature(String),
    Close,
    /// A part that comes whole.
    Whole(ContentPart),
    Stop(Stop, Option<TokenCounts>),
    /// Sign of life.
    Ping,
    Failed(Failure),
}

impl Piece {
    /// Returns a failure with the status that it would have had before the stream.
    pub(crate) fn failed(status: u16, message: &str) -> Piece {
        Piece::Failed(Failure {
            status,
            message: message.to_owned(),
        })
    }
}

/// Kind of a part that is streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    Text,
    Thinking,
    Refusal,
    Call { id: String, name: String },
}

/// Failure that a provider reports in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Status that the error would have had before the stream.
    pub status: u16,
    pub message: String,
}

/// Reader of a stream's events.
pub(crate) trait ReadEvents: Send {
    /// Reads the data of an event.
    fn read(&mut self, data: &[u8], out: &mut Vec<Piece>);

    /// Ends the reading: the provider has closed the stream.
    fn end(&mut self, out: &mut Vec<Piece>);
}

/// Writer of a stream's events.
pub(crate) trait WriteEvents: Send {
    fn write(&mut self, piece: Piece, out: &mut Vec<u8>);
}

/// Collects the pieces of a stream whose parts are opened and closed by a reader.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    open: Option<Opened>,
}

impl Parts {
    pub(crate) fn open(&self) -> Option<&Opened> {
        self.open.as_ref()
    }

    /// Opens a part; the one before is closed.
    pub(crate) fn begin(&mut self, part: Opened, out: &mut Vec<Piece>) {
        self.close(out);
        out.push(Piece::Open(part.clone()));
        self.open = Some(part);
    }

    /// Adds to a part of this kind, which is opened where another is open. Empty text opens nothing.
    pub(crate) fn more(&mut self, part: Opened, text: String, out: &mut Vec<Piece>) {
        if text.is_empty() {
            return;
        }
        if self.open.as_ref() != Some(&part) {
            self.begin(part, out);
        }
        out.push(Piece::More(text));
    }

    pub(crate) fn close(&mut self, out: &mut Vec<Piece>) {
        if self.open.take().is_some() {
            out.push(Piece::Close);
        }
    }
}
