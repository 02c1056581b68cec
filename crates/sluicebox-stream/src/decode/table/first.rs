//! What a text says of its samples: nothing, unless it has an ARFF header that lists the classes.

use crate::decode::lines::Lines;
use crate::decode::look::Look;
use crate::decode::table::layout::{Layout, Wanted};
use crate::decode::table::options::Options;
use crate::decode::table::rows::Rows;
use std::io::BufRead;

/// Most columns of a row.
const MOST_COLUMNS: usize = 1 << 20;

/// Looks at the header of a table. What is wrong with it is said when its rows are read.
pub fn look(input: impl BufRead, options: &Options) -> Look {
    let mut rows = Rows::new(Lines::new(options.encoding.utf8(input)), options, MOST_COLUMNS);
    let classes = match (rows.advance(), rows.attributes()) {
        (Ok(true), Some(attributes)) => {
            let layout = Layout::of(rows.row(), options, Wanted::Classes, Some(attributes));
            layout.ok().and_then(|layout| layout.classes)
        }
        _ => None,
    };
    let sample = Err("a text does not say of itself what its samples are".into());
    Look { sample, classes: classes.filter(|classes| classes.len() > 1), told: String::new() }
}
