//! The checks that every target runs: the same that `tests/it/fuzz.rs` runs without a fuzzer.

#[path = "../../tests/fuzz/mod.rs"]
pub mod checks;
