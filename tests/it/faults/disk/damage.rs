//! Flipped bytes, journals that are cut, and damaged pages of requests in flight.

use super::{Copy, Dice, GRANT, command, key, laid_out, open, stores, tenant, told};
use crate::faults::{case, many};
use crate::harness::{
    Gate, Gateway, Provider, Script, Setup, Step, balance, chat_streaming, mint, sample,
};
use crate::store::contract::runtime;
use resullm::rules::entry::Groups;
use resullm::store::{Durability, Ledger};
use serde_json::json;
use std::collections::HashMap;

#[test]
fn flipped_byte_never_changes_a_balance() {
    let mut dice = Dice::new("flips");
    let stores = stores(&mut dice);

    for (copy, known) in &stores {
        let dir = copy.lay_out();
        runtime().block_on(async {
            let store = open(dir.path()).unwrap();
            assert_eq!(known.check(&store).await, 0);
            store.close().await;
        });
    }
    assert!(stores[1].0.journals() > 4_000, "the journal holds changes");
    let runtime = runtime();
    case("disk: one byte flipped in a store", || {
        let (mut refused, mut damaged, mut harmless) = (0, 0, 0);
        for round in 0..many(40, 500) {
            let (mut copy, known) = stores[round % 2].clone();
            // Mostly where data is, because most of a database is free space; often in its first page, which
            // has the roots.
            let file = [0, 0, 0, 0, 1, 2][dice.roll(6)];
            let (name, bytes) = &mut copy.0[file];
            let most = match dice.roll(4) {
                0 => bytes.len().min(320),
                _ => bytes.len(),
            };
            let mut at = dice.roll(most);
            for _ in 0..100 * dice.roll(2) {
                if !matches!(bytes[at], 0 | 0xff) {
                    break;
                }
                at = dice.roll(most);
            }
            let before = bytes[at];
            bytes[at] ^= 1 + dice.roll(255) as u8;
            let what = format!("{name} at {at}: {before:#x} -> {:#x}", bytes[at]);
            told(&format!("{round}: {what}"));
            let name = name.clone();
            let dir = copy.lay_out();
            match open(dir.path()) {
                Err(why) => {
                    assert!(
                        why.contains(&name) || name != "resullm.redb",
                        "{what}: {why}"
                    );
                    assert!(why.contains("resullm store restore"), "{what}: {why}");
                    assert!(!why.contains("key_of_the_test"), "{what}: {why}");
                    assert_eq!(why.lines().count(), 1, "{what}: {why}");
                    // A second open refuses it too.
                    assert!(open(dir.path()).is_err(), "{what}");
                    refused += 1;
                }
                Ok(store) => runtime.block_on(async {
                    match known.check(&store).await {
                        0 => harmless += 1,
                        _ => damaged += 1,
                    }
                    store.close().await;
                }),
            }
        }
        format!("{refused} refused, {damaged} said to be damaged, {harmless} harmless, 0 wrong")
    });
}

/// Complete records of accounts in a journal file that starts with these bytes: number, name, balance.
fn records(mut bytes: &[u8]) -> Vec<(u64, String, u64)> {
    let mut records = Vec::new();
    while let Some(length) = bytes.get(..4) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let Some(record) = bytes.get(..length) else {
            break;
        };
        let sequence = u64::from_le_bytes(record[16..24].try_into().unwrap());
        let name_end = 26 + u16::from_le_bytes(record[24..26].try_into().unwrap()) as usize;
        let name = String::from_utf8(record[26..name_end].to_vec()).unwrap();
        // Marks have no name; rows of ledgers and blocks of logs have no balance.
        if name.starts_with("apiKey:") || name.starts_with("user:") {
            let value: serde_json::Value = serde_json::from_slice(&record[name_end + 8..]).unwrap();
            let text: serde_json::Value =
                serde_json::from_str(value["text"].as_str().unwrap()).unwrap();
            records.push((sequence, name, text["tokensLeft"].as_u64().unwrap()));
        }
        bytes = &bytes[length..];
    }
    records
}

#[test]
fn truncated_journal_has_its_whole_records_only() {
    let mut dice = Dice::new("cuts");
    let [_, (copy, known)] = stores(&mut dice);
    let runtime = runtime();
    let balances = |copy: &Copy| -> Vec<u64> {
        let dir = copy.lay_out();
        runtime.block_on(async {
            let store = open(dir.path()).unwrap();
            let mut balances = Vec::new();
            for number in 0..known.balances.len() {
                let found = store
                    .find(&key(number), &tenant(), &Groups::default())
                    .await;
                balances.push(found.unwrap().unwrap().look.left.count());
            }
            store.close().await;
            balances
        })
    };
    case("disk: a journal cut short by a crash", || {
        let mut without = copy.clone();
        without.0[1].1.clear();
        without.0[2].1.clear();
        let base = balances(&without);
        let full = 1 + usize::from(copy.0[2].1.len() > copy.0[1].1.len());
        let length = copy.0[full].1.len();
        let cuts: Vec<usize> = (0..many(40, 1_000)).map(|_| dice.roll(length)).collect();

        for cut in cuts.iter().copied().chain([0, length - 1, length]) {
            let mut short = copy.clone();
            short.0[full].1.truncate(cut);
            let mut whole: Vec<_> = short.0[1..]
                .iter()
                .flat_map(|file| records(&file.1))
                .collect();
            whole.sort();
            let latest: HashMap<_, _> = whole
                .into_iter()
                .map(|(_, name, left)| (name, left))
                .collect();
            let expected: Vec<u64> = (0..base.len())
                .map(|number| {
                    let name = key(number).account();
                    latest.get(name.as_str()).copied().unwrap_or(base[number])
                })
                .collect();
            assert_eq!(balances(&short), expected, "cut at {cut} of {length}");
        }
        assert_eq!(balances(&copy), known.balances);
        format!(
            "{} cuts, every balance that of its last whole record",
            cuts.len() + 3
        )
    });
}

#[test]
fn damaged_store_is_reported_by_check_and_by_the_start() {
    let mut dice = Dice::new("named");
    let [(copy, _), _] = stores(&mut dice);
    case("disk: a damaged value is named", || {
        let mut copy = copy.clone();
        let bytes = &mut copy.0[0].1;
        let text = b"tokensLeft";
        let mut places = bytes.windows(text.len()).enumerate();
        // Unused pages may contain one, too.
        let places: Vec<usize> = places
            .by_ref()
            .filter(|(_, b)| b == text)
            .map(|(at, _)| at)
            .collect();
        for at in places {
            bytes[at + text.len() + 4] ^= 1;
        }
        let setup = laid_out(&copy);

        let (good, text) = command(&setup, &["check"]);
        assert!(!good, "{text}");

        let id = key(0).account().id();
        let line = text.lines().find(|line| line.contains(&id)).unwrap();
        assert!(
            line.starts_with("[ERROR] account ") && line.contains("not what was written"),
            "{line}"
        );
        let (status, logs, _) = Gateway::run_to_end(setup);
        assert_eq!(status.code(), Some(1), "{logs:#?}");

        let errors: Vec<_> = logs
            .iter()
            .filter(|line| line.contains("[ERROR]"))
            .collect();
        assert_eq!(errors.len(), 1, "{logs:#?}");
        assert!(
            errors[0].contains("resullm.redb is damaged: "),
            "{errors:?}"
        );
        assert!(errors[0].contains("resullm store restore"), "{errors:?}");
        "the file by the start, 40 accounts by check, no key in clear".to_owned()
    });
}

#[test]
fn damaged_journal_page_ends_the_start() {
    case("disk: one byte flipped in a page of holds", || {
        let gate = Gate::new();
        let hold = gate.clone();
        let provider = Provider::start(move |_| {
            Script::chat_stream(&["one ", "two "], 10, 2)
                .after(2, Step::WaitUntilReleased(hold.clone()))
        });
        let setup = Setup::new().tenant("abc", sample(&provider).tokens(GRANT));
        // Absolute path: the command runs in another directory than the gateway.
        let data = setup.path().join("data").display().to_string();
        let setup = setup.yaml(&format!("accounts: {}", json!({"journal": data})));
        let gateway = Gateway::start(setup.clone());
        let key = mint(&gateway, "abc");
        let mut stream = chat_streaming(
            &gateway,
            "abc",
            &key,
            &json!({"stream": true, "messages": [{"role": "user", "content": "x".repeat(400)}]}),
        );
        stream.wait_for("one ");
        gateway.kill9();
        gate.open();
        let pages = std::fs::read_dir(setup.path().join("data")).unwrap();
        let pages = pages.map(|entry| entry.unwrap().path());
        let page = pages
            .filter(|path| path.extension().is_some_and(|name| name == "held"))
            .find(|path| !std::fs::read(path).unwrap().is_empty())
            .unwrap();
        let whole = std::fs::read(&page).unwrap();
        let places = [0, whole.len() / 2, whole.len() - 1];

        for at in places {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            std::fs::write(&page, broken).unwrap();
            let (good, text) = command(&setup, &["check"]);
            assert!(!good && text.contains(".held is damaged at byte"), "{text}");
            let (status, logs, _) = Gateway::run_to_end(setup.clone());
            assert_eq!(status.code(), Some(1), "{logs:#?}");
            let errors: Vec<_> = logs
                .iter()
                .filter(|line| line.contains("[ERROR]"))
                .collect();
            assert_eq!(errors.len(), 1, "{logs:#?}");
            assert!(errors[0].contains(".held is damaged at byte"), "{errors:?}");
            assert!(!errors[0].contains(&key), "{errors:?}");
        }

        // With the original page, the request is settled.
        std::fs::write(&page, whole).unwrap();
        let gateway = Gateway::start(setup);
        let (left, free) = balance(&gateway, &key);
        assert!(left == free && left < GRANT, "{left} {free}");
        format!("{} flips, each refused with file and offset", places.len())
    });
}
