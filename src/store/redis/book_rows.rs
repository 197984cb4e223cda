//! The books of an account as the scripts keep them, a hash of short fields, and as [`Books`]. For copies alone: while a
//! gateway serves, only the scripts read and write them.
//!
//! `scripts/books.lua` says what each field is.

use crate::rules::account::Books;
use serde_json::{Map, Value, json};

/// Fields that are one per ID: letter, member of the books, and the members of each.
const ROWS: [(&str, &str, &[&str]); 3] = [
    ("h", "holds", &["max", "known", "expires", "key"]),
    (
        "l",
        "leases",
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
    (
        "m",
        "marks",
        &["charged", "expires", "number", "told", "key"],
    ),
];

/// Fields that are one number per ID.
const NUMBERS: [(&str, &str); 5] = [
    ("c", "credits"),
    ("s", "slices"),
    ("k", "by_key"),
    ("t", "founders"),
    ("i", "identities"),
];

/// Parses the fields of a hash. `None`: they are not what the scripts write.
pub fn parse(fields: &[(String, String)]) -> Option<Books> {
    let mut books = Map::new();
    for (field, value) in fields {
        let (kind, id) = field.split_once(':')?;
        if let Some((_, member, names)) = ROWS.iter().find(|(letter, ..)| *letter == kind) {
            put(&mut books, member, id, row(value, names)?);
        } else if let Some((_, member)) = NUMBERS.iter().find(|(letter, _)| *letter == kind) {
            put(&mut books, member, id, number(value)?);
        } else {
            let (member, value) = single(kind, value)?;
            books.insert(member.to_owned(), value);
        }
    }
    serde_json::from_value(Value::Object(books)).ok()
}

/// Returns the fields of a hash.
pub fn fields(books: &Books) -> Option<Vec<(String, String)>> {
    let Value::Object(books) = serde_json::to_value(books).ok()? else {
        return None;
    };
    let mut fields = Vec::new();
    for (member, value) in &books {
        if let Some((kind, _, names)) = ROWS.iter().find(|(_, name, _)| name == member) {
            for (id, row) in value.as_object()? {
                fields.push((format!("{kind}:{id}"), words(row, names)));
            }
        } else if let Some((kind, _)) = NUMBERS.iter().find(|(_, name)| name == member) {
            for (id, number) in value.as_object()? {
                fields.push((format!("{kind}:{id}"), number.to_string()));
            }
        } else {
            let (kind, text) = single_text(member, value)?;
            fields.push((format!("{kind}:"), text));
        }
    }
    Some(fields)
}

fn put(books: &mut Map<String, Value>, member: &str, id: &str, value: Value) {
    let rows = books.entry(member).or_insert_with(|| json!({}));
    if let Value::Object(rows) = rows {
        rows.insert(id.to_owned(), value);
    }
}

fn number(text: &str) -> Option<Value> {
    text.parse::<u64>().ok().map(Value::from)
}

/// Parses numbers with colons between them; an empty one is absent.
fn row(text: &str, names: &[&str]) -> Option<Value> {
    let mut row = Map::new();
    let mut parts = text.split(':');
    for name in names {
        match parts.next() {
            Some("") | None => {}
            Some(part) => {
                row.insert((*name).to_owned(), number(part)?);
            }
        }
    }
    parts.next().is_none().then_some(Value::Object(row))
}

/// Writes numbers with colons between them, none behind the last that there is.
fn words(row: &Value, names: &[&str]) -> String {
    let word = |name: &&str| row.get(*name).map_or_else(String::new, Value::to_string);
    let words: Vec<String> = names.iter().map(word).collect();
    words.join(":").trim_end_matches(':').to_owned()
}

fn single(kind: &str, value: &str) -> Option<(&'static str, Value)> {
    Some(match kind {
        "r" => ("refilled", number(value)?),
        "o" => ("overrun", number(value)?),
        "p" => ("tally", row(value, &["number", "balance"])?),
        "d" => ("remains", row(value, &["tokens", "until"])?),
        "a" => ("apple", Value::from(value)),
        "v" => {
            let (taken, to) = value.split_once(':')?;
            ("moved", json!({"taken": number(taken)?, "to": to}))
        }
        "f" => {
            let mut parts = value.splitn(4, ':');
            let (received, most) = (number(parts.next()?)?, number(parts.next()?)?);
            let (over, from) = (parts.next()?, parts.next()?);
            let carry =
                json!({"from": from, "most": most, "received": received, "is_over": over == "1"});
            ("carry", carry)
        }
        _ => return None,
    })
}

fn single_text(member: &str, value: &Value) -> Option<(&'static str, String)> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let number = |name: &str| value.get(name).map(Value::to_string);
    Some(match member {
        "refilled" => ("r", value.to_string()),
        "overrun" => ("o", value.to_string()),
        "tally" => ("p", words(value, &["number", "balance"])),
        "remains" => ("d", words(value, &["tokens", "until"])),
        "apple" => ("a", value.as_str()?.to_owned()),
        "moved" => ("v", format!("{}:{}", number("taken")?, text("to")?)),
        "carry" => {
            let is_over = value.get("is_over").and_then(Value::as_bool)?;
            let (received, most) = (number("received")?, number("most")?);
            (
                "f",
                format!("{received}:{most}:{}:{}", u8::from(is_over), text("from")?),
            )
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields
            .iter()
            .map(|(field, value)| ((*field).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn every_kind_of_field_is_read_and_written_as_it_was() {
        let mut all = pairs(&[
            ("h:r1", "30:2:1800000000000"),
            ("h:r2", "30:2:1800000000000:281474976710655"),
            ("l:i-0", "10:1800000000000:3:10:0:0"),
            ("l:i-1", "10:1800000000000:3:10:5:1800000000000:7"),
            ("m:r3", "4:1800000000000:0"),
            ("m:i-2", "4:1800000000000:2:9"),
            ("m:r4", "4:1800000000000:0::17"),
            ("c:credit-1", "1800000000000"),
            ("s:1800000006000", "2"),
            ("k:17", "4"),
            ("t:0123abcd", "1800000000000"),
            ("i:p_xmk6bc7xhhfrfbpzygz6tmavyb", "1800000000000"),
            ("r:", "1800000000000"),
            ("o:", "3"),
            ("p:", "1800000000000000:97"),
            ("d:", "12:1800000000000"),
            ("v:", "12:user:p_xmk6bc7xhhfrfbpzygz6tmavyb"),
            ("f:", "0:100:0:apiKey:temp_1"),
            ("a:", "sealed:v1:0a0b:abc"),
        ]);
        let mut written = fields(&parse(&all).unwrap()).unwrap();
        all.sort();
        written.sort();
        assert_eq!(written, all);
    }

    #[test]
    fn fields_of_another_program_are_refused() {
        for (field, value) in [
            ("h:r", "1:2"),
            ("h:r", "a:2:3"),
            ("x:", "1"),
            ("h", "1"),
            ("o:", "-1"),
            ("k:1", "1:2"),
        ] {
            assert_eq!(parse(&pairs(&[(field, value)])), None, "{field} {value}");
        }
    }
}
