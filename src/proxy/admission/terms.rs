//! [`Terms`] of a call: prices and upper bounds that are known before its answer.

use crate::dialect::call::Usage;
use crate::dialect::extras::Hosted;
use crate::rules::amount::Tokens;
use crate::rules::charge::Sizes;
use crate::rules::config::{Endpoint, TextProviders};
use crate::rules::price::Rate;
use crate::store::tenants::Tenant;
use bytes::Bytes;
use std::sync::Arc;

/// Prices and upper bounds of one call at its endpoint.
#[derive(Clone)]
pub(crate) struct Terms {
    pub rate: Rate,
    /// Tenant with the rates of all models, because an answer may name another model than the requested one.
    pub tenant: Arc<Tenant>,
    /// Upper bound of the prompt, in tokens as the provider counts them.
    pub prompt: Tokens,
    /// Part of `prompt` that the body's bytes do not cover: templates, images, recordings.
    pub beyond: Tokens,
    /// Prompt text, to be counted if the provider reports no usage. `None`: too long to be kept.
    pub text: Option<Bytes>,
    /// Whether the built-in vocabulary is the model's own, so that counted tokens are exact.
    pub is_exact: bool,
    /// Whether the call costs nothing.
    pub free: bool,
    /// Whether the call generates no text, as `embeddings`.
    pub no_text: bool,
    /// [`Usage`] to charge where the API reports none.
    pub unreported: Option<Usage>,
    /// Whether the answer contains all generated tokens: no hidden reasoning.
    pub shows_all: bool,
    /// Whether the call asks for several answers (`n`, `best_of`).
    pub has_many: bool,
    /// Whether the provider reports the usage of one answer only, where `has_many`.
    pub reports_one: bool,
    pub sizes: Sizes,
    /// Tools that the provider runs itself, with their prices.
    pub hosted: Hosted,
}

/// Bytes of English text that make about one token. Only for guesses, never for a bound.
const USUAL_BYTES_PER_TOKEN: u64 = 4;

/// Estimates the tokens of `bytes` of text: a guess, not a bound.
pub fn likely(bytes: Tokens) -> Tokens {
    Tokens::new(bytes.count().div_ceil(USUAL_BYTES_PER_TOKEN))
}

impl Terms {
    /// The tenant's prices, if it has any providers.
    fn providers(&self) -> Option<&TextProviders> {
        self.tenant.config.providers.text.as_ref()
    }

    /// Whether the tenant's config sets the [`Rate`] of any model.
    pub(crate) fn has_rates(&self) -> bool {
        let providers = self.providers();
        providers.is_some_and(|providers| !providers.rates.is_empty())
    }

    /// The tenant's prices, with the endpoint of that name.
    pub(crate) fn prices_at(&self, endpoint: &str) -> Option<(&TextProviders, &Endpoint)> {
        let providers = self.providers()?;
        let mut endpoints = providers.endpoints.iter();
        let endpoint = endpoints.find(|known| known.name == endpoint)?;
        Some((providers, endpoint))
    }
}
