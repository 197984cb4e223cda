//! What passed of an answer, counted as it passes.
//!
//! A reported usage is a claim, and this is what it is held against. `least` is below what any
//! tokenizer makes of the same text, `most` above it. No I/O, and nothing is ever taken back.

use super::tokens;
use crate::rules::amount::Tokens;
use crate::rules::charge::Sizes;

/// Text that is kept for counting; beyond this, its length alone must do.
const MOST_KEPT_BYTES: usize = 512 << 10;

/// No token of a vocabulary in use stands for more bytes of one word.
const LONGEST_TOKEN_BYTES: u64 = 128;
/// The same in scripts beyond ASCII: sixteen characters of three bytes.
const LONGEST_WIDE_TOKEN_BYTES: u64 = 48;

/// Vocabularies that merge across blanks make one token of two words, seldom of three.
const WORDS_IN_A_TOKEN: u64 = 2;

/// Tokens that frame an answer, a call of a tool or a block, and are shown nowhere.
const FRAME_TOKENS: u64 = 16;

/// 24 kHz, 16 bits, one channel: the largest format that sound is streamed in.
const MOST_SOUND_BYTES_PER_SECOND: u64 = 48_000;
/// Opus at 6 kbit/s: the smallest.
const LEAST_SOUND_BYTES_PER_SECOND: u64 = 750;
/// Tokens that every provider counts for a second of sound, at least.
const LEAST_TOKENS_PER_SOUND_SECOND: u64 = 10;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Generated text so far as it may have to be counted.
    pub kept: String,
    /// Bytes of generated text.
    pub bytes: u64,
    /// Bytes that may be generated text: nobody here knows the member they stand in.
    pub unsure: u64,
    /// Bytes of sound.
    pub sound: u64,
    pub images: u64,
    /// Answers, calls of tools and blocks that were begun.
    pub frames: u64,
    /// Calls of tools that the provider ran itself.
    pub hosted: HostedCalls,
    words: Words,
    /// There is no room for more text.
    is_full: bool,
}

/// Calls of tools that the provider ran itself, of those that may have a price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostedCalls {
    pub searches: u64,
    pub fetches: u64,
}

impl HostedCalls {
    /// Another call of a tool, by its name.
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

/// Runs without blanks, each of which is a token at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Words {
    count: u64,
    /// Of the run that the text so far ends in, in 1/384 of a longest token.
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

/// Counts of what was delivered by some moment, and the length of its text.
pub struct Mark {
    kept: usize,
    counts: Delivered,
}

impl Delivered {
    /// Text that the model generated.
    pub fn text(&mut self, text: &str) {
        self.bytes += text.len() as u64;
        self.words.push(text);
        if !self.is_full && self.kept.len() + text.len() <= MOST_KEPT_BYTES {
            self.kept.push_str(text);
        }
    }

    /// Gives the memory of the text back. It counts with its bytes, and so does what follows.
    pub fn forget_text(&mut self) {
        self.kept = String::new();
        self.is_full = true;
    }

    /// An event, a member or a body that cannot be read. Some client may read it.
    pub fn unreadable(&mut self, bytes: &[u8]) {
        self.text(&String::from_utf8_lossy(bytes));
    }

    /// Mark to be gone back to with [`Delivered::reset`].
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

    /// Sound in base64.
    pub fn base64_sound(&mut self, text: &str) {
        self.sound += text.len() as u64 / 4 * 3;
    }

    pub fn frame(&mut self) {
        self.frames += 1;
    }

    /// Nothing that was surely generated was seen.
    pub fn is_empty(&self) -> bool {
        self.bytes + self.sound + self.images == 0
    }

    /// Fewer tokens than any tokenizer makes of it.
    pub fn least(&self) -> Tokens {
        let seconds = self.sound / MOST_SOUND_BYTES_PER_SECOND;
        let words = self.words.count.div_ceil(WORDS_IN_A_TOKEN);
        Tokens::new(words + seconds * LEAST_TOKENS_PER_SOUND_SECOND + self.images)
    }

    /// More tokens than any tokenizer makes of it. `is_exact`: the vocabulary at hand is the model's own.
    pub fn most(&self, is_exact: bool, sizes: &Sizes) -> Tokens {
        let counted = if is_exact {
            tokens::count(&self.kept)
        } else {
            tokens::at_most(&self.kept)
        };
        self.most_of(counted, sizes)
    }

    /// The same without counting: no byte is more than a token.
    pub fn most_by_bytes(&self, sizes: &Sizes) -> Tokens {
        self.most_of(self.kept.len() as u64, sizes)
    }

    /// `counted`: the most tokens of the text that was kept.
    fn most_of(&self, counted: u64, sizes: &Sizes) -> Tokens {
        let kept = self.kept.len() as u64;
        // Text that was too long to keep counts with its bytes.
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
    fn sound_and_images_count_without_a_word() {
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
