//! Tables of typed columns, as Parquet and Arrow have them: which column is what, and a row of a batch as a sample.
//! A sample is numbers and categories, one a column; or a column of lists of numbers; or one of images.

mod ahead;
mod batches;
mod categories;
mod classes;
mod first;
mod guard;
mod hugging_face;
mod layout;
mod lists;
mod names;
mod numbers;
mod pandas;
mod records;
mod rows;
mod tensor;

pub use batches::Batches;
pub use categories::found as categories;
pub use first::look;
pub use guard::guarded;
pub use layout::Wanted;
pub use records::records;
