//! The Redis engine: single server, Sentinel or Cluster, shared by any number of instances.
//!
//! Every verb is one Lua script on one slot, which repeats the pure rule. This file only encodes the
//! arguments of scripts and parses their replies. It must never decide anything itself.

mod answers;
mod book_rows;
mod breaker;
pub(super) mod copying;
mod dial;
mod directory;
mod fleet;
mod key_row;
mod node;
mod people;
mod purchases;
mod script;
mod slot;
mod statement;
mod tracking;
mod version;

use super::followers::Followers;
use super::name::{self, AccountName, KeyName, KeyNames, LogName, TenantText, TicketName};
use super::{
    AccountSettings, Agreement, AnswerCache, Clock, Configs, Counted, Durability, Follower, Found,
    KeyAdmission, Ledger, LedgerPage, Mint, Outcome, Put, StoreError, Tickets, UsageLog,
};
use crate::rules::account::{
    Admit, Ask, Claim, Credit, Credited, Grant, Look, Orphans, Report, Reported, Settlement,
    Verdict,
};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::carry::Carry;
use crate::rules::entry::{Amend, Caller, Groups, Standing};
use crate::rules::issued_key::IssuedKey;
use crate::rules::posting::{Posting, Statement};
use crate::rules::record::{self, Damage};
use crate::rules::tenant::TenantId;
use crate::rules::window::{Pace, Window};
use crate::settings::{Redis as Target, RedisKind};
use crate::telemetry::counter::{Histogram, STORE_WORK};
use async_trait::async_trait;
use dial::{Dial, Purpose};
use fleet::Fleet;
use node::CommandFailure;
use redis::{Cmd, FromRedisValue, from_redis_value};
use script::Script;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::OnceCell;

pub struct Redis {
    is_cluster: bool,
    fleet: Fleet,
    target: Target,
    /// Connections that cached answers go over, from the first one on.
    answers: OnceCell<Fleet>,
    keeping: AccountSettings,
    generation: Arc<AtomicU64>,
    durations: Histogram,
    followers: Arc<Followers>,
    scripts: Scripts,
}

struct Scripts {
    admit: Script,
    renew: Script,
    settle: Script,
    resettle: Script,
    lease: Script,
    report: Script,
    credit: Script,
    find: Script,
    regroup: Script,
    amend: Script,
    count: Script,
    replace: Script,
    record: Script,
    join: Script,
    keys: Script,
    drop_key: Script,
    take: Script,
    receive: Script,
    erase: Script,
    unlead: Script,
    identities: Script,
    announce: Script,
    enter: Script,
    rename: Script,
    purge: Script,
    pay: Script,
    statement: Script,
    hash_entries: Script,
    find_answer: Script,
    keep_answer: Script,
    forget_answers_of: Script,
    forget_answers: Script,
}

/// Returns a script of the answer cache, with the prelude of these.
macro_rules! answer_script {
    ($verb:literal) => {
        Script::new(concat!(
            include_str!("scripts/answers.lua"),
            include_str!(concat!("scripts/", $verb, ".lua"))
        ))
    };
}

impl Scripts {
    fn new() -> Scripts {
        Scripts {
            admit: Script::new(include_str!("scripts/admit.lua")),
            renew: Script::new(include_str!("scripts/renew.lua")),
            settle: Script::new(include_str!("scripts/settle.lua")),
            resettle: Script::new(include_str!("scripts/resettle.lua")),
            lease: Script::new(include_str!("scripts/lease.lua")),
            report: Script::new(include_str!("scripts/report.lua")),
            credit: Script::new(include_str!("scripts/credit.lua")),
            find: Script::new(include_str!("scripts/find.lua")),
            regroup: Script::new(include_str!("scripts/regroup.lua")),
            amend: Script::new(include_str!("scripts/amend.lua")),
            count: Script::new(include_str!("scripts/count.lua")),
            replace: Script::new(include_str!("scripts/replace.lua")),
            record: Script::new(include_str!("scripts/record.lua")),
            join: Script::with_payments(include_str!("scripts/join.lua")),
            keys: Script::new(include_str!("scripts/keys.lua")),
            drop_key: Script::new(include_str!("scripts/drop_key.lua")),
            take: Script::new(include_str!("scripts/take.lua")),
            receive: Script::new(include_str!("scripts/receive.lua")),
            erase: Script::with_payments(include_str!("scripts/erase.lua")),
            pay: Script::with_payments(include_str!("scripts/pay.lua")),
            statement: Script::new(include_str!("scripts/statement.lua")),
            unlead: Script::new(include_str!("scripts/unlead.lua")),
            identities: Script::new(include_str!("scripts/identities.lua")),
            announce: Script::new(include_str!("scripts/announce.lua")),
            enter: Script::new(include_str!("scripts/enter.lua")),
            purge: Script::new(include_str!("scripts/purge.lua")),
            rename: Script::new(include_str!("scripts/rename.lua")),
            hash_entries: Script::new(include_str!("scripts/hash_entries.lua")),
            find_answer: answer_script!("find_answer"),
            keep_answer: answer_script!("keep_answer"),
            forget_answers_of: answer_script!("forget_answers_of"),
            forget_answers: answer_script!("forget_answers"),
        }
    }
}

/// Words of a script's reply, parsed one by one.
struct Words(std::vec::IntoIter<String>);

impl Words {
    fn word(&mut self) -> Outcome<String> {
        let none = || StoreError::Unknown("a script answered with too few words".to_owned());
        self.0.next().ok_or_else(none)
    }

    fn number(&mut self) -> Outcome<u64> {
        let word = self.word()?;
        word.parse().map_err(|_| {
            StoreError::Unknown("a script answered something that is no number".to_owned())
        })
    }

    fn tokens(&mut self) -> Outcome<Tokens> {
        self.number().map(Tokens::new)
    }

    fn pace(&mut self) -> Outcome<Option<Pace>> {
        let limit = self.word()?;
        let (remaining, reset) = (self.number()?, Millis(self.number()?));
        Ok(limit.parse().ok().map(|limit| Pace {
            limit,
            remaining,
            reset,
        }))
    }

    /// Parses the balance that still arrives from another account.
    fn carry(&mut self) -> Outcome<Option<Carry>> {
        let from = self.word()?;
        let (most, received) = (self.tokens()?, self.tokens()?);
        Ok((!from.is_empty()).then_some(Carry {
            from,
            most,
            received,
            is_over: false,
        }))
    }

    /// Parses the account's label; an empty word is none.
    fn label(&mut self) -> Outcome<Option<String>> {
        Ok(Some(self.word()?).filter(|label| !label.is_empty()))
    }

    /// Parses rows of keys until the reply ends.
    fn rows(&mut self) -> Outcome<Vec<IssuedKey>> {
        self.0.by_ref().map(|row| key_row::parse(&row)).collect()
    }

    /// Parses the row of the key where it is one of a person's.
    fn issued(&mut self) -> Outcome<Option<Box<IssuedKey>>> {
        let row = self.word()?;
        match row.is_empty() {
            true => Ok(None),
            false => key_row::parse(&row).map(|key| Some(Box::new(key))),
        }
    }

    /// Parses the reply of `scripts/statement.lua`.
    fn statement(mut self, now: Millis, page: (Option<u64>, usize)) -> Outcome<Statement> {
        let left = self.tokens()?;
        let tally = statement::tally(&self.word()?, &self.word()?);
        let mut fields = Vec::new();
        for _ in 0..self.number()? / 2 {
            fields.push((self.word()?, self.word()?));
        }
        let sums = statement::sums(&fields);
        let whole = self.0.filter_map(|text| Posting::parse(&text)).collect();
        Ok(Statement::page((left, tally), whole, sums, now, page))
    }

    /// Parses the reply of `scripts/find.lua`.
    fn found(mut self, account: AccountName) -> Outcome<Found> {
        let (record, group) = (self.word()?, self.word()?);
        let life = self.word()?.parse().ok().map(Millis);
        let look = Look {
            left: self.tokens()?,
            free: self.tokens()?,
            overrun: self.tokens()?,
            pace: self.pace()?,
        };
        let (carry, issued, label) = (self.carry()?, self.issued()?, self.label()?);
        let spent = self.tokens()?;
        Ok(Found {
            account,
            record,
            standing: Standing {
                group,
                label,
                issued,
            },
            look,
            carry,
            spent,
            life,
        })
    }

    fn settlement(&mut self) -> Outcome<Settlement> {
        Ok(Settlement {
            charged: self.tokens()?,
            overrun: self.tokens()?,
            left: self.tokens()?,
        })
    }
}

/// Reply of a script that ran on an account's name.
enum Reply {
    Gone,
    /// What is stored under the name leads to this account.
    Elsewhere(AccountName),
    There {
        kind: String,
        words: Words,
    },
}

impl Reply {
    /// Parses the reply of `scripts/credit.lua` and `scripts/amend.lua`.
    fn credited(self) -> Outcome<Option<Credited>> {
        let Reply::There { kind, mut words } = self else {
            return Ok(None);
        };
        let left = words.tokens()?;
        Ok(Some(match kind.as_str() {
            "added" => Credited::Added { left },
            "repeated" => Credited::Repeated { left },
            _ => Credited::TooMuch {
                room: words.tokens()?,
            },
        }))
    }
}

impl Redis {
    pub async fn open(target: &Target, keeping: AccountSettings) -> Result<Redis, String> {
        let generation = Arc::default();
        let durations = Histogram::new(STORE_WORK);
        let fleet = Fleet::open(target, Purpose::Ledger, &generation, &durations).await?;
        let followers = Arc::new(Followers::default());
        // In a Cluster, tracking needs a connection to every server; configs are re-read there instead.
        if target.kind != RedisKind::Cluster
            && let Some(dial) = Dial::first(target)
        {
            tokio::spawn(tracking::track(dial, Arc::downgrade(&followers)));
        }
        Ok(Redis {
            is_cluster: target.kind == RedisKind::Cluster,
            fleet,
            target: target.clone(),
            answers: OnceCell::new(),
            keeping,
            generation,
            durations,
            followers,
            scripts: Scripts::new(),
        })
    }

    /// Returns the first arguments of every script: `now` (empty: the server's clock), `accounts.orphans` with
    /// `retention.postings` in ms.
    fn preamble(&self) -> [String; 2] {
        let now = match &self.keeping.clock {
            Clock::Store => String::new(),
            Clock::Fixed(now) => now.load(Ordering::SeqCst).to_string(),
        };
        let orphans = match self.keeping.orphans {
            Orphans::Known => "known",
            Orphans::Spend => "spend",
        };
        [now, format!("{orphans} {}", self.keeping.whole_postings.0)]
    }

    async fn run(
        &self,
        script: &Script,
        names: &[&str],
        words: &[String],
    ) -> Outcome<(String, Words)> {
        self.run_replicated(script, names, words, 0).await
    }

    /// Runs a script and waits until `replicas` replicas have its write.
    async fn run_replicated(
        &self,
        script: &Script,
        names: &[&str],
        words: &[String],
        replicas: u64,
    ) -> Outcome<(String, Words)> {
        let preamble = self.preamble();
        let words: Vec<&[u8]> = preamble.iter().chain(words).map(String::as_bytes).collect();
        let answer = script.run(&self.fleet, names, &words, replicas).await?;
        let mut words = Words(answer.into_iter());
        Ok((words.word()?, words))
    }

    async fn on_account(
        &self,
        script: &Script,
        account: &AccountName,
        words: &[String],
    ) -> Outcome<Reply> {
        self.on_account_replicated(script, account, words, 0).await
    }

    /// Runs a script on an account, under the name that copies of the store may have given it since.
    async fn on_account_replicated(
        &self,
        script: &Script,
        account: &AccountName,
        words: &[String],
        replicas: u64,
    ) -> Outcome<Reply> {
        let mut at = Cow::Borrowed(account);
        let mut reply = self.on_name(script, &at, words, replicas).await?;
        for _ in 0..name::MAX_MOVES {
            let next = match &reply {
                Reply::Gone => self.keeping.key_names.hashed_of(&at),
                Reply::Elsewhere(to) => Some(to.clone()),
                Reply::There { .. } => None,
            };
            // Identities and keys lead to people too, but not because a copy has moved an account.
            let next = next.filter(|next| !at.is_person() && !next.is_person());
            let Some(next) = next else {
                break;
            };
            at = Cow::Owned(next);
            reply = self.on_name(script, &at, words, replicas).await?;
        }
        Ok(reply)
    }

    async fn on_name(
        &self,
        script: &Script,
        account: &AccountName,
        words: &[String],
        replicas: u64,
    ) -> Outcome<Reply> {
        let payments = script.has_payments.then(|| account.payments());
        let (books, keys) = (account.books(), account.keys());
        let (postings, sums) = (account.postings(), account.sums());
        let names = [account.as_str(), &books, &keys, &postings, &sums].into_iter();
        let names: Vec<&str> = names.chain(payments.as_deref()).collect();
        let (kind, mut words) = self.run_replicated(script, &names, words, replicas).await?;
        let damaged = |damage| Err(StoreError::damaged(account, damage));
        match kind.as_str() {
            "gone" => Ok(Reply::Gone),
            "elsewhere" => {
                Ok(AccountName::parse(&words.word()?).map_or(Reply::Gone, Reply::Elsewhere))
            }
            "damaged" => match words.word()?.as_str() {
                "object" => damaged(Damage::NotAnObject),
                _ => damaged(Damage::NoBalance),
            },
            _ => Ok(Reply::There { kind, words }),
        }
    }

    /// Runs a script like [`Redis::on_account`] from the key: if it leads to another account, on that. `words` makes
    /// the script's arguments for an account.
    async fn on_key(
        &self,
        script: &Script,
        key: &KeyName,
        words: impl Fn(&AccountName) -> Vec<String> + Send + Sync,
    ) -> Outcome<Option<(AccountName, String, Words)>> {
        let mut found = None;
        for name in self.keeping.key_names.candidates(key) {
            let reply = self.on_name(script, &name, &words(&name), 0).await?;
            if !matches!(reply, Reply::Gone) {
                found = Some((name, reply));
                break;
            }
        }
        let Some((mut account, mut reply)) = found else {
            return Ok(None);
        };
        if let Reply::Elsewhere(theirs) = reply {
            account = theirs;
            reply = self.on_account(script, &account, &words(&account)).await?;
        }
        Ok(match reply {
            Reply::There { kind, words } => Some((account, kind, words)),
            Reply::Gone | Reply::Elsewhere(_) => None,
        })
    }

    async fn on_known(
        &self,
        script: &Script,
        account: &AccountName,
        words: &[String],
    ) -> Outcome<Option<(String, Words)>> {
        Ok(match self.on_account(script, account, words).await? {
            Reply::There { kind, words } => Some((kind, words)),
            Reply::Gone | Reply::Elsewhere(_) => None,
        })
    }

    /// Returns how many replicas must have a change that gives tokens before it is acknowledged.
    async fn replicas(&self, account: &AccountName) -> u64 {
        match self.keeping.credit_replicas {
            Some(replicas) => replicas,
            None => u64::from(self.fleet.has_replica(account.as_str()).await),
        }
    }

    async fn plain<T: FromRedisValue>(&self, name: &str, command: &Cmd) -> Outcome<T> {
        let value = self
            .fleet
            .run(name, command)
            .await
            .map_err(CommandFailure::into_error)?;
        from_redis_value(value).map_err(|error| StoreError::Unknown(error.to_string()))
    }

    async fn text(&self, name: &str) -> Outcome<Option<String>> {
        self.plain(name, redis::cmd("GET").arg(name)).await
    }

    /// Replaces a text if it is `expected`. False: it is another.
    async fn replace_text(&self, name: &str, expected: &str, text: &str) -> Outcome<bool> {
        let words = [expected.to_owned(), text.to_owned()];
        let names = [name, name];
        let (kind, _) = self.run(&self.scripts.replace, &names, &words).await?;
        Ok(kind == "done")
    }

    async fn delete_tenant_texts(&self, tenant: &TenantId) -> Outcome<()> {
        for text in TenantText::ALL {
            let name = text.name(tenant);
            let _: u64 = self.plain(&name, redis::cmd("DEL").arg(&name)).await?;
        }
        Ok(())
    }

    /// Writes a text with `SET NX`. False: the name is taken.
    async fn place(&self, name: &str, text: &str, life: Option<Millis>) -> Outcome<bool> {
        let mut command = redis::cmd("SET");
        command.arg(name).arg(text).arg("NX");
        if let Some(life) = life {
            // Redis refuses an expiry of 0.
            command.arg("PX").arg(life.0.max(1));
        }
        let done: Option<String> = self.plain(name, &command).await?;
        Ok(done.is_some())
    }
}

/// Encodes groups as the scripts read them: name, limit (empty: none), span in ms, concurrent calls (empty:
/// any), refill in tokens (empty: none) and its period.
fn group_words(groups: &Groups) -> impl Iterator<Item = String> {
    groups.iter().flat_map(|(name, limits)| {
        let number = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
        let every = limits.refill.map_or("", |refill| refill.every.word());
        [
            name.to_owned(),
            number(limits.window.map(|window| window.requests)),
            number(limits.window.map(|window| window.span.0)),
            number(limits.concurrent),
            word(limits.refill.map(|refill| refill.tokens)),
            every.to_owned(),
        ]
    })
}

/// Returns the beginning of a key, which its group may depend on. The whole key stays out of the server's logs.
fn kind_of(key: &str) -> String {
    key.chars().take(5).collect()
}

/// Encodes a key's ID as the scripts read it: with a `=` before it where the account is no person's.
fn key_word(account: &AccountName, key: &KeyName) -> String {
    match account.is_person() {
        true => key.id().to_string(),
        false => format!("={}", key.id()),
    }
}

fn word(amount: Option<Tokens>) -> String {
    amount.map_or_else(String::new, |amount| amount.to_string())
}

fn flag(set: bool) -> String {
    if set { "1" } else { "0" }.to_owned()
}

#[async_trait]
impl Ledger for Redis {
    async fn mint(&self, mint: &Mint) -> Outcome<bool> {
        let key = self.keeping.key_names.of(&mint.key);
        let Some(user) = &mint.user else {
            return self.place(key.as_str(), &mint.record, mint.life).await;
        };
        let Some(account) = AccountName::user(user) else {
            return Ok(false);
        };
        Ok(self
            .place(account.as_str(), &mint.record, mint.life)
            .await?
            && self.place(key.as_str(), user, mint.life).await?)
    }

    async fn find(
        &self,
        key: &KeyName,
        tenant: &TenantId,
        groups: &Groups,
    ) -> Outcome<Option<Found>> {
        let words = |account: &AccountName| {
            let id = key_word(account, key);
            let mut words = vec![tenant.to_string(), kind_of(key.as_str()), id];
            words.extend(group_words(groups));
            words
        };
        let found = self.on_key(&self.scripts.find, key, words).await?;
        found
            .map(|(account, _, words)| words.found(account))
            .transpose()
    }

    async fn find_account(
        &self,
        account: &AccountName,
        tenant: &TenantId,
        groups: &Groups,
    ) -> Outcome<Option<Found>> {
        // Without a key: whoever asks administers the tenant.
        let mut words = vec![tenant.to_string(), "user_".to_owned(), "*".to_owned()];
        words.extend(group_words(groups));
        let found = self.on_known(&self.scripts.find, account, &words).await?;
        found
            .map(|(_, words)| words.found(account.clone()))
            .transpose()
    }

    async fn claims(&self, account: &AccountName) -> Outcome<Vec<Claim>> {
        let name = account.as_str();
        let mut command = redis::cmd("HGETALL");
        let fields: Vec<(String, String)> = self.plain(name, command.arg(account.books())).await?;
        let books = book_rows::parse(&fields);
        Ok(books.map(|books| books.claims()).unwrap_or_default())
    }

    async fn admit(
        &self,
        key: &KeyName,
        caller: Caller<'_>,
        ask: &Admit<'_>,
    ) -> Outcome<KeyAdmission> {
        let words = |account: &AccountName| {
            let mut words = vec![
                ask.id.to_owned(),
                ask.least.to_string(),
                ask.most.to_string(),
                ask.open.to_string(),
                ask.known.to_string(),
                ask.ttl.0.to_string(),
                caller.tenant.to_owned(),
                kind_of(caller.key),
                key_word(account, key),
            ];
            words.extend(group_words(caller.groups));
            words
        };
        let Some((account, kind, mut words)) = self.on_key(&self.scripts.admit, key, words).await?
        else {
            return Ok(KeyAdmission::Unknown);
        };
        let group = words.word()?;
        let (amount, left, pace) = (words.number()?, words.tokens()?, words.pace()?);
        let admission = match kind.as_str() {
            "granted" => Verdict::Granted {
                held: Tokens::new(amount),
                left,
                pace,
            },
            "spent" => Verdict::Spent { left, pace },
            "held" => Verdict::Held { left, pace },
            "key spent" => Verdict::KeySpent { left, pace },
            "suspended" => Verdict::Suspended { left, pace },
            "crowded" => Verdict::TooManyInFlight { left, pace },
            _ => Verdict::RateLimited {
                wait: Millis(amount),
                left,
                pace: pace.unwrap_or_default(),
            },
        };
        let (carry, issued, label) = (words.carry()?, words.issued()?, words.label()?);
        let is_new = words.word()? == "1";
        Ok(KeyAdmission::Known {
            account,
            standing: Standing {
                group,
                label,
                issued,
            },
            carry,
            is_new,
            admission,
        })
    }

    async fn renew(
        &self,
        account: &AccountName,
        id: &str,
        known: Tokens,
        ttl: Millis,
    ) -> Outcome<bool> {
        let words = [id.to_owned(), known.to_string(), ttl.0.to_string()];
        let renewed = self.on_known(&self.scripts.renew, account, &words).await?;
        Ok(renewed.is_some_and(|(kind, _)| kind == "renewed"))
    }

    async fn settle(
        &self,
        account: &AccountName,
        id: &str,
        used: Tokens,
        retry: bool,
        note: &str,
    ) -> Outcome<Option<Settlement>> {
        let words = [
            id.to_owned(),
            used.to_string(),
            flag(retry),
            note.to_owned(),
        ];
        let settled = self.on_known(&self.scripts.settle, account, &words).await?;
        settled.map(|(_, mut words)| words.settlement()).transpose()
    }

    async fn resettle(
        &self,
        account: &AccountName,
        id: &str,
        used: Tokens,
        note: &str,
    ) -> Outcome<Option<Settlement>> {
        let words = [id.to_owned(), used.to_string(), note.to_owned()];
        let settled = self
            .on_known(&self.scripts.resettle, account, &words)
            .await?;
        settled.map(|(_, mut words)| words.settlement()).transpose()
    }

    async fn release(&self, key: &KeyName, id: &str) -> Outcome<()> {
        let words = vec![
            id.to_owned(),
            Tokens::ZERO.to_string(),
            flag(true),
            String::new(),
        ];
        self.on_key(&self.scripts.settle, key, |_| words.clone())
            .await
            .map(|_| ())
    }

    async fn lease(&self, account: &AccountName, ask: &Ask<'_>) -> Outcome<Option<Grant>> {
        let (limit, span) = match ask.window {
            Some(window) => (window.requests.to_string(), window.span.0.to_string()),
            None => (String::new(), String::new()),
        };
        let words = [
            ask.instance.to_owned(),
            ask.number.to_string(),
            ask.tokens.to_string(),
            ask.slots.to_string(),
            ask.ttl.0.to_string(),
            limit,
            span,
            ask.told.to_string(),
        ];
        let granted = self.on_known(&self.scripts.lease, account, &words).await?;
        granted
            .map(|(_, mut words)| {
                Ok(Grant {
                    tokens: words.tokens()?,
                    slots: words.number()?,
                    slots_for: Millis(words.number()?),
                    reserved: words.tokens()?,
                    left: words.tokens()?,
                    pace: words.pace()?,
                })
            })
            .transpose()
    }

    async fn report(
        &self,
        account: &AccountName,
        report: &Report<'_>,
    ) -> Outcome<Option<Reported>> {
        let mut words = vec![
            report.instance.to_owned(),
            report.number.to_string(),
            report.spent.to_string(),
            report.back.to_string(),
            report.ttl.0.to_string(),
            flag(report.retry),
            flag(report.ends),
            word(report.before),
            word(report.begun),
        ];
        for line in report.lines {
            words.extend([line.id.clone(), line.cost.to_string(), line.note.clone()]);
        }
        let reported = self.on_known(&self.scripts.report, account, &words).await?;
        reported
            .map(|(_, mut words)| {
                Ok(Reported {
                    settlement: words.settlement()?,
                    reserved: words.tokens()?,
                })
            })
            .transpose()
    }

    async fn credit(
        &self,
        account: &AccountName,
        credit: &Credit<'_>,
    ) -> Outcome<Option<Credited>> {
        let words = [
            credit.id.to_owned(),
            credit.amount.to_string(),
            flag(credit.is_debit),
            credit.note.to_owned(),
        ];
        let replicas = self.replicas(account).await;
        let script = &self.scripts.credit;
        let reply = self
            .on_account_replicated(script, account, &words, replicas)
            .await?;
        reply.credited()
    }

    async fn amend(&self, account: &AccountName, amend: &Amend<'_>) -> Outcome<Option<Credited>> {
        let mut words = match &amend.credit {
            None => [const { String::new() }; 4].to_vec(),
            Some(credit) => vec![
                credit.id.to_owned(),
                credit.amount.to_string(),
                flag(credit.is_debit),
                credit.note.to_owned(),
            ],
        };
        // Redis refuses an expiry of 0.
        let life = amend.life.map(|life| life.map_or(0, |life| life.0.max(1)));
        words.push(life.map_or_else(String::new, |life| life.to_string()));
        let members = amend.members().into_iter();
        words.extend(members.flat_map(|(name, word)| [name.to_owned(), word]));
        let replicas = match amend.credit {
            Some(_) => self.replicas(account).await,
            None => 0,
        };
        let script = &self.scripts.amend;
        let reply = self
            .on_account_replicated(script, account, &words, replicas)
            .await?;
        reply.credited()
    }

    async fn statement(
        &self,
        account: &AccountName,
        groups: &Groups,
        key: &str,
        page: LedgerPage,
    ) -> Outcome<Option<Statement>> {
        let mut words = vec![kind_of(key)];
        words.extend(group_words(groups));
        let script = &self.scripts.statement;
        let found = self.on_known(script, account, &words).await?;
        let now = self.keeping.clock.now();
        let page = (page.before, page.most);
        found
            .map(|(_, words)| words.statement(now, page))
            .transpose()
    }

    async fn regroup(&self, account: &AccountName, group: &str) -> Outcome<bool> {
        let moved = self
            .on_known(&self.scripts.regroup, account, &[group.to_owned()])
            .await?;
        Ok(moved.is_some())
    }

    async fn revoke(&self, key: &KeyName) -> Outcome<bool> {
        let mut revoked = false;
        for name in self.keeping.key_names.candidates(key) {
            let Some(text) = self.text(name.as_str()).await? else {
                continue;
            };
            let mut command = redis::cmd("DEL");
            command.arg(name.as_str());
            if record::target(&text) == record::Target::Record {
                command
                    .arg(name.books())
                    .arg(name.postings())
                    .arg(name.sums());
            }
            let gone: u64 = self.plain(name.as_str(), &command).await?;
            revoked |= gone > 0;
        }
        Ok(revoked)
    }

    async fn count(&self, what: &str, bounds: &[(&str, Window)]) -> Outcome<Counted> {
        let counters = bounds.iter().map(|(name, _)| name::counter(what, name));
        let counters: Vec<String> = counters.collect();
        let names: Vec<&str> = counters.iter().map(String::as_str).collect();
        let windows = bounds.iter().map(|(_, window)| window);
        let words = windows.flat_map(|window| [window.requests, window.span.0]);
        let words: Vec<String> = words.map(|word| word.to_string()).collect();
        let (kind, mut words) = self.run(&self.scripts.count, &names, &words).await?;
        Ok(match kind.as_str() {
            "passed" => Counted::Passed,
            _ => Counted::Limited {
                wait: Millis(words.number()?),
            },
        })
    }

    fn key_names(&self) -> &KeyNames {
        &self.keeping.key_names
    }

    async fn agree_on_secret(&self, id: Option<&str>) -> Outcome<Agreement> {
        if self.text(name::COPYING).await?.is_some() {
            return Ok(Agreement::HalfCopied);
        }
        if let Some(id) = id
            && self.place(name::SECRET, id, None).await?
        {
            return Ok(Agreement::Agreed);
        }
        let noted = self.text(name::SECRET).await?;
        Ok(Agreement::of(noted.as_deref(), id))
    }

    fn generation(&self) -> Option<u64> {
        Some(self.generation.load(Ordering::Acquire))
    }
}

#[async_trait]
impl Configs for Redis {
    async fn config(&self, tenant: &TenantId) -> Outcome<Option<Arc<str>>> {
        Ok(self.text(&name::config(tenant)).await?.map(Arc::from))
    }

    async fn seed_config(&self, tenant: &TenantId, text: &str) -> Outcome<bool> {
        self.place(&name::config(tenant), text, None).await
    }

    async fn replace_config(
        &self,
        tenant: &TenantId,
        expected: Option<&str>,
        text: &str,
    ) -> Outcome<Put> {
        let name = name::config(tenant);
        let Some(expected) = expected else {
            let _: String = self
                .plain(&name, redis::cmd("SET").arg(&name).arg(text))
                .await?;
            self.followers.changed(tenant.as_str());
            return Ok(Put::Done);
        };
        if !self.replace_text(&name, expected, text).await? {
            return Ok(Put::Changed);
        }
        self.followers.changed(tenant.as_str());
        Ok(Put::Done)
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Outcome<bool> {
        // First, so that a tenant whose config is gone has no answers left, whatever is killed when.
        self.forget_answers(tenant).await?;
        self.delete_tenant_texts(tenant).await?;
        let config = name::config(tenant);
        let gone: u64 = self.plain(&config, redis::cmd("DEL").arg(&config)).await?;
        // A change that was under way may have written one meanwhile, which the next tenant of that ID must not find.
        self.delete_tenant_texts(tenant).await?;
        self.followers.changed(tenant.as_str());
        Ok(gone > 0)
    }

    async fn tenants(&self) -> Outcome<Vec<TenantId>> {
        let names = self.fleet.scan(&["tenant:*:config"]).await?;
        let ids = names.iter().map(|name| name::tenant_of_config(name));
        Ok(ids.flatten().filter_map(TenantId::parse).collect())
    }

    async fn tenant_text(&self, tenant: &TenantId, which: TenantText) -> Outcome<Option<String>> {
        self.text(&which.name(tenant)).await
    }

    async fn replace_tenant_text(
        &self,
        tenant: &TenantId,
        which: TenantText,
        expected: Option<&str>,
        text: &str,
    ) -> Outcome<Put> {
        let name = which.name(tenant);
        let is_done = match expected {
            None => self.place(&name, text, None).await?,
            Some(expected) => self.replace_text(&name, expected, text).await?,
        };
        Ok(if is_done { Put::Done } else { Put::Changed })
    }

    fn follow(&self, follower: Arc<dyn Follower>) {
        self.followers.add(follower);
    }
}

#[async_trait]
impl UsageLog for Redis {
    async fn record(&self, log: &LogName, records: &[String]) -> Outcome<()> {
        let name = log.as_str();
        let kept = self.keeping.bounds(name);
        let bounds = [kept.records.to_string(), kept.age.0.to_string()];
        let words: Vec<String> = bounds.into_iter().chain(records.iter().cloned()).collect();
        self.run(&self.scripts.record, &[name, name], &words)
            .await?;
        Ok(())
    }

    async fn recorded(&self, log: &LogName, since: Millis, most: usize) -> Outcome<Vec<String>> {
        let name = log.as_str();
        let mut command = redis::cmd("XREVRANGE");
        command
            .arg(name)
            .arg("+")
            .arg(since.0)
            .arg("COUNT")
            .arg(most);
        let rows: Vec<(String, Vec<String>)> = self.plain(name, &command).await?;
        Ok(rows
            .into_iter()
            .filter_map(|(_, mut fields)| fields.pop())
            .collect())
    }

    async fn purge(&self) -> Outcome<u64> {
        let mut removed = 0;
        for log in self.fleet.scan(&[name::USAGE_LOGS]).await? {
            let words = [self.keeping.bounds(&log).age.0.to_string()];
            let (_, mut answer) = self.run(&self.scripts.purge, &[&log, &log], &words).await?;
            removed += answer.number()?;
        }
        Ok(removed)
    }
}

#[async_trait]
impl Tickets for Redis {
    async fn issue(&self, ticket: &TicketName, text: &str, life: Millis) -> Outcome<bool> {
        self.place(ticket.as_str(), text, Some(life)).await
    }

    async fn redeem(&self, ticket: &TicketName) -> Outcome<Option<String>> {
        let name = ticket.as_str();
        self.plain(name, redis::cmd("GETDEL").arg(name)).await
    }
}

#[async_trait]
impl Durability for Redis {
    async fn flush(&self) -> Outcome<()> {
        Ok(())
    }

    async fn ready(&self) -> Outcome<()> {
        for node in self.fleet.nodes() {
            node.run(&redis::cmd("PING"))
                .await
                .map_err(CommandFailure::into_error)?;
        }
        Ok(())
    }

    fn is_up(&self) -> bool {
        self.fleet.nodes().iter().all(|node| node.is_up())
    }

    fn durations(&self) -> Option<&Histogram> {
        Some(&self.durations)
    }

    async fn close(&self) {}
}
