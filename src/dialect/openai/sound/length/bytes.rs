//! Numbers and places in bytes. It must never read outside them.

/// A number of up to eight bytes, the highest first.
pub fn be(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}

/// A number of up to eight bytes, the lowest first.
pub fn le(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}

/// Where four bytes are next, from a place on.
pub fn find(bytes: &[u8], from: usize, mark: &[u8; 4]) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == mark[0])?;
        if bytes.get(at..at.checked_add(4)?)? == mark {
            return Some(at);
        }
        at += 1;
    }
}

/// A place that a declared size leads to, inside what is there or not.
pub fn place(at: usize, size: u64) -> usize {
    usize::try_from(size).map_or(usize::MAX, |size| at.saturating_add(size))
}
