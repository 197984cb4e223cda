//! Runs the checks of `tests/fuzz` on every seed and on random bytes; `faults/bytes.rs` runs them on mutated
//! seeds. `make fuzz` runs them under a fuzzer.

#[path = "../fuzz/mod.rs"]
mod checks;

pub use checks::mutate::{Dice, mutated};
pub use checks::{TARGETS, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Seeds of a target with their file names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "no seeds in {}", dir.display());
    seeds
}

/// Runs a check and prints the bytes of a failure, so that they can become a seed.
#[track_caller]
fn holds((name, check): &Target, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| check(bytes))).is_err() {
        panic!("{name} does not hold for b\"{}\"", bytes.escape_ascii());
    }
}

#[test]
fn the_checks_hold_for_every_seed() {
    for target in TARGETS {
        for (_, seed) in seeds(target.0) {
            holds(target, &seed);
        }
    }
}

/// Checks `count` mutants of a target's seeds; the mutants are the same in each run.
pub fn mutate(target: &Target, count: u64) {
    let seeds: Vec<Vec<u8>> = seeds(target.0).into_iter().map(|(_, seed)| seed).collect();
    for number in 0..count {
        let mut dice = Dice::new(number);
        let seed = &seeds[dice.throw(seeds.len())];
        holds(target, &mutated(seed, &seeds, &mut dice));
    }
}

/// Target with this name.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|(listed, _)| *listed == name).unwrap()
}

#[test]
fn the_checks_hold_for_any_bytes() {
    for target in TARGETS {
        let config = Config {
            cases: 64,
            failure_persistence: None,
            ..Config::default()
        };
        let bytes = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "\\PC{0,200}".prop_map(String::into_bytes),
            "[ -~\r\n]{0,200}".prop_map(String::into_bytes),
        ];
        let checked = TestRunner::new(config).run(&bytes, |bytes| {
            target.1(&bytes);
            Ok(())
        });
        assert!(checked.is_ok(), "{}: {checked:?}", target.0);
    }
}

#[test]
fn every_target_has_a_fuzzer_and_every_folder_of_seeds_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();

    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    for entry in fs::read_dir(root.join("corpus")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(TARGETS.iter().any(|(listed, _)| *listed == name), "{name}");
    }
}
