//! Fuzzes the text of an SNS message.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| asp_events_fuzz::event(bytes));
