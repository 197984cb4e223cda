//! `resullm user …`: its words, and the requests that they mean.

use super::call::{AdminCall, AnswerForm};
use super::options::{Adjustment, At, Extent, reads_ledger, suspends};
use crate::api;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use http::Method;

#[derive(Args)]
pub(super) struct UserArguments {
    #[command(flatten)]
    pub at: At,
    #[command(subcommand)]
    pub command: UserCommand,
}

/// A person on the command line.
#[derive(Args)]
pub(super) struct NamedUser {
    /// The app's own ID of the user, the name of the account, `p_…`, or its ID in usage records
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    user: String,
}

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// List people with their balances (`tokensLeft`)
    #[command(after_help = "Example:\n  resullm user list --tenant acme --group members --all")]
    List {
        /// Only people of this group
        #[arg(long)]
        group: Option<String>,
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a person's account, keys, holds, payments and latest requests
    #[command(after_help = "Example:\n  resullm user show alice --tenant acme")]
    Show {
        #[command(flatten)]
        user: NamedUser,
    },
    /// Add tokens to a person's balance
    #[command(
        after_help = "Example:\n  resullm user credit alice 5000 --id ticket-17 --comment 'was cut off' --tenant acme"
    )]
    Credit {
        #[command(flatten)]
        user: NamedUser,
        #[command(flatten)]
        change: Adjustment,
    },
    /// Take tokens from a person's balance: all of them or none
    #[command(
        after_help = "Example:\n  resullm user debit alice 5000 --id refund-17 --tenant acme"
    )]
    Debit {
        #[command(flatten)]
        user: NamedUser,
        #[command(flatten)]
        change: Adjustment,
    },
    /// Refuse the calls of all of a person's keys until `resume`
    #[command(after_help = "Example:\n  resullm user suspend alice --tenant acme")]
    Suspend {
        #[command(flatten)]
        user: NamedUser,
    },
    /// End what `suspend` began
    #[command(after_help = "Example:\n  resullm user resume alice --tenant acme")]
    Resume {
        #[command(flatten)]
        user: NamedUser,
    },
    /// Delete a person's account with its keys; what is left of its balance is lost
    #[command(after_help = "Example:\n  resullm user delete alice --tenant acme")]
    Delete {
        #[command(flatten)]
        user: NamedUser,
    },
    /// Print all that is kept of a person, as JSON
    #[command(after_help = "Example:\n  resullm user export alice --tenant acme > alice.json")]
    Export {
        #[command(flatten)]
        user: NamedUser,
    },
    /// Show every change of a person's balance, the latest first
    #[command(after_help = "Example:\n  resullm user ledger alice --limit 10 --tenant acme")]
    Ledger {
        #[command(flatten)]
        user: NamedUser,
        #[command(flatten)]
        extent: Extent,
    },
}

/// Returns the request of a [`UserCommand`].
pub(super) fn call(tenant: &str, command: UserCommand) -> Result<AdminCall, String> {
    let about = |method, user: &NamedUser, below: &str| {
        AdminCall::about(tenant, method, ("user", &user.user), below)
    };
    match command {
        UserCommand::List {
            group,
            extent: Extent { limit, all },
        } => {
            let list = AdminCall::of_tenant(tenant, Method::GET, "/admin/users".to_owned());
            let limit = limit.or(all.then_some(api::MAX_ENTRIES as u64));
            let limit = limit.map(|limit| limit.to_string());
            let list = list.with(vec![("limit", limit), ("group", group)]);
            Ok(list.in_form(AnswerForm::List("users")).all(all, "users"))
        }
        UserCommand::Show { user } => Ok(about(Method::GET, &user, "")),
        UserCommand::Credit { user, change } => change.of(about(Method::POST, &user, "/credit")),
        UserCommand::Debit { user, change } => change.of(about(Method::POST, &user, "/debit")),
        UserCommand::Suspend { user } => suspends(about(Method::POST, &user, "/suspend"), true),
        UserCommand::Resume { user } => suspends(about(Method::POST, &user, "/suspend"), false),
        UserCommand::Delete { user } => Ok(about(Method::DELETE, &user, "")),
        UserCommand::Export { user } => {
            Ok(about(Method::GET, &user, "/export").in_form(AnswerForm::Json))
        }
        UserCommand::Ledger { user, extent } => {
            let ledger = about(Method::GET, &user, "/ledger");
            Ok(reads_ledger(ledger, &extent))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        user: UserArguments,
    }

    fn told(line: &str) -> (String, String) {
        let words = std::iter::once("user").chain(line.split(' '));
        let read = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        let call = call(&read.user.at.tenant, read.user.command).unwrap();
        let told = format!("{} {}?{}", call.method, call.path, call.query());
        (told, call.body)
    }

    #[test]
    fn words_become_requests() {
        for (line, request, body) in [
            (
                "list --group a --limit 2",
                "GET /admin/users?limit=2&group=a",
                "",
            ),
            ("show auth0|x", "GET /admin/users/auth0%7Cx?", ""),
            (
                "credit a@b.c 5 --id i",
                "POST /admin/users/a%40b.c/credit?",
                r#"{"tokens":5,"id":"i"}"#,
            ),
            (
                "debit U 5 --id i",
                "POST /admin/users/U/debit?",
                r#"{"tokens":5,"id":"i"}"#,
            ),
            (
                "suspend U",
                "POST /admin/users/U/suspend?",
                r#"{"suspended":true}"#,
            ),
            (
                "resume U",
                "POST /admin/users/U/suspend?",
                r#"{"suspended":false}"#,
            ),
            ("delete U", "DELETE /admin/users/U?", ""),
            ("export U", "GET /admin/users/U/export?", ""),
            ("ledger U", "GET /admin/users/U/ledger?", ""),
        ] {
            assert_eq!(told(line), (request.to_owned(), body.to_owned()), "{line}");
        }
    }
}
