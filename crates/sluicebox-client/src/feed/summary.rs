//! Result of feeding.

/// Result of feeding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Samples that the job has acknowledged.
    pub acknowledged: u64,
    /// Acknowledged samples that the job had already taken before.
    pub known: u64,
    /// Labels among them that were sent by this run.
    pub labels: u64,
    /// Bad records left out.
    pub bad: u64,
    /// Duration in seconds.
    pub seconds: f64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { acknowledged, known, labels, bad, seconds } = self;
        write!(f, "{acknowledged} samples acknowledged, {known} of them known before, in {seconds:.1} s")?;
        if *labels > 0 {
            write!(f, "; {labels} with a label")?;
        }
        match bad {
            0 => Ok(()),
            _ => write!(f, "; {bad} bad records left out"),
        }
    }
}
