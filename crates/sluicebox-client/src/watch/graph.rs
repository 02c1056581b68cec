//! Layout of the dataflow: one line of operators from source to end, operators beside it, and the
//! feedback edges.

use sluicebox_core::report::{About, Report};
use std::collections::{HashMap, VecDeque};

/// Further edges are not drawn.
const MOST_EDGES: usize = 64;

/// Layout of a dataflow.
#[derive(Debug, Default, PartialEq)]
pub struct Graph {
    /// Operators on the shortest path from the source to the end.
    pub line: Vec<String>,
    /// Operators beside the line.
    pub beside: Vec<Beside>,
    /// Feedback edges within the line: (from, to), as indices.
    pub loops: Vec<(usize, usize)>,
}

/// An operator beside the line.
#[derive(Debug, PartialEq)]
pub struct Beside {
    /// The operator's name.
    pub name: String,
    /// Indices in the line of the operators that feed it.
    pub from: Vec<usize>,
    /// Indices in the line of the operators that it feeds.
    pub to: Vec<usize>,
}

impl Graph {
    /// Lays out a job's dataflow; without known edges, all operators in their order.
    pub fn new(about: &About, report: &Report) -> Self {
        let edges: Vec<_> = about.edges.iter().take(MOST_EDGES).collect();
        if edges.is_empty() {
            let line = report.operators.iter().map(|operator| operator.name.clone()).collect();
            return Self { line, ..Self::default() };
        }
        let forward: Vec<(&str, &str)> =
            edges.iter().filter(|edge| !edge.2).map(|edge| (edge.0.as_str(), edge.1.as_str())).collect();
        let back: Vec<(&str, &str)> =
            edges.iter().filter(|edge| edge.2).map(|edge| (edge.0.as_str(), edge.1.as_str())).collect();
        let line = shortest(&forward, &back);
        let place = |name: &str| line.iter().position(|of| *of == name);
        let mut loops: Vec<(usize, usize)> =
            back.iter().filter_map(|(from, to)| Some((place(from)?, place(to)?))).collect();
        loops.retain(|(from, to)| from > to);
        loops.sort_by_key(|(from, to)| from - to);
        let mut beside: Vec<Beside> = Vec::new();
        for (from, to) in forward.iter().chain(&back) {
            let (name, inward, at) = match (place(from), place(to)) {
                (Some(at), None) => (to, true, at),
                (None, Some(at)) => (from, false, at),
                _ => continue,
            };
            if !beside.iter().any(|of| of.name == **name) {
                beside.push(Beside { name: name.to_string(), from: Vec::new(), to: Vec::new() });
            }
            if let Some(found) = beside.iter_mut().find(|of| of.name == **name) {
                if inward { &mut found.from } else { &mut found.to }.push(at);
            }
        }
        Self { line: line.into_iter().map(String::from).collect(), beside, loops }
    }
}

/// Returns the shortest path from the source to the operator that returns its credit, or else to
/// the farthest operator.
fn shortest<'a>(forward: &[(&'a str, &'a str)], back: &[(&'a str, &'a str)]) -> Vec<&'a str> {
    let fed = |name: &str| forward.iter().any(|(_, to)| *to == name);
    let Some(start) = forward.iter().map(|(from, _)| *from).find(|from| !fed(from)) else {
        return Vec::new();
    };
    let mut before = HashMap::from([(start, start)]);
    let mut order = vec![start];
    let mut waiting = VecDeque::from([start]);
    while let Some(at) = waiting.pop_front() {
        for (_, to) in forward.iter().filter(|(from, _)| *from == at) {
            if !before.contains_key(to) {
                before.insert(to, at);
                order.push(to);
                waiting.push_back(to);
            }
        }
    }
    let credit = back.iter().find(|(from, to)| *to == start && before.contains_key(from));
    let mut at = credit.map(|(from, _)| *from).or(order.last().copied()).unwrap_or(start);
    let mut line = vec![at];
    while at != start {
        at = before[at];
        line.push(at);
    }
    line.reverse();
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::sample;

    #[test]
    fn the_dataflow_is_a_line_with_loops_and_the_ledger_beside() {
        let graph = Graph::new(&sample::about(), &sample::report(1));
        assert_eq!(graph.line.join(" "), "source batch weak teach filter strong learn report commit");
        assert_eq!(graph.loops, [(6, 3), (8, 0)]);
        assert_eq!(graph.beside, [Beside { name: "ledger".into(), from: vec![7], to: vec![8, 4] }]);
    }

    #[test]
    fn without_edges_the_operators_stand_in_their_order() {
        let graph = Graph::new(&About::default(), &sample::report(1));
        assert_eq!((graph.line.len(), graph.line[0].as_str()), (9, "source"));
    }

    #[test]
    fn edges_that_make_no_sense_do_no_harm() {
        let edge = |from: &str, to: &str, back| (from.to_string(), to.to_string(), back);
        let ring = About { edges: vec![edge("a", "b", false), edge("b", "a", false)], ..About::default() };
        assert_eq!(Graph::new(&ring, &Report::default()), Graph::default());
        let selves =
            vec![edge("a", "b", false), edge("b", "b", false), edge("b", "b", true), edge("c", "c", true)];
        let graph = Graph::new(&About { edges: selves, ..About::default() }, &Report::default());
        assert_eq!((graph.line.join(" "), graph.loops.len()), ("a b".into(), 0));
    }
}
