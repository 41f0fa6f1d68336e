//! `cargo +nightly fuzz run run fuzz/corpus/run fuzz/corpus/models`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| litesmith_fuzz::run(bytes));
