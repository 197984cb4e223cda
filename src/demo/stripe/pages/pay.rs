//! The payment page of a checkout session.
//!
//! Paying twice is harmless: a session that is complete leads to its `success_url` again.

use super::layout::{HtmlReply, button, escape, message, page};
use crate::demo::stripe::account::StripeAccount;
use crate::demo::stripe::checkout::due;
use crate::demo::stripe::lines::money;
use crate::demo::stripe::records::{CheckoutSession, CheckoutStatus};

pub(super) fn answer(account: &StripeAccount, id: &str, is_post: bool) -> HtmlReply {
    let Some(session) = account.data().sessions.find(id).cloned() else {
        return message(404, "Not found", "There is no such session.");
    };
    let is_paid = session.status == CheckoutStatus::Complete;
    if is_post
        && !is_paid
        && let Err(error) = account.pay(id)
    {
        return message(400, "Not paid", &error.message);
    }
    if is_post || is_paid {
        let back = session.success_url.replace("{CHECKOUT_SESSION_ID}", id);
        return HtmlReply::SeeOther(back);
    }
    page(200, "Pay", &content(&session))
}

fn content(session: &CheckoutSession) -> String {
    let rows = session.items.iter().map(|item| {
        let every = item.price.interval.name();
        format!(
            "<tr><td>{} × <code>{}</code></td><td>{}{}</td></tr>",
            item.quantity,
            escape(&item.price.id),
            escape(&money(item.cents(), &item.price.currency)),
            every.map_or_else(String::new, |name| format!(" a {name}")),
        )
    });
    let rows: String = rows.collect();
    let due = escape(&money(due(session), session.currency()));
    let trial = match session.trial_days {
        0 => String::new(),
        days => format!("<p>Free for {days} days.</p>"),
    };
    let cancel = session
        .cancel_url
        .as_deref()
        .map_or_else(String::new, |url| {
            format!("<a href=\"{}\">Cancel</a>", escape(url))
        });
    let pay = button("Pay", &[]).replace("<button>", "<button class=\"main\">");
    format!(
        "<table>{rows}</table>{trial}<p>Due now: <strong>{due}</strong></p><p>{pay}{cancel}</p>"
    )
}
