//! Mutated fuzz seeds, at the length of `make faults`.

use super::{case, many};
use crate::fuzz::{TARGETS, mutate, target};

#[test]
fn mutated_requests_mean_the_same_to_two_parsers() {
    case("requests: mutants to two readers, in every cut", || {
        let count = many(2_000, 1_000_000);
        mutate(target("request"), count);
        format!("{count} mutants, 0 read in two ways")
    });
}

#[test]
fn fuzz_checks_hold_for_mutated_seeds() {
    case(
        "readers: mutants of paths, URLs, configs, records, streams, calls, forms",
        || {
            let count = many(400, 50_000);
            std::thread::scope(|scope| {
                for target in TARGETS {
                    scope.spawn(move || mutate(target, count));
                }
            });
            format!(
                "{count} mutants for each of {} readers, all hold",
                TARGETS.len()
            )
        },
    );
}
