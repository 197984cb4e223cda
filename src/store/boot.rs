//! Detects whether the machine was restarted since a file was written.
//!
//! [`Boot::Same`]: the kernel still has every completed write, so a file is whole even after kill -9 of its
//! writer. [`Boot::Other`]: power may have been lost, so writes that were never fsynced may be missing or
//! torn anywhere. Without a boot ID from the kernel the answer is never [`Boot::Same`].

/// Linux's random ID of the current boot.
const ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boot {
    Same,
    Other,
}

/// Returns the machine's boot ID in letters and digits; `None` if the kernel gives none.
pub fn id() -> Option<String> {
    let mut id = std::fs::read_to_string(ID).ok()?;
    id.retain(|c| c.is_ascii_alphanumeric());
    (!id.is_empty()).then_some(id)
}

impl Boot {
    /// Compares `noted`, the boot ID kept with a file, with the current [`id`].
    pub fn of(noted: Option<&str>) -> Boot {
        match (noted, id()) {
            (Some(noted), Some(now)) if noted == now => Boot::Same,
            _ => Boot::Other,
        }
    }
}
