//! The price of tokens: their number times the model's [`Rate`], in whole numbers, rounded up once.

use super::amount::Tokens;
use crate::tables::{Node, ValueType, either, number, object, table};
use serde_json::json;

/// One token of the balance in millionths, the unit of a [`Rate`]: 0.1 is exact in it.
const MILLIONTHS_PER_TOKEN: u64 = 1_000_000;

table! {
    /// Price of one token of each kind. In memory it is in millionths of a token of the balance.
    pub struct Rate unknown Refused {
        /// What a token of the prompt costs.
        input: u64 = millionths().default("1");
        /// What a token of the answer costs.
        output: u64 = millionths().default("1");
        /// What a token costs that the provider read from its prompt cache.
        /// Absent: as `input`.
        cache_read: u64 = millionths().or_from(input_of);
        /// What a token costs that the provider wrote to its prompt cache.
        /// Absent: as `input`.
        cache_write: u64 = millionths().or_from(input_of);
    }
}

impl Copy for Rate {}

/// A rate: one number for every kind of token, or an object with one for each.
pub fn rate() -> ValueType<Rate> {
    either(object::<Rate>(), millionths().map(Rate::flat))
}

pub(crate) fn millionths() -> ValueType<u64> {
    let schema = json!({"type": "number", "minimum": 0, "maximum": 1_000_000});
    number(
        "a rate from 0 to 1000000 with at most 6 decimals",
        schema,
        Rate::millionths,
    )
}

/// Returns the `input` of the rate that is read.
fn input_of(rate: &Node<'_>) -> u64 {
    let input = rate.field("input").and_then(|input| input.value().as_f64());
    input
        .and_then(Rate::millionths)
        .unwrap_or(MILLIONTHS_PER_TOKEN)
}

/// Number of tokens of each kind, whatever names the provider gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub uncached_input: Tokens,
    pub cache_read: Tokens,
    pub cache_write: Tokens,
    pub output: Tokens,
}

impl Usage {
    pub fn input(&self) -> Tokens {
        self.uncached_input
            .plus(self.cache_read)
            .plus(self.cache_write)
    }

    pub fn total(&self) -> Tokens {
        self.input().plus(self.output)
    }

    pub fn without_output(self) -> Usage {
        Usage {
            output: Tokens::ZERO,
            ..self
        }
    }

    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            uncached_input: self.uncached_input.plus(other.uncached_input),
            cache_read: self.cache_read.plus(other.cache_read),
            cache_write: self.cache_write.plus(other.cache_write),
            output: self.output.plus(other.output),
        }
    }
}

impl Default for Rate {
    fn default() -> Rate {
        Rate::flat(MILLIONTHS_PER_TOKEN)
    }
}

impl Rate {
    /// Returns a rate with the same price for every kind.
    pub fn flat(millionths: u64) -> Rate {
        Rate {
            input: millionths,
            cache_read: millionths,
            cache_write: millionths,
            output: millionths,
        }
    }

    /// Converts a price as it is written in `rates`, such as 2 or 0.25, to millionths. `None`: above a
    /// million, negative, or finer than a millionth.
    pub(crate) fn millionths(written: f64) -> Option<u64> {
        let scaled = written * MILLIONTHS_PER_TOKEN as f64;
        let rounded = scaled.round();
        let fits = (0.0..=1e12).contains(&rounded) && (scaled - rounded).abs() < 1e-3;
        // The value is in range, so the cast loses nothing.
        fits.then_some(rounded as u64)
    }

    /// Returns the higher price of each kind.
    pub fn dearest(self, other: Rate) -> Rate {
        Rate {
            input: self.input.max(other.input),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write: self.cache_write.max(other.cache_write),
            output: self.output.max(other.output),
        }
    }

    /// Returns the cost of a usage, rounded up to whole tokens of the balance.
    pub fn cost(&self, usage: &Usage) -> Tokens {
        let of = |tokens: Tokens, rate: u64| u128::from(tokens.count()) * u128::from(rate);
        let sum = of(usage.uncached_input, self.input)
            + of(usage.cache_read, self.cache_read)
            + of(usage.cache_write, self.cache_write)
            + of(usage.output, self.output);
        Tokens::new(
            u64::try_from(sum.div_ceil(u128::from(MILLIONTHS_PER_TOKEN))).unwrap_or(u64::MAX),
        )
    }

    /// Returns the upper bound of the cost of a prompt, whatever part of it is cached.
    pub fn most_for_prompt(&self, prompt: Tokens) -> Tokens {
        let dearest = self.input.max(self.cache_read).max(self.cache_write);
        Rate::flat(dearest).cost(&Usage {
            uncached_input: prompt,
            ..Usage::default()
        })
    }

    /// Returns the cost of output tokens.
    pub fn for_output(&self, output: Tokens) -> Tokens {
        self.cost(&Usage {
            output,
            ..Usage::default()
        })
    }

    /// Returns the number of output tokens that a balance pays for.
    pub fn output_for(&self, balance: Tokens) -> u64 {
        let millionths = u128::from(balance.count()) * u128::from(MILLIONTHS_PER_TOKEN);
        match self.output {
            0 => u64::MAX,
            rate => u64::try_from(millionths / u128::from(rate)).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usage(input: u64, read: u64, write: u64, output: u64) -> Usage {
        Usage {
            uncached_input: Tokens::new(input),
            cache_read: Tokens::new(read),
            cache_write: Tokens::new(write),
            output: Tokens::new(output),
        }
    }

    #[test]
    fn a_cost_is_rounded_up_once() {
        let rate = Rate {
            input: 100_000,
            cache_read: 10_000,
            cache_write: 125_000,
            output: 2_500_000,
        };
        assert_eq!(rate.cost(&usage(1, 1, 1, 0)), Tokens::new(1));
        assert_eq!(rate.cost(&usage(10, 100, 8, 2)), Tokens::new(1 + 1 + 1 + 5));
        assert_eq!(Rate::default().cost(&usage(3, 4, 5, 6)), Tokens::new(18));
        assert_eq!(Rate::flat(0).cost(&usage(3, 4, 5, 6)), Tokens::ZERO);
        assert_eq!(
            Rate::flat(u64::MAX).cost(&usage(u64::MAX, 0, 0, 0)),
            Tokens::MAX
        );
    }

    #[test]
    fn a_rate_is_exact_or_refused() {
        assert_eq!(Rate::millionths(2.0), Some(2_000_000));
        assert_eq!(Rate::millionths(0.1), Some(100_000));
        assert_eq!(Rate::millionths(0.000_001), Some(1));
        for bad in [-1.0, 0.000_000_1, f64::NAN, f64::INFINITY, 1e7] {
            assert_eq!(Rate::millionths(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn output_for_a_balance_never_costs_more(balance in 0u64..1 << 53, rate in 1u64..1 << 40) {
            let rate = Rate::flat(rate);
            let output = rate.output_for(Tokens::new(balance));
            if output <= Tokens::MAX.count() {
                prop_assert!(rate.for_output(Tokens::new(output)) <= Tokens::new(balance));
            }
        }
    }
}
