//! Reads integers and finds marks in bytes. Must never read outside the slice.

/// Reads a big-endian integer of `size` bytes, at most 8. `None`: it ends outside `bytes`.
pub fn be(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}

/// Reads a little-endian integer of `size` bytes, at most 8. `None`: it ends outside `bytes`.
pub fn le(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}

/// Returns the offset of the next `mark` at or after `from`.
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

/// Returns the offset `size` bytes after `at`, which may lie beyond the end of the file.
pub fn place(at: usize, size: u64) -> usize {
    usize::try_from(size).map_or(usize::MAX, |size| at.saturating_add(size))
}
