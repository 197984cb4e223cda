//! How many tokens a prompt can be at most, from its bytes alone.
//!
//! Byte-level tokenizers never make more tokens than there are bytes. So the bytes of everything
//! the model reads, and a little for the frame of each message, bound what the provider will count.

/// What a provider adds around one message: role, separators, name. Observed 3 to 7.
const MESSAGE_FRAME: u64 = 8;

pub fn message_frames(messages: usize) -> u64 {
    MESSAGE_FRAME * messages as u64
}
