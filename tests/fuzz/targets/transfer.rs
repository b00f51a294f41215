//! libFuzzer's way into `harness::transfer`. Run by tests/fuzz/run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| visavis_fuzz::harness::transfer(data));
