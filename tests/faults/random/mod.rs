//! Random actions on a job, checked against a model of it. All follows from one seed.

mod action;
mod disk;
mod quiet;
mod world;

use action::{Action, Chance};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use world::World;

/// Actions between two quiet moments.
const BETWEEN_QUIET: u64 = 12;

/// Prints what was done if a test fails.
struct Diary {
    seed: u64,
    began: Instant,
    lines: Vec<String>,
}

impl Drop for Diary {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("actions of seed {}:\n{}", self.seed, self.lines.join("\n"));
            println!(
                "repeat with: scripts/random-actions {} {}",
                self.seed,
                self.began.elapsed().as_secs() + 1
            );
        }
    }
}

/// Does what follows from `seed` for `time`.
pub fn run(seed: u64, time: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let mut diary = Diary { seed, began: Instant::now(), lines: Vec::new() };
    let mut chance = Chance(seed);
    let mut world = World::new(folder.path());
    let mut counts = BTreeMap::<&str, u64>::new();
    let mut all = 0;
    while diary.began.elapsed() < time {
        for at in 0..=BETWEEN_QUIET {
            let action = if at == BETWEEN_QUIET { Action::Quiet } else { Action::draw(&mut chance) };
            diary.lines.push(format!("{:7.2} s  {action:?}", diary.began.elapsed().as_secs_f64()));
            *counts.entry(action.name()).or_default() += 1;
            all += 1;
            if let Err(how) = world.does(&action) {
                panic!("seed {seed}, action {all} ({action:?}): {how}\n{}", world.last_words());
            }
            diary.lines.extend(world.remarks.drain(..).map(|remark| format!("           {remark}")));
        }
    }
    let counts: Vec<String> = counts.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
    println!(
        "seed {seed}: {all} actions in {:.0} s: {}",
        diary.began.elapsed().as_secs_f64(),
        counts.join(", ")
    );
    println!("  {}", world.summary());
}
