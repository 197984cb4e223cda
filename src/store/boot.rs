//! Has the machine been started anew since a file was written?
//!
//! If not, what the system has taken is in the file, whole, however its writer ended. If so, power may have
//! been lost: what was never flushed may be missing, here and there, or torn. Where the system does not say
//! which start this is, it is never taken for the same one.

const ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    Same,
    Other,
}

/// This start of the machine, in letters and digits.
pub fn id() -> Option<String> {
    let mut id = std::fs::read_to_string(ID).ok()?;
    id.retain(|c| c.is_ascii_alphanumeric());
    (!id.is_empty()).then_some(id)
}

impl Boot {
    pub fn of(noted: Option<&str>) -> Boot {
        match (noted, id()) {
            (Some(noted), Some(now)) if noted == now => Boot::Same,
            _ => Boot::Other,
        }
    }
}
