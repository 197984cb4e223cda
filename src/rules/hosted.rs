//! The handling of hosted tools: tools in a request that the provider runs itself.
//!
//! A request does not show how much such a tool reads or costs. Therefore all of them are removed by default;
//! an operator may set a price for those whose number of calls a request can limit.

use super::amount::Tokens;

/// Tools whose number of calls a request can limit, and that may therefore be priced.
pub(crate) const BOUNDED: &[&str] = &["web_search", "web_fetch"];

/// The setting `hosted_tools` of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostedTools {
    /// Hosted tools are removed from the request, and named in `x-resullm-removed` of its answer.
    #[default]
    Remove,
    /// Requests with a hosted tool are refused.
    Refuse,
    /// Price of one call of each tool, by name; tools without a price are removed.
    Priced(Vec<(String, Tokens)>),
}

impl HostedTools {
    /// Returns the price of one call of a tool, if it is served.
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
