//! Links that a customer opens: checkout sessions and portal sessions.
//!
//! Parameters are refused as Stripe refuses them. Addresses must be http or https, because pages link to them.

use super::call::ApiCall;
use crate::demo::stripe::checkout;
use crate::demo::stripe::data::AccountData;
use crate::demo::stripe::error::StripeError;
use crate::demo::stripe::form::Form;
use crate::demo::stripe::records::{
    CheckoutMode, CheckoutPayment, CheckoutSession, CheckoutStatus, Interval, Portal, PricedItem,
};
use crate::demo::stripe::render;
use serde_json::Value;

const SESSION_PARAMETERS: [&str; 15] = [
    "allow_promotion_codes",
    "cancel_url",
    "client_reference_id",
    "customer",
    "customer_creation",
    "expires_at",
    "expand[*]",
    "line_items[*][price]",
    "line_items[*][quantity]",
    "metadata[*]",
    "mode",
    "payment_intent_data[metadata][*]",
    "subscription_data[metadata][*]",
    "subscription_data[trial_period_days]",
    "success_url",
];
const SESSION_LIFE_SECONDS: u64 = 24 * 3_600;
/// Shortest life of a session. A clock that a test has moved on would end a session before it begins.
const SHORTEST_SESSION_SECONDS: u64 = 30 * 60;
const MAX_LINE_ITEMS: usize = 100;
const MAX_QUANTITY: u64 = 999_999;
const MAX_REFERENCE_CHARS: usize = 200;
/// Longest trial that Stripe takes.
const MAX_TRIAL_DAYS: u64 = 730;
const MAX_URL_BYTES: usize = 5_000;

pub(super) fn create_session(
    data: &mut AccountData,
    call: &ApiCall<'_>,
) -> Result<Value, StripeError> {
    let form = &call.form;
    form.check(&SESSION_PARAMETERS)?;
    data.room()?;
    let mode = mode(form)?;
    let makes_customer = makes_customer(form, mode)?;
    let items = items(data, form, mode)?;
    let prefix = if data.livemode { "cs_live" } else { "cs_test" };
    let created = data.now();
    let session = CheckoutSession {
        id: data.id(prefix),
        mode,
        status: CheckoutStatus::Open,
        payment_status: CheckoutPayment::Unpaid,
        success_url: url(form.required("success_url")?, "success_url")?,
        cancel_url: form
            .text("cancel_url")
            .map(|text| url(text, "cancel_url"))
            .transpose()?,
        client_reference_id: reference(form)?,
        customer: customer(data, form)?,
        makes_customer,
        items,
        discount: None,
        allow_promotion_codes: form.boolean("allow_promotion_codes")?.unwrap_or(false),
        metadata: form.metadata("metadata")?,
        payment_metadata: form.metadata("payment_intent_data[metadata]")?,
        subscription_metadata: form.metadata("subscription_data[metadata]")?,
        trial_days: trial_days(form)?,
        payment_intent: None,
        subscription: None,
        invoice: None,
        created,
        expires_at: expires_at(form, created)?,
    };
    if mode == CheckoutMode::Payment && checkout::due(&session) < data.minimum_charge {
        let message = "The Checkout Session's total amount is below the minimum charge.";
        return Err(StripeError::invalid(message).with_code("amount_too_small"));
    }
    let answer = render::checkout_session(data, &session, call.origin);
    data.keep(answer.to_string().len());
    for item in &session.items {
        data.note_price(&item.price.id);
    }
    data.sessions.insert(session);
    Ok(answer)
}

fn mode(form: &Form) -> Result<CheckoutMode, StripeError> {
    let (mode, other) = match form.required("mode")? {
        "payment" => (CheckoutMode::Payment, "subscription_data"),
        "subscription" => (CheckoutMode::Subscription, "payment_intent_data"),
        _ => {
            let message = "Invalid mode: must be one of payment, setup, or subscription";
            return Err(StripeError::invalid(message).at("mode"));
        }
    };
    if !form.entries(other).is_empty() {
        let message = format!("You can not pass `{other}` in this mode.");
        return Err(StripeError::invalid(message).at(other));
    }
    Ok(mode)
}

fn makes_customer(form: &Form, mode: CheckoutMode) -> Result<bool, StripeError> {
    let param = "customer_creation";
    let refuse = |message: &str| Err(StripeError::invalid(message).at(param));
    match (form.text(param), form.text("customer"), mode) {
        (None, ..) => Ok(false),
        (Some(_), Some(_), _) => {
            refuse("You may only specify one of these parameters: customer, customer_creation.")
        }
        (Some(_), _, CheckoutMode::Subscription) => {
            refuse("`customer_creation` can only be used in `payment` mode.")
        }
        (Some("always"), ..) => Ok(true),
        (Some("if_required"), ..) => Ok(false),
        (Some(_), ..) => refuse("Invalid customer_creation: must be one of always or if_required"),
    }
}

fn customer(data: &AccountData, form: &Form) -> Result<Option<String>, StripeError> {
    match form.text("customer") {
        Some(id) if data.customers.find(id).is_none() => {
            Err(StripeError::missing("customer", id).at("customer"))
        }
        customer => Ok(customer.map(str::to_owned)),
    }
}

fn items(
    data: &AccountData,
    form: &Form,
    mode: CheckoutMode,
) -> Result<Vec<PricedItem>, StripeError> {
    let entries = form.entries("line_items");
    if entries.is_empty() {
        form.required("line_items")?;
    }
    if entries.len() > MAX_LINE_ITEMS {
        return Err(StripeError::invalid("Too many line items.").at("line_items"));
    }
    let items = entries.into_iter().map(|entry| item(data, form, entry));
    let items = items.collect::<Result<Vec<PricedItem>, StripeError>>()?;
    let refuse = |message: &str| Err(StripeError::invalid(message).at("line_items"));
    let plans = items
        .iter()
        .filter(|item| item.price.interval != Interval::Once);
    match (mode, plans.count()) {
        (CheckoutMode::Payment, 0) | (CheckoutMode::Subscription, 1) => {}
        (CheckoutMode::Payment, _) => {
            return refuse(
                "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or \
                 use only one-time prices.",
            );
        }
        (CheckoutMode::Subscription, 0) => {
            return refuse(
                "You must provide at least one recurring price in `subscription` mode when using prices.",
            );
        }
        (CheckoutMode::Subscription, _) => {
            return refuse("This stand-in sells one recurring price a session.");
        }
    }
    let mut currencies = items.iter().map(|item| &item.price.currency);
    let first = currencies.next();
    if currencies.any(|currency| Some(currency) != first) {
        return refuse("All prices on a Checkout Session must be of the same currency.");
    }
    Ok(items)
}

fn item(data: &AccountData, form: &Form, entry: &str) -> Result<PricedItem, StripeError> {
    let name = format!("line_items[{entry}][price]");
    let id = form.required(&name)?;
    let price = data.price(id);
    let price = price.ok_or_else(|| StripeError::missing("price", id).at(name))?;
    let name = format!("line_items[{entry}][quantity]");
    let quantity = match form.integer(&name)? {
        Some(quantity @ 1..=MAX_QUANTITY) => i64::try_from(quantity).unwrap_or(1),
        _ => {
            let message = format!("Quantity is required. Add `quantity` to `line_items[{entry}]`");
            return Err(StripeError::invalid(message).at(name));
        }
    };
    Ok(PricedItem { price, quantity })
}

fn reference(form: &Form) -> Result<Option<String>, StripeError> {
    let param = "client_reference_id";
    let reference = form.text(param).filter(|text| !text.is_empty());
    if reference.is_some_and(|text| text.chars().count() > MAX_REFERENCE_CHARS) {
        let message = "Invalid string: must be at most 200 characters";
        return Err(StripeError::invalid(message).at(param));
    }
    Ok(reference.map(str::to_owned))
}

fn expires_at(form: &Form, created: u64) -> Result<u64, StripeError> {
    let (soonest, latest) = (
        created + SHORTEST_SESSION_SECONDS,
        created + SESSION_LIFE_SECONDS,
    );
    let asked = form.integer("expires_at")?;
    Ok(asked.map_or(latest, |asked| asked.clamp(soonest, latest)))
}

/// Ends an open session, and answers with it.
pub(super) fn expire(
    data: &mut AccountData,
    call: &ApiCall<'_>,
    id: &str,
) -> Result<Value, StripeError> {
    call.form.check(&["expand[*]"])?;
    checkout::expire(data, id, call.origin)?;
    let session = checkout::find(data, id)?.clone();
    Ok(render::checkout_session(data, &session, call.origin))
}

fn trial_days(form: &Form) -> Result<u64, StripeError> {
    let param = "subscription_data[trial_period_days]";
    match form.integer(param)? {
        None => Ok(0),
        Some(days @ 1..=MAX_TRIAL_DAYS) => Ok(days),
        Some(_) => Err(StripeError::invalid("A trial has 1 to 730 days.").at(param)),
    }
}

/// Accepts what a page may link to and a `Location` header may carry.
fn url(text: &str, param: &str) -> Result<String, StripeError> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_web || !is_plain || text.len() > MAX_URL_BYTES {
        return Err(StripeError::invalid("Not a valid URL")
            .with_code("url_invalid")
            .at(param));
    }
    Ok(text.to_owned())
}

pub(super) fn create_portal(
    data: &mut AccountData,
    call: &ApiCall<'_>,
) -> Result<Value, StripeError> {
    let form = &call.form;
    form.check(&["customer", "return_url", "expand[*]"])?;
    data.room()?;
    form.required("customer")?;
    let portal = Portal {
        customer: customer(data, form)?.unwrap_or_default(),
        return_url: url(form.required("return_url")?, "return_url")?,
        id: data.id("bps"),
    };
    let answer = render::portal_session(data, &portal, call.origin);
    data.portals.insert(portal);
    Ok(answer)
}
