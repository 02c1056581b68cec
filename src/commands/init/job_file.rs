//! The text of the job file: the source that was found, and beside it what suits samples of that shape.

use super::arguments::Init;
use super::source_text::{SourceText, text as quoted};
use sluicebox_core::sample::{Dtype, Format, Shape};

/// Images of up to this side are turned and moved; larger ones are also flipped.
const SMALL: usize = 16;
/// Classes that a description lists.
const LISTED: usize = 12;

/// Returns what the samples are, in words.
pub fn described(format: &Format) -> String {
    let what = match format.shape {
        Shape::Vector { features } => format!("{features} features"),
        Shape::Image { channels, height, width } => format!("images of {channels}×{height}×{width}"),
    };
    let count = format.classes.len();
    let more = if count > LISTED { ", …" } else { "" };
    let classes: Vec<&str> = format.classes.iter().take(LISTED).map(String::as_str).collect();
    format!("{what}, {}, {count} classes ({}{more})", format.dtype.name(), classes.join(", "))
}

/// Returns the job file.
pub fn text(data: &str, source: &SourceText, format: &Format, arguments: &Init) -> String {
    let shown = arguments.output.display();
    let described = described(format).replace(char::is_control, " ");
    let data = data.replace(char::is_control, " ");
    let state = "checkpoints, and what comes in from outside, are in the folder of --state";
    let method = quoted(&arguments.method);
    let threshold = match arguments.method.as_str() {
        "fixmatch" => "threshold = 0.95 # a pseudo-label counts from this confidence on\n",
        _ => "",
    };
    [
        format!("# Written by `sluicebox init {data}`: {described}."),
        format!("#   sluicebox check {shown}                             # the whole job, with every default"),
        format!("#   sluicebox run {shown} --state state --listen        # {state}"),
        "# All keys with their meaning and range: `sluicebox schema --reference`.\n".into(),
        source.section(),
        "[batch] # samples of one step\nlabelled = 32\nunlabelled = 128\n".into(),
        learner(format, format.dtype == Dtype::U8 && !source.has("scale")),
        format!("[method]\nkind = {method} # `sluicebox list` has them all; supervised is the baseline\n{threshold}"),
        "[teacher]\nema = 0.99 # the moving average of the student that judges the samples\n".into(),
        "[schedule] # of the learning rate: falls for ever, and knows no end\nkind = \"inverse-sqrt\"\nwarmup_steps = 400\n"
            .into(),
        "[epoch]\nsteps = 100 # steps between reports and evaluations\n".into(),
        "[stop]\nepochs = 0 # 0: until Ctrl-C, or the end of data that is not repeated\n".into(),
        "# [labels] # what if labels came late? Simulates it where the data has classes.\n# rate = 0.05\n# delay = 500\n"
            .into(),
    ]
    .join("\n")
}

/// Returns the views, the network and the optimiser. `whole_bytes`: the values are bytes, of which 255 becomes 1.
fn learner(format: &Format, whole_bytes: bool) -> String {
    let (channels, side) = match format.shape {
        Shape::Vector { .. } => (0, 0),
        Shape::Image { channels, height, width } => (channels, height.max(width)),
    };
    let views = match (side, whole_bytes) {
        (0, _) => {
            "[views] # noise for features of deviation 1: the job standardises them\nweak = [] # what the teacher \
             sees\nlabelled = [{ kind = \"jitter\", deviation = 0.25 }]\nstrong = [{ kind = \"jitter\", deviation = 0.5 }, \
             { kind = \"mask\", chance = 0.2 }] # what the student learns\n"
        }
        (1..=SMALL, true) => {
            "[views]\nweak = [{ kind = \"affine\", rotate_degrees = 5, scale = 0.05, translate = 0.05 }] # what the \
             teacher sees\nstrong = [ # what the student learns\n    { kind = \"affine\", rotate_degrees = 20, scale = 0.2, \
             shear = 0.2, translate = 0.1 },\n    { kind = \"noise\", deviation = 0.15 },\n    { kind = \"cutout\", size = \
             0.3, fill = 0.0 },\n]\n"
        }
        (_, true) => {
            "[views] # flip-crop flips left and right: leave it out where that matters, as for digits\nweak = [{ kind = \
             \"flip-crop\" }] # what the teacher sees\nstrong = [{ kind = \"flip-crop\" }, { kind = \"randaugment\" }] # what \
             the student learns\n"
        }
        _ => {
            "[views] # geometry only: what else there is needs pixels from 0 to 1\nweak = [{ kind = \"affine\", rotate_degrees = 5 \
             }] # what the teacher sees\nstrong = [{ kind = \"affine\", rotate_degrees = 30, scale = 0.2, shear = 0.3, \
             translate = 0.1 }]\n"
        }
    };
    let views = if ![0, 1, 3].contains(&channels) {
        "[views] # geometry only: colours are for images of 1 or 3 channels\nweak = []\nstrong = [{ kind = \"affine\", \
         rotate_degrees = 20, scale = 0.1, translate = 0.1 }]\n"
    } else {
        views
    };
    let network = match side {
        0 => {
            "[model]\nkind = \"mlp\"\nhidden = [128, 128]\n\n[optimiser]\nkind = \"adamw\"\nlearning_rate = 0.001\n"
        }
        1..=31 => {
            "[model]\nkind = \"convnet\" # sized by the images\n\n[optimiser]\nkind = \"sgd\"\nlearning_rate = 0.05\n"
        }
        _ => {
            "[model]\nkind = \"wide-resnet\" # WRN-28-2; convnet is faster\n\n[optimiser]\nkind = \"sgd\"\nlearning_rate = \
             0.03\n"
        }
    };
    format!("{views}\n{network}")
}
