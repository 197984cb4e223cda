//! Random histories of a person's account, its keys and the anonymous keys whose balance it takes over: the rule and
//! every engine must give the same results, records and lists of keys after each step.

use crate::harness::{Cluster, Redis, TempDir};
use crate::store::contract::{keeping, open, runtime, settings_of};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use resullm::rules::account::{Admit, Credit, Orphans};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::entry::{Caller, Entry, EntryAdmission, Erased, Founding, Groups, Join};
use resullm::rules::issued_key::{IssuedKey, KeySource};
use resullm::rules::payments::book::{Paid, Pay, PaymentBook};
use resullm::rules::person::PersonId;
use resullm::rules::posting::{Statement, Sums};
use resullm::rules::refill::{Period, Refill};
use resullm::rules::tenant::TenantId;
use resullm::rules::window::Limits;
use resullm::settings::{self, Layout};
use resullm::store::copy;
use resullm::store::name::{AccountName, KeyName, KeyNames};
use resullm::store::{AccountSettings, Clock, Joining, KeyAdmission, Led, LedgerPage, Mint, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const WHOLE: LedgerPage = LedgerPage {
    before: None,
    most: usize::MAX,
};
const KEYS: usize = 5;
const TEMPS: usize = 2;
const TTL: Millis = Millis(4_000);
const REMAINS: Millis = Millis(200_000_000);
const START: u64 = 1_800_000_000_000;
const SECRET: [u8; 32] = [7; 32];

#[derive(Clone, Debug)]
enum Op {
    Join {
        key: usize,
        source: usize,
        most: Option<u64>,
        life: Option<u64>,
        identity: Option<u8>,
        token: Option<u8>,
        carry: Option<(usize, u64)>,
        creates: bool,
    },
    Drop {
        key: usize,
    },
    Admit {
        key: usize,
        id: u8,
        least: u64,
        more: u64,
        tenant: bool,
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
    AdmitTemp {
        temp: usize,
        id: u8,
        more: u64,
    },
    SettleTemp {
        temp: usize,
        id: u8,
        used: u64,
    },
    Take {
        temp: usize,
        most: u64,
        other: bool,
    },
    Receive {
        temp: usize,
        total: u64,
        is_over: bool,
    },
    Credit {
        id: u8,
        amount: u64,
    },
    Regroup {
        monthly: bool,
    },
    Erase,
    /// A payment is noted: from the present state, or from an older one.
    Pay {
        stale: bool,
        text: u8,
        gain: u64,
        back: u64,
        asked: u64,
        group: Option<bool>,
    },
    /// Names of keys are hashed in place, where that can be.
    Hash,
    Wait {
        millis: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let carry = proptest::option::of((0..TEMPS, prop_oneof![Just(100u64), 0u64..150]));
    let join = (
        (0..KEYS, 0usize..3),
        proptest::option::weighted(0.4, 0u64..80),
        proptest::option::weighted(0.3, prop_oneof![Just(5_000u64), Just(90_000_000)]),
        (
            proptest::option::weighted(0.2, 0u8..3),
            proptest::option::of(0u8..3),
        ),
        carry,
        prop::bool::weighted(0.8),
    );
    prop_oneof![
        6 => join.prop_map(|((key, source), most, life, (identity, token), carry, creates)| Op::Join { key, source, most, life, identity, token, carry, creates }),
        2 => (0..KEYS).prop_map(|key| Op::Drop { key }),
        8 => (0..KEYS, 0u8..6, 0u64..30, 0u64..60, prop::bool::weighted(0.95))
            .prop_map(|(key, id, least, more, tenant)| Op::Admit { key, id, least, more, tenant }),
        2 => (0u8..6, 0u64..60).prop_map(|(id, known)| Op::Renew { id, known }),
        6 => (0u8..6, 0u64..60, any::<bool>()).prop_map(|(id, used, retry)| Op::Settle { id, used, retry }),
        1 => (0u8..6, 0u64..60).prop_map(|(id, used)| Op::Resettle { id, used }),
        3 => (0..TEMPS, 0u8..3, 0u64..40).prop_map(|(temp, id, more)| Op::AdmitTemp { temp, id, more }),
        3 => (0..TEMPS, 0u8..3, 0u64..40).prop_map(|(temp, id, used)| Op::SettleTemp { temp, id, used }),
        4 => (0..TEMPS, 0u64..150, prop::bool::weighted(0.1)).prop_map(|(temp, most, other)| Op::Take { temp, most, other }),
        4 => (0..TEMPS, 0u64..150, prop::bool::weighted(0.2)).prop_map(|(temp, total, is_over)| Op::Receive { temp, total, is_over }),
        1 => (0u8..3, 0u64..90).prop_map(|(id, amount)| Op::Credit { id, amount }),
        1 => any::<bool>().prop_map(|monthly| Op::Regroup { monthly }),
        1 => Just(Op::Erase),
        5 => (prop::bool::weighted(0.2), 0u8..4, 0u64..150, 0u64..200, 0u64..6, proptest::option::weighted(0.3, any::<bool>()))
            .prop_map(|(stale, text, gain, back, asked, group)| Op::Pay { stale, text, gain, back, asked, group }),
        1 => Just(Op::Hash),
        3 => prop_oneof![3 => 0u64..3_000, 2 => Just(5_000u64), 1 => Just(90_000_000), 1 => Just(210_000_000)].prop_map(|millis| Op::Wait { millis }),
    ]
}

fn groups() -> Groups {
    let limits = |concurrent, every, tokens| Limits {
        window: None,
        concurrent,
        refill: Some(Refill {
            tokens: Tokens::new(tokens),
            every,
        }),
    };
    Groups::new(vec![
        ("members".into(), limits(Some(4), Period::Day, 60)),
        ("monthly".into(), limits(None, Period::Month, 200)),
        ("anonymous".into(), Limits::default()),
    ])
}

/// Names of one history.
struct Names {
    person: AccountName,
    other: AccountName,
    keys: Vec<KeyName>,
    temps: Vec<KeyName>,
}

impl Names {
    fn new() -> Names {
        let run = uuid::Uuid::new_v4();
        let person = |who: &str| {
            let id = PersonId::derive("abc", "app", "", &format!("{run}-{who}"));
            AccountName::person(&id)
        };
        let key = |kind: &str, at: usize| KeyName::parse(&format!("{kind}_{run}-{at}")).unwrap();
        Names {
            person: person("one"),
            other: person("other"),
            keys: (0..KEYS).map(|at| key("user", at)).collect(),
            temps: (0..TEMPS).map(|at| key("temp", at)).collect(),
        }
    }

    fn join(&self, op: &Op) -> Join {
        let Op::Join {
            key,
            source,
            most,
            life,
            identity,
            token,
            carry,
            creates,
        } = op
        else {
            unreachable!("{op:?} joins nothing");
        };
        let name = &self.keys[*key];
        let record = r#"{"userId":"u","createdAt":"2027-01-15T08:00:00.000Z","tokensLeft":100,"tenantId":"abc","group":"members","label":"0123456789ab"}"#;
        Join {
            tenant: "abc".to_owned(),
            id: name.id(),
            key: IssuedKey {
                source: [KeySource::SignIn, KeySource::Session, KeySource::Made][*source],
                name: Some("a \"name\": é".to_owned()),
                start: "user_1".to_owned(),
                entry: name.account().as_str().to_owned(),
                created: Millis(0),
                expires: None,
                models: Some(vec!["m:1".to_owned()]),
                addresses: None,
                tokens_max: most.map(Tokens::new),
                founded: false,
                used: None,
            },
            life: life.map(Millis),
            identity: identity.map(|at| format!("p_{at}")),
            apple: identity.map(|at| format!("sealed:{at}")),
            founding: creates.then(|| Founding {
                record: record.to_owned(),
                token: token.map(|token| (format!("t{token}"), Millis(START + 150_000_000))),
                carry: carry.map(|(temp, most)| {
                    let from = self.temps[temp].account().as_str().to_owned();
                    (from, Tokens::new(most))
                }),
            }),
        }
    }
}

fn ask(id: &str, least: u64, more: u64) -> Admit<'_> {
    Admit {
        id,
        least: Tokens::new(least),
        most: Tokens::new(least + more),
        open: Tokens::ZERO,
        known: Tokens::new(least),
        limits: Limits::default(),
        ttl: TTL,
        key: None,
        created: Millis(0),
    }
}

/// The accounts as the rule has them.
struct World {
    person: Entry,
    payments: PaymentBook,
    /// Tokens that the payments take back, as whoever changes them knows.
    taken_back: Tokens,
    temps: Vec<Entry>,
}

fn told(outcome: Option<String>) -> String {
    outcome.unwrap_or_else(|| "gone".to_owned())
}

impl World {
    /// The change that an operation asks for, from what it has read.
    fn pay(&self, op: &Op) -> Pay {
        let Op::Pay {
            stale,
            text,
            gain,
            back,
            asked,
            group,
        } = op
        else {
            unreachable!("{op:?} pays nothing");
        };
        let name = |monthly: bool| if monthly { "monthly" } else { "members" }.to_owned();
        let facts = self.person.facts().ok();
        Pay {
            tenant: "abc".to_owned(),
            expected: self.payments.version + u64::from(*stale),
            group_before: facts.and_then(|facts| facts.group).unwrap_or_default(),
            text: format!(r#"{{"text":"{text}: \"é\""}}"#),
            cause: "cs_1".to_owned(),
            asked: Millis(START + asked * 1_000),
            gain: Tokens::new(*gain),
            back: (self.taken_back, Tokens::new(*back)),
            group: group.map(name),
        }
    }

    /// The person's account, if there is one.
    fn person(&mut self) -> Option<&mut Entry> {
        (!self.person.record.is_empty()).then_some(&mut self.person)
    }

    fn step(&mut self, names: &Names, op: &Op, now: Millis, orphans: Orphans) -> String {
        // What remains of a deleted account ends by itself.
        if self.person.record.is_empty() && self.person.books.remains_until() <= now {
            self.payments = PaymentBook::default();
            self.taken_back = Tokens::ZERO;
        }
        let groups = groups();
        let caller = |key: &'_ KeyName, tenant| (key.as_str().to_owned(), tenant);
        let admitted = |entry: &mut Entry, (key, tenant): (String, &str), ask: &Admit<'_>| {
            let caller = Caller {
                tenant,
                key: &key,
                groups: &groups,
            };
            match entry.admit(now, orphans, caller, ask).unwrap() {
                EntryAdmission::Unknown => "gone".to_owned(),
                EntryAdmission::Known {
                    standing,
                    carry,
                    admission,
                } => format!("{standing:?} {carry:?} {admission:?}"),
            }
        };
        match *op {
            Op::Join { .. } => {
                format!("{:?}", self.person.join(now, &names.join(op)).unwrap())
            }
            Op::Drop { key } => {
                let id = names.keys[key].id();
                told(
                    self.person()
                        .and_then(|entry| entry.drop_key(id))
                        .map(|key| format!("{key:?}")),
                )
            }
            Op::Admit {
                key,
                id,
                least,
                more,
                tenant,
            } => {
                let tenant = if tenant { "abc" } else { "other" };
                let caller = caller(&names.keys[key], tenant);
                let id = format!("r{id}");
                told(
                    self.person()
                        .map(|entry| admitted(entry, caller, &ask(&id, least, more))),
                )
            }
            Op::Renew { id, known } => told(self.person().map(|entry| {
                let known = Tokens::new(known);
                let renewed = entry.renew(now, orphans, &format!("r{id}"), known, TTL);
                format!("{:?}", renewed.unwrap())
            })),
            Op::Settle { id, used, retry } => told(self.person().map(|entry| {
                let used = Tokens::new(used);
                let settled = entry.settle(now, orphans, &format!("r{id}"), used, retry, "");
                format!("{:?}", settled.unwrap())
            })),
            Op::Resettle { id, used } => told(self.person().map(|entry| {
                let settled =
                    entry.resettle(now, orphans, &format!("r{id}"), Tokens::new(used), "");
                format!("{:?}", settled.unwrap())
            })),
            Op::AdmitTemp { temp, id, more } => {
                let caller = caller(&names.temps[temp], "abc");
                admitted(
                    &mut self.temps[temp],
                    caller,
                    &ask(&format!("r{id}"), 1, more),
                )
            }
            Op::SettleTemp { temp, id, used } => {
                let entry = &mut self.temps[temp];
                let used = Tokens::new(used);
                let settled = entry.settle(now, orphans, &format!("r{id}"), used, false, "");
                format!("{:?}", settled.unwrap())
            }
            Op::Take { temp, most, other } => {
                let to = if other { &names.other } else { &names.person };
                let entry = &mut self.temps[temp];
                let taken = entry.take(now, orphans, "abc", to.as_str(), Tokens::new(most));
                format!("{:?}", taken.unwrap())
            }
            Op::Receive {
                temp,
                total,
                is_over,
            } => told(self.person().map(|entry| {
                let from = names.temps[temp].account();
                let sum = entry
                    .receive(now, from.as_str(), Tokens::new(total), is_over)
                    .unwrap();
                format!("{sum:?} {:?}", entry.facts().unwrap().left)
            })),
            Op::Credit { id, amount } => told(self.person().map(|entry| {
                let credited = entry.credit(
                    now,
                    orphans,
                    &Credit::of(&format!("c{id}"), Tokens::new(amount)),
                );
                format!("{:?}", credited.unwrap())
            })),
            Op::Regroup { monthly } => told(self.person().map(|entry| {
                let group = if monthly { "monthly" } else { "members" };
                entry.regroup(now, group).unwrap();
                "moved".to_owned()
            })),
            Op::Erase => {
                let until = now.plus(REMAINS);
                let erased = self.person().map(|entry| entry.erase(until).unwrap());
                told(erased.map(|erased| format!("{:?}", sorted(erased))))
            }
            Op::Pay { .. } => {
                let pay = self.pay(op);
                let mut payments = self.payments.clone();
                let entry = &mut self.person;
                let paid = entry.pay(now, orphans, &mut payments, &pay).unwrap();
                if matches!(paid, Some(Paid::Done { .. })) {
                    self.taken_back = pay.back.1;
                }
                self.payments = payments;
                told(paid.map(|paid| format!("{paid:?}")))
            }
            Op::Wait { .. } | Op::Hash => String::new(),
        }
    }
}

fn sorted(mut erased: Erased) -> Erased {
    erased.keys.sort_by_key(IssuedKey::id);
    erased
}

async fn by_engine(store: &dyn Store, names: &Names, op: &Op, pay: Option<&Pay>) -> String {
    let groups = groups();
    let person = &names.person;
    let admitted = async |key: &KeyName, tenant: &str, ask: &Admit<'_>| {
        let caller = Caller {
            tenant,
            key: key.as_str(),
            groups: &groups,
        };
        match store.admit(key, caller, ask).await.unwrap() {
            KeyAdmission::Unknown => "gone".to_owned(),
            KeyAdmission::Known {
                standing,
                carry,
                admission,
                ..
            } => format!("{standing:?} {carry:?} {admission:?}"),
        }
    };
    match *op {
        Op::Join { .. } => match store.join(person, &names.join(op)).await.unwrap() {
            Joining::Joined(joined) => format!("{joined:?}"),
            Joining::Linked(account) => panic!("linked to {account:?}"),
        },
        Op::Drop { key } => {
            let dropped = store.drop_key(person, names.keys[key].id()).await;
            told(dropped.unwrap().map(|key| format!("{key:?}")))
        }
        Op::Admit {
            key,
            id,
            least,
            more,
            tenant,
        } => {
            let tenant = if tenant { "abc" } else { "other" };
            admitted(
                &names.keys[key],
                tenant,
                &ask(&format!("r{id}"), least, more),
            )
            .await
        }
        Op::Renew { id, known } => {
            let renewed = store
                .renew(person, &format!("r{id}"), Tokens::new(known), TTL)
                .await;
            let keys = store.keys(person).await.unwrap();
            told(keys.map(|_| format!("{:?}", renewed.unwrap())))
        }
        Op::Settle { id, used, retry } => {
            let settled = store
                .settle(person, &format!("r{id}"), Tokens::new(used), retry, "")
                .await;
            told(settled.unwrap().map(|settled| format!("{settled:?}")))
        }
        Op::Resettle { id, used } => {
            let settled = store
                .resettle(person, &format!("r{id}"), Tokens::new(used), "")
                .await;
            told(settled.unwrap().map(|settled| format!("{settled:?}")))
        }
        Op::AdmitTemp { temp, id, more } => {
            admitted(&names.temps[temp], "abc", &ask(&format!("r{id}"), 1, more)).await
        }
        Op::SettleTemp { temp, id, used } => {
            let account = names.temps[temp].account();
            let settled = store
                .settle(&account, &format!("r{id}"), Tokens::new(used), false, "")
                .await;
            format!("{:?}", settled.unwrap().unwrap())
        }
        Op::Take { temp, most, other } => {
            let to = if other { &names.other } else { person };
            let tenant = TenantId::parse("abc").unwrap();
            let from = names.temps[temp].account();
            let taken = store.take(&from, &tenant, to, Tokens::new(most)).await;
            format!("{:?}", taken.unwrap().unwrap())
        }
        Op::Receive {
            temp,
            total,
            is_over,
        } => {
            let from = names.temps[temp].account();
            let received = store
                .receive(person, from.as_str(), Tokens::new(total), is_over)
                .await;
            told(
                received
                    .unwrap()
                    .map(|received| format!("{:?} {:?}", received.sum, received.left)),
            )
        }
        Op::Credit { id, amount } => {
            let credited = store
                .credit(person, &Credit::of(&format!("c{id}"), Tokens::new(amount)))
                .await;
            told(credited.unwrap().map(|credited| format!("{credited:?}")))
        }
        Op::Regroup { monthly } => {
            let group = if monthly { "monthly" } else { "members" };
            let moved = store.regroup(person, group).await.unwrap();
            told(moved.then(|| "moved".to_owned()))
        }
        Op::Erase => {
            let erased = store.erase(person, REMAINS).await.unwrap();
            told(erased.map(|erased| format!("{:?}", sorted(erased))))
        }
        Op::Pay { .. } => {
            let paid = store.pay(person, pay.unwrap()).await.unwrap();
            told(paid.map(|paid| format!("{paid:?}")))
        }
        Op::Wait { .. } | Op::Hash => String::new(),
    }
}

/// A store whose names of keys turn from clear to hashed in the middle of a history.
struct Hashing {
    target: settings::Store,
    keeping: AccountSettings,
}

impl Hashing {
    async fn hash(&self) {
        let (target, keeping) = (&self.target, self.keeping.clone());
        let told = copy::copy(target, target, keeping, Layout::Key).await;
        assert_eq!(told.unwrap()["stillClear"], 0);
    }
}

/// Returns the text with the hashed names of a history's keys in clear, as the rule has them.
fn in_clear(names: &Names, key_names: &KeyNames, mut text: String) -> String {
    for key in names.keys.iter().chain(&names.temps) {
        for name in key_names.candidates(key) {
            text = text.replace(name.as_str(), key.account().as_str());
        }
    }
    text
}

async fn replay(
    store: &dyn Store,
    hashing: Option<&Hashing>,
    orphans: Orphans,
    clock: &AtomicU64,
    ops: &[Op],
) -> Result<(), TestCaseError> {
    let names = Names::new();
    let temp = r#"{"userId":null,"createdAt":"2027-01-15T08:00:00.000Z","tokensLeft":100,"tenantId":"abc","group":"anonymous"}"#;
    for key in &names.temps {
        let mint = Mint {
            key: key.clone(),
            user: None,
            record: temp.to_owned(),
            life: None,
        };
        store.mint(&mint).await.unwrap();
    }
    for (at, key) in names.keys.iter().enumerate() {
        let part = names.person.part();
        let text = match at % 2 {
            0 => part.to_owned(),
            _ => format!(r#"{{"userId":"u","tenantId":"abc","account":"user:{part}"}}"#),
        };
        let led = store.lead(&key.account(), &text, None).await.unwrap();
        assert_eq!(led, Led::Done);
    }
    let mut world = World {
        person: Entry::new(String::new()),
        payments: PaymentBook::default(),
        taken_back: Tokens::ZERO,
        temps: vec![Entry::new(temp.to_owned()); TEMPS],
    };
    for op in ops {
        if let Op::Wait { millis } = op {
            clock.fetch_add(*millis, Ordering::SeqCst);
        }
        let now = Millis(clock.load(Ordering::SeqCst));
        let pay = matches!(op, Op::Pay { .. }).then(|| world.pay(op));
        let expected = world.step(&names, op, now, orphans);
        if let (Op::Hash, Some(hashing)) = (op, hashing) {
            hashing.hash().await;
        }
        let answered = by_engine(store, &names, op, pay.as_ref()).await;
        let answered = in_clear(&names, store.key_names(), answered);
        prop_assert_eq!(&answered, &expected, "{:?} at {}", op, now.0);

        let person = world.person();
        let keys = person.as_ref().map(|entry| entry.live_keys(now));
        let mut listed = store.keys(&names.person).await.unwrap();
        if let Some(listed) = &mut listed {
            listed.sort_by_key(|key| key.id);
        }
        let listed = listed.map(|keys| {
            keys.into_iter()
                .map(|mut key| {
                    key.key.entry = in_clear(&names, store.key_names(), key.key.entry);
                    (key.id, key.key, key.spent)
                })
                .collect::<Vec<_>>()
        });
        prop_assert_eq!(&listed, &keys, "{:?}", op);
        let payments = store.payments(&names.person).await.unwrap();
        let noted = world.payments.clone();
        let is_kept = world.person().is_some() || !noted.is_empty();
        let lives = world.person().is_some() || world.person.books.remains_until() > now;
        let expected = (is_kept && lives).then_some(noted);
        // What ends by itself may end by another clock than this history's.
        if lives {
            prop_assert_eq!(payments, expected, "{:?}", op);
        }
        let tenant = TenantId::parse("abc").unwrap();
        for key in &names.keys {
            let mut found = store.find(key, &tenant, &groups()).await.unwrap();
            let issued = found
                .as_mut()
                .and_then(|found| found.standing.issued.as_mut());
            if let Some(issued) = issued {
                issued.entry = in_clear(&names, store.key_names(), issued.entry.clone());
            }
            let person = world.person();
            let standing = person
                .as_ref()
                .and_then(|entry| entry.standing(now, "abc", key.as_str()).unwrap());
            prop_assert_eq!(
                found.as_ref().map(|found| &found.standing),
                standing.as_ref()
            );
            if let (Some(found), Some(entry), Some(standing)) = (found, person, standing) {
                let limits = groups().limits(&standing.group);
                prop_assert_eq!(&found.record, &entry.record);
                prop_assert_eq!(found.look, entry.look(now, orphans, limits).unwrap());
            }
        }
        for (key, entry) in names.temps.iter().zip(&world.temps) {
            let found = store.find(key, &tenant, &groups()).await.unwrap();
            let standing = entry.standing(now, "abc", key.as_str()).unwrap();
            prop_assert_eq!(
                found.map(|found| found.record),
                standing.map(|_| entry.record.clone())
            );
        }
    }
    let now = Millis(clock.load(Ordering::SeqCst));
    let temps = names.temps.iter().map(KeyName::account);
    let accounts = std::iter::once((names.person.clone(), "user_"));
    let accounts = accounts.chain(temps.map(|temp| (temp, "temp_")));
    let World { person, temps, .. } = &mut world;
    for ((account, key), entry) in accounts.zip(std::iter::once(person).chain(temps)) {
        let statement = store.statement(&account, &groups(), key, WHOLE).await;
        let expected = (!entry.record.is_empty()).then(|| {
            let left = entry.bring_up_to_date(now, orphans, &groups(), key);
            let state = (left.unwrap(), entry.books.tally());
            let page = (WHOLE.before, WHOLE.most);
            Statement::page(state, entry.postings.clone(), Sums::default(), now, page)
        });
        prop_assert_eq!(
            statement.unwrap(),
            expected,
            "ledger of {}",
            account.as_str()
        );
    }
    Ok(())
}

/// Asserts after every step that the engine's results equal the rule's.
fn compare(url: &str, histories: u32) {
    compare_named(url, histories, KeyNames::default(), false);
}

/// The same with names of keys as `key_names` says. `hashes`: they are hashed in place in the middle of histories.
fn compare_named(url: &str, histories: u32, key_names: KeyNames, hashes: bool) {
    let runtime = runtime();
    let clock = Arc::new(AtomicU64::new(START));
    let settings = AccountSettings {
        key_names,
        ..keeping(Orphans::Known, Clock::Fixed(clock.clone()))
    };
    let store = runtime.block_on(open(url, settings.clone()));
    let hashing = hashes.then(|| Hashing {
        target: settings_of(url),
        keeping: AccountSettings {
            key_names: KeyNames::new(Some(&SECRET), true),
            ..settings
        },
    });
    let mut runner = TestRunner::new(Config {
        cases: histories,
        failure_persistence: None,
        ..Config::default()
    });
    let history = proptest::collection::vec(op(), 1..70);
    runner
        .run(&history, |ops| {
            clock.store(START, Ordering::SeqCst);
            runtime.block_on(replay(
                &*store,
                hashing.as_ref(),
                Orphans::Known,
                &clock,
                &ops,
            ))
        })
        .unwrap();
}

#[test]
fn people_in_the_embedded_engine_equal_the_rule() {
    let dir = TempDir::new();
    compare(&format!("embedded:{}", dir.path().display()), 150);
}

#[test]
fn people_in_redis_equal_the_rule() {
    let redis = Redis::start();
    compare(&redis.url(), 150);
}

#[test]
fn people_in_a_cluster_equal_the_rule() {
    let cluster = Cluster::start();
    compare(&cluster.url(), 20);
}

/// A store whose keys were minted with clear names, and whose gateways hash new ones.
#[test]
fn people_under_hashed_names_equal_the_rule() {
    let hashed = || KeyNames::new(Some(&SECRET), true);
    let (dir, redis) = (TempDir::new(), Redis::start());
    compare_named(
        &format!("embedded:{}", dir.path().display()),
        60,
        hashed(),
        false,
    );
    compare_named(&redis.url(), 60, hashed(), true);
}

/// A gateway that still writes clear names while the others' keys are hashed.
#[test]
fn people_whose_names_are_hashed_meanwhile_equal_the_rule() {
    let redis = Redis::start();
    compare_named(&redis.url(), 60, KeyNames::new(Some(&SECRET), false), true);
}
