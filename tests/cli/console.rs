//! What `run` writes on a terminal and in a pipe.

use crate::support::output;
use crate::terminal::Terminal;

const SHORT: [&str; 8] = [
    "run",
    "pipelines/digits.toml",
    "--set",
    "threads=1",
    "--set",
    "epoch.steps=5",
    "--set",
    "stop.epochs=2",
];

#[test]
fn a_person_gets_rows_that_fit_and_six_lines() {
    let terminal = Terminal::new(env!("CARGO_BIN_EXE_sluicebox"), &SHORT, &[]);
    terminal.wait_for("Ended after 2 epochs, 10 steps");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
    let head = lines.iter().position(|line| line.starts_with("epoch ")).unwrap();
    assert!(
        lines[head + 1].trim_start().starts_with("1 ") && lines[head + 2].trim_start().starts_with("2 "),
        "{screen}"
    );
    let ends = lines.iter().position(|line| line.starts_with("Ended after")).unwrap();
    let titles = ["Speed", "Where the time goes", "Learning", "Pseudo-labels", "Drift"];
    for (line, title) in lines[ends - 5..ends].iter().zip(titles) {
        assert!(line.starts_with(title), "{screen}");
    }
    assert!(!screen.contains("weights_sha256"), "{screen}");
}

#[test]
fn a_pipe_gets_the_summary_as_json() {
    let (code, rows, _) = output(&SHORT);
    assert_eq!(code, 0);
    let summary: serde_json::Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
    assert_eq!(summary["steps"], 10);
    assert!(rows.starts_with("epoch ") && rows.contains("seconds: source"), "{rows}");
}
