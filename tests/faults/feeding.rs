//! Feeds a job over HTTP and TCP and keeps the account of it.

use crate::account::Account;
use crate::damage::checkpoints;
use crate::fed_job::{Place, Process, patience, within};
use crate::tcp_feeder::{Fed, Feeder};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The first id of samples that come over TCP.
const TCP_IDS: u64 = 1 << 32;
const CLIENT: &str = "feeder";

/// What the feeders of a job know.
#[derive(Default, Clone)]
pub struct Known {
    pub account: Account,
    /// Ids of acknowledged samples that the feeder chose, in order of acknowledgement.
    pub named: Vec<u64>,
    /// Samples that are part of a checkpoint.
    pub settled: BTreeSet<u64>,
    next_id: u64,
    /// Samples that were sent and acknowledged over TCP.
    over_tcp: (u64, u64),
}

impl Known {
    /// Sends some samples by each way, and labels. Returns why something was not taken.
    pub fn round(&mut self, place: &Place, job: &Process) -> Result<(), String> {
        let ids = self.fresh(8);
        let first = ids[0];
        self.post(job, &ids)?;
        self.post_unnamed(job, 6)?;
        let label = json!({ "id": first, "class": first % 10 }).to_string();
        taken(job.ask("POST", "/labels", &label))?;
        self.feed(place, 7, patience())
    }

    /// Returns new ids.
    pub fn fresh(&mut self, count: u64) -> Vec<u64> {
        let first = self.next_id;
        self.next_id += count;
        (first..self.next_id).collect()
    }

    /// Returns one of the acknowledged ids that the feeder chose; `which` is any number.
    pub fn any(&self, which: u64) -> Option<u64> {
        self.named.get(which as usize % self.named.len().max(1)).copied()
    }

    /// Sends samples with ids; those may have been sent before.
    pub fn post(&mut self, job: &Process, ids: &[u64]) -> Result<Value, String> {
        self.account.sends(ids.iter().copied());
        let answer = taken(job.post(ids, |id| id))?;
        self.account.acknowledges(ids.iter().copied());
        self.named.extend(ids);
        Ok(answer)
    }

    /// Sends samples without ids.
    pub fn post_unnamed(&mut self, job: &Process, count: usize) -> Result<(), String> {
        self.account.sends_unnamed(count);
        let answer = job.post_unnamed(count, self.next_id << 20);
        if matches!(answer, Ok((400..500, _))) {
            self.account.refuses_unnamed(count);
        }
        let answer = taken(answer)?;
        let ids = answer["ids"].as_array().ok_or("no ids were told")?;
        self.account.assigns(&ids.iter().filter_map(Value::as_u64).collect::<Vec<u64>>());
        Ok(())
    }

    /// Sends `count` more samples over TCP.
    pub fn feed(&mut self, place: &Place, count: u64, limit: Duration) -> Result<(), String> {
        let mut feeder = Feeder::new(place.port, CLIENT, TCP_IDS);
        (feeder.sent, feeder.acknowledged) = self.over_tcp;
        let to = feeder.sent + count;
        self.account.sends(TCP_IDS + feeder.acknowledged..TCP_IDS + to);
        let mut acknowledged = Vec::new();
        let fed = feeder.feed(to, 3, limit, &mut acknowledged);
        self.over_tcp = (feeder.sent, feeder.acknowledged);
        self.account.acknowledges(acknowledged);
        match fed {
            Fed::All => Ok(()),
            other => Err(format!("over TCP: {other:?}")),
        }
    }

    /// Repeats what may fail for a while, such as feeding a full log.
    pub fn insist<T>(&mut self, mut what: impl FnMut(&mut Self) -> Result<T, String>) -> Result<T, String> {
        let mut reason = String::new();
        within(patience(), || what(self).map_err(|error| reason = error).ok()).ok_or(reason)
    }

    /// Waits until all that was acknowledged is trained on, and is part of a checkpoint.
    pub fn settle(&mut self, place: &Place, job: &Process) -> Result<(), String> {
        self.trained(place)?;
        self.settled = self.account.sure().collect();
        let newest = || checkpoints(place).pop().map(|(step, _)| step);
        let before = newest();
        taken(job.ask("POST", "/control/checkpoint", ""))?;
        // A checkpoint that is asked for is written with the next step.
        self.insist(|known| known.post_unnamed(job, 1))?;
        within(patience(), || (newest() > before).then_some(())).ok_or("no checkpoint was written")?;
        self.trained(place)
    }

    /// Waits until all that was acknowledged is trained on.
    pub fn trained(&self, place: &Place) -> Result<(), String> {
        let lost = || self.account.difference(&place.predicted()).lost;
        within(patience(), || lost().is_empty().then_some(())).ok_or_else(|| {
            let (lost, limit) = (lost(), patience());
            format!("acknowledged samples are not trained on within {limit:.0?}: {}", few(&lost))
        })
    }
}

/// Returns an answer with status 200, or the other one in words.
pub fn taken(answer: Result<(u16, Value), String>) -> Result<Value, String> {
    match answer? {
        (200, answer) => Ok(answer),
        (status, answer) => Err(format!("{status}: {answer}")),
    }
}

/// Shows a few ids and how many there are.
pub fn few(ids: &[u64]) -> String {
    format!("{} samples, such as {:?}", ids.len(), &ids[..ids.len().min(10)])
}
