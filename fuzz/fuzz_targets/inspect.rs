//! `cargo +nightly fuzz run inspect fuzz/corpus/read fuzz/corpus/models`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| litesmith_fuzz::inspect(bytes));
