//! Steps of a history: a verb on one of the accounts, by the release before or the present one, and its arguments.

use proptest::prelude::*;
use resullm::rules::account::{Admit, Ask, Report};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::entry::Groups;
use resullm::rules::refill::{Period, Refill};
use resullm::rules::window::{Limits, Window};

pub const TTL: Millis = Millis(4_000);
pub const START: u64 = 1_800_000_000_000;
/// Keys of the person: one without a bound, one with, one of a session that ends.
pub const KEYS: usize = 3;
pub const INSTANCES: [&str; 3] = ["i0", "i1", "i2"];
pub const GROUPS: [&str; 5] = ["anonymous", "paid", "one", "daily", "strange"];
/// Accounts of a history.
pub const ACCOUNTS: usize = 6;
/// Anonymous key whose balance moves to [`PERSON`].
pub const TEMP: usize = 4;
pub const PERSON: usize = 5;

#[derive(Clone, Debug)]
pub enum Verb {
    Admit {
        key: usize,
        id: u8,
        least: u64,
        more: u64,
        open: u64,
        known: u64,
        tenant: u8,
    },
    Renew {
        id: u8,
        known: u64,
    },
    Settle {
        id: u8,
        used: u64,
        retry: bool,
    },
    Resettle {
        id: u8,
        used: u64,
    },
    Lease {
        instance: usize,
        number: u64,
        tokens: u64,
        slots: u64,
        window: bool,
        told: u64,
    },
    Report {
        instance: usize,
        number: u64,
        spent: u64,
        back: u64,
        retry: bool,
        ends: bool,
        before: Option<u64>,
        begun: Option<u64>,
    },
    Credit {
        id: u8,
        amount: u64,
    },
    Regroup {
        group: usize,
    },
    /// The present release takes what is free of [`TEMP`] for [`PERSON`].
    Take,
    /// It delivers one of the answers to that, however late, and as often as it likes.
    Receive {
        at: usize,
    },
    Wait {
        millis: u64,
    },
}

/// A verb on one of the accounts, by the release before or the present one.
#[derive(Clone, Debug)]
pub struct Step {
    pub account: usize,
    pub is_old: bool,
    pub verb: Verb,
}

pub fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![9 => 0u64..90, 1 => 1u64..1_000_000]
}

pub fn some_amount() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(amount())
}

pub fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        8 => (0..KEYS, 0u8..5, 0u64..30, amount(), prop_oneof![Just(0u64), 0u64..200], 0u64..40, 0u8..15)
            .prop_map(|(key, id, least, more, open, known, tenant)| Verb::Admit { key, id, least, more, open, known, tenant }),
        2 => (0u8..5, 0u64..80).prop_map(|(id, known)| Verb::Renew { id, known }),
        6 => (0u8..5, amount(), any::<bool>()).prop_map(|(id, used, retry)| Verb::Settle { id, used, retry }),
        1 => (0u8..5, amount()).prop_map(|(id, used)| Verb::Resettle { id, used }),
        3 => (0..INSTANCES.len(), 0u64..12, amount(), 0u64..9, any::<bool>(), 0u64..90)
            .prop_map(|(instance, number, tokens, slots, window, told)| Verb::Lease { instance, number, tokens, slots, window, told }),
        4 => (0..INSTANCES.len(), 0u64..12, prop_oneof![Just(0u64), 0u64..60], 0u64..60, any::<bool>(), any::<bool>(), some_amount(), some_amount())
            .prop_map(|(instance, number, spent, back, retry, ends, before, begun)| Verb::Report { instance, number, spent, back, retry, ends, before, begun }),
        2 => (0u8..4, amount()).prop_map(|(id, amount)| Verb::Credit { id, amount }),
        1 => (0..GROUPS.len()).prop_map(|group| Verb::Regroup { group }),
        4 => Just(Verb::Take),
        4 => (0usize..5).prop_map(|at| Verb::Receive { at }),
        4 => prop_oneof![4 => 0u64..3_000, 2 => Just(5_000u64), 1 => Just(90_000_000)].prop_map(|millis| Verb::Wait { millis }),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    // The person and the key that it used before meet most.
    let account = prop_oneof![2 => 0..ACCOUNTS, 1 => Just(TEMP), 2 => Just(PERSON)];
    (account, any::<bool>(), verb()).prop_map(|(account, is_old, verb)| Step {
        account,
        is_old,
        verb,
    })
}

pub fn groups() -> Groups {
    let limits = |window: Option<(u64, u64)>, concurrent, refill| Limits {
        window: window.map(|(requests, span)| Window {
            requests,
            span: Millis(span),
        }),
        concurrent,
        refill,
    };
    let daily = Refill {
        tokens: Tokens::new(90),
        every: Period::Day,
    };
    Groups::new(vec![
        ("anonymous".into(), limits(Some((6, 2_000)), Some(4), None)),
        ("paid".into(), limits(Some((9, 700)), None, None)),
        ("one".into(), limits(None, Some(1), None)),
        ("daily".into(), limits(None, Some(3), Some(daily))),
    ])
}

pub fn tenant_word(tenant: u8) -> &'static str {
    if tenant == 0 { "other" } else { "abc" }
}

impl Step {
    /// Returns the request's ID.
    pub fn id(&self) -> String {
        match self.verb {
            Verb::Admit { id, .. }
            | Verb::Renew { id, .. }
            | Verb::Settle { id, .. }
            | Verb::Resettle { id, .. } => format!("r{id}"),
            _ => unreachable!("{self:?} is about no request"),
        }
    }

    pub fn ask<'a>(&self, id: &'a str) -> Admit<'a> {
        let Verb::Admit {
            least,
            more,
            open,
            known,
            ..
        } = self.verb
        else {
            unreachable!("{self:?} asks for no hold");
        };
        Admit {
            id,
            least: Tokens::new(least),
            most: Tokens::new(least + more),
            open: Tokens::new(open),
            known: Tokens::new(known),
            limits: Limits::default(),
            ttl: TTL,
            key: None,
            created: Millis(0),
        }
    }

    pub fn lease(&self) -> Ask<'static> {
        let Verb::Lease {
            instance,
            number,
            tokens,
            slots,
            window,
            told,
        } = self.verb
        else {
            unreachable!("{self:?} asks for no lease");
        };
        Ask {
            instance: INSTANCES[instance],
            number,
            tokens: Tokens::new(tokens),
            slots,
            window: window.then_some(Window {
                requests: 9,
                span: Millis(700),
            }),
            ttl: TTL,
            told: Tokens::new(told),
        }
    }

    pub fn report(&self) -> Report<'static> {
        let Verb::Report {
            instance,
            number,
            spent,
            back,
            retry,
            ends,
            before,
            begun,
        } = self.verb
        else {
            unreachable!("{self:?} reports nothing");
        };
        Report {
            instance: INSTANCES[instance],
            number,
            spent: Tokens::new(spent),
            back: Tokens::new(back),
            ttl: TTL,
            retry,
            ends,
            before: before.map(Tokens::new),
            begun: begun.map(Tokens::new),
            lines: &[],
        }
    }
}
