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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::account::{Account, Admit, Books, Orphans};
    use crate::rules::amount::Millis;
    use crate::rules::window::Limits;
    use proptest::prelude::*;

    const GRANT: u64 = 100;
    const NOW: Millis = Millis(1_000);

    /// What happens to an anonymous key and to the account that its balance moves to. Commands arrive in any order, more
    /// than once or never, from any number of instances.
    #[derive(Clone, Debug)]
    enum Step {
        /// A call with the old key, if it is still admitted.
        Begin { id: u8, most: u64 },
        /// It is settled for a part of what it holds.
        Settle { id: u8, part: u64 },
        /// A step of the move reads the old account. Its answer waits to be delivered.
        Take,
        /// One of the waiting answers is delivered; it may be delivered again.
        Deliver { at: usize, again: bool },
        /// An answer is lost with the instance that waited for it.
        Lose { at: usize },
        /// Somebody else tries to take it.
        Steal,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u8..5, 1u64..40).prop_map(|(id, most)| Step::Begin { id, most }),
            4 => (0u8..5, 0u64..100).prop_map(|(id, part)| Step::Settle { id, part }),
            3 => Just(Step::Take),
            4 => (0usize..6, any::<bool>()).prop_map(|(at, again)| Step::Deliver { at, again }),
            1 => (0usize..6).prop_map(|at| Step::Lose { at }),
            1 => Just(Step::Steal),
        ]
    }

    /// An account that began with a balance on its way.
    fn account(most: u64) -> Account {
        let mut books = Books::default();
        let carry = Some(("apiKey:temp", Tokens::new(most)));
        books.found(NOW, None, carry).unwrap();
        Account::new(Tokens::ZERO, books)
    }

    struct World {
        old: Account,
        new: Account,
        most: u64,
        used: u64,
        held: [u64; 5],
        waiting: Vec<(Tokens, bool)>,
        closed: bool,
    }

    impl World {
        fn step(&mut self, step: &Step) {
            match *step {
                Step::Begin { id, most } if !self.closed && self.held[usize::from(id)] == 0 => {
                    let id_text = format!("r{id}");
                    let ask = Admit {
                        id: &id_text,
                        least: Tokens::new(1),
                        most: Tokens::new(most),
                        open: Tokens::ZERO,
                        known: Tokens::ZERO,
                        limits: Limits::default(),
                        ttl: Millis(1_000_000),
                        key: None,
                        created: Millis(0),
                    };
                    let free = self.old.free().count();
                    self.old.admit(NOW, Orphans::Known, &ask);
                    self.held[usize::from(id)] = free - self.old.free().count();
                }
                Step::Settle { id, part } => {
                    let held = std::mem::take(&mut self.held[usize::from(id)]);
                    if held > 0 {
                        let used = part.min(held);
                        let id = format!("r{id}");
                        self.old
                            .settle(NOW, Orphans::Known, &id, Tokens::new(used), false, "");
                        self.used += used;
                    }
                }
                Step::Take => {
                    let most = Tokens::new(self.most);
                    let taken = self.old.take(NOW, Orphans::Known, "user:new", most);
                    self.closed = true;
                    if let Taken::Took { total, is_over } = taken {
                        self.waiting.push((total, is_over));
                    }
                }
                Step::Deliver { at, again } if at < self.waiting.len() => {
                    let (total, is_over) = match again {
                        true => self.waiting[at],
                        false => self.waiting.remove(at),
                    };
                    self.new.receive(NOW, "apiKey:temp", total, is_over);
                }
                Step::Lose { at } if at < self.waiting.len() => {
                    self.waiting.remove(at);
                }
                Step::Steal if self.closed => {
                    let stolen = self
                        .old
                        .take(NOW, Orphans::Known, "user:thief", Tokens::MAX);
                    assert_eq!(stolen, Taken::Refused);
                }
                _ => {}
            }
        }
    }

    proptest! {
        /// Nothing is ever moved twice, and in the end all that is left has moved.
        #[test]
        fn a_balance_moves_once_whatever_is_lost_or_repeated(
            most in prop_oneof![Just(GRANT), 0u64..120],
            steps in proptest::collection::vec(step(), 0..60),
        ) {
            let left = Tokens::new(GRANT);
            let mut world = World {
                old: Account::new(left, Books::default()),
                new: account(most),
                most,
                used: 0,
                held: [0; 5],
                waiting: Vec::new(),
                closed: false,
            };
            for step in &steps {
                world.step(step);
                let moved = world.new.left.count();
                prop_assert!(moved + world.old.left.count() + world.used <= GRANT, "{step:?}");
                prop_assert!(moved <= most);
            }
            for id in 0..5 {
                world.step(&Step::Settle { id, part: 0 });
            }
            world.waiting.clear();
            world.step(&Step::Take);
            world.step(&Step::Deliver { at: 0, again: false });
            let rest = GRANT - world.used;
            prop_assert_eq!(world.new.left.count(), rest.min(most));
            prop_assert!(world.new.books.pending_carry().is_none());
        }
    }
}
