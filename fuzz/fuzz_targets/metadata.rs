//! `cargo +nightly fuzz run metadata fuzz/corpus/metadata`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| litesmith_fuzz::metadata(bytes));
