//! libFuzzer's way into the reader of addresses of Redis. Run by tests/fuzz/run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| link::fuzzing::address(data));
