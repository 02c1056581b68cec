//! What the first rows of a file say of its samples.

use crate::decode::axes::{self, Axes};
use crate::decode::columns::batches::Batches;
use crate::decode::columns::layout::{Content, Layout, Wanted};
use crate::decode::columns::lists::Lists;
use crate::decode::columns::rows::encoded;
use crate::decode::image;
use crate::decode::look::Look;
use crate::decode::options::Options;
use arrow_array::RecordBatch;
use sluicebox_core::sample::{Dtype, Shape};

/// First rows of which one must hold a sample.
const FIRST: usize = 100;

/// Looks at the columns and the first rows of a file.
pub fn look(mut batches: impl Batches, options: &Options) -> Result<Look, String> {
    let layout = Layout::of(&batches.schema(), options, Wanted::Any)?;
    let told = layout.told();
    batches.project(&layout.read())?;
    let layout = layout.projected();
    let sample = match &layout.content {
        Content::Numbers(_) => Ok((Shape::Vector { features: layout.values() }, Dtype::F32)),
        Content::Nothing => Err("no column is read".to_string()),
        _ => loop {
            match batches.next()? {
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => break first(&layout, &batch),
                None => break Err("there is no row in it".into()),
            }
        },
    };
    Ok(Look { sample, classes: layout.classes, told })
}

/// Returns the shape and type of the first sample that can be read, or why the first cannot.
fn first(layout: &Layout, batch: &RecordBatch) -> Result<(Shape, Dtype), String> {
    let sample = |row: usize| match &layout.content {
        Content::Images(at) => Ok((image::shape(encoded(batch.column(*at), row)?)?, Dtype::U8)),
        Content::Lists(at) => {
            let lists = Lists::of(batch.column(*at), layout.sizes.as_deref());
            let lists = lists.ok_or("its lists hold no numbers")?;
            let (dims, _) = lists.sample(row)?;
            let axes = Axes::of(&dims, axes::Layout::Auto, false);
            let either = |_| format!("samples are of {dims:?}: set source.shape = [channels, height, width]");
            Ok((axes.map_err(either)?.shape, if lists.are_bytes { Dtype::U8 } else { Dtype::F32 }))
        }
        _ => Err("no column is read".to_string()),
    };
    let first = sample(0);
    match first {
        Ok(found) => Ok(found),
        Err(_) => (1..batch.num_rows().min(FIRST)).map(sample).find(Result::is_ok).unwrap_or(first),
    }
}
