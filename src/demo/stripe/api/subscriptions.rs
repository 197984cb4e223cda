//! Changes of a subscription through the API: `cancel_at_period_end`, and cancelling at once.
//!
//! Plans are changed in the portal, not here.

use super::call::ApiCall;
use crate::demo::stripe::cancellation;
use crate::demo::stripe::data::AccountData;
use crate::demo::stripe::error::StripeError;
use crate::demo::stripe::render;
use crate::demo::stripe::subscriptions::find;
use serde_json::Value;

pub(super) fn update(
    data: &mut AccountData,
    call: &ApiCall<'_>,
    id: &str,
) -> Result<Value, StripeError> {
    call.form.check(&["cancel_at_period_end", "expand[*]"])?;
    data.room()?;
    find(data, id)?;
    if let Some(ends) = call.form.boolean("cancel_at_period_end")? {
        cancellation::set_cancel_at_period_end(data, id, ends)?;
    }
    Ok(render::subscription(data, find(data, id)?, call.shape))
}

pub(super) fn cancel(
    data: &mut AccountData,
    call: &ApiCall<'_>,
    id: &str,
) -> Result<Value, StripeError> {
    call.form.check(&["invoice_now", "prorate", "expand[*]"])?;
    data.room()?;
    let prorate = call.form.boolean("prorate")?.unwrap_or(false);
    cancellation::cancel(data, id, prorate)?;
    Ok(render::subscription(data, find(data, id)?, call.shape))
}
