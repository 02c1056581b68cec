//! HTTP server: takes samples and labels, answers predictions and shows the job.
//!
//! - `server` starts and stops it; `listen`: connections; `shared`: what all routes share
//! - `routes`: the table of routes; each route or group of routes has a file
//! - `guard`: access, and reading of bodies; `ambiguous`: requests that can be read in two ways; `headers`: headers
//!   for browsers; `refusal`: refused requests
//! - `blocking`: work that takes time

mod ambiguous;
mod blocking;
mod body;
mod control;
mod events;
mod gallery;
mod guard;
mod headers;
mod images;
mod labels;
mod listen;
mod live;
pub mod metrics;
mod packed;
mod page;
mod port_in_use;
mod predict;
mod refusal;
mod routes;
mod samples;
mod server;
mod shared;
mod status;

pub use server::{Server, start, start_within};
pub use shared::{Limits, Served};
