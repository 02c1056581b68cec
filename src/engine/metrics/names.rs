//! Names of the newest samples whose ids are texts or numbers of 64 bits, by which disagreements are shown.

use sluicebox_core::sample_id::{IdName, SampleId};
use sluicebox_core::step::StepInfo;
use std::collections::{HashMap, VecDeque};

/// Samples whose names are kept: as many as the ledger keeps by default. A name takes about 150 bytes.
const MOST: usize = 100_000;

/// The newest names. They are not saved: after a restart an earlier sample is shown by its key.
#[derive(Default)]
pub struct Names {
    by_key: HashMap<u64, IdName>,
    /// Keys, oldest first. One that came again has two places.
    keys: VecDeque<u64>,
}

impl Names {
    /// Adds the names of a step.
    pub fn add(&mut self, info: &StepInfo) {
        for (at, name) in &info.names {
            let Some(key) = info.ids.get(*at) else { continue };
            self.by_key.insert(*key, name.clone());
            self.keys.push_back(*key);
            if self.keys.len() > MOST {
                self.keys.pop_front().map(|oldest| self.by_key.remove(&oldest));
            }
        }
    }

    /// Gives an id its name, if it is known.
    pub fn name(&self, id: &mut SampleId) {
        id.name = id.name.take().or_else(|| self.by_key.get(&id.key).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_names_are_known() {
        let ids: Vec<SampleId> =
            (0..MOST + 3).map(|at| SampleId::plain(&format!("s-{at}")).unwrap()).collect();
        let mut names = Names::default();
        for part in ids.chunks(1000) {
            let name = |(at, id): (usize, &SampleId)| (at, id.name.clone().unwrap());
            let info = StepInfo {
                ids: part.iter().map(|id| id.key).collect(),
                names: part.iter().enumerate().map(name).collect(),
                ..StepInfo::default()
            };
            names.add(&info);
        }
        let named = |at: usize| {
            let mut id = SampleId::of_key(ids[at].key);
            names.name(&mut id);
            id
        };
        assert_eq!([3, MOST + 2].map(named), [ids[3].clone(), ids[MOST + 2].clone()]);
        assert_eq!(named(2).name, None);
        assert!(named(2).to_string().starts_with('#'));
    }
}
