//! Pages for people: a session's payment page, the customer portal, the merchant's dashboard.
//!
//! A page's address holds an id that cannot be guessed, and that is the only permission there is.

mod dashboard;
mod layout;
mod pay;
mod portal;

use super::account::StripeAccount;
use super::form::Form;
pub(super) use layout::HtmlReply;
use std::sync::Arc;

/// Answers `GET` and `POST` of a page. `accounts` are all of the stand-in's.
pub(super) fn answer(
    accounts: &[Arc<StripeAccount>],
    method: &str,
    path: &str,
    body: &[u8],
) -> HtmlReply {
    let posted = (method == "POST").then(|| Form::parse(body));
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (room, id) = (parts.next(), parts.next().unwrap_or_default());
    let find = |holds: &dyn Fn(&StripeAccount) -> bool| {
        let mut accounts = accounts.iter();
        accounts.find(|account| holds(account))
    };
    match room {
        Some("pay") => {
            let holder = find(&|account| account.data().sessions.find(id).is_some());
            holder.map(|account| pay::answer(account, id, posted.is_some()))
        }
        Some("portal") => {
            let holder = find(&|account| account.data().portals.find(id).is_some());
            holder.map(|account| portal::answer(account, id, posted.as_ref()))
        }
        Some("dashboard") => {
            let holder = find(&|account| account.dashboard() == id);
            holder.map(|account| dashboard::answer(account, posted.as_ref()))
        }
        _ => None,
    }
    .unwrap_or_else(|| layout::message(404, "Not found", "There is nothing here."))
}
