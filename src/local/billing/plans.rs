//! `GET /billing/plans`: what a tenant sells, with what Stripe says it costs.

use super::catalogue;
use super::tenant_account;
use crate::api;
use crate::local::Local;
use crate::local::answer::{Answer, Refusal, json};
use crate::rules::config::Group;
use crate::store::tenants::Tenant;
use crate::stripe::client::StripeClient;

/// Serves `GET /billing/plans`.
pub(in crate::local) async fn list(local: &Local, tenant: &Tenant) -> Result<Answer, Refusal> {
    let stripe = tenant_account::stripe(tenant)?;
    let client = local.billing.client(tenant).await?;
    let mut plans = Vec::new();
    for (name, group, _) in catalogue::sold_groups(&tenant.config) {
        let prices = group.stripe_price.iter().chain(group.stripe_prices.keys());
        let mut shown = Vec::new();
        for price in prices {
            let tokens = catalogue::tokens_of(group, price).unwrap_or_default();
            let price = cost(local, tenant, &client, price).await;
            shown.push(api::PlanPrice { tokens, ..price });
        }
        plans.push(plan(name, group, shown));
    }
    let mut top_ups = Vec::new();
    for (name, sold) in &stripe.top_ups {
        let price = cost(local, tenant, &client, &sold.price).await;
        top_ups.push(api::TopUp {
            top_up: name.clone(),
            tokens: sold.tokens,
            price: price.price,
            amount: price.amount,
            currency: price.currency,
        });
    }
    Ok(json(200, &api::Plans { plans, top_ups }))
}

fn plan(name: &str, group: &Group, prices: Vec<api::PlanPrice>) -> api::SoldPlan {
    let limit = group.limit();
    api::SoldPlan {
        group: name.to_owned(),
        prices,
        trial_days: group.trial_days,
        rate_limit: limit.map(|limit| limit.requests),
        rate_limit_window: limit.map(|limit| limit.window_millis / 1000),
        models: group.models.clone(),
    }
}

/// Returns what a price costs, as far as Stripe says it now.
async fn cost(local: &Local, tenant: &Tenant, client: &StripeClient, id: &str) -> api::PlanPrice {
    let known = local
        .billing
        .prices
        .shown(tenant.id.as_str(), client, id)
        .await
        .ok();
    let known = known.as_deref();
    let recurring = known.and_then(|price| price.recurring.as_ref());
    api::PlanPrice {
        price: id.to_owned(),
        tokens: Default::default(),
        amount: known.and_then(|price| price.unit_amount),
        currency: known.map(|price| price.currency.clone()),
        interval: recurring.map(|recurring| recurring.interval.clone()),
        interval_count: recurring.map(|recurring| recurring.interval_count.unwrap_or(1)),
    }
}
