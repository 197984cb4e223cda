//! Sums of a tenant's usage log: `GET /admin/usage` with the latest requests, `GET /auth/usage` of one account.

use super::admin::Right;
use super::answer::{Answer, Refusal, json};
use super::{Local, Request, admin, caller};
use crate::api::{MAX_DAYS, MAX_EVENTS, OwnUsage, UsageQuery, UsageReport, UsageSum};
use crate::rules::amount::Millis;
use crate::rules::money::Amount;
use crate::store::name::LogName;
use crate::store::tenants::Tenant;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

/// Records read per request, newest first; older ones are left out of the sums.
const MAX_RECORDS: usize = 100_000;

/// The members of a usage record that are summed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    time: &'a str,
    account: &'a str,
    /// As the client wrote it, so it may have escapes.
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    tokens_in: u64,
    #[serde(default)]
    tokens_out: u64,
    #[serde(default)]
    tokens_cached: u64,
    #[serde(default)]
    cost: u64,
    #[serde(default)]
    amount: Option<Amount>,
    #[serde(default)]
    currency: Option<&'a str>,
}

fn add(sum: &mut UsageSum, event: &Event<'_>) {
    sum.requests += 1;
    sum.tokens_in += event.tokens_in;
    sum.tokens_out += event.tokens_out;
    sum.tokens_cached += event.tokens_cached;
    sum.cost += event.cost;
    if let (Some(amount), Some(currency)) = (event.amount, event.currency) {
        let sum = sum.amounts.entry(currency.to_owned()).or_default();
        *sum = sum.plus(amount);
    }
}

/// Parses the query; parameters that are not in [`UsageQuery`] are refused with 400.
fn wanted(query: &str) -> Result<UsageQuery, Refusal> {
    let mut wanted = UsageQuery::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = |rule: &str| Refusal::Bad(format!("{name} must be {rule}"));
        match name {
            "days" => {
                let days = value.parse().ok();
                let days = days.filter(|days| (1..=MAX_DAYS).contains(days));
                wanted.days =
                    days.ok_or_else(|| wrong(&format!("a whole number from 1 to {MAX_DAYS}")))?;
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| *limit <= MAX_EVENTS);
                wanted.limit =
                    limit.ok_or_else(|| wrong(&format!("a whole number up to {MAX_EVENTS}")))?;
            }
            "account" => wanted.account = Some(value.to_owned()),
            _ => {
                return Err(Refusal::Bad(format!(
                    "{name} is not one of: days, limit, account"
                )));
            }
        }
    }
    Ok(wanted)
}

/// Sums of requests in all, and by day, model and account.
#[derive(Default)]
struct Sums {
    total: UsageSum,
    by_day: BTreeMap<String, UsageSum>,
    by_model: BTreeMap<String, UsageSum>,
    by_account: BTreeMap<String, UsageSum>,
}

impl Sums {
    fn add(&mut self, event: &Event<'_>) {
        add(&mut self.total, event);
        let day = event.time.get(..10).unwrap_or_default();
        let names = [day, event.model.as_deref().unwrap_or("-"), event.account];
        let sums = [&mut self.by_day, &mut self.by_model, &mut self.by_account];
        for (sums, name) in sums.into_iter().zip(names) {
            add(sums.entry(name.to_owned()).or_default(), event);
        }
    }
}

/// Reads the records of the last `days`, newest first.
async fn recorded(local: &Local, tenant: &Tenant, days: u64) -> Result<Vec<String>, Refusal> {
    let since = super::accounts::now().minus(Millis(days * Millis::DAY.0));
    let log = LogName::usage(&tenant.id);
    let mut records = local.store.recorded(&log, since, MAX_RECORDS).await?;
    drop_repeats(&mut records);
    Ok(records)
}

/// Drops records that were written twice, as by a start that did not know that the store had them.
fn drop_repeats(records: &mut Vec<String>) {
    #[derive(Deserialize)]
    struct Named<'a> {
        id: Option<&'a str>,
    }
    let mut known = HashSet::new();
    records.retain(|text| {
        let named: Option<Named<'_>> = serde_json::from_str(text).ok();
        let id = named.and_then(|named| named.id);
        id.is_none_or(|id| known.insert(id.to_owned()))
    });
}

/// Returns the record, if it can be read and is of this account.
fn event<'a>(text: &'a str, account: Option<&str>) -> Option<Event<'a>> {
    let event: Event<'_> = serde_json::from_str(text).ok()?;
    account
        .is_none_or(|account| account == event.account)
        .then_some(event)
}

/// Serves `GET /admin/usage`.
pub async fn show(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, &tenant.id, Right::Look).await?;
    let wanted = wanted(request.query)?;
    let texts = recorded(local, tenant, wanted.days).await?;
    let mut sums = Sums::default();
    let mut shown: Vec<&RawValue> = Vec::new();
    for text in &texts {
        let Some(event) = event(text, wanted.account.as_deref()) else {
            continue;
        };
        sums.add(&event);
        if shown.len() < wanted.limit
            && let Ok(raw) = serde_json::from_str(text)
        {
            shown.push(raw);
        }
    }
    let usage = UsageReport {
        total: sums.total,
        by_day: sums.by_day,
        by_model: sums.by_model,
        by_account: sums.by_account,
        events: shown,
    };
    Ok(json(200, &usage))
}

/// Returns the records of an account, newest first.
pub(super) async fn of_account(
    local: &Local,
    tenant: &Tenant,
    account: &str,
) -> Result<Vec<String>, Refusal> {
    let mut texts = recorded(local, tenant, MAX_DAYS).await?;
    texts.retain(|text| event(text, Some(account)).is_some());
    Ok(texts)
}

/// Serves `GET /auth/usage`: what the account of the caller's key has used.
pub(super) async fn own(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let (_, found) = caller::found(local, request, tenant).await?;
    let wanted = wanted(request.query)?;
    let is_default = wanted.account.is_none() && wanted.limit == UsageQuery::default().limit;
    if !is_default {
        return Err(Refusal::Bad("The only parameter here is days".to_owned()));
    }
    let account = found.label();
    let texts = recorded(local, tenant, wanted.days).await?;
    let mut sums = Sums::default();
    for event in texts.iter().filter_map(|text| event(text, Some(&account))) {
        sums.add(&event);
    }
    let usage = OwnUsage {
        total: sums.total,
        by_day: sums.by_day,
        by_model: sums.by_model,
    };
    Ok(json(200, &usage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_written_twice_counts_once() {
        let record = |id: &str| format!(r#"{{"time":"2026-11-30T00:00:00Z","id":{id}}}"#);
        let mut records = [r#""a""#, r#""b""#, r#""a""#, "null", "null"]
            .map(record)
            .to_vec();
        drop_repeats(&mut records);
        let expected = [r#""a""#, r#""b""#, "null", "null"].map(record);
        assert_eq!(records, expected);
    }

    #[test]
    fn a_query_is_understood_or_refused() {
        let read = wanted("days=7&limit=0&account=ab").unwrap_or_else(|_| panic!("refused"));
        assert_eq!(
            (read.days, read.limit, read.account.as_deref()),
            (7, 0, Some("ab"))
        );
        assert!(wanted("").is_ok());
        for bad in ["days=0", "days=x", "limit=99999", "colour=red", "days"] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }
}
