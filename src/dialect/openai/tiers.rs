//! Members that change the price of a call, or have several models at work for it.

use crate::dialect::call::{Changes, Extras, Unreadable};
use crate::dialect::extras::word;
use crate::dialect::object::{Edit, Object};

/// Tiers that cost what the model costs, or less.
const PLAIN: &[&str] = &["auto", "default", "flex", "standard", "on_demand"];

/// By these names they are known to a call's reader and writer, and to an operator.
pub const DEAR: &[&str] = &["service_tier", "multi_agent"];

pub fn read(body: &Object<'_>, extras: &mut Extras) -> Result<(), Unreadable> {
    if body.value("service_tier").is_some() && !PLAIN.contains(&&*word(body, "service_tier")) {
        extras.dear.push("service_tier".to_owned());
    }
    if body.value("multi_agent").is_some() {
        extras.dear.push("multi_agent".to_owned());
    }
    Ok(())
}

pub fn take_out<'a>(edit: &mut Edit<'a>, changes: &Changes<'_>) {
    for name in DEAR {
        if changes.removes(name) {
            edit.remove(name);
        }
    }
}
