//! `watch`, run as a command in a terminal of its own.

use crate::support;
use crate::support::output;
use crate::terminal::Terminal;
use sluicebox_client::watch;
use sluicebox_core::error::Result;
use sluicebox_core::observers::{Event, Observer};
use sluicebox_core::report::{About, ClassMeters, JobMeters, Line, Named, OperatorMeters, Report};
use sluicebox_observe::history::HistoryWriter;
use sluicebox_observe::history::settings::History as HistorySettings;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const OPERATORS: [&str; 4] = ["source", "teach", "learn", "commit"];

fn report(epoch: u64) -> Event {
    let job = JobMeters {
        samples_per_s: Some(1000.0 * epoch as f64),
        steps_per_s: Some(7.0),
        accuracy: Some(0.9),
        accepted_fraction: Some(0.5),
        ..JobMeters::default()
    };
    let operator = |name: &&str| Named {
        name: name.to_string(),
        meters: OperatorMeters { stage_fraction: Some(0.25), ..OperatorMeters::default() },
    };
    let class = ClassMeters { accepted_fraction: Some(0.5), threshold: Some(0.95), ..ClassMeters::default() };
    let classes = vec![Named { name: "ant".into(), meters: class }];
    let operators = OPERATORS.iter().map(operator).collect();
    Event::Epoch(Arc::new(Report { epoch, ended_ms: epoch, job, operators, classes, ..Report::default() }))
}

/// Creates a state folder of a job with `epochs` finished epochs.
fn history_writer(state: &Path, epochs: u64) -> HistoryWriter {
    let edge = |pair: &[&str]| (pair[0].to_string(), pair[1].to_string(), false);
    let about = About {
        job: "ants".into(),
        method: "fixmatch".into(),
        started_ms: 1,
        edges: OPERATORS.windows(2).map(edge).chain([("commit".into(), "source".into(), true)]).collect(),
        ..About::default()
    };
    let mut history_writer = HistoryWriter::open(Some(state), &HistorySettings::default(), &about).unwrap();
    let line =
        Line { at_ms: 1000, level: "warn".into(), module: "sluicebox::run".into(), text: "row 7".into() };
    let events: Vec<Event> = (1..=epochs).map(report).chain([Event::Line(Arc::new(line))]).collect();
    history_writer.notify(&events).unwrap();
    history_writer
}

fn watching(arguments: &[&str], environment: &[(&str, &str)]) -> Terminal {
    let arguments: Vec<&str> = ["watch"].iter().chain(arguments).copied().collect();
    Terminal::new(env!("CARGO_BIN_EXE_sluicebox"), &arguments, environment)
}

#[test]
fn a_state_folder_is_watched_scrolled_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut writing = history_writer(folder.path(), 12);
    let mut terminal = watching(&[folder.path().to_str().unwrap()], &[]);
    terminal.wait_for("12.0k/s");
    terminal.wait_for("source");
    writing.notify(&[report(13)]).unwrap();
    terminal.wait_for("13.0k/s");
    terminal.press("\x1b[D");
    terminal.wait_for("epoch 12 held (newest 13)");
    terminal.press("\x1b[H");
    terminal.wait_for("epoch 1 held");
    terminal.press("\x1b[F");
    terminal.wait_for("13.0k/s");
    terminal.press("u");
    terminal.wait_for("7/s");
    terminal.press("f");
    terminal.wait_for("0.900");
    terminal.press("4");
    terminal.wait_for("ant");
    terminal.press("l");
    terminal.wait_for("row 7");
    terminal.press("P");
    terminal.wait_for("takes no commands");
    terminal.press("1");
    terminal.resize(45, 160);
    terminal.wait_for("classes 1 in all");
    terminal.resize(5, 20);
    terminal.wait_for("too small");
    terminal.resize(24, 80);
    terminal.wait_for("accuracy");
    assert!(terminal.written().contains("\x1b[38;5;"), "there is no colour");
    terminal.press("q");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn signals_and_control_c_restore_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    drop(history_writer(folder.path(), 3));
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let terminal = watching(&[folder.path().to_str().unwrap()], &[]);
        terminal.wait_for("3.00k/s");
        terminal.signal(signal);
        assert_eq!(terminal.end().0, 0);
    }
    let mut terminal = watching(&[folder.path().to_str().unwrap()], &[("NO_COLOR", "1")]);
    terminal.wait_for("3.00k/s");
    assert!(!terminal.written().contains("\x1b[38;5;"), "there is colour");
    terminal.press("\x03");
    assert_eq!(terminal.end().0, 0);
}

/// Returns the name of a running process, from `/proc`; none where it has ended.
fn process(id: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    (!rest.starts_with('Z')).then(|| name.to_string())
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(history_writer(folder.path(), 3));
    let command = format!("exec {} watch {}", env!("CARGO_BIN_EXE_sluicebox"), folder.path().display());
    let mut script = Command::new("script");
    script.args(["-qfc", &command, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut script) = script.spawn() else {
        eprintln!("skipped: there is no `script` here");
        return;
    };
    let mut shown = script.stdout.take().unwrap();
    let mut bytes = [0; 4096];
    let mut text = String::new();
    while !text.contains("\x1b[?1049h") {
        let read = shown.read(&mut bytes).unwrap();
        assert!(read > 0, "{text}");
        text += &String::from_utf8_lossy(&bytes[..read]);
    }
    let children = format!("/proc/{0}/task/{0}/children", script.id());
    let watch: u32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    assert_eq!(process(watch).as_deref(), Some("sluicebox"));
    script.kill().unwrap();
    script.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while process(watch).is_some() {
        assert!(Instant::now() < deadline, "it goes on without a terminal");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A job that is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a job that runs for ever and listens at `port`.
fn running(state: &Path, port: u16) -> Running {
    let address = format!("127.0.0.1:{port}");
    let mut command = support::sluicebox();
    command.args(["run", "pipelines/digits.toml", "--listen", &address, "--state"]).arg(state);
    for set in ["stop.epochs=0", "epoch.steps=4", "device=cpu", "precision=f32", "threads=1"] {
        command.args(["--set", set]);
    }
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

#[test]
fn a_running_job_is_watched_asked_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let job = running(folder.path(), port);
    let deadline = Instant::now() + Duration::from_secs(120);
    while output(&["watch", &address, "--once"]).0 != 0 {
        assert!(Instant::now() < deadline, "the job never listened");
    }
    let mut terminal = watching(&[&address], &[]);
    terminal.wait_for("running");
    terminal.wait_for("Where the time goes");
    terminal.press("P");
    terminal.wait_for("Pause the job digits?");
    terminal.press("n");
    terminal.wait_for("? help");
    terminal.press("Py");
    terminal.wait_for("job paused");
    terminal.press("Py");
    terminal.wait_for("running");
    terminal.press("Cy");
    terminal.wait_for("checkpoint: sent to the job");
    terminal.press(" ");
    terminal.wait_for("held (newest");
    terminal.press(" ");
    drop(job);
    terminal.wait_for("connection lost, retrying");
    let _again = running(folder.path(), port);
    terminal.wait_for("restarted");
    terminal.wait_for("running");
    terminal.press("q");
    assert_eq!(terminal.end().0, 0);
}

/// Started by the test below, in a terminal.
#[test]
#[ignore = "it is to panic"]
fn panics_on_the_screen() {
    let show = |terminal: &mut ratatui::DefaultTerminal| -> Result<()> {
        terminal.draw(|frame| frame.render_widget("on the screen", frame.area())).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        panic!("a picture fell off the wall");
    };
    watch::terminal::within(show).unwrap();
}

#[test]
fn a_panic_restores_the_terminal_and_is_told() {
    let this = std::env::current_exe().unwrap();
    let arguments =
        ["--ignored", "--exact", "watch::panics_on_the_screen", "--nocapture", "--test-threads=1"];
    let terminal = Terminal::new(this.to_str().unwrap(), &arguments, &[("RUST_BACKTRACE", "0")]);
    terminal.wait_for("on the screen");
    let (code, text) = terminal.end();
    assert_ne!(code, 0);
    assert!(text.contains("a picture fell off the wall") && !text.contains("on the screen\n"), "{text}");
}

#[test]
fn without_a_terminal_there_is_a_page_of_text() {
    let folder = tempfile::tempdir().unwrap();
    drop(history_writer(folder.path(), 3));
    let state = folder.path().to_str().unwrap();
    let (code, text, error) = output(&["watch", state, "--once"]);
    assert_eq!((code, error.as_str()), (0, ""));
    for wanted in
        ["ants", "3.00k/s", "90.0 %", "teach", "credit", "class", "row 7", "Samples per second that went"]
    {
        assert!(text.contains(wanted), "no {wanted} in\n{text}");
    }
    assert!(!text.contains('\x1b'));
    let (code, _, error) = output(&["watch", state]);
    assert!(code == 2 && error.contains("not a terminal") && error.contains("--once"), "{error}");
}

/// Starts a server that answers every request with this status and body.
fn server(status: &'static str, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn what_cannot_be_watched_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let refused = |place: &str| {
        let (code, text, error) = output(&["watch", place, "--once"]);
        assert!(code != 0 && text.is_empty() && error.starts_with("error: "), "{place}: {code}: {error}");
        error
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert!(refused(&free).contains("run --listen"));
    let foreign = refused(&server("200 OK", "<html>hello</html>").to_string());
    assert!(foreign.contains("is not a Sluicebox job"), "{foreign}");
    let foreign = refused(&server("404 Not Found", "no").to_string());
    assert!(foreign.contains("is not a Sluicebox job"), "{foreign}");
    let closed = server("401 Unauthorized", "{\"error\": \"the token is wrong\"}");
    let closed = refused(&closed.to_string());
    assert!(closed.contains("the token is wrong") && closed.contains("SLUICEBOX_TOKEN"), "{closed}");
    let neither = refused("no/such/folder");
    assert!(neither.contains("state folder") && neither.contains("127.0.0.1:7878"), "{neither}");
    assert!(refused(state).contains("there is no history"));
    drop(history_writer(folder.path(), 200));
    let file = folder.path().join("history.db");
    let version = |version: u32| {
        let history = rusqlite::Connection::open(&file).unwrap();
        let before: u32 = history.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        history.execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
        before
    };
    let ours = version(999);
    assert!(refused(state).contains("newer Sluicebox"));
    version(ours);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2 + 100]).unwrap();
    let (code, text, error) = output(&["watch", state, "--once"]);
    assert!(code == 2 && error.contains("damaged") || code == 0 && text.contains("ants"), "{code}: {error}");
    std::fs::write(&file, "no history at all, and long enough to be one").unwrap();
    assert!(refused(state).contains("damaged"));
}
