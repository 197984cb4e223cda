//! The table of `prices`: what models cost in money.

use super::endpoint::Endpoint;
use super::rates::{self, Rates};
use crate::rules::price::{Rate, millionths};
use crate::tables::{Node, ValueType, map, object, table, words};
use serde_json::json;

/// Longest `currency`.
const LONGEST_CURRENCY: usize = 16;

table! {
    /// What models cost in money.
    /// Usage records and sums have the amounts then; balances stay in tokens.
    pub struct Prices unknown KeptUnlessSlip {
        /// The currency, as it is shown.
        currency: String = currency().default("USD");
        /// What a million tokens of each model cost.
        /// Spelling makes no difference, and a dated version costs what its model costs; `*` stands for every other model.
        /// A model without a price has no amounts.
        models: Rates = map(object::<PriceRow>().map(PriceRow::meant), None).default("{}").shown("{gpt-4o: {input: 2.5, output: 10, cache_read: 1.25}}");
    }
}

table! {
    /// What a million tokens of each kind cost.
    struct PriceRow unknown Refused {
        /// Tokens of the prompt.
        input: u64 = millionths();
        /// Tokens of the answer.
        output: u64 = millionths();
        /// Tokens that the provider read from its prompt cache.
        /// Absent: as `input`.
        cache_read: u64 = millionths().or_from(input_of);
        /// Tokens that the provider wrote to its prompt cache.
        /// Absent: as `input`.
        cache_write: u64 = millionths().or_from(input_of);
    }
}

impl PriceRow {
    fn meant(self) -> Rate {
        Rate {
            input: self.input,
            output: self.output,
            cache_read: self.cache_read,
            cache_write: self.cache_write,
        }
    }
}

fn input_of(price: &Node<'_>) -> u64 {
    let input = price
        .field("input")
        .and_then(|input| input.value().as_f64());
    input.and_then(Rate::millionths).unwrap_or_default()
}

fn currency() -> ValueType<String> {
    let currency = words().check(|text| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match is_plain && text.len() <= LONGEST_CURRENCY {
            true => Ok(()),
            false => Err("a currency is 1 to 16 letters and digits"),
        }
    });
    currency.with_schema(json!({"pattern": "^[A-Za-z0-9]{1,16}$"}))
}

impl Prices {
    /// Returns the price of a million tokens of a model at an endpoint, in millionths. `None`: it has none.
    pub fn price(&self, endpoint: &Endpoint, model: Option<&str>) -> Option<Rate> {
        rates::find(&self.models, endpoint, model, None)
    }
}
