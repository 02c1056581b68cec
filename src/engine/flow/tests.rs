//! The dataflow is wired as the table of the pipeline says.

use crate::engine::flow::{Failure, build};
use crate::job::Job;
use crate::run::{Options, prepare};
use sluicebox_core::report::pipeline::PIPELINE;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::logging::{TimelyEvent, TimelyEventBuilder};
use timely::worker::{Config, Worker};

/// Returns the edges of a job's dataflow as timely logs them: (from, to, feedback).
fn wired(sets: &[&str]) -> BTreeSet<(String, String, bool)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/digits.toml");
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    let job = Job::load(&path, &sets).unwrap();
    let stages = prepare(&job, &Options::default(), Arc::new(AtomicBool::new(false))).unwrap().stages;
    let allocator = Allocator::Thread(Thread::default());
    let mut worker = Worker::new(Config::default(), allocator, Some(Instant::now()));
    let operators: Rc<RefCell<BTreeMap<usize, String>>> = Rc::default();
    let channels: Rc<RefCell<Vec<(usize, usize)>>> = Rc::default();
    let (named, joined) = (operators.clone(), channels.clone());
    worker.log_register().unwrap().insert::<TimelyEventBuilder, _>("timely", move |_, events| {
        for (_, event) in events.iter().flat_map(|events| events.iter()) {
            match event {
                TimelyEvent::Operates(operator) if operator.addr.len() == 2 => {
                    named.borrow_mut().insert(operator.addr[1], operator.name.clone());
                }
                TimelyEvent::Channels(channel) if channel.scope_addr.len() == 1 => {
                    joined.borrow_mut().push((channel.source.0, channel.target.0));
                }
                _ => {}
            }
        }
    });
    let index = worker.next_dataflow_index();
    worker.dataflow_named("sluicebox", |scope| build(scope, stages, &Failure::default()));
    worker.drop_dataflow(index);
    worker.log_register().unwrap().flush();

    let (operators, channels) = (operators.borrow(), channels.borrow());
    let is_feedback = |operator: &usize| operators[operator] == "Feedback";
    let stage = |operator: &usize| {
        let name = operators[operator].as_str();
        PIPELINE.position(name).map_or("ledger", |_| name).to_string()
    };
    let mut edges = BTreeSet::new();
    for (from, to) in channels.iter().filter(|(_, to)| !is_feedback(to)) {
        let sender = channels.iter().find(|(_, target)| target == from).filter(|_| is_feedback(from));
        let sender = sender.map_or(from, |(sender, _)| sender);
        if operators[sender] != "Empty" && stage(sender) != stage(to) {
            edges.insert((stage(sender), stage(to), is_feedback(from)));
        }
    }
    edges
}

#[test]
fn the_dataflow_is_wired_as_the_table_says() {
    for (ledger, sets) in [(false, &[][..]), (true, &["ledger.retain=100"])] {
        let table = PIPELINE.edges(ledger);
        let table: BTreeSet<_> = table.map(|(from, to, back)| (from.into(), to.into(), back)).collect();
        assert_eq!(wired(sets), table, "with a ledger: {ledger}");
    }
}
