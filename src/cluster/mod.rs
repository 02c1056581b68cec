//! Processes that run one job together, as bytes: how they find each other, prove that they belong together, send each other
//! frames, and notice that one is gone. What the frames mean is in [`run`](crate::run).
//!
//! Process 0 is the head: it listens, and all others connect to it. What two others have to say to each other goes through it.
//!
//! ```text
//! head    Gate: listens ─► hello: token, version ─► Roster: who is who ─► Crew: one Link a process, one Inbox
//! others  enter: connects ─► hello                                     ─► Place: one Link to the head, one Inbox
//! ```

mod crew;
mod enter;
mod fate;
mod frame;
mod gate;
mod hello;
mod hosts;
mod inbox;
mod link;
mod net;
mod proof;
mod record;
mod roster;

pub use crew::Crew;
pub use enter::{Entrance, Place, enter};
pub use fate::{ALL_END, Fate};
pub use frame::{Frame, Kind};
pub use gate::{Gate, Meeting};
pub use hello::Request;
pub use hosts::{Hosts, is_address};
pub use inbox::Inbox;
pub use link::Link;

use std::ops::Range;

/// Returns the workers of each process: as many each as goes, in their order.
///
/// ```
/// use sluicebox::cluster::dealt;
///
/// assert_eq!(dealt(5, 2), [0..3, 3..5]);
/// ```
pub fn dealt(workers: usize, processes: usize) -> Vec<Range<usize>> {
    let start = |process: usize| (workers * process).div_ceil(processes);
    (0..processes).map(|process| start(process)..start(process + 1)).collect()
}
