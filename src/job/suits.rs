//! Whether a job's method suits its samples and its network, as far as the job file tells.

use crate::engine::drift::{Action, Drift, Kind};
use crate::job::streams::Stream;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::Shape;
use sluicebox_learn::method::METHODS;
use sluicebox_learn::model;
use sluicebox_learn::regularise;
use sluicebox_learn::regularise::anchor::At;
use sluicebox_stream::scenario::Scenario;

/// Returns the shape of a source's samples: of a table, a vector, whose number of features is not known.
pub fn shape_of(stream: &Stream) -> Option<Shape> {
    let Spec { kind, options } = &stream.spec;
    if kind == "csv" {
        return Some(Shape::Vector { features: 0 });
    }
    let sides = options.get("shape")?.as_array()?;
    let sides: Vec<usize> =
        sides.iter().filter_map(|side| usize::try_from(side.as_integer()?).ok()).collect();
    match sides[..] {
        [features] => Some(Shape::Vector { features }),
        [channels, height, width] => Some(Shape::Image { channels, height, width }),
        _ => None,
    }
}

/// Returns why the method suits the samples or the network not, if it does not.
pub fn fault(method: &Spec, network: &Spec, sources: &[Stream]) -> Option<String> {
    let wanted = (METHODS.find(&method.kind).ok()?.build)(method).ok()?.views();
    let of_samples = || {
        let shape = sources.iter().find_map(shape_of)?;
        match (shape, wanted.refuses(shape)?) {
            (Shape::Vector { features: 0 }, _) => Some("is for images, but a sample is a vector".to_string()),
            (_, reason) => Some(reason),
        }
    };
    let of_network = || model::refuses(&network.kind, wanted.heads).map(str::to_string);
    let reason = of_samples().or_else(of_network)?;
    Some(format!("`{}` {reason}: name another method", method.kind))
}

/// Returns a key of `regularise` that does not suit the method, and why, if there is one.
pub fn unfit_term(method: &Spec, terms: &regularise::Settings) -> Option<(&'static str, &'static str)> {
    let views = (METHODS.find(&method.kind).ok()?.build)(method).ok()?.views();
    terms.unfit(!views.student.is_empty(), views.mix.is_some())
}

/// Returns why an anchor is never set, if it is not.
pub fn without_anchor(at: At, drift: &Drift, scenario: &Scenario) -> Option<&'static str> {
    let alarms = drift.detector != Kind::None && drift.action == Action::Reweight;
    match at {
        At::Alarms if !alarms => Some(
            "at = \"alarms\", but no alarm takes effect in this job: set drift.action = \"reweight\" and a drift.detector",
        ),
        At::Phases if scenario.phases == 0 => {
            Some("at = \"phases\", but the job has none: set scenario.phases, or at = \"alarms\"")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::job::Job;

    fn told(text: &str) -> Option<String> {
        Job::parse("job.toml", "job", text.into(), &[]).err().map(|error| error.to_string())
    }

    #[test]
    fn methods_for_images_are_refused_where_samples_are_none() {
        let fed = |shape: &str, method: &str| {
            told(&format!(
                "[source]\nkind = \"http\"\nshape = {shape}\ndtype = \"f32\"\nclasses = [\"a\", \"b\"]\n[method]\n{method}\n"
            ))
        };
        let table =
            |method: &str| told(&format!("[source]\nkind = \"csv\"\npath = \"x.csv\"\n[method]\n{method}\n"));
        for kind in ["mic", "remixmatch", "bcp", "unmixmatch"] {
            let method = format!("kind = \"{kind}\"");
            for told in [fed("[5]", &method), table(&method)] {
                let told = told.unwrap();
                assert!(told.contains("job.toml:") && told.contains("method.kind"), "{told}");
                assert!(told.contains(&format!("`{kind}` ")) && told.contains("images"), "{told}");
            }
            assert_eq!(fed("[1, 8, 8]", &method), None);
        }
        assert!(fed("[1, 8, 6]", "kind = \"remixmatch\"").unwrap().contains("square"));
        assert_eq!(fed("[1, 8, 6]", "kind = \"mic\""), None);
        assert_eq!(fed("[5]", "kind = \"unmixmatch\"\nturn_weight = 0.0"), None, "without turns");
        assert_eq!(table("kind = \"vat\""), None);
    }

    #[test]
    fn terms_in_vain_are_refused() {
        let job = |method: &str, terms: &str| {
            let text =
                format!("source.kind = \"digits\"\nmethod.kind = \"{method}\"\n[regularise]\n{terms}\n");
            told(&text).unwrap_or_default()
        };
        for (key, terms) in
            [("entropy", "entropy = 0.1"), ("rarity", "rarity = true"), ("project", "project = true")]
        {
            assert!(
                job("supervised", terms).contains(&format!("regularise.{key}")),
                "{}",
                job("supervised", terms)
            );
            assert_eq!(job("fixmatch", terms), "");
        }
        assert!(job("mixmatch", "contrast = \"pair\"").contains("regularise.contrast"));
        assert!(job("fixmatch", "contrast = \"pair\"\nmixup = {}").contains("mixed samples"));
        assert_eq!(job("fixmatch", "contrast = \"pair\""), "");
    }

    #[test]
    fn prototypes_stand_in_for_the_network_alone() {
        let effective = |more: &str| {
            let text = format!("source.kind = \"digits\"\nanswer.prototypes = {{}}\n{more}\n");
            let job = Job::parse("job.toml", "job", text, &[]).unwrap();
            crate::job::effective::Effective::foreseen(&job)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        for refused in ["labels.rate = 0.1", "answer.prior = \"blank\"", "answer.blend = true"] {
            assert!(effective(refused).contains("answer.prototypes"), "{refused}");
        }
        for taken in [
            "",
            "answer.prior = \"uniform\"",
            "labels.rate = 0.1\nanswer.prior = \"none\"\nanswer.blend = false",
        ] {
            assert_eq!(effective(taken), "", "{taken}");
        }
    }

    #[test]
    fn an_anchor_that_is_never_set_is_refused() {
        let job = |more: &str| told(&format!("source.kind = \"digits\"\nregularise.anchor = {{ {more} }}\n"));
        let refused = job("kind = \"l2\"").unwrap();
        assert!(refused.contains("regularise.anchor") && refused.contains("drift.action"), "{refused}");
        assert!(job("at = \"phases\"").unwrap().contains("scenario.phases"));
        assert_eq!(job("} \ndrift = { action = \"reweight\""), None);
        assert_eq!(job("at = \"phases\" }\nscenario = { phases = 2"), None);
        assert!(job("weight = -1.0 } \ndrift = { action = \"reweight\"").unwrap().contains("weight = -1"));
    }

    #[test]
    fn a_network_from_a_file_has_no_twin() {
        let job = |method: &str| {
            let model = format!("{}/examples/torchscript/digits-cnn.pt", env!("CARGO_MANIFEST_DIR"));
            told(&format!(
                "[source]\nkind = \"digits\"\n[model]\nkind = \"torchscript\"\npath = {model:?}\n[method]\nkind = \"{method}\"\n"
            ))
        };
        let refused = job("cps").unwrap();
        assert!(refused.contains("method.kind") && refused.contains("two networks"), "{refused}");
        assert_eq!(job("fixmatch"), None);
    }
}
