//! What an endpoint does with tools that its provider runs itself.
//!
//! What such a tool reads and what it costs no body shows. So by default none is asked for; an operator
//! may price those whose calls a request can bound.

use super::amount::Tokens;

/// The tools whose calls a request can bound, and which can be priced therefore.
pub const BOUNDED: &[&str] = &["web_search", "web_fetch"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostedTools {
    /// They are taken out of a request, and named in its answer.
    #[default]
    Remove,
    /// A request for one is refused.
    Refuse,
    /// What one call of each costs; those without a price are taken out.
    Priced(Vec<(String, Tokens)>),
}

impl HostedTools {
    /// What a call of a tool costs, where it is served.
    pub fn price(&self, name: &str) -> Option<Tokens> {
        let HostedTools::Priced(prices) = self else {
            return None;
        };
        let mut prices = prices.iter();
        prices
            .find(|(priced, _)| priced == name)
            .map(|(_, price)| *price)
    }
}
