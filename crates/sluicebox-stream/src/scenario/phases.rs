//! Phases of a stream: maps samples and classes to phases.

use crate::scenario::settings::{Scenario, Split};
use sluicebox_core::error::{Error, Result};
use sluicebox_core::sample::Format;

/// The phases of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Phases {
    count: usize,
    samples: u64,
    recurring: bool,
    /// Phase of each class; None if phases are domains.
    of_class: Option<Vec<usize>>,
    names: Vec<String>,
}

impl Phases {
    /// Creates the phases of a scenario for samples of `format`; None if it has no phases.
    pub fn new(scenario: &Scenario, format: &Format) -> Result<Option<Self>> {
        let ranks = ranks(&scenario.order, &format.classes)?;
        let (count, classes) = (scenario.phases, format.classes.len());
        if count == 0 {
            return Ok(None);
        }
        let of_class = match scenario.split {
            Split::Domain => None,
            Split::Classes if count > classes => {
                let reason = format!(
                    "scenario.phases is {count}, but there are {classes} classes: each phase needs one of its \
                     own (or set scenario.split = \"domain\")"
                );
                return Err(Error::Request(reason));
            }
            Split::Classes => Some(ranks.iter().map(|rank| rank * count / classes).collect::<Vec<_>>()),
        };
        let name = |phase: usize| match &of_class {
            None => format!("phase {}", phase + 1),
            Some(of_class) => {
                let own = format.classes.iter().zip(of_class).filter(|(_, own)| **own == phase);
                own.map(|(class, _)| class.as_str()).collect::<Vec<_>>().join(", ")
            }
        };
        let names = (0..count).map(name).collect();
        Ok(Some(Self {
            count,
            samples: scenario.phase_samples,
            recurring: scenario.recurring,
            of_class,
            names,
        }))
    }

    /// Returns the number of phases.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the names of the phases.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the number of phases that ended before sample `position`, counting each recurrence.
    pub fn visit(&self, position: u64) -> u64 {
        let visit = position / self.samples;
        if self.recurring { visit } else { visit.min(self.count as u64 - 1) }
    }

    /// Returns the phase of sample `position`.
    pub fn at(&self, position: u64) -> usize {
        (self.visit(position) % self.count as u64) as usize
    }

    /// Returns where the last phase that ends among the samples `from..to` ends: the position of the first
    /// sample after it.
    pub fn end_within(&self, from: u64, to: u64) -> Option<u64> {
        let next = self.visit(to);
        (next > self.visit(from)).then_some(next * self.samples)
    }

    /// Returns the number of phases that have begun after `streamed` samples, at least 1.
    pub fn begun(&self, streamed: u64) -> usize {
        self.visit(streamed.saturating_sub(1)).min(self.count as u64 - 1) as usize + 1
    }

    /// Returns the phase of a class; None if phases are domains.
    pub fn of_class(&self, class: usize) -> Option<usize> {
        self.of_class.as_ref()?.get(class).copied()
    }

    /// Returns whether phases are domains.
    pub fn are_domains(&self) -> bool {
        self.of_class.is_none()
    }
}

/// Returns the position of each class in `order`, or in the format's own order if that is empty.
pub fn ranks(order: &[String], classes: &[String]) -> Result<Vec<usize>> {
    if order.is_empty() {
        return Ok((0..classes.len()).collect());
    }
    let place = |class: &String| order.iter().position(|name| name == class);
    let ranks: Option<Vec<usize>> = classes.iter().map(place).collect();
    ranks.filter(|_| order.len() == classes.len()).ok_or_else(|| {
        let (order, classes) = (order.join(", "), classes.join(", "));
        Error::Request(format!("scenario.order is {order}: it must name each class once ({classes})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicebox_core::sample::{Dtype, Shape};

    fn phases(scenario: Scenario) -> Result<Option<Phases>> {
        let classes = ["a", "b", "c", "d", "e"].map(str::to_string).to_vec();
        let shape = Shape::Vector { features: 1 };
        Phases::new(&scenario, &Format { shape, dtype: Dtype::F32, scale: 1.0, classes })
    }

    #[test]
    fn classes_are_dealt_out_in_order() {
        let order = ["e", "d", "c", "b", "a"].map(str::to_string).to_vec();
        let scenario = Scenario { phases: 2, phase_samples: 10, order, ..Scenario::default() };
        let found = phases(scenario.clone()).unwrap().unwrap();
        assert_eq!((0..5).map(|class| found.of_class(class).unwrap()).collect::<Vec<_>>(), [1, 1, 0, 0, 0]);
        assert_eq!(found.names(), ["c, d, e", "a, b"]);
        assert_eq!([0, 9, 10, 19, 20, 99].map(|position| found.at(position)), [0, 0, 1, 1, 1, 1]);
        assert_eq!([0, 10, 11, 99].map(|streamed| found.begun(streamed)), [1, 1, 2, 2]);
        let again = phases(Scenario { recurring: true, ..scenario }).unwrap().unwrap();
        assert_eq!([0, 10, 20, 30].map(|position| again.at(position)), [0, 1, 0, 1]);
        assert_eq!([21, 1000].map(|streamed| again.begun(streamed)), [2, 2]);
    }

    #[test]
    fn what_does_not_fit_the_classes_is_refused() {
        let many = phases(Scenario { phases: 6, ..Scenario::default() }).unwrap_err().to_string();
        assert!(many.contains("phases is 6, but there are 5 classes"), "{many}");
        let order = vec!["a".to_string(); 5];
        let twice = phases(Scenario { phases: 2, order, ..Scenario::default() }).unwrap_err().to_string();
        assert!(twice.contains("name each class once"), "{twice}");
    }
}
