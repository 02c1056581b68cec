//! Measures how long timely schedules each operator, from timely's own log events.

use crate::engine::metrics::busy::Busy;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use timely::logging::{ParkEvent, StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

/// Adds the time of all future scheduling events of the worker to `busy`.
pub fn listen(worker: &Worker, busy: Rc<RefCell<Busy>>) {
    let Some(mut register) = worker.log_register() else { return };
    // By operator id: its stage (none for enclosing scopes and feedback edges), and the start of its present
    // run.
    let mut operators: BTreeMap<usize, (Option<usize>, Duration)> = BTreeMap::new();
    let mut parked = None;
    let record = move |_: &Duration, events: &mut Option<Vec<(Duration, TimelyEvent)>>| {
        let Ok(mut busy) = busy.try_borrow_mut() else { return };
        for (now, event) in events.iter_mut().flatten() {
            match event {
                TimelyEvent::Operates(operator) => {
                    let edge = matches!(operator.name.as_str(), "Feedback" | "Empty");
                    let counts = operator.addr.len() > 1 && !edge;
                    let stage = if counts { Busy::stage_of(&operator.name) } else { None };
                    operators.insert(operator.id, (stage, *now));
                }
                TimelyEvent::Schedule(event) => {
                    let Some((stage, since)) = operators.get_mut(&event.id) else { continue };
                    match (event.start_stop, *stage) {
                        (StartStop::Start, _) => *since = *now,
                        (StartStop::Stop, Some(stage)) => busy.add(stage, (*now - *since).as_secs_f64()),
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
    register.insert::<TimelyEventBuilder, _>("timely", record);
}
