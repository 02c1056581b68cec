//! The decoders that the fuzz targets run. The ordinary tests run the same on kept inputs.

#[path = "../../crates/sluicebox-stream/tests/it/hostile/decoders.rs"]
pub mod decoders;
