//! `init` on every kind of data: the job that it writes passes `check`, and learns.

use crate::support::{root, write_csv, write_idx};
use crate::terminal::Terminal;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the command in a folder: returns exit code, stdout and stderr.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicebox"));
    let output = command.current_dir(folder).stdin(Stdio::null()).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Runs `init`, checks the job, and returns its text and what `init` said.
fn written(folder: &Path, arguments: &[&str]) -> (String, String) {
    let (code, stdout, stderr) = run(folder, &[&["init"], arguments].concat());
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    let text = std::fs::read_to_string(folder.join("job.toml")).unwrap();
    let (code, _, stderr) = run(folder, &["check", "job.toml"]);
    assert_eq!(code, 0, "{stderr}\n{text}");
    (text, stdout)
}

/// Does so, and lets the job learn for two short epochs.
fn learns(folder: &Path, arguments: &[&str], described: &str) {
    let (text, said) = written(folder, arguments);
    assert!(said.contains(described), "{said}\n{text}");
    let small = ["epoch.steps=2", "stop.epochs=2", "batch.labelled=4", "batch.unlabelled=8", "threads=1"];
    let sets: Vec<&str> = small.iter().flat_map(|set| ["--set", *set]).collect();
    let (code, stdout, stderr) =
        run(folder, &[&["run", "job.toml", "--set", "precision=f32"], &sets[..]].concat());
    assert_eq!(code, 0, "{arguments:?}: {stderr}\n{text}");
    let summary: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert!(summary["label_count"].as_u64() > Some(0), "{summary}\n{text}");
}

/// Writes an array of NumPy.
fn npy(path: &Path, kind: &str, dims: &str, bytes: &[u8]) {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({dims}), }}");
    header += &" ".repeat(63 - (header.len() + 10) % 64);
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(bytes);
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_table_becomes_a_job() {
    let folder = tempfile::tempdir().unwrap();
    write_csv(&folder.path().join("rows.csv"), 600, &[]);
    learns(folder.path(), &["rows.csv"], "5 features, f32, 3 classes (ant, bee, fly)");
}

#[test]
fn arrays_of_numpy_become_a_job() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let values: Vec<u8> = (0..400 * 3).flat_map(|at| ((at % 7) as f32).to_le_bytes()).collect();
    let classes: Vec<u8> = (0..400i64).flat_map(|at| (at % 4).to_le_bytes()).collect();
    npy(&path("x_train.npy"), "<f4", "400, 3", &values);
    npy(&path("y_train.npy"), "<i8", "400,", &classes);
    learns(folder.path(), &["x_train.npy"], "3 features, f32, 4 classes (0, 1, 2, 3)");
    std::fs::remove_file(path("job.toml")).unwrap();
    learns(folder.path(), &["."], "3 features, f32, 4 classes");
}

#[test]
fn idx_files_become_a_job() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let pixels: Vec<u8> = (0..200 * 64).map(|at| (at % 251) as u8).collect();
    let classes: Vec<u8> = (0..200).map(|at| at % 3).collect();
    write_idx(&path("train-images-idx3-ubyte"), &[200, 8, 8], &pixels);
    write_idx(&path("train-labels-idx1-ubyte"), &[200], &classes);
    learns(folder.path(), &[".", "--labelled", "30"], "images of 1×8×8, u8, 3 classes");
}

#[test]
fn lines_of_json_become_a_job_and_tell_what_live_ones_are() {
    let folder = tempfile::tempdir().unwrap();
    let line = |at: usize| {
        let label =
            if at < 100 { format!(", \"kind\": \"{}\"", ["ant", "bee"][at % 2]) } else { String::new() };
        format!("{{\"id\": {at}, \"wind\": {{\"speed\": {}}}, \"heat\": {}.5{label}}}\n", at % 5, at % 9)
    };
    std::fs::write(folder.path().join("rows.ndjson"), (0..300).map(line).collect::<String>()).unwrap();
    let class = ["--class-column", "kind"];
    learns(folder.path(), &[&["rows.ndjson"], &class[..]].concat(), "2 features, f32, 2 classes (ant, bee)");
    for kind in ["http", "lines", "kafka"] {
        std::fs::remove_file(folder.path().join("job.toml")).unwrap();
        let (text, said) = written(folder.path(), &[&[kind, "--like", "rows.ndjson"], &class[..]].concat());
        assert!(said.contains("2 features, f32, 2 classes (ant, bee)"), "{said}");
        for part in [&format!("kind = \"{kind}\""), "\"wind.speed\"", "class_column = \"kind\""] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
    let (code, digits, _) = run(folder.path(), &["sample", "digits", "-n", "100"]);
    assert_eq!(code, 0);
    std::fs::write(folder.path().join("digits.ndjson"), digits).unwrap();
    std::fs::remove_file(folder.path().join("job.toml")).unwrap();
    learns(folder.path(), &["digits.ndjson", "--shape", "1,8,8"], "images of 1×8×8, u8, 10 classes");
    assert!(std::fs::read_to_string(folder.path().join("job.toml")).unwrap().contains("scale = 0.0625"));
}

#[test]
fn parquet_arrow_and_archives_become_jobs() {
    for (file, described) in [
        ("columns/hf-images.parquet", "images of"),
        ("columns/hf-images.arrow", "images of"),
        ("columns/pandas.feather", "features"),
        ("tars/shard-*.tar", "images of"),
        ("tars/arrays.tar.gz", "features"),
    ] {
        let data = root().join("tests/data").join(file);
        let folder = tempfile::tempdir().unwrap();
        let (text, said) = written(folder.path(), &[data.to_str().unwrap()]);
        assert!(text.contains("kind = \"files\"") && said.contains(described), "{file}: {said}\n{text}");
    }
}

#[test]
fn images_in_folders_become_a_job() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["cat", "dog"] {
        let of_class = folder.path().join("pets").join(class);
        std::fs::create_dir_all(&of_class).unwrap();
        for at in 0..30u8 {
            let shade = if class == "cat" { at } else { 255 - at };
            let image = image::RgbImage::from_pixel(12, 10, image::Rgb([shade, shade / 2, 9]));
            image.save(of_class.join(format!("{at}.png"))).unwrap();
        }
    }
    learns(folder.path(), &["pets", "--labelled", "10"], "images of 3×10×12, u8, 2 classes (cat, dog)");
}

#[test]
fn live_data_of_every_kind_becomes_a_job() {
    for kind in ["http", "tcp", "lines", "kafka"] {
        for shape in ["7", "1,28,28", "3,32,32", "2,16,16"] {
            let folder = tempfile::tempdir().unwrap();
            let (text, _) = written(folder.path(), &[kind, "--shape", shape, "--classes", "a,b \"c\""]);
            assert!(text.contains(&format!("kind = \"{kind}\"")), "{text}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for (arguments, says) in [
        (&["init", "http"][..], "--shape 1,28,28"),
        (&["init", "http", "--shape", "5"], "--classes cat,dog"),
        (&["init"], "name the data"),
        (&["init", "nowhere.csv"], "there is no such file or folder"),
        (
            &["init", "http", "--shape", "5", "--classes", "a,b", "--method", "fixmtach"],
            "did you mean `fixmatch`?",
        ),
        (&["init", "."], "no file of data is in it"),
    ] {
        let (code, _, stderr) = run(folder.path(), arguments);
        assert!(code == 2 && stderr.contains(says), "{arguments:?}: {stderr}");
        assert!(!folder.path().join("job.toml").exists(), "{arguments:?}");
    }
}

#[test]
fn who_sits_at_a_terminal_is_asked_for_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    let program = env!("CARGO_BIN_EXE_sluicebox");
    let mut terminal = Terminal::new(program, &["init", "-o", path.to_str().unwrap()], &[]);
    for (question, answer) in [
        ("Which data?", "http\r"),
        ("Shape of a sample?", "1, 8,8\r"),
        ("Names of the classes", "cat, dog\r"),
    ] {
        terminal.wait_for(question);
        terminal.press(answer);
    }
    terminal.wait_for("next:");
    assert_eq!(terminal.end().0, 0);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("shape = [1, 8, 8]") && text.contains("classes = [\"cat\", \"dog\"]"), "{text}");
}

#[test]
fn a_file_that_is_there_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, other) = (folder.path().join("job.toml"), folder.path().join("other.toml"));
    std::fs::write(&mine, "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", &other).unwrap();
    for name in ["job.toml", "other.toml"] {
        let live = ["init", "http", "--shape", "5", "--classes", "a,b", "-o", name];
        let (code, _, stderr) = run(folder.path(), &live);
        assert!(code == 2 && stderr.contains("is left as it is"), "{stderr}");
    }
    assert_eq!(std::fs::read_to_string(&mine).unwrap(), "mine");
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn shells_complete_the_command_and_man_has_a_page_for_each_part() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, stdout, stderr) = run(folder.path(), &["completions", shell]);
        assert!(code == 0 && stdout.contains("demo") && stdout.contains("listen"), "{shell}: {stderr}");
    }
    let bash = run(folder.path(), &["completions", "bash"]).1;
    std::fs::write(folder.path().join("completions.bash"), bash).unwrap();
    let complete = "source completions.bash; COMP_WORDS=(sluicebox de); COMP_CWORD=1; _sluicebox sluicebox de sluicebox; echo ${COMPREPLY[@]}";
    let found = Command::new("bash").current_dir(folder.path()).args(["-c", complete]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), "demo");
    let (code, _, stderr) = run(folder.path(), &["man", "man1"]);
    assert_eq!(code, 0, "{stderr}");
    for page in ["sluicebox.1", "sluicebox-run.1", "sluicebox-demo.1"] {
        let text = std::fs::read_to_string(folder.path().join("man1").join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{page}");
    }
}
