//! Whether a call may run: whose key it is, the most it can cost, and the hold on its balance.

pub mod admit;
pub mod token_counter;
