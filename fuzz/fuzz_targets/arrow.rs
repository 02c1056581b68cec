//! Columns as Arrow files and streams hold them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicebox_fuzz::decoders::arrow(data));
