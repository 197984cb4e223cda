//! Bytes of the fuzzer's choice for the check of the same name.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| resullm_fuzz::checks::http::request(bytes));
