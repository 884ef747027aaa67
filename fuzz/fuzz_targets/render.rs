//! See `stellaclaw_fuzz::render`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stellaclaw_fuzz::render::run(data));
