//! Pages of a tenant's keys and people: `GET /admin/keys`, `GET /admin/users`.

use super::accounts::expiry;
use super::admin::{self, Right};
use super::answer::{Answer, Refusal, json};
use super::{Local, Request};
use crate::api::{self, ListQuery, MAX_ENTRIES};
use crate::rules::amount::Millis;
use crate::rules::date::rfc3339;
use crate::rules::identity::form;
use crate::rules::issued_key::KeyId;
use crate::rules::record::is_suspended;
use crate::store::Found;
use crate::store::directory::{self, ListPage, PageAsk};
use crate::store::listed::{List, ListPlace, Listed};
use crate::store::tenants::Tenant;
use serde_json::Value;

/// Entries on a page whose query has no `limit`.
const USUAL_ENTRIES: usize = 50;
/// Entries that are read for a page of those that match.
const MOST_READ: usize = 2_000;

/// Serves `GET /admin/keys`.
pub(super) async fn keys(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let (page, total) = read(local, request, tenant, List::Keys).await?;
    let cursor = page.next.map(cursor);
    let keys = page.found.iter().map(|(entry, found)| key(entry, found));
    let keys = keys.collect();
    let answer = api::AdminKeys {
        keys,
        total,
        cursor,
    };
    Ok(json(200, &answer))
}

/// Serves `GET /admin/users`.
pub(super) async fn users(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let (page, total) = read(local, request, tenant, List::Users).await?;
    let cursor = page.next.map(cursor);
    let users = page.found.iter().map(|(_, found)| user(found)).collect();
    let answer = api::AdminUsers {
        users,
        total,
        cursor,
    };
    Ok(json(200, &answer))
}

async fn read(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    list: List,
) -> Result<(ListPage, u64), Refusal> {
    admin::authorize(local, request, &tenant.id, Right::Look).await?;
    let (query, after) = wanted(request.query)?;
    let wanted = PageAsk {
        after,
        limit: query.limit.unwrap_or(USUAL_ENTRIES),
        most_read: MOST_READ,
    };
    let matches = |found: &Found| is_wanted(&query, found);
    let store = &*local.store;
    let page = directory::page(store, &tenant.id, &tenant.groups, list, wanted, matches);
    let page = page.await?;
    let total = store.count_listed(&tenant.id, list).await?;
    Ok((page, total))
}

fn is_wanted(query: &ListQuery, found: &Found) -> bool {
    let of_group = |group: &String| found.standing.group == *group;
    let of_user = |user: &String| user_and_creation(found).0 == Some(Value::from(user.as_str()));
    let is_so = |suspended: bool| is_suspended(&found.record) == suspended;
    query.group.as_ref().is_none_or(of_group)
        && query.user_id.as_ref().is_none_or(of_user)
        && query.suspended.is_none_or(is_so)
}

/// Returns the user and the creation that an account's record names.
fn user_and_creation(found: &Found) -> (Option<Value>, Option<String>) {
    let mut record: Value = serde_json::from_str(&found.record).unwrap_or_default();
    let created = record["createdAt"].as_str().map(str::to_owned);
    let user = record.get_mut("userId").map(Value::take);
    (user, created)
}

fn key(entry: &Listed, found: &Found) -> api::AdminKey {
    let created = entry.place.created;
    api::AdminKey {
        id: entry.place.id.to_string(),
        account: found.label(),
        group: found.standing.group.clone(),
        user_id: user_and_creation(found).0,
        tokens_left: found.look.left,
        tokens_free: found.look.free,
        created_at: (created > Millis(0)).then(|| rfc3339(created)),
        expires_at: found.life.map(expiry),
        suspended: is_suspended(&found.record),
    }
}

/// Returns a person as lists show them.
pub(super) fn user(found: &Found) -> api::AdminUser {
    let (user_id, created_at) = user_and_creation(found);
    api::AdminUser {
        id: found.label(),
        account: found.account.part().to_owned(),
        user_id,
        group: found.standing.group.clone(),
        tokens_left: found.look.left,
        tokens_free: found.look.free,
        overrun: found.look.overrun,
        created_at,
        suspended: is_suspended(&found.record),
    }
}

/// Returns the cursor of a place. One that is made up leads to another place of the same list only.
fn cursor(place: ListPlace) -> String {
    format!("{}-{}", place.created.0, place.id)
}

fn place(cursor: &str) -> Option<ListPlace> {
    let (created, id) = cursor.split_once('-')?;
    let is_number = !created.is_empty() && created.bytes().all(|byte| byte.is_ascii_digit());
    Some(ListPlace {
        created: Millis(is_number.then(|| created.parse().ok())??),
        id: KeyId::parse(id)?,
    })
}

/// Parses the query; parameters that are not in [`ListQuery`] are refused with 400.
fn wanted(query: &str) -> Result<(ListQuery, Option<ListPlace>), Refusal> {
    let mut read = ListQuery::default();
    for field in form::fields(query) {
        let unread = |name| Refusal::Bad(format!("{name} must be percent-encoded"));
        let (name, value) = field.map_err(unread)?;
        let wrong = |rule: &str| Refusal::Bad(format!("{name} must be {rule}"));
        match name.as_str() {
            "limit" => {
                let limit = value.parse().ok();
                let limit = limit.filter(|limit| (1..=MAX_ENTRIES).contains(limit));
                let rule = format!("a whole number from 1 to {MAX_ENTRIES}");
                read.limit = Some(limit.ok_or_else(|| wrong(&rule))?);
            }
            "suspended" => {
                let is = value.parse().ok();
                read.suspended = Some(is.ok_or_else(|| wrong("true or false"))?);
            }
            "cursor" => read.cursor = Some(value),
            "group" => read.group = Some(value),
            "userId" => read.user_id = Some(value),
            _ => {
                let rule = "The query has only: limit, cursor, group, userId, suspended";
                return Err(Refusal::Bad(rule.to_owned()));
            }
        }
    }
    let none = || Refusal::Bad("cursor is none of an answer".to_owned());
    let after = read.cursor.as_deref();
    let after = after.map(|text| place(text).ok_or_else(none)).transpose()?;
    Ok((read, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        let at = ListPlace {
            created: Millis(1_800_000_000_123),
            id: KeyId::parse("0123456789ab").unwrap(),
        };
        assert_eq!(place(&cursor(at)), Some(at));
        for other in [
            "",
            "-",
            "1-",
            "-0123456789ab",
            "+1-0123456789ab",
            "x-0123456789ab",
            "1-0123456789AB",
        ] {
            assert_eq!(place(other), None, "{other}");
        }
        assert!(wanted("limit=0").is_err());
        assert!(wanted("limit=201").is_err());
        assert!(wanted("order=asc").is_err());
        assert!(wanted("cursor=1-2").is_err());
        let (query, after) = wanted("limit=7&userId=a%2Fb&suspended=true").unwrap();
        assert_eq!(
            (query.limit, query.suspended, after),
            (Some(7), Some(true), None)
        );
        assert_eq!(query.user_id.as_deref(), Some("a/b"));
    }
}
