//! The customer portal: a customer's subscriptions, with other plans and the ways to end them.
//!
//! A portal acts on subscriptions of its own customer only.

use super::layout::{HtmlReply, button, escape, message, page};
use crate::demo::stripe::account::StripeAccount;
use crate::demo::stripe::calendar::date;
use crate::demo::stripe::data::AccountData;
use crate::demo::stripe::error::StripeError;
use crate::demo::stripe::form::Form;
use crate::demo::stripe::lines::money;
use crate::demo::stripe::plan_change::Proration;
use crate::demo::stripe::records::{Portal, Subscription};

/// Subscriptions and plans on one page.
const MAX_SHOWN: usize = 50;

pub(super) fn answer(account: &StripeAccount, id: &str, posted: Option<&Form>) -> HtmlReply {
    let Some(portal) = account.data().portals.find(id).cloned() else {
        return message(404, "Not found", "There is no such portal.");
    };
    let Some(form) = posted else {
        return page(200, "Subscriptions", &content(&account.data(), &portal));
    };
    match act(account, &portal, form) {
        Ok(()) => HtmlReply::SeeOther(format!("/portal/{id}")),
        Err(error) => message(error.status, "Not done", &error.message),
    }
}

fn act(account: &StripeAccount, portal: &Portal, form: &Form) -> Result<(), StripeError> {
    let subscription = form.required("subscription")?;
    let is_own = account
        .data()
        .subscriptions
        .find(subscription)
        .is_some_and(|known| known.customer == portal.customer);
    if !is_own {
        return Err(StripeError::missing("subscription", subscription).with_status(404));
    }
    match form.required("action")? {
        "change" => {
            let price = form.required("price")?;
            account
                .change_plan(subscription, price, Proration::AlwaysInvoice)
                .map(drop)
        }
        "end" => account.cancel_at_period_end(subscription),
        "cancel" => account.cancel(subscription, false),
        _ => Err(StripeError::invalid("There is no such button.")),
    }
}

fn content(data: &AccountData, portal: &Portal) -> String {
    let own = data
        .subscriptions
        .newest_first()
        .filter(|known| known.customer == portal.customer);
    let rows: String = own.take(MAX_SHOWN).map(|known| row(data, known)).collect();
    format!(
        "<table><tr><th>Plan</th><th>State</th><th></th></tr>{rows}</table><p><a href=\"{}\">Back</a></p>",
        escape(&portal.return_url)
    )
}

fn row(data: &AccountData, subscription: &Subscription) -> String {
    let price = &subscription.item.price;
    let (id, end) = (
        ("subscription", subscription.id.as_str()),
        date(subscription.period.end),
    );
    let ends = match subscription.cancel_at_period_end {
        true => format!(", ends on {end}"),
        false => String::new(),
    };
    let mut buttons = String::new();
    if !subscription.status.is_ended() {
        let others = data.prices.oldest_first().filter(|other| {
            other.id != price.id
                && other.currency == price.currency
                && other.interval.name().is_some()
        });
        for other in others.take(MAX_SHOWN) {
            let label = format!("Change to {}", other.id);
            buttons += &button(&label, &[id, ("action", "change"), ("price", &other.id)]);
        }
        if !subscription.cancel_at_period_end {
            buttons += &button("Cancel at period end", &[id, ("action", "end")]);
        }
        buttons += &button("Cancel now", &[id, ("action", "cancel")]);
    }
    format!(
        "<tr><td><code>{}</code><br>{}</td><td>{:?}{ends}</td><td>{buttons}</td></tr>",
        escape(&price.id),
        escape(&money(price.cents, &price.currency)),
        subscription.status,
    )
}
