//! Cached answers on Redis: encodes the arguments of the scripts and parses their replies.
//!
//! Answers of megabytes go over connections of their own, opened by the first one, so that no command of the ledger ever
//! waits behind one. Nothing is sent twice here, save `forget` page by page.

use super::Redis;
use super::dial::Purpose;
use super::fleet::Fleet;
use super::script::Script;
use crate::rules::tenant::TenantId;
use crate::store::name::{self, AnswerKey};
use crate::store::{AnswerCache, Durability, FoundAnswer, NewAnswer, Outcome, Shelf, StoreError};
use async_trait::async_trait;
use redis::{Value, from_redis_value};
use std::sync::Arc;

/// Maximum number of times that an answer is sent for which much must be dropped first.
const MAX_ATTEMPTS: usize = 4;

/// Returns the names that a script of the cache takes: the four of the index, and the answer's.
fn names(tenant: &TenantId, key: Option<&AnswerKey>) -> Vec<String> {
    let key = key.map(AnswerKey::hex);
    let parts = ["index", "used", "ends", "forgotten"].into_iter();
    let parts = parts.chain(key.as_deref());
    parts.map(|part| name::answers(tenant, part)).collect()
}

/// Returns a name that no shelf has had.
fn new_shelf() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Returns the connections that answers go over.
async fn connections(redis: &Redis) -> Outcome<&Fleet> {
    // The ledger's connection has found out already; connecting to a lost server takes seconds.
    if !redis.is_up() {
        return Err(StoreError::Lost("Redis cannot be used".to_owned()));
    }
    let open = || async {
        Fleet::open(
            &redis.target,
            Purpose::Answers,
            &Arc::default(),
            &redis.durations,
        )
        .await
        .map_err(StoreError::Unavailable)
    };
    redis.answers.get_or_try_init(open).await
}

async fn run(
    redis: &Redis,
    script: &Script,
    names: &[String],
    words: &[&[u8]],
) -> Outcome<(String, Option<Value>)> {
    let preamble = redis.preamble();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let preamble = preamble.iter().map(String::as_bytes);
    let words: Vec<&[u8]> = preamble.chain(words.iter().copied()).collect();
    let reply = script
        .ask(connections(redis).await?, &names, &words, 0)
        .await?;
    let unknown = |error: redis::ParsingError| StoreError::Unknown(error.to_string());
    let mut reply: std::vec::IntoIter<Value> = from_redis_value::<Vec<Value>>(reply)
        .map_err(unknown)?
        .into_iter();
    let kind = from_redis_value(reply.next().unwrap_or(Value::Nil)).map_err(unknown)?;
    Ok((kind, reply.next()))
}

#[async_trait]
impl AnswerCache for Redis {
    async fn find_answer(&self, tenant: &TenantId, key: &AnswerKey) -> Outcome<FoundAnswer> {
        let names = names(tenant, Some(key));
        let words = [key.hex(), new_shelf()];
        let words = words.each_ref().map(String::as_bytes);
        let (shelf, answer) = run(self, &self.scripts.find_answer, &names, &words).await?;
        Ok(FoundAnswer {
            answer: match answer {
                Some(Value::BulkString(answer)) => Some(answer.into()),
                _ => None,
            },
            shelf: Shelf(shelf),
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
        let names = names(tenant, Some(key));
        let words = [
            key.hex(),
            answer.size().to_string(),
            answer.life.0.to_string(),
            answer.most_bytes.to_string(),
            answer.owner.to_owned(),
            answer
                .shelf
                .as_ref()
                .map_or_else(String::new, |shelf| shelf.0.clone()),
        ];
        let mut words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        words.push(&answer.bytes);
        for _ in 0..MAX_ATTEMPTS {
            let (kind, _) = run(self, &self.scripts.keep_answer, &names, &words).await?;
            match kind.as_str() {
                "crowded" => {}
                "late" => return Ok(false),
                _ => break,
            }
        }
        // One for which there is no space yet is not kept; the next ones find what was dropped for it.
        Ok(true)
    }

    async fn forget_answers_of(&self, tenant: &TenantId, owner: &str) -> Outcome<u64> {
        let names = names(tenant, None);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (mut gone, mut cursor) = (0, "0".to_owned());
        loop {
            let words = [owner.to_owned(), cursor, new_shelf()];
            let script = &self.scripts.forget_answers_of;
            let (next, mut words) = self.run(script, &names, &words).await?;
            gone += words.number()?;
            if next == "0" {
                return Ok(gone);
            }
            cursor = next;
        }
    }

    async fn forget_answers(&self, tenant: &TenantId) -> Outcome<u64> {
        let names = names(tenant, None);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (mut gone, mut is_first) = (0, true);
        loop {
            let words = [super::flag(is_first)];
            let script = &self.scripts.forget_answers;
            let (kind, mut words) = self.run(script, &names, &words).await?;
            gone += words.number()?;
            if kind != "more" {
                return Ok(gone);
            }
            is_first = false;
        }
    }
}
