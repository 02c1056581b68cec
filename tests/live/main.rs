//! Running jobs: killed and resumed, fed, asked and watched.

#![allow(missing_docs)]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/feeding.rs"]
mod feeding;
#[path = "../support/object_server.rs"]
mod object_server;
#[path = "../support/running.rs"]
mod running;
#[path = "../support/showing.rs"]
mod showing;
#[path = "../support/mod.rs"]
mod support;

mod best;
mod disk;
mod durability;
mod feeder;
mod feeder_labels;
mod http;
mod http_forms;
mod http_ids;
mod idle;
mod live_labels;
mod object_store;
mod page;
mod page_charts;
mod resume;
mod serve_state;
mod signals;
mod start;
mod state_folder;
mod status;
mod stop;
mod strange_requests;
mod strangers;
mod terminal_escapes;
