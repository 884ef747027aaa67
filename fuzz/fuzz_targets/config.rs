//! See `stellaclaw_fuzz::config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stellaclaw_fuzz::config::run(data));
