//! See `stellaclaw_fuzz::component`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stellaclaw_fuzz::component::run(data));
