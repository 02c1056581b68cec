//! Frames of samples that a feeder sends.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicebox_fuzz::decoders::frame(data));
