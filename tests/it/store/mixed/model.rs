//! What either release does to an account, said by the one rule.
//!
//! The present release is the rule. The release before is the rule on an account from which all is taken away that it
//! does not know, and to which that is put back afterwards: so it must leave all of it as it was.

use super::step::{GROUPS, Step, TTL, Verb, groups, tenant_word};
use resullm::rules::account::{Books, Credit, Orphans};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::entry::{Caller, Entry, EntryAdmission, Groups};
use resullm::rules::record;
use resullm::rules::window::Limits;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Members of the books that the release before does not know.
const UNKNOWN: [&str; 9] = [
    "by_key",
    "refilled",
    "moved",
    "carry",
    "founders",
    "remains",
    "identities",
    "apple",
    "tally",
];
/// Kinds of entries of the books that may name a key with a bound.
const KEYED: [&str; 2] = ["holds", "marks"];

/// Groups as the release before reads them from the same config.
pub fn groups_before() -> Groups {
    let known = groups();
    let known = known.iter().map(|(name, limits)| {
        let limits = Limits {
            refill: None,
            ..limits
        };
        (name.to_owned(), limits)
    });
    Groups::new(known.collect())
}

fn json(books: &Books) -> Map<String, Value> {
    match serde_json::to_value(books).unwrap() {
        Value::Object(members) => members,
        other => panic!("{other}"),
    }
}

fn books(members: Map<String, Value>) -> Books {
    serde_json::from_value(Value::Object(members)).unwrap()
}

fn keyless(item: &Value) -> Value {
    let mut item = item.clone();
    item.as_object_mut().unwrap().remove("key");
    item
}

/// Returns the account as the release before sees it.
pub fn as_before(entry: &Entry) -> Entry {
    let mut members = json(&entry.books);
    members.retain(|name, _| !UNKNOWN.contains(&name.as_str()));
    for kind in KEYED {
        for item in members
            .get_mut(kind)
            .and_then(Value::as_object_mut)
            .into_iter()
            .flatten()
        {
            *item.1 = keyless(item.1);
        }
    }
    Entry {
        record: entry.record.clone(),
        books: books(members),
        keys: None,
        postings: Vec::new(),
        expires: None,
    }
}

/// Whether that release writes this hold or mark anew, and so without the key that it does not know.
fn is_rewritten(verb: &Verb, kind: &str, name: &str) -> bool {
    match verb {
        Verb::Renew { id, .. } => kind == "holds" && name == format!("r{id}"),
        Verb::Settle { id, .. } => kind == "marks" && name == format!("r{id}"),
        _ => false,
    }
}

/// Puts back what the release before did not see.
fn put_back(entry: &mut Entry, seen: Entry, verb: &Verb) {
    let (was, mut is) = (json(&entry.books), json(&seen.books));
    for name in UNKNOWN {
        match was.get(name) {
            Some(value) => is.insert(name.to_owned(), value.clone()),
            None => is.remove(name),
        };
    }
    for kind in KEYED {
        let items = is.get_mut(kind).and_then(Value::as_object_mut);
        for (name, item) in items.into_iter().flatten() {
            let before = was.get(kind).and_then(|items| items.get(name));
            let same = before.filter(|before| keyless(before) == *item);
            if let Some(same) = same.filter(|_| !is_rewritten(verb, kind, name)) {
                *item = same.clone();
            }
        }
    }
    entry.record = seen.record;
    entry.books = books(is);
}

/// Applies a step to the account and returns the answer.
pub fn step(entry: &mut Entry, key: &str, step: &Step, now: Millis) -> String {
    if !step.is_old {
        return by_rule(entry, key, step, &groups(), now);
    }
    let mut seen = as_before(entry);
    let answer = match &step.verb {
        // It does not put a refill off that it does not know.
        Verb::Regroup { group } => {
            seen.record = record::with_string(&seen.record, "group", GROUPS[*group]).unwrap();
            "moved".to_owned()
        }
        _ => by_rule(&mut seen, key, step, &groups_before(), now),
    };
    put_back(entry, seen, &step.verb);
    answer
}

fn by_rule(entry: &mut Entry, key: &str, step: &Step, groups: &Groups, now: Millis) -> String {
    let orphans = Orphans::Known;
    match &step.verb {
        Verb::Admit { tenant, .. } => {
            let id = step.id();
            let caller = Caller {
                tenant: tenant_word(*tenant),
                key,
                groups,
            };
            match entry.admit(now, orphans, caller, &step.ask(&id)).unwrap() {
                EntryAdmission::Unknown => "gone".to_owned(),
                EntryAdmission::Known {
                    standing,
                    admission,
                    ..
                } if step.is_old => format!("{} {admission:?}", standing.group),
                EntryAdmission::Known {
                    standing,
                    carry,
                    admission,
                } => format!("{standing:?} {carry:?} {admission:?}"),
            }
        }
        Verb::Renew { known, .. } => {
            let renewed = entry.renew(now, orphans, &step.id(), Tokens::new(*known), TTL);
            format!("{:?}", renewed.unwrap())
        }
        Verb::Settle { used, retry, .. } => {
            let settled = entry.settle(now, orphans, &step.id(), Tokens::new(*used), *retry, "");
            format!("{:?}", settled.unwrap())
        }
        Verb::Resettle { used, .. } => {
            let settled = entry.resettle(now, orphans, &step.id(), Tokens::new(*used), "");
            format!("{:?}", settled.unwrap())
        }
        Verb::Lease { .. } => format!("{:?}", entry.lease(now, orphans, &step.lease()).unwrap()),
        Verb::Report { .. } => format!("{:?}", entry.report(now, orphans, &step.report()).unwrap()),
        Verb::Credit { id, amount } => {
            let credited = entry.credit(
                now,
                orphans,
                &Credit::of(&format!("c{id}"), Tokens::new(*amount)),
            );
            format!("{:?}", credited.unwrap())
        }
        Verb::Regroup { group } => {
            entry.regroup(now, GROUPS[*group]).unwrap();
            "moved".to_owned()
        }
        Verb::Take | Verb::Receive { .. } | Verb::Wait { .. } => unreachable!("not of one account"),
    }
}

fn numbers(item: &Value, names: &[&str]) -> String {
    let number = |name: &&str| item.get(*name).and_then(Value::as_u64);
    let words: Vec<String> = names
        .iter()
        .map(|name| number(name).map_or_else(String::new, |number| number.to_string()))
        .collect();
    words.join(":").trim_end_matches(':').to_owned()
}

/// Returns the books as the fields of their hash in Redis.
pub fn fields(of: &Books) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for (member, value) in json(of) {
        let (kind, names): (&str, &[&str]) = match member.as_str() {
            "holds" => ("h", &["max", "known", "expires", "key"]),
            "leases" => (
                "l",
                &[
                    "amount",
                    "expires",
                    "number",
                    "granted",
                    "slots",
                    "slots_until",
                    "told",
                ],
            ),
            "marks" => ("m", &["charged", "expires", "number", "told", "key"]),
            "credits" => ("c", &[]),
            "slices" => ("s", &[]),
            "overrun" => ("o", &[]),
            "by_key" => ("k", &[]),
            "refilled" => ("r", &[]),
            "founders" => ("t", &[]),
            "identities" => ("i", &[]),
            "moved" => {
                let text = format!("{}:{}", value["taken"], value["to"].as_str().unwrap());
                fields.insert("v:".to_owned(), text);
                continue;
            }
            "carry" => {
                let over = u8::from(value["is_over"] == true);
                let from = value["from"].as_str().unwrap();
                let text = format!("{}:{}:{over}:{from}", value["received"], value["most"]);
                fields.insert("f:".to_owned(), text);
                continue;
            }
            "tally" => {
                let text = format!("{}:{}", value["number"], value["balance"]);
                fields.insert("p:".to_owned(), text);
                continue;
            }
            "apple" => {
                fields.insert("a:".to_owned(), value.as_str().unwrap().to_owned());
                continue;
            }
            other => panic!("{other} has no field"),
        };
        match value {
            Value::Object(items) => {
                for (name, item) in items {
                    let text = if names.is_empty() {
                        item.to_string()
                    } else {
                        numbers(&item, names)
                    };
                    fields.insert(format!("{kind}:{name}"), text);
                }
            }
            plain => {
                fields.insert(format!("{kind}:"), plain.to_string());
            }
        }
    }
    fields
}
