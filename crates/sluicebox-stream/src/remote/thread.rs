//! The thread that makes requests, and waiting for it.

use parking_lot::Mutex;
use std::future::Future;
use std::io;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_rustls::rustls::crypto::ring::default_provider;

static THREAD: Mutex<Option<Runtime>> = Mutex::new(None);

/// Starts the thread, and TLS, unless they are there.
pub fn set_up() -> io::Result<Handle> {
    let mut thread = THREAD.lock();
    if let Some(thread) = &*thread {
        return Ok(thread.handle().clone());
    }
    // Another part of the program may have set it: then that is used.
    let _ = default_provider().install_default();
    let started = Builder::new_multi_thread().worker_threads(1).thread_name("remote").enable_all().build()?;
    Ok(thread.insert(started).handle().clone())
}

/// Waits until a request has ended. Must not be called in an asynchronous task.
pub fn wait<T>(request: impl Future<Output = T>) -> io::Result<T> {
    Ok(set_up()?.block_on(request))
}
