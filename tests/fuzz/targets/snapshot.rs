//! libFuzzer's way into the gallery's reader of snapshots. Run by tests/fuzz/run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gallery::fuzzing::snapshot(data));
