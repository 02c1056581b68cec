//! Checkpoints: written, verified, listed and removed.
//!
//! A checkpoint is one folder, `step-000000000800`, written under a temporary name and then renamed; that of the best
//! evaluation (`checkpoint.best`) has a second folder, `best-000000000800`, until another is better. It
//! contains `model.safetensors` (the teacher under PyTorch's names), `state.bin` (everything a restart needs)
//! and `manifest.json` (version, job, step, SHA-256 of both and of itself).

mod begun;
mod file;
mod folder;
mod lock;
mod manifest;
mod pick;
mod saved;
mod store;

pub use begun::BegunSinks;
pub use file::{VERSION, sha256, unpack};
pub use folder::StateFolder;
pub use lock::{is_in_use, lock};
pub use manifest::{Manifest, SavedJob};
pub use pick::{Pick, return_to_best};
pub use saved::{Saved, log_end, newest, newest_step};
pub use store::Store;
