//! Bytes that no one meant: the seeds of the fuzzer with things wrong in them, many of them.

use super::{case, many};
use crate::fuzz::{TARGETS, mutate, target};

#[test]
fn mutated_requests_mean_the_same_to_two_readers() {
    case("requests: mutants to two readers, in every cut", || {
        let count = many(2_000, 1_000_000);
        mutate(target("request"), count);
        format!("{count} mutants, 0 read in two ways")
    });
}

#[test]
fn what_must_hold_for_any_bytes_holds_for_mutants_of_the_seeds() {
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
