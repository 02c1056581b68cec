//! Facts about the machine: time, hardware, memory of this process, and a GPU.

use nvml_wrapper::Nvml;
use std::fs::read_to_string;
use std::time::{SystemTime, UNIX_EPOCH};

const MIB: f64 = 1_048_576.0;

/// Returns the time, in ms since 1970, UTC.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Returns the name that the kernel gave this start of the machine: another one after a restart or a power cut. Empty
/// where the system has no such name.
pub fn boot_id() -> String {
    read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string()
}

/// Returns the peak resident memory of this process, in MiB.
pub fn peak_resident_mib() -> f64 {
    status_mib("VmHWM:").unwrap_or(0.0)
}

/// Returns the resident memory of this process, in MiB.
pub fn resident_mib() -> Option<f64> {
    status_mib("VmRSS:")
}

fn status_mib(key: &str) -> Option<f64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// Returns processor, cores and memory.
pub fn describe() -> String {
    let value = |file: &str, key: &str| {
        let text = read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).map(str::to_string);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_string()))
    };
    let processor = value("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = value("/proc/meminfo", "MemTotal").and_then(|text| {
        let kib: f64 = text.trim_end_matches("kB").trim().parse().ok()?;
        Some(format!(", {:.0} GiB", kib * 1024.0 / MIB / 1024.0))
    });
    format!("{processor}, {cores} cores{}", memory.unwrap_or_default())
}

/// An NVIDIA GPU, queried through the driver's own library (NVML).
pub struct Gpu {
    nvml: Nvml,
    index: u32,
}

impl Gpu {
    /// Returns the GPU with this CUDA ordinal; none if the driver does not answer.
    pub fn at(ordinal: usize) -> Option<Self> {
        Some(Self { nvml: Nvml::init().ok()?, index: ordinal as u32 })
    }

    /// Returns the name of the GPU.
    pub fn name(&self) -> Option<String> {
        self.nvml.device_by_index(self.index).ok()?.name().ok()
    }

    /// Returns the GPU memory in use by all processes, in MiB.
    pub fn memory_mib(&self) -> Option<f64> {
        let memory = self.nvml.device_by_index(self.index).ok()?.memory_info().ok()?;
        Some(memory.used as f64 / MIB)
    }

    /// Returns the fraction of the last moments (up to a second) in which the GPU computed.
    pub fn busy(&self) -> Option<f64> {
        let rates = self.nvml.device_by_index(self.index).ok()?.utilization_rates().ok()?;
        Some(f64::from(rates.gpu) / 100.0)
    }
}
