//! Networks as files for other programs.
//!
//! - `description`: what a file says of its network
//! - `safetensors`: weights under PyTorch's names
//! - `torchscript`: weights and computation; `parts` writes its modules, `pickle` their values

pub mod description;
mod parts;
mod pickle;
pub mod safetensors;
pub mod torchscript;
