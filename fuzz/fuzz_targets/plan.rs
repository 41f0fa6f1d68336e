//! `cargo +nightly fuzz run plan fuzz/corpus/plan fuzz/corpus/models`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| litesmith_fuzz::plan(bytes));
