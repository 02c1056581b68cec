//! Arrays in NumPy's format.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicebox_fuzz::decoders::npy(data));
