//! Meter of a translated stream: the provider's own meter, and behind it the translation of what it passes on.

use super::reply::{Piece, ReadEvents, WriteEvents};
use crate::dialect::call::Reading;
use crate::dialect::{Meter, sse};

pub(super) struct TranslatedMeter {
    native: Box<dyn Meter>,
    splitter: sse::Splitter,
    reader: Box<dyn ReadEvents>,
    writer: Box<dyn WriteEvents>,
    pieces: Vec<Piece>,
}

impl TranslatedMeter {
    pub(crate) fn new(
        native: Box<dyn Meter>,
        reader: Box<dyn ReadEvents>,
        writer: Box<dyn WriteEvents>,
    ) -> TranslatedMeter {
        TranslatedMeter {
            native,
            splitter: sse::Splitter::default(),
            reader,
            writer,
            pieces: Vec::new(),
        }
    }

    /// Reads events as the provider's meter has passed them on.
    fn take(&mut self, bytes: &[u8], is_last: bool) -> Vec<u8> {
        let (reader, pieces) = (&mut self.reader, &mut self.pieces);
        let mut each = |event: &[u8]| match sse::read(event).data {
            Some(data) => reader.read(&data, pieces),
            // A comment, which keeps the connection open.
            None => pieces.push(Piece::Ping),
        };
        self.splitter.feed(bytes, &mut each);
        if is_last {
            self.splitter.finish(&mut each);
            self.reader.end(&mut self.pieces);
        }
        let mut out = Vec::new();
        for piece in self.pieces.drain(..) {
            self.writer.write(piece, &mut out);
        }
        out
    }
}

impl Meter for TranslatedMeter {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let native = self.native.feed(bytes);
        self.take(&native, false)
    }

    fn finish(&mut self) -> Vec<u8> {
        let native = self.native.finish();
        self.take(&native, true)
    }

    fn reading(&self) -> &Reading {
        self.native.reading()
    }

    fn withheld(&self) -> usize {
        self.native.withheld() + self.splitter.pending()
    }

    fn drop_kept_text(&mut self) {
        self.native.drop_kept_text();
    }
}
