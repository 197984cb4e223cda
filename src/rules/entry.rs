//! An account as the store keeps it ([`Entry`]): the record's text, and the [`Books`] beside it.
//!
//! Each store verb is one function here, from stored text to stored text. The embedded engine calls it, and
//! the Redis scripts repeat it.
//! A key of another tenant is [`EntryAdmission::Unknown`], so that no caller can forget the check.

use super::account::{
    Account, Admit, Ask, Books, Credit, Credited, Grant, KeyBound, Look, Orphans, Replayed, Report,
    Reported, Settlement, Verdict,
};
use super::amount::{Millis, Tokens};
use super::carry::{Carry, Taken};
use super::issued_key::{self, IssuedKey, IssuedKeys, KeyId};
use super::payments::book::{Paid, Pay, PaymentBook};
use super::posting::Posting;
use super::record::{self, Damage, Facts};
use super::window::{Limits, Window};

/// Group of accounts that have not signed in, and the fallback for unknown groups.
pub const ANONYMOUS: &str = "anonymous";
/// Group of keys with the prefix `user_` whose record names none.
pub const SIGNED_IN: &str = "google_logged_in";

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
    /// The record's text. Empty: there is no account, only what remains of a deleted one in the books.
    pub record: String,
    pub books: Books,
    /// Keys of a person's account, which opens to no other key. `None`: the account is one key's own, or the user's
    /// whose ID is stored under the key.
    pub keys: Option<IssuedKeys>,
    /// Changes of the balance by the verbs since, for the engine to store in the same step.
    pub postings: Vec<Posting>,
    /// New end of the account, for the engine to store in the same step; the inner `None`: it has none.
    pub expires: Option<Option<Millis>>,
}

/// A key at its account: what it may do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub group: String,
    /// What usage records call the account, where it is a person's.
    pub label: Option<String>,
    /// The key, where it is one of a person's.
    pub issued: Option<Box<IssuedKey>>,
}

/// Outcome of [`Entry::admit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryAdmission {
    /// The tenant has no such key. Another tenant may have it, which is not revealed.
    Unknown,
    Known {
        standing: Standing,
        /// Balance of an earlier key that has not all arrived yet.
        carry: Option<Carry>,
        admission: Verdict,
    },
}

/// Request to open a person's account with a new key, which creates the account where there is none.
#[derive(Clone, Debug)]
pub struct Join {
    pub tenant: String,
    pub id: KeyId,
    /// The new key; `created` and `expires` are set here, by the store's clock.
    pub key: IssuedKey,
    pub life: Option<Millis>,
    /// `None`: the account must exist.
    pub founding: Option<Founding>,
    /// Another identity that leads to this account.
    pub identity: Option<String>,
    /// Refresh token of Apple's sign-in, sealed.
    pub apple: Option<String>,
}

/// Beginning of a person's account.
#[derive(Clone, Debug)]
pub struct Founding {
    pub record: String,
    /// Hash of the ID token, and when it is forgotten: the token creates no account twice.
    pub token: Option<(String, Millis)>,
    /// Name of the account of an earlier key, and the most that moves from it.
    pub carry: Option<(String, Tokens)>,
}

/// What was deleted with a person's account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    pub keys: Vec<IssuedKey>,
    /// Other identities that led to it.
    pub identities: Vec<String>,
    /// Refresh token of Apple's sign-in, sealed.
    pub apple: Option<String>,
}

/// Outcome of [`Entry::join`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    Done {
        created: bool,
        left: Tokens,
        group: String,
        carry: Option<Carry>,
        /// Keys that ended because there were too many, or that had expired.
        ended: Vec<IssuedKey>,
    },
    /// There is no account, and none was to be created; or it is another tenant's.
    Absent,
    /// The ID token has created this account before.
    Replayed,
    TooManyKeys,
}

/// Changes of an account by an admin. What is absent stays.
#[derive(Clone, Debug, Default)]
pub struct Amend<'a> {
    pub group: Option<&'a str>,
    /// The app's own ID of the user; the inner `None`: nobody's. A plain name.
    pub user: Option<Option<&'a str>>,
    pub suspended: Option<bool>,
    /// The only key that opens the account from now on.
    pub opens_to: Option<KeyId>,
    pub credit: Option<Credit<'a>>,
    /// Life of the account from now; the inner `None`: no end.
    pub life: Option<Option<Millis>>,
}

impl Amend<'_> {
    /// Returns the members of the record that are set, each with its JSON value.
    pub fn members(&self) -> Vec<(&'static str, String)> {
        let text = |text: &str| format!("\"{text}\"");
        let user = self
            .user
            .map(|user| user.map_or_else(|| "null".to_owned(), text));
        let members = [
            ("group", self.group.map(text)),
            ("userId", user),
            ("suspended", self.suspended.map(|is| is.to_string())),
            ("opensTo", self.opens_to.map(|id| text(&id.to_string()))),
        ];
        let set = members.into_iter();
        set.filter_map(|(name, word)| Some((name, word?))).collect()
    }
}

/// Returns the `group` of the record, or the one that the key's prefix stands for.
pub fn group(facts: &Facts, key: &str) -> String {
    match &facts.group {
        Some(group) => group.clone(),
        None if key.starts_with("user_") => SIGNED_IN.to_owned(),
        None => ANONYMOUS.to_owned(),
    }
}

/// Changes the payments that are kept of a deleted account. There is no balance: nothing is gained or taken.
fn deleted_pays(book: &mut PaymentBook, pay: &Pay) -> Option<Paid> {
    if book.is_empty() {
        return None;
    }
    if book.version != pay.expected || !pay.group_before.is_empty() || book.is_newer_than(pay) {
        return Some(Paid::Changed);
    }
    let (before, after) = pay.back;
    let short = book
        .short
        .plus(after.minus(before))
        .minus(before.minus(after));
    book.note(pay, short, Tokens::ZERO);
    let left = Tokens::ZERO;
    Some(Paid::Done { left, short })
}

impl Entry {
    pub fn new(record: String) -> Entry {
        Entry {
            record,
            books: Books::default(),
            keys: None,
            postings: Vec::new(),
            expires: None,
        }
    }

    pub fn facts(&self) -> Result<Facts, Damage> {
        record::read(&self.record)
    }

    /// Runs a verb on the account, and splices the balance into the record if it changed.
    fn with<T>(&mut self, verb: impl FnOnce(&mut Account) -> T) -> Result<T, Damage> {
        let left = self.facts()?.left;
        let mut account = Account::new(left, std::mem::take(&mut self.books));
        let outcome = verb(&mut account);
        self.books = account.books;
        self.postings.append(&mut account.postings);
        if account.left != left {
            self.record = record::with_balance(&self.record, account.left)?;
        }
        Ok(outcome)
    }

    /// Returns what a key may do at this account and tenant. `None`: the key is unknown there.
    pub fn standing(
        &self,
        now: Millis,
        tenant: &str,
        key: &str,
    ) -> Result<Option<Standing>, Damage> {
        Ok(self.standing_by(&self.facts()?, now, tenant, key))
    }

    fn standing_by(&self, facts: &Facts, now: Millis, tenant: &str, key: &str) -> Option<Standing> {
        let is_others = facts.tenant.as_deref().is_some_and(|bound| bound != tenant);
        if is_others || self.books.has_left() {
            return None;
        }
        let issued = match &self.keys {
            None if facts.opens_to.is_some_and(|id| KeyId::of(key) != id) => return None,
            None => None,
            Some(keys) => {
                let issued = keys.get(&KeyId::of(key))?;
                if issued.is_expired(now) {
                    return None;
                }
                Some(Box::new(issued.clone()))
            }
        };
        Some(Standing {
            group: group(facts, key),
            label: facts.label.clone(),
            issued,
        })
    }

    /// Returns how the account stands at this tenant, whoever asks. `None`: it is another tenant's.
    pub fn standing_of_account(&self, tenant: &str) -> Result<Option<Standing>, Damage> {
        let facts = self.facts()?;
        let is_others = facts.tenant.as_deref().is_some_and(|bound| bound != tenant);
        let is_here = !is_others && !self.books.has_left();
        Ok(is_here.then(|| Standing {
            group: group(&facts, "user_"),
            label: facts.label.clone(),
            issued: None,
        }))
    }

    /// Runs [`Account::admit`] with the limits of the record's group and of the key. A record without `tenantId` is
    /// bound to the first tenant that grants it a hold.
    pub fn admit(
        &mut self,
        now: Millis,
        orphans: Orphans,
        caller: Caller<'_>,
        ask: &Admit<'_>,
    ) -> Result<EntryAdmission, Damage> {
        let facts = self.facts()?;
        let Some(standing) = self.standing_by(&facts, now, caller.tenant, caller.key) else {
            return Ok(EntryAdmission::Unknown);
        };
        let issued = standing.issued.as_deref();
        let id = issued.map(IssuedKey::id);
        let most = issued.and_then(|key| key.tokens_max);
        let ask = Admit {
            limits: caller.groups.limits(&standing.group),
            key: id.zip(most).map(|(id, most)| KeyBound { id, most }),
            created: facts.created,
            ..ask.clone()
        };
        let admission = self.with(|account| match facts.suspended {
            true => account.refuse(now, orphans, &ask),
            false => account.admit(now, orphans, &ask),
        })?;
        if matches!(admission, Verdict::Granted { .. }) {
            if facts.tenant.is_none() {
                self.record = record::with_string(&self.record, "tenantId", caller.tenant)?;
            }
            let keys = self.keys.as_mut();
            if let Some(key) = keys.zip(id).and_then(|(keys, id)| keys.get_mut(&id)) {
                key.used = Some(now.0 / Millis::DAY.0);
            }
        }
        let carry = self.books.pending_carry().cloned();
        Ok(EntryAdmission::Known {
            standing,
            carry,
            admission,
        })
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
        note: &str,
    ) -> Result<Settlement, Damage> {
        self.with(|account| account.settle(now, orphans, id, used, retry, note))
    }

    pub fn resettle(
        &mut self,
        now: Millis,
        orphans: Orphans,
        id: &str,
        used: Tokens,
        note: &str,
    ) -> Result<Settlement, Damage> {
        self.with(|account| account.resettle(now, orphans, id, used, note))
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
        credit: &Credit<'_>,
    ) -> Result<Credited, Damage> {
        self.with(|account| account.credit(now, orphans, credit))
    }

    pub fn look(&self, now: Millis, orphans: Orphans, limits: Limits) -> Result<Look, Damage> {
        let facts = self.facts()?;
        let account = Account::new(facts.left, self.books.clone());
        Ok(account.look(now, orphans, limits, facts.created))
    }

    /// Sets the `group` of the record. The new group's refill comes with the next period.
    pub fn regroup(&mut self, now: Millis, group: &str) -> Result<(), Damage> {
        self.facts()?;
        self.record = record::with_string(&self.record, "group", group)?;
        self.books.put_off_refill(now);
        Ok(())
    }

    /// Changes what an admin may change of an account, in one step. A balance that cannot be changed leaves all as it
    /// was.
    pub fn amend(
        &mut self,
        now: Millis,
        orphans: Orphans,
        amend: &Amend<'_>,
    ) -> Result<Credited, Damage> {
        self.facts()?;
        let credited = self.with(|account| account.amend(now, orphans, amend.credit.as_ref()))?;
        if matches!(credited, Credited::TooMuch { .. }) {
            return Ok(credited);
        }
        for (name, word) in amend.members() {
            self.record = record::with_word(&self.record, name, &word)?;
        }
        if amend.group.is_some() {
            self.books.put_off_refill(now);
        }
        self.expires = amend.life.map(|life| life.map(|life| now.plus(life)));
        Ok(credited)
    }

    /// Adds a key to a person's account, and creates the account where there is none. A repeat with the same key gives
    /// the same answer.
    pub fn join(&mut self, now: Millis, join: &Join) -> Result<Joined, Damage> {
        let known = self.keys.as_ref().and_then(|keys| keys.get(&join.id));
        if let Some(founded) = known.map(|key| key.founded) {
            return self.joined(founded, Vec::new());
        }
        let created = self.record.is_empty();
        if created {
            let Some(founding) = &join.founding else {
                return Ok(Joined::Absent);
            };
            let token = founding.token.as_ref();
            let carry = founding.carry.as_ref();
            let may_have = self.books.found(
                now,
                token.map(|(hash, until)| (hash.as_str(), *until)),
                carry.map(|(from, most)| (from.as_str(), *most)),
            );
            let may_have = match may_have {
                Ok(tokens) => tokens,
                Err(Replayed) => return Ok(Joined::Replayed),
            };
            let left = record::read(&founding.record)?.left;
            self.record = record::with_balance(&founding.record, left.min(may_have))?;
            self.keys = Some(IssuedKeys::default());
        } else if self.facts()?.tenant.as_deref() != Some(join.tenant.as_str()) {
            return Ok(Joined::Absent);
        }
        let keys = self.keys.get_or_insert_default();
        let Some(ended) = issued_key::make_room(keys, join.key.source, now) else {
            return Ok(Joined::TooManyKeys);
        };
        let key = IssuedKey {
            created: now,
            expires: join.life.map(|life| now.plus(life)),
            founded: created,
            ..join.key.clone()
        };
        keys.insert(join.id, key);
        self.books
            .note_sign_in(now, join.identity.as_deref(), join.apple.as_deref());
        for (id, _) in &ended {
            self.books.forget_key(*id);
        }
        self.joined(created, ended.into_iter().map(|(_, key)| key).collect())
    }

    fn joined(&self, created: bool, ended: Vec<IssuedKey>) -> Result<Joined, Damage> {
        let facts = self.facts()?;
        Ok(Joined::Done {
            created,
            left: facts.left,
            group: group(&facts, "user_"),
            carry: self.books.pending_carry().cloned(),
            ended,
        })
    }

    /// Ends a key of a person's account. Returns it with what it has spent of a bound of its own, and may still spend
    /// in requests in flight. `None`: the account has no such key.
    pub fn drop_key(&mut self, id: KeyId) -> Option<(IssuedKey, Tokens)> {
        let key = self.keys.as_mut()?.remove(&id)?;
        let spent = self.books.spent_by(id).plus(self.books.held_by(id));
        self.books.forget_key(id);
        Some((key, spent))
    }

    /// Returns the live keys of a person's account with what each has spent of a bound of its own.
    pub fn live_keys(&self, now: Millis) -> Vec<(KeyId, IssuedKey, Tokens)> {
        let keys = self.keys.iter().flatten();
        let live = keys.filter(|(_, key)| !key.is_expired(now));
        live.map(|(id, key)| (*id, key.clone(), self.books.spent_by(*id)))
            .collect()
    }

    /// Takes the balance of an anonymous key of `tenant` for the account `to`.
    pub fn take(
        &mut self,
        now: Millis,
        orphans: Orphans,
        tenant: &str,
        to: &str,
        most: Tokens,
    ) -> Result<Taken, Damage> {
        let facts = self.facts()?;
        let is_ours = facts.tenant.as_deref().is_none_or(|bound| bound == tenant);
        let is_anonymous = self.keys.is_none() && group(&facts, "temp_") == ANONYMOUS;
        if !is_ours || !is_anonymous || facts.suspended {
            return Ok(Taken::Refused);
        }
        self.with(|account| account.take(now, orphans, to, most))
    }

    pub fn receive(
        &mut self,
        now: Millis,
        from: &str,
        total: Tokens,
        is_over: bool,
    ) -> Result<Tokens, Damage> {
        self.with(|account| account.receive(now, from, total, is_over))
    }

    /// Brings the balance up to date: what has expired is charged, what is due is refilled. `key`: the beginning of a
    /// key of the account, for its group where the record names none.
    pub fn bring_up_to_date(
        &mut self,
        now: Millis,
        orphans: Orphans,
        groups: &Groups,
        key: &str,
    ) -> Result<Tokens, Damage> {
        let facts = self.facts()?;
        let limits = groups.limits(&group(&facts, key));
        self.with(|account| {
            account.bring_up_to_date(now, orphans, limits, facts.created);
            account.left
        })
    }

    /// Changes the payments of a person's account, and its balance and group by what follows from them. Of a deleted
    /// account whose payments are kept they change alone. `None`: it is another tenant's account, or no person's.
    pub fn pay(
        &mut self,
        now: Millis,
        orphans: Orphans,
        book: &mut PaymentBook,
        pay: &Pay,
    ) -> Result<Option<Paid>, Damage> {
        if self.record.is_empty() {
            return Ok(deleted_pays(book, pay));
        }
        let facts = self.facts()?;
        if self.keys.is_none() || facts.tenant.as_deref() != Some(pay.tenant.as_str()) {
            return Ok(None);
        }
        let is_same = book.version == pay.expected && group(&facts, "user_") == pay.group_before;
        if !is_same || book.is_newer_than(pay) {
            return Ok(Some(Paid::Changed));
        }
        let (short, overrun) = self.with(|account| account.adjust(now, orphans, book, pay))?;
        if let Some(group) = &pay.group {
            self.regroup(now, group)?;
        }
        book.note(pay, short, overrun);
        let left = self.facts()?.left;
        Ok(Some(Paid::Done { left, short }))
    }

    /// Deletes a person's account. Until then the books keep what stops it from beginning anew with more than it had.
    pub fn erase(&mut self, until: Millis) -> Result<Erased, Damage> {
        // Requests in flight and leases meet no account when they are settled: what they hold counts as spent.
        let free = self.with(|account| account.free())?;
        let books = std::mem::take(&mut self.books);
        let (identities, apple) = (books.identities(), books.apple().cloned());
        self.books = books.erased(free, until);
        self.record = String::new();
        // The ledger is gone with the account.
        self.postings.clear();
        let keys = self.keys.take().unwrap_or_default();
        Ok(Erased {
            keys: keys.into_values().collect(),
            identities,
            apple,
        })
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
            key: None,
            created: Millis(0),
        }
    }

    fn groups() -> Groups {
        let window = |requests| Limits {
            window: Some(Window {
                requests,
                span: Millis(60_000),
            }),
            ..Limits::default()
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
