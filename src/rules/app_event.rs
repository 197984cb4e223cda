//! Events for an app about its people ([`AppEventType`]), and the thresholds of a low balance.

use super::amount::Tokens;

/// Type of an event for the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppEventType {
    UserCreated,
    PaymentReceived,
    PlanChanged,
    BalanceLow,
    KeySpent,
}

impl AppEventType {
    pub const ALL: [(&'static str, AppEventType); 5] = [
        ("user.created", AppEventType::UserCreated),
        ("payment.received", AppEventType::PaymentReceived),
        ("plan.changed", AppEventType::PlanChanged),
        ("balance.low", AppEventType::BalanceLow),
        ("key.spent", AppEventType::KeySpent),
    ];

    pub fn word(self) -> &'static str {
        let named = AppEventType::ALL.iter().find(|(_, kind)| *kind == self);
        named.map_or("", |(word, _)| word)
    }
}

/// Percentages of a group's tokens at which a balance is low.
const LOW_PERCENT: [u64; 3] = [100, 80, 50];

/// Returns which part of `tokens` has been used with this charge and not before: 50, 80 or 100 percent. Charges of an
/// account follow each other, so each threshold is crossed by one of them.
pub fn crossed(before: Tokens, left: Tokens, tokens: Tokens) -> Option<u64> {
    LOW_PERCENT.into_iter().find(|percent| {
        let rest = u128::from(tokens.count()) * u128::from(100 - percent) / 100;
        u128::from(before.count()) > rest && u128::from(left.count()) <= rest
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_threshold_is_crossed_by_the_charge_that_reaches_it() {
        let crossed =
            |before, left| crossed(Tokens::new(before), Tokens::new(left), Tokens::new(1000));
        assert_eq!(crossed(1000, 501), None);
        assert_eq!(crossed(501, 500), Some(50));
        assert_eq!(crossed(500, 499), None);
        assert_eq!(crossed(900, 150), Some(80));
        assert_eq!(crossed(900, 0), Some(100));
        assert_eq!(crossed(0, 0), None);
        assert_eq!(crossed(5_000, 1_001), None);
    }

    proptest! {
        #[test]
        fn each_threshold_is_told_once_on_the_way_down(
            tokens in 1u64..2_000, charges in proptest::collection::vec(1u64..400, 1..60),
        ) {
            let mut left = tokens;
            let mut told = Vec::new();
            for charge in charges {
                let after = left.saturating_sub(charge);
                told.extend(crossed(Tokens::new(left), Tokens::new(after), Tokens::new(tokens)));
                left = after;
            }
            let mut sorted = told.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(&told, &sorted, "in order, each once");
            prop_assert_eq!(told.contains(&100), left == 0);
        }
    }
}
