//! A log that has lost its end, or all of it: what is missing is told, no number is given twice, and what comes next is
//! read.

use sluicebox_stream::wal::settings::{Durability, LogSettings};
use sluicebox_stream::wal::{Entry, Expected, Loss, SavedEnds, Wal};
use std::fs::OpenOptions;
use std::path::Path;
use tokio::runtime::Runtime;

/// Records of a whole log.
const RECORDS: u64 = 20;

fn os() -> LogSettings {
    LogSettings { max_bytes: 1 << 20, ..LogSettings::default() }
}

fn fsync() -> LogSettings {
    LogSettings { durability: Durability::Fsync, ..os() }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Appends a record of a stream; returns its number.
fn append(log: &Wal, stream: u16, text: &str) -> u64 {
    let entry = Entry { stream, payload: text.into(), mark: Some((b"mark".into(), text.into())) };
    runtime().block_on(log.append(vec![entry])).unwrap()
}

/// Writes a log in which every third record is of stream 1, the others of stream 0.
fn write(folder: &Path, settings: &LogSettings) {
    let log = Wal::open(folder, "", settings).unwrap();
    for number in 0..RECORDS {
        assert_eq!(append(&log, u16::from(number % 3 == 2), &format!("old {number}")), number);
    }
    log.close();
}

fn rest(log: &Wal, stream: u16, from: u64) -> Vec<String> {
    let mut reader = log.reader(stream, from);
    std::iter::from_fn(|| reader.read().unwrap())
        .map(|(_, payload)| String::from_utf8(payload.to_vec()).unwrap())
        .collect()
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Cuts the journal of a log after a part of what is in it, or fills the rest with zeros.
fn lose(log: &Path, part: f64, zeros: bool) {
    let path = log.join("0.jnl");
    let bytes = std::fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let kept = (used as f64 * part) as u64;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(kept).unwrap();
    if zeros {
        file.set_len(bytes.len() as u64).unwrap();
    }
}

/// Deletes all of a log but the file that tells how far it was written.
fn lose_all(log: &Path) {
    let written = std::fs::read(log.join("written")).unwrap();
    std::fs::remove_dir_all(log).unwrap();
    std::fs::create_dir(log).unwrap();
    std::fs::write(log.join("written"), written).unwrap();
}

fn expected(needed: u64, end: u64, loss: Loss) -> Expected {
    Expected { saved: Some(SavedEnds { needed, end }), loss }
}

/// Checks a log that was opened after a loss: what is written now is read by readers of every position that a
/// checkpoint may have, and has new numbers. So it is after a restart.
fn goes_on(folder: &Path, log: Wal, settings: &LogSettings, expected: Expected) {
    let before: Vec<Vec<String>> = (0..=RECORDS).map(|from| rest(&log, 0, from)).collect();
    let first = append(&log, 0, "new 0");
    assert!(first > RECORDS, "{first}");
    assert_eq!(append(&log, 1, "new 1"), first + 1);
    let check = |log: &Wal| {
        for from in 0..=RECORDS {
            let whole = [&before[from as usize][..], &["new 0".to_string()]].concat();
            assert_eq!(rest(log, 0, from), whole, "from {from}");
            assert_eq!(rest(log, 1, from).last().unwrap(), "new 1");
        }
    };
    check(&log);
    log.close();
    drop(log);
    let log = Wal::open_expecting(folder, "", settings, expected).unwrap();
    check(&log);
    assert_eq!(append(&log, 0, "newer"), first + 2, "nothing is missing now");
    log.trim(first + 3).unwrap();
    runtime().block_on(log.append_now(Vec::new()).unwrap().durable()).unwrap();
    log.close();
    drop(log);
    let log = Wal::open_expecting(folder, "", settings, expected).unwrap();
    assert_eq!((log.durable(), log.fill().bytes), (first + 3, 0));
    log.close();
}

#[test]
fn a_log_without_its_end_goes_on_with_new_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    write(&whole, &os());
    let path = folder.path().join("log");
    for (at, part) in [0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99].into_iter().enumerate() {
        // Where the checkpoint was: before the records that are missing, among them, after them; or nowhere.
        for needed in [0, 7, 13, RECORDS] {
            copy(&whole, &path);
            lose(&path, part, at % 2 == 0);
            let expected = expected(needed, needed, Loss::Judge);
            let log = Wal::open_expecting(&path, "", &os(), expected).unwrap();
            assert!(rest(&log, 0, 0).len() < 14, "{part} is not a loss");
            goes_on(&path, log, &os(), expected);
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
}

#[test]
fn a_log_that_was_deleted_begins_after_all_numbers_that_a_checkpoint_knows() {
    let folder = tempfile::tempdir().unwrap();
    for (needed, end) in [(0, RECORDS), (11, RECORDS), (RECORDS, RECORDS), (RECORDS, 0)] {
        let path = folder.path().join(format!("{needed}-{end}"));
        let expected = expected(needed, end, Loss::Judge);
        let log = Wal::open_expecting(&path, "", &os(), expected).unwrap();
        goes_on(&path, log, &os(), expected);
    }
}

#[test]
fn an_older_copy_of_the_log_goes_on_with_new_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (path, older) = (folder.path().join("log"), folder.path().join("older"));
    let log = Wal::open(&path, "", &os()).unwrap();
    (0..5).for_each(|number| assert_eq!(append(&log, 0, "early"), number));
    log.close();
    drop(log);
    copy(&path, &older);
    let expected = expected(9, RECORDS, Loss::Judge);
    let log = Wal::open_expecting(&older, "", &os(), expected).unwrap();
    goes_on(&older, log, &os(), expected);
}

#[test]
fn with_fsync_a_loss_is_refused_unless_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    write(&path, &fsync());
    lose(&path, 0.6, true);
    let open = |loss| Wal::open_expecting(&path, "", &fsync(), expected(8, 15, loss));
    let told = open(Loss::Judge).err().unwrap().to_string();
    assert!(told.contains("--accept-loss") && told.contains("acknowledged"), "{told}");
    let ended: u64 =
        told.split_once("ends with record ").unwrap().1.split_once(',').unwrap().0.parse().unwrap();
    let missing = RECORDS - ended - 1;
    assert!(told.contains(&format!("{missing} more were written")), "all that was written is known: {told}");
    assert!(open(Loss::Judge).is_err(), "being asked changes nothing");
    let log = open(Loss::Accept).unwrap();
    goes_on(&path, log, &fsync(), expected(8, 15, Loss::Judge));

    let whole = folder.path().join("whole");
    write(&whole, &fsync());
    let log = Wal::open_expecting(&whole, "", &fsync(), expected(8, RECORDS, Loss::Judge)).unwrap();
    assert_eq!(log.durable(), RECORDS, "nothing is missing");
}

#[test]
fn a_log_that_is_forgotten_leaves_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    write(&path, &fsync());
    let earlier = Wal::forget(&path).unwrap();
    assert_eq!(earlier.unwrap().next, RECORDS);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let forgotten = expected(8, 15, Loss::Forgotten(earlier));
    let log = Wal::open_expecting(&path, "", &fsync(), forgotten).unwrap();
    goes_on(&path, log, &fsync(), expected(8, 15, Loss::Judge));
}

#[test]
fn numbers_that_were_skipped_and_records_that_were_told_are_not_counted_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    write(&path, &fsync());
    // Each loss skips more numbers. Five records are written in between.
    for _ in 0..6 {
        let earlier = Wal::forget(&path).unwrap();
        let forgotten = expected(8, 15, Loss::Forgotten(earlier));
        let log = Wal::open_expecting(&path, "", &fsync(), forgotten).unwrap();
        (0..5).for_each(|_| _ = append(&log, 0, "x"));
        log.close();
        drop(log);
        let whole = folder.path().join("whole");
        copy(&path, &whole);
        lose_all(&path);
        let open = |path: &Path| Wal::open_expecting(path, "", &fsync(), expected(8, 15, Loss::Judge));
        let told = open(&path).err().unwrap().to_string();
        assert!(told.contains("0 of them are in the checkpoint, up to 5 records"), "{told}");
        std::fs::remove_file(path.join("written")).unwrap();
        let far = Expected { saved: Some(SavedEnds { needed: 8, end: 1 << 29 }), loss: Loss::Judge };
        let told = Wal::open_expecting(&path, "", &fsync(), far).err().unwrap().to_string();
        assert!(told.contains("an unknown number of records"), "{told}");
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::rename(&whole, &path).unwrap();
    }
}

#[test]
fn a_trimmed_log_needs_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let new = Expected::default();
    let refused = |path: &Path| {
        let told = Wal::open_expecting(path, "", &os(), new).err().unwrap().to_string();
        assert!(told.contains("the log begins with record") && told.contains("--fresh"), "{told}");
    };
    let log = Wal::open_expecting(&path, "", &os(), new).unwrap();
    (0..5).for_each(|number| assert_eq!(append(&log, 0, "x"), number));
    log.close();
    drop(log);
    let log = Wal::open_expecting(&path, "", &os(), new).unwrap();
    log.trim(5).unwrap();
    runtime().block_on(log.append_now(Vec::new()).unwrap().durable()).unwrap();
    log.close();
    drop(log);
    refused(&path);
    let log = Wal::open_expecting(&path, "", &os(), expected(5, 5, Loss::Judge)).unwrap();
    assert_eq!(append(&log, 0, "x"), 5);
    log.close();
    // The same where the log was lost, and then the checkpoints.
    let other = folder.path().join("other");
    Wal::open_expecting(&other, "", &os(), expected(5, 5, Loss::Judge)).unwrap().close();
    refused(&other);
}

/// The file that tells how far the log was written, as a process leaves it that the machine takes down with it.
fn interrupt(log: &Path) {
    let path = log.join("written");
    let mut content = std::fs::read(&path).unwrap()[4..].to_vec();
    let end = content.len();
    content[end - 1] ^= 1; // the last digit of the name of the machine's start
    content[72] = 0; // not closed: after a number and four gaps
    let sum = crc32fast::hash(&content).to_le_bytes();
    std::fs::write(path, [&sum[..], &content].concat()).unwrap();
}

#[test]
fn after_a_power_cut_numbers_that_may_be_lost_are_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let (lazy, safe) = (folder.path().join("os"), folder.path().join("fsync"));
    write(&lazy, &os());
    interrupt(&lazy);
    let log = Wal::open_expecting(&lazy, "", &os(), Expected::default()).unwrap();
    assert_eq!(rest(&log, 0, 0).len(), 14);
    goes_on(&lazy, log, &os(), expected(0, 0, Loss::Judge));
    write(&safe, &fsync());
    interrupt(&safe);
    let log = Wal::open_expecting(&safe, "", &fsync(), Expected::default()).unwrap();
    assert_eq!(log.durable(), RECORDS, "each record was on disk before it was acknowledged");
}

#[test]
fn marks_that_the_log_lost_come_back() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &os());
    let log = Wal::open(folder.path(), "", &os()).unwrap();
    assert_eq!(log.marks(5).unwrap(), [(b"mark".to_vec(), b"old 19".to_vec())]);
    log.restore_marks(vec![(b"mark".to_vec(), b"later".to_vec()), (b"other".to_vec(), b"x".to_vec())])
        .unwrap();
    assert_eq!((log.mark(b"mark").unwrap().unwrap(), log.marks(5).unwrap().len()), (b"later".to_vec(), 2));
    assert_eq!(log.marks(1).unwrap().len(), 1);
}
