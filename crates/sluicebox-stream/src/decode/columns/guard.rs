//! A library that panics on a damaged file must not end the job: that file is bad, and the next one is read.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls what reads a file; a panic there becomes an error. What was read with is not to be used again then.
pub fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason is given");
        let text: String = text.chars().take(200).collect();
        Err(format!("the file is damaged: its reader stopped at {text:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let numbers: Vec<u8> = Vec::new();
        let reason = guarded(|| Ok(numbers[std::hint::black_box(3)])).unwrap_err();
        assert!(reason.contains("the file is damaged") && reason.contains("out of bounds"), "{reason}");
        assert_eq!(guarded(|| Ok(7)), Ok(7));
        assert_eq!(guarded::<()>(|| Err("no".into())), Err("no".into()));
    }
}
