//! [`PriceBook`]: Stripe's prices, kept while the process lives. Stripe never changes the amount of a price.

use super::client::{Called, StripeClient, StripeFailure};
use super::objects::Price;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most prices that are kept; with one more all are asked for anew.
const MAX_PRICES: usize = 10_000;
/// Time for which a failure is kept, so that a page that many read asks for it once.
const FAILURE_LIFE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct PriceBook {
    known: Mutex<HashMap<(String, String), Kept>>,
}

#[derive(Clone)]
enum Kept {
    Known(Arc<Price>),
    Failed(StripeFailure, Instant),
}

impl PriceBook {
    /// Returns a price of a tenant. One that has no amount in the currency is asked for again, since others may have been
    /// added to it.
    pub async fn of(
        &self,
        tenant: &str,
        client: &StripeClient,
        id: &str,
        currency: Option<&str>,
    ) -> Called<Arc<Price>> {
        let name = (tenant.to_owned(), id.to_owned());
        if let Some(Kept::Known(price)) = self.known.lock().get(&name)
            && currency.is_none_or(|currency| price.amount_in(currency).is_some())
        {
            return Ok(price.clone());
        }
        let price = Arc::new(client.price(id).await?);
        self.keep(name, Kept::Known(price.clone()));
        Ok(price)
    }

    /// Returns a price as [`PriceBook::of`], and asks not again for what has just failed.
    pub async fn shown(&self, tenant: &str, client: &StripeClient, id: &str) -> Called<Arc<Price>> {
        let name = (tenant.to_owned(), id.to_owned());
        let kept = self.known.lock().get(&name).cloned();
        match kept {
            Some(Kept::Known(price)) => return Ok(price),
            Some(Kept::Failed(failure, at)) if at.elapsed() < FAILURE_LIFE => return Err(failure),
            _ => {}
        }
        // Whoever comes while it is being asked for does without.
        let busy = StripeFailure::Unavailable("the price is being asked for".to_owned());
        self.keep(name.clone(), Kept::Failed(busy, Instant::now()));
        let price = self.of(tenant, client, id, None).await;
        if let Err(failure) = &price {
            self.keep(name, Kept::Failed(failure.clone(), Instant::now()));
        }
        price
    }

    fn keep(&self, name: (String, String), kept: Kept) {
        let mut known = self.known.lock();
        if known.len() >= MAX_PRICES && !known.contains_key(&name) {
            known.clear();
        }
        known.insert(name, kept);
    }
}
