//! libFuzzer's way into `harness::image`. Run by tests/fuzz/run.
#![no_main]

// `vision` catches what its codecs panic with, so a panic alone is no finding; one that gets out still is.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| visavis_fuzz::harness::image(data));
