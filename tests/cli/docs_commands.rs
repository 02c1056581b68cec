//! What the documentation tells to type and to write: commands and their options exist, settings and jobs pass `check`, and
//! the README's lines run as they stand.

use crate::docs::{Page, pages};
use crate::support::{Running, output, root};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Splits a line into words as a shell does, as far as the documentation needs it; a comment ends it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (c, quote) {
            ('#', None) if word.is_empty() => break,
            (c, None) if c.is_whitespace() => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)))
            }
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, _) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Returns the arguments of every call of the command on a page, in blocks and between backticks.
fn calls(page: &Page) -> Vec<Vec<String>> {
    let blocks = page.parts().1.into_iter().filter(|block| block.language == "sh");
    let text: String = blocks.map(|block| block.text.replace("\\\n", " ") + "\n").collect();
    let mut calls = Vec::new();
    for line in text.lines().map(String::from).chain(page.spans()) {
        let words = words(&line);
        let parts = words.split(|word| ["|", "&&", ";", ">", "&"].contains(&word.as_str()));
        for part in parts {
            let cargo = part.starts_with(&["cargo", "run", "--release", "--"].map(String::from));
            let part = if cargo { &part[3..] } else { part };
            let called = part.first().is_some_and(|word| cargo || word == "sluicebox");
            if called && part.len() > 1 {
                calls.push(part[1..].to_vec());
            }
        }
    }
    calls
}

#[test]
fn commands_options_and_settings_exist() {
    let (_, help, _) = output(&["--help"]);
    let list = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let named = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = named.filter_map(|line| line.split_whitespace().next());
    let helps: BTreeMap<String, String> =
        names.map(|name| (name.to_string(), output(&[name, "--help"]).1)).collect();
    assert!(helps.len() > 10, "{help}");
    let (mut faults, mut checked) = (Vec::new(), BTreeMap::new());
    // What the changes of the past were called is the past's.
    for page in pages().iter().filter(|page| !page.path.ends_with("CHANGELOG.md")) {
        let place = page.path.display();
        for call in calls(page) {
            let command = call[0].as_str();
            if command.starts_with('-') || command.contains(['…', 'N']) {
                continue;
            }
            let Some(help) = helps.get(command) else {
                faults.push(format!("{place}: there is no command {command}"));
                continue;
            };
            let known = |option: &str| {
                help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).any(|word| word == option)
            };
            let options = call[1..].iter().filter(|word| word.starts_with('-') && word.len() > 1);
            for option in options.map(|option| option.split('=').next().unwrap()) {
                if !known(option) {
                    faults.push(format!("{place}: {command} has no {option}"));
                }
            }
            let job = call.iter().find(|word| word.starts_with("pipelines/") && root().join(word).exists());
            let settings = call.windows(2).filter(|two| two[0] == "--set").map(|two| two[1].clone());
            if let (Some(job), true) = (job, ["run", "check", "compare"].contains(&command)) {
                let mut arguments = vec!["check".to_string(), job.clone()];
                settings.for_each(|setting| arguments.extend(["--set".into(), setting]));
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let text = arguments.join(" ");
                let fault = checked.entry(text.clone()).or_insert_with(|| {
                    let (code, _, stderr) = output(&arguments);
                    (code != 0).then_some(stderr)
                });
                faults.extend(fault.as_ref().map(|stderr| format!("{place}: {text}: {stderr}")));
            }
        }
    }
    assert!(checked.len() > 10, "{checked:?}");
    assert_eq!(faults, [""; 0]);
}

#[test]
fn jobs_and_parts_of_jobs_pass_check() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    let (mut faults, mut seen) = (Vec::new(), 0);
    for page in pages() {
        for block in page.parts().1.into_iter().filter(|block| block.language == "toml") {
            let table: toml::Table =
                block.text.parse().unwrap_or_else(|e| panic!("{}: {e}", page.path.display()));
            // A part of a job stands in one that has a source.
            let whole = table.contains_key("source");
            let job = if whole {
                block.text.clone()
            } else {
                format!("{}\n[source]\nkind = \"digits\"\n", block.text)
            };
            std::fs::write(&path, &job).unwrap();
            let (code, _, stderr) = output(&["check", path.to_str().unwrap()]);
            if code != 0 {
                faults.push(format!("{}:\n{}{stderr}", page.path.display(), block.text));
            }
            seen += 1;
        }
    }
    assert!(seen > 8, "{seen} blocks");
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// Runs a line in a folder, as in a terminal; returns whether it succeeded, and all that it said.
fn line(folder: &Path, text: &str) -> (bool, String) {
    let output = Command::new("bash").arg("-c").arg(text).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_lines_of_the_readme_feed_label_and_predict_as_written() {
    if !Command::new("curl")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("skipped: no curl");
        return;
    }
    let pages = pages();
    let readme = pages.iter().find(|page| page.path == Path::new("README.md")).unwrap();
    let blocks = readme.parts().1;
    let live = blocks.iter().find(|block| block.text.contains("pipelines/http.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("pipelines"), folder.path().join("pipelines")).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_sluicebox")).parent().unwrap();
    let path = format!("PATH={}:$PATH; ", binaries.display());
    let (mut job, mut address, mut said) = (None, "127.0.0.1:7878".to_string(), Vec::new());
    for text in live.text.lines() {
        let written = text.split(" #").next().unwrap().trim().replace("127.0.0.1:7878", &address);
        if written.starts_with("sluicebox run") {
            // The usual port may be taken on a machine that runs tests.
            let started = format!("{path}exec {written} --listen 127.0.0.1:0 --set threads=1");
            let mut command = Command::new("bash");
            command.arg("-c").arg(started).current_dir(folder.path()).stdin(Stdio::null());
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
            let listens = lines.find_map(|line| {
                line.split_once("http://")?.1.split(['/', ' ', ',']).next().map(String::from)
            });
            address = listens.expect("the job does not say where it listens");
            std::thread::spawn(move || lines.for_each(drop));
            job = Some(Running(child));
            continue;
        }
        let began = Instant::now();
        loop {
            let (done, told) = line(folder.path(), &format!("{path}{written}"));
            assert!(done, "{written}: {told}");
            // Until something was learned there is nothing to predict with.
            let answered = !written.contains("/predict") || told.contains("\"class\"");
            if answered {
                said.push(told);
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{written}: {told}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    drop(job);
    let [_, fed, labelled, predicted] = &said[..] else { panic!("{said:?}") };
    assert!(fed.contains("\"accepted\":2000"), "{fed}");
    assert!(labelled.contains("2 labels accepted"), "{labelled}");
    assert_eq!(predicted.matches("\"class\"").count(), 3, "{predicted}");
}
