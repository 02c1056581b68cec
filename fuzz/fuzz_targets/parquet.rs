//! Columns as Parquet files hold them.

#![no_main]

libfuzzer_sys::fuzz_target!(init: sluicebox_fuzz::panics_may_be_caught(), |data: &[u8]| sluicebox_fuzz::decoders::parquet(data));
