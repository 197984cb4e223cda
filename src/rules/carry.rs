//! A balance that moves from one account to another, in two steps: two accounts share no step of the store.
//!
//! The old account's [`Departure`] gives, the new one's [`Carry`] takes. Both speak of sums and not of amounts, so that
//! any step may be repeated, lost or late, and nothing moves twice.

use super::amount::Tokens;
use serde::{Deserialize, Serialize};

/// Balance that leaves for the account `to`. `taken` is the sum of what has left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departure {
    to: String,
    taken: Tokens,
}

impl Departure {
    /// Takes what is free, `most` in all. `None`: it has left for another account.
    pub(crate) fn take(
        departure: &mut Option<Departure>,
        to: &str,
        most: Tokens,
        free: Tokens,
    ) -> Option<Tokens> {
        let departure = departure.get_or_insert_with(|| Departure {
            to: to.to_owned(),
            taken: Tokens::ZERO,
        });
        if departure.to != to {
            return None;
        }
        let amount = free.min(most.minus(departure.taken));
        departure.taken = departure.taken.plus(amount);
        Some(amount)
    }

    /// Returns the sum of what has left.
    pub(crate) fn taken(&self) -> Tokens {
        self.taken
    }
}

/// Balance that arrives from another account: at most `most`, of which `received` is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// Name of the account that it comes from.
    pub from: String,
    pub most: Tokens,
    #[serde(default)]
    pub received: Tokens,
    /// Whether nothing more can come.
    #[serde(default)]
    pub is_over: bool,
}

impl Carry {
    /// Takes in what has left in all and is not here yet, as far as there is `room`. Returns what arrives now.
    pub(crate) fn receive(&mut self, total: Tokens, room: Tokens, is_over: bool) -> Tokens {
        if self.is_over {
            return Tokens::ZERO;
        }
        let arrives = total.min(self.most).minus(self.received).min(room);
        self.received = self.received.plus(arrives);
        self.is_over = is_over;
        arrives
    }
}

/// Outcome of [`Account::take`](super::account::Account::take).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The balance has left for another account, or may not leave.
    Refused,
    /// `total` tokens have left so far. `is_over`: no request in flight can free more.
    Took { total: Tokens, is_over: bool },
}
