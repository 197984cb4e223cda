//! Money that goes back: refunds, whole or in parts, and disputes with their inquiries.
//!
//! An inquiry moves no money. A dispute withdraws it, and a dispute that is won reinstates it.

use super::data::{AccountData, News, previous_attributes};
use super::error::StripeError;
use super::records::{Dispute, DisputeStatus, Payment, PaymentStatus, Refund, RefundStatus};
use super::render;
use serde_json::{Value, json};

/// Refunds a part of a payment. Returns the refund's id.
pub(super) fn refund(
    data: &mut AccountData,
    intent: &str,
    cents: i64,
) -> Result<String, StripeError> {
    let payment = paid(data, intent)?;
    let left = payment.amount - payment.amount_refunded;
    if left == 0 {
        let message = format!("Charge {} has already been refunded.", charge_id(&payment));
        return Err(StripeError::invalid(message).with_code("charge_already_refunded"));
    }
    if cents < 1 || cents > left {
        let message = format!("Refund amount ({cents}) is greater than unrefunded amount ({left})");
        return Err(StripeError::invalid(message).at("amount"));
    }
    let refund = Refund {
        id: data.id("re"),
        payment_intent: intent.to_owned(),
        charge: charge_id(&payment),
        amount: cents,
        currency: payment.currency.clone(),
        status: RefundStatus::Succeeded,
        created: data.now(),
    };
    let id = refund.id.clone();
    let created = News::new("refund.created", render::refund(&refund));
    data.refunds.insert(refund);
    let refunded = change_charge(data, intent, "charge.refunded", |payment| {
        payment.amount_refunded += cents;
    });
    data.announce(refunded.into_iter().chain([created]).collect());
    Ok(id)
}

/// The customer's bank sent a refund back.
pub(super) fn fail_refund(data: &mut AccountData, id: &str) -> Result<(), StripeError> {
    let Some(refund) = data.refunds.find_mut(id) else {
        return Err(StripeError::missing("refund", id).with_status(404));
    };
    if refund.status == RefundStatus::Failed {
        return Err(StripeError::invalid("The refund failed before."));
    }
    refund.status = RefundStatus::Failed;
    let (intent, cents) = (refund.payment_intent.clone(), refund.amount);
    let object = render::refund(refund);
    let previous = json!({ "status": "succeeded" });
    if let Some(payment) = data.payments.find_mut(&intent) {
        payment.amount_refunded -= cents;
    }
    let updated = |kind| News {
        previous: Some(previous.clone()),
        ..News::new(kind, object.clone())
    };
    data.announce(vec![
        updated("charge.refund.updated"),
        updated("refund.updated"),
        News::new("refund.failed", object.clone()),
    ]);
    Ok(())
}

/// The bank asks and withdraws nothing yet.
pub(super) fn inquire(data: &mut AccountData, intent: &str) -> Result<String, StripeError> {
    let payment = paid(data, intent)?;
    let dispute = new_dispute(data, &payment, payment.amount);
    let id = dispute.id.clone();
    data.disputes.insert(dispute);
    let created = told(data, &id, "charge.dispute.created");
    data.announce(created.into_iter().collect());
    Ok(id)
}

/// The bank withdraws money. An open inquiry of the payment becomes the dispute. Returns the dispute's id.
pub(super) fn dispute(
    data: &mut AccountData,
    intent: &str,
    cents: Option<i64>,
) -> Result<String, StripeError> {
    let payment = paid(data, intent)?;
    let cents = cents.unwrap_or(payment.amount);
    if cents < 1 || cents > payment.amount {
        return Err(StripeError::invalid(
            "A dispute is about a part of the payment.",
        ));
    }
    let (first, mut dispute) = match open_inquiry(data, intent) {
        Some(inquiry) => ("charge.dispute.updated", inquiry),
        None => ("charge.dispute.created", new_dispute(data, &payment, cents)),
    };
    dispute.status = DisputeStatus::NeedsResponse;
    dispute.amount = cents;
    dispute.movements = vec![(data.id("txn"), -cents)];
    let id = dispute.id.clone();
    data.disputes.insert(dispute);
    if let Some(payment) = data.payments.find_mut(intent) {
        payment.disputed = true;
    }
    let news = [first, "charge.dispute.funds_withdrawn"];
    let news = news.into_iter().filter_map(|kind| told(data, &id, kind));
    let news = news.collect();
    data.announce(news);
    Ok(id)
}

/// The bank decides. The merchant gets the money back where it `is_won`; an inquiry is closed without any.
pub(super) fn decide(data: &mut AccountData, id: &str, is_won: bool) -> Result<(), StripeError> {
    let movement = data.id("txn");
    let Some(dispute) = data.disputes.find_mut(id) else {
        return Err(StripeError::missing("dispute", id).with_status(404));
    };
    let mut kinds = vec!["charge.dispute.closed"];
    dispute.status = match (dispute.status, is_won) {
        (DisputeStatus::WarningNeedsResponse, _) => DisputeStatus::WarningClosed,
        (DisputeStatus::NeedsResponse, true) => {
            dispute.movements.push((movement, dispute.amount));
            kinds.insert(0, "charge.dispute.funds_reinstated");
            DisputeStatus::Won
        }
        (DisputeStatus::NeedsResponse, false) => DisputeStatus::Lost,
        _ => return Err(StripeError::invalid("The dispute is closed.")),
    };
    let news = kinds.into_iter().filter_map(|kind| told(data, id, kind));
    let news = news.collect();
    data.announce(news);
    Ok(())
}

fn open_inquiry(data: &AccountData, intent: &str) -> Option<Dispute> {
    let mut disputes = data.disputes.newest_first();
    let inquiry = disputes.find(|known| {
        known.payment_intent == intent && known.status == DisputeStatus::WarningNeedsResponse
    });
    inquiry.cloned()
}

fn new_dispute(data: &mut AccountData, payment: &Payment, cents: i64) -> Dispute {
    Dispute {
        id: data.id("dp"),
        payment_intent: payment.id.clone(),
        charge: charge_id(payment),
        amount: cents,
        currency: payment.currency.clone(),
        status: DisputeStatus::WarningNeedsResponse,
        movements: Vec::new(),
        created: data.now(),
    }
}

fn told(data: &AccountData, id: &str, kind: &'static str) -> Option<News> {
    let dispute = data.disputes.find(id)?;
    Some(News::new(kind, render::dispute(data, dispute)))
}

/// Copy of a payment that succeeded.
fn paid(data: &AccountData, intent: &str) -> Result<Payment, StripeError> {
    let Some(payment) = data.payments.find(intent) else {
        return Err(StripeError::missing("payment_intent", intent).with_status(404));
    };
    if payment.status != PaymentStatus::Succeeded {
        let message = "This PaymentIntent does not have a successful charge.";
        return Err(StripeError::invalid(message));
    }
    Ok(payment.clone())
}

fn charge_id(payment: &Payment) -> String {
    payment.charge.clone().unwrap_or_default()
}

fn change_charge(
    data: &mut AccountData,
    intent: &str,
    kind: &'static str,
    apply: impl FnOnce(&mut Payment),
) -> Option<News> {
    let shape = data.shape;
    let json = |data: &AccountData| -> Option<Value> {
        let payment = data.payments.find(intent)?;
        Some(render::charge(data, payment, shape))
    };
    let before = json(data)?;
    apply(data.payments.find_mut(intent)?);
    let after = json(data)?;
    Some(News {
        previous: previous_attributes(&before, &after),
        ..News::new(kind, after)
    })
}
