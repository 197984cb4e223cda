//! Lists of keys and people on Redis: sixteen sorted sets a tenant, all members of which have the score 0.
//!
//! An entry is two members of one shard, the ID's first digit: `K<creation>:<id>:<name>` in the order of time, and
//! `k<id>:<creation>`, which finds it by its ID. People have `U` and `u`.

use super::Redis;
use crate::rules::amount::Millis;
use crate::rules::issued_key::KeyId;
use crate::rules::tenant::TenantId;
use crate::store::listed::{List, ListPlace, Listed};
use crate::store::name::{self, AccountName};
use crate::store::{Directory, Outcome};
use async_trait::async_trait;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;

const SHARDS: u8 = 16;
/// Latest moment that has thirteen digits.
const LATEST: Millis = Millis(9_999_999_999_999);
/// Arguments of a script at a time.
const AT_ONCE: usize = 500;

fn letter(list: List) -> char {
    match list {
        List::Keys => 'K',
        List::Users => 'U',
    }
}

fn digits(place: ListPlace) -> String {
    format!("{:013}", place.created.min(LATEST).0)
}

fn member(list: List, entry: &Listed) -> String {
    let (at, id) = (digits(entry.place), entry.place.id);
    format!("{}{at}:{id}:{}", letter(list), entry.name.as_str())
}

fn finder(list: List, place: ListPlace) -> String {
    let small = letter(list).to_ascii_lowercase();
    format!("{small}{}:{}", place.id, digits(place))
}

fn shard(tenant: &TenantId, id: KeyId) -> String {
    name::lists(tenant, id.shard())
}

fn parse(member: &str) -> Option<Listed> {
    let (created, rest) = member.get(1..)?.split_once(':')?;
    let (id, name) = rest.split_once(':')?;
    let place = ListPlace {
        created: Millis(created.parse().ok()?),
        id: KeyId::parse(id)?,
    };
    let name = AccountName::parse(name)?;
    Some(Listed { place, name })
}

/// Groups entries by their shard.
fn by_shard(tenant: &TenantId, entries: &[Listed]) -> BTreeMap<String, Vec<Listed>> {
    let mut shards: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    for entry in entries {
        let shard = shard(tenant, entry.place.id);
        shards.entry(shard).or_default().push(entry.clone());
    }
    shards
}

#[async_trait]
impl Directory for Redis {
    async fn enter(&self, tenant: &TenantId, list: List, entries: &[Listed]) -> Outcome<()> {
        for (shard, entries) in by_shard(tenant, entries) {
            for some in entries.chunks(AT_ONCE) {
                let mut words = vec![letter(list).to_string()];
                words.extend(some.iter().flat_map(|entry| {
                    let place = entry.place;
                    let name = entry.name.as_str().to_owned();
                    [place.id.to_string(), digits(place), name]
                }));
                let names = [shard.as_str(), shard.as_str()];
                self.run(&self.scripts.enter, &names, &words).await?;
            }
        }
        Ok(())
    }

    async fn strike(&self, tenant: &TenantId, list: List, entries: &[Listed]) -> Outcome<()> {
        for (shard, entries) in by_shard(tenant, entries) {
            for some in entries.chunks(AT_ONCE) {
                let mut command = redis::cmd("ZREM");
                command.arg(&shard);
                for entry in some {
                    command
                        .arg(member(list, entry))
                        .arg(finder(list, entry.place));
                }
                let _: u64 = self.plain(&shard, &command).await?;
            }
        }
        Ok(())
    }

    async fn listed(
        &self,
        tenant: &TenantId,
        list: List,
        after: Option<ListPlace>,
        most: usize,
    ) -> Outcome<Vec<Listed>> {
        let letter = letter(list);
        let first = match after {
            Some(place) => format!("({letter}{}:{}:", digits(place), place.id),
            None => format!("({letter};"),
        };
        let reads = (0..SHARDS).map(|number| {
            let shard = name::lists(tenant, number);
            let mut command = redis::cmd("ZREVRANGEBYLEX");
            command
                .arg(&shard)
                .arg(&first)
                .arg(format!("[{letter}"))
                .arg("LIMIT")
                .arg(0)
                .arg(most);
            async move { self.plain::<Vec<String>>(&shard, &command).await }
        });
        let mut members: Vec<String> = try_join_all(reads).await?.into_iter().flatten().collect();
        members.sort_unstable_by(|one, other| other.cmp(one));
        members.truncate(most);
        Ok(members.iter().filter_map(|member| parse(member)).collect())
    }

    async fn listed_by_id(
        &self,
        tenant: &TenantId,
        list: List,
        id: KeyId,
    ) -> Outcome<Option<Listed>> {
        let shard = shard(tenant, id);
        let small = letter(list).to_ascii_lowercase();
        let range = async |from: String, to: String| {
            let mut command = redis::cmd("ZRANGEBYLEX");
            command.arg(&shard).arg(from).arg(to);
            command.arg("LIMIT").arg(0).arg(1);
            let found: Vec<String> = self.plain(&shard, &command).await?;
            Ok::<_, crate::store::StoreError>(found.into_iter().next())
        };
        let finder = range(format!("[{small}{id}:"), format!("({small}{id};")).await?;
        let Some(created) = finder.as_deref().and_then(|text| text.get(14..)) else {
            return Ok(None);
        };
        let start = format!("{}{created}:{id}", letter(list));
        let found = range(format!("[{start}:"), format!("({start};")).await?;
        Ok(found.as_deref().and_then(parse))
    }

    async fn count_listed(&self, tenant: &TenantId, list: List) -> Outcome<u64> {
        let letter = letter(list);
        let counts = (0..SHARDS).map(|number| {
            let shard = name::lists(tenant, number);
            let mut command = redis::cmd("ZLEXCOUNT");
            command.arg(&shard);
            command.arg(format!("[{letter}")).arg(format!("({letter};"));
            async move { self.plain::<u64>(&shard, &command).await }
        });
        Ok(try_join_all(counts).await?.into_iter().sum())
    }

    async fn has(&self, name: &AccountName) -> Outcome<bool> {
        let name = name.as_str();
        let there: u64 = self.plain(name, redis::cmd("EXISTS").arg(name)).await?;
        Ok(there > 0)
    }

    async fn stored_text(&self, name: &AccountName) -> Outcome<Option<String>> {
        self.text(name.as_str()).await
    }

    async fn account_names(&self) -> Outcome<Vec<AccountName>> {
        let names = self.fleet.scan(&["apiKey:*", "user:*"]).await?;
        let names = names.iter().filter_map(|name| AccountName::parse(name));
        Ok(names.collect())
    }

    async fn is_listed_whole(&self) -> Outcome<bool> {
        Ok(self.text(name::LISTED).await?.is_some())
    }

    async fn note_listed_whole(&self) -> Outcome<()> {
        self.place(name::LISTED, "1", None).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_they_were_written() {
        for (created, id, name) in [
            (0, "000000000000", "apiKey:temp_1"),
            (1_800_000_000_000, "0123456789ab", "user:p_abc"),
        ] {
            let entry = Listed {
                place: ListPlace {
                    created: Millis(created),
                    id: KeyId::parse(id).unwrap(),
                },
                name: AccountName::parse(name).unwrap(),
            };
            for list in List::ALL {
                assert_eq!(parse(&member(list, &entry)), Some(entry.clone()));
                assert_eq!(finder(list, entry.place).len(), 1 + 12 + 1 + 13);
            }
        }
        for other in ["", "K", "K1", "K1:x:y", "k0123456789ab:0000000000000"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
