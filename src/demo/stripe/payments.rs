//! Payment intents and their charges: made, succeeded, failed.
//!
//! Each function changes the account and returns the events that tell of it, which the caller announces in Stripe's
//! order.

use super::data::{AccountData, News};
use super::records::{Metadata, Payment, PaymentStatus};
use super::render;

/// A payment that is about to be made.
pub(super) struct NewPayment {
    pub amount: i64,
    pub currency: String,
    pub customer: Option<String>,
    pub metadata: Metadata,
    pub invoice: Option<String>,
}

/// Makes a payment intent that is processing, and returns its id.
pub(super) fn begin(data: &mut AccountData, new: NewPayment) -> String {
    let id = data.id("pi");
    let created = data.now();
    data.payments.insert(Payment {
        id: id.clone(),
        charge: None,
        amount: new.amount,
        amount_refunded: 0,
        currency: new.currency,
        customer: new.customer,
        metadata: new.metadata,
        status: PaymentStatus::Processing,
        invoice: new.invoice,
        disputed: false,
        created,
    });
    id
}

/// Charges the customer.
pub(super) fn succeed(data: &mut AccountData, id: &str) -> Vec<News> {
    let charge = data.id("ch");
    if let Some(payment) = data.payments.find_mut(id) {
        payment.charge = Some(charge);
        payment.status = PaymentStatus::Succeeded;
    }
    let mut news = told(data, id, "payment_intent.succeeded");
    if let Some(payment) = data.payments.find(id) {
        let object = render::charge(data, payment, data.shape);
        news.push(News::new("charge.succeeded", object));
    }
    news
}

/// The charge was refused.
pub(super) fn fail(data: &mut AccountData, id: &str) -> Vec<News> {
    if let Some(payment) = data.payments.find_mut(id) {
        payment.status = PaymentStatus::RequiresPaymentMethod;
    }
    told(data, id, "payment_intent.payment_failed")
}

/// The bank will answer later.
pub(super) fn process(data: &AccountData, id: &str) -> Vec<News> {
    told(data, id, "payment_intent.processing")
}

fn told(data: &AccountData, id: &str, kind: &'static str) -> Vec<News> {
    let payment = data.payments.find(id);
    let object = payment.map(|payment| render::payment_intent(data, payment, data.shape));
    object
        .map(|object| News::new(kind, object))
        .into_iter()
        .collect()
}
