//! Both releases on one server, and the accounts that a history has.

use super::before::Before;
use super::step::{GROUPS, KEYS, PERSON, START, TEMP};
use crate::harness::Redis;
use crate::harness::resp::Resp;
use crate::store::contract::{keeping, open};
use resullm::rules::account::Orphans;
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::entry::{Entry, Founding, Join};
use resullm::rules::issued_key::{IssuedKey, KeySource};
use resullm::rules::person::PersonId;
use resullm::store::name::{AccountName, KeyName};
use resullm::store::{Clock, Mint, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Both releases on one server, and the clock that both go by.
pub struct Two {
    pub store: Arc<dyn Store>,
    pub before: Before,
    pub clock: Arc<AtomicU64>,
}

impl Two {
    pub async fn on(redis: &Redis) -> Two {
        let clock = Arc::new(AtomicU64::new(START));
        let settings = keeping(Orphans::Known, Clock::Fixed(clock.clone()));
        Two {
            store: open(&redis.url(), settings).await,
            before: Before {
                resp: redis.connect().unwrap(),
                now: START,
            },
            clock,
        }
    }

    pub fn wait(&mut self, millis: u64) {
        self.clock.fetch_add(millis, Ordering::SeqCst);
        self.before.now = self.clock.load(Ordering::SeqCst);
    }

    pub fn now(&self) -> Millis {
        Millis(self.before.now)
    }

    pub fn text(&mut self, name: &str) -> String {
        self.before.resp.ask(&["GET", name]).unwrap().text()
    }

    pub fn hash(&mut self, name: &str) -> BTreeMap<String, String> {
        hash(&mut self.before.resp, name)
    }

    pub async fn mint(&self, key: &KeyName, user: Option<&str>, record: &str) {
        let mint = Mint {
            key: key.clone(),
            user: user.map(str::to_owned),
            record: record.to_owned(),
            life: None,
        };
        assert!(self.store.mint(&mint).await.unwrap());
    }
}

pub fn hash(resp: &mut Resp, name: &str) -> BTreeMap<String, String> {
    let reply = resp.ask(&["HGETALL", name]).unwrap();
    let pairs = reply.list().chunks(2);
    pairs.map(|pair| (pair[0].text(), pair[1].text())).collect()
}

/// An account, the keys that open it, and how it stands by the rule.
pub struct Account {
    pub name: AccountName,
    pub keys: Vec<KeyName>,
    pub entry: Entry,
}

impl Account {
    pub fn key(&self, at: usize) -> &KeyName {
        &self.keys[at % self.keys.len()]
    }
}

pub fn record(left: u64, group: &str) -> String {
    format!(
        r#"{{"userId":null, "x":{{"tokensLeft":1,"a":[]}},"createdAt":"2027-01-14T08:00:00.000Z","tokensLeft":{left},"tenantId":"abc","group":"{group}","label":"0123456789ab","new":[1e14,"\/"]}}"#
    )
}

pub fn join(key: &KeyName, at: usize, founding: Option<Founding>) -> Join {
    Join {
        tenant: "abc".to_owned(),
        id: key.id(),
        key: IssuedKey {
            source: [KeySource::SignIn, KeySource::Made, KeySource::Session][at],
            name: Some("a \"name\": é".to_owned()),
            start: "user_1".to_owned(),
            entry: key.account().as_str().to_owned(),
            created: Millis(0),
            expires: None,
            models: None,
            addresses: None,
            tokens_max: (at == 1).then_some(Tokens::new(40)),
            founded: false,
            used: None,
        },
        life: (at == 2).then_some(Millis(100_000_000)),
        identity: Some(format!("p_{at}")),
        apple: Some(format!("sealed:{at}")),
        founding,
    }
}

/// Accounts of one history: two that are a key's own and two that are a user's, of which one each was minted by the
/// release before; an anonymous key; and the person that its balance moves to, whose keys lead there as `layout: user`
/// writes it, so that the release before finds it.
pub async fn accounts(two: &mut Two, left: u64, moves: u64) -> Vec<Account> {
    let run = uuid::Uuid::new_v4();
    let key = |kind: &str, at: usize| KeyName::parse(&format!("{kind}_{run}-{at}")).unwrap();
    let mut accounts = Vec::new();
    for at in 0..PERSON {
        let (text, key) = (record(left, GROUPS[at % 4]), key("temp", at));
        let text = if at == TEMP {
            record(left, "anonymous")
        } else {
            text
        };
        let user = matches!(at, 2 | 3).then(|| format!("u-{run}-{at}"));
        match at % 2 {
            0 => assert!(two.before.mint(key.as_str(), user.as_deref(), &text)),
            _ => two.mint(&key, user.as_deref(), &text).await,
        }
        let name = user.map_or(key.account(), |user| AccountName::user(&user).unwrap());
        accounts.push(Account {
            name,
            keys: vec![key],
            entry: Entry::new(text),
        });
    }
    let name = AccountName::person(&PersonId::derive("abc", "app", "", &run.to_string()));
    let keys: Vec<KeyName> = (0..KEYS).map(|at| key("user", at)).collect();
    let founding = Founding {
        record: record(100, "daily"),
        token: Some(("t".to_owned(), Millis(START + 150_000_000))),
        carry: Some((accounts[TEMP].name.as_str().to_owned(), Tokens::new(moves))),
    };
    let mut entry = Entry::new(String::new());
    for (at, key) in keys.iter().enumerate() {
        let join = join(key, at, (at == 0).then(|| founding.clone()));
        two.store.join(&name, &join).await.unwrap();
        entry.join(two.now(), &join).unwrap();
        let lead = two.store.lead(&key.account(), name.part(), None).await;
        lead.unwrap();
    }
    accounts.push(Account { name, keys, entry });
    accounts
}
