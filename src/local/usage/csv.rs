//! Sums of usage as a table for spreadsheets (RFC 4180).
//!
//! Models are named by clients, so a text must never be read as a formula: `'` stands before what could begin one.

use super::record::NAMELESS;
use super::sums::Rows;
use crate::api::UsageSum;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Columns of numbers, before those of money.
const NUMBERS: [&str; 5] = ["requests", "tokensIn", "tokensOut", "tokensCached", "cost"];
/// Beginning of the name of a column of money; the currency follows.
const AMOUNT: &str = "amount";

/// Returns the table: a header, and a line for each row. Each currency has a column of its own, so that no column mixes
/// two.
pub(super) fn table(rows: &Rows) -> String {
    let sums = rows.sums.values();
    let currencies: BTreeSet<&str> = sums
        .flat_map(|sum| sum.amounts.keys().map(String::as_str))
        .collect();
    let mut table = String::new();
    let names = rows.by.iter().map(|of| of.word().to_owned());
    let numbers = NUMBERS.iter().map(|&name| name.to_owned());
    let money = currencies
        .iter()
        .map(|currency| cell(&format!("{AMOUNT}{currency}")));
    push(&mut table, names.chain(numbers).chain(money));
    for (names, sum) in &rows.sums {
        let names = names.iter().map(|name| match name.as_str() {
            NAMELESS => String::new(),
            name => cell(name),
        });
        push(&mut table, names.chain(numbers_of(sum, &currencies)));
    }
    table
}

/// Returns the cells of a sum's numbers. An amount that is not known is empty.
fn numbers_of<'a>(
    sum: &'a UsageSum,
    currencies: &'a BTreeSet<&str>,
) -> impl Iterator<Item = String> + 'a {
    let numbers = [
        sum.requests,
        sum.tokens_in,
        sum.tokens_out,
        sum.tokens_cached,
        sum.cost,
    ];
    let amounts = currencies.iter().map(|currency| {
        let amount = sum.amounts.get(*currency);
        amount.map_or(String::new(), ToString::to_string)
    });
    let numbers = numbers.into_iter().map(|number| number.to_string());
    numbers.chain(amounts)
}

fn push(table: &mut String, cells: impl Iterator<Item = String>) {
    for (place, cell) in cells.enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(table, "{comma}{cell}");
    }
    table.push_str("\r\n");
}

/// Returns a text as a cell, in quotes where it needs them.
fn cell(text: &str) -> String {
    let plain = without_formula(text);
    match plain.contains(['"', ',', ';', '\r', '\n', '\t']) {
        true => format!("\"{}\"", plain.replace('"', "\"\"")),
        false => plain,
    }
}

/// Returns a text with `'` before each sign that begins a formula, at its start and behind what some spreadsheets take
/// for the end of a cell whatever the quotes say.
fn without_formula(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 1);
    let mut before = None;
    for sign in text.chars() {
        let begins = matches!(sign, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n');
        if begins && before.is_none_or(|before| matches!(before, ';' | '\t' | '\r' | '\n')) {
            plain.push('\'');
        }
        plain.push(sign);
        before = Some(sign);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::record::{Dimension, Event};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rows(models: &[&str], more: &str) -> Rows {
        let mut rows = Rows::new(vec![Dimension::Day, Dimension::Model, Dimension::Key]);
        for model in models {
            let model = json!(model);
            let text = format!(
                r#"{{"time":"2026-11-01T00:00:00.000Z","account":"a","model":{model},"tokensIn":3,"cost":7{more}}}"#
            );
            rows.add(&Event::parse(&text).unwrap());
        }
        rows
    }

    /// Reads one line of a table, without the rules of the writer.
    fn read(line: &str) -> Vec<String> {
        let (mut cells, mut cell, mut inside) = (Vec::new(), String::new(), false);
        let mut signs = line.chars().peekable();
        while let Some(sign) = signs.next() {
            match sign {
                '"' if inside && signs.peek() == Some(&'"') => {
                    cell.push('"');
                    signs.next();
                }
                '"' => inside = !inside,
                ',' if !inside => cells.push(std::mem::take(&mut cell)),
                sign => cell.push(sign),
            }
        }
        assert!(!inside, "{line}");
        cells.push(cell);
        cells
    }

    #[test]
    fn a_table_has_a_header_and_a_column_for_each_currency() {
        let mut of = rows(
            &["m"],
            r#","key":"0123456789ab","amount":0.25,"currency":"USD""#,
        );
        let euros = rows(&["m"], r#","amount":1,"currency":"EUR""#);
        of.sums.extend(euros.sums);

        assert_eq!(
            table(&of),
            "day,model,key,requests,tokensIn,tokensOut,tokensCached,cost,amountEUR,amountUSD\r\n\
             2026-11-01,m,,1,3,0,0,7,1,\r\n\
             2026-11-01,m,0123456789ab,1,3,0,0,7,,0.25\r\n"
        );
        assert_eq!(
            table(&rows(&[], "")),
            "day,model,key,requests,tokensIn,tokensOut,tokensCached,cost\r\n"
        );
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (model, written) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\"'\t'=1\""),
            ("\r=1", "\"'\r'=1\""),
            ("=\"a\",b", "\"'=\"\"a\"\",b\""),
            ("a;=1", "\"a;'=1\""),
            ("a\n@b", "\"a\n'@b\""),
            ("a\"b", "\"a\"\"b\""),
            ("gpt-4o+x=@", "gpt-4o+x=@"),
            ("'=1", "'=1"),
        ] {
            assert_eq!(cell(model), written, "{model:?}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_one_cell_of_one_row(name in "[-=+@\\t\\r\\n\",;'a ]{1,12}|\\PC{1,12}") {
            let written = table(&rows(&[&name], ""));
            let row = written.split_once("\r\n").unwrap().1.strip_suffix("\r\n").unwrap();
            let cells = read(row);
            prop_assert_eq!(cells.len(), 8);
            prop_assert_eq!(&cells[3..], ["1", "3", "0", "0", "7"]);
            if name == NAMELESS {
                prop_assert_eq!(&cells[1], "");
            } else {
                prop_assert_eq!(cells[1].replace('\'', ""), name.replace('\'', ""));
                prop_assert!(!cells[1].starts_with(['=', '+', '-', '@', '\t', '\r', '\n']));
            }
        }
    }
}
