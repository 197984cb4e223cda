//! IDs of requests: the client's own `x-request-id` where it is fit to be echoed, else a new one.

use crate::http1::head::Request;
use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::{Builder, Uuid};

/// Longest ID of a client that is echoed.
const MAX_ID_BYTES: usize = 128;

thread_local! {
    static STATE: RefCell<u64> = RefCell::new(Uuid::new_v4().as_u64_pair().1 ^ Uuid::new_v4().as_u64_pair().0);
}

/// A unique ID (UUID version 7): the time, and numbers of this thread's generator. Not for anything that must
/// not be guessed.
pub(crate) fn new_id() -> Uuid {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut bytes = [0; 10];
    STATE.with_borrow_mut(|state| {
        for part in bytes.chunks_mut(8) {
            // SplitMix64: one addition, then mixed.
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            part.copy_from_slice(&z.to_le_bytes()[..part.len()]);
        }
    });
    Builder::from_unix_timestamp_millis(now.as_millis() as u64, &bytes).into_uuid()
}

/// The ID of a request.
pub fn of(request: &Request) -> String {
    let given = request.fields.get("x-request-id");
    let is_fit = |id: &&str| {
        !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given
        .filter(is_fit)
        .map_or_else(|| new_id().to_string(), str::to_owned)
}
