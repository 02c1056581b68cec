//! A file that is read record by record, none of which may take more than a given number of bytes.

use std::io::Read;

/// Reader of such a file.
pub struct Bounded {
    file: Box<dyn Read>,
    most: u64,
    /// Bytes that the present record may still take.
    left: u64,
}

impl Bounded {
    /// Bounds each record of `file` to `most` bytes.
    pub fn new(file: Box<dyn Read>, most: u64) -> Self {
        Self { file, most, left: most }
    }

    /// Begins the next record.
    pub fn renew(&mut self) {
        self.left = self.most;
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let most = self.most >> 20;
            let reason = format!("a row is longer than {most} MiB; is there a quote that is not closed?");
            return Err(std::io::Error::other(reason));
        }
        let read = (&mut self.file).take(self.left).read(buffer)?;
        self.left -= read as u64;
        Ok(read)
    }
}
