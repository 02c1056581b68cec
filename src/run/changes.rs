//! What a job that resumes does otherwise than before, where its settings allow it but may surprise.

use crate::job::Job;

/// Says what changes from step `step` on between the job `then`, which wrote the state, and `now`.
pub fn say(now: &Job, then: &Job, step: u64) {
    [rate(now, then, step), threads(now, then)]
        .iter()
        .flatten()
        .for_each(|change| tracing::warn!("{change}"));
}

/// Returns what becomes of the learning rate where the end of its course has moved.
fn rate(now: &Job, then: &Job, step: u64) -> Option<String> {
    let end = |job: &Job| job.schedule.steps.or(job.end_step());
    let full = |job: &Job| job.optimiser.options.get("learning_rate")?.as_float();
    let at = |job: &Job| Some(full(job)? * job.schedule.factor(step, end(job)));
    let (a, b) = (at(then)?, at(now)?);
    if end(now) == end(then) || now.schedule.kind != then.schedule.kind || a == b {
        return None;
    }
    let name = |end: Option<u64>| end.map_or("none".into(), |end| format!("step {end}"));
    Some(format!(
        "the learning rate goes from {a:.4e} to {b:.4e} at step {step}, because the end moved from {} to {}; \
         schedule.steps fixes it",
        name(end(then)),
        name(end(now))
    ))
}

fn threads(now: &Job, then: &Job) -> Option<String> {
    (now.threads != then.threads).then(|| {
        format!(
            "threads is {} now, but was {}: weights are repeatable for the same number only",
            now.threads, then.threads
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(sets: &[&str]) -> Job {
        let sets: Vec<String> =
            ["threads=1", "schedule.kind=cosine", "optimiser.learning_rate=0.1", "batch.unlabelled=10"]
                .iter()
                .chain(sets)
                .map(|set| set.to_string())
                .collect();
        Job::parse("job.toml", "job", "[source]\nkind = \"digits\"\n".into(), &sets).unwrap()
    }

    #[test]
    fn a_moved_end_and_other_threads_are_told() {
        let then = job(&["stop.epochs=4"]);
        let told = rate(&job(&["stop.epochs=8"]), &then, 400).unwrap();
        assert!(
            told.contains("from 1.9509e-2 to 7.7301e-2") && told.contains("from step 400 to step 800"),
            "{told}"
        );
        assert_eq!(rate(&then, &then, 400), None);
        let own = ["stop.epochs=8", "schedule.steps=400"];
        assert_eq!(rate(&job(&own), &then, 400), None);
        // A number of samples is an end too.
        assert_eq!(job(&["stop.samples=3995"]).end_step(), Some(400));
        assert_eq!(job(&["stop.samples=3995", "stop.epochs=2"]).end_step(), Some(200));
        assert!(threads(&job(&["threads=2", "stop.epochs=4"]), &then).unwrap().contains("was 1"));
        assert_eq!(threads(&then, &then), None);
    }
}
