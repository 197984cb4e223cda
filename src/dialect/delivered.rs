//! Counts the output of an answer as it is forwarded.
//!
//! A usage report is only a claim, and these counts check it. [`Delivered::least`] is a lower bound of the
//! tokens that any tokenizer makes of the text, [`Delivered::most`] an upper bound. No I/O. Counts only grow,
//! except by [`Delivered::reset`].

use super::tokens;
use crate::rules::amount::Tokens;
use crate::rules::charge::Sizes;

/// Maximum text kept for counting, in bytes. Text beyond it counts by its length alone.
const MAX_KEPT_TEXT_BYTES: usize = 512 << 10;

/// Upper bound of the bytes of one word that a single token covers, in any vocabulary in use.
const LONGEST_TOKEN_BYTES: u64 = 128;
/// Upper bound like `LONGEST_TOKEN_BYTES` for scripts beyond ASCII: 16 characters of 3 bytes.
const LONGEST_WIDE_TOKEN_BYTES: u64 = 48;

/// Words that one token may cover: vocabularies that merge across blanks join two words, seldom three.
const MAX_WORDS_PER_TOKEN: u64 = 2;

/// Tokens that frame an answer, a tool call or a block, and that the answer does not show.
const FRAME_TOKENS: u64 = 16;

/// Largest format that sound is streamed in: 24 kHz, 16 bits, one channel.
const MOST_SOUND_BYTES_PER_SECOND: u64 = 48_000;
/// Smallest format that sound is streamed in: Opus at 6 kbit/s.
const LEAST_SOUND_BYTES_PER_SECOND: u64 = 750;
/// Lower bound of the tokens that every provider counts for one second of sound.
const LEAST_TOKENS_PER_SOUND_SECOND: u64 = 10;

/// Output that was forwarded of an answer so far, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Generated text kept for the tokenizer, at most `MAX_KEPT_TEXT_BYTES`.
    pub kept: String,
    /// Bytes of all generated text, kept or not.
    pub bytes: u64,
    /// Bytes that may be generated text: their member or line is unknown to the dialect.
    pub unsure: u64,
    /// Bytes of generated sound, after base64 decoding.
    pub sound: u64,
    pub images: u64,
    /// Answers, tool calls and blocks that were begun, each counted as `FRAME_TOKENS`.
    pub frames: u64,
    /// Calls of hosted tools that the answer shows.
    pub hosted: HostedCalls,
    /// Whether an event, or the body, is no whole JSON text.
    pub is_malformed: bool,
    words: Words,
    /// Whether no more text is kept, because the body memory is full.
    is_full: bool,
}

/// Calls of the hosted tools that may have a price: `web_search` and `web_fetch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostedCalls {
    pub searches: u64,
    pub fetches: u64,
}

impl HostedCalls {
    /// Adds one call of the tool called `name`.
    pub fn add(&mut self, name: &str) {
        self.searches += u64::from(name.starts_with("web_search"));
        self.fetches += u64::from(name.starts_with("web_fetch"));
    }

    pub fn plus(self, other: HostedCalls) -> HostedCalls {
        HostedCalls {
            searches: self.searches + other.searches,
            fetches: self.fetches + other.fetches,
        }
    }

    pub fn max(self, other: HostedCalls) -> HostedCalls {
        HostedCalls {
            searches: self.searches.max(other.searches),
            fetches: self.fetches.max(other.fetches),
        }
    }
}

/// Counter of runs without blanks. Each run is at least one token, a longer one several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Words {
    count: u64,
    /// Length of the run that the text so far ends in, in 1/384 of a longest token. 384 is divisible by both
    /// token lengths.
    open: u64,
}

impl Words {
    const ASCII: u64 = 384 / LONGEST_TOKEN_BYTES;
    const WIDE: u64 = 384 / LONGEST_WIDE_TOKEN_BYTES;

    fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            if byte.is_ascii_whitespace() {
                self.open = 0;
                continue;
            }
            if self.open == 0 {
                self.count += 1;
            }
            self.open += if byte.is_ascii() {
                Words::ASCII
            } else {
                Words::WIDE
            };
            if self.open > 384 {
                self.count += 1;
                self.open -= 384;
            }
        }
    }
}

/// Snapshot of all counts and of the length of the kept text, for [`Delivered::reset`].
pub struct Mark {
    kept: usize,
    counts: Delivered,
}

impl Delivered {
    /// Adds text that the model generated.
    pub fn text(&mut self, text: &str) {
        self.bytes += text.len() as u64;
        self.words.push(text);
        if !self.is_full && self.kept.len() + text.len() <= MAX_KEPT_TEXT_BYTES {
            self.kept.push_str(text);
        }
    }

    /// Frees the memory of `kept`. The freed text, and all that follows, counts by its bytes.
    pub fn drop_kept_text(&mut self) {
        self.kept = String::new();
        self.is_full = true;
    }

    /// Adds an event, a member or a body that cannot be parsed as generated text: some client may parse it.
    pub fn unreadable(&mut self, bytes: &[u8]) {
        self.text(&String::from_utf8_lossy(bytes));
    }

    /// Adds an event or a body that is no whole JSON text, as [`Delivered::unreadable`].
    pub fn malformed(&mut self, bytes: &[u8]) {
        self.is_malformed = true;
        self.unreadable(bytes);
    }

    /// Returns a snapshot that [`Delivered::reset`] can restore.
    pub fn mark(&self) -> Mark {
        Mark {
            kept: self.kept.len(),
            counts: Delivered {
                kept: String::new(),
                ..*self
            },
        }
    }

    pub fn reset(&mut self, mark: Mark) {
        self.kept.truncate(mark.kept);
        let kept = std::mem::take(&mut self.kept);
        *self = Delivered {
            kept,
            is_full: self.is_full,
            ..mark.counts
        };
    }

    pub fn unsure(&mut self, bytes: usize) {
        self.unsure += bytes as u64;
    }

    /// Adds sound that is encoded as base64.
    pub(crate) fn base64_sound(&mut self, text: &str) {
        self.sound += text.len() as u64 / 4 * 3;
    }

    pub fn frame(&mut self) {
        self.frames += 1;
    }

    /// Whether nothing was seen that was certainly generated. Bytes in `unsure` do not count.
    pub fn is_empty(&self) -> bool {
        self.bytes + self.sound + self.images == 0
    }

    /// Returns a lower bound of the tokens that any tokenizer makes of the output.
    pub fn least(&self) -> Tokens {
        let seconds = self.sound / MOST_SOUND_BYTES_PER_SECOND;
        let words = self.words.count.div_ceil(MAX_WORDS_PER_TOKEN);
        Tokens::new(words + seconds * LEAST_TOKENS_PER_SOUND_SECOND + self.images)
    }

    /// Returns an upper bound of the tokens that any tokenizer makes of the output. `is_exact`: the
    /// vocabulary of [`tokens`] is the model's own.
    pub fn most(&self, is_exact: bool, sizes: &Sizes) -> Tokens {
        let counted = if is_exact {
            tokens::count(&self.kept)
        } else {
            tokens::at_most(&self.kept)
        };
        self.most_of(counted, sizes)
    }

    /// Returns the upper bound of [`Delivered::most`] without counting: no byte is more than one token.
    pub fn most_by_bytes(&self, sizes: &Sizes) -> Tokens {
        self.most_of(self.kept.len() as u64, sizes)
    }

    /// `counted`: upper bound of the tokens in `kept`.
    fn most_of(&self, counted: u64, sizes: &Sizes) -> Tokens {
        let kept = self.kept.len() as u64;
        // Text that was too long to keep counts by its bytes.
        let text = counted + (self.bytes - kept) + self.unsure + (self.frames + 1) * FRAME_TOKENS;
        let seconds = self.sound.div_ceil(LEAST_SOUND_BYTES_PER_SECOND);
        Tokens::new(text)
            .plus(Tokens::new(seconds).times(sizes.sound_second))
            .plus(Tokens::new(self.images).times(sizes.image_answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZES: Sizes = Sizes {
        image_answer: 8_000,
        sound_second: 50,
    };

    fn of(pieces: &[&str]) -> Delivered {
        let mut delivered = Delivered::default();
        pieces.iter().for_each(|piece| delivered.text(piece));
        delivered
    }

    #[test]
    fn prose_is_bounded_from_both_sides() {
        let text = "The quick brown fox jumps over the lazy dog. ".repeat(100);
        let delivered = of(&[&text]);
        let counted = tokens::count(&text);
        let (least, most) = (delivered.least(), delivered.most(true, &SIZES));
        assert_eq!((least.count(), counted), (450, 1_001));
        assert_eq!(most.count(), counted + FRAME_TOKENS);
        assert!(delivered.most(false, &SIZES) >= most);
    }

    #[test]
    fn a_run_without_blanks_is_more_than_a_word() {
        assert_eq!(of(&[&"a".repeat(1_280)]).words.count, 10);
        assert_eq!(of(&[&"字".repeat(160)]).words.count, 10);
        assert_eq!(of(&["a ", " b\n", "c d"]).words.count, 4);
        assert_eq!(of(&[]).least(), Tokens::ZERO);
        assert_eq!(of(&[" \n"]).least(), Tokens::ZERO);
    }

    #[test]
    fn audio_and_images_count_without_text() {
        let mut delivered = Delivered {
            images: 2,
            ..Delivered::default()
        };
        delivered.base64_sound(&"A".repeat(64_000 * 3));
        assert_eq!(delivered.least().count(), 3 * 10 + 2);
        assert_eq!(
            delivered.most(false, &SIZES).count(),
            16 + 192 * 50 + 2 * 8_000
        );
    }

    proptest! {
        #[test]
        fn no_tokenizer_makes_fewer_than_the_least(text in "(\\PC{0,8}| {1,4}|\n{1,2}|[a-zA-Z]{1,24}|[0-9]{1,7}|=+|[一-龥]{1,20}){0,40}") {
            let least = of(&[&text]).least().count();
            prop_assert!(least <= tokens::count(&text), "{least} {}", tokens::count(&text));
        }

        #[test]
        fn any_cut_of_a_text_counts_the_same(text in "\\PC{0,60}", at in 0usize..60) {
            let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
            prop_assert_eq!(of(&[&text]), of(&[&text[..at], &text[at..]]));
        }
    }
}
