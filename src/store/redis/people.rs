//! Accounts of people on Redis: encodes the arguments of the scripts and parses their replies.

use super::{Redis, Reply, flag, key_row, word};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::carry::Taken;
use crate::rules::entry::{Erased, Founding, Join, Joined};
use crate::rules::issued_key::{IssuedKey, KeyId};
use crate::rules::record;
use crate::rules::tenant::TenantId;
use crate::store::name::{self, AccountName};
use crate::store::{Joining, Led, ListedKey, Outcome, People, Received};
use async_trait::async_trait;

fn founding_words(founding: Option<&Founding>) -> [String; 5] {
    let Some(founding) = founding else {
        return Default::default();
    };
    let token = founding.token.as_ref();
    let carry = founding.carry.as_ref();
    [
        founding.record.clone(),
        token.map_or_else(String::new, |(hash, _)| hash.clone()),
        token.map_or_else(String::new, |(_, until)| until.0.to_string()),
        carry.map_or_else(String::new, |(from, _)| from.clone()),
        word(carry.map(|(_, most)| *most)),
    ]
}

#[async_trait]
impl People for Redis {
    async fn join(&self, account: &AccountName, join: &Join) -> Outcome<Joining> {
        let source = join.key.source;
        let life = join
            .life
            .map_or_else(String::new, |life| life.0.to_string());
        let mut words = vec![
            join.tenant.clone(),
            join.id.to_string(),
            key_row::note(&join.key),
            key_row::source_word(source),
            source.most().to_string(),
            flag(source.rotates()),
            life,
            word(join.key.tokens_max),
        ];
        words.extend(founding_words(join.founding.as_ref()));
        words.extend([
            join.identity.clone().unwrap_or_default(),
            join.apple.clone().unwrap_or_default(),
        ]);
        let script = &self.scripts.join;
        let replicas = self.replicas(account).await;
        let reply = self
            .on_account_replicated(script, account, &words, replicas)
            .await?;
        let (kind, mut words) = match reply {
            Reply::There { kind, words } => (kind, words),
            Reply::Elsewhere(account) => return Ok(Joining::Linked(account)),
            Reply::Gone => return Ok(Joining::Joined(Joined::Absent)),
        };
        Ok(Joining::Joined(match kind.as_str() {
            "joined" => Joined::Done {
                created: words.word()? == "1",
                left: words.tokens()?,
                group: words.word()?,
                carry: words.carry()?,
                ended: words.rows()?,
            },
            "replayed" => Joined::Replayed,
            "too many" => Joined::TooManyKeys,
            _ => Joined::Absent,
        }))
    }

    async fn lead(&self, name: &AccountName, text: &str, life: Option<Millis>) -> Outcome<Led> {
        if self.place(name.as_str(), text, life).await? {
            return Ok(Led::Done);
        }
        let stored = self.text(name.as_str()).await?;
        Ok(Led::Taken(
            stored.and_then(|text| AccountName::of_target(&text)),
        ))
    }

    async fn unlead(&self, name: &AccountName) -> Outcome<bool> {
        let hashed = self.keeping.key_names.hashed_of(name);
        for name in std::iter::once(name).chain(&hashed) {
            let names = [name.as_str(), &name.books(), &name.keys()];
            let (kind, _) = self.run(&self.scripts.unlead, &names, &[]).await?;
            if kind == "removed" {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn keys(&self, account: &AccountName) -> Outcome<Option<Vec<ListedKey>>> {
        let Some((_, words)) = self.on_known(&self.scripts.keys, account, &[]).await? else {
            return Ok(None);
        };
        let words: Vec<String> = words.0.collect();
        let rows = words.chunks_exact(3).filter_map(|words| {
            let id = KeyId::parse(&words[0])?;
            let spent = words[2].parse().map_or(Tokens::ZERO, Tokens::new);
            Some(key_row::parse(&words[1]).map(|key| ListedKey { id, key, spent }))
        });
        rows.collect::<Outcome<Vec<ListedKey>>>().map(Some)
    }

    async fn announce_revoked(&self, ids: &[KeyId]) -> Outcome<()> {
        let name = name::revoked();
        let words: Vec<String> = ids.iter().map(KeyId::to_string).collect();
        self.run(&self.scripts.announce, &[&name, &name], &words)
            .await?;
        Ok(())
    }

    async fn revoked_since(&self, last: Option<&str>) -> Outcome<(String, Vec<KeyId>)> {
        let name = name::revoked();
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&name).arg("+");
        match last {
            Some(last) => command.arg(format!("({last}")),
            None => command.arg("-").arg("COUNT").arg(1),
        };
        let rows: Vec<(String, Vec<String>)> = self.plain(&name, &command).await?;
        let newest = rows.first().map(|(id, _)| id.clone());
        let next = newest.or_else(|| last.map(str::to_owned));
        let fresh = rows.into_iter().filter(|_| last.is_some());
        let ids = fresh.filter_map(|(_, mut fields)| KeyId::parse(&fields.pop()?));
        Ok((next.unwrap_or_else(|| "0-0".to_owned()), ids.collect()))
    }

    async fn person(&self, account: &AccountName, tenant: &TenantId) -> Outcome<Option<String>> {
        let text = self.text(account.as_str()).await?;
        Ok(text.filter(|text| record::is_of(text, tenant.as_str())))
    }

    async fn identities(&self, account: &AccountName) -> Outcome<Vec<String>> {
        let script = &self.scripts.identities;
        let found = self.on_known(script, account, &[]).await?;
        Ok(found.map_or_else(Vec::new, |(_, words)| words.0.collect()))
    }

    async fn drop_key(
        &self,
        account: &AccountName,
        id: KeyId,
    ) -> Outcome<Option<(IssuedKey, Tokens)>> {
        let words = [id.to_string()];
        let dropped = self
            .on_known(&self.scripts.drop_key, account, &words)
            .await?;
        dropped
            .map(|(_, mut words)| Ok((key_row::parse(&words.word()?)?, words.tokens()?)))
            .transpose()
    }

    async fn take(
        &self,
        from: &AccountName,
        tenant: &TenantId,
        to: &AccountName,
        most: Tokens,
    ) -> Outcome<Option<Taken>> {
        if from.is_person() {
            return Ok(Some(Taken::Refused));
        }
        let words = [tenant.to_string(), to.as_str().to_owned(), most.to_string()];
        let replicas = self.replicas(from).await;
        let script = &self.scripts.take;
        let reply = self
            .on_account_replicated(script, from, &words, replicas)
            .await?;
        let Reply::There { kind, mut words } = reply else {
            return Ok(None);
        };
        Ok(Some(match kind.as_str() {
            "took" => Taken::Took {
                total: words.tokens()?,
                is_over: words.word()? == "1",
            },
            _ => Taken::Refused,
        }))
    }

    async fn receive(
        &self,
        account: &AccountName,
        from: &str,
        total: Tokens,
        is_over: bool,
    ) -> Outcome<Option<Received>> {
        // Its name may have been hashed since it was read.
        let hashed =
            AccountName::parse(from).and_then(|name| self.keeping.key_names.hashed_of(&name));
        let words = [
            from.to_owned(),
            total.to_string(),
            flag(is_over),
            hashed.map_or_else(|| from.to_owned(), |name| name.as_str().to_owned()),
            KeyId::of_name(from).to_string(),
        ];
        let replicas = self.replicas(account).await;
        let script = &self.scripts.receive;
        let reply = self
            .on_account_replicated(script, account, &words, replicas)
            .await?;
        let Reply::There { mut words, .. } = reply else {
            return Ok(None);
        };
        Ok(Some(Received {
            sum: words.tokens()?,
            left: words.tokens()?,
        }))
    }

    async fn erase(&self, account: &AccountName, life: Millis) -> Outcome<Option<Erased>> {
        let words = [life.0.to_string()];
        let erased = self.on_known(&self.scripts.erase, account, &words).await?;
        erased
            .map(|(_, mut words)| {
                let apple = Some(words.word()?).filter(|text| !text.is_empty());
                let count = words.number()?;
                let identities = (0..count).map(|_| words.word()).collect::<Outcome<_>>()?;
                let keys = words.rows()?;
                Ok(Erased {
                    keys,
                    identities,
                    apple,
                })
            })
            .transpose()
    }
}
