//! A file as the crate `parquet` reads it: any range, by several readers at once.

use crate::decode::packed::Whole;
use ::parquet::errors::Result;
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;
use std::io::{Read, Seek, SeekFrom};

impl Length for Whole {
    fn len(&self) -> u64 {
        match self {
            Whole::Here(file) => Length::len(file),
            Whole::Elsewhere(ranges) => ranges.size(),
        }
    }
}

impl ChunkReader for Whole {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(match self {
            Whole::Here(file) => Box::new(file.get_read(start)?),
            Whole::Elsewhere(ranges) => {
                let mut ranges = ranges.clone();
                ranges.seek(SeekFrom::Start(start))?;
                ranges
            }
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            Whole::Here(file) => file.get_bytes(start, length),
            Whole::Elsewhere(ranges) => Ok(ranges.range(start..start.saturating_add(length as u64))?),
        }
    }
}
