//! Seconds for which timely scheduled each operator, from timely's own events.

use crate::engine::metrics::busy::Busy;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use timely::logging::{ParkEvent, StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

/// Adds all future scheduling events of the worker to `busy`.
pub fn listen(worker: &Worker, busy: Rc<RefCell<Busy>>) {
    let Some(mut register) = worker.log_register() else { return };
    // By operator id: index in `busy` (none for enclosing scopes and plumbing), and start of its current run.
    let mut operators: BTreeMap<usize, (Option<usize>, Duration)> = BTreeMap::new();
    let mut parked = None;
    let told = move |_: &Duration, events: &mut Option<Vec<(Duration, TimelyEvent)>>| {
        let Ok(mut busy) = busy.try_borrow_mut() else { return };
        for (now, event) in events.iter_mut().flatten() {
            match event {
                TimelyEvent::Operates(operator) => {
                    let plumbing = matches!(operator.name.as_str(), "Feedback" | "Empty");
                    let counts = operator.addr.len() > 1 && !plumbing;
                    let place = counts.then(|| Busy::place(&operator.name));
                    operators.insert(operator.id, (place, *now));
                }
                TimelyEvent::Schedule(event) => {
                    let Some((place, since)) = operators.get_mut(&event.id) else { continue };
                    match (event.start_stop, *place) {
                        (StartStop::Start, _) => *since = *now,
                        (StartStop::Stop, Some(place)) => busy.add(place, (*now - *since).as_secs_f64()),
                        (StartStop::Stop, None) => {}
                    }
                }
                TimelyEvent::Park(ParkEvent::Park(_)) => parked = Some(*now),
                TimelyEvent::Park(ParkEvent::Unpark) => {
                    let since = parked.take().unwrap_or(*now);
                    busy.parked_s += (*now - since).as_secs_f64();
                }
                _ => {}
            }
        }
    };
    register.insert::<TimelyEventBuilder, _>("timely", told);
}
