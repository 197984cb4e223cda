//! Goods of a tenant's config: plans by their prices, top-ups by their names.

use crate::rules::amount::Tokens;
use crate::rules::config::{Group, SoldTokens, TenantConfig};
use crate::rules::payments::facts::GroupPlan;

/// Returns the plan that a price of Stripe stands for. `None`: it is in no group.
pub(super) fn plan_of(config: &TenantConfig, price: &str) -> Option<GroupPlan> {
    config.groups.iter().find_map(|(name, group)| {
        Some(GroupPlan {
            group: name.clone(),
            price: price.to_owned(),
            tokens: tokens_of(group, price)?,
            trial_tokens: Tokens::new(group.trial_tokens),
        })
    })
}

/// Returns what a period of a group is worth at a price. `None`: the price is not the group's.
pub(super) fn tokens_of(group: &Group, price: &str) -> Option<Tokens> {
    if group.stripe_price.as_deref() == Some(price) {
        return Some(Tokens::new(group.tokens));
    }
    let further = group.stripe_prices.get(price)?;
    Some(Tokens::new(further.tokens.unwrap_or(group.tokens)))
}

/// Returns a top-up.
pub(super) fn top_up<'a>(config: &'a TenantConfig, name: &str) -> Option<&'a SoldTokens> {
    config.auth.stripe.as_ref()?.top_ups.get(name)
}

/// Returns the groups that are for sale.
pub(super) fn sold_groups(config: &TenantConfig) -> impl Iterator<Item = (&str, &Group, &str)> {
    config.groups.iter().filter_map(|(name, group)| {
        let price = group.stripe_price.as_deref()?;
        Some((name.as_str(), group, price))
    })
}
