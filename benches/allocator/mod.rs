//! The command's allocator, so that benches measure what users run.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lets freed memory stay for a while, as the command does.
pub fn keep_freed_memory() {
    // SAFETY: sets a number in mimalloc's table of options (`mi_option_purge_delay`), which may be done at any time.
    unsafe { libmimalloc_sys::mi_option_set_default(15, 2000) };
}
