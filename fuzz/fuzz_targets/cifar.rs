//! Records of CIFAR-10 and CIFAR-100.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicebox_fuzz::decoders::cifar(data));
