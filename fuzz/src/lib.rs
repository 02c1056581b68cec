//! The decoders that the fuzz targets run. The ordinary tests run the same on kept inputs.

#[path = "../../crates/sluicebox-stream/tests/it/hostile/decoders.rs"]
pub mod decoders;

/// Lets a panic be caught, which libFuzzer's own hook does not: the libraries of Parquet and Arrow panic on damaged files,
/// and the decoder makes an error of it. A panic that nobody catches still ends the fuzzer.
pub fn panics_may_be_caught() {
    std::panic::set_hook(Box::new(|_| {}));
}
