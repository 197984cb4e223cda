//! [`PaymentBook`]: payments as the store keeps them beside an account, and the step that changes them.
//!
//! The text is not understood here: who changes it has read it before, and says which version that was. So a decision
//! that was made on what another instance has changed since is made again, and the balance moves in the same step.

use crate::rules::amount::{Millis, Tokens};
use serde::{Deserialize, Serialize};

/// Longest time from the asking to the change that rests on it. A confirmation that is further ahead was made by a
/// clock that is wrong, and stops nobody.
const LONGEST_ASKING: Millis = Millis(120_000);

/// Payments of an account as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentBook {
    /// Number of changes.
    pub version: u64,
    /// Tokens that were to be taken back and were spent already. What is given back fills these first.
    #[serde(default, skip_serializing_if = "Tokens::is_zero")]
    pub short: Tokens,
    /// Overrun of the account at the latest change. What has grown since was used beyond what was taken back.
    #[serde(default, skip_serializing_if = "Tokens::is_zero")]
    pub overrun: Tokens,
    /// Latest moment at which somebody began to ask how everything stands, and found it as it is here.
    #[serde(default)]
    pub confirmed: Millis,
    pub text: String,
}

impl PaymentBook {
    /// Whether a change rests on what was asked before somebody else has confirmed what stands here.
    pub(crate) fn is_newer_than(&self, pay: &Pay) -> bool {
        let ahead = self.confirmed.minus(pay.asked);
        self.text != pay.text && ahead > Millis(0) && ahead <= LONGEST_ASKING
    }

    /// Notes a change whose tokens are moved. A repeat is no change, so that any number of them at once stand in nobody's
    /// way.
    pub(crate) fn note(&mut self, pay: &Pay, short: Tokens, overrun: Tokens) {
        if self.text != pay.text || self.is_empty() {
            self.version += 1;
            self.text.clone_from(&pay.text);
        }
        self.short = short;
        self.overrun = overrun;
        self.confirmed = self.confirmed.max(pay.asked);
    }

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
    /// ID of the event that caused it, for the ledger.
    pub cause: String,
    /// Moment at which the asking began that the change rests on.
    pub asked: Millis,
    /// Tokens that the balance gains.
    pub gain: Tokens,
    /// Tokens that are taken back in all: before the change, and after it.
    pub back: (Tokens, Tokens),
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
