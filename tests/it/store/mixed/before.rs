//! The release before accounts of people came in, as far as Redis sees it: its scripts, kept in `before/`, and the
//! arguments that it sent with them.
//!
//! Written by hand from that release and never from the present one, which it is compared with.

use crate::harness::resp::{Reply, Resp};
use resullm::rules::account::{
    Admit, Ask, Credited, Grant, Look, Report, Reported, Settlement, Verdict,
};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::entry::Groups;
use resullm::rules::window::{Pace, Window};
use std::vec::IntoIter;

const BOOKS: &str = include_str!("../before/books.lua");
const ADMIT: &str = include_str!("../before/admit.lua");
const RENEW: &str = include_str!("../before/renew.lua");
const SETTLE: &str = include_str!("../before/settle.lua");
const RESETTLE: &str = include_str!("../before/resettle.lua");
const LEASE: &str = include_str!("../before/lease.lua");
const REPORT: &str = include_str!("../before/report.lua");
const CREDIT: &str = include_str!("../before/credit.lua");
const FIND: &str = include_str!("../before/find.lua");
const REGROUP: &str = include_str!("../before/regroup.lua");

/// Connection of an instance of the release before.
pub struct Before {
    pub resp: Resp,
    pub now: u64,
}

/// Reply of a script on an account's name.
#[derive(Debug, PartialEq, Eq)]
pub enum There<T> {
    Gone,
    /// Answered with 500, because what is stored is no record to it.
    Damaged(String),
    Done(T),
}

impl<T> There<T> {
    #[track_caller]
    pub fn done(self) -> T {
        match self {
            There::Done(done) => done,
            There::Gone => panic!("the account is gone"),
            There::Damaged(what) => panic!("damaged: {what}"),
        }
    }
}

/// Words of a reply, as that release parsed them.
pub struct Words(IntoIter<String>);

impl Words {
    fn word(&mut self) -> String {
        self.0.next().unwrap()
    }

    fn number(&mut self) -> u64 {
        self.word().parse().unwrap()
    }

    fn tokens(&mut self) -> Tokens {
        Tokens::new(self.number())
    }

    fn pace(&mut self) -> Option<Pace> {
        let limit = self.word();
        let (remaining, reset) = (self.number(), Millis(self.number()));
        limit.parse().ok().map(|limit| Pace {
            limit,
            remaining,
            reset,
        })
    }

    fn settlement(&mut self) -> Settlement {
        Settlement {
            charged: self.tokens(),
            overrun: self.tokens(),
            left: self.tokens(),
        }
    }
}

fn group_words(groups: &Groups) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
    let words = groups.iter().flat_map(|(name, limits)| {
        let limit = number(limits.window.map(|window| window.requests));
        let span = number(limits.window.map(|window| window.span.0));
        [name.to_owned(), limit, span, number(limits.concurrent)]
    });
    words.collect()
}

fn flag(set: bool) -> String {
    if set { "1" } else { "0" }.to_owned()
}

fn word(amount: Option<Tokens>) -> String {
    amount.map_or_else(String::new, |amount| amount.to_string())
}

impl Before {
    /// Runs a script on an account, or returns where the name leads.
    fn run(&mut self, verb: &str, account: &str, words: &[String]) -> (String, Words) {
        let (text, books) = (format!("{BOOKS}{verb}"), format!("{{{account}}}:books"));
        let now = self.now.to_string();
        let mut command = vec!["EVAL", &text, "2", account, &books, &now, "known"];
        command.extend(words.iter().map(String::as_str));
        let reply = self.resp.ask(&command).unwrap();
        assert_eq!(reply.error(), None, "{account} {words:?}");
        let said: Vec<String> = reply.list().iter().map(Reply::text).collect();
        let mut said = Words(said.into_iter());
        (said.word(), said)
    }

    fn on_account(
        &mut self,
        verb: &str,
        account: &str,
        words: &[String],
    ) -> There<(String, Words)> {
        let (kind, mut said) = self.run(verb, account, words);
        match kind.as_str() {
            // A name that leads elsewhere is no account, and so is a user's that does.
            "gone" | "user" => There::Gone,
            "damaged" => There::Damaged(said.word()),
            _ => There::Done((kind, said)),
        }
    }

    /// Runs a script from a key: if it leads to a user, on the user's account.
    fn on_key(&mut self, verb: &str, key: &str, words: &[String]) -> There<(String, Words)> {
        let own = format!("apiKey:{key}");
        let (kind, mut said) = self.run(verb, &own, words);
        match kind.as_str() {
            "user" => {
                let user = format!("user:{}", said.word());
                self.on_account(verb, &user, words)
            }
            "gone" => There::Gone,
            "damaged" => There::Damaged(said.word()),
            _ => There::Done((kind, said)),
        }
    }

    /// Creates a key's own account, or a user's that the key leads to.
    pub fn mint(&mut self, key: &str, user: Option<&str>, record: &str) -> bool {
        let own = format!("apiKey:{key}");
        let mut place = |name: &str, text: &str| {
            let reply = self.resp.ask(&["SET", name, text, "NX"]).unwrap();
            !reply.is_nil()
        };
        match user {
            Some(user) => place(&format!("user:{user}"), record) && place(&own, user),
            None => place(&own, record),
        }
    }

    pub fn revoke(&mut self, key: &str) {
        let (own, books) = (format!("apiKey:{key}"), format!("{{apiKey:{key}}}:books"));
        let text = self.resp.ask(&["GET", &own]).unwrap();
        let is_record = !text.is_nil() && text.text().trim_start().starts_with('{');
        let names: &[&str] = if is_record { &[&own, &books] } else { &[&own] };
        let command: Vec<&str> = ["DEL"].iter().chain(names).copied().collect();
        self.resp.ask(&command).unwrap();
    }

    pub fn admit(
        &mut self,
        key: &str,
        tenant: &str,
        groups: &Groups,
        ask: &Admit<'_>,
    ) -> There<(String, Verdict)> {
        let mut words = vec![
            ask.id.to_owned(),
            ask.least.to_string(),
            ask.most.to_string(),
            ask.open.to_string(),
            ask.known.to_string(),
            ask.ttl.0.to_string(),
            tenant.to_owned(),
            key.to_owned(),
        ];
        words.extend(group_words(groups));
        let (kind, mut said) = match self.on_key(ADMIT, key, &words) {
            There::Done(done) => done,
            There::Gone => return There::Gone,
            There::Damaged(what) => return There::Damaged(what),
        };
        let group = said.word();
        let (amount, left, pace) = (said.number(), said.tokens(), said.pace());
        let verdict = match kind.as_str() {
            "granted" => Verdict::Granted {
                held: Tokens::new(amount),
                left,
                pace,
            },
            "spent" => Verdict::Spent { left, pace },
            "held" => Verdict::Held { left, pace },
            "crowded" => Verdict::TooManyInFlight { left, pace },
            "limited" => Verdict::RateLimited {
                wait: Millis(amount),
                left,
                pace: pace.unwrap_or_default(),
            },
            other => panic!("{other}"),
        };
        There::Done((group, verdict))
    }

    /// Returns the record's text, the group and the state of a key's account.
    pub fn find(
        &mut self,
        key: &str,
        tenant: &str,
        groups: &Groups,
    ) -> There<(String, String, Look)> {
        let mut words = vec![tenant.to_owned(), key.to_owned()];
        words.extend(group_words(groups));
        let mut said = match self.on_key(FIND, key, &words) {
            There::Done((_, said)) => said,
            There::Gone => return There::Gone,
            There::Damaged(what) => return There::Damaged(what),
        };
        let (record, group) = (said.word(), said.word());
        // Life of the key.
        said.word();
        let look = Look {
            left: said.tokens(),
            free: said.tokens(),
            overrun: said.tokens(),
            pace: said.pace(),
        };
        There::Done((record, group, look))
    }

    pub fn renew(&mut self, account: &str, id: &str, known: Tokens, ttl: Millis) -> bool {
        let words = [id.to_owned(), known.to_string(), ttl.0.to_string()];
        self.on_account(RENEW, account, &words).done().0 == "renewed"
    }

    pub fn settle(&mut self, account: &str, id: &str, used: Tokens, retry: bool) -> Settlement {
        let words = [id.to_owned(), used.to_string(), flag(retry)];
        self.on_account(SETTLE, account, &words)
            .done()
            .1
            .settlement()
    }

    pub fn resettle(&mut self, account: &str, id: &str, used: Tokens) -> Settlement {
        let words = [id.to_owned(), used.to_string()];
        self.on_account(RESETTLE, account, &words)
            .done()
            .1
            .settlement()
    }

    pub fn lease(&mut self, account: &str, ask: &Ask<'_>) -> Grant {
        let number =
            |of: fn(Window) -> u64| ask.window.map_or_else(String::new, |w| of(w).to_string());
        let words = [
            ask.instance.to_owned(),
            ask.number.to_string(),
            ask.tokens.to_string(),
            ask.slots.to_string(),
            ask.ttl.0.to_string(),
            number(|window| window.requests),
            number(|window| window.span.0),
            ask.told.to_string(),
        ];
        let mut said = self.on_account(LEASE, account, &words).done().1;
        Grant {
            tokens: said.tokens(),
            slots: said.number(),
            slots_for: Millis(said.number()),
            reserved: said.tokens(),
            left: said.tokens(),
            pace: said.pace(),
        }
    }

    pub fn report(&mut self, account: &str, report: &Report<'_>) -> Reported {
        let words = [
            report.instance.to_owned(),
            report.number.to_string(),
            report.spent.to_string(),
            report.back.to_string(),
            report.ttl.0.to_string(),
            flag(report.retry),
            flag(report.ends),
            word(report.before),
            word(report.begun),
        ];
        let mut said = self.on_account(REPORT, account, &words).done().1;
        Reported {
            settlement: said.settlement(),
            reserved: said.tokens(),
        }
    }

    pub fn credit(&mut self, account: &str, id: &str, amount: Tokens) -> Credited {
        let words = [id.to_owned(), amount.to_string()];
        let (kind, mut said) = self.on_account(CREDIT, account, &words).done();
        let left = said.tokens();
        match kind.as_str() {
            "added" => Credited::Added { left },
            "repeated" => Credited::Repeated { left },
            _ => Credited::TooMuch {
                room: Tokens::MAX.minus(left),
            },
        }
    }

    pub fn regroup(&mut self, account: &str, group: &str) {
        self.on_account(REGROUP, account, &[group.to_owned()])
            .done();
    }
}
