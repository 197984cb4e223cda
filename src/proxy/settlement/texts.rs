//! Upper bounds of token counts that no provider has reported, from the texts themselves.
//!
//! Short texts are counted where they are; long ones are handed out as [`Uncounted`], to be counted on the
//! counting thread. A text that cannot be counted is bounded by its bytes: no byte is more than one token.

use crate::dialect::call::Delivered;
use crate::dialect::prompt;
use crate::proxy::admission::terms::Terms;
use crate::proxy::admission::token_counter::INLINE_BYTES;
use crate::rules::amount::Tokens;
use crate::rules::charge::{Bound, Sizes};
use bytes::Bytes;
use std::cell::Cell;

/// Prompt and output of a call, borrowed.
#[derive(Clone, Copy)]
pub struct Texts<'a> {
    /// Upper bound of the prompt; `beyond` of it is not in its bytes. `text` gives a closer bound where it is
    /// kept.
    prompt: Tokens,
    beyond: Tokens,
    text: Option<&'a Bytes>,
    /// `None`: no text is generated.
    delivered: Option<&'a Delivered>,
    is_exact: bool,
    sizes: Sizes,
}

impl<'a> Texts<'a> {
    pub(crate) fn of(terms: &'a Terms, delivered: Option<&'a Delivered>) -> Texts<'a> {
        Texts {
            prompt: terms.prompt,
            beyond: terms.beyond,
            text: terms.text.as_ref(),
            delivered: delivered.filter(|_| !terms.no_text),
            is_exact: terms.is_exact,
            sizes: terms.sizes,
        }
    }

    fn bytes(&self) -> usize {
        self.text.map_or(0, Bytes::len) + self.delivered.map_or(0, |delivered| delivered.kept.len())
    }

    /// Counts on this thread; takes milliseconds for long texts.
    pub fn count(&self) -> Counted {
        let prompt = self
            .text
            .and_then(|text| prompt::counted(text, self.is_exact));
        Counted {
            prompt: prompt.map_or(self.prompt, |prompt| {
                prompt.plus(self.beyond).min(self.prompt)
            }),
            output: self.output(|delivered| delivered.most(self.is_exact, &self.sizes)),
        }
    }

    /// Returns the texts' lengths in bytes as their bounds.
    fn by_bytes(&self) -> Counted {
        Counted {
            prompt: self.prompt,
            output: self.output(|delivered| delivered.most_by_bytes(&self.sizes)),
        }
    }

    fn output(&self, most: impl FnOnce(&Delivered) -> Tokens) -> Tokens {
        self.delivered.map_or(Tokens::ZERO, most)
    }

    /// Copies the texts to [`Uncounted`], to be counted on another thread.
    pub(crate) fn uncounted(&self) -> Uncounted {
        Uncounted {
            prompt: self.prompt,
            beyond: self.beyond,
            text: self.text.cloned(),
            delivered: self.delivered.cloned(),
            is_exact: self.is_exact,
            sizes: self.sizes,
        }
    }
}

/// Owned [`Texts`], to be counted on the counting thread.
pub(crate) struct Uncounted {
    prompt: Tokens,
    beyond: Tokens,
    text: Option<Bytes>,
    delivered: Option<Delivered>,
    is_exact: bool,
    sizes: Sizes,
}

impl Uncounted {
    /// Bytes of generated text.
    pub fn bytes(&self) -> usize {
        let delivered = self.delivered.as_ref();
        delivered.map_or(0, |delivered| delivered.kept.len())
    }

    /// Counts on this thread, like [`Texts::count`].
    pub fn count(&self) -> Counted {
        let texts = Texts {
            prompt: self.prompt,
            beyond: self.beyond,
            text: self.text.as_ref(),
            delivered: self.delivered.as_ref(),
            is_exact: self.is_exact,
            sizes: self.sizes,
        };
        texts.count()
    }
}

/// Upper bounds in tokens, as counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub prompt: Tokens,
    pub output: Tokens,
}

impl Bound for Counted {
    fn prompt(&self) -> Tokens {
        self.prompt
    }

    fn output(&self) -> Tokens {
        self.output
    }
}

/// [`Bound`] that counts short texts at once. For long ones it returns their bytes and notes the request: the
/// charge is then preliminary until [`InlineBound::uncounted`] is counted.
pub(crate) struct InlineBound<'a> {
    texts: Texts<'a>,
    is_preliminary: Cell<bool>,
}

impl<'a> InlineBound<'a> {
    pub fn new(texts: Texts<'a>) -> InlineBound<'a> {
        InlineBound {
            texts,
            is_preliminary: Cell::new(false),
        }
    }

    /// Returns the long texts to be counted elsewhere. `None`: no bound of one was requested.
    pub fn uncounted(&self) -> Option<Uncounted> {
        self.is_preliminary.get().then(|| self.texts.uncounted())
    }

    fn counted(&self) -> Counted {
        if self.texts.bytes() <= INLINE_BYTES {
            return self.texts.count();
        }
        self.is_preliminary.set(true);
        self.texts.by_bytes()
    }
}

impl Bound for InlineBound<'_> {
    fn prompt(&self) -> Tokens {
        self.counted().prompt
    }

    fn output(&self) -> Tokens {
        self.counted().output
    }
}
