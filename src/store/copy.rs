//! `resullm store copy`: moves everything to another store, in the layout and with the names of keys that the settings say.
//!
//! Another store is filled while nobody writes to either, and read again afterwards: what arrived is compared with what
//! was read. Within one Redis server only names change, one account at a time, while gateways serve.

mod shape;

use super::contents::Contents;
use super::directory;
use super::embedded::copying as on_disk;
use super::redis::{Redis, copying as on_redis};
use super::stored::{Stored, Things};
use super::{AccountSettings, Clock, StoreError};
use crate::rules::amount::Millis;
use crate::settings::{Layout, Store as Target};
use serde_json::{Value, json};
use shape::Shape;

/// Time by which an expiry may differ after it went through Redis, which takes spans and not moments.
const DRIFT: Millis = Millis(5_000);

/// Why a store is not read that a copy has not filled to its end.
const HALF_COPIED: &str = "FROM was filled by a copy that was broken off";

/// One end of a copy.
enum End {
    Embedded(std::path::PathBuf),
    Redis(Box<Redis>),
}

impl End {
    async fn open(target: &Target, keeping: &AccountSettings) -> Result<End, String> {
        Ok(match target {
            Target::Embedded(dir) => End::Embedded(dir.clone()),
            Target::Redis(target) => {
                let opened = Redis::open(target, keeping.clone()).await;
                let redis = opened.map_err(|error| format!("Redis connection failed: {error}"))?;
                End::Redis(Box::new(redis))
            }
        })
    }

    async fn read(&self) -> Result<Things, String> {
        let now = Clock::Store.now();
        let mut things = match self {
            End::Embedded(dir) => on_disk::read(dir)?,
            End::Redis(redis) => on_redis::read_all(redis, now).await.map_err(told)?,
        };
        things.retain(|_, stored| !stored.expired(now));
        Ok(things)
    }

    async fn is_unused(&self) -> Result<bool, String> {
        match self {
            End::Embedded(dir) => on_disk::is_unused(dir),
            End::Redis(redis) => on_redis::is_unused(redis).await.map_err(told),
        }
    }

    async fn fill(&self, things: &Things) -> Result<(), String> {
        match self {
            End::Embedded(dir) => on_disk::fill(dir, things),
            End::Redis(redis) => on_redis::fill(redis, things, Clock::Store.now())
                .await
                .map_err(told),
        }
    }
}

fn told(error: StoreError) -> String {
    error.to_string()
}

/// Copies a store, and returns what was copied as the command prints it. `from` and `to` may be one Redis server: then
/// names of keys are hashed in place, and `stillClear` counts those that a gateway whose settings say `clear` made meanwhile.
pub async fn copy(
    from: &Target,
    to: &Target,
    keeping: AccountSettings,
    layout: Layout,
) -> Result<Value, String> {
    let names = keeping.key_names.clone();
    let source = End::open(from, &keeping).await?;
    if from == to {
        let End::Redis(redis) = source else {
            return Err("an embedded store is copied into another directory".to_owned());
        };
        if !names.are_hashed() {
            return Err("FROM and TO are the same: that hashes the names of keys, and needs accounts.key_names: hashed".to_owned());
        }
        on_redis::can_rename(&redis)?;
        agreed(&redis, names.secret_id().as_deref()).await?;
        let (hashed, still_clear) = on_redis::hash_names(&redis).await.map_err(told)?;
        // The lists have clear names until then.
        directory::rebuild(&*redis).await.map_err(told)?;
        return Ok(json!({"hashed": hashed, "stillClear": still_clear}));
    }
    let target = End::open(to, &keeping).await?;
    if !target.is_unused().await? {
        return Err(
            "TO has accounts, tenants or usage already: a copy goes into an empty store".to_owned(),
        );
    }
    let before = source.read().await?;
    if before.contains_key(super::name::COPYING) {
        return Err(HALF_COPIED.to_owned());
    }
    let noted = before.get(super::name::SECRET);
    if noted.is_some_and(|noted| Some(&noted.text) != names.secret_id().as_ref()) {
        return Err(
            "FROM's keys are named with a secret, and accounts.key_secret is not that one"
                .to_owned(),
        );
    }
    let mut shape = Shape::new(names, layout, Clock::Store.now());
    let wanted = shape.of(before.clone())?;
    let contents = counted(&wanted)?;
    target.fill(&wanted).await?;
    compare(
        &wanted,
        &target.read().await?,
        "what arrived in TO is not what was sent",
    )?;
    let after = source.read().await?;
    compare(
        &before,
        &after,
        "FROM was written to meanwhile: stop what uses it, empty TO and copy again",
    )?;
    Ok(json!({"contents": contents, "usersOfSeveralKeys": shape.kept_by_user}))
}

async fn agreed(redis: &Redis, id: Option<&str>) -> Result<(), String> {
    use super::{Agreement, Ledger};
    match redis.agree_on_secret(id).await.map_err(told)? {
        Agreement::Agreed => Ok(()),
        Agreement::HalfCopied => Err(HALF_COPIED.to_owned()),
        Agreement::OtherSecret | Agreement::NoSecret => {
            Err("accounts.key_secret is not the one that keys here are named with".to_owned())
        }
    }
}

fn counted(things: &Things) -> Result<Contents, String> {
    let mut contents = Contents::default();
    let mut faults = Vec::new();
    for (name, stored) in things {
        if let Err(why) = contents.count(name, stored) {
            faults.push(format!("{}: {why}", super::name::id(name)));
        }
    }
    match faults.is_empty() {
        true => Ok(contents),
        false => Err(format!(
            "FROM is damaged; nothing was copied\n{}",
            faults.join("\n")
        )),
    }
}

/// Fails with `why` and the first names that differ. Usage records are compared by their number: the engines keep them in
/// blocks of their own.
fn compare(wanted: &Things, found: &Things, why: &str) -> Result<(), String> {
    let is_usage = |name: &str| name.starts_with("usage:");
    let same = |one: &Stored, other: &Stored| {
        let drift = match (one.expires, other.expires) {
            (Some(one), Some(other)) => one.minus(other).max(other.minus(one)),
            (None, None) => Millis(0),
            _ => return false,
        };
        let is_equal = one.payments == other.payments
            && one.ledger == other.ledger
            && (&one.text, &one.books, &one.keys) == (&other.text, &other.books, &other.keys);
        is_equal && drift <= DRIFT
    };
    // What ends within the time of a copy may be missing.
    let now = Clock::Store.now().plus(DRIFT);
    let lasting = |things: &'_ Things| {
        let lasting = |(name, stored): &(&String, &Stored)| !is_usage(name) && !stored.expired(now);
        things
            .iter()
            .filter(lasting)
            .map(|(name, _)| name.clone())
            .collect::<Vec<String>>()
    };
    let mut names = lasting(wanted);
    names.retain(|name| {
        !found
            .get(name)
            .is_some_and(|other| same(&wanted[name], other))
    });
    names.extend(
        lasting(found)
            .into_iter()
            .filter(|name| !wanted.contains_key(name)),
    );
    let mut names: Vec<String> = names.iter().map(|name| super::name::id(name)).collect();
    let records = |things: &Things| -> usize {
        let logs = things.iter().filter(|(name, _)| is_usage(name));
        logs.map(|(_, block)| block.text.lines().count()).sum()
    };
    if records(wanted) != records(found) {
        names.push("usage records".to_owned());
    }
    if names.is_empty() {
        return Ok(());
    }
    let more = if names.len() > 5 { ", …" } else { "" };
    let first = names[..names.len().min(5)].join(", ");
    Err(format!("{why} ({} differ: {first}{more})", names.len()))
}
