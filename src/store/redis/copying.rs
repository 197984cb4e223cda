//! Everything in a Redis store at once, for copies: reads it, fills an empty one, and hashes the names of keys in place.

use super::{Redis, book_rows, key_row, purchases, statement};
use crate::rules::amount::Millis;
use crate::rules::date;
use crate::rules::issued_key::{IssuedKeys, KeyId};
use crate::rules::payments::book::PaymentBook;
use crate::rules::record;
use crate::store::name::{self, AccountName};
use crate::store::stored::{Stored, StoredLedger, Things};
use crate::store::{Outcome, StoreError};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// Accounts that are read or written at a time.
const AT_ONCE: usize = 64;
/// Records of a usage log in one reply.
const PAGE: usize = 1_000;
/// Fields of a hash in one command.
const CHUNK: usize = 500;

/// Returns the names of all accounts, of what leads to them, and of those of which only the books are left.
async fn accounts(redis: &Redis) -> Outcome<BTreeSet<AccountName>> {
    let names = redis
        .fleet
        .scan(&["apiKey:*", "user:*", "{apiKey:*", "{user:*"])
        .await?;
    let base = |name: &String| {
        let beside = name.strip_prefix('{').and_then(|name| name.split_once('}'));
        AccountName::parse(beside.map_or(name.as_str(), |(name, _)| name))
    };
    Ok(names.iter().filter_map(base).collect())
}

pub(crate) async fn is_unused(redis: &Redis) -> Outcome<bool> {
    if !accounts(redis).await?.is_empty() {
        return Ok(false);
    }
    let others = redis
        .fleet
        .scan(&["tenant:*", name::USAGE_LOGS, "keys:*"])
        .await?;
    Ok(others.is_empty())
}

/// Reads everything.
pub(crate) async fn read_all(redis: &Redis, now: Millis) -> Outcome<Things> {
    let accounts = accounts(redis).await?;
    let read = stream::iter(accounts).map(|name| async move {
        let stored = read_account(redis, &name, now).await?;
        let read = stored.map(|stored| (name.as_str().to_owned(), stored));
        Ok::<_, StoreError>(read)
    });
    let read: Vec<Option<(String, Stored)>> = read.buffer_unordered(AT_ONCE).try_collect().await?;
    let mut things: Things = read.into_iter().flatten().collect();
    for name in redis.fleet.scan(&["tenant:*", "keys:*"]).await? {
        if let Some(text) = redis.text(&name).await? {
            things.insert(name, Stored::text(&text));
        }
    }
    for log in redis.fleet.scan(&[name::USAGE_LOGS]).await? {
        things.extend(read_log(redis, &log).await?);
    }
    Ok(things)
}

async fn read_account(
    redis: &Redis,
    account: &AccountName,
    now: Millis,
) -> Outcome<Option<Stored>> {
    let name = account.as_str();
    let text = redis.text(name).await?;
    let fields = hash(redis, name, &account.books()).await?;
    if text.is_none() && fields.is_empty() {
        return Ok(None);
    }
    let unreadable = || {
        StoreError::Unavailable(format!(
            "{} has books that no gateway writes",
            name::id(name)
        ))
    };
    let books = book_rows::parse(&fields).ok_or_else(unreadable)?;
    let rows = match account.is_person() {
        true => hash(redis, name, &account.keys()).await?,
        false => Vec::new(),
    };
    let mut keys = IssuedKeys::new();
    for (id, row) in &rows {
        let id = KeyId::parse(id).ok_or_else(unreadable)?;
        keys.insert(id, key_row::parse(row)?);
    }
    let payments: Option<String> = match account.is_person() {
        true => {
            let beside = account.payments();
            redis.plain(name, redis::cmd("GET").arg(&beside)).await?
        }
        false => None,
    };
    let payments = match payments {
        Some(text) => purchases::parse(&text).ok_or_else(unreadable)?,
        None => PaymentBook::default(),
    };
    let ledger = read_ledger(redis, account).await?;
    let life: i64 = redis.plain(name, redis::cmd("PTTL").arg(name)).await?;
    let expires = match text {
        // Only what remains of a deleted account is left.
        None => Some(books.remains_until()),
        Some(_) => u64::try_from(life).ok().map(|life| now.plus(Millis(life))),
    };
    Ok(Some(Stored {
        text: text.unwrap_or_default(),
        expires,
        books,
        keys,
        payments,
        postings: ledger.postings.len() as u64,
        ledger,
    }))
}

async fn read_ledger(redis: &Redis, account: &AccountName) -> Outcome<StoredLedger> {
    let name = account.as_str();
    let mut command = redis::cmd("LRANGE");
    command.arg(account.postings()).arg(0).arg(-1);
    let sums = hash(redis, name, &account.sums()).await?;
    Ok(StoredLedger {
        postings: redis.plain(name, &command).await?,
        sums: statement::sums(&sums),
    })
}

async fn hash(redis: &Redis, route: &str, name: &str) -> Outcome<Vec<(String, String)>> {
    let fields: BTreeMap<String, String> =
        redis.plain(route, redis::cmd("HGETALL").arg(name)).await?;
    Ok(fields.into_iter().collect())
}

/// Reads a usage log as the numbered blocks of an embedded store, one for each millisecond.
async fn read_log(redis: &Redis, log: &str) -> Outcome<Things> {
    let age = redis.keeping.bounds(log).age;
    let mut blocks = Things::new();
    let (mut from, mut number) = ("-".to_owned(), 0u64);
    let mut block: Option<(u64, u64, Vec<String>)> = None;
    loop {
        let mut command = redis::cmd("XRANGE");
        command.arg(log).arg(&from).arg("+").arg("COUNT").arg(PAGE);
        let rows: Vec<(String, Vec<String>)> = redis.plain(log, &command).await?;
        let Some((last, _)) = rows.last() else {
            break;
        };
        from = format!("({last}");
        for (id, mut fields) in rows {
            let at = id
                .split_once('-')
                .and_then(|(at, _)| at.parse().ok())
                .unwrap_or(0);
            let record = fields.pop().unwrap_or_default();
            match &mut block {
                Some((moment, _, records)) if *moment == at => records.push(record),
                _ => {
                    blocks.extend(block.take().map(|block| numbered(log, block, age)));
                    block = Some((at, number, vec![record]));
                }
            }
            number += 1;
        }
    }
    blocks.extend(block.map(|block| numbered(log, block, age)));
    Ok(blocks)
}

/// Writes everything into a store that has nothing.
pub(crate) async fn fill(redis: &Redis, things: &Things, now: Millis) -> Outcome<()> {
    let (logs, others): (Vec<_>, Vec<_>) = things
        .iter()
        .partition(|(name, _)| name.starts_with("usage:"));
    redis.place(name::COPYING, "under way", None).await?;
    let write = stream::iter(others).map(|(name, stored)| write(redis, name, stored, now));
    let _: Vec<()> = write.buffer_unordered(AT_ONCE).try_collect().await?;
    let mut last = BTreeMap::new();
    for (name, block) in logs {
        let log = name::log_of_block(name);
        let age = redis.keeping.bounds(log).age;
        let written = block.expires.unwrap_or(now).minus(age);
        for record in block.text.lines() {
            let at = time_of(record).unwrap_or(written).min(now).0;
            let (moment, sequence) = last.entry(log.to_owned()).or_insert((0, 0));
            *sequence = if at > *moment { 1 } else { *sequence + 1 };
            *moment = at.max(*moment);
            let mut command = redis::cmd("XADD");
            command.arg(log).arg(format!("{moment}-{sequence}"));
            let _: String = redis.plain(log, command.arg("e").arg(record)).await?;
        }
    }
    for (log, (moment, _)) in last {
        let age = redis.keeping.bounds(&log).age;
        let life = Millis(moment).plus(age).minus(now).0.max(1);
        let mut command = redis::cmd("PEXPIRE");
        let _: u64 = redis.plain(&log, command.arg(&log).arg(life)).await?;
    }
    let mut command = redis::cmd("DEL");
    let _: u64 = redis
        .plain(name::COPYING, command.arg(name::COPYING))
        .await?;
    Ok(())
}

async fn write(redis: &Redis, name: &str, stored: &Stored, now: Millis) -> Outcome<()> {
    let life = stored.expires.map(|expires| expires.minus(now));
    if !stored.text.is_empty() {
        redis.place(name, &stored.text, life).await?;
    }
    let Some(account) = AccountName::parse(name) else {
        return Ok(());
    };
    let is_record = record::read(&stored.text).is_ok();
    // What remains of a deleted account ends by itself, whatever else stands under its name.
    let books_life = match is_record {
        true => life,
        false => Some(stored.books.remains_until().minus(now)),
    };
    let unwritable =
        || StoreError::Unavailable(format!("{} has books that no script reads", name::id(name)));
    let fields = book_rows::fields(&stored.books).ok_or_else(unwritable)?;
    write_hash(redis, name, &account.books(), &fields, books_life).await?;
    let rows = stored.keys.iter();
    let rows: Vec<(String, String)> = rows
        .map(|(id, key)| (id.to_string(), key_row::row(key)))
        .collect();
    write_hash(redis, name, &account.keys(), &rows, None).await?;
    write_ledger(redis, &account, &stored.ledger, life).await?;
    if stored.payments.is_empty() {
        return Ok(());
    }
    let mut command = redis::cmd("SET");
    let payments = purchases::stored(&stored.payments);
    command.arg(account.payments()).arg(payments);
    if let Some(life) = books_life {
        command.arg("PX").arg(life.0.max(1));
    }
    let _: String = redis.plain(name, &command).await?;
    Ok(())
}

async fn write_ledger(
    redis: &Redis,
    account: &AccountName,
    ledger: &StoredLedger,
    life: Option<Millis>,
) -> Outcome<()> {
    let (name, postings) = (account.as_str(), account.postings());
    for chunk in ledger.postings.chunks(CHUNK) {
        let mut command = redis::cmd("RPUSH");
        let _: u64 = redis.plain(name, command.arg(&postings).arg(chunk)).await?;
    }
    if let Some(life) = life.filter(|_| !ledger.postings.is_empty()) {
        let mut command = redis::cmd("PEXPIRE");
        let command = command.arg(&postings).arg(life.0.max(1));
        let _: u64 = redis.plain(name, command).await?;
    }
    let sums = statement::fields(&ledger.sums);
    write_hash(redis, name, &account.sums(), &sums, life).await
}

async fn write_hash(
    redis: &Redis,
    route: &str,
    name: &str,
    fields: &[(String, String)],
    life: Option<Millis>,
) -> Outcome<()> {
    for chunk in fields.chunks(CHUNK) {
        let mut command = redis::cmd("HSET");
        command.arg(name);
        for (field, value) in chunk {
            command.arg(field).arg(value);
        }
        let _: u64 = redis.plain(route, &command).await?;
    }
    if let Some(life) = life.filter(|_| !fields.is_empty()) {
        let mut command = redis::cmd("PEXPIRE");
        let _: u64 = redis
            .plain(route, command.arg(name).arg(life.0.max(1)))
            .await?;
    }
    Ok(())
}

/// Fails where a name cannot change in one step.
pub(crate) fn can_rename(redis: &Redis) -> Result<(), String> {
    match redis.is_cluster {
        true => {
            Err("in a Cluster a name cannot change in one step; copy into another store".to_owned())
        }
        false => Ok(()),
    }
}

/// Hashes the names of all keys, one atomic step each, while gateways serve. Returns how many were, and how many are
/// still clear.
pub(crate) async fn hash_names(redis: &Redis) -> Outcome<(u64, u64)> {
    let mut hashed = 0;
    let names = redis.fleet.scan(&["apiKey:*"]).await?;
    let names: Vec<AccountName> = names
        .iter()
        .filter_map(|name| AccountName::parse(name))
        .collect();
    for name in &names {
        let Some(new) = redis.keeping.key_names.hashed_of(name) else {
            continue;
        };
        let beside = [name, &new].map(|name| [name.books(), name.postings(), name.sums()]);
        let [[books, postings, sums], [new_books, new_postings, new_sums]] = &beside;
        let (old, new) = (name.as_str(), new.as_str());
        let moved = [
            old,
            books,
            postings,
            sums,
            new,
            new_books,
            new_postings,
            new_sums,
        ];
        let (kind, _) = redis.run(&redis.scripts.rename, &moved, &[]).await?;
        hashed += u64::from(kind == "renamed");
    }
    for account in redis.fleet.scan(&["user:*"]).await? {
        if let Some(account) = AccountName::parse(&account).filter(AccountName::is_person) {
            hash_entries(redis, &account).await?;
        }
    }
    let left = redis.fleet.scan(&["apiKey:*"]).await?;
    let is_clear = |name: &&String| {
        let name = AccountName::parse(name);
        name.is_some_and(|name| redis.keeping.key_names.hashed_of(&name).is_some())
    };
    Ok((hashed, left.iter().filter(is_clear).count() as u64))
}

/// Hashes the names of keys that a person's account has in its books and its list.
async fn hash_entries(redis: &Redis, account: &AccountName) -> Outcome<()> {
    let mut clear = BTreeSet::new();
    for (_, row) in hash(redis, account.as_str(), &account.keys()).await? {
        clear.insert(key_row::parse(&row)?.entry);
    }
    let books = hash(redis, account.as_str(), &account.books()).await?;
    // The account that a balance came from, also when all of it has come.
    let carry = books.iter().find(|(field, _)| field == "f:");
    clear.extend(carry.and_then(|(_, carry)| carry.splitn(4, ':').nth(3).map(str::to_owned)));
    let pair = |name: &String| {
        let hashed = redis
            .keeping
            .key_names
            .hashed_of(&AccountName::parse(name)?)?;
        Some([name.clone(), hashed.as_str().to_owned()])
    };
    let mut words = Vec::new();
    for [name, hashed] in clear.iter().filter_map(pair) {
        // A name that is still clear was written meanwhile: what leads to it must go on doing so.
        if redis.text(&name).await?.is_none() {
            words.extend([name, hashed]);
        }
    }
    if !words.is_empty() {
        redis
            .on_known(&redis.scripts.hash_entries, account, &words)
            .await?;
    }
    Ok(())
}

/// Returns when a usage record was written, by itself.
fn time_of(record: &str) -> Option<Millis> {
    let record: serde_json::Value = serde_json::from_str(record).ok()?;
    date::parse(record.get("time")?.as_str()?)
}

fn numbered(
    log: &str,
    (at, number, records): (u64, u64, Vec<String>),
    age: Millis,
) -> (String, Stored) {
    let block = Stored {
        expires: Some(Millis(at).plus(age)),
        ..Stored::text(&records.join("\n"))
    };
    (name::usage_block(log, number), block)
}
