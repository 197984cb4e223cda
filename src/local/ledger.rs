//! Ledgers of accounts as an admin sees them: `GET /admin/keys/{key}/ledger`, `GET /admin/users/{user}/ledger`.

use super::admin::Right;
use super::answer::{Answer, Refusal, json};
use super::{Local, Request, accounts, admin, named};
use crate::api::{
    AccountLedger, FoldedPostings, LedgerQuery, Posting as ShownPosting, PostingDetail,
    PostingReason,
};
use crate::rules::amount::Millis;
use crate::rules::date::rfc3339;
use crate::rules::posting::{Posting, Reason, Statement};
use crate::store::LedgerPage;
use crate::store::name::AccountName;
use crate::store::tenants::Tenant;

/// Beginning of the keys of people, whose records name their group anyway.
const KEY_OF_PERSON: &str = "user_";

/// Serves `GET /admin/keys/{key}/ledger`.
pub(super) async fn of_key(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    key: &str,
) -> Result<Answer, Refusal> {
    let (_, key, found) = accounts::find(local, request, tenant, key, Right::Look).await?;
    let query = wanted(request.query)?;
    let ledger = ledger(local, tenant, &found.account, key.as_str(), &query).await?;
    Ok(json(200, &ledger.ok_or(Refusal::NotFound)?))
}

/// Serves `GET /admin/users/{user}/ledger`.
pub(super) async fn of_user(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    user: &str,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, &tenant.id, Right::Look).await?;
    let query = wanted(request.query)?;
    let account = named::user_account(local, tenant, user).await?;
    let person = local.store.person(&account, &tenant.id).await?;
    person.ok_or(Refusal::NotFound)?;
    let ledger = ledger(local, tenant, &account, KEY_OF_PERSON, &query).await?;
    Ok(json(200, &ledger.ok_or(Refusal::NotFound)?))
}

/// Parses the query; other parameters are refused.
fn wanted(query: &str) -> Result<LedgerQuery, Refusal> {
    let mut wanted = LedgerQuery::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "limit" => {
                let most = LedgerQuery::MAX_POSTINGS;
                let limit = value.parse().ok();
                let limit = limit.filter(|limit| (1..=most).contains(limit));
                let rule =
                    || Refusal::Bad(format!("limit must be a whole number from 1 to {most}"));
                wanted.limit = limit.ok_or_else(rule)?;
            }
            "cursor" => {
                let rule = || Refusal::Bad("cursor must be that of the page before".to_owned());
                value.parse::<u64>().map_err(|_| rule())?;
                wanted.cursor = Some(value.to_owned());
            }
            _ => {
                let why = format!("{name} is not one of: limit, cursor");
                return Err(Refusal::Bad(why));
            }
        }
    }
    Ok(wanted)
}

/// Returns a page of an account's ledger. `None`: there is no such account.
pub(super) async fn ledger(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
    key: &str,
    query: &LedgerQuery,
) -> Result<Option<AccountLedger>, Refusal> {
    let page = LedgerPage {
        before: query.cursor.as_ref().and_then(|cursor| cursor.parse().ok()),
        most: query.limit,
    };
    let statement = local.store.statement(account, &tenant.groups, key, page);
    let statement = statement.await?;
    Ok(statement.map(|statement| shown(statement, query.limit)))
}

fn shown(statement: Statement, limit: usize) -> AccountLedger {
    let Statement {
        left,
        postings,
        sums,
    } = statement;
    let last = postings.last().map(|posting| posting.number.to_string());
    let folded = sums
        .0
        .into_iter()
        .map(|((day, reason), sum)| FoldedPostings {
            day: (day > 0).then(|| rfc3339(Millis(day * Millis::DAY.0))[..10].to_owned()),
            reason: shown_reason(reason),
            count: sum.count,
            amount: sum.amount,
        });
    AccountLedger {
        tokens_left: left,
        cursor: last.filter(|_| postings.len() == limit),
        postings: postings.into_iter().map(posting).collect(),
        folded: folded.collect(),
    }
}

fn posting(posting: Posting) -> ShownPosting {
    let detail: PostingDetail = serde_json::from_str(&posting.note).unwrap_or_default();
    ShownPosting {
        number: posting.number,
        time: rfc3339(posting.at),
        amount: posting.amount,
        tokens_left: posting.left,
        reason: shown_reason(posting.reason),
        id: Some(posting.id).filter(|id| !id.is_empty()),
        overrun: posting.overrun,
        detail,
    }
}

fn shown_reason(reason: Reason) -> PostingReason {
    match reason {
        Reason::Opened => PostingReason::Opened,
        Reason::Outside => PostingReason::Outside,
        Reason::Settled => PostingReason::Settled,
        Reason::Expired => PostingReason::Expired,
        Reason::Refilled => PostingReason::Refilled,
        Reason::Carried => PostingReason::Carried,
        Reason::Credited => PostingReason::Credited,
        Reason::Debited => PostingReason::Debited,
        Reason::Granted => PostingReason::Granted,
        Reason::TakenBack => PostingReason::TakenBack,
        Reason::GivenBack => PostingReason::GivenBack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_understood_or_refused() {
        let read = wanted("limit=7&cursor=18").unwrap_or_else(|_| panic!("refused"));
        assert_eq!((read.limit, read.cursor.as_deref()), (7, Some("18")));
        for bad in [
            "limit=0",
            "limit=1001",
            "cursor=x",
            "cursor=-1",
            "cursor",
            "page=2",
        ] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }
}
