//! Answers of the admin routes as text for people: members, and tables of lists.
//!
//! JsonObject keep their names from the API, so that what is read here can be asked for with `--json`.

use super::call::AnswerForm;
use super::table::{Cell, TextTable, harmless, pairs};
use serde_json::{Map, Value};

type JsonObject = Map<String, Value>;

/// Columns of lists, by their `name`, whose items have more members than a line can hold.
const CHOSEN: [(&str, &[&str]); 2] = [("events", REQUEST), ("requests", REQUEST)];
const REQUEST: &[&str] = &[
    "time",
    "account",
    "model",
    "endpoint",
    "call",
    "tokensIn",
    "tokensOut",
    "cost",
    "status",
    "requestId",
];
/// Columns of a ledger besides what postings say themselves: members of `detail`.
const OF_DETAIL: [&str; 3] = ["by", "model", "comment"];
/// Longest text of a change, in characters.
const MAX_CHANGE_CHARS: usize = 200;

/// Returns an answer as text. `None`: it is not of this form, and is printed as JSON.
pub(super) fn shown(form: AnswerForm, answer: &Value) -> Option<String> {
    let members = answer.as_object()?;
    match form {
        AnswerForm::Things => Some(things(members)),
        AnswerForm::List(name) => Some(list(name, members.get(name)?.as_array()?).lines()),
        AnswerForm::Usage => usage(members),
        AnswerForm::Changes => Some(changes(members.get("changes")?.as_array()?, false).lines()),
        AnswerForm::AllChanges => Some(changes(members.get("changes")?.as_array()?, true).lines()),
        AnswerForm::Ledger => ledger(members),
        AnswerForm::Config | AnswerForm::Json | AnswerForm::Verbatim => None,
    }
}

/// Members that are values as [`pairs`], then a table for each that is a list of things.
fn things(members: &JsonObject) -> String {
    let (lists, own): (Vec<_>, Vec<_>) = members.iter().partition(|(_, value)| is_list(value));
    let own: JsonObject = own
        .into_iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut parts = vec![pairs(&flat(&own))];
    for (name, items) in lists {
        let table = list(name, items.as_array().map_or(&[][..], Vec::as_slice));
        parts.push(titled(name, &table));
    }
    joined(parts)
}

/// Table under its `name`; nothing where it has no rows.
fn titled(name: &str, table: &TextTable) -> String {
    let lines = table.lines();
    match lines.is_empty() {
        true => lines,
        false => format!("{}\n{lines}", harmless(name)),
    }
}

/// Parts with an empty line between them.
fn joined(mut parts: Vec<String>) -> String {
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// Whether a value is a list of things.
fn is_list(value: &Value) -> bool {
    let items = value.as_array();
    items.is_some_and(|items| items.iter().all(Value::is_object))
}

/// Table of the items of the list `name`, with a column for each member that one of them has.
fn list(name: &str, items: &[Value]) -> TextTable {
    let rows = items.iter().filter_map(Value::as_object).map(flat);
    let rows: Vec<Vec<(String, Cell)>> = rows.collect();
    let mut names: Vec<&str> = Vec::new();
    for (member, _) in rows.iter().flatten() {
        if !names.contains(&member.as_str()) {
            names.push(member);
        }
    }
    if let Some((_, chosen)) = CHOSEN.iter().find(|(list, _)| *list == name) {
        names = chosen.to_vec();
    }
    let mut table = TextTable::new(names.iter().copied());
    for row in &rows {
        let cell = |name: &&str| row.iter().find(|(member, _)| member == name);
        let cells = names.iter().map(cell);
        table.push(
            cells
                .map(|cell| cell.map_or(Cell::Absent, |(_, cell)| cell.clone()))
                .collect(),
        );
    }
    table
}

/// Members as cells; those of an object in it are `outer.inner`.
fn flat(members: &JsonObject) -> Vec<(String, Cell)> {
    let mut cells = Vec::new();
    for (name, value) in members {
        match value {
            Value::Object(inner) => cells.extend(
                inner
                    .iter()
                    .map(|(below, value)| (format!("{name}.{below}"), cell(value))),
            ),
            value => cells.push((name.clone(), cell(value))),
        }
    }
    cells
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Absent,
        Value::Number(number) => Cell::Number(number.to_string()),
        Value::Array(items) if !items.iter().any(|item| item.is_object() || item.is_array()) => {
            let texts: Vec<String> = items.iter().map(plain).collect();
            Cell::Text(texts.join(","))
        }
        value => Cell::Text(plain(value)),
    }
}

/// Text of a value, without quotation marks.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn usage(members: &JsonObject) -> Option<String> {
    if let Some(rows) = members.get("rows") {
        return Some(list("rows", rows.as_array()?).lines());
    }
    let mut parts = Vec::new();
    let total = vec![members.get("total")?.clone()];
    parts.push(titled("total", &list("total", &total)));
    for (member, name) in [
        ("byDay", "day"),
        ("byModel", "model"),
        ("byAccount", "account"),
    ] {
        let sums = members.get(member).and_then(Value::as_object);
        let rows = sums.into_iter().flatten().map(|(key, sum)| {
            let mut row = JsonObject::new();
            row.insert(name.to_owned(), key.clone().into());
            row.extend(sum.as_object().cloned().unwrap_or_default());
            Value::Object(row)
        });
        parts.push(list(member, &rows.collect::<Vec<Value>>()).lines());
    }
    if let Some(events) = members.get("events").and_then(Value::as_array) {
        parts.push(list("events", events).lines());
    }
    Some(joined(parts))
}

/// Table of `changes`, of one tenant or of all.
fn changes(items: &[Value], is_of_all: bool) -> TextTable {
    let mut names = vec![
        "time", "tenant", "action", "outcome", "by", "address", "target", "change",
    ];
    names.retain(|name| is_of_all || *name != "tenant");
    let mut table = TextTable::new(names.iter().copied());
    for item in items {
        let cells = names.iter().map(|name| match *name {
            "target" => Cell::Text(target(item)),
            "change" => Cell::Text(change(item)),
            name => item.get(name).map_or(Cell::Absent, cell),
        });
        table.push(cells.collect());
    }
    table
}

/// Members of a change's `target`, such as `account=ab12 id=order-1`.
fn target(change: &Value) -> String {
    let members = change.get("target").and_then(Value::as_object);
    let members = members.into_iter().flatten();
    let pairs = members.map(|(name, value)| format!("{name}={}", plain(value)));
    pairs.collect::<Vec<String>>().join(" ")
}

/// Members of a change's `before` and `after`, such as `tokensLeft: 5 -> 15`.
fn change(change: &Value) -> String {
    let side = |name: &str| change.get(name).and_then(Value::as_object);
    let (before, after) = (side("before"), side("after"));
    let mut names: Vec<&String> = before.into_iter().flat_map(JsonObject::keys).collect();
    for name in after.into_iter().flat_map(JsonObject::keys) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let told = names.iter().map(|name| {
        let was = before.and_then(|side| side.get(*name)).map(plain);
        let is = after.and_then(|side| side.get(*name)).map(plain);
        match (was, is) {
            (Some(was), Some(is)) => format!("{name}: {was} -> {is}"),
            (Some(was), None) => format!("{name}: {was} -> none"),
            (None, is) => format!("{name}: {}", is.unwrap_or_default()),
        }
    });
    let told = told.collect::<Vec<String>>().join(", ");
    match told.char_indices().nth(MAX_CHANGE_CHARS) {
        Some((end, _)) => format!("{}…", &told[..end]),
        None => told,
    }
}

/// `postings`, then what older ones were folded into.
fn ledger(members: &JsonObject) -> Option<String> {
    let postings = members.get("postings")?.as_array()?;
    let names = ["time", "reason", "amount", "tokensLeft"];
    let mut table = TextTable::new(names.iter().chain(&OF_DETAIL).chain(&["id"]).copied());
    for posting in postings {
        let detail = posting.get("detail");
        let own = |name: &&str| posting.get(*name).map_or(Cell::Absent, cell);
        let of_detail = |name: &&str| {
            let value = detail.and_then(|detail| detail.get(*name));
            value.map_or(Cell::Absent, cell)
        };
        let row = names.iter().map(own).chain(OF_DETAIL.iter().map(of_detail));
        table.push(row.chain([own(&"id")]).collect());
    }
    let mut parts = vec![table.lines()];
    if let Some(folded) = members.get("folded").and_then(Value::as_array) {
        let table = list("folded", folded);
        parts.push(titled("folded", &table));
    }
    Some(joined(parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn lines(form: AnswerForm, answer: &Value, expected: &[&str]) {
        let text = shown(form, answer).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "\n{text}");
    }

    #[test]
    fn lists_have_a_column_for_each_member() {
        let keys = json!({"keys": [
            {"id": "ab", "group": "a", "userId": null, "tokensLeft": 5, "suspended": false},
            {"id": "cd", "group": "members", "userId": "x\u{1b}[2J", "tokensLeft": 12345, "expiresAt": "2027-01-01"},
        ], "total": 2});
        lines(
            AnswerForm::List("keys"),
            &keys,
            &[
                "id  group    userId      tokensLeft  suspended  expiresAt",
                "ab  a        -                    5  false      -",
                "cd  members  x\\u001b[2J       12345  -          2027-01-01",
            ],
        );
        lines(AnswerForm::List("keys"), &json!({"keys": []}), &[]);
        assert_eq!(shown(AnswerForm::List("keys"), &json!({"users": []})), None);
    }

    #[test]
    fn a_thing_has_its_members_and_then_its_lists() {
        let user = json!({
            "userId": "alice", "tokensLeft": 5, "amounts": {"USD": 0.25}, "models": ["a", "b"],
            "keys": [{"id": "k", "start": "user_"}], "holds": [],
        });
        lines(
            AnswerForm::Things,
            &user,
            &[
                "userId       alice",
                "tokensLeft   5",
                "amounts.USD  0.25",
                "models       a,b",
                "",
                "keys",
                "id  start",
                "k   user_",
            ],
        );
    }

    #[test]
    fn usage_has_sums_or_rows() {
        let sum = |cost: u64| json!({"requests": 1, "cost": cost, "amounts": {"USD": 0.5}});
        let report = json!({
            "total": sum(30), "byDay": {"2026-11-29": sum(30)}, "byModel": {"gpt-4o": sum(10), "o1": sum(20)},
            "byAccount": {}, "events": [],
        });
        lines(
            AnswerForm::Usage,
            &report,
            &[
                "total",
                "requests  cost  amounts.USD",
                "       1    30          0.5",
                "",
                "day         requests  cost  amounts.USD",
                "2026-11-29         1    30          0.5",
                "",
                "model   requests  cost  amounts.USD",
                "gpt-4o         1    10          0.5",
                "o1             1    20          0.5",
            ],
        );
        let rows =
            json!({"rows": [{"day": "2026-11-29", "model": "o1", "cost": 7}], "total": sum(7)});
        lines(
            AnswerForm::Usage,
            &rows,
            &["day         model  cost", "2026-11-29  o1        7"],
        );
    }

    #[test]
    fn changes_tell_what_was_before_and_after() {
        let change = json!({"changes": [{
            "time": "T", "tenant": "abc", "action": "key.credited", "outcome": "done", "by": "operator", "address": "cli",
            "target": {"account": "ab", "id": "c1"},
            "before": {"tokensLeft": 5, "gone": true}, "after": {"tokensLeft": 15, "credited": 10},
        }]});
        lines(
            AnswerForm::Changes,
            &change,
            &[
                "time  action        outcome  by        address  target            change",
                "T     key.credited  done     operator  cli      account=ab id=c1  tokensLeft: 5 -> 15, gone: true -> none, credited: 10",
            ],
        );
        let of_all = shown(AnswerForm::AllChanges, &change).unwrap();
        assert!(of_all.starts_with("time  tenant  action"), "{of_all}");
        let long = json!({"after": {"models": "é".repeat(300)}});
        assert_eq!(super::change(&long).chars().count(), MAX_CHANGE_CHARS + 1);
    }

    #[test]
    fn ledgers_have_postings_and_what_they_were_folded_into() {
        let ledger = json!({
            "tokensLeft": 105,
            "postings": [
                {"number": 2, "time": "T2", "amount": -5, "tokensLeft": 105, "reason": "settled", "id": "s", "detail": {"model": "o1"}},
                {"number": 1, "time": "T1", "amount": 10, "tokensLeft": 110, "reason": "credited", "id": "c", "detail": {"by": "operator", "comment": "sorry"}},
            ],
            "folded": [{"day": null, "reason": "opened", "count": 1, "amount": 100}],
        });
        lines(
            AnswerForm::Ledger,
            &ledger,
            &[
                "time  reason    amount  tokensLeft  by        model  comment  id",
                "T2    settled       -5         105  -         o1     -        s",
                "T1    credited      10         110  operator  -      sorry    c",
                "",
                "folded",
                "day  reason  count  amount",
                "-    opened      1     100",
            ],
        );
    }
}
