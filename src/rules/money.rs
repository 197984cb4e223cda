//! Money: what tokens cost in a currency, exactly, as a decimal number.
//!
//! Prices are per million tokens with up to six decimals, so an amount has at most twelve. The books stay in tokens.

use super::price::{Rate, Usage};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;
use std::fmt;
use std::iter::Sum;

/// Decimals of an amount.
const DECIMALS: usize = 12;
const PER_UNIT: u128 = 1_000_000_000_000;

/// Amount of money, in millionths of a millionth of the currency's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u128);

impl Amount {
    pub const ZERO: Amount = Amount(0);

    /// Returns the amount of a usage. `price`: of a million tokens of each kind, in millionths.
    pub fn of(usage: &Usage, price: Rate) -> Amount {
        let parts = [
            (usage.uncached_input, price.input),
            (usage.cache_read, price.cache_read),
            (usage.cache_write, price.cache_write),
            (usage.output, price.output),
        ];
        let of = |(tokens, price): (super::amount::Tokens, u64)| {
            u128::from(tokens.count()) * u128::from(price)
        };
        Amount(parts.into_iter().map(of).sum())
    }

    pub fn plus(self, other: Amount) -> Amount {
        Amount(self.0.saturating_add(other.0))
    }

    /// Returns so many hundredths, rounded up.
    pub fn percent_up(self, percent: u64) -> Amount {
        Amount(self.0.saturating_mul(u128::from(percent)).div_ceil(100))
    }

    /// Parses a decimal number with at most twelve decimals.
    fn parse(text: &str) -> Option<Amount> {
        let (units, decimals) = text.split_once('.').unwrap_or((text, ""));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if units.is_empty() || !is_plain(units) || !is_plain(decimals) || decimals.len() > DECIMALS
        {
            return None;
        }
        let units: u128 = units.parse().ok()?;
        let decimals: u128 = format!("{decimals:0<DECIMALS$}").parse().ok()?;
        Some(Amount(units.checked_mul(PER_UNIT)?.checked_add(decimals)?))
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::ZERO, Amount::plus)
    }
}

/// Prints a decimal number without trailing noughts, such as `0.00275`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, rest) = (self.0 / PER_UNIT, self.0 % PER_UNIT);
        if rest == 0 {
            return write!(f, "{units}");
        }
        let decimals = format!("{rest:0DECIMALS$}");
        write!(f, "{units}.{}", decimals.trim_end_matches('0'))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.to_string());
        number.map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        let number: Box<RawValue> = Box::deserialize(deserializer)?;
        Amount::parse(number.get()).ok_or_else(|| de::Error::custom("expected an amount"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::amount::Tokens;
    use proptest::prelude::*;

    fn usage(input: u64, read: u64, output: u64) -> Usage {
        Usage {
            uncached_input: Tokens::new(input),
            cache_read: Tokens::new(read),
            cache_write: Tokens::ZERO,
            output: Tokens::new(output),
        }
    }

    #[test]
    fn amounts_are_exact_decimal_numbers() {
        let price = Rate {
            input: 2_500_000,
            cache_read: 1_250_000,
            cache_write: 2_500_000,
            output: 10_000_000,
        };
        let text = |usage| Amount::of(&usage, price).to_string();
        assert_eq!(text(usage(1_000_000, 0, 0)), "2.5");
        assert_eq!(text(usage(9, 0, 2)), "0.0000425");
        assert_eq!(text(usage(0, 1, 0)), "0.00000125");
        assert_eq!(text(usage(0, 0, 0)), "0");
        assert_eq!(text(usage(800_000, 0, 800_000)), "10");
        let amount = Amount::of(&usage(9, 0, 2), price);
        assert_eq!(amount.percent_up(20).to_string(), "0.0000085");
        assert_eq!(Amount(1).percent_up(20), Amount(1));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(parts in 0u128..1 << 90) {
            let written = serde_json::to_string(&Amount(parts)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Amount>(&written).unwrap(), Amount(parts));
            prop_assert_eq!(serde_json::from_str::<Amount>(&Amount(parts).to_string()).unwrap(), Amount(parts));
        }
    }
}
