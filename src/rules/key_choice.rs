//! Rendezvous hashing: which of a provider's keys an account's calls go out with.
//!
//! Providers cache prompts by key, so an account stays with one. A key that is added or removed moves only the accounts
//! that it gets, or that it had. Pure.

use ring::digest::{Context, SHA256};

/// Returns the indices of `keys` in the order in which this account's calls use them.
pub fn in_order(tenant: &str, account: &str, keys: &[u64]) -> Vec<usize> {
    let score = |key: u64| {
        let mut context = Context::new(&SHA256);
        for text in [tenant, account] {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        context.update(&key.to_be_bytes());
        context.finish().as_ref().to_vec()
    };
    let mut order: Vec<usize> = (0..keys.len()).collect();
    if keys.len() > 1 {
        order.sort_by_cached_key(|index| score(keys[*index]));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_share_the_accounts_and_tenants_differ() {
        let mut counts = [0; 4];
        let mut moved = 0;
        for account in 0..4_000 {
            let account = account.to_string();
            let first = |tenant| in_order(tenant, &account, &[1, 2, 3, 4])[0];
            counts[first("a")] += 1;
            moved += u32::from(first("a") != first("b"));
        }
        assert!(
            counts.iter().all(|count| (800..1_200).contains(count)),
            "{counts:?}"
        );
        assert!((2_800..3_200).contains(&moved), "{moved}");
    }

    proptest! {
        #[test]
        fn removing_a_key_moves_only_its_own_accounts(account in "[a-z]{1,9}", gone in 0usize..5) {
            let keys = [11, 22, 33, 44, 55];
            let name = |keys: &[u64]| in_order("t", &account, keys).into_iter().map(|at| keys[at]).collect::<Vec<_>>();
            let rest: Vec<u64> = keys.into_iter().filter(|key| *key != keys[gone]).collect();
            let before: Vec<u64> = name(&keys).into_iter().filter(|key| *key != keys[gone]).collect();
            prop_assert_eq!(before, name(&rest));
        }
    }
}
