//! The number of workers: as given, or chosen for the job and the machine.

use crate::job::learning::Batch;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Maximum number of workers.
pub const MOST: usize = 64;
/// Least samples of a step for which `auto` adds a worker: labelled, and unlabelled. Chosen and tried on digits, where 4 workers
/// with 8 and 32 samples each are as accurate as 1 (docs/scale.md).
const WORTH_A_WORKER: (usize, usize) = (8, 32);
/// Networks of which a core of its own for each worker is faster than threads that share each operation (docs/scale.md).
const CONVOLUTIONAL: [&str; 3] = ["convnet", "resnet18", "wide-resnet"];

/// The key `workers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", expecting = "this must be a number of workers, or \"auto\"")]
pub enum Workers {
    /// One per GPU; without GPUs one per core for convolutional networks; each with 8 labelled and 32 unlabelled samples of a step
    /// or more; else one.
    Auto,
    /// So many.
    #[serde(untagged)]
    Count(usize),
}

impl Workers {
    /// Returns the number, where it is given.
    pub fn count(self) -> Option<usize> {
        match self {
            Workers::Auto => None,
            Workers::Count(count) => Some(count),
        }
    }

    /// Returns the number of workers on a machine with so many cores, and GPUs that the job may use.
    pub fn on(self, cores: usize, gpus: usize, model: &str, batch: &Batch) -> usize {
        let (labelled, unlabelled) = WORTH_A_WORKER;
        let worth = (batch.labelled / labelled).min(batch.unlabelled / unlabelled).clamp(1, MOST);
        match self {
            Workers::Count(count) => count,
            Workers::Auto if gpus > 0 => gpus.min(worth),
            Workers::Auto if CONVOLUTIONAL.contains(&model) => cores.min(worth),
            Workers::Auto => 1,
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Workers::Auto => f.write_str("auto"),
            Workers::Count(count) => count.fmt(f),
        }
    }
}

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Workers::Auto),
            (_, Ok(count)) => Ok(Workers::Count(count)),
            _ => Err("this is not a number of workers, or \"auto\"".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(cores: usize, gpus: usize, model: &str, (labelled, unlabelled): (usize, usize)) -> usize {
        Workers::Auto.on(cores, gpus, model, &Batch { labelled, unlabelled, ..Batch::default() })
    }

    #[test]
    fn auto_is_a_worker_per_gpu_or_per_core_where_that_is_faster() {
        assert_eq!(auto(2, 0, "convnet", (64, 448)), 2);
        assert_eq!(auto(2, 0, "mlp", (64, 448)), 1, "threads of one worker are faster");
        assert_eq!(auto(2, 0, "torchscript", (64, 448)), 1, "not known");
        assert_eq!(auto(16, 4, "mlp", (64, 448)), 4);
        assert_eq!(Workers::Count(3).on(2, 0, "mlp", &Batch::default()), 3);
    }

    #[test]
    fn auto_keeps_parts_of_a_step_large_enough() {
        assert_eq!(auto(64, 0, "convnet", (64, 448)), 8, "8 labelled samples each");
        assert_eq!(auto(64, 0, "convnet", (640, 112)), 3, "32 unlabelled samples each");
        assert_eq!(auto(2, 8, "convnet", (4, 16)), 1);
    }
}
