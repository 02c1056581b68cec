//! Archives of samples.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicebox_fuzz::decoders::tar(data));
