//! See `stellaclaw_fuzz::chat`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stellaclaw_fuzz::chat::run(data));
