//! Options that several commands share.

use super::call::{AdminCall, AnswerForm};
use crate::api;
use crate::tables::duration;
use clap::Args;

/// Way to the `/admin` routes, and form of the answer.
#[derive(Args)]
pub(super) struct AskOptions {
    /// Ask a running gateway over HTTP instead of opening the store: https, or http on this machine. Needs the admin token
    /// (`ADMIN_TOKEN`). The variable `RESULLM_GATEWAY` does the same
    #[arg(long, global = true, value_name = "URL")]
    pub gateway: Option<String>,
    /// Print the answer's JSON as it is, for `jq`
    #[arg(long, global = true)]
    pub json: bool,
}

/// Tenant that a command is about, and the [`AskOptions`] to its routes.
#[derive(Args)]
pub(super) struct At {
    /// The tenant's ID, as in paths: `acme`
    #[arg(long, global = true, default_value = "default")]
    pub tenant: String,
    #[command(flatten)]
    pub way: AskOptions,
}

/// Size of a list (`limit`).
#[derive(Args)]
pub(super) struct Extent {
    /// The most to list
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// List all, page after page
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

/// Credit or debit of a balance: [`api::Credit`].
#[derive(Args)]
pub(super) struct Adjustment {
    /// Number of tokens
    tokens: u64,
    /// Idempotency ID: repeated with the same ID, it counts once
    #[arg(long)]
    id: Option<String>,
    /// Comment for the ledger
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

impl Adjustment {
    /// Makes it the body of `call`. Without an ID it gets a new one, which a failure can name.
    pub fn of(self, call: AdminCall) -> Result<AdminCall, String> {
        let id = self.id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let call = call.sends(&api::Credit {
            tokens: self.tokens,
            id: Some(id.clone()),
            comment: self.comment,
        })?;
        Ok(AdminCall {
            id: Some(id),
            ..call
        })
    }
}

/// Makes a call the one that suspends an account, or takes its calls again.
pub(super) fn suspends(call: AdminCall, suspended: bool) -> Result<AdminCall, String> {
    call.sends(&api::Suspend { suspended })
}

/// Makes a call the one that reads a ledger of this extent.
pub(super) fn reads_ledger(call: AdminCall, extent: &Extent) -> AdminCall {
    let limit = extent.limit.map(|limit| limit.to_string());
    let ledger = call.with(vec![("limit", limit)]);
    ledger
        .in_form(AnswerForm::Ledger)
        .all(extent.all, "postings")
}

/// Parses a duration such as `30d` into whole seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let time = duration(text).filter(|time| time.as_secs() > 0 && time.subsec_nanos() == 0);
    let rule = || "expected a duration of whole seconds, such as 90s, 12h or 30d".to_owned();
    time.map(|time| time.as_secs()).ok_or_else(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_seconds() {
        assert_eq!(seconds("30d"), Ok(2_592_000));
        assert_eq!(seconds("1h30m"), Ok(5_400));
        for wrong in ["", "0s", "1500ms", "3600", "-1h", "soon"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
