//! The first bytes of a connection, and what a job answers.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicebox_fuzz::decoders::hello(data));
