//! Running jobs: killed and resumed, fed, asked and watched.

#![allow(missing_docs)]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/feeding.rs"]
mod feeding;
#[path = "../support/showing.rs"]
mod showing;
#[path = "../support/mod.rs"]
mod support;

mod durability;
mod feeder;
mod http;
mod live_labels;
mod page;
mod resume;
mod signals;
mod state_folder;
mod status;
mod strange_requests;
mod terminal_escapes;
