//! An account as the store keeps it ([`Entry`]): the record's text, and the [`Books`] beside it.
//!
//! Each store verb is one function here, from stored text to stored text. The embedded engine calls it, and
//! the Redis scripts repeat it.
//! A key of another tenant is [`EntryAdmission::Unknown`], so that no caller can forget the check.

use super::account::{
    Account, Admit, Ask, Books, Credited, Grant, Look, Orphans, Report, Reported, Settlement,
    Verdict,
};
use super::amount::{Millis, Tokens};
use super::record::{self, Damage, Facts};
use super::window::{Limits, Window};

/// Group of accounts that have not signed in, and the fallback for unknown groups.
pub const ANONYMOUS: &str = "anonymous";
/// Group of keys with the prefix `user_` whose record names none.
const SIGNED_IN: &str = "google_logged_in";

/// Groups of a tenant with their limits, in the order of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(Vec<(String, Limits)>);

impl Groups {
    pub fn new(groups: Vec<(String, Limits)>) -> Groups {
        Groups(groups)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Limits)> {
        self.0.iter().map(|(name, limits)| (name.as_str(), *limits))
    }

    /// Returns the limits of a group; an unknown group has those of [`ANONYMOUS`].
    pub fn limits(&self, group: &str) -> Limits {
        let of = |wanted: &str| self.iter().find(|(name, _)| *name == wanted);
        of(group)
            .or_else(|| of(ANONYMOUS))
            .map_or_else(Limits::default, |(_, limits)| limits)
    }

    pub fn window(&self, group: &str) -> Option<Window> {
        self.limits(group).window
    }
}

/// Key of a request as the client sent it, and the tenant it was sent to.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    pub tenant: &'a str,
    pub key: &'a str,
    pub groups: &'a Groups,
}

/// Stored form of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub record: String,
    pub books: Books,
}

/// Outcome of [`Entry::admit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryAdmission {
    /// The tenant has no such key. Another tenant may have it, which is not revealed.
    Unknown,
    Known {
        group: String,
        admission: Verdict,
    },
}

/// Returns the `group` of the record, or the one that the key's prefix stands for.
pub fn group(facts: &Facts, key: &str) -> String {
    match &facts.group {
        Some(group) => group.clone(),
        None if key.starts_with("user_") => SIGNED_IN.to_owned(),
        None => ANONYMOUS.to_owned(),
    }
}

impl Entry {
    pub fn new(record: String) -> Entry {
        Entry {
            record,
            books: Books::default(),
        }
    }

    pub fn facts(&self) -> Result<Facts, Damage> {
        record::read(&self.record)
    }

    /// Runs a verb on the account, and splices the balance into the record if it changed.
    fn with<T>(&mut self, verb: impl FnOnce(&mut Account) -> T) -> Result<T, Damage> {
        let left = self.facts()?.left;
        let mut account = Account {
            left,
            books: std::mem::take(&mut self.books),
        };
        let outcome = verb(&mut account);
        self.books = account.books;
        if account.left != left {
            self.record = record::with_balance(&self.record, account.left)?;
        }
        Ok(outcome)
    }

    /// Runs [`Account::admit`] with the limits of the record's group. A record without `tenantId` is bound to
    /// the first tenant that grants it a hold.
    pub fn admit(
        &mut self,
        now: Millis,
        orphans: Orphans,
        caller: Caller<'_>,
        ask: &Admit<'_>,
    ) -> Result<EntryAdmission, Damage> {
        let facts = self.facts()?;
        if facts
            .tenant
            .as_deref()
            .is_some_and(|tenant| tenant != caller.tenant)
        {
            return Ok(EntryAdmission::Unknown);
        }
        let group = group(&facts, caller.key);
        let ask = Admit {
            limits: caller.groups.limits(&group),
            ..ask.clone()
        };
        let admission = self.with(|account| account.admit(now, orphans, &ask))?;
        let granted = matches!(admission, Verdict::Granted { .. });
        if granted && facts.tenant.is_none() {
            self.record = record::with_string(&self.record, "tenantId", caller.tenant)?;
        }
        Ok(EntryAdmission::Known { group, admission })
    }

    pub fn renew(
        &mut self,
        now: Millis,
        orphans: Orphans,
        id: &str,
        known: Tokens,
        ttl: Millis,
    ) -> Result<bool, Damage> {
        self.with(|account| account.renew(now, orphans, id, known, ttl))
    }

    pub fn settle(
        &mut self,
        now: Millis,
        orphans: Orphans,
        id: &str,
        used: Tokens,
        retry: bool,
    ) -> Result<Settlement, Damage> {
        self.with(|account| account.settle(now, orphans, id, used, retry))
    }

    pub fn resettle(
        &mut self,
        now: Millis,
        orphans: Orphans,
        id: &str,
        used: Tokens,
    ) -> Result<Settlement, Damage> {
        self.with(|account| account.resettle(now, orphans, id, used))
    }

    pub fn lease(&mut self, now: Millis, orphans: Orphans, ask: &Ask<'_>) -> Result<Grant, Damage> {
        self.with(|account| account.lease(now, orphans, ask))
    }

    pub fn report(
        &mut self,
        now: Millis,
        orphans: Orphans,
        report: &Report<'_>,
    ) -> Result<Reported, Damage> {
        self.with(|account| account.report(now, orphans, report))
    }

    pub fn credit(
        &mut self,
        now: Millis,
        orphans: Orphans,
        id: &str,
        amount: Tokens,
    ) -> Result<Credited, Damage> {
        self.with(|account| account.credit(now, orphans, id, amount))
    }

    pub fn look(
        &self,
        now: Millis,
        orphans: Orphans,
        window: Option<Window>,
    ) -> Result<Look, Damage> {
        let account = Account {
            left: self.facts()?.left,
            books: self.books.clone(),
        };
        Ok(account.look(now, orphans, window))
    }

    /// Sets the `group` of the record.
    pub fn regroup(&mut self, group: &str) -> Result<(), Damage> {
        self.facts()?;
        self.record = record::with_string(&self.record, "group", group)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask<'a>() -> Admit<'a> {
        Admit {
            id: "r",
            least: Tokens::new(1),
            most: Tokens::new(5),
            open: Tokens::ZERO,
            known: Tokens::ZERO,
            limits: Limits::default(),
            ttl: Millis(1000),
        }
    }

    fn groups() -> Groups {
        let window = |requests| Limits {
            window: Some(Window {
                requests,
                span: Millis(60_000),
            }),
            concurrent: None,
        };
        Groups::new(vec![
            ("anonymous".into(), window(1)),
            ("paid".into(), window(2)),
        ])
    }

    #[test]
    fn an_old_record_belongs_to_the_first_tenant_that_uses_it() {
        let groups = groups();
        let caller = |tenant| Caller {
            tenant,
            key: "temp_1",
            groups: &groups,
        };
        let mut entry = Entry::new(r#"{"userId":null,"tokensLeft":100}"#.into());
        let first = entry
            .admit(Millis(5), Orphans::Known, caller("a"), &ask())
            .unwrap();
        assert!(matches!(first, EntryAdmission::Known { .. }));
        assert_eq!(
            entry.record,
            r#"{"userId":null,"tokensLeft":100,"tenantId":"a"}"#
        );
        let other = entry
            .admit(Millis(5), Orphans::Known, caller("b"), &ask())
            .unwrap();
        assert_eq!(other, EntryAdmission::Unknown);
    }

    #[test]
    fn unknown_group_has_the_window_of_anonymous() {
        let groups = groups();
        assert_eq!(groups.window("paid").unwrap().requests, 2);
        assert_eq!(groups.window("strange").unwrap().requests, 1);
        assert_eq!(Groups::default().window("paid"), None);
    }
}
