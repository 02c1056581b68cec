//! What must fit into the write-ahead log at once.

use crate::job::streams::Stream;
use sluicebox_core::config::registry::settings;
use sluicebox_stream::source::tcp;
use sluicebox_stream::wal::settings::LogSettings;

/// Returns why `log.max_bytes` is too few for the frames of a source. A frame may be half of what the log
/// takes at once, because it is written together with others.
pub fn fault(log: &LogSettings, sources: &[Stream]) -> Option<String> {
    let most = log.most_at_once() / 2;
    let listeners = sources.iter().filter(|stream| stream.spec.kind == "tcp");
    let frames = listeners.filter_map(|stream| settings::<tcp::Settings>(&stream.spec).ok());
    let largest = frames.map(|options| options.max_frame_bytes as u64).max().unwrap_or_default();
    (largest > most).then(|| {
        format!(
            "{} is too few for a source with max_frame_bytes = {largest}: a frame has at most a quarter of the \
             log; make it {} or more, or max_frame_bytes {most} or less",
            log.max_bytes,
            4 * largest
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::job::Job;

    fn job(log: &str, source: &str) -> Result<Job, String> {
        let text = format!(
            "[log]\n{log}\n[source]\nkind = \"tcp\"\nshape = [4]\ndtype = \"u8\"\nclasses = [\"a\", \"b\"]\n{source}"
        );
        Job::parse("job.toml", "job", text, &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn frames_fit_into_the_log() {
        job("max_bytes = 65536", "max_frame_bytes = 16384").unwrap();
        let told = job("max_bytes = 65536", "max_frame_bytes = 16385").unwrap_err();
        assert!(told.contains("job.toml:2: log.max_bytes: 65536 is too few"), "{told}");
        assert!(told.contains("make it 65540 or more, or max_frame_bytes 16384 or less"), "{told}");
        assert!(job("max_bytes = 65536", "").is_err(), "the default is checked as well");
        job("", "").unwrap();
    }
}
