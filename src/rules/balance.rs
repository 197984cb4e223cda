//! Balancing of calls between endpoints that serve them equally well: which one is asked first.
//!
//! Pure: chance comes in as numbers, and load as a function.

/// Returns the index of the endpoint to ask first. Each is drawn with its share of all `weights`; then the less loaded
/// one of the drawn and of one other of the same weight is taken, so weights stay true whatever the load.
///
/// `chance`: two random numbers.
pub fn first(weights: &[u64], chance: [u64; 2], load: impl Fn(usize) -> f64) -> usize {
    let drawn = drawn(weights, chance[0]);
    let peers = || {
        let all = weights.iter().enumerate();
        all.filter(|(index, weight)| *index != drawn && **weight == weights[drawn])
    };
    let count = peers().count() as u64;
    if count == 0 {
        return drawn;
    }
    let nth = (chance[1] % count) as usize;
    match peers().nth(nth) {
        Some((other, _)) if load(other) < load(drawn) => other,
        _ => drawn,
    }
}

fn drawn(weights: &[u64], chance: u64) -> usize {
    let sum: u64 = weights.iter().sum();
    let mut rest = chance % sum.max(1);
    for (index, weight) in weights.iter().enumerate() {
        if rest < *weight {
            return index;
        }
        rest -= weight;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weights_are_shares_and_among_equal_ones_the_less_loaded_is_first() {
        let mut counts = [0; 3];
        for chance in 0..600 {
            counts[first(&[3, 1, 2], [chance, 0], |_| 0.0)] += 1;
        }
        assert_eq!(counts, [300, 100, 200]);
        // Two of weight 1: load decides between them, and never takes from the heavy one.
        let load = |index: usize| [0.0, 9.0, 1.0][index];
        let mut counts = [0; 3];
        for chance in 0..400 {
            counts[first(&[2, 1, 1], [chance, chance], load)] += 1;
        }
        assert_eq!(counts, [200, 0, 200]);
    }

    proptest! {
        #[test]
        fn the_most_loaded_of_equals_is_never_first(
            loads in prop::collection::vec(0.0f64..1e6, 2..9), chance: [u64; 2],
        ) {
            let first = first(&vec![1; loads.len()], chance, |index| loads[index]);
            let most = loads.iter().copied().fold(0.0, f64::max);
            let is_unique = loads.iter().filter(|load| **load == most).count() == 1;
            prop_assert!(!is_unique || loads[first] < most);
        }
    }
}
