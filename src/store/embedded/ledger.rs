//! Ledgers of accounts in the embedded store: rows of postings beside an account, and the sums of older ones.
//!
//! A row is written before the account whose balance it explains, in one go. A row without its account, after a crash,
//! is never read: the account's tally says how far its ledger goes, and the sums say which rows they have.

use super::disk::{ChangeKind, Disk, Next};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::posting::{
    MAX_WHOLE_POSTINGS, POSTINGS_PER_FOLD, Posting, Reason, Statement, Sum, Sums, Tally,
};
use crate::store::name::{self, AccountName};
use crate::store::stored::{Stored, StoredLedger, Things};
use crate::store::{Clock, LedgerPage, Outcome};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Sums as they are stored. `upto`: number of the latest posting in them.
#[derive(Default, Serialize, Deserialize)]
struct StoredSums {
    upto: u64,
    days: BTreeMap<String, (u64, i64)>,
}

impl StoredSums {
    fn parse(stored: Option<&Stored>) -> StoredSums {
        let parsed = stored.and_then(|stored| serde_json::from_str(&stored.text).ok());
        parsed.unwrap_or_default()
    }

    fn of(upto: u64, sums: &Sums) -> StoredSums {
        let days = sums.0.iter();
        let days = days.map(|((day, reason), sum)| {
            let name = format!("{day}:{}", reason.word());
            (name, (sum.count, sum.amount))
        });
        StoredSums {
            upto,
            days: days.collect(),
        }
    }

    fn stored(&self, expires: Option<Millis>) -> Stored {
        // Cannot fail: texts and numbers alone.
        let text = serde_json::to_string(self).unwrap_or_default();
        Stored {
            expires,
            ..Stored::text(&text)
        }
    }

    fn sums(&self) -> Sums {
        let days = self.days.iter().filter_map(|(name, (count, amount))| {
            let (day, reason) = name.split_once(':')?;
            let sum = Sum {
                count: *count,
                amount: *amount,
            };
            Some(((day.parse().ok()?, Reason::parse(reason)?), sum))
        });
        Sums(days.collect())
    }
}

/// A row as it is stored: the number of the posting before it, and its own postings, one a line ([`Posting::text`]).
struct Row {
    before: u64,
    postings: Vec<Posting>,
}

impl Row {
    fn parse(stored: &Stored) -> Row {
        let mut lines = stored.text.lines();
        let before = lines.next().and_then(|line| line.parse().ok());
        Row {
            before: before.unwrap_or_default(),
            postings: lines.filter_map(Posting::parse).collect(),
        }
    }

    fn last(&self) -> u64 {
        self.postings.last().map_or(0, |posting| posting.number)
    }
}

/// Drops rows that a crash has left without the change that they explain: no later row and no tally names them.
fn drop_orphans<T>(rows: &mut Vec<(T, Row)>, tally: Option<Tally>) {
    let named = rows.iter().map(|(_, row)| row.before);
    let named: BTreeSet<u64> = named.chain(tally.map(|tally| tally.number)).collect();
    rows.retain(|(_, row)| named.contains(&row.last()));
}

/// Makes the change of an account from `before` to `after`, with a row of its new postings.
pub(super) fn change(
    account: &AccountName,
    before: &Stored,
    mut after: Stored,
    new: &[Posting],
) -> Next {
    let Some(first) = new.first() else {
        return match after == *before {
            true => Next::Keep,
            false => Next::set(after),
        };
    };
    let lines: Vec<String> = new.iter().map(Posting::text).collect();
    let before_first = before.books.tally().map_or(0, |tally| tally.number);
    let row = Stored {
        expires: after.expires,
        ..Stored::text(&format!("{before_first}\n{}", lines.join("\n")))
    };
    after.postings = before.postings + new.len() as u64;
    let name = name::posting_row(account.as_str(), first.number);
    Next::SetAfter(Arc::new(after), vec![(name, row)])
}

/// The ledgers of a store, beside the accounts on its [`Disk`].
pub(super) struct Ledgers {
    pub disk: Arc<Disk>,
    pub clock: Clock,
    /// How long postings are kept whole.
    pub whole_for: Millis,
    /// Held by the thread that folds postings.
    pub folding: Mutex<()>,
}

impl Ledgers {
    /// Folds the oldest postings of an account where there are too many. Another thread that folds has precedence.
    pub(super) fn fold_if_long(&self, account: &AccountName, postings: u64) {
        if postings as usize <= MAX_WHOLE_POSTINGS + POSTINGS_PER_FOLD {
            return;
        }
        if let Some(_folding) = self.folding.try_lock()
            && let Err(error) = self.fold(account)
        {
            let id = account.id();
            log::debug!(account = id.as_str(); "The ledger of account {id} was not folded: {error}. The next posting tries again");
        }
    }

    fn fold(&self, account: &AccountName) -> Outcome<()> {
        let (name, now) = (account.as_str(), self.clock.now());
        let Some(stored) = self.disk.read(name)? else {
            return Ok(());
        };
        let sums_name = name::posting_sums(name);
        let folded = StoredSums::parse(self.disk.read(&sums_name)?.as_deref());
        let oldest_kept = now.minus(self.whole_for);
        let mut rows = self.rows(name)?;
        drop_orphans(&mut rows, stored.books.tally());
        rows.retain(|(_, row)| row.last() > folded.upto);
        let (mut sums, mut upto) = (folded.sums(), folded.upto);
        let flushed: usize = rows.iter().map(|(_, row)| row.postings.len()).sum();
        // The newest are not flushed yet.
        let mut whole = flushed.max(stored.postings as usize);
        for (_, row) in &rows {
            let is_old = row.postings.iter().all(|posting| posting.at < oldest_kept);
            if !is_old && whole - row.postings.len() < MAX_WHOLE_POSTINGS {
                break;
            }
            row.postings.iter().for_each(|posting| sums.fold(posting));
            whole -= row.postings.len();
            upto = row.last();
        }
        sums.forget_days_before(oldest_kept.0 / Millis::DAY.0);
        let sums = StoredSums::of(upto, &sums).stored(stored.expires);
        self.disk
            .change(&sums_name, ChangeKind::Ends, |_| Ok(((), Next::set(sums))))?;
        // What was folded, and rows before it that nothing explains.
        let end = name::posting_row(name, upto);
        for row in self.disk.names(&name::posting_rows(name))? {
            if row <= end {
                self.disk.put_aside(&row, None)?;
            }
        }
        self.disk.change(name, ChangeKind::Ends, |found| {
            let next = found.map_or(Next::Keep, |found| {
                // Postings since are in no row that was read.
                let since = found.postings - stored.postings.min(found.postings);
                Next::set(Stored {
                    postings: whole as u64 + since,
                    ..found.clone()
                })
            });
            Ok(((), next))
        })?;
        Ok(())
    }

    /// Returns the flushed rows of an account with their names, the oldest first.
    fn rows(&self, name: &str) -> Outcome<Vec<(String, Row)>> {
        let rows = self.disk.all(&name::posting_rows(name))?;
        let rows = rows.into_iter();
        Ok(rows.map(|(name, row)| (name, Row::parse(&row))).collect())
    }

    /// Reads a page of a ledger, once all that was posted until now is flushed.
    pub(super) async fn page(
        &self,
        account: &AccountName,
        (left, tally): (Tokens, Option<Tally>),
        page: LedgerPage,
    ) -> Outcome<Statement> {
        self.disk.durable(self.disk.sequence()).await?;
        let name = account.as_str();
        let folded = StoredSums::parse(self.disk.read(&name::posting_sums(name))?.as_deref());
        let mut rows = self.rows(name)?;
        // Rows since `tally` name each other, and are beyond it.
        drop_orphans(&mut rows, tally);
        let whole = rows.into_iter().flat_map(|(_, row)| row.postings);
        let whole = whole
            .filter(|posting| posting.number > folded.upto)
            .collect();
        let now = self.clock.now();
        let (sums, page) = (folded.sums(), (page.before, page.most));
        Ok(Statement::page((left, tally), whole, sums, now, page))
    }

    /// Lets the rows that are there end with their account.
    pub(super) fn keep_until(&self, account: &AccountName, expires: Option<Millis>) -> Outcome<()> {
        let name = account.as_str();
        let mut rows = self.disk.names(&name::posting_rows(name))?;
        rows.push(name::posting_sums(name));
        for row in rows {
            self.disk.change(&row, ChangeKind::Begins, |found| {
                let next = found.map_or(Next::Keep, |stored| {
                    let stored = stored.clone();
                    Next::set(Stored { expires, ..stored })
                });
                Ok(((), next))
            })?;
        }
        Ok(())
    }

    /// Removes the ledger of an account that is no more.
    pub(super) async fn remove(&self, account: &AccountName) -> Outcome<()> {
        self.disk.durable(self.disk.sequence()).await?;
        let name = account.as_str();
        for row in self.disk.names(&name::posting_rows(name))? {
            self.disk.put_aside(&row, None)?;
        }
        let sums = name::posting_sums(name);
        self.disk.change(&sums, ChangeKind::Ends, |found| {
            let next = found.map_or(Next::Keep, |_| Next::Remove);
            Ok(((), next))
        })?;
        Ok(())
    }
}

/// Moves rows of postings and sums into the accounts that they belong to, as copies carry them. Those of no account are
/// dropped.
pub(super) fn gather(things: &mut Things) {
    let mut rows: Vec<(String, Stored)> = Vec::new();
    things.retain(|name, stored| {
        let is_beside = name.starts_with("postings:") || name.starts_with("sums:");
        if is_beside {
            rows.push((name.clone(), stored.clone()));
        }
        !is_beside
    });
    let mut folded: BTreeMap<String, StoredSums> = BTreeMap::new();
    let mut ledgers: BTreeMap<String, Vec<((), Row)>> = BTreeMap::new();
    // Names sort the rows of an account by their numbers.
    for (name, stored) in &rows {
        if let Some(account) = name.strip_prefix("sums:") {
            folded.insert(account.to_owned(), StoredSums::parse(Some(stored)));
        } else if let Some(row) = name.strip_prefix("postings:")
            && let Some((account, _)) = row.rsplit_once(':')
        {
            let rows = ledgers.entry(account.to_owned()).or_default();
            rows.push(((), Row::parse(stored)));
        }
    }
    for (account, mut rows) in ledgers {
        let upto = folded.get(&account).map_or(0, |folded| folded.upto);
        if let Some(stored) = things.get_mut(&account) {
            drop_orphans(&mut rows, stored.books.tally());
            let whole = rows.iter().flat_map(|(_, row)| &row.postings);
            let whole = whole.filter(|posting| posting.number > upto);
            stored.ledger.postings = whole.map(Posting::text).collect();
        }
    }
    for (account, sums) in folded {
        if let Some(stored) = things.get_mut(&account) {
            stored.ledger.sums = sums.sums();
        }
    }
    for stored in things.values_mut() {
        stored.postings = stored.ledger.postings.len() as u64;
    }
}

/// Moves the ledgers that accounts carry in a copy into rows and sums beside them.
pub(super) fn spread(things: &Things) -> Things {
    let mut all = Things::new();
    for (name, stored) in things {
        let StoredLedger { postings, sums } = &stored.ledger;
        let first = postings.first().and_then(|text| Posting::parse(text));
        if let Some(first) = first {
            let row = Stored {
                expires: stored.expires,
                ..Stored::text(&format!("0\n{}", postings.join("\n")))
            };
            all.insert(name::posting_row(name, first.number), row);
            if !sums.0.is_empty() {
                let sums = StoredSums::of(first.number - 1, sums).stored(stored.expires);
                all.insert(name::posting_sums(name), sums);
            }
        }
        all.insert(name.clone(), stored.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_a_crash_left_alone_is_dropped() {
        let row = |before: u64, number: u64| {
            let posting = Posting {
                number,
                at: Millis(1),
                amount: -1,
                left: Tokens::new(1),
                reason: Reason::Settled,
                overrun: Tokens::ZERO,
                id: String::new(),
                note: String::new(),
            };
            let text = format!("{before}\n{}", posting.text());
            (number, Row::parse(&Stored::text(&text)))
        };
        let tally = Tally {
            number: 9,
            balance: Tokens::new(1),
        };
        let mut rows = vec![row(0, 5), row(5, 7), row(5, 9), row(9, 12)];
        drop_orphans(&mut rows, Some(tally));
        let kept: Vec<u64> = rows.iter().map(|(number, _)| *number).collect();
        assert_eq!(kept, [5, 9]);
    }
}
