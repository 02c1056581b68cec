//! The network side of a job: HTTP, predictions and the endpoints that sources listen on.

pub mod ended;
pub mod endpoints;
pub mod http;
pub mod other_run;
pub mod predictor;
pub mod settings;
