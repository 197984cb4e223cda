//! The merchant's dashboard: payments and subscriptions, with what can happen to them.
//!
//! A click renews a subscription, refunds a payment, or lets the customer's bank dispute it.

use super::layout::{HtmlReply, button, escape, message, page};
use crate::demo::stripe::account::StripeAccount;
use crate::demo::stripe::calendar::date;
use crate::demo::stripe::data::AccountData;
use crate::demo::stripe::error::StripeError;
use crate::demo::stripe::form::Form;
use crate::demo::stripe::lines::money;
use crate::demo::stripe::records::{
    DisputeStatus, Payment, PaymentStatus, Subscription, SubscriptionStatus,
};

/// Payments, and subscriptions, on one page.
const MAX_SHOWN: usize = 50;

pub(super) fn answer(account: &StripeAccount, posted: Option<&Form>) -> HtmlReply {
    let Some(form) = posted else {
        return page(200, "Dashboard", &content(&account.data()));
    };
    match act(account, form) {
        Ok(()) => HtmlReply::SeeOther(format!("/dashboard/{}", account.dashboard())),
        Err(error) => message(error.status, "Not done", &error.message),
    }
}

fn act(account: &StripeAccount, form: &Form) -> Result<(), StripeError> {
    let id = form.required("object")?;
    match form.required("action")? {
        "renew" => account.renew(id).map(drop),
        "fail" => account.renew_unpaid(id).map(drop),
        "trial" => account.trial_ends(id).map(drop),
        "end" => account.reach_period_end(id),
        "refund" => account.refund(id, unrefunded(account, id)).map(drop),
        "half" => account
            .refund(id, unrefunded(account, id).div_ceil(2))
            .map(drop),
        "dispute" => account.dispute(id).map(drop),
        "win" => account.win_dispute(id),
        "lose" => account.lose_dispute(id),
        _ => Err(StripeError::invalid("There is no such button.")),
    }
}

/// Cents of a payment that are not refunded.
fn unrefunded(account: &StripeAccount, intent: &str) -> u32 {
    let data = account.data();
    let payment = data.payments.find(intent);
    let left = payment.map_or(0, |known| known.amount - known.amount_refunded);
    u32::try_from(left).unwrap_or(u32::MAX)
}

fn content(data: &AccountData) -> String {
    let payments = data.payments.newest_first().take(MAX_SHOWN);
    let payments: String = payments.map(|one| payment(data, one)).collect();
    let subscriptions = data.subscriptions.newest_first().take(MAX_SHOWN);
    let subscriptions: String = subscriptions.map(subscription).collect();
    format!(
        "<h2>Payments</h2><table><tr><th>Payment</th><th>Amount</th><th></th></tr>{payments}</table>\
         <h2>Subscriptions</h2><table><tr><th>Subscription</th><th>State</th><th></th></tr>{subscriptions}</table>"
    )
}

fn payment(data: &AccountData, payment: &Payment) -> String {
    let object = ("object", payment.id.as_str());
    let mut buttons = String::new();
    if payment.status == PaymentStatus::Succeeded && payment.amount_refunded < payment.amount {
        buttons += &button("Refund", &[object, ("action", "refund")]);
        buttons += &button("Refund half", &[object, ("action", "half")]);
    }
    if payment.status == PaymentStatus::Succeeded && !payment.disputed {
        buttons += &button("Dispute", &[object, ("action", "dispute")]);
    }
    let disputes = data.disputes.oldest_first();
    for dispute in disputes.filter(|known| known.payment_intent == payment.id) {
        if dispute.status == DisputeStatus::NeedsResponse {
            let object = ("object", dispute.id.as_str());
            buttons += &button("Win dispute", &[object, ("action", "win")]);
            buttons += &button("Lose dispute", &[object, ("action", "lose")]);
        } else {
            buttons += &format!("{:?} ", dispute.status);
        }
    }
    let refunded = match payment.amount_refunded {
        0 => String::new(),
        cents => format!(", {} refunded", money(cents, &payment.currency)),
    };
    format!(
        "<tr><td><code>{}</code><br>{} {:?}</td><td>{}{}</td><td>{buttons}</td></tr>",
        escape(&payment.id),
        date(payment.created),
        payment.status,
        escape(&money(payment.amount, &payment.currency)),
        escape(&refunded),
    )
}

fn subscription(subscription: &Subscription) -> String {
    let object = ("object", subscription.id.as_str());
    let buttons = match subscription.status {
        SubscriptionStatus::Active | SubscriptionStatus::PastDue
            if subscription.cancel_at_period_end =>
        {
            button("Reach the end", &[object, ("action", "end")])
        }
        SubscriptionStatus::Active | SubscriptionStatus::PastDue => {
            button("Renew", &[object, ("action", "renew")])
                + &button("Renew, card refused", &[object, ("action", "fail")])
        }
        SubscriptionStatus::Trialing => button("End the trial", &[object, ("action", "trial")]),
        _ => String::new(),
    };
    format!(
        "<tr><td><code>{}</code><br>{}</td><td>{:?} until {}</td><td>{buttons}</td></tr>",
        escape(&subscription.id),
        escape(&subscription.item.price.id),
        subscription.status,
        date(subscription.period.end),
    )
}
