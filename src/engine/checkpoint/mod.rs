//! Checkpoints: written, verified, listed and removed.
//!
//! A checkpoint is one folder, `step-000000000800`, written under a temporary name and then renamed. It
//! contains `model.safetensors` (the teacher under PyTorch's names), `state.bin` (everything a restart needs)
//! and `manifest.json` (version, job, step, SHA-256 of both and of itself).

mod begun;
mod file;
mod folder;
mod manifest;
mod saved;
mod store;

pub use begun::BegunSinks;
pub use file::{VERSION, unpack};
pub use folder::StateFolder;
pub use manifest::{Manifest, SavedJob};
pub use saved::{Saved, log_end, newest, newest_step};
pub use store::Store;
