//! `resullm key …`: its words, and the requests that they mean.

use super::call::{AdminCall, AnswerForm};
use super::options::{Adjustment, At, Extent, reads_ledger, seconds, suspends};
use crate::api;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use http::Method;

#[derive(Args)]
pub(super) struct KeyArguments {
    #[command(flatten)]
    pub at: At,
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// A key on the command line: itself, or its ID, which tells nobody a secret.
#[derive(Args)]
pub(super) struct NamedKey {
    /// The key, or its ID as lists and logs show it
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    key: String,
}

/// Changes of a key's account: [`api::Move`].
#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct MoveOptions {
    /// The new group; the balance stays
    #[arg(long)]
    group: Option<String>,
    /// The app's own ID of the user whose key it is
    #[arg(long)]
    user: Option<String>,
    /// Life of the key from now, such as `30d`
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: Option<u64>,
    /// The key does not end by itself any longer
    #[arg(long, conflicts_with = "expires")]
    never_expires: bool,
    /// Tokens to add to the balance
    #[arg(long)]
    tokens: Option<u64>,
    /// Idempotency ID of the tokens: repeated with the same ID, they count once
    #[arg(long, requires = "tokens")]
    id: Option<String>,
    /// Comment for the ledger
    #[arg(long, value_name = "TEXT", requires = "tokens")]
    comment: Option<String>,
}

impl MoveOptions {
    /// Makes it the body of `call`. Tokens without an ID get a new one, which a failure can name.
    fn of(self, call: AdminCall) -> Result<AdminCall, String> {
        let new = || uuid::Uuid::new_v4().to_string();
        let id = self.tokens.map(|_| self.id.unwrap_or_else(new));
        let expires = match self.never_expires {
            true => Some(None),
            false => self.expires.map(Some),
        };
        let call = call.sends(&api::Move {
            group: self.group,
            user_id: self.user.map(Some),
            expires_in_seconds: expires,
            tokens: self.tokens,
            id: id.clone(),
            comment: self.comment,
        })?;
        Ok(AdminCall { id, ..call })
    }
}

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// List keys with their balances (`tokensLeft`)
    #[command(after_help = "Example:\n  resullm key list --tenant acme --group members --limit 20")]
    List {
        /// Only keys of this group
        #[arg(long)]
        group: Option<String>,
        /// Only keys of this user
        #[arg(long)]
        user: Option<String>,
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a key's balance, group and expiry
    #[command(after_help = "Example:\n  resullm key show $KEY --tenant acme")]
    Show {
        #[command(flatten)]
        key: NamedKey,
    },
    /// Mint a key, which is shown only now
    #[command(
        after_help = "Example:\n  resullm key mint --tenant acme --group members --tokens 50000 --expires 30d --user alice"
    )]
    Mint {
        /// Group whose limits apply to the key (default: `anonymous`)
        #[arg(long)]
        group: Option<String>,
        /// The key's balance in tokens (default: the group's `tokens`)
        #[arg(long)]
        tokens: Option<u64>,
        /// Life of the key, such as `12h` or `30d` (default: it never ends)
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
        /// The app's own ID (`userId`) of the user whose key it is
        #[arg(long)]
        user: Option<String>,
    },
    /// Add tokens to a key's balance
    #[command(
        after_help = "Example:\n  resullm key credit $KEY 5000 --id order-17 --comment 'was cut off' --tenant acme"
    )]
    Credit {
        #[command(flatten)]
        key: NamedKey,
        #[command(flatten)]
        change: Adjustment,
    },
    /// Take tokens from a key's balance: all of them or none
    #[command(after_help = "Example:\n  resullm key debit $KEY 5000 --id refund-17 --tenant acme")]
    Debit {
        #[command(flatten)]
        key: NamedKey,
        #[command(flatten)]
        change: Adjustment,
    },
    /// Change a key's group, user, expiry and tokens in one step
    #[command(
        after_help = "Example:\n  resullm key move $KEY --group members --user alice --never-expires --tokens 5000 --tenant acme"
    )]
    Move {
        #[command(flatten)]
        key: NamedKey,
        #[command(flatten)]
        change: MoveOptions,
    },
    /// Revoke a key for ever
    #[command(after_help = "Example:\n  resullm key revoke $KEY --tenant acme")]
    Revoke {
        #[command(flatten)]
        key: NamedKey,
    },
    /// Replace a key by a new one with the same account; the old one ends as with `revoke`
    #[command(after_help = "Example:\n  resullm key roll $KEY --tenant acme")]
    Roll {
        #[command(flatten)]
        key: NamedKey,
    },
    /// Refuse a key's calls until `resume`
    #[command(after_help = "Example:\n  resullm key suspend $KEY --tenant acme")]
    Suspend {
        #[command(flatten)]
        key: NamedKey,
    },
    /// End what `suspend` began
    #[command(after_help = "Example:\n  resullm key resume $KEY --tenant acme")]
    Resume {
        #[command(flatten)]
        key: NamedKey,
    },
    /// Show every change of a key's balance, the latest first
    #[command(after_help = "Example:\n  resullm key ledger $KEY --limit 10 --tenant acme")]
    Ledger {
        #[command(flatten)]
        key: NamedKey,
        #[command(flatten)]
        extent: Extent,
    },
}

/// Returns the request of a [`KeyCommand`].
pub(super) fn call(tenant: &str, command: KeyCommand) -> Result<AdminCall, String> {
    let about = |method, key: &NamedKey, below: &str| {
        AdminCall::about(tenant, method, ("key", &key.key), below)
    };
    match command {
        KeyCommand::List {
            group,
            user,
            extent: Extent { limit, all },
        } => {
            let list = AdminCall::of_tenant(tenant, Method::GET, "/admin/keys".to_owned());
            let limit = limit.or(all.then_some(api::MAX_ENTRIES as u64));
            let limit = limit.map(|limit| limit.to_string());
            let query = vec![("limit", limit), ("group", group), ("userId", user)];
            Ok(list
                .with(query)
                .in_form(AnswerForm::List("keys"))
                .all(all, "keys"))
        }
        KeyCommand::Show { key } => Ok(about(Method::GET, &key, "")),
        KeyCommand::Mint {
            group,
            tokens,
            expires,
            user,
        } => {
            let path = "/admin/keys".to_owned();
            AdminCall::of_tenant(tenant, Method::POST, path).sends(&api::Mint {
                group,
                tokens,
                expires_in_seconds: expires,
                user_id: user,
            })
        }
        KeyCommand::Credit { key, change } => change.of(about(Method::POST, &key, "/credit")),
        KeyCommand::Debit { key, change } => change.of(about(Method::POST, &key, "/debit")),
        KeyCommand::Move { key, change } => change.of(about(Method::PATCH, &key, "")),
        KeyCommand::Revoke { key } => Ok(about(Method::DELETE, &key, "")),
        KeyCommand::Roll { key } => Ok(about(Method::POST, &key, "/roll")),
        KeyCommand::Suspend { key } => suspends(about(Method::POST, &key, "/suspend"), true),
        KeyCommand::Resume { key } => suspends(about(Method::POST, &key, "/suspend"), false),
        KeyCommand::Ledger { key, extent } => {
            let ledger = about(Method::GET, &key, "/ledger");
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
        key: KeyArguments,
    }

    fn asked(line: &str) -> AdminCall {
        let words = std::iter::once("key").chain(line.split(' '));
        let read = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        call(&read.key.at.tenant, read.key.command).unwrap()
    }

    /// Method, tenant, path with its query, and body of a request.
    fn told(line: &str) -> (String, String) {
        let call = asked(line);
        let (tenant, query) = (call.tenant.clone().unwrap(), call.query());
        let mark = if query.is_empty() { "" } else { "?" };
        let told = format!("{} {tenant}{}{mark}{query}", call.method, call.path);
        (told, call.body)
    }

    #[test]
    fn words_become_requests() {
        for (line, request, body) in [
            ("list", "GET default/admin/keys", ""),
            (
                "list --group a --user b --limit 7 --tenant t",
                "GET t/admin/keys?limit=7&group=a&userId=b",
                "",
            ),
            ("show K", "GET default/admin/keys/K", ""),
            ("mint", "POST default/admin/keys", "{}"),
            (
                "mint --group a --tokens 5 --expires 1h --user b",
                "POST default/admin/keys",
                r#"{"group":"a","tokens":5,"expiresInSeconds":3600,"userId":"b"}"#,
            ),
            (
                "credit K 5 --id i --comment c",
                "POST default/admin/keys/K/credit",
                r#"{"tokens":5,"id":"i","comment":"c"}"#,
            ),
            (
                "--tenant t debit K 5 --id i",
                "POST t/admin/keys/K/debit",
                r#"{"tokens":5,"id":"i"}"#,
            ),
            (
                "move K --group a",
                "PATCH default/admin/keys/K",
                r#"{"group":"a"}"#,
            ),
            ("revoke K", "DELETE default/admin/keys/K", ""),
            ("roll K", "POST default/admin/keys/K/roll", ""),
            (
                "suspend K",
                "POST default/admin/keys/K/suspend",
                r#"{"suspended":true}"#,
            ),
            (
                "resume K",
                "POST default/admin/keys/K/suspend",
                r#"{"suspended":false}"#,
            ),
            (
                "ledger K --limit 3",
                "GET default/admin/keys/K/ledger?limit=3",
                "",
            ),
        ] {
            assert_eq!(told(line), (request.to_owned(), body.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_credit_without_an_id_gets_one_that_can_be_repeated() {
        let (one, other) = (asked("credit K 5"), asked("credit K 5"));
        assert!(one.id.as_ref().is_some_and(|id| one.body.contains(id)));
        assert_ne!(one.id, other.id);
    }

    #[test]
    fn wrong_words_are_refused() {
        for line in [
            "show ",
            "show",
            "credit K",
            "credit K -5",
            "credit K 1.5",
            "move K",
            "mint --expires soon",
            "mint acme",
            "list --all --limit 5",
        ] {
            let words = std::iter::once("key").chain(line.split(' '));
            assert!(Line::try_parse_from(words).is_err(), "{line}");
        }
    }
}
