//! The two spellings of a member, and lists of which the only element may stand alone.

use crate::dialect::call::Unreadable;
use crate::dialect::object::{self, Object};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Spellings of a member: in camel case, then with underscores.
pub(super) type Spellings = [&'static str; 2];

/// Returns the raw value of a known member, `null` excluded. Fails if both spellings are written: readers differ in
/// the one that counts.
pub(super) fn either<'a>(
    object: &Object<'a>,
    [camel, snake]: Spellings,
) -> Result<Option<&'a RawValue>, Unreadable> {
    match (object.written(camel), object.written(snake)) {
        (Some(_), Some(_)) if camel != snake => Err(Unreadable(format!(
            "{camel} is written twice, as {snake} too"
        ))),
        (one, other) => Ok(one.or(other).filter(|value| value.get() != "null")),
    }
}

/// Returns the string in a member; empty where there is none.
pub(super) fn word<'a>(
    object: &Object<'a>,
    spellings: Spellings,
) -> Result<Cow<'a, str>, Unreadable> {
    let value = either(object, spellings)?;
    Ok(value.and_then(object::string).unwrap_or_default())
}

/// Returns a whole number in a member, at least `least`.
pub(super) fn whole(
    object: &Object<'_>,
    spellings: Spellings,
    least: u64,
) -> Result<Option<u64>, Unreadable> {
    let Some(value) = either(object, spellings)? else {
        return Ok(None);
    };
    let number = value.get().parse().ok().filter(|number| *number >= least);
    let name = spellings[0];
    number
        .map(Some)
        .ok_or_else(|| Unreadable(format!("{name} must be a whole number from {least}")))
}

/// Calls `each` with every element of a list, or with the value itself where it stands for a list of one.
pub(super) fn elements<'a>(
    value: &'a RawValue,
    name: &str,
    mut each: impl FnMut(&'a RawValue) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    if !value.get().starts_with('[') {
        return each(value);
    }
    object::list(value, name, |element| {
        object::no_list(element, name)?;
        each(element)
    })
}
