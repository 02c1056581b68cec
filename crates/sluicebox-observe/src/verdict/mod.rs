//! Verdicts: what a report says in words, as answers to five questions. The page, `watch`, the console and `plot` show
//! these words and tones, and make none of their own.
//!
//! - `speed`, `time`, `learning`, `pseudo_labels`, `drift`: one question each
//! - `evidence`: what they look at; `spread`: whether a number is beyond what it was
//! - `words`: how numbers are written

mod drift;
mod evidence;
mod learning;
mod pseudo_labels;
mod speed;
mod spread;
mod time;
mod words;

pub use evidence::{Evidence, Recent, of_history};

use serde::{Deserialize, Serialize};

/// How good an answer is: its colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tone {
    /// As it should be: green.
    Good,
    /// Neither good nor bad: no colour.
    #[default]
    Plain,
    /// To be looked at: amber.
    Look,
    /// Bad: red.
    Bad,
    /// Not known: grey.
    Unknown,
}

/// The answer to a question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Key of the question, such as `speed`.
    pub key: String,
    /// The question in one or two words, such as `Speed`.
    pub title: String,
    /// The answer in a few words, such as `22,044 samples/s`.
    pub head: String,
    /// What it is measured against, and how sure it is.
    pub more: String,
    /// How good it is.
    pub tone: Tone,
}

impl Verdict {
    fn new(tone: Tone, head: impl Into<String>, more: impl Into<String>) -> Self {
        Self { head: head.into(), more: more.into(), tone, ..Self::default() }
    }

    /// Returns what it is measured against, cut at a word so that it fits into `room` columns; none where there is
    /// nothing to say, or no room.
    pub fn more_within(&self, room: usize) -> Option<String> {
        (!self.more.is_empty() && room > 1).then(|| words::cut(&self.more, room))
    }

    /// Returns the answer as one line of text, without the question.
    pub fn text(&self) -> String {
        match self.more.is_empty() {
            true => self.head.clone(),
            false => format!("{}: {}", self.head, self.more),
        }
    }
}

/// A question: its key, its title, and what answers it.
type Question = (&'static str, &'static str, fn(&Evidence<'_>) -> Verdict);

/// The questions, in the order in which they are answered.
const QUESTIONS: [Question; 5] = [
    ("speed", "Speed", speed::judge),
    ("time", "Where the time goes", time::judge),
    ("learning", "Learning", learning::judge),
    ("pseudo-labels", "Pseudo-labels", pseudo_labels::judge),
    ("drift", "Drift", drift::judge),
];

/// Columns of the longest title.
pub const TITLE_COLUMNS: usize = 19;

/// Answers the questions.
///
/// ```
/// use sluicebox_core::report::{JobMeters, Report};
/// use sluicebox_observe::verdict::{Evidence, judge};
///
/// let job = JobMeters { samples_per_s: Some(22_044.0), drift_alarms: Some(0.0), ..JobMeters::default() };
/// let newest = Report { epoch: 7, job, ..Report::default() };
/// let verdicts = judge(&Evidence { newest: &newest, before: &[], drifted: None, now_ms: 0 });
/// assert_eq!(verdicts[0].head, "22,044 samples/s");
/// assert_eq!(verdicts[4].text(), "none: no alarm in 7 epochs");
/// ```
pub fn judge(evidence: &Evidence<'_>) -> Vec<Verdict> {
    let answer =
        |(key, title, judge): Question| Verdict { key: key.into(), title: title.into(), ..judge(evidence) };
    QUESTIONS.map(answer).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_title_fits_its_column() {
        assert_eq!(QUESTIONS.iter().map(|(_, title, _)| title.len()).max(), Some(TITLE_COLUMNS));
    }
}
