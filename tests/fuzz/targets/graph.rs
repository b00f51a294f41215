//! libFuzzer's way into `harness::graph`. Run by tests/fuzz/run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| visavis_fuzz::harness::graph(data));
