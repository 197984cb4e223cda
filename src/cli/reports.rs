//! `resullm usage` and `resullm audit`: their words, and the requests that they mean.

use super::call::{AdminCall, AnswerForm};
use super::options::{AskOptions, At, Extent};
use clap::Args;
use http::Method;

#[derive(Args)]
pub(super) struct UsageArguments {
    #[command(flatten)]
    at: At,
    /// Days to look back (default: `30`)
    #[arg(long, value_name = "N")]
    days: Option<u64>,
    /// One row for each combination of these, such as `day,model`
    #[arg(long, value_name = "NAMES")]
    by: Option<String>,
    /// Print CSV (`text/csv`)
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Show the latest requests too, at most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only calls of this model
    #[arg(long)]
    model: Option<String>,
    /// Only calls with this key, by its `id`
    #[arg(long)]
    key: Option<String>,
    /// Only calls of this account, by its `keyId`
    #[arg(long)]
    account: Option<String>,
    /// Only calls of accounts of this group
    #[arg(long)]
    group: Option<String>,
    /// Only calls that this endpoint answered
    #[arg(long)]
    endpoint: Option<String>,
    /// Only calls since this moment, such as `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only calls before this moment, as `--since`
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(Args)]
pub(super) struct AuditArguments {
    /// The tenant's ID (default: `default`)
    #[arg(long, conflicts_with = "all_tenants")]
    tenant: Option<String>,
    #[command(flatten)]
    way: AskOptions,
    #[command(flatten)]
    extent: Extent,
    /// Only changes since this moment, such as `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only changes before this moment, as `--since`
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only changes of this kind, such as `key.credited`
    #[arg(long)]
    action: Option<String>,
    /// The operator's changes of tenants, configs and admin tokens, those of deleted tenants too
    #[arg(long)]
    all_tenants: bool,
}

/// Changes in one answer with `--all`, where all pages are asked for: as many as an answer can have.
const CHANGES_A_PAGE: usize = crate::api::MAX_CHANGES;

/// Returns the request of `resullm usage`, and the way to send it on.
pub(super) fn usage(asked: UsageArguments) -> (AskOptions, AdminCall) {
    let path = "/admin/usage".to_owned();
    let sums_alone = asked.by.is_none() && !asked.csv && !asked.at.way.json;
    // A table of sums needs no requests, of which an answer has a hundred otherwise.
    let limit = asked.limit.or(sums_alone.then_some(0));
    let form = if asked.csv {
        AnswerForm::Verbatim
    } else {
        AnswerForm::Usage
    };
    let text = |number: Option<u64>| number.map(|number| number.to_string());
    let call = AdminCall::of_tenant(&asked.at.tenant, Method::GET, path)
        .in_form(form)
        .with(vec![
            ("days", text(asked.days)),
            ("limit", text(limit)),
            ("by", asked.by),
            ("format", asked.csv.then(|| "csv".to_owned())),
            ("model", asked.model),
            ("key", asked.key),
            ("account", asked.account),
            ("group", asked.group),
            ("endpoint", asked.endpoint),
            ("since", asked.since),
            ("until", asked.until),
        ]);
    (asked.at.way, call)
}

/// Returns the request of `resullm audit`, and the way to send it on.
pub(super) fn audit(asked: AuditArguments) -> (AskOptions, AdminCall) {
    let path = "/admin/audit".to_owned();
    let call = match asked.all_tenants {
        true => AdminCall::of_operator(Method::GET, path).in_form(AnswerForm::AllChanges),
        false => {
            let tenant = asked.tenant.as_deref().unwrap_or("default");
            AdminCall::of_tenant(tenant, Method::GET, path).in_form(AnswerForm::Changes)
        }
    };
    let Extent { limit, all } = asked.extent;
    let limit = match all {
        true => Some(CHANGES_A_PAGE.to_string()),
        false => limit.map(|limit| limit.to_string()),
    };
    let call = call.all(all, "changes").with(vec![
        ("limit", limit),
        ("since", asked.since),
        ("until", asked.until),
        ("action", asked.action),
    ]);
    (asked.way, call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    enum Line {
        Usage(UsageArguments),
        Audit(AuditArguments),
    }

    fn told(line: &str) -> String {
        let words = std::iter::once("resullm").chain(line.split(' '));
        let (_, call) = match Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"))
        {
            Line::Usage(asked) => usage(asked),
            Line::Audit(asked) => audit(asked),
        };
        let tenant = call.tenant.clone().unwrap_or_default();
        format!("{} {tenant}{}?{}", call.method, call.path, call.query())
    }

    #[test]
    fn words_become_requests() {
        for (line, request) in [
            ("usage", "GET default/admin/usage?limit=0"),
            ("usage --json", "GET default/admin/usage?"),
            ("usage --limit 5", "GET default/admin/usage?limit=5"),
            (
                "usage --days 7 --by day,model --tenant t",
                "GET t/admin/usage?days=7&by=day,model",
            ),
            (
                "usage --by day --csv --model m --key k --account a --group g --endpoint e --since s --until u",
                "GET default/admin/usage?by=day&format=csv&model=m&key=k&account=a&group=g&endpoint=e&since=s&until=u",
            ),
            ("audit", "GET default/admin/audit?"),
            (
                "audit --tenant t --limit 5 --action key.credited",
                "GET t/admin/audit?limit=5&action=key.credited",
            ),
            (
                "audit --all-tenants --all --since 2026-01-31T12:00:00Z",
                "GET /admin/audit?limit=200&since=2026-01-31T12:00:00Z",
            ),
        ] {
            assert_eq!(told(line), request, "{line}");
        }
    }

    #[test]
    fn wrong_words_are_refused() {
        for line in [
            "usage --csv --json",
            "usage --days x",
            "audit --all-tenants --tenant t",
            "audit --all --limit 3",
        ] {
            let words = std::iter::once("resullm").chain(line.split(' '));
            assert!(Line::try_parse_from(words).is_err(), "{line}");
        }
    }
}
