//! JSON of what is paid once: prices, customers, sessions, payment intents, charges, refunds, disputes.
//!
//! Pure. The two shapes differ in a charge's `invoice` alone.

use crate::demo::stripe::data::AccountData;
use crate::demo::stripe::proration::percent_of;
use crate::demo::stripe::records::{
    CheckoutMode, CheckoutSession, CheckoutStatus, Customer, Dispute, DisputeStatus, Payment,
    PaymentStatus, Portal, Price, Refund, RefundStatus,
};
use crate::demo::stripe::shape::ApiShape;
use serde_json::{Value, json};

pub(crate) fn price(data: &AccountData, price: &Price) -> Value {
    let recurring = price.interval.name().map(|interval| {
        json!({
            "interval": interval,
            "interval_count": 1,
            "meter": null,
            "trial_period_days": null,
            "usage_type": "licensed",
        })
    });
    json!({
        "id": price.id,
        "object": "price",
        "active": true,
        "billing_scheme": "per_unit",
        "currency": price.currency,
        "livemode": data.livemode,
        "metadata": {},
        "nickname": null,
        "product": price.product(),
        "recurring": recurring,
        "tiers_mode": null,
        "type": if price.interval.name().is_some() { "recurring" } else { "one_time" },
        "unit_amount": price.cents,
        "unit_amount_decimal": price.cents.to_string(),
    })
}

pub(crate) fn customer(data: &AccountData, customer: &Customer) -> Value {
    json!({
        "id": customer.id,
        "object": "customer",
        "balance": customer.balance,
        "created": customer.created,
        "currency": null,
        "delinquent": false,
        "email": "customer@example.com",
        "livemode": data.livemode,
        "metadata": {},
        "name": "Stand-in Customer",
    })
}

/// `origin` is the stand-in's own, for `url`.
pub(crate) fn checkout_session(
    data: &AccountData,
    session: &CheckoutSession,
    origin: &str,
) -> Value {
    let subtotal = session.subtotal();
    let percent = session
        .discount
        .as_ref()
        .map_or(0, |discount| discount.percent);
    let discount = percent_of(subtotal, percent);
    let is_open = session.status == CheckoutStatus::Open;
    let customer_creation = match (session.mode, session.makes_customer) {
        (CheckoutMode::Subscription, _) => None,
        (CheckoutMode::Payment, true) => Some("always"),
        (CheckoutMode::Payment, false) => Some("if_required"),
    };
    json!({
        "id": session.id,
        "object": "checkout.session",
        "allow_promotion_codes": session.allow_promotion_codes,
        "amount_subtotal": subtotal,
        "amount_total": subtotal - discount,
        "cancel_url": session.cancel_url,
        "client_reference_id": session.client_reference_id,
        "created": session.created,
        "currency": session.currency(),
        "customer": session.customer,
        "customer_creation": customer_creation,
        "customer_details": (!is_open).then(|| json!({ "email": "customer@example.com" })),
        "customer_email": null,
        "expires_at": session.expires_at,
        "invoice": session.invoice,
        "livemode": data.livemode,
        "metadata": session.metadata,
        "mode": session.mode,
        "payment_intent": session.payment_intent,
        "payment_link": null,
        "payment_method_types": ["card"],
        "payment_status": session.payment_status,
        "status": session.status,
        "subscription": session.subscription,
        "success_url": session.success_url,
        "total_details": { "amount_discount": discount, "amount_shipping": 0, "amount_tax": 0 },
        "ui_mode": "hosted",
        "url": is_open.then(|| format!("{origin}/pay/{}", session.id)),
    })
}

pub(crate) fn payment_intent(data: &AccountData, payment: &Payment, shape: ApiShape) -> Value {
    let is_paid = payment.status == PaymentStatus::Succeeded;
    let is_failed = payment.status == PaymentStatus::RequiresPaymentMethod;
    let mut intent = json!({
        "id": payment.id,
        "object": "payment_intent",
        "amount": payment.amount,
        "amount_received": if is_paid { payment.amount } else { 0 },
        "capture_method": "automatic",
        "created": payment.created,
        "currency": payment.currency,
        "customer": payment.customer,
        "last_payment_error": is_failed.then(|| json!({
            "type": "card_error",
            "code": "card_declined",
            "message": "Your card was declined.",
        })),
        "latest_charge": payment.charge,
        "livemode": data.livemode,
        "metadata": payment.metadata,
        "payment_method_types": ["card"],
        "status": payment.status,
    });
    if shape == ApiShape::Before {
        intent["invoice"] = json!(payment.invoice);
    }
    intent
}

pub(crate) fn charge(data: &AccountData, payment: &Payment, shape: ApiShape) -> Value {
    let mut charge = json!({
        "id": payment.charge,
        "object": "charge",
        "amount": payment.amount,
        "amount_captured": payment.amount,
        "amount_refunded": payment.amount_refunded,
        "captured": true,
        "created": payment.created,
        "currency": payment.currency,
        "customer": payment.customer,
        "disputed": payment.disputed,
        "failure_code": null,
        "livemode": data.livemode,
        "metadata": payment.metadata,
        "paid": true,
        "payment_intent": payment.id,
        "refunded": payment.amount_refunded == payment.amount,
        "status": "succeeded",
    });
    if shape == ApiShape::Before {
        charge["invoice"] = json!(payment.invoice);
    }
    charge
}

pub(crate) fn refund(refund: &Refund) -> Value {
    let mut json = json!({
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "charge": refund.charge,
        "created": refund.created,
        "currency": refund.currency,
        "metadata": {},
        "payment_intent": refund.payment_intent,
        "reason": "requested_by_customer",
        "status": refund.status,
    });
    // Stripe has the member on failed refunds alone.
    if refund.status == RefundStatus::Failed {
        json["failure_reason"] = json!("expired_or_canceled_card");
    }
    json
}

pub(crate) fn dispute(data: &AccountData, dispute: &Dispute) -> Value {
    let movements = dispute.movements.iter().map(|(id, amount)| {
        json!({
            "id": id,
            "object": "balance_transaction",
            "amount": amount,
            "created": dispute.created,
            "currency": dispute.currency,
            "fee": 0,
            "net": amount,
            "reporting_category": if *amount < 0 { "dispute" } else { "dispute_reversal" },
            "source": dispute.id,
            "type": "adjustment",
        })
    });
    let movements: Vec<Value> = movements.collect();
    let is_inquiry = matches!(
        dispute.status,
        DisputeStatus::WarningNeedsResponse | DisputeStatus::WarningClosed
    );
    json!({
        "id": dispute.id,
        "object": "dispute",
        "amount": dispute.amount,
        "balance_transactions": movements,
        "charge": dispute.charge,
        "created": dispute.created,
        "currency": dispute.currency,
        "is_charge_refundable": is_inquiry,
        "livemode": data.livemode,
        "metadata": {},
        "payment_intent": dispute.payment_intent,
        "reason": "fraudulent",
        "status": dispute.status,
    })
}

/// `origin` is the stand-in's own, for `url`.
pub(crate) fn portal_session(data: &AccountData, portal: &Portal, origin: &str) -> Value {
    json!({
        "id": portal.id,
        "object": "billing_portal.session",
        "created": data.now(),
        "customer": portal.customer,
        "livemode": data.livemode,
        "return_url": portal.return_url,
        "url": format!("{origin}/portal/{}", portal.id),
    })
}
