//! The pipeline as a table: the stages of the dataflow, in order, and the edges between them. The dataflow is
//! wired as this table says; reports, console and the job's description take their names from it.

/// Samples by which a stage's throughput is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Samples of the stream.
    Stream,
    /// Samples in the student's passes.
    Student,
}

/// A stage of the dataflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// Name of the stage and of its operator.
    pub name: &'static str,
    /// Samples by which its throughput is measured.
    pub counts: Counted,
    /// Whether the time that a step spends in it is measured.
    pub timed: bool,
}

/// An edge of the dataflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Stage that sends.
    pub from: &'static str,
    /// Stage that receives.
    pub to: &'static str,
    /// Whether the edge leads back: messages arrive a fixed number of steps later.
    pub feedback: bool,
}

/// Stages and edges of a dataflow.
#[derive(Debug, Clone, Copy)]
pub struct Pipeline {
    /// Stages in dataflow order.
    pub stages: [Stage; 10],
    /// Edges: first those forward, then the feedback edges.
    pub edges: [Edge; 13],
}

/// The dataflow of a job. A job without a ledger lacks the stage `ledger` and its edges.
///
/// ```
/// use sluicebox_core::report::pipeline::PIPELINE;
///
/// let into = |stage: &str, feedback: bool| -> Vec<&str> {
///     let edges = PIPELINE.edges.iter().filter(|edge| edge.to == stage && edge.feedback == feedback);
///     edges.map(|edge| edge.from).collect()
/// };
/// assert_eq!(into("teach", false), ["weak"]);
/// assert_eq!(into("teach", true), ["learn"]); // the teacher's weights come back from the student
/// assert_eq!(PIPELINE.position("source"), Some(0));
/// ```
pub const PIPELINE: Pipeline = Pipeline {
    stages: [
        stage("source", Counted::Stream, true),
        stage("batch", Counted::Stream, true),
        stage("weak", Counted::Stream, true),
        stage("teach", Counted::Stream, true),
        stage("filter", Counted::Stream, true),
        stage("strong", Counted::Student, true),
        stage("learn", Counted::Student, true),
        stage("report", Counted::Stream, true),
        stage("ledger", Counted::Stream, false),
        stage("commit", Counted::Stream, false),
    ],
    edges: [
        forward("source", "batch"),
        forward("batch", "weak"),
        forward("weak", "teach"),
        forward("teach", "filter"),
        forward("filter", "strong"),
        forward("strong", "learn"),
        forward("learn", "report"),
        forward("report", "commit"),
        forward("report", "ledger"),
        forward("ledger", "commit"),
        feedback("learn", "teach"),
        feedback("ledger", "filter"),
        feedback("commit", "source"),
    ],
};

const fn stage(name: &'static str, counts: Counted, timed: bool) -> Stage {
    Stage { name, counts, timed }
}

const fn forward(from: &'static str, to: &'static str) -> Edge {
    Edge { from, to, feedback: false }
}

const fn feedback(from: &'static str, to: &'static str) -> Edge {
    Edge { from, to, feedback: true }
}

impl Pipeline {
    /// Returns the place in `stages` of the stage called `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.stages.iter().position(|stage| stage.name == name)
    }

    /// Returns the names of the timed stages, in dataflow order.
    pub fn timed(&self) -> impl Iterator<Item = &'static str> {
        self.stages.into_iter().filter(|stage| stage.timed).map(|stage| stage.name)
    }

    /// Returns the edges as (from, to, feedback), with or without those of the ledger.
    pub fn edges(&self, ledger: bool) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        let edges = self.edges.into_iter().map(|edge| (edge.from, edge.to, edge.feedback));
        edges.filter(move |(from, to, _)| ledger || (*from != "ledger" && *to != "ledger"))
    }
}

/// Seconds spent in each timed stage.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StageSeconds([f64; PIPELINE.stages.len()]);

impl StageSeconds {
    /// Adds `seconds` to the stage called `name`.
    pub fn add(&mut self, name: &str, seconds: f64) {
        if let Some(at) = PIPELINE.position(name) {
            self.0[at] += seconds;
        }
    }

    /// Adds the seconds of each stage in `other`.
    pub fn add_all(&mut self, other: &StageSeconds) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, seconds)| *sum += seconds);
    }

    /// Seconds spent in all stages.
    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Seconds spent in the stage called `name`; none if it is not timed.
    pub fn of(&self, name: &str) -> Option<f64> {
        let at = PIPELINE.position(name)?;
        PIPELINE.stages[at].timed.then_some(self.0[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_join_stages_and_only_feedback_edges_lead_back() {
        for Edge { from, to, feedback } in PIPELINE.edges {
            let (from, to) = (PIPELINE.position(from).unwrap(), PIPELINE.position(to).unwrap());
            assert_eq!(feedback, to < from);
        }
        assert_eq!(PIPELINE.edges(true).count(), 13);
        assert!(PIPELINE.edges(false).all(|(from, to, _)| from != "ledger" && to != "ledger"));
        assert_eq!(PIPELINE.edges(false).count(), 10);
    }

    #[test]
    fn only_timed_stages_have_seconds() {
        let mut seconds = StageSeconds::default();
        seconds.add("learn", 1.0);
        let mut sum = seconds;
        sum.add_all(&seconds);
        assert_eq!((sum.of("learn"), sum.of("weak"), sum.of("commit")), (Some(2.0), Some(0.0), None));
        assert_eq!(sum.total(), 2.0);
        assert_eq!(PIPELINE.timed().last(), Some("report"));
    }
}
