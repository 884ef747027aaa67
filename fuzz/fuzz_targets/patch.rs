//! See `stellaclaw_fuzz::patch`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stellaclaw_fuzz::patch::run(data));
