//! Views that keep pixels within 0 to 1, and whether the job's sources bring them there.

use crate::job::learning::Views;
use crate::job::streams::Stream;
use sluicebox_core::config::registry::Spec;
use sluicebox_core::sample::{Dtype, Format, Shape};
use sluicebox_learn::augmentation::Policy;
use sluicebox_stream::decode::PixelRange;

/// Returns the first view of a job that keeps pixels within 0 to 1, as messages name it; those of `views.strong` and
/// `views.medium` count only where the method uses them.
pub fn bounded_view(views: &Views, strong: bool) -> Option<String> {
    let always: [(_, &[Spec]); 2] = [("weak", &views.weak), ("labelled", &views.labelled)];
    let wanted: [(_, &[Spec]); 2] = [("strong", &views.strong), ("medium", views.medium())];
    let mut used = always.into_iter().chain(wanted.into_iter().filter(|_| strong));
    used.find_map(|(name, specs)| {
        let place = specs.iter().position(bounds)?;
        Some(format!("views.{name}[{place}] ({})", specs[place].kind))
    })
}

fn bounds(spec: &Spec) -> bool {
    Policy::build(std::slice::from_ref(spec)).is_ok_and(|policy| policy.bounds_pixels())
}

/// Returns the place of a source whose scale does not suit the views of the job, as far as the job file tells, and why.
pub fn fault(views: &Views, sources: &[Stream]) -> Option<(usize, String)> {
    let view = bounded_view(views, false)?;
    sources.iter().enumerate().find_map(|(at, stream)| {
        let options = &stream.spec.options;
        if options.get("dtype")?.as_str()? != Dtype::U8.name() {
            return None;
        }
        let scale = options.get("scale")?;
        let scale = scale.as_float().or_else(|| scale.as_integer().map(|whole| whole as f64))? as f32;
        let shape = Shape::Vector { features: 1 }; // of any shape
        let format = Format { shape, dtype: Dtype::U8, scale, classes: Vec::new() };
        let reason = PixelRange::new(&view, &format).check_scale(Dtype::U8).err()?;
        Some((at, reason))
    })
}

#[cfg(test)]
mod tests {
    use crate::job::Job;

    fn job(scale: &str, views: &str) -> Result<Job, String> {
        let source =
            format!("kind = \"http\"\nshape = [1, 4, 4]\ndtype = \"u8\"\nclasses = [\"a\", \"b\"]\n{scale}");
        let text = format!("[source]\n{source}\n[views]\n{views}\n");
        Job::parse("job.toml", "job", text, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_scale_that_leaves_bytes_outside_is_a_fault_of_the_job() {
        let weak = "weak = [{ kind = \"flip-crop\" }, { kind = \"noise\" }]";
        let told = job("scale = 1.0", weak).unwrap_err();
        assert!(told.contains("job.toml:6: source.scale: a pixel is 255"), "{told}");
        assert!(told.contains("views.weak[1] (noise)") && told.contains("0.00392157 (1/255)"), "{told}");
        job("scale = 0.00392157", weak).unwrap();
        job("", weak).unwrap();
        job("scale = 1.0", "weak = [{ kind = \"flip-crop\" }]").unwrap();
    }
}
