//! Serves `GET /admin/usage`: sums of a tenant's usage log by day, model and account, and the latest
//! requests.

use super::answer::{Answer, Refusal, json};
use super::{Local, Request, admin};
use crate::rules::amount::Millis;
use crate::store::tenants::Tenant;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Records read per request, newest first; older ones are left out of the sums.
const MAX_RECORDS: usize = 100_000;
/// Default of `limit`.
const DEFAULT_LIMIT: usize = 100;
/// Default of `days`.
const DEFAULT_DAYS: u64 = 30;

/// The members of a usage record that are summed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    time: &'a str,
    account: &'a str,
    model: Option<&'a str>,
    #[serde(default)]
    tokens_in: u64,
    #[serde(default)]
    tokens_out: u64,
    #[serde(default)]
    tokens_cached: u64,
    #[serde(default)]
    cost: u64,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    requests: u64,
    tokens_in: u64,
    tokens_out: u64,
    tokens_cached: u64,
    cost: u64,
}

impl Sum {
    fn add(&mut self, event: &Event<'_>) {
        self.requests += 1;
        self.tokens_in += event.tokens_in;
        self.tokens_out += event.tokens_out;
        self.tokens_cached += event.tokens_cached;
        self.cost += event.cost;
    }

    fn json(self) -> Value {
        json!({
            "requests": self.requests, "tokensIn": self.tokens_in, "tokensOut": self.tokens_out,
            "tokensCached": self.tokens_cached, "cost": self.cost,
        })
    }
}

/// The query parameters `days`, `limit` and `account`; others are refused with 400.
struct Wanted<'a> {
    days: u64,
    limit: usize,
    account: Option<&'a str>,
}

fn wanted(query: &str) -> Result<Wanted<'_>, Refusal> {
    let mut wanted = Wanted {
        days: DEFAULT_DAYS,
        limit: DEFAULT_LIMIT,
        account: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = |rule: &str| Refusal::Bad(format!("{name} must be {rule}"));
        match name {
            "days" => {
                let days = value.parse().ok().filter(|days| (1..=366).contains(days));
                wanted.days = days.ok_or_else(|| wrong("a whole number from 1 to 366"))?;
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| *limit <= 10_000);
                wanted.limit = limit.ok_or_else(|| wrong("a whole number up to 10000"))?;
            }
            "account" => wanted.account = Some(value),
            _ => {
                return Err(Refusal::Bad(format!(
                    "{name} is not one of: days, limit, account"
                )));
            }
        }
    }
    Ok(wanted)
}

/// Serves `GET /admin/usage`.
pub async fn show(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, &tenant.id).await?;
    let wanted = wanted(request.query)?;
    let since = super::accounts::now().minus(Millis(wanted.days * Millis::DAY.0));
    let texts = local.store.recorded(&tenant.id, since, MAX_RECORDS).await?;
    let mut total = Sum::default();
    let mut by: [BTreeMap<String, Sum>; 3] = Default::default();
    let mut shown: Vec<&RawValue> = Vec::new();
    for text in &texts {
        let Ok(event) = serde_json::from_str::<Event<'_>>(text) else {
            continue;
        };
        if wanted
            .account
            .is_some_and(|account| account != event.account)
        {
            continue;
        }
        total.add(&event);
        let day = event.time.get(..10).unwrap_or_default();
        for (sums, name) in by
            .iter_mut()
            .zip([day, event.model.unwrap_or("-"), event.account])
        {
            sums.entry(name.to_owned()).or_default().add(&event);
        }
        if shown.len() < wanted.limit
            && let Ok(raw) = serde_json::from_str(text)
        {
            shown.push(raw);
        }
    }
    let sums = |sums: BTreeMap<String, Sum>| -> Map<String, Value> {
        sums.into_iter()
            .map(|(name, sum)| (name, sum.json()))
            .collect()
    };
    let [days, models, accounts] = by;
    Ok(json(
        200,
        &json!({
            "total": total.json(),
            "byDay": sums(days),
            "byModel": sums(models),
            "byAccount": sums(accounts),
            "events": shown,
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_understood_or_refused() {
        let read = wanted("days=7&limit=0&account=ab").unwrap_or_else(|_| panic!("refused"));
        assert_eq!((read.days, read.limit, read.account), (7, 0, Some("ab")));
        assert!(wanted("").is_ok());
        for bad in ["days=0", "days=x", "limit=99999", "colour=red", "days"] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }
}
