//! The Lua scripts: one per verb, each an atomic step on one slot, each preceded by `books.lua`.

use super::fleet::Fleet;
use super::node::CommandFailure;
use crate::store::{Outcome, StoreError};
use redis::{Cmd, Value, from_redis_value};

const BOOKS: &str = include_str!("scripts/books.lua");

/// A script's text, and the SHA-1 digest under which the server caches it.
pub struct Script {
    text: String,
    digest: String,
    /// Whether it names the account's payments as its fourth key.
    pub(super) has_payments: bool,
}

impl Script {
    pub fn new(verb: &str) -> Script {
        let text = format!("{BOOKS}{verb}");
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let digest = hex::encode(digest);
        Script {
            text,
            digest,
            has_payments: false,
        }
    }

    /// Returns a script of an account that also touches its payments.
    pub(super) fn with_payments(verb: &str) -> Script {
        Script {
            has_payments: true,
            ..Script::new(verb)
        }
    }

    /// Runs the script, and returns the words of its reply, of which the first is the outcome.
    pub async fn run(
        &self,
        fleet: &Fleet,
        names: &[&str],
        words: &[&[u8]],
        replicas: u64,
    ) -> Outcome<Vec<String>> {
        let words = self.ask(fleet, names, words, replicas).await?;
        from_redis_value(words).map_err(|error| StoreError::Unknown(error.to_string()))
    }

    /// Runs the script with `EVALSHA`, or with `EVAL` if the server does not have it yet. Returns its reply, once
    /// `replicas` replicas have its write.
    pub(crate) async fn ask(
        &self,
        fleet: &Fleet,
        names: &[&str],
        words: &[&[u8]],
        replicas: u64,
    ) -> Outcome<Value> {
        let command = |how: &str, what: &str| {
            let mut command = Cmd::new();
            command.arg(how).arg(what).arg(names.len());
            command.arg(names).arg(words);
            command
        };
        let run = async |command| match replicas {
            0 => fleet.run(names[0], &command).await,
            _ => fleet.run_replicated(names[0], &command, replicas).await,
        };
        let mut answer = run(command("EVALSHA", &self.digest)).await;
        if matches!(answer, Err(CommandFailure::NoScript)) {
            answer = run(command("EVAL", &self.text)).await;
        }
        answer.map_err(CommandFailure::into_error)
    }
}
