//! An answer: its words and its tone.

use crate::verdict::words;
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
    /// Returns an answer whose question is not named yet.
    pub(super) fn new(tone: Tone, head: impl Into<String>, more: impl Into<String>) -> Self {
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
