//! Random histories of store verbs, run by the pure rule and by every engine: the results and the records
//! must be equal. The clock is simulated, so that holds, leases, marks and windows expire within a history.

use crate::harness::{Cluster, Redis, TempDir};
use crate::store::contract::{keeping, open, runtime};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use resullm::rules::account::{Admit, Ask, Credit, Orphans, Report};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::entry::{self, Amend, Caller, EntryAdmission, Groups};
use resullm::rules::issued_key::KeyId;
use resullm::rules::posting::{Posting, ReportLine, Statement, Sums};
use resullm::rules::record;
use resullm::rules::refill::{Period, Refill};
use resullm::rules::tenant::TenantId;
use resullm::rules::window::{Limits, Window};
use resullm::store::name::KeyName;
use resullm::store::{Clock, KeyAdmission, LedgerPage, Mint, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Debug)]
enum Op {
    Admit {
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
        instance: u8,
        tokens: u64,
        slots: u64,
        repeat: bool,
        window: bool,
        told: u64,
    },
    Report {
        instance: u8,
        spent: u64,
        back: u64,
        repeat: bool,
        retry: bool,
        ends: bool,
        before: Option<u64>,
        begun: Option<u64>,
        lines: Vec<u64>,
    },
    Credit {
        id: u8,
        amount: u64,
        is_debit: bool,
    },
    /// The ledger is read.
    Statement {
        before: Option<usize>,
        most: usize,
    },
    Regroup {
        group: u8,
    },
    Amend {
        group: Option<u8>,
        user: Option<Option<u8>>,
        suspended: Option<bool>,
        /// Whether the account opens to its own key alone, or to another one.
        opens_to_own: Option<bool>,
        credit: Option<(u8, u64)>,
    },
    Wait {
        millis: u64,
    },
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..120, 1 => Just(9_007_199_254_740_991), 1 => 1u64..1_000_000]
}

/// Costs of the requests of a report, which may be others than it says.
fn lines() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(0u64..30, 0..4)
}

fn told() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(amount())
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..6, 0u64..40, amount(), prop_oneof![Just(0u64), 0u64..200, Just(9_007_199_254_740_991)], 0u64..50, 0u8..12)
            .prop_map(|(id, least, more, open, known, tenant)| Op::Admit { id, least, more, open, known, tenant }),
        2 => (0u8..6, 0u64..80).prop_map(|(id, known)| Op::Renew { id, known }),
        5 => (0u8..6, amount(), any::<bool>()).prop_map(|(id, used, retry)| Op::Settle { id, used, retry }),
        2 => (0u8..6, amount()).prop_map(|(id, used)| Op::Resettle { id, used }),
        2 => (0u8..3, amount(), 0u64..9, any::<bool>(), any::<bool>(), 0u64..90)
            .prop_map(|(instance, tokens, slots, repeat, window, told)| Op::Lease { instance, tokens, slots, repeat, window, told }),
        3 => (0u8..3, prop_oneof![Just(0u64), 0u64..60], 0u64..60, any::<bool>(), any::<bool>(), any::<bool>(), (told(), told(), lines()))
            .prop_map(|(instance, spent, back, repeat, retry, ends, (before, begun, lines))| {
                let spent = if lines.len() % 2 == 0 { spent } else { lines.iter().sum() };
                Op::Report { instance, spent, back, repeat, retry, ends, before, begun, lines }
            }),
        2 => (0u8..4, amount(), any::<bool>()).prop_map(|(id, amount, is_debit)| Op::Credit { id, amount, is_debit }),
        2 => (proptest::option::of(0usize..9), 0usize..9).prop_map(|(before, most)| Op::Statement { before, most }),
        1 => (0u8..7).prop_map(|group| Op::Regroup { group }),
        2 => amendment(),
        4 => prop_oneof![0u64..50, 500u64..3_000, Just(5_000), Just(100_000_000), Just(1_900_000_000)].prop_map(|millis| Op::Wait { millis }),
    ]
}

fn amendment() -> impl Strategy<Value = Op> {
    use proptest::option::{of, weighted};
    let credit = of((0u8..4, amount()));
    let opens_to_own = weighted(0.2, proptest::bool::weighted(0.8));
    let members = (of(0u8..7), of(of(0u8..3)), of(any::<bool>()));
    (members, opens_to_own, credit).prop_map(|((group, user, suspended), opens_to_own, credit)| {
        Op::Amend {
            group,
            user,
            suspended,
            opens_to_own,
            credit,
        }
    })
}

fn text() -> impl Strategy<Value = String> {
    let left = prop_oneof![3 => 0u64..400, 1 => Just(9_007_199_254_740_991)];
    (left, 0usize..8).prop_map(|(left, shape)| {
        let number = left.to_string();
        [
            r#"{"userId":null,"createdAt":"2026-01-01T00:00:00Z","tokensLeft":N}"#,
            r#"{"tokensLeft":N,"tenantId":"abc","group":"paid"}"#,
            r#"{ "x" : {"tokensLeft":1,"a":[]}, "tokensLeft" : N , "s":"a\"}\\", "group":null, "e":[] }"#,
            "{\n\t\"tokensLeft\": 7, \"tokensLeft\":\tN,\n \"z\": 1.50 }\n",
            r#"{"group":"strange","tokensLeft":N,"u":"é\u00e9\/","nested":{"tenantId":"other"}}"#,
            r#"{"tenantId":"other","tokensLeft":N}"#,
            r#"{"tokensLeft":N,"tenantId":"abc","group":"daily","createdAt":"2027-01-15T08:00:00.000Z"}"#,
            r#"{"tokensLeft":N,"tenantId":"abc","group":"monthly","createdAt":"2027-01-01"}"#,
        ][shape]
            .replace('N', &number)
    })
}

fn groups() -> Groups {
    let limits = |window: Option<(u64, u64)>, concurrent| Limits {
        window: window.map(|(requests, span)| Window {
            requests,
            span: Millis(span),
        }),
        concurrent,
        refill: None,
    };
    let refilled = |every, tokens| Limits {
        refill: Some(Refill {
            tokens: Tokens::new(tokens),
            every,
        }),
        ..limits(None, None)
    };
    Groups::new(vec![
        ("anonymous".into(), limits(Some((4, 2_000)), Some(3))),
        ("paid".into(), limits(Some((9, 700)), None)),
        ("free".into(), limits(None, None)),
        ("none".into(), limits(Some((0, 1_000)), None)),
        ("one".into(), limits(None, Some(1))),
        ("daily".into(), refilled(Period::Day, 90)),
        ("monthly".into(), refilled(Period::Month, 9_000)),
    ])
}

const GROUPS: [&str; 7] = [
    "anonymous",
    "paid",
    "free",
    "none",
    "one",
    "daily",
    "monthly",
];
const INSTANCES: [&str; 3] = ["i0", "i1", "i2"];
const TTL: Millis = Millis(4_000);
const START: u64 = 1_800_000_000_000;

/// Last command number of each of the three instances.
#[derive(Default)]
struct Numbers([u64; 3]);

impl Numbers {
    fn next(&mut self, instance: u8, repeat: bool) -> u64 {
        let number = &mut self.0[instance as usize];
        *number += u64::from(!repeat || *number == 0);
        *number
    }
}

fn at(tenant: u8) -> &'static str {
    if tenant == 0 { "other" } else { "abc" }
}

fn lease_window(wanted: bool) -> Option<Window> {
    wanted.then_some(Window {
        requests: 9,
        span: Millis(700),
    })
}

/// Applies one step to the rule's record and returns the result as text.
fn by_rule(
    entry: &mut entry::Entry,
    key: &str,
    op: &Op,
    number: u64,
    now: Millis,
    orphans: Orphans,
) -> String {
    let groups = groups();
    match op {
        Op::Admit {
            id,
            least,
            more,
            open,
            known,
            tenant,
        } => {
            let id = format!("r{id}");
            let ask = ask(&id, *least, *more, *open, *known);
            let caller = Caller {
                tenant: at(*tenant),
                key,
                groups: &groups,
            };
            match entry.admit(now, orphans, caller, &ask).unwrap() {
                EntryAdmission::Unknown => "unknown".to_owned(),
                EntryAdmission::Known {
                    standing,
                    admission,
                    ..
                } => format!("{} {admission:?}", standing.group),
            }
        }
        Op::Renew { id, known } => {
            format!(
                "{}",
                entry
                    .renew(now, orphans, &format!("r{id}"), Tokens::new(*known), TTL)
                    .unwrap()
            )
        }
        Op::Settle { id, used, retry } => {
            format!(
                "{:?}",
                entry
                    .settle(
                        now,
                        orphans,
                        &format!("r{id}"),
                        Tokens::new(*used),
                        *retry,
                        ""
                    )
                    .unwrap()
            )
        }
        Op::Resettle { id, used } => {
            let used = Tokens::new(*used);
            let settled = entry.resettle(now, orphans, &format!("r{id}"), used, "");
            format!("{:?}", settled.unwrap())
        }
        Op::Lease { instance, .. } => {
            let ask = lease(op, INSTANCES[*instance as usize], number);
            format!("{:?}", entry.lease(now, orphans, &ask).unwrap())
        }
        Op::Report { instance, .. } => {
            let lines = report_lines(op);
            let report = report(op, INSTANCES[*instance as usize], number, &lines);
            format!("{:?}", entry.report(now, orphans, &report).unwrap())
        }
        Op::Credit { id, .. } => {
            let id = format!("c \"{id}\"\n");
            format!(
                "{:?}",
                entry.credit(now, orphans, &credit(op, &id)).unwrap()
            )
        }
        Op::Statement { .. } => {
            let left = entry.bring_up_to_date(now, orphans, &groups, key).unwrap();
            let page = page(op, &entry.postings);
            let statement = Statement::page(
                (left, entry.books.tally()),
                entry.postings.clone(),
                Sums::default(),
                now,
                (page.before, page.most),
            );
            format!("{statement:?}")
        }
        Op::Amend { .. } => {
            let names = amend_names(op);
            let amend = amend(op, key, &names);
            format!("{:?}", entry.amend(now, orphans, &amend).unwrap())
        }
        Op::Regroup { group } => {
            entry.regroup(now, GROUPS[*group as usize]).unwrap();
            "moved".to_owned()
        }
        Op::Wait { .. } => String::new(),
    }
}

async fn by_engine(
    store: &dyn Store,
    key: &KeyName,
    op: &Op,
    number: u64,
    postings: &[Posting],
) -> String {
    let groups = groups();
    let account = key.account();
    match op {
        Op::Admit {
            id,
            least,
            more,
            open,
            known,
            tenant,
        } => {
            let id = format!("r{id}");
            let ask = ask(&id, *least, *more, *open, *known);
            let caller = Caller {
                tenant: at(*tenant),
                key: key.as_str(),
                groups: &groups,
            };
            match store.admit(key, caller, &ask).await.unwrap() {
                KeyAdmission::Unknown => "unknown".to_owned(),
                KeyAdmission::Known {
                    standing,
                    admission,
                    ..
                } => format!("{} {admission:?}", standing.group),
            }
        }
        Op::Renew { id, known } => {
            format!(
                "{}",
                store
                    .renew(&account, &format!("r{id}"), Tokens::new(*known), TTL)
                    .await
                    .unwrap()
            )
        }
        Op::Settle { id, used, retry } => {
            let settled = store
                .settle(&account, &format!("r{id}"), Tokens::new(*used), *retry, "")
                .await;
            format!("{:?}", settled.unwrap().unwrap())
        }
        Op::Resettle { id, used } => {
            let (id, used) = (format!("r{id}"), Tokens::new(*used));
            let settled = store.resettle(&account, &id, used, "").await;
            format!("{:?}", settled.unwrap().unwrap())
        }
        Op::Lease { instance, .. } => {
            let ask = lease(op, INSTANCES[*instance as usize], number);
            format!("{:?}", store.lease(&account, &ask).await.unwrap().unwrap())
        }
        Op::Report { instance, .. } => {
            let lines = report_lines(op);
            let report = report(op, INSTANCES[*instance as usize], number, &lines);
            let reported = store.report(&account, &report).await;
            format!("{:?}", reported.unwrap().unwrap())
        }
        Op::Credit { id, .. } => {
            let id = format!("c \"{id}\"\n");
            let credited = store.credit(&account, &credit(op, &id)).await;
            format!("{:?}", credited.unwrap().unwrap())
        }
        Op::Statement { .. } => {
            let page = page(op, postings);
            let statement = store.statement(&account, &groups, key.as_str(), page).await;
            format!("{:?}", statement.unwrap().unwrap())
        }
        Op::Amend { .. } => {
            let names = amend_names(op);
            let amend = amend(op, key.as_str(), &names);
            let amended = store.amend(&account, &amend);
            format!("{:?}", amended.await.unwrap().unwrap())
        }
        Op::Regroup { group } => {
            assert!(
                store
                    .regroup(&account, GROUPS[*group as usize])
                    .await
                    .unwrap()
            );
            "moved".to_owned()
        }
        Op::Wait { .. } => String::new(),
    }
}

fn ask(id: &str, least: u64, more: u64, open: u64, known: u64) -> Admit<'_> {
    Admit {
        id,
        least: Tokens::new(least),
        most: Tokens::new(least).plus(Tokens::new(more)),
        open: Tokens::new(open),
        known: Tokens::new(known),
        limits: Limits::default(),
        ttl: TTL,
        key: None,
        created: Millis(0),
    }
}

fn lease<'a>(op: &Op, instance: &'a str, number: u64) -> Ask<'a> {
    let &Op::Lease {
        tokens,
        slots,
        window,
        told,
        ..
    } = op
    else {
        unreachable!("{op:?} asks for nothing");
    };
    Ask {
        instance,
        number,
        tokens: Tokens::new(tokens),
        slots,
        window: lease_window(window),
        ttl: TTL,
        told: Tokens::new(told),
    }
}

fn credit<'a>(op: &Op, id: &'a str) -> Credit<'a> {
    let &Op::Credit {
        amount, is_debit, ..
    } = op
    else {
        unreachable!("{op:?} credits nothing");
    };
    Credit {
        is_debit,
        note: r#"{"reason":"a \"b\" c"}"#,
        ..Credit::of(id, Tokens::new(amount))
    }
}

/// User and ID of the credit of an amendment.
fn amend_names(op: &Op) -> (String, String) {
    let Op::Amend { user, credit, .. } = op else {
        unreachable!("{op:?} amends nothing");
    };
    let user = user.flatten().unwrap_or_default();
    let id = credit.map(|(id, _)| id).unwrap_or_default();
    (format!("u.{user}"), format!("c \"{id}\"\n"))
}

fn amend<'a>(op: &Op, key: &str, names: &'a (String, String)) -> Amend<'a> {
    let Op::Amend {
        group,
        user,
        suspended,
        opens_to_own,
        credit,
    } = op
    else {
        unreachable!("{op:?} amends nothing");
    };
    let opened = |is_own: bool| KeyId::of(if is_own { key } else { "another" });
    Amend {
        group: group.map(|group| GROUPS[group as usize]),
        user: user.map(|user| user.map(|_| names.0.as_str())),
        suspended: *suspended,
        opens_to: opens_to_own.map(opened),
        credit: credit.map(|(_, tokens)| Credit::of(&names.1, Tokens::new(tokens))),
        life: None,
    }
}

/// Returns the page that the step asks for. `before` counts the postings so far.
fn page(op: &Op, postings: &[Posting]) -> LedgerPage {
    let &Op::Statement { before, most } = op else {
        unreachable!("{op:?} reads nothing");
    };
    let before = before.and_then(|at| Some(postings.get(at)?.number));
    LedgerPage { before, most }
}

fn report_lines(op: &Op) -> Vec<ReportLine> {
    let Op::Report { lines, .. } = op else {
        unreachable!("{op:?} reports nothing");
    };
    let line = |(at, cost): (usize, &u64)| ReportLine {
        id: format!("q{at}"),
        cost: Tokens::new(*cost),
        note: r#"{"model":"a b"}"#.to_owned(),
    };
    lines.iter().enumerate().map(line).collect()
}

fn report<'a>(op: &Op, instance: &'a str, number: u64, lines: &'a [ReportLine]) -> Report<'a> {
    let &Op::Report {
        spent,
        back,
        retry,
        ends,
        before,
        begun,
        ..
    } = op
    else {
        unreachable!("{op:?} reports nothing");
    };
    Report {
        instance,
        number,
        spent: Tokens::new(spent),
        back: Tokens::new(back),
        ttl: TTL,
        retry,
        ends,
        before: before.map(Tokens::new),
        begun: begun.map(Tokens::new),
        lines,
    }
}

/// Asserts after every step that the engine's result and record equal the rule's.
fn compare(url: &str, histories: u32) {
    let runtime = runtime();
    let clock = Arc::new(AtomicU64::new(START));
    let stores = runtime.block_on(async {
        let known = open(url, keeping(Orphans::Known, Clock::Fixed(clock.clone()))).await;
        // An embedded directory can be opened once, so the other orphan policy gets its own directory.
        let other = TempDir::new();
        let url = match url.starts_with("embedded:") {
            true => format!("embedded:{}", other.path().display()),
            false => url.to_owned(),
        };
        let spend = open(&url, keeping(Orphans::Spend, Clock::Fixed(clock.clone()))).await;
        [(Orphans::Known, known), (Orphans::Spend, spend)]
    });
    let mut runner = TestRunner::new(Config {
        cases: histories,
        failure_persistence: None,
        ..Config::default()
    });
    let history = (text(), proptest::collection::vec(op(), 1..60), 0usize..2);
    runner
        .run(&history, |(text, ops, which)| {
            let (orphans, store) = &stores[which];
            runtime.block_on(replay(&**store, *orphans, &clock, &text, &ops))
        })
        .unwrap();
}

async fn replay(
    store: &dyn Store,
    orphans: Orphans,
    clock: &AtomicU64,
    text: &str,
    ops: &[Op],
) -> Result<(), TestCaseError> {
    let key = KeyName::parse(&format!("temp_{}", uuid::Uuid::new_v4())).unwrap();
    let mint = Mint {
        key: key.clone(),
        user: None,
        record: text.to_owned(),
        life: None,
    };
    store.mint(&mint).await.unwrap();
    let mut rule = entry::Entry::new(text.to_owned());
    let mut numbers = Numbers::default();
    for op in ops {
        if let Op::Wait { millis } = op {
            clock.fetch_add(*millis, Ordering::SeqCst);
        }
        let now = Millis(clock.load(Ordering::SeqCst));
        let number = match op {
            Op::Lease {
                instance, repeat, ..
            }
            | Op::Report {
                instance, repeat, ..
            } => numbers.next(*instance, *repeat),
            _ => 0,
        };
        let expected = by_rule(&mut rule, key.as_str(), op, number, now, orphans);
        let answered = by_engine(store, &key, op, number, &rule.postings).await;
        prop_assert_eq!(&answered, &expected, "{:?} at {}", op, now.0);

        let facts = record::read(&rule.record).unwrap();
        let tenant = TenantId::parse(facts.tenant.as_deref().unwrap_or("abc")).unwrap();
        let limits = groups().limits(&entry::group(&facts, key.as_str()));
        let found = store.find(&key, &tenant, &groups()).await.unwrap();
        let standing = rule.standing(now, tenant.as_str(), key.as_str()).unwrap();
        prop_assert_eq!(found.is_some(), standing.is_some());
        if let Some(found) = found {
            prop_assert_eq!(&found.record, &rule.record);
            prop_assert_eq!(found.look, rule.look(now, orphans, limits).unwrap());
        }
    }
    let whole = LedgerPage {
        before: None,
        most: usize::MAX,
    };
    let statement = store
        .statement(&key.account(), &groups(), key.as_str(), whole)
        .await
        .unwrap()
        .unwrap();
    let sum: i128 = statement
        .postings
        .iter()
        .map(|posting| i128::from(posting.amount))
        .sum();
    prop_assert_eq!(sum, i128::from(statement.left.count()));
    Ok(())
}

#[test]
fn embedded_engine_equals_the_rule() {
    let dir = TempDir::new();
    compare(&format!("embedded:{}", dir.path().display()), 300);
}

#[test]
fn redis_scripts_equal_the_rule() {
    let redis = Redis::start();
    compare(&redis.url(), 400);
}

#[test]
fn redis_scripts_on_a_cluster_equal_the_rule() {
    let cluster = Cluster::start();
    compare(&cluster.url(), 60);
}
