//! Lists of changes: `GET /<t>/admin/audit` of one tenant, `GET /admin/audit` of the operator's.
//!
//! A change has two records, the second of which tells what came of it; a list merges them.

use super::admin::{self, Actor, Right};
use super::answer::{Answer, Refusal, json};
use super::{Local, Request};
use crate::api::{AuditOutcome, AuditQuery, AuditRecord, AuditRecords, MAX_CHANGES};
use crate::rules::amount::Millis;
use crate::rules::date;
use crate::rules::tenant::{TenantId, decoded};
use crate::store::name::LogName;
use std::collections::BTreeMap;

/// Records read per request, newest first.
const MAX_RECORDS: usize = 100_000;
/// Changes in an answer whose query has no `limit`.
const USUAL_CHANGES: usize = 50;
/// Actions that begin and end a tenant. Changes before them are of a former tenant of the same ID.
pub(super) const TENANT_CREATED: &str = "tenant.created";
pub(super) const TENANT_DELETED: &str = "tenant.deleted";

/// Serves `GET /<t>/admin/audit`.
pub(super) async fn of_tenant(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, tenant, Right::Look).await?;
    list(local, request, &LogName::audit(tenant), &by).await
}

/// Serves `GET /admin/audit`.
pub(super) async fn of_operator(local: &Local, request: &Request<'_>) -> Result<Answer, Refusal> {
    let by = admin::authorize_operator(local, request)?;
    list(local, request, &LogName::operator_audit(), &by).await
}

async fn list(
    local: &Local,
    request: &Request<'_>,
    log: &LogName,
    by: &Actor,
) -> Result<Answer, Refusal> {
    let wanted = Wanted::parse(request.query)?;
    let texts = local.store.recorded(log, wanted.since, MAX_RECORDS).await?;
    let changes = merged(&texts, *by == Actor::Operator);
    Ok(json(200, &wanted.page(changes)))
}

/// Returns the changes, the latest first. Only the operator sees those of a former tenant of the same ID.
fn merged(texts: &[String], sees_former: bool) -> Vec<AuditRecord> {
    let mut changes: BTreeMap<String, AuditRecord> = BTreeMap::new();
    for text in texts {
        let Ok(record) = serde_json::from_str::<AuditRecord>(text) else {
            continue;
        };
        // The newest record of a change comes first, and tells what came of it.
        let is_end = record.outcome != AuditOutcome::Unknown;
        if is_end || !changes.contains_key(&record.id) {
            changes.insert(record.id.clone(), record);
        }
    }
    let latest = changes.into_values().rev();
    let listed = latest.filter(|change| change.outcome != AuditOutcome::Refused);
    if sees_former {
        return listed.collect();
    }
    let mut own = Vec::new();
    // One of the two may be missing: a deletion whose end was not noted, a tenant that was made with the gateway's file.
    for change in listed {
        let is_done = change.outcome == AuditOutcome::Done;
        if is_done && change.action == TENANT_DELETED {
            break;
        }
        let is_first = is_done && change.action == TENANT_CREATED;
        own.push(change);
        if is_first {
            break;
        }
    }
    own
}

/// An [`AuditQuery`], read.
struct Wanted {
    limit: usize,
    since: Millis,
    until: Option<Millis>,
    action: Option<String>,
    cursor: Option<String>,
}

impl Wanted {
    /// Parses the query; parameters that are not in [`AuditQuery`] are refused with 400.
    fn parse(query: &str) -> Result<Wanted, Refusal> {
        let read = read(query)?;
        let moment = |name: &str, text: Option<String>| match text.map(|text| date::moment(&text)) {
            Some(None) => Err(Refusal::Bad(format!(
                "{name} must be a moment such as 2026-01-31T12:00:00Z"
            ))),
            moment => Ok(moment.flatten()),
        };
        let limit = read.limit.unwrap_or(USUAL_CHANGES);
        if !(1..=MAX_CHANGES).contains(&limit) {
            let rule = format!("limit must be a whole number from 1 to {MAX_CHANGES}");
            return Err(Refusal::Bad(rule));
        }
        if !read.cursor.as_deref().is_none_or(is_cursor) {
            return Err(Refusal::Bad("cursor is none of an answer".to_owned()));
        }
        Ok(Wanted {
            limit,
            since: moment("since", read.since)?.unwrap_or_default(),
            until: moment("until", read.until)?,
            action: read.action,
            cursor: read.cursor,
        })
    }

    /// Returns one page. A cursor is the ID of a page's last change; IDs are in the order of time.
    fn page(&self, changes: Vec<AuditRecord>) -> AuditRecords {
        let at = |change: &AuditRecord| date::parse(&change.time).unwrap_or_default();
        let is_wanted = |change: &AuditRecord| {
            self.cursor
                .as_ref()
                .is_none_or(|cursor| change.id < *cursor)
                && self
                    .action
                    .as_ref()
                    .is_none_or(|action| change.action == *action)
                && at(change) >= self.since
                && self.until.is_none_or(|until| at(change) < until)
        };
        let mut wanted = changes.into_iter().filter(is_wanted);
        let changes: Vec<AuditRecord> = wanted.by_ref().take(self.limit).collect();
        let last = changes.last().map(|change| change.id.clone());
        AuditRecords {
            cursor: wanted.next().and(last),
            changes,
        }
    }
}

fn read(query: &str) -> Result<AuditQuery, Refusal> {
    let mut read = AuditQuery::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let unread = || Refusal::Bad(format!("{name} cannot be read"));
        let value = decoded(value).ok_or_else(unread)?;
        match name {
            // A limit that is no number is out of range.
            "limit" => read.limit = Some(value.parse().unwrap_or(0)),
            "since" => read.since = Some(value),
            "until" => read.until = Some(value),
            "action" => read.action = Some(value),
            "cursor" => read.cursor = Some(value),
            _ => {
                let rule = "The query has only: limit, since, until, action, cursor";
                return Err(Refusal::Bad(rule.to_owned()));
            }
        }
    }
    Ok(read)
}

/// Whether a text has the form of [`AuditRecord::id`]. One that is made up leads to another place of the same list only.
fn is_cursor(text: &str) -> bool {
    let parts = text.split_once('-');
    parts.is_some_and(|(at, random)| {
        at.len() == 13
            && at.bytes().all(|byte| byte.is_ascii_digit())
            && random.len() == 32
            && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    fn record(number: u64, action: &str, outcome: AuditOutcome) -> String {
        let record = AuditRecord {
            id: format!("{number:013}-{:032}", 0),
            time: date::rfc3339(Millis(number)),
            outcome,
            action: action.to_owned(),
            by: "operator".to_owned(),
            scope: None,
            address: "::1".to_owned(),
            request_id: "r".to_owned(),
            tenant: "abc".to_owned(),
            target: Map::new(),
            before: Map::new(),
            after: Map::new(),
            omitted: 0,
        };
        serde_json::to_string(&record).unwrap()
    }

    fn numbers(changes: &[AuditRecord]) -> Vec<u64> {
        let number = |change: &AuditRecord| change.id[..13].parse().unwrap();
        changes.iter().map(number).collect()
    }

    #[test]
    fn a_change_is_listed_once_with_what_came_of_it() {
        use AuditOutcome::{Done, Refused, Unknown};
        // Newest first; the ends of two changes come in the other order than their beginnings.
        let texts = [
            record(3, "a", Unknown),
            record(1, "a", Done),
            record(2, "a", Refused),
            record(2, "a", Unknown),
            record(1, "a", Unknown),
            "no record".to_owned(),
        ];
        let changes = merged(&texts, false);
        assert_eq!(numbers(&changes), [3, 1]);
        assert_eq!((changes[0].outcome, changes[1].outcome), (Unknown, Done));
    }

    #[test]
    fn changes_of_a_former_tenant_are_the_operators_alone() {
        let texts = [
            record(5, "a", AuditOutcome::Done),
            record(4, TENANT_DELETED, AuditOutcome::Refused),
            record(3, TENANT_CREATED, AuditOutcome::Done),
            record(2, TENANT_DELETED, AuditOutcome::Unknown),
            record(1, "a", AuditOutcome::Done),
        ];
        assert_eq!(numbers(&merged(&texts, false)), [5, 3]);
        assert_eq!(numbers(&merged(&texts, true)), [5, 3, 2, 1]);
        let texts = [
            record(3, "a", AuditOutcome::Done),
            record(2, TENANT_DELETED, AuditOutcome::Done),
            record(1, "a", AuditOutcome::Done),
        ];
        assert_eq!(numbers(&merged(&texts, false)), [3]);
    }

    #[test]
    fn pages_have_every_change_once() {
        let texts: Vec<String> = (0..10)
            .map(|n| record(n, "a", AuditOutcome::Done))
            .collect();
        let (mut query, mut seen) = ("limit=3".to_owned(), Vec::new());
        loop {
            let wanted = Wanted::parse(&query).unwrap_or_else(|_| panic!());
            let page = wanted.page(merged(&texts, false));
            seen.extend(numbers(&page.changes));
            let Some(cursor) = page.cursor else { break };
            query = format!("limit=3&cursor={cursor}");
        }
        assert_eq!(seen, (0..10).rev().collect::<Vec<_>>());
        for query in [
            "limit=0",
            "limit=x",
            "limit=201",
            "since=now",
            "cursor=1",
            "x=1",
            "cursor=%00",
        ] {
            assert!(Wanted::parse(query).is_err(), "{query}");
        }
        let query = "since=1970-01-01T00:00:00.002Z&until=1970-01-01T00%3A00%3A00.004Z&action=a";
        let wanted = Wanted::parse(query).unwrap_or_else(|_| panic!());
        assert_eq!(numbers(&wanted.page(merged(&texts, false)).changes), [3, 2]);
    }
}
