//! Columns as Parquet files hold them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicebox_fuzz::decoders::parquet(data));
