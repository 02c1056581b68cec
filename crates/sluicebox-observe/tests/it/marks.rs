//! Marks in the history: what happened to a job is kept by kind, bounded, and forgotten where the job goes back.

use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::{About, JobMeters, Mark, MarkKind, Report};
use sluicebox_observe::history::settings::History as HistorySettings;
use sluicebox_observe::history::{History, HistoryWriter};
use sluicebox_observe::verdict::of_history;
use std::path::Path;
use std::sync::Arc;

fn open(state: &Path) -> HistoryWriter {
    HistoryWriter::open(Some(state), &HistorySettings::default(), &About::default()).unwrap()
}

fn mark(kind: MarkKind, epoch: u64) -> Event {
    let text = format!("{} of epoch {epoch}", kind.name());
    Event::Mark(Arc::new(Mark { at_ms: 1000 * epoch, epoch, step: 100 * epoch, kind, text }))
}

#[test]
fn frequent_marks_drive_out_none_of_another_kind() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path());
    let checkpoints = (1..=3000).map(|epoch| mark(MarkKind::Checkpoint, epoch));
    let events: Vec<Event> = [mark(MarkKind::Drift, 1)].into_iter().chain(checkpoints).collect();
    writer.notify(&events).unwrap();
    let history = History::read(folder.path()).unwrap();
    let all = history.marks(0..=u64::MAX, usize::MAX >> 1).unwrap();
    assert_eq!((all.len(), all[0].kind, all[1].epoch), (2001, MarkKind::Drift, 1001));
    let few = history.marks(1..=2500, 2).unwrap();
    let told: Vec<&str> = few.iter().map(|mark| mark.text.as_str()).collect();
    assert_eq!(told, ["drift of epoch 1", "checkpoint of epoch 2499", "checkpoint of epoch 2500"]);
}

#[test]
fn a_job_that_goes_on_marks_again_what_happens_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path());
    writer
        .notify(&[mark(MarkKind::Drift, 3), mark(MarkKind::Checkpoint, 4), mark(MarkKind::Drift, 5)])
        .unwrap();
    drop(writer);
    open(folder.path()).go_on_after(4, 450).unwrap();
    let epochs = |marks: Vec<Mark>| marks.iter().map(|mark| mark.epoch).collect::<Vec<_>>();
    assert_eq!(epochs(History::read(folder.path()).unwrap().marks(0..=9, 9).unwrap()), [3, 4]);
}

#[test]
fn a_history_of_an_earlier_sluicebox_has_none_and_is_read() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).notify(&[Event::Epoch(Arc::new(Report { epoch: 1, ..Report::default() }))]).unwrap();
    let database = rusqlite::Connection::open(folder.path().join("history.db")).unwrap();
    database.execute_batch("DROP TABLE marks").unwrap();
    drop(database);
    assert_eq!(History::read(folder.path()).unwrap().marks(0..=9, 9).unwrap(), []);
}

#[test]
fn verdicts_read_the_epochs_before_and_the_newest_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = open(folder.path());
    let report = |epoch: u64| {
        let rate = if epoch == 20 { 500.0 } else { 1000.0 };
        let job = JobMeters { samples_per_s: Some(rate), drift_alarms: Some(2.0), ..JobMeters::default() };
        Report { epoch, job, ..Report::default() }
    };
    let epochs = (1..=20).map(|epoch| Event::Epoch(Arc::new(report(epoch))));
    let marks = [mark(MarkKind::Drift, 7), mark(MarkKind::Drift, 18), mark(MarkKind::Gate, 19)];
    writer.notify(&epochs.chain(marks).collect::<Vec<_>>()).unwrap();
    let verdicts = of_history(&History::read(folder.path()).unwrap(), &report(20), 20_000).unwrap();
    assert_eq!(verdicts[0].text(), "500 samples/s: 50.0 % below the mean of the 10 epochs before (1,000)");
    assert_eq!(verdicts[4].text(), "2 alarms: last 2 s ago: drift of epoch 18");
}
