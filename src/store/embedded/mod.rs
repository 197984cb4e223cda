//! The embedded engine: accounts in a directory on disk, for one process.
//!
//! Every verb runs the pure rule of `rules::entry` on the stored value in one atomic step, and must never
//! decide anything itself. Acknowledged changes survive kill -9. Changes that add to or end an account are
//! flushed to disk before they are acknowledged.

mod answers;
mod catch_panic;
pub(super) mod copying;
mod counters;
mod database;
mod directory;
mod disk;
mod disk_space;
mod journal;
mod ledger;
mod lists;
pub mod maintenance;
mod people;

use super::followers::Followers;
use super::name::{
    self, AccountName, AnswerKey, KeyName, KeyNames, LogName, TenantText, TicketName,
};
use super::stored::Stored;
use super::{
    AccountSettings, Agreement, AnswerCache, Configs, Counted, Durability, Follower, Found,
    FoundAnswer, KeyAdmission, Ledger, LedgerPage, Mint, NewAnswer, Outcome, Put, Shelf,
    StoreError, Tickets, UsageLog,
};
use crate::rules::account::{
    Admit, Ask, Claim, Credit, Credited, Grant, Orphans, Report, Reported, Settlement,
};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::date::rfc3339;
use crate::rules::entry::{self, Amend, Caller, EntryAdmission, Groups, Standing};
use crate::rules::issued_key::KeyId;
use crate::rules::lru::Item;
use crate::rules::posting::Statement;
use crate::rules::record::{self, Damage, Target};
use crate::rules::tenant::TenantId;
use crate::rules::window::Window;
use crate::telemetry::counter::Histogram;
use answers::AnswerFiles;
use async_trait::async_trait;
use counters::Counters;
pub(crate) use database::IN_USE;
use disk::{ChangeKind, Disk, Next};
use ledger::Ledgers;
use lists::InMemory;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque, hash_map};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

pub struct Embedded {
    disk: Arc<Disk>,
    answers: Arc<AnswerFiles>,
    keeping: AccountSettings,
    flusher: Mutex<Option<JoinHandle<()>>>,
    followers: Followers,
    /// Event counters. A restart resets them: they only slow unauthenticated clients down.
    counters: Mutex<Counters>,
    /// The usage logs' blocks, by the name of the log.
    logs: Mutex<HashMap<String, Log>>,
    ledgers: Ledgers,
    lists: InMemory,
}

/// Blocks of a usage log; each has the number of its first record.
struct Log {
    next: u64,
    blocks: VecDeque<u64>,
}

impl Embedded {
    /// Opens the directory, applies the journal and starts the flusher thread.
    pub fn open(dir: &Path, keeping: AccountSettings) -> Result<Embedded, String> {
        let disk = Arc::new(Disk::open(dir)?);
        let answers = Arc::new(AnswerFiles::open(dir, keeping.clock.now()));
        let (flushing, clock) = (disk.clone(), keeping.clock.clone());
        let flusher = std::thread::Builder::new()
            .name("flusher".to_owned())
            .spawn(move || flushing.flush_until_stopped(|| clock.now()))
            .map_err(|error| format!("cannot start the flusher: {error}"))?;
        let ledgers = Ledgers {
            disk: disk.clone(),
            clock: keeping.clock.clone(),
            whole_for: keeping.whole_postings,
            folding: Mutex::default(),
        };
        // No other process can change a config, so this one can report every change.
        let followers = Followers::default();
        followers.following(true);
        Ok(Embedded {
            disk,
            answers,
            keeping,
            flusher: Mutex::new(Some(flusher)),
            followers,
            counters: Mutex::default(),
            logs: Mutex::default(),
            ledgers,
            lists: InMemory::default(),
        })
    }

    /// Returns the name that copies of the store have given an account since. `None`: none.
    fn moved(&self, account: &AccountName) -> Outcome<Option<AccountName>> {
        let mut at = account.clone();
        for _ in 0..name::MAX_MOVES {
            let next = match self.disk.read(at.as_str())? {
                None => self.keeping.key_names.hashed_of(&at),
                Some(stored) => AccountName::of_target(&stored.text),
            };
            // Identities and keys lead to people too, but not because a copy has moved an account.
            match next.filter(|next| !at.is_person() && !next.is_person()) {
                Some(next) => at = next,
                None => break,
            }
        }
        Ok((at != *account).then_some(at))
    }

    /// Runs one step of a rule on one account. `None`: the account does not exist.
    fn on_account<T>(
        &self,
        account: &AccountName,
        kind: ChangeKind,
        step: impl FnOnce(&mut entry::Entry, Millis, Orphans) -> Result<T, Damage>,
    ) -> Outcome<Option<(T, u64)>> {
        let mut step = Some(step);
        let (mut outcome, mut sequence) = self.on_name(account, kind, &mut step)?;
        if outcome.is_none()
            && let Some(moved) = self.moved(account)?
        {
            (outcome, sequence) = self.on_name(&moved, kind, &mut step)?;
        }
        Ok(outcome.map(|outcome| (outcome, sequence)))
    }

    /// Runs the step, which is then taken, if there is an account of this very name.
    fn on_name<T>(
        &self,
        account: &AccountName,
        kind: ChangeKind,
        step: &mut Option<impl FnOnce(&mut entry::Entry, Millis, Orphans) -> Result<T, Damage>>,
    ) -> Outcome<(Option<T>, u64)> {
        let now = self.keeping.clock.now();
        let mut postings = 0;
        let changed = self.disk.change(account.as_str(), kind, |found| {
            let found =
                found.filter(|stored| is_account(stored, now) && name::is_record(&stored.text));
            let Some((stored, step)) = found.zip(step.take_if(|_| found.is_some())) else {
                return Ok((None, Next::Keep));
            };
            let mut entry = entry_of(account, stored);
            let outcome = step(&mut entry, now, self.keeping.orphans)
                .map_err(|damage| StoreError::damaged(account, damage))?;
            let after = Stored {
                text: entry.record,
                books: entry.books,
                keys: entry.keys.unwrap_or_default(),
                ..stored.clone()
            };
            postings = stored.postings + entry.postings.len() as u64;
            let after = Stored {
                expires: entry.expires.unwrap_or(stored.expires),
                ..after
            };
            let next = ledger::change(account, stored, after, &entry.postings);
            Ok((Some(outcome), next))
        })?;
        self.ledgers.fold_if_long(account, postings);
        Ok(changed)
    }

    /// Runs a step like [`Embedded::on_account`], and waits until its change is flushed.
    async fn on_account_flushed<T: Send>(
        &self,
        account: &AccountName,
        step: impl FnOnce(&mut entry::Entry, Millis, Orphans) -> Result<T, Damage> + Send,
    ) -> Outcome<Option<T>> {
        match self.on_account(account, ChangeKind::Begins, step)? {
            None => Ok(None),
            Some((outcome, sequence)) => {
                self.disk.durable(sequence).await?;
                Ok(Some(outcome))
            }
        }
    }

    /// Returns the number of a new block of records, and the blocks to delete because the log has too many.
    fn next_block(&self, log: &str, records: usize) -> Outcome<(u64, Vec<u64>)> {
        let most = self.keeping.bounds(log).records;
        let mut logs = self.logs.lock();
        let log = match logs.entry(log.to_owned()) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => entry.insert(self.open_log(log)?),
        };
        let number = log.next;
        log.next += records as u64;
        log.blocks.push_back(number);
        let oldest = log.next.saturating_sub(most);
        let mut gone = Vec::new();
        // A block is kept until its last record is too old.
        while log.blocks.get(1).is_some_and(|second| *second <= oldest) {
            gone.extend(log.blocks.pop_front());
        }
        Ok((number, gone))
    }

    fn forget_block(&self, name: &str) {
        let parts = name.rsplit_once(':');
        let number = parts.and_then(|(log, number)| Some((log, number.parse::<u64>().ok()?)));
        if let Some((log, number)) = number
            && let Some(log) = self.logs.lock().get_mut(log)
        {
            log.blocks.retain(|block| *block != number);
        }
    }

    fn open_log(&self, log: &str) -> Outcome<Log> {
        let prefix = format!("{log}:");
        let number = |name: &String| name.strip_prefix(&prefix)?.parse::<u64>().ok();
        let blocks: VecDeque<u64> = self
            .disk
            .names(&prefix)?
            .iter()
            .filter_map(number)
            .collect();
        let newest = self.disk.newest(&prefix, 1)?;
        let records = newest
            .first()
            .map_or(0, |(_, block)| block.text.lines().count() as u64);
        let next = blocks.back().map_or(0, |first| first + records);
        Ok(Log { next, blocks })
    }

    /// Returns the account that a key stands for and its record, if both exist.
    fn resolve(&self, key: &KeyName) -> Outcome<Option<(AccountName, Arc<Stored>)>> {
        let now = self.keeping.clock.now();
        let live = |account: &AccountName| -> Outcome<Option<Arc<Stored>>> {
            Ok(self
                .disk
                .read(account.as_str())?
                .filter(|stored| !stored.expired(now)))
        };
        let mut found = None;
        for name in self.keeping.key_names.candidates(key) {
            found = live(&name)?.map(|stored| (name, stored));
            if found.is_some() {
                break;
            }
        }
        let Some((account, stored)) = found else {
            return Ok(None);
        };
        let Target::Account(name) = record::target(&stored.text) else {
            return Ok(Some((account, stored)));
        };
        let Some(account) = AccountName::parse(&name) else {
            return Ok(None);
        };
        let stored = live(&account)?.filter(|stored| is_account(stored, now));
        Ok(stored.map(|stored| (account, stored)))
    }

    /// Returns an account as it stands. `spent_by`: the key whose spending is asked for.
    fn found(
        &self,
        account: AccountName,
        stored: &Stored,
        groups: &Groups,
        spent_by: Option<KeyId>,
        standing: impl FnOnce(&entry::Entry, Millis) -> Result<Option<Standing>, Damage>,
    ) -> Outcome<Option<Found>> {
        let now = self.keeping.clock.now();
        let damaged = |damage| StoreError::damaged(&account, damage);
        let entry = entry_of(&account, stored);
        let Some(standing) = standing(&entry, now).map_err(damaged)? else {
            return Ok(None);
        };
        let limits = groups.limits(&standing.group);
        let look = entry
            .look(now, self.keeping.orphans, limits)
            .map_err(damaged)?;
        let expires = match &standing.issued {
            Some(issued) => issued.expires,
            None => stored.expires,
        };
        let spent = spent_by.map(|key| entry.books.spent_by(key));
        Ok(Some(Found {
            account,
            standing,
            look,
            carry: entry.books.pending_carry().cloned(),
            spent: spent.unwrap_or_default(),
            life: expires.map(|expires| expires.minus(now)),
            record: entry.record,
        }))
    }

    /// Writes a ticket, unless one of that name is there.
    fn place_ticket(&self, ticket: &TicketName, text: &str, life: Millis) -> Outcome<(bool, u64)> {
        let now = self.keeping.clock.now();
        self.disk
            .change(ticket.as_str(), ChangeKind::Begins, |found| {
                if found.is_some_and(|stored| !stored.expired(now)) {
                    return Ok((false, Next::Keep));
                }
                let stored = Stored {
                    expires: Some(now.plus(life)),
                    ..Stored::text(text)
                };
                Ok((true, Next::set(stored)))
            })
    }

    /// Runs `step`, which waits for the disk, on a thread where no request waits behind it.
    async fn on_answers<T: Send + 'static>(
        &self,
        step: impl FnOnce(&AnswerFiles) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let answers = self.answers.clone();
        tokio::task::spawn_blocking(move || step(&answers))
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    fn write_text(
        &self,
        name: &str,
        step: impl FnOnce(Option<&str>) -> Option<Option<String>>,
    ) -> Outcome<(bool, u64)> {
        self.disk.change(name, ChangeKind::Begins, |found| {
            Ok(match step(found.map(|stored| stored.text.as_str())) {
                None => (false, Next::Keep),
                Some(None) => (true, Next::Remove),
                Some(Some(text)) => (true, Next::set(Stored::text(&text))),
            })
        })
    }
}

/// Whether a usage record is of a moment before `oldest`. A record without a time is kept.
fn is_before(record: &str, oldest: &str) -> bool {
    let record: Result<serde_json::Value, _> = serde_json::from_str(record);
    record.is_ok_and(|record| {
        let time = record.get("time").and_then(serde_json::Value::as_str);
        time.is_some_and(|time| time < oldest)
    })
}

/// Whether there is an account, and not what remains of a deleted one.
fn is_account(stored: &Stored, now: Millis) -> bool {
    !stored.expired(now) && !stored.text.is_empty()
}

fn entry_of(account: &AccountName, stored: &Stored) -> entry::Entry {
    entry::Entry {
        record: stored.text.clone(),
        books: stored.books.clone(),
        keys: account.is_person().then(|| stored.keys.clone()),
        postings: Vec::new(),
        expires: None,
    }
}

#[async_trait]
impl Ledger for Embedded {
    async fn mint(&self, mint: &Mint) -> Outcome<bool> {
        let now = self.keeping.clock.now();
        let expires = mint.life.map(|life| now.plus(life));
        let place = |name: &AccountName, text: &str| {
            self.disk
                .change(name.as_str(), ChangeKind::Begins, |found| {
                    Ok(match found {
                        Some(_) => (false, Next::Keep),
                        None => (
                            true,
                            Next::set(Stored {
                                expires,
                                ..Stored::text(text)
                            }),
                        ),
                    })
                })
        };
        let names = &self.keeping.key_names;
        let (placed, sequence) = match &mint.user {
            None => place(&names.of(&mint.key), &mint.record)?,
            Some(user) => {
                let Some(account) = AccountName::user(user) else {
                    return Ok(false);
                };
                match place(&account, &mint.record)? {
                    (true, _) => place(&names.of(&mint.key), user)?,
                    taken => taken,
                }
            }
        };
        self.disk.durable(sequence).await?;
        Ok(placed)
    }

    async fn find(
        &self,
        key: &KeyName,
        tenant: &TenantId,
        groups: &Groups,
    ) -> Outcome<Option<Found>> {
        let Some((account, stored)) = self.resolve(key)? else {
            return Ok(None);
        };
        let spent_by = Some(key.id());
        self.found(account, &stored, groups, spent_by, |entry, now| {
            entry.standing(now, tenant.as_str(), key.as_str())
        })
    }

    async fn find_account(
        &self,
        account: &AccountName,
        tenant: &TenantId,
        groups: &Groups,
    ) -> Outcome<Option<Found>> {
        let now = self.keeping.clock.now();
        let account = self.moved(account)?.unwrap_or_else(|| account.clone());
        let stored = self.disk.read(account.as_str())?;
        let stored =
            stored.filter(|stored| is_account(stored, now) && name::is_record(&stored.text));
        let Some(stored) = stored else {
            return Ok(None);
        };
        self.found(account, &stored, groups, None, |entry, _| {
            entry.standing_of_account(tenant.as_str())
        })
    }

    async fn claims(&self, account: &AccountName) -> Outcome<Vec<Claim>> {
        let stored = self.disk.read(account.as_str())?;
        Ok(stored
            .map(|stored| stored.books.claims())
            .unwrap_or_default())
    }

    async fn admit(
        &self,
        key: &KeyName,
        caller: Caller<'_>,
        ask: &Admit<'_>,
    ) -> Outcome<KeyAdmission> {
        let Some((account, _)) = self.resolve(key)? else {
            return Ok(KeyAdmission::Unknown);
        };
        let admitted = self.on_account(&account, ChangeKind::Begins, |entry, now, orphans| {
            entry.admit(now, orphans, caller, ask)
        })?;
        let Some((known @ EntryAdmission::Known { .. }, sequence)) = admitted else {
            return Ok(KeyAdmission::Unknown);
        };
        // Under `Orphans::Known` a hold that is lost with the machine is charged what is known of it:
        // nothing.
        if self.keeping.orphans == Orphans::Spend {
            self.disk.durable(sequence).await?;
        }
        Ok(match known {
            EntryAdmission::Unknown => KeyAdmission::Unknown,
            EntryAdmission::Known {
                standing,
                carry,
                admission,
            } => KeyAdmission::Known {
                account,
                standing,
                carry,
                // No other program writes into a directory.
                is_new: false,
                admission,
            },
        })
    }

    async fn renew(
        &self,
        account: &AccountName,
        id: &str,
        known: Tokens,
        ttl: Millis,
    ) -> Outcome<bool> {
        let renewed = self.on_account(account, ChangeKind::Ends, |entry, now, orphans| {
            entry.renew(now, orphans, id, known, ttl)
        })?;
        Ok(renewed.is_some_and(|(renewed, _)| renewed))
    }

    async fn settle(
        &self,
        account: &AccountName,
        id: &str,
        used: Tokens,
        retry: bool,
        note: &str,
    ) -> Outcome<Option<Settlement>> {
        let settled = self.on_account(account, ChangeKind::Ends, |entry, now, orphans| {
            entry.settle(now, orphans, id, used, retry, note)
        })?;
        Ok(settled.map(|(settlement, _)| settlement))
    }

    async fn resettle(
        &self,
        account: &AccountName,
        id: &str,
        used: Tokens,
        note: &str,
    ) -> Outcome<Option<Settlement>> {
        let settled = self.on_account(account, ChangeKind::Ends, |entry, now, orphans| {
            entry.resettle(now, orphans, id, used, note)
        })?;
        Ok(settled.map(|(settlement, _)| settlement))
    }

    async fn release(&self, key: &KeyName, id: &str) -> Outcome<()> {
        match self.resolve(key)? {
            Some((account, _)) => self
                .settle(&account, id, Tokens::ZERO, true, "")
                .await
                .map(|_| ()),
            None => Ok(()),
        }
    }

    async fn lease(&self, account: &AccountName, ask: &Ask<'_>) -> Outcome<Option<Grant>> {
        let lease = |kind, ask: &Ask<'_>| {
            self.on_account(account, kind, |entry, now, orphans| {
                entry.lease(now, orphans, ask)
            })
        };
        let granted = match lease(ChangeKind::Begins, ask) {
            // Grants nothing, but answers: the instance sends its report of spending only after this reply.
            Err(StoreError::Full) => {
                let (tokens, slots) = (Tokens::ZERO, 0);
                let nothing = Ask {
                    tokens,
                    slots,
                    ..ask.clone()
                };
                lease(ChangeKind::Ends, &nothing)?
            }
            granted => granted?,
        };
        if let Some((_, sequence)) = granted
            && self.keeping.orphans == Orphans::Spend
        {
            self.disk.durable(sequence).await?;
        }
        Ok(granted.map(|(grant, _)| grant))
    }

    async fn report(
        &self,
        account: &AccountName,
        report: &Report<'_>,
    ) -> Outcome<Option<Reported>> {
        let reported = self.on_account(account, ChangeKind::Ends, |entry, now, orphans| {
            entry.report(now, orphans, report)
        })?;
        Ok(reported.map(|(reported, _)| reported))
    }

    async fn credit(
        &self,
        account: &AccountName,
        credit: &Credit<'_>,
    ) -> Outcome<Option<Credited>> {
        self.on_account_flushed(account, |entry, now, orphans| {
            entry.credit(now, orphans, credit)
        })
        .await
    }

    async fn statement(
        &self,
        account: &AccountName,
        groups: &Groups,
        key: &str,
        page: LedgerPage,
    ) -> Outcome<Option<Statement>> {
        let moved = self.moved(account)?;
        let account = moved.as_ref().unwrap_or(account);
        let state = self.on_account(account, ChangeKind::Ends, |entry, now, orphans| {
            let left = entry.bring_up_to_date(now, orphans, groups, key)?;
            Ok((left, entry.books.tally()))
        })?;
        match state {
            None => Ok(None),
            Some((state, _)) => self.ledgers.page(account, state, page).await.map(Some),
        }
    }

    async fn amend(&self, account: &AccountName, amend: &Amend<'_>) -> Outcome<Option<Credited>> {
        let step = |entry: &mut entry::Entry, now, orphans| {
            let credited = entry.amend(now, orphans, amend)?;
            Ok((credited, entry.expires))
        };
        let Some((credited, expires)) = self.on_account_flushed(account, step).await? else {
            return Ok(None);
        };
        if let Some(expires) = expires {
            let moved = self.moved(account)?;
            let account = moved.as_ref().unwrap_or(account);
            self.ledgers.keep_until(account, expires)?;
        }
        Ok(Some(credited))
    }

    async fn regroup(&self, account: &AccountName, group: &str) -> Outcome<bool> {
        let moved = self
            .on_account_flushed(account, |entry, now, _| entry.regroup(now, group))
            .await?;
        Ok(moved.is_some())
    }

    async fn revoke(&self, key: &KeyName) -> Outcome<bool> {
        let now = self.keeping.clock.now();
        let mut revoked = false;
        for name in self.keeping.key_names.candidates(key) {
            let (found, sequence) =
                self.disk
                    .change(name.as_str(), ChangeKind::Begins, |found| {
                        let lives = found.is_some_and(|stored| !stored.expired(now));
                        Ok((lives, Next::Remove))
                    })?;
            self.disk.durable(sequence).await?;
            if found {
                self.ledgers.remove(&name).await?;
            }
            revoked |= found;
        }
        Ok(revoked)
    }

    async fn count(&self, what: &str, bounds: &[(&str, Window)]) -> Outcome<Counted> {
        let now = self.keeping.clock.now();
        let mut counters = self.counters.lock();
        Ok(counters.count(what, bounds, now))
    }

    fn key_names(&self) -> &KeyNames {
        &self.keeping.key_names
    }

    async fn agree_on_secret(&self, id: Option<&str>) -> Outcome<Agreement> {
        let mut agreement = Agreement::Agreed;
        let (_, sequence) = self.write_text(name::SECRET, |noted| {
            agreement = Agreement::of(noted, id);
            let id = id.filter(|_| noted.is_none())?;
            Some(Some(id.to_owned()))
        })?;
        self.disk.durable(sequence).await?;
        Ok(agreement)
    }

    fn generation(&self) -> Option<u64> {
        None
    }
}

#[async_trait]
impl Configs for Embedded {
    async fn config(&self, tenant: &TenantId) -> Outcome<Option<Arc<str>>> {
        let stored = self.disk.read(&name::config(tenant))?;
        Ok(stored.map(|stored| Arc::from(stored.text.as_str())))
    }

    async fn seed_config(&self, tenant: &TenantId, text: &str) -> Outcome<bool> {
        let (written, sequence) = self.write_text(&name::config(tenant), |found| {
            found.is_none().then(|| Some(text.to_owned()))
        })?;
        self.disk.durable(sequence).await?;
        if written {
            self.followers.changed(tenant.as_str());
        }
        Ok(written)
    }

    async fn replace_config(
        &self,
        tenant: &TenantId,
        expected: Option<&str>,
        text: &str,
    ) -> Outcome<Put> {
        let (written, sequence) = self.write_text(&name::config(tenant), |found| {
            (expected.is_none() || expected == found).then(|| Some(text.to_owned()))
        })?;
        if !written {
            return Ok(Put::Changed);
        }
        self.disk.durable(sequence).await?;
        self.followers.changed(tenant.as_str());
        Ok(Put::Done)
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Outcome<bool> {
        // First, so that a tenant whose config is gone has no answers left, whatever is killed when.
        self.forget_answers(tenant).await?;
        let remove = |name: String| self.write_text(&name, |found| found.map(|_| None));
        for text in TenantText::ALL {
            remove(text.name(tenant))?;
        }
        let (deleted, mut sequence) = remove(name::config(tenant))?;
        // A change that was under way may have written one meanwhile, which the next tenant of that ID must not find.
        for text in TenantText::ALL {
            (_, sequence) = remove(text.name(tenant))?;
        }
        self.disk.durable(sequence).await?;
        self.followers.changed(tenant.as_str());
        Ok(deleted)
    }

    async fn tenants(&self) -> Outcome<Vec<TenantId>> {
        let names = self.disk.names("tenant:")?;
        Ok(names
            .iter()
            .filter_map(|name| TenantId::parse(name::tenant_of_config(name)?))
            .collect())
    }

    async fn tenant_text(&self, tenant: &TenantId, which: TenantText) -> Outcome<Option<String>> {
        let stored = self.disk.read(&which.name(tenant))?;
        Ok(stored.map(|stored| stored.text.clone()))
    }

    async fn replace_tenant_text(
        &self,
        tenant: &TenantId,
        which: TenantText,
        expected: Option<&str>,
        text: &str,
    ) -> Outcome<Put> {
        let (written, sequence) = self.write_text(&which.name(tenant), |found| {
            (expected == found).then(|| Some(text.to_owned()))
        })?;
        if !written {
            return Ok(Put::Changed);
        }
        self.disk.durable(sequence).await?;
        Ok(Put::Done)
    }

    fn follow(&self, follower: Arc<dyn Follower>) {
        self.followers.add(follower);
    }
}

#[async_trait]
impl UsageLog for Embedded {
    async fn record(&self, log: &LogName, records: &[String]) -> Outcome<()> {
        let log = log.as_str();
        let age = self.keeping.bounds(log).age;
        let expires = Some(self.keeping.clock.now().plus(age));
        let (number, gone) = self.next_block(log, records.len())?;
        let block = Stored {
            expires,
            ..Stored::text(&records.join("\n"))
        };
        self.disk.append(&name::usage_block(log, number), &block)?;
        for old in gone {
            self.disk.put_aside(&name::usage_block(log, old), None)?;
        }
        Ok(())
    }

    async fn recorded(&self, log: &LogName, since: Millis, most: usize) -> Outcome<Vec<String>> {
        let log = log.as_str();
        // `record` does not wait for the flush, and `newest` reads only flushed blocks.
        self.disk.durable(self.disk.sequence()).await?;
        let since = since.plus(self.keeping.bounds(log).age);
        let newest = self.disk.newest(&format!("{log}:"), most)?;
        let recent = newest
            .iter()
            .take_while(|(_, block)| block.expires >= Some(since))
            .flat_map(|(_, block)| block.text.lines().rev());
        Ok(recent.take(most).map(str::to_owned).collect())
    }

    async fn purge(&self) -> Outcome<u64> {
        self.disk.durable(self.disk.sequence()).await?;
        let now = self.keeping.clock.now();
        let mut removed = 0;
        for block in self.disk.names("usage:")? {
            let age = self.keeping.bounds(name::log_of_block(&block)).age;
            let oldest = rfc3339(now.minus(age));
            let Some(stored) = self.disk.read(&block)? else {
                continue;
            };
            // The newest record stands last. A block that was written under a longer age ends later than its records may.
            if stored
                .text
                .lines()
                .next_back()
                .is_some_and(|record| is_before(record, &oldest))
            {
                removed += stored.text.lines().count() as u64;
                self.disk.put_aside(&block, None)?;
                self.forget_block(&block);
            }
        }
        self.disk.durable(self.disk.sequence()).await?;
        // Nobody may ask for answers any more, and then no other verb deletes what has expired.
        self.on_answers(move |answers| answers.sweep(now)).await?;
        Ok(removed)
    }
}

#[async_trait]
impl Tickets for Embedded {
    async fn issue(&self, ticket: &TicketName, text: &str, life: Millis) -> Outcome<bool> {
        let (issued, _) = self.place_ticket(ticket, text, life)?;
        Ok(issued)
    }

    async fn redeem(&self, ticket: &TicketName) -> Outcome<Option<String>> {
        let now = self.keeping.clock.now();
        let (text, sequence) = self
            .disk
            .change(ticket.as_str(), ChangeKind::Ends, |found| {
                let Some(stored) = found else {
                    return Ok((None, Next::Keep));
                };
                let text = (!stored.expired(now)).then(|| stored.text.clone());
                Ok((text, Next::Remove))
            })?;
        // After a loss of power it must not be there again.
        self.disk.durable(sequence).await?;
        Ok(text)
    }
}

#[async_trait]
impl AnswerCache for Embedded {
    async fn find_answer(&self, tenant: &TenantId, key: &AnswerKey) -> Outcome<FoundAnswer> {
        let (file, number) = self.answers.find(tenant, key, self.keeping.clock.now())?;
        let answer = match file {
            Some(file) => {
                self.on_answers(move |answers| Ok(answers.read(&file)))
                    .await?
            }
            None => None,
        };
        Ok(FoundAnswer {
            answer,
            shelf: Shelf(number.to_string()),
        })
    }

    async fn keep_answer(
        &self,
        tenant: &TenantId,
        key: &AnswerKey,
        answer: &NewAnswer<'_>,
    ) -> Outcome<bool> {
        if answer.size() > answer.most_bytes {
            return Ok(false);
        }
        let (tenant, key, now) = (tenant.clone(), *key, self.keeping.clock.now());
        let item = Item {
            bytes: answer.size(),
            expires: now.plus(answer.life),
            owner: answer.owner.to_owned(),
            value: answer.bytes.clone(),
        };
        // A name that is no number is of no shelf.
        let shelf = answer
            .shelf
            .as_ref()
            .map(|shelf| shelf.0.parse().unwrap_or(0));
        let bounds = (answer.most_bytes, shelf);
        self.on_answers(move |answers| answers.keep(&tenant, key, item, bounds, now))
            .await
    }

    async fn forget_answers_of(&self, tenant: &TenantId, owner: &str) -> Outcome<u64> {
        let (tenant, owner, now) = (tenant.clone(), owner.to_owned(), self.keeping.clock.now());
        self.on_answers(move |answers| answers.forget_of(&tenant, &owner, now))
            .await
    }

    async fn forget_answers(&self, tenant: &TenantId) -> Outcome<u64> {
        let (tenant, now) = (tenant.clone(), self.keeping.clock.now());
        self.on_answers(move |answers| answers.forget(&tenant, now))
            .await
    }
}

#[async_trait]
impl Durability for Embedded {
    async fn flush(&self) -> Outcome<()> {
        self.disk.durable(self.disk.sequence()).await
    }

    async fn ready(&self) -> Outcome<()> {
        self.disk.ready()
    }

    fn is_up(&self) -> bool {
        self.disk.ready().is_ok()
    }

    fn durations(&self) -> Option<&Histogram> {
        Some(&self.disk.durations)
    }

    async fn close(&self) {
        self.answers.close();
        let flusher = self.flusher.lock().take();
        if let Some(flusher) = flusher {
            self.disk.stop();
            let ended = tokio::task::spawn_blocking(move || flusher.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                log::error!(
                    "The embedded store's flush thread panicked: unflushed changes stay in its journal, and the next start applies them"
                );
            }
            self.disk.release();
        }
    }
}

impl Drop for Embedded {
    /// Stops and joins the flusher if [`Durability::close`] was not called. The journal has every acknowledged
    /// change.
    fn drop(&mut self) {
        self.disk.stop();
        let flusher = self.flusher.lock().take();
        if let Some(flusher) = flusher
            && flusher.join().is_err()
        {
            log::error!(
                "The embedded store's flush thread panicked: unflushed changes stay in its journal, and the next start applies them"
            );
        }
    }
}
