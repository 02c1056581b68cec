//! What people type first: each is done, or refused with what to type instead.

use crate::support::output as told;

#[test]
fn an_address_of_http_is_no_place_for_feed() {
    let (code, _, error) = told(&["feed", "http://127.0.0.1:8804", "--retry-for", "0s"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("feed speaks to a source `tcp`, not http"), "{error}");
    assert!(error.contains("POST http://127.0.0.1:8804/samples"), "{error}");
}

#[test]
fn listen_takes_a_port_and_leaves_the_job_alone() {
    let (code, _, error) = told(&["run", "--listen", "pipelines/digits.toml"]);
    assert_eq!(code, 2);
    assert!(error.contains("a job stands before --listen"), "{error}");
    let short = ["--set", "stop.epochs=1", "--set", "epoch.steps=1", "--set", "threads=1"];
    let (code, _, error) = told(&[&["run", "pipelines/digits.toml", "--listen", "0"][..], &short].concat());
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("listening at http://127.0.0.1:"), "{error}");
}

#[test]
fn messages_need_no_knowledge_of_rust() {
    let (code, _, error) = told(&["check", "no-such-file.toml"]);
    assert_eq!(code, 2);
    assert!(error.contains("No such file or directory") && !error.contains("os error"), "{error}");
    let (_, _, error) = told(&["check", "pipelines/digits.toml", "--set", "batch.labelled=-1"]);
    assert!(error.contains("expected a whole number from 0") && !error.contains("usize"), "{error}");
    let (code, _, error) = told(&["watch", "127.0.0.1:1", "--once"]);
    assert_eq!(code, 1);
    assert!(error.contains("no job listens there") && !error.contains("os error"), "{error}");
}

#[test]
fn a_key_without_its_section_is_named_with_it() {
    let (_, _, error) = told(&["check", "pipelines/digits.toml", "--set", "learning_rate=0.1"]);
    assert!(error.contains("did you mean `optimiser.learning_rate`?"), "{error}");
}

#[test]
fn a_gpu_has_its_usual_names() {
    for device in ["cuda", "gpu", "cuda:1"] {
        let (code, _, error) =
            told(&["check", "pipelines/digits.toml", "--set", &format!("device={device}")]);
        assert_eq!(code, 0, "{device}: {error}");
    }
}

#[test]
fn each_sort_of_parts_is_listed_alone() {
    let (code, list, _) = told(&["list", "methods"]);
    assert!(
        code == 0
            && list.starts_with("methods\n")
            && list.contains("fixmatch")
            && !list.contains("sources\n")
    );
}
