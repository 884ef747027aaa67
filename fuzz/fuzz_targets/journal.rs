//! See `stellaclaw_fuzz::journal`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stellaclaw_fuzz::journal::run(data));
