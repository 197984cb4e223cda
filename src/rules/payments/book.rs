//! [`PaymentBook`]: payments as the store keeps them beside an account, and the step that changes them.
//!
//! The text is not understood here: who changes it has read it before, and says which version that was. So a decision
//! that was made on what another instance has changed since is made again, and the balance moves in the same step.

use crate::rules::amount::Tokens;
use serde::{Deserialize, Serialize};

/// Payments of an account as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentBook {
    /// Number of changes.
    pub version: u64,
    /// Tokens that were to be taken back and were spent already. What is given back fills these first.
    #[serde(default, skip_serializing_if = "Tokens::is_zero")]
    pub short: Tokens,
    pub text: String,
}

impl PaymentBook {
    pub fn is_empty(&self) -> bool {
        self.version == 0
    }
}

/// Change of an account's payments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pay {
    pub tenant: String,
    /// Version of the payments that the change was made from; 0: there were none.
    pub expected: u64,
    /// Group of the account that it was made from.
    pub group_before: String,
    pub text: String,
    /// Tokens that the balance gains, or is to lose.
    pub gain: i64,
    /// Group that the account moves to.
    pub group: Option<String>,
}

/// Outcome of a [`Pay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paid {
    Done {
        left: Tokens,
        /// Tokens that were to be taken back and were spent already, in all.
        short: Tokens,
    },
    /// Payments or group were changed since they were read. Nothing was done.
    Changed,
}
