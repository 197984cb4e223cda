//! Members that change the price of a call (`service_tier`), or that have several models work on it
//! (`multi_agent`).

use crate::dialect::call::{Changes, Extras, Unreadable};
use crate::dialect::extras::word;
use crate::dialect::object::{Edit, Object};

/// Values of `service_tier` that cost the model's usual price, or less.
const USUAL_PRICE_TIERS: &[&str] = &["auto", "default", "flex", "standard", "on_demand"];

/// Members that may raise the price. An operator allows them by these names, in an endpoint's `members`.
pub(crate) const SURCHARGED: &[&str] = &["service_tier", "multi_agent"];

/// Records the members that raise the price of this body in `extras.surcharged`.
pub(crate) fn read(body: &Object<'_>, extras: &mut Extras) -> Result<(), Unreadable> {
    if body.value("service_tier").is_some()
        && !USUAL_PRICE_TIERS.contains(&&*word(body, "service_tier"))
    {
        extras.surcharged.push("service_tier".to_owned());
    }
    if body.value("multi_agent").is_some() {
        extras.surcharged.push("multi_agent".to_owned());
    }
    Ok(())
}

/// Removes the members in `changes.removed` from a body.
pub(crate) fn take_out<'a>(edit: &mut Edit<'a>, changes: &Changes<'_>) {
    for name in SURCHARGED {
        if changes.removes(name) {
            edit.remove(name);
        }
    }
}
