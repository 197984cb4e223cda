//! Balances on their way from an anonymous key to the account of the person who used it.
//!
//! The account notes at its creation where its balance comes from (`rules::carry`), so whoever meets it later, on any
//! instance and after any crash, brings the move to its end: what is free moves at once, what requests in flight hold
//! when they are settled. Repeats move nothing twice.

use super::name::AccountName;
use super::{Outcome, People, Received};
use crate::rules::amount::Tokens;
use crate::rules::carry::{Carry, Taken};
use crate::rules::tenant::TenantId;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Pauses between the steps of a move whose requests in flight are waited for: 0.25 s, doubled up to 8 s.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Steps of one wait, about two minutes. Later, the account's next request begins another one.
const MAX_STEPS: u32 = 20;

pub struct Carries {
    store: Arc<dyn People>,
    /// Accounts whose move a task of this process is finishing.
    under_way: Mutex<HashSet<AccountName>>,
}

impl Carries {
    pub fn new(store: Arc<dyn People>) -> Arc<Carries> {
        Arc::new(Carries {
            store,
            under_way: Mutex::default(),
        })
    }

    /// Moves what is free now. `None`: the account is gone.
    pub async fn step(
        &self,
        tenant: &TenantId,
        account: &AccountName,
        carry: &Carry,
    ) -> Outcome<Option<Arrived>> {
        let taken = match AccountName::parse(&carry.from) {
            Some(from) => self.store.take(&from, tenant, account, carry.most).await?,
            None => None,
        };
        // An account that is gone, or whose balance has gone elsewhere, has nothing more to give.
        let (total, is_over) = match taken {
            Some(Taken::Took { total, is_over }) => (total, is_over),
            Some(Taken::Refused) | None => (Tokens::ZERO, true),
        };
        let received = self.store.receive(account, &carry.from, total, is_over);
        let received = received.await?;
        Ok(received.map(|Received { sum, left }| Arrived { sum, left, is_over }))
    }

    /// Finishes a move in the background, unless a task of this process is doing that.
    pub fn finish(self: &Arc<Carries>, tenant: &TenantId, account: &AccountName, carry: Carry) {
        if !self.under_way.lock().insert(account.clone()) {
            return;
        }
        let (carries, tenant, account) = (self.clone(), tenant.clone(), account.clone());
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            for _ in 0..MAX_STEPS {
                let step = carries.step(&tenant, &account, &carry).await;
                if matches!(step, Ok(None | Some(Arrived { is_over: true, .. }))) {
                    break;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            carries.under_way.lock().remove(&account);
        });
    }
}

/// Balance that a step of a move has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Sum that has come so far.
    pub sum: Tokens,
    /// The account's balance.
    pub left: Tokens,
    pub is_over: bool,
}
