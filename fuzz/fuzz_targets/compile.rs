//! See `stellaclaw_fuzz::compile`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stellaclaw_fuzz::compile::run(data));
