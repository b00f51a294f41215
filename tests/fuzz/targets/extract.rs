//! libFuzzer's way into the gateway's readers of requests. Run by tests/fuzz/run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::fuzzing::read(data));
