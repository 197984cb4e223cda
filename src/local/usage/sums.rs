//! Sums of usage records: in all, by each dimension, and by combinations of dimensions.

use super::record::{Dimension, Event};
use crate::api::{UsageRow, UsageSum};
use std::collections::BTreeMap;

/// Sums by name.
type SumsByName = BTreeMap<String, UsageSum>;

fn add(sum: &mut UsageSum, event: &Event<'_>) {
    sum.requests += 1;
    sum.tokens_in += event.tokens_in;
    sum.tokens_out += event.tokens_out;
    sum.tokens_cached += event.tokens_cached;
    sum.cost += event.cost;
    if let (Some(amount), Some(currency)) = (event.amount, event.currency) {
        let sum = sum.amounts.entry(currency.to_owned()).or_default();
        *sum = sum.plus(amount);
    }
}

/// Sums of requests in all, and by each dimension.
#[derive(Default)]
pub(super) struct Sums {
    pub total: UsageSum,
    tables: [SumsByName; Dimension::ALL.len()],
}

impl Sums {
    pub(super) fn add(&mut self, event: &Event<'_>) {
        add(&mut self.total, event);
        for (table, of) in self.tables.iter_mut().zip(Dimension::ALL) {
            let name = event.name(of);
            match table.get_mut(name) {
                Some(sum) => add(sum, event),
                None => add(table.entry(name.to_owned()).or_default(), event),
            }
        }
    }

    /// Takes the sums by a dimension out.
    pub(super) fn take(&mut self, by: Dimension) -> SumsByName {
        let place = Dimension::ALL.iter().position(|of| *of == by);
        let table = place.and_then(|place| self.tables.get_mut(place));
        table.map(std::mem::take).unwrap_or_default()
    }
}

/// Sums by combinations of dimensions, in the order of their names.
pub(super) struct Rows {
    pub by: Vec<Dimension>,
    pub sums: BTreeMap<Vec<String>, UsageSum>,
}

impl Rows {
    pub(super) fn new(by: Vec<Dimension>) -> Rows {
        let sums = BTreeMap::new();
        Rows { by, sums }
    }

    pub(super) fn add(&mut self, event: &Event<'_>) {
        let names = self.by.iter().map(|of| event.name(*of).to_owned());
        add(self.sums.entry(names.collect()).or_default(), event);
    }

    /// Returns the rows of the answer.
    pub(super) fn into_rows(self) -> Vec<UsageRow> {
        let Rows { by, sums } = self;
        let rows = sums.into_iter();
        rows.map(|(names, sum)| row(&by, names, sum)).collect()
    }
}

fn row(by: &[Dimension], names: Vec<String>, sum: UsageSum) -> UsageRow {
    let mut row = UsageRow {
        requests: sum.requests,
        tokens_in: sum.tokens_in,
        tokens_out: sum.tokens_out,
        tokens_cached: sum.tokens_cached,
        cost: sum.cost,
        amounts: sum.amounts,
        ..UsageRow::default()
    };
    for (of, name) in by.iter().zip(names) {
        let place = match of {
            Dimension::Day => &mut row.day,
            Dimension::Model => &mut row.model,
            Dimension::Group => &mut row.group,
            Dimension::Endpoint => &mut row.endpoint,
            Dimension::Key => &mut row.key,
            Dimension::Account => &mut row.account,
        };
        *place = Some(name);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(day: u64, model: &str, key: &str, cost: u64) -> String {
        format!(
            r#"{{"time":"2026-11-0{day}T00:00:00.000Z","account":"a","model":"{model}","cost":{cost}{key}}}"#
        )
    }

    #[test]
    fn every_sum_is_of_all_records() {
        let records = [
            record(1, "m", r#","key":"0123456789ab""#, 1),
            record(1, "n", "", 2),
            record(2, "m", "", 4),
            record(2, "m", r#","amount":0.5,"currency":"EUR""#, 8),
        ];
        let (mut sums, mut rows) = (
            Sums::default(),
            Rows::new(vec![Dimension::Model, Dimension::Day]),
        );
        for event in records.iter().filter_map(|text| Event::parse(text)) {
            sums.add(&event);
            rows.add(&event);
        }

        assert_eq!((sums.total.requests, sums.total.cost), (4, 15));
        for by in Dimension::ALL {
            let costs = sums.take(by);
            assert_eq!(
                costs.values().map(|sum| sum.cost).sum::<u64>(),
                15,
                "{by:?}"
            );
            let names: Vec<&str> = costs.keys().map(String::as_str).collect();
            let expected: &[&str] = match by {
                Dimension::Day => &["2026-11-01", "2026-11-02"],
                Dimension::Model => &["m", "n"],
                Dimension::Key => &["-", "0123456789ab"],
                Dimension::Account => &["a"],
                Dimension::Group | Dimension::Endpoint => &["-"],
            };
            assert_eq!(names, expected);
        }
        let rows = rows.into_rows();
        let text = |name: &Option<String>| name.clone().unwrap_or_default();
        let told = rows
            .iter()
            .map(|row| (text(&row.model), text(&row.day), row.cost));
        let told: Vec<(String, String, u64)> = told.collect();
        let row = |model: &str, day: &str, cost| (model.to_owned(), day.to_owned(), cost);
        let expected = [
            row("m", "2026-11-01", 1),
            row("m", "2026-11-02", 12),
            row("n", "2026-11-01", 2),
        ];
        assert_eq!(told, expected);
        assert!(rows.iter().all(|row| row.key.is_none()));
        assert_eq!(rows[1].amounts["EUR"].to_string(), "0.5");
    }
}
