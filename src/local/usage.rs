//! Sums of a tenant's usage log: `GET /admin/usage` with the latest requests, `GET /auth/usage` of one account.
//!
//! The log is bounded and so is what is read of it: an answer that lacks older records must say so.

mod csv;
mod query;
mod record;
mod sums;

use super::admin::Right;
use super::answer::{Answer, Refusal, json};
use super::{Local, Request, admin, caller};
use crate::api::{MAX_DAYS, OwnUsage, USUAL_DAYS, UsageFormat, UsageReport, UsageSum};
use crate::rules::amount::Millis;
use crate::rules::tenant::TenantId;
use crate::store::name::LogName;
use crate::store::tenants::Tenant;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use query::Wanted;
use record::{Dimension, Event};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashSet;
use sums::{Rows, Sums};

/// Records read per request, newest first; older ones are left out of the sums.
const MAX_RECORDS: usize = 100_000;

/// Records that are looked at for the latest ones of an account.
const MAX_LOOKED_AT: usize = 5_000;

/// Records of a tenant, newest first.
struct Recorded {
    texts: Vec<String>,
    /// Whether older records of the time asked for are missing.
    is_incomplete: bool,
}

/// Reads the records of the time asked for. Some of those before it may be among them.
async fn recorded(local: &Local, tenant: &TenantId, wanted: &Wanted) -> Result<Recorded, Refusal> {
    let log = LogName::usage(tenant);
    let since = wanted.since;
    let mut texts = local.store.recorded(&log, since, MAX_RECORDS + 1).await?;
    // A log that has as many as it may have lost its oldest ones, or is about to.
    let kept = usize::try_from(local.settings.usage.records).unwrap_or(usize::MAX);
    let is_cut = texts.len() > MAX_RECORDS || texts.len() >= kept;
    texts.truncate(MAX_RECORDS);
    let oldest = texts.last().and_then(|text| Event::parse(text));
    let is_within = oldest.is_none_or(|oldest| wanted.is_since(oldest.time));
    drop_repeats(&mut texts);
    Ok(Recorded {
        is_incomplete: is_cut && is_within,
        texts,
    })
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

/// Serves `GET /admin/usage`.
pub async fn show(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, &tenant.id, Right::Look).await?;
    let wanted = Wanted::parse(request.query, super::accounts::now())?;
    let recorded = recorded(local, &tenant.id, &wanted).await?;
    match wanted.format {
        UsageFormat::Json => Ok(json(200, &report(wanted, &recorded))),
        UsageFormat::Csv => table(&tenant.id, wanted, &recorded),
    }
}

fn report(wanted: Wanted, recorded: &Recorded) -> UsageReport<&RawValue> {
    let mut sums = Sums::default();
    let mut rows = wanted.by.clone().map(Rows::new);
    let mut events: Vec<&RawValue> = Vec::new();
    for text in &recorded.texts {
        let Some(event) = Event::parse(text).filter(|event| wanted.takes(event)) else {
            continue;
        };
        sums.add(&event);
        if let Some(rows) = &mut rows {
            rows.add(&event);
        }
        if events.len() < wanted.limit
            && let Ok(raw) = serde_json::from_str(text)
        {
            events.push(raw);
        }
    }
    UsageReport {
        by_day: sums.take(Dimension::Day),
        by_model: sums.take(Dimension::Model),
        by_account: sums.take(Dimension::Account),
        by_key: sums.take(Dimension::Key),
        by_group: sums.take(Dimension::Group),
        by_endpoint: sums.take(Dimension::Endpoint),
        total: sums.total,
        rows: rows.map(Rows::into_rows),
        incomplete: recorded.is_incomplete,
        events,
    }
}

/// Returns the sums as a file. A table has no place to say that it is incomplete, so such a one is refused.
fn table(tenant: &TenantId, wanted: Wanted, recorded: &Recorded) -> Result<Answer, Refusal> {
    let texts = &recorded.texts;
    if recorded.is_incomplete {
        let oldest = texts.last().and_then(|text| Event::parse(text));
        let begin = oldest.map_or("now", |oldest| oldest.time);
        let why = format!(
            "A table would lack requests before {begin}, which the log no longer has or which are too many: ask with a \
             later since, or for json"
        );
        return Err(Refusal::Bad(why));
    }
    let by = wanted.by.clone().unwrap_or(Dimension::ALL.to_vec());
    let mut rows = Rows::new(by);
    let events = texts.iter().filter_map(|text| Event::parse(text));
    for event in events.filter(|event| wanted.takes(event)) {
        rows.add(&event);
    }
    Ok(file(tenant, csv::table(&rows)))
}

fn file(tenant: &TenantId, table: String) -> Answer {
    let mut answer = Response::new(Bytes::from(table));
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    let name = format!("attachment; filename=\"usage-{tenant}.csv\"");
    // A tenant's ID is letters, digits and dashes.
    let name = HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_DISPOSITION, name);
    answer
}

/// Returns the records of an account, newest first.
pub(super) async fn of_account(
    local: &Local,
    tenant: &Tenant,
    account: &str,
) -> Result<Vec<String>, Refusal> {
    let since = super::accounts::now().minus(Millis(MAX_DAYS * Millis::DAY.0));
    let wanted = Wanted::of_account(account.to_owned(), since);
    let mut texts = recorded(local, &tenant.id, &wanted).await?.texts;
    texts.retain(|text| Event::parse(text).is_some_and(|event| wanted.takes(&event)));
    Ok(texts)
}

/// Returns the latest records of an account, newest first, of those that are looked at.
pub(super) async fn latest_of_account(
    local: &Local,
    tenant: &Tenant,
    account: &str,
    most: usize,
) -> Result<Vec<String>, Refusal> {
    let since = super::accounts::now().minus(Millis(USUAL_DAYS * Millis::DAY.0));
    let log = LogName::usage(&tenant.id);
    let mut texts = local.store.recorded(&log, since, MAX_LOOKED_AT).await?;
    drop_repeats(&mut texts);
    texts.retain(|text| {
        Event::parse(text).is_some_and(|event| event.name(Dimension::Account) == account)
    });
    texts.truncate(most);
    Ok(texts)
}

/// Returns the sum of a tenant's last days, and whether it lacks older records of them.
pub(super) async fn total(local: &Local, tenant: &TenantId) -> Result<(UsageSum, bool), Refusal> {
    let wanted = Wanted::parse("", super::accounts::now())?;
    let recorded = recorded(local, tenant, &wanted).await?;
    let mut sums = Sums::default();
    let events = recorded.texts.iter().filter_map(|text| Event::parse(text));
    for event in events.filter(|event| wanted.takes(event)) {
        sums.add(&event);
    }
    Ok((sums.total, recorded.is_incomplete))
}

/// Serves `GET /auth/usage`: what the account of the caller's key has used.
pub(super) async fn own(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let (_, found) = caller::found(local, request, tenant).await?;
    let now = super::accounts::now();
    let wanted = Wanted::parse_own(request.query, found.label(), now)?;
    let recorded = recorded(local, &tenant.id, &wanted).await?;
    let mut sums = Sums::default();
    let events = recorded.texts.iter().filter_map(|text| Event::parse(text));
    for event in events.filter(|event| wanted.takes(event)) {
        sums.add(&event);
    }
    let usage = OwnUsage {
        by_day: sums.take(Dimension::Day),
        by_model: sums.take(Dimension::Model),
        total: sums.total,
        incomplete: recorded.is_incomplete,
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
}
