//! CUDA, loaded at run time: its part of libtorch, and the events of its runtime, which tch does not offer.

use crate::torch::first_line;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use sluicebox_core::error::{Error, Result};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use std::sync::OnceLock;

/// `cudaEventDisableTiming`: an event that only says that it was reached.
const WITHOUT_TIME: c_uint = 2;

type Status = c_int;
type Handle = *mut c_void;

/// Functions of CUDA's runtime (CUDA Runtime API, "Event Management").
struct Runtime {
    set_device: unsafe extern "C" fn(c_int) -> Status,
    create: unsafe extern "C" fn(*mut Handle, c_uint) -> Status,
    record: unsafe extern "C" fn(Handle, Handle) -> Status,
    synchronise: unsafe extern "C" fn(Handle) -> Status,
    destroy: unsafe extern "C" fn(Handle) -> Status,
    message: unsafe extern "C" fn(Status) -> *const c_char,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Loads `libtorch_cuda`. The linker leaves it out, since nothing names its symbols; loading makes it register itself.
/// This must happen before libtorch is first asked for CUDA.
pub fn load() -> Result<(), String> {
    if RUNTIME.get().is_some() {
        return Ok(());
    }
    let reason = |error: libloading::Error| first_line(&error.to_string());
    // SAFETY: the library's initialisers only register kernels with libtorch.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    let library = ManuallyDrop::new(library.map_err(reason)?); // its kernels are needed until the process ends
    // SAFETY: the types are those of the CUDA Runtime API. The library needs the runtime, so that the runtime's
    // symbols are found through it.
    let runtime = unsafe {
        Runtime {
            set_device: *library.get(b"cudaSetDevice\0").map_err(reason)?,
            create: *library.get(b"cudaEventCreateWithFlags\0").map_err(reason)?,
            record: *library.get(b"cudaEventRecord\0").map_err(reason)?,
            synchronise: *library.get(b"cudaEventSynchronize\0").map_err(reason)?,
            destroy: *library.get(b"cudaEventDestroy\0").map_err(reason)?,
            message: *library.get(b"cudaGetErrorString\0").map_err(reason)?,
        }
    };
    let _ = RUNTIME.set(runtime); // another thread may have been first
    Ok(())
}

fn runtime() -> Result<&'static Runtime> {
    RUNTIME.get().ok_or_else(|| Error::Engine("CUDA is not loaded".into()))
}

impl Runtime {
    fn check(&self, status: Status, what: &str) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the runtime returns a constant string for every status.
        let message = unsafe { CStr::from_ptr((self.message)(status)) };
        Err(Error::Engine(format!("the GPU: {what}: {}", message.to_string_lossy())))
    }
}

/// A place in the work of a GPU, which does its work in the order in which it was handed over.
pub struct Event(Handle);

impl Event {
    /// Marks the place after all work that was handed to the GPU `ordinal` until now. tch knows no streams: all of
    /// its work is on the default stream, and so is the event. The GPU becomes this thread's current one.
    pub fn record(ordinal: usize) -> Result<Self> {
        let runtime = runtime()?;
        let mut event = null_mut();
        // SAFETY: `event` is a place for a handle; the second call gets the handle that the first one made.
        unsafe {
            runtime.check((runtime.set_device)(ordinal as c_int), "cannot be selected")?;
            runtime.check((runtime.create)(&mut event, WITHOUT_TIME), "cannot make an event")?;
            let event = Self(event);
            runtime.check((runtime.record)(event.0, null_mut()), "cannot record an event")?;
            Ok(event)
        }
    }

    /// Waits until the GPU has come to this place.
    pub fn wait(&self) -> Result<()> {
        let runtime = runtime()?;
        // SAFETY: the handle is valid until it is dropped.
        runtime.check(unsafe { (runtime.synchronise)(self.0) }, "failed at its work")
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Ok(runtime) = runtime() {
            // SAFETY: the handle is valid and not used again. The runtime frees an event that is still awaited once
            // it is reached. A failure here has no one to report it to; the next call reports it.
            unsafe { (runtime.destroy)(self.0) };
        }
    }
}
