//! The schema of a job file and the reference of its keys are those of the tables that read a job.

use crate::support::{output, root};
use jsonschema::Validator;
use serde_json::Value;
use sluicebox::job::reference::reference;
use sluicebox::job::schema::schema;

fn validator() -> Validator {
    let (code, stdout, stderr) = output(&["schema"]);
    assert_eq!(code, 0, "{stderr}");
    let printed: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(printed, schema());
    jsonschema::draft202012::new(&printed).unwrap()
}

fn job(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

fn faults(validator: &Validator, job: &Value) -> Vec<String> {
    validator.iter_errors(job).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn every_pipeline_is_valid_by_the_schema_as_it_is_and_written_out() {
    let validator = validator();
    let mut files = 0;
    for entry in std::fs::read_dir(root().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(faults(&validator, &job(&text)), [""; 0], "{}", path.display());
        let (_, whole, _) = output(&["check", path.to_str().unwrap()]);
        assert_eq!(faults(&validator, &job(&whole)), [""; 0], "check of {}", path.display());
        files += 1;
    }
    assert!(files > 15);
}

#[test]
fn what_check_refuses_by_type_key_kind_or_range_the_schema_refuses() {
    let validator = validator();
    let digits = "[source]\nkind = \"digits\"\n";
    assert_eq!(faults(&validator, &job(digits)), [""; 0]);
    for wrong in [
        "sed = 1\n[source]\nkind = \"digits\"",
        "[source]\nkind = \"digit\"",
        "[source]\nlabelled_per_class = 3",
        "[source]\nkind = \"digits\"\npath = \"x\"",
        "[source]\nkind = \"digits\"\nlabelled_per_class = 0",
        "[source]\nkind = \"csv\"",
        "[source]\nkind = \"digits\"\nweight = -1.0",
        "[source]\nkind = \"digits\"\n[batch]\nunlabelled = 0",
        "[source]\nkind = \"digits\"\n[batch]\nlabeld = 3",
        "[source]\nkind = \"digits\"\n[batch]\nmax_wait = 3",
        "[source]\nkind = \"digits\"\n[teacher]\nema = 1.0",
        "[source]\nkind = \"digits\"\n[epoch]\nsteps = \"many\"",
        "[source]\nkind = \"digits\"\n[method]\nkind = \"fixmatch\"\nthreshold = 1.5",
        "[source]\nkind = \"digits\"\n[method]\nkind = \"supervised\"\nthreshold = 0.5",
        "[source]\nkind = \"digits\"\n[views]\nweak = [{ kind = \"afine\" }]",
        "[source]\nkind = \"digits\"\n[views]\nweek = []",
        "[source]\nkind = \"digits\"\n[model]\nkind = \"mlp\"\nlayers = [3]",
        "[source]\nkind = \"digits\"\n[answer]\nexperts = [\"oracle\"]",
        "[source]\nkind = \"digits\"\n[[sink]]\npath = \"x\"",
    ] {
        assert!(!faults(&validator, &job(wrong)).is_empty(), "the schema takes\n{wrong}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.toml");
        std::fs::write(&path, wrong).unwrap();
        let (code, ..) = output(&["check", path.to_str().unwrap()]);
        assert_eq!(code, 2, "check takes\n{wrong}");
    }
}

#[test]
fn every_key_says_what_it_means_and_every_option_of_every_kind_is_there() {
    fn look(schema: &Value, path: &str, found: &mut usize) {
        for word in ["anyOf", "oneOf"] {
            schema[word].as_array().into_iter().flatten().for_each(|choice| look(choice, path, found));
        }
        if schema["items"].is_object() {
            look(&schema["items"], path, found);
        }
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            *found += 1;
            let says = inner["description"].as_str().is_some_and(|text| text.len() > 3);
            assert!(says || key == "kind", "{path} does not say what it means");
            assert!(!inner["description"].to_string().contains("[`"), "{path} links to code: {inner}");
            look(inner, &path, found);
        }
    }
    let (schema, mut found) = (schema(), 0);
    look(&schema, "", &mut found);
    assert!(found > 300, "{found} keys");
    // The ranges are those of the checks.
    let batch = &schema["properties"]["batch"]["properties"];
    assert_eq!((&batch["unlabelled"]["minimum"], &batch["updates"]["maximum"]), (&1.into(), &64.into()));
    assert_eq!(batch["max_wait"]["default"], "200ms");
}

#[test]
fn the_reference_is_that_of_this_version() {
    let written = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    assert!(
        written.trim_end() == reference().trim_end(),
        "run `sluicebox schema --reference > docs/configuration.md`"
    );
    let (code, stdout, _) = output(&["schema", "--reference"]);
    assert_eq!((code, stdout.trim_end()), (0, written.trim_end()));
}
