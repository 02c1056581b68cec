//! A source and a method of your own, handed to the engine: two rings of points, one in ten labelled late.

use sluicebox::run::{Options, Parts, run_with};
use sluicebox::{Job, Result};
use sluicebox_core::sample::{Dtype, Format, Samples, Shape, Values};
use sluicebox_core::state::{Stateful, decode, encode};
use sluicebox_learn::method::api::{Forward, Loss, Method, PseudoLabeller, stateless};
use sluicebox_learn::pseudo_labels::PseudoLabels;
use sluicebox_stream::source::api::{ReadProgress, Source};

const JOB: &str = "source.kind = 'digits' # replaced by `Rings`\nlabels = { rate = 0.1, delay = 100 }\n\
    model.kind = 'mlp'\nstop.epochs = 3\nteacher.ema = 0.9\noptimiser.kind = 'adamw'";

struct Rings(Format, u64);
impl Stateful for Rings {
    fn save(&self) -> Result<Vec<u8>> {
        encode("the rings", &self.1)
    }
    fn load(&mut self, state: &[u8]) -> Result<()> {
        decode("the rings", state).map(|next| self.1 = next)
    }
}
impl Source for Rings {
    fn format(&self) -> &Format {
        &self.0
    }
    fn read(&mut self, count: usize, samples: &mut Samples) -> Result<ReadProgress> {
        for id in self.1..self.1 + count as u64 {
            let (class, angle) = ((id % 2) as usize, id as f32 * 2.4);
            let point = [angle.cos(), angle.sin()].map(|value| value * (1 + class) as f32);
            samples.push(id, &Values::F32(point.to_vec()), Some(class));
        }
        self.1 += count as u64;
        Ok(ReadProgress::Full)
    }
}

struct Margin;
impl Method for Margin {
    fn pseudo_labeller(&self) -> Box<dyn PseudoLabeller> {
        stateless(|scores| {
            let (top, classes) = scores.unlabelled[0].topk(2, 1, true, true); // [B, 2] each
            let accepted = (top.select(1, 0) - top.select(1, 1)).ge(0.8).to_kind(tch::Kind::Float);
            PseudoLabels::hard(classes.select(1, 0), top.select(1, 0), accepted)
        })
    }
    fn loss(&self, forward: Forward<'_>) -> Option<Loss> {
        Loss::sum(forward.labelled_loss(), forward.unlabelled_loss(), 1.0)
    }
}

fn main() -> Result<()> {
    let (shape, classes) = (Shape::Vector { features: 2 }, vec!["inner".into(), "outer".into()]);
    let rings = Rings(Format { shape, dtype: Dtype::F32, scale: 1.0, classes }, 0);
    let parts = Parts { source: Some(Box::new(rings)), method: Some(std::rc::Rc::new(Margin)) };
    let job = Job::parse("embed", "rings", JOB.into(), &[])?;
    let summary = run_with(parts, &job, &Options::default(), Default::default())?;
    println!("right before the label came: {:.3}", summary.prequential_accuracy.unwrap_or_default());
    Ok(())
}
