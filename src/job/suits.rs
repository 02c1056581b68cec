//! Whether a job's method suits its samples and its network, as far as the job file tells.

use crate::job::streams::Stream;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::Shape;
use sluicebox_learn::method::METHODS;
use sluicebox_learn::model;

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
