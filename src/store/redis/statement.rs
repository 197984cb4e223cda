//! An account's ledger on Redis: parses what scripts and copies read, and writes what copies write.
//!
//! Postings are a list of JSON texts, the oldest first. Their sums are a hash: `<day>:<reason>:n` counts, `…:a` adds up.

use crate::rules::amount::Tokens;
use crate::rules::posting::{Reason, Sums, Tally};

/// Parses the tally's two words, which are empty where there is none.
pub(super) fn tally(number: &str, balance: &str) -> Option<Tally> {
    let (number, balance) = (number.parse().ok()?, balance.parse().ok()?);
    let balance = Tokens::new(balance);
    Some(Tally { number, balance })
}

/// Parses the fields of the hash; those of another program are left out.
pub(super) fn sums(fields: &[(String, String)]) -> Sums {
    let mut sums = Sums::default();
    for (field, value) in fields {
        let mut parts = field.split(':');
        let day = parts.next().and_then(|day| day.parse().ok());
        let reason = parts.next().and_then(Reason::parse);
        let (Some(of), Ok(value)) = (day.zip(reason), value.parse::<i64>()) else {
            continue;
        };
        let sum = sums.0.entry(of).or_default();
        match parts.next() {
            Some("n") => sum.count = u64::try_from(value).unwrap_or(0),
            Some("a") => sum.amount = value,
            _ => {}
        }
    }
    sums
}

/// Returns the fields of the hash.
pub(super) fn fields(sums: &Sums) -> Vec<(String, String)> {
    let sums = sums.0.iter();
    sums.flat_map(|((day, reason), sum)| {
        let field = |of: &str| format!("{day}:{}:{of}", reason.word());
        [
            (field("n"), sum.count.to_string()),
            (field("a"), sum.amount.to_string()),
        ]
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::posting::Sum;
    use std::collections::BTreeMap;

    #[test]
    fn sums_are_read_as_they_were_written() {
        let sum = |count, amount| Sum { count, amount };
        let all = Sums(BTreeMap::from([
            ((0, Reason::Opened), sum(1, 100)),
            ((20_000, Reason::TakenBack), sum(3, -12)),
        ]));
        let mut written = fields(&all);
        written.push(("day".to_owned(), "20001".to_owned()));
        written.push(("x:y".to_owned(), "-".to_owned()));
        assert_eq!(sums(&written), all);
    }
}
