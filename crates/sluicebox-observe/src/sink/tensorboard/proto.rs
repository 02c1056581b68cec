//! Messages of TensorBoard, as far as they are written here: fields and field numbers are those of
//! its `event.proto` and `summary.proto`.

use prost::{Message, Oneof};

/// One record of a file.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970, UTC.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum What {
    /// `brain.Event:2`, at the beginning of a file.
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    Session(Session),
}

/// Start of a process of the job: events written before it for this step or later ones are void.
#[derive(Clone, PartialEq, Message)]
pub struct Session {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

impl Session {
    pub const START: i32 = 1;
}

#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(message, optional, tag = "9")]
    pub metadata: Option<Metadata>,
    #[prost(oneof = "Held", tags = "2, 4, 8")]
    pub held: Option<Held>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Held {
    #[prost(float, tag = "2")]
    Scalar(f32),
    #[prost(message, tag = "4")]
    Image(Image),
    #[prost(message, tag = "8")]
    Tensor(Tensor),
}

/// Description of a tag; read where the tag first occurs.
#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    #[prost(message, optional, tag = "1")]
    pub plugin: Option<Plugin>,
    #[prost(string, tag = "3")]
    pub description: String,
    /// Class of the data: 1 scalar, 2 tensor, 3 bytes.
    #[prost(int32, tag = "4")]
    pub class: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Plugin {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Image {
    #[prost(int32, tag = "1")]
    pub height: i32,
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// Channels; 3 is RGB.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    pub encoded: Vec<u8>,
}

/// A tensor of strings without dimensions: one text.
#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    /// 7 is a string.
    #[prost(int32, tag = "1")]
    pub dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub strings: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Shape {}
