//! What tch leaves open: errors of libtorch as errors of the library, a copy in one operation, and one to the host.

use sluicebox_core::error::{Error, Result};
use tch::{Device, Kind, TchError, Tensor};

/// Turns a result of libtorch into one of the library.
///
/// ```
/// use sluicebox_learn::torch::TorchResult;
/// use tch::Tensor;
///
/// let two = Tensor::from_slice(&[1.0f32, 2.0]);
/// let error = two.f_view([3]).torch().unwrap_err();
/// assert!(error.to_string().contains("shape '[3]' is invalid"));
/// ```
pub trait TorchResult<T> {
    /// The value, or [`Error::Engine`] with the first line of libtorch's message.
    fn torch(self) -> Result<T>;
}

impl<T> TorchResult<T> for std::result::Result<T, TchError> {
    fn torch(self) -> Result<T> {
        self.map_err(|error| Error::Engine(first_line(&error.to_string())))
    }
}

/// Copies a tensor. tch's own `copy` fills the new one with zeros first, which is one launch more on a GPU.
pub fn copied(tensor: &Tensor) -> Tensor {
    tensor.to_device_(tensor.device(), tensor.kind(), false, true)
}

/// Copies a tensor to the host, as plain values. On a GPU it waits for it.
pub fn on_host(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut values = vec![0.0; tensor.numel()];
    tensor.copy_data(&mut values, tensor.numel());
    values
}

/// Returns the first line of a libtorch message, without the C++ stack trace and the wrapping that tch adds
/// when it panics.
pub fn first_line(message: &str) -> String {
    let wrapped = message.split_once("Torch(\"").map_or(message, |(_, inner)| inner);
    let line = wrapped.split("\\n").next().unwrap_or(wrapped);
    line.lines().find(|line| !line.trim().is_empty()).unwrap_or(line).trim().to_string()
}
