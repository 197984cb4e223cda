//! Payments on Redis: encodes the arguments of the script and parses its reply.
//!
//! They stand beside the account, in one text: four numbers, and the payments. `scripts/pay.lua` says what they are.

use super::{Redis, Reply};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::payments::book::{Paid, Pay, PaymentBook};
use crate::rules::record::Damage;
use crate::store::name::AccountName;
use crate::store::{Outcome, Purchases, StoreError};
use async_trait::async_trait;

/// Returns the text in which payments are stored.
pub(super) fn stored(book: &PaymentBook) -> String {
    let PaymentBook {
        version,
        short,
        overrun,
        confirmed,
        text,
    } = book;
    format!("{version}:{short}:{overrun}:{}:{text}", confirmed.0)
}

/// Parses the text in which payments are stored.
pub(super) fn parse(stored: &str) -> Option<PaymentBook> {
    let mut parts = stored.splitn(5, ':');
    Some(PaymentBook {
        version: parts.next()?.parse().ok()?,
        short: Tokens::new(parts.next()?.parse().ok()?),
        overrun: Tokens::new(parts.next()?.parse().ok()?),
        confirmed: Millis(parts.next()?.parse().ok()?),
        text: parts.next()?.to_owned(),
    })
}

#[async_trait]
impl Purchases for Redis {
    async fn payments(&self, account: &AccountName) -> Outcome<Option<PaymentBook>> {
        let mut command = redis::cmd("GET");
        let name = account.payments();
        let text: Option<String> = self.plain(account.as_str(), command.arg(&name)).await?;
        let Some(text) = text else {
            let record = self.text(account.as_str()).await?;
            return Ok(record.map(|_| PaymentBook::default()));
        };
        let damaged = || StoreError::damaged(account, Damage::NotAnObject);
        parse(&text).ok_or_else(damaged).map(Some)
    }

    async fn pay(&self, account: &AccountName, pay: &Pay) -> Outcome<Option<Paid>> {
        let words = [
            pay.tenant.clone(),
            pay.expected.to_string(),
            pay.group_before.clone(),
            pay.text.clone(),
            pay.gain.to_string(),
            pay.back.0.to_string(),
            pay.back.1.to_string(),
            pay.group.clone().unwrap_or_default(),
            pay.asked.0.to_string(),
            pay.cause.clone(),
        ];
        let replicas = self.replicas(account).await;
        let script = &self.scripts.pay;
        let reply = self.on_name(script, account, &words, replicas).await?;
        let Reply::There { kind, mut words } = reply else {
            return Ok(None);
        };
        Ok(Some(match kind.as_str() {
            "paid" => Paid::Done {
                left: words.tokens()?,
                short: words.tokens()?,
            },
            _ => Paid::Changed,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payments_are_read_as_they_were_stored() {
        let book = PaymentBook {
            version: 3,
            short: Tokens::new(7),
            overrun: Tokens::new(2),
            confirmed: Millis(1_800_000_000_000),
            text: r#"{"id":"a:b"}"#.to_owned(),
        };
        assert_eq!(parse(&stored(&book)), Some(book));
        for wrong in ["", "1", "1:2:3:4", "x:2:0:0:{}", "1:-2:0:0:{}"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
