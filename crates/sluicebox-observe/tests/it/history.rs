//! The history: data are read back at every resolution, and damage to the file is survived.

use rusqlite::Connection;
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::{
    About, Cell, ClassMeters, Confusion, JobMeters, Line, Meters, Named, OperatorMeters, Report,
};
use sluicebox_observe::history;
use sluicebox_observe::history::settings::History as HistorySettings;
use sluicebox_observe::history::{History, HistoryWriter};
use std::path::Path;
use std::sync::Arc;

fn about() -> About {
    About { job: "digits".into(), started_ms: 7, classes: vec!["0".into(), "1".into()], ..About::default() }
}

/// Returns a report whose values follow from its epoch.
fn report(epoch: u64) -> Report {
    let job = JobMeters {
        samples: Some(100.0 * epoch as f64),
        samples_per_s: Some(epoch as f64),
        accuracy: epoch.is_multiple_of(2).then_some(1.0 / epoch as f64),
        ..JobMeters::default()
    };
    let class = ClassMeters { judged: Some(epoch as f64), ..ClassMeters::default() };
    let operator = OperatorMeters { busy_fraction: Some(0.25), ..OperatorMeters::default() };
    Report {
        epoch,
        ended_ms: 1000 + epoch,
        job,
        classes: vec![Named { name: "0".into(), meters: class }],
        operators: vec![Named { name: "teach".into(), meters: operator }],
        confusions: vec![Confusion {
            of: "stream".into(),
            cells: vec![Cell { truth: 1, given: 0, samples: 3, accepted: 2 }],
        }],
        ..Report::default()
    }
}

fn tell(history_writer: &mut HistoryWriter, epochs: impl IntoIterator<Item = u64>) {
    let events: Vec<Event> = epochs.into_iter().map(|epoch| Event::Epoch(Arc::new(report(epoch)))).collect();
    history_writer.notify(&events).unwrap();
}

fn line(text: String) -> Event {
    Event::Line(Arc::new(Line { at_ms: 1, level: "info".into(), module: "run".into(), text }))
}

fn open(state: &Path, retention: &HistorySettings) -> HistoryWriter {
    HistoryWriter::open(Some(state), retention, &about()).unwrap()
}

fn small() -> HistorySettings {
    HistorySettings { epochs: 64, details: 10, lines: 20 }
}

/// Returns first epoch, last epoch and mean samples_per_s of each point.
fn speeds(history: &History, epochs: std::ops::RangeInclusive<u64>, points: usize) -> Vec<(u64, u64, f64)> {
    let series = history.series(epochs, points).unwrap();
    series.iter().map(|p| (p.first_epoch, p.last_epoch, p.mean.samples_per_s.unwrap())).collect()
}

fn database(state: &Path) -> Connection {
    Connection::open(state.join("history.db")).unwrap()
}

fn count(state: &Path, from: &str) -> i64 {
    let ask = format!("SELECT count(*) FROM {from}");
    database(state).query_row(&ask, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_is_told_is_read_back_while_it_is_written_and_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let mut history_writer = open(folder.path(), &small());
    let beside = History::read(folder.path()).unwrap();
    assert_eq!(beside.span().unwrap(), None);
    assert_eq!(beside.series(1..=9, 10).unwrap(), []);
    tell(&mut history_writer, 1..=3);
    history_writer.notify(&[line("one".into()), line("two".into())]).unwrap();
    for history in [beside, history_writer.reader().unwrap()] {
        assert_eq!(history.about().unwrap(), about());
        assert_eq!(history.span().unwrap(), Some((1, 3)));
        assert_eq!(history.report(2).unwrap(), Some(report(2)));
        assert_eq!(history.report(4).unwrap(), None);
        let texts: Vec<String> = history.lines(9).unwrap().into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["one", "two"]);
        assert_eq!(history.lines(1).unwrap()[0].text, "two");
    }
    drop(history_writer);
    assert!(!folder.path().join("history.db-wal").exists());
    assert_eq!(History::read(folder.path()).unwrap().report(3).unwrap(), Some(report(3)));
}

#[test]
fn a_job_without_a_folder_has_its_history_in_memory() {
    let mut one = HistoryWriter::open(None, &small(), &about()).unwrap();
    let mut other = HistoryWriter::open(None, &small(), &about()).unwrap();
    let reader = one.reader().unwrap();
    tell(&mut one, 1..=3);
    tell(&mut other, 1..=9);
    assert_eq!(reader.span().unwrap(), Some((1, 3)));
    assert_eq!(reader.report(2).unwrap(), Some(report(2)));
    drop(one);
    assert_eq!(reader.span().unwrap(), Some((1, 3)));
}

#[test]
fn anyone_can_ask_it_with_sql() {
    let folder = tempfile::tempdir().unwrap();
    tell(&mut open(folder.path(), &small()), 1..=20);
    let database = database(folder.path());
    let ask = "SELECT epoch, accuracy FROM epochs WHERE level = 0 AND epoch IN (3, 4) ORDER BY epoch";
    let mut statement = database.prepare(ask).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows: Vec<(i64, Option<f64>)> = rows.collect::<Result<_, _>>().unwrap();
    assert_eq!(rows, [(3, None), (4, Some(0.25))]);
    let columns = count(folder.path(), "pragma_table_info('epochs')");
    assert_eq!(columns, 6 + 3 * JobMeters::METERS.len() as i64);
}

#[test]
fn coarse_points_are_mean_least_and_greatest_and_of_totals_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut history_writer = open(folder.path(), &small());
    (1..=20).for_each(|epoch| tell(&mut history_writer, [epoch]));
    let history = history_writer.reader().unwrap();
    assert_eq!(speeds(&history, 1..=20, 20).len(), 20);
    // 1 to 8 and 9 to 16 are complete, 17 to 20 is incomplete.
    let expected = [(1, 8, 4.5), (9, 16, 12.5), (17, 20, 18.5)];
    assert_eq!(speeds(&history, 1..=20, 19), expected);
    assert_eq!(speeds(&history, 1..=20, 3), expected);
    assert_eq!(speeds(&history, 1..=20, 2), [(1, 20, 10.5)]);
    assert_eq!(speeds(&history, 0..=u64::MAX, 1), [(1, 20, 10.5)]);
    assert_eq!(speeds(&history, 7..=9, 2), expected[..2]);
    assert_eq!(speeds(&history, 5..=6, 2), [(5, 5, 5.0), (6, 6, 6.0)]);
    assert_eq!(speeds(&history, 21..=30, 5), []);

    let first = &history.series(1..=20, 3).unwrap()[0];
    assert_eq!(first.ended_ms, 1008);
    assert_eq!((first.low.samples_per_s, first.high.samples_per_s), (Some(1.0), Some(8.0)));
    assert_eq!((first.mean.samples, first.low.samples), (Some(800.0), Some(100.0)));
    // Accuracy is known at 2, 4, 6 and 8 only.
    let mean = (1.0 / 2.0 + 1.0 / 4.0 + 1.0 / 6.0 + 1.0 / 8.0) / 4.0;
    assert!((first.mean.accuracy.unwrap() - mean).abs() < 1e-12);
    assert_eq!((first.low.accuracy, first.high.accuracy), (Some(0.125), Some(0.5)));
    assert_eq!(first.mean.labelled_loss, None);
    let fine = &history.series(2..=2, 3).unwrap()[0];
    assert_eq!((&fine.low, &fine.high), (&fine.mean, &fine.mean));
}

#[test]
fn it_does_not_matter_in_how_many_parts_epochs_are_told() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut historians = folders.each_ref().map(|folder| open(folder.path(), &small()));
    tell(&mut historians[0], 1..=700);
    (1..=700).step_by(7).for_each(|first| tell(&mut historians[1], first..first + 7));
    let [one, other] = historians.each_ref().map(|history_writer| history_writer.reader().unwrap());
    for points in [1, 2, 10, 50, 100, 700] {
        assert_eq!(one.series(1..=700, points).unwrap(), other.series(1..=700, points).unwrap());
    }
}

#[test]
fn it_is_bounded_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mut history_writer = open(folder.path(), &small());
    let size = || {
        let file = |name: &str| std::fs::metadata(folder.path().join(name)).map_or(0, |file| file.len());
        file("history.db") + file("history.db-wal")
    };
    let mut early = 0;
    for first in (1..=20_000).step_by(100) {
        tell(&mut history_writer, first..first + 100);
        history_writer.notify(&[line(first.to_string())]).unwrap();
        if first == 4_901 {
            early = size();
        }
    }
    for level in 0..5 {
        let rows = count(folder.path(), &format!("epochs WHERE level = {level}"));
        assert!((1..=64).contains(&rows), "{rows} rows on level {level}");
    }
    assert_eq!(count(folder.path(), "epochs WHERE level = 0"), 64);
    assert_eq!(count(folder.path(), "details"), 10);
    assert_eq!(count(folder.path(), "lines"), 20);
    // The file may grow by one more level, of 64 rows of 1 kB.
    assert!(size() < early + (256 << 10), "{early} grew to {}", size());

    let history = history_writer.reader().unwrap();
    assert_eq!(history.span().unwrap(), Some((1, 20_000)));
    assert_eq!(history.report(19_990).unwrap().unwrap().classes, []);
    assert_eq!(history.report(19_991).unwrap(), Some(report(19_991)));
    assert_eq!(history.report(19_936).unwrap(), None);
    for points in [1, 5, 40, 64, 1000, 100_000] {
        let series = history.series(1..=20_000, points).unwrap();
        assert!((1..=points).contains(&series.len()));
        assert_eq!((series[0].first_epoch, series.last().unwrap().last_epoch), (1, 20_000));
        assert!(series.windows(2).all(|pair| pair[0].last_epoch + 1 == pair[1].first_epoch));
    }
    assert_eq!(history.series(19_950..=19_960, 100).unwrap().len(), 11);
}

#[test]
fn a_job_that_goes_on_replaces_what_it_does_again() {
    let folder = tempfile::tempdir().unwrap();
    tell(&mut open(folder.path(), &small()), 1..=70);
    let mut history_writer = open(folder.path(), &small());
    let mut again = report(60);
    again.job.samples_per_s = Some(600.0);
    history_writer.notify(&[Event::Epoch(Arc::new(again.clone()))]).unwrap();
    let history = history_writer.reader().unwrap();
    assert_eq!(history.span().unwrap(), Some((1, 60)));
    assert_eq!(history.report(60).unwrap(), Some(again));
    assert_eq!(history.report(61).unwrap(), None);
    assert_eq!(count(folder.path(), "details WHERE epoch > 60"), 0);
    let mean = (57.0 + 58.0 + 59.0 + 600.0) / 4.0;
    assert_eq!(speeds(&history, 1..=70, 10).last(), Some(&(57, 60, mean)));
    // The same repetition in one batch leaves no trace in the end.
    tell(&mut history_writer, [61, 62, 60, 61, 62].into_iter().chain(63..=80));
    let whole = HistoryWriter::open(None, &small(), &about());
    let mut whole = whole.unwrap();
    tell(&mut whole, 1..=80);
    let whole = whole.reader().unwrap();
    for points in [1, 2, 10, 80] {
        assert_eq!(history.series(1..=80, points).unwrap(), whole.series(1..=80, points).unwrap());
    }
}

#[test]
fn epochs_after_the_one_a_job_goes_on_from_can_be_forgotten_at_once() {
    let folder = tempfile::tempdir().unwrap();
    tell(&mut open(folder.path(), &small()), 1..=1000);
    let mut history_writer = open(folder.path(), &small());
    let history = history_writer.reader().unwrap();
    history_writer.go_on_after(2000, u64::MAX).unwrap();
    assert_eq!(history.span().unwrap(), Some((1, 1000)));
    history_writer.go_on_after(990, u64::MAX).unwrap();
    assert_eq!(history.span().unwrap(), Some((1, 990)));
    assert_eq!(speeds(&history, 1..=990, 1), [(1, 990, 495.5)]);
    // Farther back than single epochs are kept.
    history_writer.go_on_after(300, u64::MAX).unwrap();
    tell(&mut history_writer, 301..=310);
    assert_eq!(history.span().unwrap(), Some((1, 310)));
    assert_eq!(history.series(1..=310, 5).unwrap().last().unwrap().last_epoch, 310);
    history_writer.go_on_after(0, u64::MAX).unwrap();
    assert_eq!(history.span().unwrap(), None);
    tell(&mut history_writer, [1]);
    assert_eq!(history.span().unwrap(), Some((1, 1)));
}

#[test]
fn a_file_cut_short_anywhere_never_costs_the_job_anything() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut history_writer = open(folder.path(), &small());
        tell(&mut history_writer, 1..=200);
        history_writer.notify(&[line("said".into())]).unwrap();
    }
    let whole = std::fs::read(folder.path().join("history.db")).unwrap();
    // Lengths around structural boundaries, and scattered ones.
    let spread = (1..60).map(|at: usize| at.wrapping_mul(2_654_435_761) % whole.len());
    for length in [0, 1, 15, 16, 99, 100, 101, 4095, 4096, 4097].into_iter().chain(spread) {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("history.db"), &whole[..length]).unwrap();
        if let Ok(history) = History::read(state.path()) {
            let _ = (history.span(), history.series(1..=200, 10), history.report(200), history.lines(5));
        }
        let mut history_writer = open(state.path(), &small());
        tell(&mut history_writer, 201..=300);
        let history = history_writer.reader().unwrap();
        assert_eq!(history.report(300).unwrap(), Some(report(300)), "cut to {length}");
        drop(history_writer);
        let newer = History::read(state.path()).unwrap();
        assert_eq!(newer.series(1..=300, 300).unwrap().last().unwrap().last_epoch, 300);
    }
}

#[test]
fn damage_is_told_to_readers_and_moved_aside_by_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    std::fs::write(&path, "not a database, but long enough to look at".repeat(500)).unwrap();
    let error = History::read(folder.path()).map(|_| ()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("history.db: the history is damaged"), "{error}");
    for _ in 0..2 {
        let mut history_writer = open(folder.path(), &small());
        let reader = history_writer.reader().unwrap();
        tell(&mut history_writer, 1..=3);
        assert_eq!(reader.span().unwrap(), Some((1, 3)));
        assert!(folder.path().join("history.db.damaged").exists());
        // The file may also be damaged while the job runs: the job continues.
        std::fs::write(&path, "no more").unwrap();
        tell(&mut history_writer, 4..=5);
        drop(history_writer);
        std::fs::write(&path, "once more").unwrap();
    }
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(files <= 5, "{files} files");
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    tell(&mut open(folder.path(), &small()), 1..=3);
    database(folder.path()).execute_batch("PRAGMA user_version = 9").unwrap();
    let reads = History::read(folder.path()).map(|_| ()).unwrap_err();
    let writes = HistoryWriter::open(Some(folder.path()), &small(), &about()).map(|_| ()).unwrap_err();
    for error in [reads, writes] {
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("written by a newer Sluicebox"), "{error}");
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
    assert_eq!(count(folder.path(), "epochs WHERE level = 0"), 3);
}

#[test]
fn meters_come_and_go_between_versions() {
    let folder = tempfile::tempdir().unwrap();
    tell(&mut open(folder.path(), &small()), 1..=3);
    let other = "ALTER TABLE epochs DROP COLUMN accuracy; ALTER TABLE epochs DROP COLUMN low_accuracy;
                 ALTER TABLE epochs ADD COLUMN brightness REAL; UPDATE epochs SET brightness = 1";
    database(folder.path()).execute_batch(other).unwrap();
    let known = History::read(folder.path()).unwrap().report(2).unwrap().unwrap();
    assert_eq!((known.job.samples, known.job.accuracy), (Some(200.0), None));
    let mut history_writer = open(folder.path(), &small());
    tell(&mut history_writer, 4..=10);
    let history = history_writer.reader().unwrap();
    assert_eq!(history.report(4).unwrap(), Some(report(4)));
    let accuracy = history.series(1..=10, 2).unwrap()[0].mean.accuracy.unwrap();
    assert!((accuracy - (1.0 / 4.0 + 1.0 / 6.0 + 1.0 / 8.0) / 3.0).abs() < 1e-12);
}

#[test]
fn nothing_is_read_where_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| History::read(path).map(|_| ()).unwrap_err().to_string();
    assert!(error(&folder.path().join("none")).contains("does not exist"));
    assert!(error(folder.path()).contains("there is no history in this folder"));
    tell(&mut open(folder.path(), &small()), 1..=3);
    history::clear(folder.path()).unwrap();
    history::clear(folder.path()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_job_that_was_killed_leaves_a_whole_history() {
    let folder = tempfile::tempdir().unwrap();
    let mut history_writer = open(folder.path(), &small());
    tell(&mut history_writer, 1..=100);
    // A kill leaves what the disk holds while the job runs.
    let killed = tempfile::tempdir().unwrap();
    for name in ["history.db", "history.db-wal"] {
        std::fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    }
    let history = History::read(killed.path()).unwrap();
    assert_eq!(history.span().unwrap(), Some((1, 100)));
    assert_eq!(history.report(100).unwrap(), Some(report(100)));
}
