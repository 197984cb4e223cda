//! One step by either release, with its answer as text.

use super::before::{Before, There};
use super::model;
use super::step::{GROUPS, Step, TTL, Verb, groups, tenant_word};
use super::world::Account;
use resullm::rules::account::{Credit, Credited, Settlement};
use resullm::rules::amount::Tokens;
use resullm::rules::entry::Caller;
use resullm::store::{KeyAdmission, Store};

/// An answer, and by how much it says that the balance has changed.
pub struct Answer {
    pub text: String,
    pub change: i64,
}

impl Answer {
    fn of(text: String) -> Answer {
        Answer { text, change: 0 }
    }

    fn settled(of: &impl std::fmt::Debug, settlement: &Settlement) -> Answer {
        Answer {
            text: format!("{of:?}"),
            change: -signed(settlement.charged),
        }
    }

    fn credited(credited: Credited, amount: u64) -> Answer {
        let is_added = matches!(credited, Credited::Added { .. });
        Answer {
            text: format!("{credited:?}"),
            change: if is_added {
                signed(Tokens::new(amount))
            } else {
                0
            },
        }
    }
}

pub fn signed(tokens: Tokens) -> i64 {
    tokens.count().try_into().unwrap()
}

pub fn by_before(before: &mut Before, account: &Account, step: &Step) -> Answer {
    let name = account.name.as_str();
    match &step.verb {
        Verb::Admit { key, tenant, .. } => {
            let (id, key) = (step.id(), account.key(*key).as_str());
            let tenant = tenant_word(*tenant);
            let groups = model::groups_before();
            match before.admit(key, tenant, &groups, &step.ask(&id)) {
                There::Gone => Answer::of("gone".to_owned()),
                there => {
                    let (group, verdict) = there.done();
                    Answer::of(format!("{group} {verdict:?}"))
                }
            }
        }
        Verb::Renew { known, .. } => {
            let renewed = before.renew(name, &step.id(), Tokens::new(*known), TTL);
            Answer::of(format!("{renewed:?}"))
        }
        Verb::Settle { used, retry, .. } => {
            let settled = before.settle(name, &step.id(), Tokens::new(*used), *retry);
            Answer::settled(&settled, &settled)
        }
        Verb::Resettle { used, .. } => {
            let settled = before.resettle(name, &step.id(), Tokens::new(*used));
            Answer::settled(&settled, &settled)
        }
        Verb::Lease { .. } => Answer::of(format!("{:?}", before.lease(name, &step.lease()))),
        Verb::Report { .. } => {
            let reported = before.report(name, &step.report());
            Answer::settled(&reported, &reported.settlement)
        }
        Verb::Credit { id, amount } => {
            let credited = before.credit(name, &format!("c{id}"), Tokens::new(*amount));
            Answer::credited(credited, *amount)
        }
        Verb::Regroup { group } => {
            before.regroup(name, GROUPS[*group]);
            Answer::of("moved".to_owned())
        }
        Verb::Take | Verb::Receive { .. } | Verb::Wait { .. } => unreachable!("{step:?}"),
    }
}

pub async fn by_engine(store: &dyn Store, account: &Account, step: &Step) -> Answer {
    let name = &account.name;
    match &step.verb {
        Verb::Admit { key, tenant, .. } => {
            let (id, key) = (step.id(), account.key(*key));
            let caller = Caller {
                tenant: tenant_word(*tenant),
                key: key.as_str(),
                groups: &groups(),
            };
            match store.admit(key, caller, &step.ask(&id)).await.unwrap() {
                KeyAdmission::Unknown => Answer::of("gone".to_owned()),
                KeyAdmission::Known {
                    standing,
                    carry,
                    admission,
                    ..
                } => Answer::of(format!("{standing:?} {carry:?} {admission:?}")),
            }
        }
        Verb::Renew { known, .. } => {
            let renewed = store
                .renew(name, &step.id(), Tokens::new(*known), TTL)
                .await;
            Answer::of(format!("{:?}", renewed.unwrap()))
        }
        Verb::Settle { used, retry, .. } => {
            let (id, used) = (step.id(), Tokens::new(*used));
            let settled = store.settle(name, &id, used, *retry, "").await;
            let settled = settled.unwrap().unwrap();
            Answer::settled(&settled, &settled)
        }
        Verb::Resettle { used, .. } => {
            let settled = store
                .resettle(name, &step.id(), Tokens::new(*used), "")
                .await;
            let settled = settled.unwrap().unwrap();
            Answer::settled(&settled, &settled)
        }
        Verb::Lease { .. } => {
            let grant = store.lease(name, &step.lease()).await;
            Answer::of(format!("{:?}", grant.unwrap().unwrap()))
        }
        Verb::Report { .. } => {
            let reported = store.report(name, &step.report()).await.unwrap().unwrap();
            Answer::settled(&reported, &reported.settlement)
        }
        Verb::Credit { id, amount } => {
            let id = format!("c{id}");
            let credited = store
                .credit(name, &Credit::of(&id, Tokens::new(*amount)))
                .await;
            Answer::credited(credited.unwrap().unwrap(), *amount)
        }
        Verb::Regroup { group } => {
            assert!(store.regroup(name, GROUPS[*group]).await.unwrap());
            Answer::of("moved".to_owned())
        }
        Verb::Take | Verb::Receive { .. } | Verb::Wait { .. } => unreachable!("{step:?}"),
    }
}
