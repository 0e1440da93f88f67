//! Fuzzes the body of an invocation.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| asp_events_fuzz::envelope(bytes));
