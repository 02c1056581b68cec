//! The device a job computes on: threads and precision. Copies to it are in [`upload`], copies from it in [`download`].

mod cuda;
pub mod download;
pub mod upload;

use serde::{Deserialize, Serialize};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Shape;
use sluicebox_core::system::Gpu;
use std::time::{Duration, Instant};
use tch::{Cuda, Device, Kind, Tensor};

/// Precision of the networks. Weights, losses and optimiser always stay f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// `bf16` on a GPU; on a CPU where it is supported and a measurement at start finds it faster.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// bfloat16 for convolutions and linear layers (mixed precision).
    Bf16,
}

/// Device and precision of the networks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compute {
    /// CPU or a GPU.
    pub device: Device,
    /// `F32` or `Bf16`, never `Auto`.
    pub precision: Precision,
}

/// Sets libtorch's number of threads and opens the device that a job names. Call it before the first
/// tensor operation.
pub fn open(name: &str, threads: usize) -> Result<Device> {
    tch::set_num_threads(threads as i32);
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(match has_driver() && cuda::load().is_ok() && Cuda::is_available() {
            true => Device::Cuda(0),
            false => Device::Cpu,
        }),
        _ => gpu_named(name),
    }
}

/// Returns whether [`open`] knows `name`.
pub fn is_name(name: &str) -> bool {
    matches!(name, "auto" | "cpu" | "cuda") || ordinal(name).is_some()
}

/// Returns the number of GPUs that a job with the device `name` may use, each for another worker, without loading CUDA: those the
/// driver lists, or the one that the job names.
pub fn gpus(name: &str) -> usize {
    match name {
        "cpu" => 0,
        "auto" | "cuda" | "gpu" => std::fs::read_dir("/proc/driver/nvidia/gpus").map_or(0, Iterator::count),
        _ => 1,
    }
}

/// Returns the devices of the workers of a job that names the device `name`, which was opened as `first`: with `auto` and `cuda`
/// each has its own GPU, else all have the same.
///
/// # Errors
/// [`Error::Request`] if there are fewer GPUs.
pub fn of_workers(name: &str, first: Device, workers: usize) -> Result<Vec<Device>> {
    let own = matches!(name, "auto" | "cuda" | "gpu") && first != Device::Cpu;
    if own && workers as i64 > Cuda::device_count() {
        let count = Cuda::device_count();
        return Err(Error::Request(format!(
            "workers = {workers}: each has its own GPU with device = \"{name}\", but this machine has {count}"
        )));
    }
    Ok((0..workers).map(|worker| if own { Device::Cuda(worker) } else { first }).collect())
}

fn ordinal(name: &str) -> Option<usize> {
    match name {
        "cuda" | "gpu" => Some(0),
        name => name.strip_prefix("cuda:")?.parse().ok(),
    }
}

fn gpu_named(name: &str) -> Result<Device> {
    let Some(ordinal) = ordinal(name) else {
        return Err(Error::Request(format!(
            "device = \"{name}\": unknown device (known: auto, cpu, cuda, cuda:0, cuda:1, …)"
        )));
    };
    cuda::load().map_err(|reason| {
        Error::Request(format!(
            "device = \"{name}\": CUDA's part of libtorch cannot be loaded ({reason}); \
             use device = \"cpu\", or run scripts/setup on a machine with an NVIDIA driver"
        ))
    })?;
    if !Cuda::is_available() {
        let reason = "found no NVIDIA GPU or driver; use device = \"cpu\" or \"auto\"";
        return Err(Error::Request(format!("device = \"{name}\": {reason}")));
    }
    let count = Cuda::device_count();
    if ordinal as i64 >= count {
        return Err(Error::Request(format!(
            "device = \"{name}\": this machine has {count} GPUs, counted from cuda:0"
        )));
    }
    Ok(Device::Cuda(ordinal))
}

fn has_driver() -> bool {
    std::path::Path::new("/proc/driver/nvidia/version").exists()
        || std::path::Path::new("/dev/nvidiactl").exists()
}

/// Limits this thread's computations to one thread from now on. Other threads keep their number.
pub fn use_one_thread() {
    let others = tch::get_num_threads();
    tch::set_num_threads(1);
    // libtorch has one number per thread, and one with which new threads start.
    let _ = std::thread::spawn(move || tch::set_num_threads(others)).join();
}

impl Compute {
    /// Creates the compute settings of a device. `Auto` becomes the best precision there.
    pub fn new(device: Device, precision: Precision) -> Self {
        let precision = match (precision, device) {
            (Precision::Auto, Device::Cpu) => match cpu_has_bf16() && bf16_is_faster() {
                true => Precision::Bf16,
                false => Precision::F32,
            },
            (Precision::Auto, _) => Precision::Bf16,
            (given, _) => given,
        };
        Self { device, precision }
    }

    /// Returns the number type of convolutions and linear layers.
    pub fn kind(&self) -> Kind {
        match self.precision {
            Precision::Bf16 => Kind::BFloat16,
            _ => Kind::Float,
        }
    }

    /// Calls [`upload`](upload::upload()) for this device.
    pub fn upload(&self, tensor: &Tensor) -> Tensor {
        upload::upload(tensor, self.device)
    }

    /// Converts a batch `[N, …]` f32 to the networks' input: their number type, images channels-last.
    pub fn input(&self, batch: &Tensor) -> Tensor {
        let batch = batch.to_kind(self.kind());
        match batch.dim() {
            4 => batch.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]),
            _ => batch,
        }
    }

    /// Waits until the device has finished all pending work.
    pub fn synchronise(&self) {
        if let Device::Cuda(ordinal) = self.device {
            Cuda::synchronize(ordinal as i64);
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_bf16() -> bool {
    is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_has_bf16() -> bool {
    false
}

/// Times a convolution in both precisions, taking the best of several rounds each (about 20 ms in all).
fn bf16_is_faster() -> bool {
    let best = |kind: Kind| {
        let shape = Shape::Image { channels: 32, height: 14, width: 14 };
        let cpu = Compute { device: Device::Cpu, precision: Precision::F32 };
        let input = cpu.input(&Tensor::ones(shape.batch(64).as_slice(), (Kind::Float, Device::Cpu)));
        let weight = cpu.input(&Tensor::ones([64, 32, 3, 3], (Kind::Float, Device::Cpu)));
        let (input, weight) = (input.to_kind(kind), weight.to_kind(kind));
        let round = || {
            let start = Instant::now();
            let _ = input.conv2d(&weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
            start.elapsed()
        };
        (0..8).map(|_| round()).min().unwrap_or(Duration::MAX)
    };
    tch::no_grad(|| best(Kind::BFloat16) < best(Kind::Float))
}

/// Returns the name of a device in job files and reports.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(ordinal) => format!("cuda:{ordinal}"),
        _ => "cpu".into(),
    }
}

/// Returns the GPU that a job computes on; none on another device or if the driver does not answer.
pub fn gpu(device: Device) -> Option<Gpu> {
    match device {
        Device::Cuda(ordinal) => Gpu::at(ordinal),
        _ => None,
    }
}
